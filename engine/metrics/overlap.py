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
    SmoothingFunction,
    closest_ref_length,
    fmeasure,
    modified_precision,
    sentence_bleu,
)
from engine.metrics.metric import Measure, Score, Sums, fraction, gap, missing
from engine.metrics.text import porter_stem, unicode_words, words
from engine.models.model import Response

NO_WORDS = "no reference of the example has a word in it"
NO_BIGRAM = "smoothing method 6 needs matches of three orders, which nltk has none of here"
NO_CHARACTERS = "no reference of the example has a character in it"
TOO_LONG = "response and reference are too long for ROUGE-Lsum"
_LSUM_LIMIT = 100_000_000  # words x words: some seconds at worst
_ASCII_WORDS = re.compile("[a-z0-9]+")
_ORDERS = (1, 2, 3, 4)
_ROUGES = {
    "rouge1": "words shared with the reference",
    "rouge2": "pairs of neighbouring words shared with the reference",
    "rougeL": "longest sequence of words shared with the reference, in order",
    "rougeLsum": "the same line by line, for answers of several lines",
}
_ROUGE_SCORES = ("f1", "precision", "recall")
_EPSILON = 0.1
_LAST_OF_COUNTS = 4  # the last of nltk's smoothing methods that read nothing but counts
_METHOD4_K = 5  # nltk's SmoothingFunction.k
_TOKENIZERS = ("13a", "intl", "char", "zh", "none")
_SMOOTHED_BY = {
    "exp": None,
    "none": None,
    "floor": 0.1,
    "add-k": 1.0,
}  # sacrebleu's methods, their default values
_REFERENCES = ("joint", "best")

Words = list[str]
Three = tuple[float, float, float]  # precision, recall, F-measure
Codes = NDArray[np.int64]


def english_stems(text: str) -> Words:
    """The tokens of rouge-score with its stemmer: ASCII letters and digits, words over 3 letters stemmed."""
    return [porter_stem(word) if len(word) > 3 else word for word in _ASCII_WORDS.findall(text.lower())]


def english_words(text: str) -> Words:
    """The tokens of rouge-score without its stemmer."""
    return _ASCII_WORDS.findall(text.lower())


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

    def scores(self, reference: str, response: str) -> tuple[Three, Three, Three]:
        """Of ROUGE-1, -2 and -L."""
        found = self._ngrams.score(reference, response)
        target, prediction = (self._tokenizer.tokenize(text) for text in (reference, response))
        common = LCSseq.similarity(target, prediction)
        return _three(found["rouge1"]), _three(found["rouge2"]), _shares(common, len(prediction), len(target))

    def lsum(self, reference: str, response: str) -> Three | None:
        target, prediction = (
            [self._tokenizer.cut(line) for line in text.split("\n") if line] for text in (reference, response)
        )
        wanted, given = sum(map(len, target)), sum(map(len, prediction))
        if wanted * given > _LSUM_LIMIT:
            return None
        return _shares(_union_hits(target, prediction), given, wanted)


_STEMMED = _Rouge(english_stems), _Rouge(unicode_stems)
_UNSTEMMED = _Rouge(english_words), _Rouge(unicode_words)


def _scorer(reference: str, stemmer: bool = True) -> _Rouge:
    """The scorer for a reference: rouge-score's own tokenizer would drop letters outside ASCII."""
    foreign = not reference.isascii() and any(char.isalpha() and not char.isascii() for char in reference)
    return (_STEMMED if stemmer else _UNSTEMMED)[foreign]


def rouge(reference: str, response: str) -> tuple[float, float, float]:
    """F-measures of ROUGE-1, ROUGE-2 and ROUGE-L, from 0 to 1, by rouge-score with stemming.

    A reference with letters outside ASCII, which rouge-score would drop, is cut by the Unicode tokenizer; the
    reference alone decides, so that all models are measured in the same way.
    """
    first, second, longest = _scorer(reference).scores(reference, response)
    return first[2], second[2], longest[2]


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


def combine_bleu(sums: Sums, order: int = 4, smoothing: int = 1) -> Sums:
    """BLEU of n-grams up to `order` from summed parts [..., 10], from 0 to 1, as nltk combines one set's.

    Smoothed by nltk's method 0 to 4 (Chen & Cherry 2014); 1 puts 0.1 in place of no match.
    """
    matches, totals = sums[..., :order], sums[..., 4 : 4 + order]
    length, reference_length = sums[..., 8], sums[..., 9]
    none = matches == 0
    halved = 0.5 ** np.cumsum(none, axis=-1)
    if smoothing == 0:
        smoothed = np.where(none, 0.0, matches)
    elif smoothing == 1:
        smoothed = np.where(none, _EPSILON, matches)
    elif smoothing == 2:
        more = np.arange(order) > 0
        smoothed, totals = matches + more, totals + more
    elif smoothing == 3:
        smoothed = np.where(none, halved, matches)
    else:
        # nltk leaves an order without a match out where there is no logarithm to divide by.
        logarithm = np.log(np.maximum(length, 1.0))[..., None]
        given = np.where(logarithm == 0, totals, halved * logarithm / _METHOD4_K)
        smoothed = np.where(none, given, matches)
    precisions = smoothed / totals
    shortfall = np.maximum(0.0, reference_length / np.maximum(length, 1.0) - 1.0)
    with np.errstate(divide="ignore"):
        value = np.exp(np.log(precisions).mean(axis=-1) - shortfall)
    scores: Sums = np.where(matches[..., 0] == 0, 0.0, value)
    return scores


def combine_sacrebleu(sums: Sums, smooth: str = "exp", smooth_value: float = 0.0) -> Sums:
    """sacrebleu's BLEU of summed parts [..., 10], from 0 to 1, as `BLEU.compute_bleu` combines one set's.

    Smoothed by "exp", the n-th order without a match counts as 1 / 2^n matches.
    """
    matches, totals = sums[..., :4], sums[..., 4:8]
    length, reference_length = sums[..., 8], sums[..., 9]
    none = matches == 0
    smoothed = matches
    if smooth == "exp":
        smoothed = np.where(none, 0.5 ** np.cumsum(none, axis=-1), matches)
    elif smooth == "floor":
        smoothed = np.where(none, smooth_value, matches)
    elif smooth == "add-k":
        more = np.where(np.arange(4) > 0, smooth_value, 0.0)
        smoothed, totals = matches + more, totals + more
    precisions = smoothed / np.where(totals == 0, 1.0, totals)
    shortfall = np.maximum(0.0, reference_length / np.maximum(length, 1.0) - 1.0)
    with np.errstate(divide="ignore"):
        value = np.exp(np.log(precisions).mean(axis=-1) - shortfall)
    nothing = (totals == 0).any(axis=-1) | (matches == 0).all(axis=-1)
    scores: Sums = np.where(nothing, 0.0, value)
    return scores


def chrf_parts(reference: str, response: str, char_order: int = 6, word_order: int = 0) -> tuple[float, ...]:
    """The sums of chrF over a set: for each order, n-grams of the response, of the reference, and shared.

    The counts are sacrebleu's, which gives them out only as a score. Counted by rank instead of by text: a
    third of sacrebleu's time, and a fraction of its memory on long responses.
    """
    parts = _ngram_parts(*_ranked(_codes(reference), _codes(response)), char_order)
    if word_order:
        wanted, given = _chrf_words(reference), _chrf_words(response)
        ranks = {word: rank for rank, word in enumerate(dict.fromkeys([*wanted, *given]))}
        codes = (np.array([ranks[word] for word in words], dtype=np.int64) for words in (wanted, given))
        parts += _ngram_parts(*_ranked(*codes), word_order)
    return tuple(map(float, parts))


def _ngram_parts(wanted: Codes, given: Codes, letters: int, orders: int) -> list[int]:
    first, second, kinds = wanted, given, letters
    parts: list[int] = []
    for order in range(1, orders + 1):
        if order > 1:
            first, second, kinds = _ranked(
                first[:-1] * letters + wanted[order - 1 :], second[:-1] * letters + given[order - 1 :]
            )
        shared = np.minimum(np.bincount(first, minlength=kinds), np.bincount(second, minlength=kinds)).sum()
        parts += (len(second) if len(first) else 0, len(first), int(shared))
    return parts


def _chrf_words(text: str) -> Words:
    """Words with one mark of punctuation cut off, as sacrebleu's chrF cuts it."""
    from sacrebleu.metrics.chrf import CHRF

    found: Words = CHRF()._remove_punctuation(text)
    return found


def combine_chrf(sums: Sums, beta: float = 2) -> Sums:
    """chrF of summed parts [..., 3 x orders], from 0 to 1, over the orders that both sides have."""
    given, wanted, shared = sums[..., 0::3], sums[..., 1::3], sums[..., 2::3]
    counted = (given > 0) & (wanted > 0)
    orders = np.maximum(counted.sum(axis=-1), 1)
    precision = (np.where(counted, shared, 0) / np.where(counted, given, 1)).sum(axis=-1) / orders
    recall = (np.where(counted, shared, 0) / np.where(counted, wanted, 1)).sum(axis=-1) / orders
    weight = beta**2 * precision + recall
    scores: Sums = (1 + beta**2) * precision * recall / np.where(weight == 0, 1, weight)
    return scores


def _bleu_measures(order: int, smoothing: int, references: str) -> tuple[Measure, ...]:
    """The sentence measure, and the corpus one where the smoothing is a rule over a set's counts."""
    prefix = "bleu" if order == 4 else f"bleu{order}"
    variant = f"_smooth{smoothing}" * (smoothing != 1) + f"_{references}" * (references != "joint")
    runs = "words" if order == 1 else f"runs of one to {('two', 'three', 'four')[order - 2]} words"
    best = "; of several references the best alone" * (references != "joint")
    source = f"Papineni et al. 2002; nltk {{}}, smoothing method{smoothing} (Chen & Cherry 2014){best}"
    sentence = fraction(
        f"{prefix}_sentence{variant}",
        f"{runs} found in a reference, averaged over responses",
        source.format("sentence_bleu"),
        needs=["references"],
        unit=f"BLEU-{order}",
    )
    if smoothing > _LAST_OF_COUNTS:
        return (sentence,)
    corpus = fraction(
        f"{prefix}_corpus{variant}",
        f"{runs} found in a reference, counted over the whole set",
        source.format("corpus_bleu"),
        needs=["references"],
        unit=f"BLEU-{order}",
        combine=partial(combine_bleu, order=order, smoothing=smoothing),
    )
    return sentence, corpus


class Rouge:
    """ROUGE-1, -2, -L and -Lsum; with several references, for each the one with the best F-measure.

    Settings: `stemmer`, and `scores`, some of "f1", "precision" and "recall". What is not the F-measure with
    stemmer has a name of its own: `rouge1_precision`, `rougeL_unstemmed`, `rougeL_unstemmed_recall`.
    """

    def __init__(self, stemmer: bool = True, scores: Sequence[str] = ("f1",)) -> None:
        _check("rouge.stemmer", stemmer, (True, False))
        told = [scores] if isinstance(scores, str) else list(scores)
        for score in told or [""]:
            _check("rouge.scores", score, _ROUGE_SCORES)
        self._stemmer = stemmer
        self._places = [("precision", "recall", "f1").index(score) for score in told]
        unstemmed = "" if stemmer else "_unstemmed"
        self.measures = tuple(
            fraction(
                f"{name}{unstemmed}" + ("" if score == "f1" else f"_{score}"),
                meaning,
                f"Lin 2004; rouge-score 0.1.2, use_stemmer={stemmer}"
                + ("" if score == "f1" else f", {score}"),
                needs=["references"],
                unit="F-measure" if score == "f1" else score,
            )
            for name, meaning in _ROUGES.items()
            for score in told
        )

    def score(self, example: Example, response: Response) -> list[Score]:
        text = response.text
        if text is None or not example.references:
            return missing(self.measures, gap(example, response))
        scores: list[tuple[Three, ...]] = []
        sums: list[Three | None] = []
        for reference in example.references:
            scorer = _scorer(reference, self._stemmer)
            if scorer.has_words(reference):
                scores.append(scorer.scores(reference, text))
                single = "\n" not in reference and "\n" not in text
                sums.append(scores[-1][2] if single else scorer.lsum(reference, text))
        if not scores:
            return missing(self.measures, NO_WORDS)
        best: list[Three | None] = [max(column, key=_by_f) for column in zip(*scores, strict=True)]
        best.append(None if None in sums else max((one for one in sums if one is not None), key=_by_f))
        values = [None if three is None else three[place] for three in best for place in self._places]
        return [
            Score(measure.name, value, TOO_LONG if value is None else None)
            for measure, value in zip(self.measures, values, strict=True)
        ]


class BleuOrders:
    """BLEU-1, BLEU-2 and BLEU-3, which weigh the choice of words more and their order less.

    Settings: `smoothing`, the number of nltk's method (0 to 7), and `references`: "joint" counts what any of
    them has, as BLEU does, "best" takes the best one alone, as TruthfulQA does. What is neither 1 nor "joint"
    is in the measures' names. Methods 5 to 7 read a single answer's words: they have no corpus measure.
    """

    _orders: tuple[int, ...] = (1, 2, 3)
    _name = "bleu_orders"

    def __init__(self, smoothing: int = 1, references: str = "joint") -> None:
        _check(f"{self._name}.smoothing", smoothing, tuple(range(8)))
        _check(f"{self._name}.references", references, _REFERENCES)
        self._smoothing, self._references = smoothing, references
        self._by_order = [_bleu_measures(order, smoothing, references) for order in self._orders]
        self.measures = tuple(measure for measures in self._by_order for measure in measures)

    def score(self, example: Example, response: Response) -> list[Score]:
        if response.text is None or not example.references:
            return missing(self.measures, gap(example, response))
        references = [tokens for text in example.references if (tokens := words(text))]
        if not references:
            return missing(self.measures, NO_WORDS)
        given = words(response.text)
        sets = [references] if self._references == "joint" else [[one] for one in references]
        found: list[Score] = []
        for order, measures in zip(self._orders, self._by_order, strict=True):
            value, chosen = self._best(sets, given, order)
            reason = None if value is not None else NO_BIGRAM
            found.append(Score(measures[0].name, value, reason))
            if len(measures) > 1:
                found.append(Score(measures[1].name, value, reason, bleu_parts(chosen, given).flat()))
        return found

    def _best(
        self, sets: Sequence[list[Words]], given: Words, order: int
    ) -> tuple[float | None, list[Words]]:
        values = [self._sentence(references, given, order) for references in sets]
        return max(zip(values, sets, strict=True), key=lambda pair: -1.0 if pair[0] is None else pair[0])

    def _sentence(self, references: list[Words], given: Words, order: int) -> float | None:
        if self._smoothing <= _LAST_OF_COUNTS:
            parts = np.array(bleu_parts(references, given).flat())
            return float(combine_bleu(parts, order, self._smoothing))
        method = getattr(SmoothingFunction(), f"method{self._smoothing}")
        try:
            return float(sentence_bleu(references, given, (1 / order,) * order, method))
        except (AssertionError, IndexError):  # nltk's way to say that method 6 needs three orders that match
            return None


class Bleu(BleuOrders):
    """BLEU-4 of single responses, and of the whole set, which is not an average of these.

    Settings as of `bleu_orders`.
    """

    _orders = (4,)
    _name = "bleu"


class SacreBleu:
    """BLEU as papers on translation report it, by sacrebleu: of single responses and of the whole set.

    Settings: `tokenize`, one of sacrebleu's tokenizers ("13a"; "intl", "char", and "zh" for Chinese),
    `lowercase`, `smooth` ("exp", "floor", "add-k" or "none") with `smooth_value`, `effective_order` of single
    responses, and `references` as of `bleu`. The signature is part of the measures' source, and what differs
    is part of their names.
    """

    def __init__(
        self,
        tokenize: str = "13a",
        lowercase: bool = False,
        smooth: str = "exp",
        smooth_value: float | None = None,
        effective_order: bool = True,
        references: str = "joint",
    ) -> None:
        from sacrebleu.metrics.bleu import BLEU

        _check("sacrebleu.tokenize", tokenize, _TOKENIZERS)
        _check("sacrebleu.lowercase", lowercase, (True, False))
        _check("sacrebleu.smooth", smooth, tuple(_SMOOTHED_BY))
        _check("sacrebleu.effective_order", effective_order, (True, False))
        _check("sacrebleu.references", references, _REFERENCES)
        if smooth_value is None or _SMOOTHED_BY[smooth] is None:
            smooth_value = _SMOOTHED_BY[smooth]
        else:
            smooth_value = _positive("sacrebleu.smooth_value", smooth_value)
        self._references = references
        self._bleu: Any = BLEU(
            lowercase=lowercase,
            tokenize=tokenize,
            smooth_method=smooth,
            smooth_value=smooth_value,
            effective_order=effective_order,
        )
        self._combine = partial(combine_sacrebleu, smooth=smooth, smooth_value=smooth_value or 0.0)
        smoothed = smooth if smooth_value is None else f"{smooth}[{smooth_value:.2f}]"
        signature = f"case:{'lc' if lowercase else 'mixed'}|eff:{{}}|tok:{tokenize}|smooth:{smoothed}"
        best = "; of several references the best alone" * (references != "joint")
        source = f"Post 2018; sacrebleu {{}} / 100, {signature}{best}"
        alike = [
            *([tokenize] if tokenize != "13a" else []),
            *(["lc"] if lowercase else []),
            *([smoothed.replace("[", "").replace("]", "")] if smooth != "exp" else []),
        ]
        last = [references] if references != "joint" else []
        eff = ["noeff"] if not effective_order else []
        self.measures = (
            fraction(
                "_".join(["sacrebleu_sentence", *alike, *eff, *last]),
                "runs of one to four tokens found in a reference, averaged over responses",
                source.format("sentence_bleu", "yes" if effective_order else "no"),
                needs=["references"],
                unit="BLEU-4",
                version=f"1; {tokenize}",
            ),
            fraction(
                "_".join(["sacrebleu_corpus", *alike, *last]),
                "runs of one to four tokens found in a reference, counted over the whole set",
                source.format("corpus_bleu", "no"),
                needs=["references"],
                unit="BLEU-4",
                version=f"1; {tokenize}",
                combine=self._combine,
            ),
        )

    def score(self, example: Example, response: Response) -> list[Score]:
        if response.text is None or not example.references:
            return missing(self.measures, gap(example, response))
        references = [text for text in example.references if text.strip()]
        if not references:
            return missing(self.measures, NO_WORDS)
        sets = [references] if self._references == "joint" else [[one] for one in references]
        # By its own steps: `sentence_score` warns about every answer that has no effective order.
        stats = [
            self._bleu._extract_corpus_statistics([response.text], [[one] for one in each])[0]
            for each in sets
        ]
        found = [self._bleu._compute_score_from_stats(list(counts)).score for counts in stats]
        place = found.index(max(found))
        length, reference_length, *counts = stats[place]
        parts = tuple(map(float, (*counts, length, reference_length)))
        sentence, corpus = self.measures
        return [
            Score(sentence.name, min(1.0, found[place] / 100)),
            Score(corpus.name, float(self._combine(np.array(parts))), parts=parts),
        ]


class ChrF:
    """chrF of single responses and of the whole set; of several references the best one.

    Settings: `word_order` (2 makes chrF++), `beta`, the weight of recall, and `char_order`. What differs from
    chrF2 is part of the measures' names, and the signature of their source.
    """

    def __init__(self, word_order: int = 0, beta: int = 2, char_order: int = 6) -> None:
        for name, value, least in (
            ("word_order", word_order, 0),
            ("beta", beta, 1),
            ("char_order", char_order, 1),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise BadInput(f"metrics.chrf.{name}: found {value!r}; allowed: a whole number from {least}")
        self._parts = partial(chrf_parts, char_order=char_order, word_order=word_order)
        self._combine = partial(combine_chrf, beta=beta)
        variant = (
            f"_word{word_order}" * (word_order != 0)
            + f"_beta{beta}" * (beta != 2)
            + f"_char{char_order}" * (char_order != 6)
        )
        # As `sacrebleu.CHRF().get_signature()` writes it; its figures are percentages, these are fractions.
        signature = f"case:mixed|eff:yes|nc:{char_order}|nw:{word_order}|space:no" + f", beta {beta}" * (
            beta != 2
        )
        runs = f"runs of one to {'six' if char_order == 6 else char_order} characters"
        runs += f" and one to {word_order} words" * (word_order != 0)
        self.measures = (
            fraction(
                f"chrf_sentence{variant}",
                f"{runs} shared with a reference, averaged over responses",
                f"Popović 2015; sacrebleu sentence_chrf / 100, {signature}",
                needs=["references"],
                unit=f"chrF{beta}{'+' * word_order}",
            ),
            fraction(
                f"chrf_corpus{variant}",
                f"{runs} shared with a reference, counted over the whole set",
                f"Popović 2015; sacrebleu corpus_chrf / 100, {signature}",
                needs=["references"],
                unit=f"chrF{beta}{'+' * word_order}",
                combine=self._combine,
            ),
        )

    def score(self, example: Example, response: Response) -> list[Score]:
        if response.text is None or not example.references:
            return missing(self.measures, gap(example, response))
        references = [text for text in example.references if text.strip()]
        if not references:
            return missing(self.measures, NO_CHARACTERS)
        candidates = np.array([self._parts(reference, response.text) for reference in references])
        values = self._combine(candidates)
        place = int(np.argmax(values))
        sentence, corpus = self.measures
        value, parts = float(values[place]), tuple(map(float, candidates[place]))
        return [Score(sentence.name, value), Score(corpus.name, value, parts=parts)]


def _check(setting: str, value: Any, allowed: Sequence[Any]) -> None:
    if not any(value is one or (type(value) is type(one) and value == one) for one in allowed):
        known = ", ".join(str(one).lower() if isinstance(one, bool) else str(one) for one in allowed)
        raise BadInput(f"metrics.{setting}: found {value!r}; allowed: {known}")


def _positive(setting: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < np.inf:
        raise BadInput(f"metrics.{setting}: found {value!r}; allowed: a number above 0")
    return float(value)


def _by_f(three: Three) -> float:
    return three[2]


def _three(score: Any) -> Three:
    return float(score.precision), float(score.recall), float(score.fmeasure)


def _shares(shared: int, given: int, wanted: int) -> Three:
    precision, recall = shared / max(given, 1), shared / max(wanted, 1)
    return precision, recall, float(fmeasure(precision, recall))


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


def _ranked(first: Codes, second: Codes) -> tuple[Codes, Codes, int]:
    """Both arrays with each number replaced by its rank among all, and how many ranks there are."""
    kinds, ranks = np.unique(np.concatenate((first, second)), return_inverse=True)
    return ranks[: len(first)], ranks[len(first) :], len(kinds)


def _codes(text: str) -> Codes:
    """Code points without white space; halves of surrogate pairs count as one each."""
    packed = "".join(text.split()).encode("utf-32-le", "surrogatepass")
    return np.frombuffer(packed, dtype=np.uint32).astype(np.int64)
