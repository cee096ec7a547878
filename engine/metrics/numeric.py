"""Numbers in responses: the last one against the reference's."""

import math
import re
from typing import Literal

from engine.data.examples import Example
from engine.errors import BadInput
from engine.metrics.metric import Score, fraction, gap, missing
from engine.models.model import Response

NO_NUMBER_WANTED = "no reference of the example holds a number"
NO_NUMBER = "the response holds no number"
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
