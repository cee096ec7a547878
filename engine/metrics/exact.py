"""Exact rules beside exact match: contains, prefix, regular expression, number, edit similarity."""

import math
import re
from typing import Any, Literal

from engine.data.example import Example
from engine.errors import BadInput
from engine.metrics.edits import edit_similarity
from engine.metrics.measures import fraction, gap
from engine.metrics.metric import Score, missing, no_text
from engine.metrics.patterns import TooSlow, compile_pattern, found
from engine.metrics.text import normalise_answer, words
from engine.models.model import Response

NO_PATTERN = 'neither the example ("regex") nor the plan (regex = { pattern = "…" }) gives a pattern'
NO_NUMBER_WANTED = "no reference of the example holds a number"
NO_NUMBER = "the response holds no number"
NO_WORDS = "no reference of the example has a word in it"
TOO_LONG = "response and reference are too long to be compared by characters"
_NORMAL = "after NFKC, case, punctuation, articles and white space are evened out, by whole words"
# A number is no piece of a word, and a sign no minus between two terms.
_NUMBER = re.compile(
    r"(?:(?<![\w)])[-+])?(?:(?<!\w)(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|(?<![\w.])\.\d+)(?:[eE][-+]?\d+)?"
)
_SWAPPED = str.maketrans(",.", ".,")


def last_number(text: str, decimal: Literal[".", ","] = ".") -> float | None:
    """The last finite number in a text, or None: "1,234.50" is 1234.5, and so is "1.234,50" by comma."""
    plain = text.replace("\u2212", "-")
    numbers = _NUMBER.findall(plain.translate(_SWAPPED) if decimal == "," else plain)
    values = (float(number.replace(",", "")) for number in reversed(numbers))
    return next((value for value in values if math.isfinite(value)), None)


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


class Numeric:
    """1 where the last number of the response equals the last number of a reference.

    Settings: `tolerance`, relative to the reference (1e-6), `absolute` (0: for references near zero), and
    `decimal`, "." or ",".
    """

    measures = (
        fraction(
            "numeric_match",
            "responses whose last number equals the reference's, within a tolerance",
            "rule, as GSM8K is scored",
            needs=["references"],
        ),
    )

    def __init__(
        self, tolerance: float = 1e-6, absolute: float = 0.0, decimal: Literal[".", ","] = "."
    ) -> None:
        for name, value in (("tolerance", tolerance), ("absolute", absolute)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise BadInput(f"metrics.numeric.{name}: expected a number of 0 or more, found {value!r}.")
        if decimal not in (".", ","):
            raise BadInput(f'metrics.numeric.decimal: expected "." or ",", found {decimal!r}.')
        self._tolerance, self._absolute = float(tolerance), float(absolute)
        self._decimal: Literal[".", ","] = decimal

    def score(self, example: Example, response: Response) -> list[Score]:
        if response.text is None or not example.references:
            return missing(self.measures, gap(example, response))
        numbers = (last_number(text, self._decimal) for text in example.references)
        wanted = [number for number in numbers if number is not None]
        if not wanted:
            return missing(self.measures, NO_NUMBER_WANTED)
        given = last_number(response.text, self._decimal)
        if given is None:
            return [Score("numeric_match", 0.0, NO_NUMBER)]
        hit = any(
            abs(given - number) <= max(self._tolerance * abs(number), self._absolute) for number in wanted
        )
        return [Score("numeric_match", float(hit), None if hit else f"found {given:.12g}")]


class EditSimilarity:
    """How many characters stay where the response is edited into the nearest reference."""

    measures = (
        fraction(
            "edit_similarity",
            "1 - edits / characters of the longer text, against the nearest reference",
            "Levenshtein 1966; rapidfuzz normalized_similarity's definition, by Myers 1999",
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


def _bounded(text: str) -> str:
    """Normalised words, each between spaces, so that "no" is not found in "know"."""
    return f" {' '.join(words(normalise_answer(text)))} "
