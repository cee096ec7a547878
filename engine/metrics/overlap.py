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


def lcs_length(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence, bit-parallel (Hyyrö 2004): exact, and linear in memory.

    rouge-score fills a table of len(first) x len(second) Python integers; one runaway response against a
    long reference would take gigabytes there.
    """
    places: dict[str, int] = {}
    for place, token in enumerate(first):
        places[token] = places.get(token, 0) | 1 << place
    everywhere = (1 << len(first)) - 1
    row = everywhere
    for token in second:
        matched = row & places.get(token, 0)
        row = ((row + matched) | (row - matched)) & everywhere
    return len(first) - row.bit_count()


def ngrams(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    """How often each run of `order` tokens occurs."""
    return Counter(zip(*(tokens[start:] for start in range(order)), strict=False))


def rouge(reference: str, response: str) -> tuple[float, float, float]:
    """F-measures of ROUGE-1, ROUGE-2 and ROUGE-L, from 0 to 1, as rouge-score gives them with stemming.

    A reference with letters outside ASCII, which rouge-score would drop, is cut by the Unicode tokenizer; the
    reference alone decides, so that all models are measured alike.
    """
    tokenize = _tokenizer(reference)
    target, prediction = tokenize(reference), tokenize(response)
    return (
        _overlap_f(target, prediction, 1),
        _overlap_f(target, prediction, 2),
        _f(lcs_length(target, prediction), len(prediction), len(target)),
    )


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


def combine_bleu(sums: Sums) -> Sums:
    """BLEU-4 of summed parts [..., 10], smoothed by method1 (0.1 in place of no match), from 0 to 1."""
    matches, totals = sums[..., :4], sums[..., 4:8]
    length, reference_length = sums[..., 8], sums[..., 9]
    precisions = np.where(matches == 0, _EPSILON, matches) / totals
    shortfall = np.maximum(0.0, reference_length / np.maximum(length, 1.0) - 1.0)
    value = np.exp(np.log(precisions).mean(axis=-1) - shortfall)
    scores: Sums = np.where(matches[..., 0] == 0, 0.0, value)
    return scores


class Rouge:
    """ROUGE-1, ROUGE-2 and ROUGE-L; with several references, for each the one with the best F-measure."""

    measures = tuple(
        Measure(
            name=name,
            direction="higher",
            low=0.0,
            high=1.0,
            unit="F-measure",
            needs=frozenset({"references"}),
            version="1",
            source="Lin 2004; rouge-score 0.1.2, use_stemmer=True",
            meaning=meaning,
        )
        for name, meaning in (
            ("rouge1", "words shared with the reference"),
            ("rouge2", "pairs of neighbouring words shared with the reference"),
            ("rougeL", "longest sequence of words shared with the reference, in order"),
        )
    )

    def score(self, example: Example, response: Response) -> list[Score]:
        if not example.references:
            return missing(self.measures, NO_REFERENCE)
        if response.text is None:
            return missing(self.measures, no_text(response))
        usable = [text for text in example.references if _tokenizer(text)(text)]
        if not usable:
            return missing(self.measures, NO_WORDS)
        scores = [rouge(reference, response.text) for reference in usable]
        best = map(max, zip(*scores, strict=True))
        return [Score(measure.name, value) for measure, value in zip(self.measures, best, strict=True)]


class Bleu:
    """BLEU of single responses, and of the whole set, which is no average of the former."""

    measures = (
        Measure(
            name="bleu_sentence",
            direction="higher",
            low=0.0,
            high=1.0,
            unit="BLEU-4",
            needs=frozenset({"references"}),
            version="1",
            source="Papineni et al. 2002; nltk sentence_bleu, smoothing method1 (Chen & Cherry 2014)",
            meaning="runs of one to four words found in a reference, averaged over responses",
        ),
        Measure(
            name="bleu_corpus",
            direction="higher",
            low=0.0,
            high=1.0,
            unit="BLEU-4",
            needs=frozenset({"references"}),
            version="1",
            source="Papineni et al. 2002; nltk corpus_bleu, smoothing method1 (Chen & Cherry 2014)",
            meaning="runs of one to four words found in a reference, counted over the whole set",
            combine=combine_bleu,
        ),
    )

    def score(self, example: Example, response: Response) -> list[Score]:
        if not example.references:
            return missing(self.measures, NO_REFERENCE)
        if response.text is None:
            return missing(self.measures, no_text(response))
        references = [tokens for text in example.references if (tokens := words(text))]
        if not references:
            return missing(self.measures, NO_WORDS)
        parts = bleu_parts(references, words(response.text)).flat()
        value = float(combine_bleu(np.array(parts)))
        return [Score("bleu_sentence", value), Score("bleu_corpus", value, parts=parts)]


def _tokenizer(reference: str) -> Callable[[str], list[str]]:
    return unicode_stems if has_foreign_letters(reference) else english_stems


def _overlap_f(target: Sequence[str], prediction: Sequence[str], order: int) -> float:
    wanted, given = ngrams(target, order), ngrams(prediction, order)
    return _f((wanted & given).total(), given.total(), wanted.total())


def _f(shared: int, given: int, wanted: int) -> float:
    return float(fmeasure(shared / max(given, 1), shared / max(wanted, 1)))
