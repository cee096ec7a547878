"""Exact rules: match, token F1, contains, prefix, regular expression, edit similarity."""

import re
from collections import Counter
from typing import Any

from rapidfuzz.distance import Levenshtein

from engine.data.example import Example
from engine.errors import BadInput
from engine.metrics.metric import NO_REFERENCE, Measure, Score, fraction, gap, missing, no_text
from engine.metrics.numeric import Number, read_numbers
from engine.metrics.patterns import TooSlow, compile_pattern, found
from engine.metrics.text import normalise_answer, words
from engine.models.model import Response

_EDIT_LIMIT = 10_000_000_000  # characters x characters: some seconds at worst
_DIGIT = re.compile(r"\d")
_NORMAL = "after NFKC, case, punctuation, articles and white space are evened out"
_SOURCE = "Rajpurkar et al. 2016; SQuAD 1.1 evaluate-v1.1.py"
NO_PATTERN = 'neither the example ("regex") nor the plan (regex = { pattern = "…" }) gives a pattern'
NO_WORDS = "no reference of the example has a word in it"
NUMBERS_DIFFER = "equal to a reference but for the punctuation of a number"
TOO_LONG = "response and reference are too long to be compared by characters"
_NORMAL = "after NFKC, case, punctuation, articles and white space are evened out, by whole words"


def token_f1(reference: str, response: str) -> float:
    """F-measure of the tokens shared by two answers, 0 to 1; two empty answers agree (SQuAD 2.0)."""
    wanted, given = (Counter(words(normalise_answer(text))) for text in (reference, response))
    if not wanted or not given:
        return float(wanted == given)
    shared = (wanted & given).total()
    return 2 * shared / (wanted.total() + given.total())


def edit_similarity(first: str, second: str) -> float | None:
    """rapidfuzz's normalised similarity: 1 for equal texts, 0 where no character stays.

    None where the texts are so long that it would take minutes.
    """
    if first != second and len(first) * len(second) > _EDIT_LIMIT:
        return None
    return float(Levenshtein.normalized_similarity(first, second))


class ExactMatch:
    """1 where the response equals one of the references, else 0.

    SQuAD's rule deletes the point of 3.14 and the sign of -5; here the numbers must be the same too.
    """

    measures = (
        Measure(
            name="exact_match",
            direction="higher",
            low=0.0,
            high=1.0,
            unit="share",
            needs=frozenset({"references"}),
            version="2",
            source=_SOURCE,
            meaning=f"responses equal to a reference {_NORMAL}",
        ),
    )

    def score(self, example: Example, response: Response) -> list[Score]:
        if not example.references:
            return missing(self.measures, NO_REFERENCE)
        if response.text is None:
            return missing(self.measures, no_text(response))
        given = normalise_answer(response.text)
        equal = [reference for reference in example.references if normalise_answer(reference) == given]
        hit = any(_same_numbers(reference, response.text) for reference in equal)
        return [Score("exact_match", float(hit), NUMBERS_DIFFER if equal and not hit else None)]


class TokenF1:
    """Tokens shared with the best of the references."""

    measures = (
        Measure(
            name="token_f1",
            direction="higher",
            low=0.0,
            high=1.0,
            unit="F-measure",
            needs=frozenset({"references"}),
            version="1",
            source=_SOURCE,
            meaning=f"words shared with the best reference {_NORMAL}",
        ),
    )

    def score(self, example: Example, response: Response) -> list[Score]:
        if not example.references:
            return missing(self.measures, NO_REFERENCE)
        if response.text is None:
            return missing(self.measures, no_text(response))
        text = response.text
        return [Score("token_f1", max(token_f1(reference, text) for reference in example.references))]


class Contains:
    """1 where a reference's words stand in the response, in a row; `prefix` where it starts with them."""

    measures = (
        fraction("contains", f"responses with a reference in them, {_NORMAL}", "rule", needs=["references"]),
        fraction("prefix", f"responses that start with a reference, {_NORMAL}", "rule", needs=["references"]),
    )

    def score(self, example: Example, response: Response) -> list[Score]:
        if response.text is None or not example.references:
            return missing(self.measures, gap(example, response))
        wanted = [tokens for text in example.references if (tokens := _bounded(text)).strip()]
        if not wanted:
            return missing(self.measures, NO_WORDS)
        given = _bounded(response.text)
        return [
            Score("contains", float(any(tokens in given for tokens in wanted))),
            Score("prefix", float(any(given.startswith(tokens) for tokens in wanted))),
        ]


class Regex:
    """1 where a pattern matches somewhere in the response: the example's own (`regex`), else the plan's.

    Setting: `pattern`, in the syntax of Python's `re`. ^ and $ are the ends of the response.
    """

    measures = (fraction("regex_match", "responses in which the pattern matches", "regex package"),)

    def __init__(self, pattern: str | None = None) -> None:
        self._pattern = None if pattern is None else compile_pattern(pattern, "metrics.regex.pattern")

    def score(self, example: Example, response: Response) -> list[Score]:
        if response.text is None:
            return missing(self.measures, no_text(response))
        own: Any = example.extra.get("regex")
        try:
            pattern = compile_pattern(own, f"regex of example {example.id}") if own else self._pattern
            if pattern is None:
                return missing(self.measures, NO_PATTERN)
            return [Score("regex_match", float(found(pattern, response.text)))]
        except (BadInput, TooSlow) as error:
            return missing(self.measures, str(error))


class EditSimilarity:
    """How many characters stay where the response is edited into the nearest reference."""

    measures = (
        fraction(
            "edit_similarity",
            "1 - edits / characters of the longer text, against the nearest reference",
            "Levenshtein 1966; rapidfuzz normalized_similarity",
            needs=["references"],
        ),
    )

    def score(self, example: Example, response: Response) -> list[Score]:
        if response.text is None or not example.references:
            return missing(self.measures, gap(example, response))
        text = response.text.strip()
        values = [edit_similarity(reference.strip(), text) for reference in example.references]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            return missing(self.measures, TOO_LONG)
        return [Score("edit_similarity", max(known))]


def _same_numbers(reference: str, response: str) -> bool:
    """Whether two texts that are equal after normalisation hold the same numbers: 314 is not 3.14."""
    if not _DIGIT.search(reference):
        return True
    ours, theirs = read_numbers(response), read_numbers(reference)
    return len(ours) == len(theirs) and all(map(Number.equals, ours, theirs))


def _bounded(text: str) -> str:
    """Normalised words, each between spaces, so that "no" is not found in "know"."""
    return f" {' '.join(words(normalise_answer(text)))} "
