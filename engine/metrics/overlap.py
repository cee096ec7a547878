"""ROUGE, BLEU and chrF: runs of words or characters that a response shares with its references."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import LCSseq

from engine.data.example import Example
from engine.errors import BadInput
from engine.metrics.lean_nltk import (
    RougeScorer,
    RougeTokenizer,
    closest_ref_length,
    fmeasure,
    modified_precision,
)
from engine.metrics.metric import Measure, Score, Sums, fraction, gap, missing
from engine.metrics.text import porter_stem, unicode_words, words
from engine.models.model import Response

NO_WORDS = "no reference of the example has a word in it"
NO_CHARACTERS = "no reference of the example has a character in it"
TOO_LONG = "response and reference are too long for ROUGE-Lsum"
# As `sacrebleu.CHRF().get_signature()` writes it; its figures are percentages, these are fractions.
CHRF_SIGNATURE = "case:mixed|eff:yes|nc:6|nw:0|space:no"
_LSUM_LIMIT = 100_000_000  # words x words: some seconds at worst
_ASCII_WORDS = re.compile("[a-z0-9]+")
_ORDERS = (1, 2, 3, 4)
_EPSILON = 0.1
_CHRF_ORDER = 6
_BETA_SQUARED = 4

Words = list[str]
Codes = NDArray[np.int64]


def english_stems(text: str) -> Words:
    """The tokens of rouge-score with its stemmer: ASCII letters and digits, words over 3 letters stemmed."""
    return [porter_stem(word) if len(word) > 3 else word for word in _ASCII_WORDS.findall(text.lower())]


def unicode_stems(text: str) -> Words:
    """`unicode_words` with the ASCII ones over 3 letters stemmed, as ROUGE takes them beyond ASCII."""
    return [porter_stem(word) if word.isascii() and len(word) > 3 else word for word in unicode_words(text)]


class _Tokenizer(RougeTokenizer):  # type: ignore[misc]  # untyped upstream
    """A tokenizer for rouge-score; it remembers the last texts, which several measures ask for."""

    def __init__(self, cut: Callable[[str], Words]) -> None:
        self.cut = cut
        self._remembered = lru_cache(maxsize=4)(cut)

    def tokenize(self, text: str) -> Words:
        return self._remembered(text)


class _Rouge:
    """rouge-score with one tokenizer, with faster code where its word-by-word tables are too slow.

    ROUGE-1 and ROUGE-2 are the library's. The longest common subsequence of ROUGE-L is rapidfuzz's, which
    takes a thousandth of the time and of the memory; its length is the same.
    """

    def __init__(self, cut: Callable[[str], Words]) -> None:
        self._tokenizer = _Tokenizer(cut)
        self._ngrams = RougeScorer(["rouge1", "rouge2"], tokenizer=self._tokenizer)

    def has_words(self, text: str) -> bool:
        return bool(self._tokenizer.tokenize(text))

    def scores(self, reference: str, response: str) -> tuple[float, float, float]:
        found = self._ngrams.score(reference, response)
        target, prediction = (self._tokenizer.tokenize(text) for text in (reference, response))
        common = LCSseq.similarity(target, prediction)
        return (
            float(found["rouge1"].fmeasure),
            float(found["rouge2"].fmeasure),
            _f(common, len(prediction), len(target)),
        )

    def lsum(self, reference: str, response: str) -> float | None:
        target, prediction = (
            [self._tokenizer.cut(line) for line in text.split("\n") if line] for text in (reference, response)
        )
        wanted, given = sum(map(len, target)), sum(map(len, prediction))
        if wanted * given > _LSUM_LIMIT:
            return None
        return _f(_union_hits(target, prediction), given, wanted)


_ENGLISH, _UNICODE = _Rouge(english_stems), _Rouge(unicode_stems)


def _scorer(reference: str) -> _Rouge:
    """The scorer for a reference: rouge-score's own tokenizer would drop letters outside ASCII."""
    foreign = not reference.isascii() and any(char.isalpha() and not char.isascii() for char in reference)
    return _UNICODE if foreign else _ENGLISH


def rouge(reference: str, response: str) -> tuple[float, float, float]:
    """F-measures of ROUGE-1, ROUGE-2 and ROUGE-L, from 0 to 1, by rouge-score with stemming.

    A reference with letters outside ASCII, which rouge-score would drop, is cut by the Unicode tokenizer; the
    reference alone decides, so that all models are measured in the same way.
    """
    return _scorer(reference).scores(reference, response)


def rouge_lsum(reference: str, response: str) -> float | None:
    """F-measure of ROUGE-Lsum, equal to rouge-score's: each line is a sentence.

    None where the two texts are so long that it would take minutes.
    """
    return _scorer(reference).lsum(reference, response)


def lcs_places(first: Sequence[str], second: Sequence[str]) -> set[int]:
    """Places in `first` of one longest common subsequence: the one that rouge-score's walk back finds.

    Which one decides the union of ROUGE-Lsum, and rapidfuzz walks another way. A row of rouge-score's table
    is one integer here (Hyyrö 2004): exact, quick, and small in memory.
    """
    rows = list(_rows(first, second))
    places: set[int] = set()
    row, column = len(first), len(second)
    while row and column:
        if first[row - 1] == second[column - 1]:
            places.add(row - 1)
            row, column = row - 1, column - 1
        # A zero bit says that the subsequence of this column grows with this token of `first`.
        elif rows[column - 1] >> (row - 1) & 1:
            row -= 1
        else:
            column -= 1
    return places


class BleuParts(NamedTuple):
    """The sums of BLEU over a corpus: clipped matches and n-grams of orders 1 to 4, and two lengths."""

    matches: tuple[int, ...]
    totals: tuple[int, ...]
    length: int
    reference_length: int

    def flat(self) -> tuple[float, ...]:
        return tuple(map(float, (*self.matches, *self.totals, self.length, self.reference_length)))


def bleu_parts(references: Sequence[Sequence[str]], response: Sequence[str]) -> BleuParts:
    """One response's share in corpus BLEU: nltk's counts, which its `corpus_bleu` sums."""
    precisions = [modified_precision(references, response, order) for order in _ORDERS]
    return BleuParts(
        tuple(precision.numerator for precision in precisions),
        tuple(precision.denominator for precision in precisions),
        len(response),
        closest_ref_length(references, len(response)),
    )


def combine_bleu(sums: Sums, order: int = 4) -> Sums:
    """BLEU of n-grams up to `order` from summed parts [..., 10], from 0 to 1, as nltk combines one set's.

    Smoothed by method1: 0.1 in place of no match.
    """
    matches, totals = sums[..., :order], sums[..., 4 : 4 + order]
    length, reference_length = sums[..., 8], sums[..., 9]
    precisions = np.where(matches == 0, _EPSILON, matches) / totals
    shortfall = np.maximum(0.0, reference_length / np.maximum(length, 1.0) - 1.0)
    value = np.exp(np.log(precisions).mean(axis=-1) - shortfall)
    scores: Sums = np.where(matches[..., 0] == 0, 0.0, value)
    return scores


def combine_sacrebleu(sums: Sums) -> Sums:
    """sacrebleu's BLEU of summed parts [..., 10], from 0 to 1, as `BLEU.compute_bleu` combines one set's.

    Smoothed by "exp": the n-th order without a match counts as 1 / 2^n matches.
    """
    matches, totals = sums[..., :4], sums[..., 4:8]
    length, reference_length = sums[..., 8], sums[..., 9]
    smoothed = np.where(matches == 0, 0.5 ** np.cumsum(matches == 0, axis=-1), matches)
    precisions = smoothed / np.where(totals == 0, 1.0, totals)
    shortfall = np.maximum(0.0, reference_length / np.maximum(length, 1.0) - 1.0)
    value = np.exp(np.log(precisions).mean(axis=-1) - shortfall)
    nothing = (totals == 0).any(axis=-1) | (matches == 0).all(axis=-1)
    scores: Sums = np.where(nothing, 0.0, value)
    return scores


def chrf_parts(reference: str, response: str) -> tuple[float, ...]:
    """The sums of chrF over a set: for each order, n-grams of the response, of the reference, and shared.

    The counts are sacrebleu's, which gives them out only as a score. Counted by rank instead of by text: a
    third of sacrebleu's time, and a fraction of its memory on long responses.
    """
    wanted, given, kinds = _ranked(_codes(reference), _codes(response))
    first, second, letters = wanted, given, kinds
    parts: list[float] = []
    for order in range(1, _CHRF_ORDER + 1):
        if order > 1:
            first, second, kinds = _ranked(
                first[:-1] * letters + wanted[order - 1 :], second[:-1] * letters + given[order - 1 :]
            )
        shared = np.minimum(np.bincount(first, minlength=kinds), np.bincount(second, minlength=kinds)).sum()
        parts += (len(second) if len(first) else 0, len(first), int(shared))
    return tuple(map(float, parts))


def combine_chrf(sums: Sums) -> Sums:
    """chrF2 of summed parts [..., 18], from 0 to 1, over the orders that both sides have n-grams of."""
    given, wanted, shared = sums[..., 0::3], sums[..., 1::3], sums[..., 2::3]
    counted = (given > 0) & (wanted > 0)
    orders = np.maximum(counted.sum(axis=-1), 1)
    precision = (np.where(counted, shared, 0) / np.where(counted, given, 1)).sum(axis=-1) / orders
    recall = (np.where(counted, shared, 0) / np.where(counted, wanted, 1)).sum(axis=-1) / orders
    weight = _BETA_SQUARED * precision + recall
    scores: Sums = (1 + _BETA_SQUARED) * precision * recall / np.where(weight == 0, 1, weight)
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
            scorer = _scorer(reference)
            if scorer.has_words(reference):
                scores.append(scorer.scores(reference, text))
                single = "\n" not in reference and "\n" not in text
                sums.append(scores[-1][2] if single else scorer.lsum(reference, text))
        if not scores:
            return missing(self.measures, NO_WORDS)
        values: list[float | None] = [max(column) for column in zip(*scores, strict=True)]
        values.append(None if None in sums else max(value for value in sums if value is not None))
        return [
            Score(measure.name, value, TOO_LONG if value is None else None)
            for measure, value in zip(self.measures, values, strict=True)
        ]


class Bleu:
    """BLEU-4 of single responses, and of the whole set, which is not an average of these."""

    measures = _bleu_measures(4)

    def score(self, example: Example, response: Response) -> list[Score]:
        return _bleu_scores(self.measures, (4,), example, response)


class BleuOrders:
    """BLEU-1, BLEU-2 and BLEU-3, which weigh the choice of words more and their order less."""

    measures = tuple(measure for order in (1, 2, 3) for measure in _bleu_measures(order))

    def score(self, example: Example, response: Response) -> list[Score]:
        return _bleu_scores(self.measures, (1, 2, 3), example, response)


class SacreBleu:
    """BLEU as papers on translation report it, by sacrebleu: of single responses and of the whole set.

    Setting: `tokenize`, one of sacrebleu's tokenizers ("13a"; "intl", "char", and "zh" for Chinese). The
    signature is part of the measures' source.
    """

    def __init__(self, tokenize: str = "13a") -> None:
        from sacrebleu.metrics.bleu import BLEU

        allowed = ("13a", "intl", "char", "zh", "none")
        if tokenize not in allowed:
            raise BadInput(f"metrics.sacrebleu.tokenize: found {tokenize!r}; allowed: {', '.join(allowed)}")
        self._bleu: Any = BLEU(tokenize=tokenize, effective_order=True)
        source = f"Post 2018; sacrebleu {{}} / 100, case:mixed|eff:{{}}|tok:{tokenize}|smooth:exp"
        self.measures = (
            fraction(
                "sacrebleu_sentence",
                "runs of one to four tokens found in a reference, averaged over responses",
                source.format("sentence_bleu", "yes"),
                needs=["references"],
                unit="BLEU-4",
                version=f"1; {tokenize}",
            ),
            fraction(
                "sacrebleu_corpus",
                "runs of one to four tokens found in a reference, counted over the whole set",
                source.format("corpus_bleu", "no"),
                needs=["references"],
                unit="BLEU-4",
                version=f"1; {tokenize}",
                combine=combine_sacrebleu,
            ),
        )

    def score(self, example: Example, response: Response) -> list[Score]:
        if response.text is None or not example.references:
            return missing(self.measures, gap(example, response))
        references = [text for text in example.references if text.strip()]
        if not references:
            return missing(self.measures, NO_WORDS)
        found = self._bleu.sentence_score(response.text, references)
        parts = tuple(map(float, (*found.counts, *found.totals, found.sys_len, found.ref_len)))
        return [
            Score("sacrebleu_sentence", min(1.0, found.score / 100)),
            Score("sacrebleu_corpus", float(combine_sacrebleu(np.array(parts))), parts=parts),
        ]


class ChrF:
    """chrF2 of single responses and of the whole set; of several references the best one."""

    measures = (
        fraction(
            "chrf_sentence",
            "runs of one to six characters shared with a reference, averaged over responses",
            f"Popović 2015; sacrebleu sentence_chrf / 100, {CHRF_SIGNATURE}",
            needs=["references"],
            unit="chrF2",
        ),
        fraction(
            "chrf_corpus",
            "runs of one to six characters shared with a reference, counted over the whole set",
            f"Popović 2015; sacrebleu corpus_chrf / 100, {CHRF_SIGNATURE}",
            needs=["references"],
            unit="chrF2",
            combine=combine_chrf,
        ),
    )

    def score(self, example: Example, response: Response) -> list[Score]:
        if response.text is None or not example.references:
            return missing(self.measures, gap(example, response))
        references = [text for text in example.references if text.strip()]
        if not references:
            return missing(self.measures, NO_CHARACTERS)
        parts = _best([chrf_parts(reference, response.text) for reference in references])
        value = float(combine_chrf(np.array(parts)))
        return [Score("chrf_sentence", value), Score("chrf_corpus", value, parts=parts)]


def _f(shared: int, given: int, wanted: int) -> float:
    return float(fmeasure(shared / max(given, 1), shared / max(wanted, 1)))


def _union_hits(target: Sequence[Words], prediction: Sequence[Words]) -> int:
    """Tokens of the target's sentences that the union of their LCS with all predicted sentences holds.

    No token counts more often than it occurs on either side: the rule of ROUGE 1.5.5 and of rouge-score.
    """
    if len(target) == 1 and len(prediction) == 1:
        return int(LCSseq.similarity(target[0], prediction[0]))
    wanted = Counter(token for sentence in target for token in sentence)
    given = Counter(token for sentence in prediction for token in sentence)
    hits = 0
    for sentence in target:
        places: set[int] = set()
        for other in prediction:
            places |= lcs_places(sentence, other)
        for token in (sentence[place] for place in sorted(places)):
            if wanted[token] > 0 and given[token] > 0:
                hits += 1
                wanted[token] -= 1
                given[token] -= 1
    return hits


def _rows(first: Sequence[str], second: Sequence[str]) -> Iterator[int]:
    """After each token of `second`, a row whose zero bits are the places where the LCS grows by one."""
    places: dict[str, int] = {}
    for place, token in enumerate(first):
        places[token] = places.get(token, 0) | 1 << place
    everywhere = (1 << len(first)) - 1
    row = everywhere
    for token in second:
        matched = row & places.get(token, 0)
        row = ((row + matched) | (row - matched)) & everywhere
        yield row


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


def _best(candidates: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    if len(candidates) == 1:
        return candidates[0]
    return candidates[int(np.argmax(combine_chrf(np.array(candidates))))]


def _ranked(first: Codes, second: Codes) -> tuple[Codes, Codes, int]:
    """Both arrays with each number replaced by its rank among all, and how many ranks there are."""
    kinds, ranks = np.unique(np.concatenate((first, second)), return_inverse=True)
    return ranks[: len(first)], ranks[len(first) :], len(kinds)


def _codes(text: str) -> Codes:
    """Code points without white space; halves of surrogate pairs count as one each."""
    packed = "".join(text.split()).encode("utf-32-le", "surrogatepass")
    return np.frombuffer(packed, dtype=np.uint32).astype(np.int64)
