"""Exact rules: exact match, token F1, contains, prefix, regular expression, number, edit similarity."""

import math
import re
from collections import Counter
from typing import Any

from rapidfuzz.distance import Levenshtein

from engine.data.example import Example
from engine.data.final import last_number
from engine.data.numbers import DecimalMark, Number, read_numbers
from engine.data.schemas import TooSlow, compile_pattern, found
from engine.errors import BadInput
from engine.metrics.metric import NO_REFERENCE, Measure, Score, fraction, gap, missing, no_text
from engine.metrics.text import normalise_answer, words
from engine.models.model import Response

NO_NUMBER_WANTED = "no reference of the example holds a number"
NO_NUMBER = "the response holds no number"


class Numeric:
    """1 where the last number of the response equals the last number of a reference.

    Settings: `tolerance`, relative to the reference (1e-6; between whole numbers only a wider one counts),
    `absolute` (0: for references near zero), and `decimal`, "." or ",".
    """

    measures = (
        fraction(
            "numeric_match",
            "responses whose last number equals the reference's, within a tolerance",
            "rule, as GSM8K is scored",
            needs=["references"],
            version="6",
            verdict=True,
        ),
    )

    def __init__(self, tolerance: float = 1e-6, absolute: float = 0.0, decimal: DecimalMark = ".") -> None:
        for name, value in (("tolerance", tolerance), ("absolute", absolute)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise BadInput(f"metrics.numeric.{name}: expected a number of 0 or more, found {value!r}.")
        if decimal not in (".", ","):
            raise BadInput(f'metrics.numeric.decimal: expected "." or ",", found {decimal!r}.')
        self._tolerance, self._absolute = float(tolerance), float(absolute)
        self._decimal: DecimalMark = decimal

    def score(self, example: Example, response: Response) -> list[Score]:
        if response.text is None or not example.references:
            return missing(self.measures, gap(example, response))
        numbers = (last_number(text, self._decimal) for text in example.references)
        read = [number for number in numbers if number is not None]
        wanted = [number for number in read if number.value is not None]
        if not wanted:
            undecided = f"the reference's {read[0].text!r} is not one number" if read else NO_NUMBER_WANTED
            return missing(self.measures, undecided)
        given = last_number(response.text, self._decimal)
        if given is None:
            return [Score("numeric_match", 0.0, NO_NUMBER)]
        if given.value is None:
            return missing(self.measures, f"the response's {given.text!r} is not one number")
        hit = any(given.equals(number, self._tolerance, self._absolute) for number in wanted)
        return [Score("numeric_match", float(hit), None if hit else f"found {given.value:.12g}")]


_EDIT_LIMIT = 10_000_000_000  # characters x characters: some seconds at worst
_DIGIT = re.compile(r"\d")
_DIGITS = re.compile(r"(?:(?<![\w)])[-−])?\d+(?:[.,]\d+)*")
_SOURCE = "Rajpurkar et al. 2016; SQuAD 1.1 evaluate-v1.1.py"
NO_PATTERN = 'neither the example ("regex") nor the plan (regex = { pattern = "…" }) gives a pattern'
NO_WORDS = "no reference of the example has a word in it"
NUMBERS_DIFFER = "equal to a reference but for the punctuation of a number"
TOO_LONG = "response and reference are too long to be compared by characters"
_NORMAL = "after normalising Unicode (NFKC), case, punctuation, articles and white space, by whole words"


def token_f1(reference: str, response: str) -> float:
    """F-measure of the tokens shared by two answers, 0 to 1; two empty answers agree (SQuAD 2.0)."""
    wanted, given = (Counter(words(normalise_answer(text))) for text in (reference, response))
    if not wanted or not given:
        return float(wanted == given)
    shared = (wanted & given).total()
    return 2 * shared / (wanted.total() + given.total())


def edit_similarity(first: str, second: str) -> float | None:
    """rapidfuzz's normalised similarity: 1 for equal texts, 0 if no character is kept.

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
            verdict=True,
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
    """1 where the response contains a reference's words in sequence; `prefix` where it starts with them."""

    measures = (
        *(
            fraction(name, f"responses {which}, {_NORMAL}", "rule", needs=["references"], verdict=True)
            for name, which in (
                ("contains", "with a reference in them"),
                ("prefix", "that start with a reference"),
            )
        ),
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

    measures = (
        fraction("regex_match", "responses in which the pattern matches", "regex package", verdict=True),
    )

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
    """The share of characters kept when the response is edited into the nearest reference."""

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
    sides = [read_numbers(" ".join(text.casefold().split())) for text in (reference, response)]
    if any(number.value is None for number in [*sides[0], *sides[1]]):
        return _DIGITS.findall(reference) == _DIGITS.findall(response)
    return len(sides[0]) == len(sides[1]) and all(map(Number.equals, *sides))


def _bounded(text: str) -> str:
    """Normalised words, each between spaces, so that "no" is not found in "know"."""
    return f" {' '.join(words(normalise_answer(text)))} "
