"""ROUGE and BLEU: n-grams that a response shares with its references."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from engine.data.example import Example
from engine.metrics.lcs import lcs_length, union_hits
from engine.metrics.measures import fraction, gap
from engine.metrics.metric import Measure, Score, Sums, missing
from engine.metrics.text import english_stems, has_foreign_letters, unicode_stems, words
from engine.models.model import Response

NO_WORDS = "no reference of the example has a word in it"
TOO_LONG = "response and reference are too long for ROUGE-Lsum"
_LSUM_LIMIT = 100_000_000  # words x words: some seconds at worst
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


def _bleu_measures(order: int) -> tuple[Measure, Measure]:
    prefix = "bleu" if order == 4 else f"bleu{order}"
    runs = "words" if order == 1 else f"runs of one to {('two', 'three', 'four')[order - 2]} words"
    source = "Papineni et al. 2002; nltk {}, smoothing method1 (Chen & Cherry 2014)"
    return (
        fraction(
            f"{prefix}_sentence",
            f"{runs} found in a reference, averaged over responses",
            source.format("sentence_bleu"),
            needs=["references"],
            unit=f"BLEU-{order}",
        ),
        fraction(
            f"{prefix}_corpus",
            f"{runs} found in a reference, counted over the whole set",
            source.format("corpus_bleu"),
            needs=["references"],
            unit=f"BLEU-{order}",
            combine=partial(combine_bleu, order=order),
        ),
    )


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
        text = response.text
        if text is None or not example.references:
            return missing(self.measures, gap(example, response))
        scores, sums = [], []
        for reference in example.references:
            tokenize = _tokenizer(reference)
            if target := tokenize(reference):
                scores.append(_rouge(target, tokenize(text)))
                single = "\n" not in reference and "\n" not in text
                sums.append(scores[-1][2] if single else rouge_lsum(reference, text))
        if not scores:
            return missing(self.measures, NO_WORDS)
        values: list[float | None] = [max(column) for column in zip(*scores, strict=True)]
        values.append(None if None in sums else max(value for value in sums if value is not None))
        return [
            Score(measure.name, value, TOO_LONG if value is None else None)
            for measure, value in zip(self.measures, values, strict=True)
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


def _rouge(target: Sequence[str], prediction: Sequence[str]) -> tuple[float, float, float]:
    return (
        _overlap_f(target, prediction, 1),
        _overlap_f(target, prediction, 2),
        _f(lcs_length(target, prediction), len(prediction), len(target)),
    )


def _overlap_f(target: Sequence[str], prediction: Sequence[str], order: int) -> float:
    wanted, given = ngrams(target, order), ngrams(prediction, order)
    shared = sum(min(count, given[gram]) for gram, count in wanted.items() if gram in given)
    return _f(shared, len(prediction) - order + 1, len(target) - order + 1)


def _f(shared: int, given: int, wanted: int) -> float:
    precision, recall = shared / max(given, 1), shared / max(wanted, 1)
    return 2 * precision * recall / (precision + recall) if shared else 0.0


def _bleu_scores(
    measures: Sequence[Measure], orders: Sequence[int], example: Example, response: Response
) -> list[Score]:
    """The sentence and the corpus measure of each order, in that order."""
    if response.text is None or not example.references:
        return missing(measures, gap(example, response))
    references = [tokens for text in example.references if (tokens := words(text))]
    if not references:
        return missing(measures, NO_WORDS)
    parts = bleu_parts(references, words(response.text)).flat()
    values = [float(combine_bleu(np.array(parts), order)) for order in orders]
    pairs = zip(measures[::2], measures[1::2], values, strict=True)
    return [
        score
        for sentence, corpus, value in pairs
        for score in (Score(sentence.name, value), Score(corpus.name, value, parts=parts))
    ]
