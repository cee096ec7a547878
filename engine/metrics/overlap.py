"""ROUGE and BLEU: n-grams that a response shares with its references."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from rouge_score.scoring import fmeasure

from engine.examples import Example
from engine.generate.model import Response
from engine.metrics.metric import NO_REFERENCE, Measure, Score, Sums, missing, no_text
from engine.metrics.text import english_stems, has_foreign_letters, unicode_stems, words

NO_WORDS = "no reference of the example has a word in it"
_ORDERS = (1, 2, 3, 4)
_EPSILON = 0.1


def ngrams(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    """How often each run of `order` tokens occurs."""
    return Counter(zip(*(tokens[start:] for start in range(order)), strict=False))


def rouge(reference: str, response: str) -> tuple[float, float, float]:
    """F-measures of ROUGE-1, ROUGE-2 and ROUGE-L, from 0 to 1, as rouge-score gives them with stemming.

    A reference with letters outside ASCII, which rouge-score would drop, is cut by the Unicode tokenizer; the
    reference alone decides, so that all models are measured alike.
    """
    tokenize = _tokenizer(reference)
    return _rouge(tokenize(reference), tokenize(response))


def rouge_lsum(reference: str, response: str) -> float | None:
    """F-measure of ROUGE-Lsum, as rouge-score gives it: each line is a sentence.

    None where the two texts are so long that it would take minutes.
    """
    tokenize = _tokenizer(reference)
    target, prediction = (
        [tokenize(line) for line in text.split("\n") if line] for text in (reference, response)
    )
    wanted, given = sum(map(len, target)), sum(map(len, prediction))
    if wanted * given > _LSUM_LIMIT:
        return None
    return _f(union_hits(target, prediction), given, wanted)


class BleuParts(NamedTuple):
    """What BLEU sums over a corpus: clipped matches and n-grams of orders 1 to 4, and two lengths."""

    matches: tuple[int, ...]
    totals: tuple[int, ...]
    length: int
    reference_length: int

    def flat(self) -> tuple[float, ...]:
        return tuple(map(float, (*self.matches, *self.totals, self.length, self.reference_length)))


def bleu_parts(references: Sequence[Sequence[str]], response: Sequence[str]) -> BleuParts:
    """One response's share in corpus BLEU, counted as nltk's `corpus_bleu` does."""
    matches, totals = [], []
    for order in _ORDERS:
        counts = ngrams(response, order)
        allowed: Counter[tuple[str, ...]] = Counter()
        for reference in references:
            allowed |= ngrams(reference, order)
        matches.append((counts & allowed).total())
        totals.append(max(1, counts.total()))
    nearest = min(map(len, references), key=lambda length: (abs(length - len(response)), length))
    return BleuParts(tuple(matches), tuple(totals), len(response), nearest)


def combine_bleu(sums: Sums, order: int = 4) -> Sums:
    """BLEU of n-grams up to `order` from summed parts [..., 10], from 0 to 1.

    Smoothed by method1: 0.1 in place of no match.
    """
    matches, totals = sums[..., :order], sums[..., 4 : 4 + order]
    length, reference_length = sums[..., 8], sums[..., 9]
    precisions = np.where(matches == 0, _EPSILON, matches) / totals
    shortfall = np.maximum(0.0, reference_length / np.maximum(length, 1.0) - 1.0)
    value = np.exp(np.log(precisions).mean(axis=-1) - shortfall)
    scores: Sums = np.where(matches[..., 0] == 0, 0.0, value)
    return scores


class Rouge:
    """ROUGE-1, -2, -L and -Lsum; with several references, for each the one with the best F-measure."""

    measures = tuple(
        fraction(
            name,
            meaning,
            "Lin 2004; rouge-score 0.1.2, use_stemmer=True",
            needs=["references"],
            unit="F-measure",
        )
        for name, meaning in (
            ("rouge1", "words shared with the reference"),
            ("rouge2", "pairs of neighbouring words shared with the reference"),
            ("rougeL", "longest sequence of words shared with the reference, in order"),
            ("rougeLsum", "the same line by line, for answers of several lines"),
        )
    )

    def score(self, example: Example, response: Response) -> list[Score]:
        reason = gap(example, response)
        if reason or response.text is None:
            return missing(self.measures, reason or NO_REFERENCE)
        scores, sums = [], []
        for reference in example.references:
            tokenize = _tokenizer(reference)
            if target := tokenize(reference):
                scores.append(_rouge(target, tokenize(response.text)))
                sums.append(_lsum(reference, response.text, scores[-1][2]))
        if not scores:
            return missing(self.measures, NO_WORDS)
        best = [*map(max, zip(*scores, strict=True)), None if None in sums else max(filter(None, sums), default=0.0)]
        return [
            Score(measure.name, value, None if value is not None else TOO_LONG)
            for measure, value in zip(self.measures, best, strict=True)
        ]


class Bleu:
    """BLEU-4 of single responses, and of the whole set, which is no average of the former."""

    measures = _bleu_measures(4)

    def score(self, example: Example, response: Response) -> list[Score]:
        return _bleu_scores(self.measures, (4,), example, response)


class BleuOrders:
    """BLEU-1, BLEU-2 and BLEU-3, which weigh the choice of words more and their order less."""

    measures = tuple(measure for order in (1, 2, 3) for measure in _bleu_measures(order))

    def score(self, example: Example, response: Response) -> list[Score]:
        return _bleu_scores(self.measures, (1, 2, 3), example, response)


def _tokenizer(reference: str) -> Callable[[str], list[str]]:
    return unicode_stems if has_foreign_letters(reference) else english_stems


def _overlap_f(target: Sequence[str], prediction: Sequence[str], order: int) -> float:
    wanted, given = ngrams(target, order), ngrams(prediction, order)
    return _f((wanted & given).total(), given.total(), wanted.total())


def _f(shared: int, given: int, wanted: int) -> float:
    return float(fmeasure(shared / max(given, 1), shared / max(wanted, 1)))
