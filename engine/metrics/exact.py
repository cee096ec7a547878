"""Exact rules: exact match, token F1, contains, prefix, regular expression, number, edit similarity.

A number is alone, next to a unit or a currency, or next to letters of a script without capitals
("答案是42"); a digit in a word is not one ("H2O", "v23"). Ambiguous text is undecided: a range
("5-10", "5 to 10"), a date, a time, digits around a comma that is not a thousands separator ("3,14").
Words for sizes count ("2.5 million", "1万5千"), and numbers in words where a text has no digits.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import regex
from rapidfuzz.distance import Levenshtein

from engine.data.example import Example
from engine.data.final import boxed
from engine.data.schemas import TooSlow, compile_pattern, found
from engine.errors import BadInput
from engine.metrics.metric import NO_REFERENCE, Measure, Score, fraction, gap, missing, no_text
from engine.metrics.text import normalise_answer, words
from engine.models.model import Response

NO_NUMBER_WANTED = "no reference of the example holds a number"
NO_NUMBER = "the response holds no number"
Decimal = Literal[".", ","]

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_SWAPPED = str.maketrans(",.", ".,")
_SPACE = "[\\ \u00a0\u2007\u2009\u202f]"
_RAISED = r"[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,9}"
_EXPONENT = rf"(?:\s?\^\s?\{{?\s?[-+]?\d{{1,9}}\s?\}}?|{_RAISED})"
_TOKEN = regex.compile(
    rf"""
    (?P<digits>
        \d{{1,3}}(?:,\d{{3}})+(?!\d|,\d)(?:\.\d+)?          # 1,234.5
      | \d{{1,2}}(?:,\d{{2}})+,\d{{3}}(?!\d|,\d)(?:\.\d+)?  # 1,23,456
      | \d{{1,3}}(?:\.\d{{3}})+,\d+(?!\d|[,.]\d)           # 1.234,5
      | \d{{1,3}}(?:\.\d{{3}}){{2,}}(?!\d|[,.]\d)          # 1.234.567
      | \d{{1,3}}(?:{_SPACE}\d{{3}})+(?!\d|{_SPACE}\d)(?:\.\d+|,\d{{1,2}}(?![\d,.]))?
      | \d{{1,3}}(?:['’_]\d{{3}})+(?!\d)(?:\.\d+)?
      | \d+(?:\.\d+)?
      | (?<![\w.])\.\d+
    )
    (?:[eE](?P<scale>[-+]?\d+)|\s?(?:×|\*|[xX]|·|\\times|\\cdot)\s?10(?P<tens>{_EXPONENT})|(?P<power>{_EXPONENT}))?
    (?P<percent>\s?\\?[%％٪])?
    """,
    regex.VERBOSE,
)
_WHOLE = regex.compile(r"(?<![\w.,/])-?(\d{1,6}) $")
_SHOWN = 40
_GLUE = frozenset("-–/,.:")
_CASED = regex.compile(r"[\p{Lu}\p{Ll}\p{Lt}_]")
_CURRENCY = regex.compile(
    r"(?<!\p{L})(?:AUD|BRL|CAD|CHF|CNY|CZK|DKK|EUR|GBP|HKD|HUF|IDR|ILS|INR|JPY|KRW|MXN|MYR|NOK|NZD|PHP|PLN|RMB"
    r"|RON|RUB|SEK|SGD|THB|TRY|TWD|UAH|USD|VND|ZAR|US|Rs|kr|Fr)$"
)
_SIGN = regex.compile(
    r"(?<![\w)])([-+])\p{Sc}?$|(?<!\d\s?|\p{Lu}|\p{Ll})(minus|negative|moins|menos|минус|[负負]|マイナス)\s?$",
    regex.IGNORECASE | regex.REVERSE,
)
_FRAC = regex.compile(
    r"\\[dt]?frac\s?(?:\{\s?([-+]?[\d.,]+)\s?\}\s?\{\s?([\d.,]+)\s?\}|(?P<top>\d)\s?(?P<below>\d))"
)
_OF_PARTS = regex.compile(r"(\d+)\s?分の?之?\s?(\d+)")
_VULGAR = regex.compile(r"(?<=(\d)?)[¼-¾⅐-⅞]")
_WIDE = regex.compile(r"(?<=\d)，(?=\d{3}(?!\d))")
_DASH = regex.compile(r"(?<![\d\w)%]\s?)[–‐‑](?=\p{Sc}?\d)")
_SPELT = str.maketrans("\u2212\ufe63\uff0d\u2044\u2215\u066b\u066c\uff0e", "---//.,.")
_MARKED = regex.compile(
    r"####[ \t]*([^\w\n#]{0,8}\d[\d.,]*[^\w\n#]{0,8})$", regex.MULTILINE
)  # GSM8K's answer
_TO = regex.compile(
    r"\s?(?:\p{L}{1,3}\s|%\s?)?(?:to|bis|à|до|~|〜|～|至|到|から)\s?\p{Sc}?$", regex.IGNORECASE
)
_AND = regex.compile(r"\s?(?:\p{L}{1,3}\s|%\s?)?(?:and|und|et|y|e|a|и)\s?\p{Sc}?$", regex.IGNORECASE)
_BETWEEN = regex.compile(r"(?:between|zwischen|entre|tra|между|de|da)\s\p{Sc}?$", regex.IGNORECASE)
_SIZES = {  # powers of ten
    12: "trillions?|[兆조]",
    9: "billions?|bn|milliarden?|mrd|milliards?|mil millones|bilh(?:ões|ão)|млрд|миллиард(?:а|ов)?",
    8: "[亿億억]",
    7: "crores?|करोड़",
    6: "millions?|millionen|mio|mn|millones|millón|milh(?:ões|ão)|milion[ei]|млн|миллион(?:а|ов)?",
    5: "lakhs?|लाख",
    4: "[万萬만]",
    3: "thousand|tausend|mille|mil|тыс|тысяч[аи]?|千(?![克米瓦卡])|천|[kK]",
    2: "hundred|百",
}
_SIZE = regex.compile(
    rf"\s?(?:{'|'.join(f'(?P<e{power}>{names})' for power, names in _SIZES.items())})(?![\p{{Ll}}\p{{Lu}}])",
    regex.IGNORECASE,
)
_ENGLISH = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15,
    "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30,
    "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
    "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9,
}  # fmt: skip
_LONGEST = 20  # words or characters of a number
_WORD = rf"(?:{'|'.join(_ENGLISH)})"
_IN_ENGLISH = regex.compile(
    rf"\b(?:a\s+)?{_WORD}(?:(?:[\s-]+(?:and\s+)?){_WORD})*\b(?!\s(?:halves|half|thirds?|quarters?|fifths?))",
    regex.IGNORECASE,
)
_CHINESE = {char: place % 10 for place, char in enumerate("〇一二三四五六七八九零壹贰叁肆伍陆柒捌玖")} | {
    "两": 2,
    "兩": 2,
}
_CHINESE_UNITS = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000,
                  "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}  # fmt: skip
_IN_CHINESE = regex.compile(rf"[{''.join([*_CHINESE, *_CHINESE_UNITS])}]+")


@dataclass(frozen=True, slots=True)
class Number:
    """A number read from a text; `value` None is an ambiguous one, such as a range.

    `text` is its source text. `percent` says that a percent sign follows.
    """

    value: float | None
    text: str
    percent: bool = False

    def equals(self, other: "Number", tolerance: float = 0.0, absolute: float = 0.0) -> bool:
        """Whether two numbers are the same; "50%" is both 50 and 0.5 beside one without the sign.

        One that can be read in two ways equals no decided one.
        """
        if self.value is None or other.value is None:
            return self.value is other.value
        ours = [self.value]
        if self.percent != other.percent:
            ours.append(self.value / 100 if self.percent else self.value * 100)
        return any(abs(one - other.value) <= max(tolerance * abs(other.value), absolute) for one in ours)


def read_numbers(text: str, decimal: Decimal = ".") -> list[Number]:
    """The numbers of a text in order, infinite ones left out. "1,234.50" is 1234.5, "1.234,50" by comma."""
    plain = text.translate(_SPELT).replace("{,}", ",").replace("\\,", "\u00a0").replace("\\!", "")
    plain = _OF_PARTS.sub(r"\2/\1", _FRAC.sub(r"\1\g<top>/\2\g<below>", _DASH.sub("-", plain)))
    plain = _WIDE.sub(",", _VULGAR.sub(_spelt_out, plain))
    if decimal == ",":
        plain = plain.translate(_SWAPPED)
    found: list[Number] = []
    first = end = size = 0
    for chain in _chains(plain):
        start, before = chain[0].start(), end
        number = _read(chain, plain)
        end, larger, size = chain[-1].end(), size, 1
        if number.value is not None and not number.percent:
            end, size = _size(plain, end)
            number = replace(number, value=number.value * size)
        last = found[-1] if found else None
        if last and last.value and number.value and start == before and number.value < larger:
            found[-1] = replace(last, value=last.value + math.copysign(number.value, last.value))
            size = min(size, larger)
            continue
        between = plain[before:start]
        if (
            last
            and len(between) < _LONGEST
            and (
                _TO.match(between)
                or (_AND.match(between) and _BETWEEN.search(plain[max(0, first - 12) : first]))
            )
        ):
            number = Number(None, plain[first:end][:_SHOWN])
        first = start
        if number.value is None or math.isfinite(number.value):
            found.append(number)
    return found or _in_words(plain)


def last_number(text: str, decimal: Decimal = ".") -> Number | None:
    """The last finite number of `#### 18` or the last `\\boxed{}`, else of the text: see `read_numbers`."""
    marked = [*_MARKED.findall(text)[-1:], boxed(text) or ""]
    numbers = next((numbers for part in (*marked, text) if (numbers := read_numbers(part, decimal))), None)
    return numbers[-1] if numbers else None


def _spelt_out(fraction: Any) -> str:
    digits = unicodedata.normalize("NFKC", fraction[0]).replace("\u2044", "/")
    return f" {digits}" if fraction[1] else digits


def _size(text: str, end: int) -> tuple[int, int]:
    """The place after the words for a number's size ("million"), and the size."""
    size = 1
    while (
        size < 10**12
        and text[end : end + 2].strip()[:1].isalpha()
        and (found := _SIZE.match(text, end))
        and found.lastgroup
    ):
        size, end = size * 10 ** int(found.lastgroup[1:]), found.end()
    return end, size


def _in_words(text: str) -> list[Number]:
    """The last number in English or Chinese words, of a text without digits; "one" alone may be a pronoun."""
    for run in reversed([*_IN_ENGLISH.finditer(text)]):
        value = _english(run[0].lower().replace("-", " ").split()[:_LONGEST])
        if value is not None and (run[0].lower() != "one" or not text[run.end() :].strip(" .!*")):
            sign = _SIGN.search(text[max(0, run.start() - 12) : run.start()])
            return [Number(float(-value if sign and sign[1] != "+" else value), run[0][:_SHOWN])]
    for run in reversed([*_IN_CHINESE.finditer(text)]):
        alone = len(text[run.end() :].strip(" 。.！!")) < 2
        if (len(run[0]) > 1 or alone) and len(run[0]) < _LONGEST:
            return [Number(float(_chinese(run[0])), run[0][:_SHOWN])]
    return []


def _english(run: Sequence[str]) -> int | None:
    """The value of English words; None for several numbers, such as "one two three"."""
    total = current = 0
    room = 1000  # what the next word must stay below
    for value in (_ENGLISH[word] for word in run if word in _ENGLISH):
        if value >= 1000:
            total, current, room = total + (current or 1) * value, 0, 1000
        elif value == 100:
            current, room = (current or 1) * 100, 100
        elif value < room:
            current, room = current + value, 10 if value >= 20 else 0
        else:
            return None
    return total + current


def _chinese(run: str) -> int:
    if not _CHINESE_UNITS.keys() & set(run):
        return int("".join(str(_CHINESE[char]) for char in run))
    total = section = digit = 0
    for char in run:
        unit = _CHINESE_UNITS.get(char, 0)
        if not unit:
            digit = _CHINESE[char]
        elif unit < 10**4:
            section, digit = section + (digit or 1) * unit, 0
        else:
            whole = section + digit
            total, section, digit = (total + whole * unit) if whole else max(total, 1) * unit, 0, 0
    return total + section + digit


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
            version="3",
            verdict=True,
        ),
    )

    def __init__(self, tolerance: float = 1e-6, absolute: float = 0.0, decimal: Decimal = ".") -> None:
        for name, value in (("tolerance", tolerance), ("absolute", absolute)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise BadInput(f"metrics.numeric.{name}: expected a number of 0 or more, found {value!r}.")
        if decimal not in (".", ","):
            raise BadInput(f'metrics.numeric.decimal: expected "." or ",", found {decimal!r}.')
        self._tolerance, self._absolute = float(tolerance), float(absolute)
        self._decimal: Decimal = decimal

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


_Chain = list["regex.Match[str]"]


def _chains(text: str) -> list[_Chain]:
    """The tokens of a text, those joined by one character of _GLUE together."""
    chains: list[_Chain] = []
    end = -1
    for token in _TOKEN.finditer(text):
        start = token.start()
        if start and _CASED.match(text[start - 1]) and not _CURRENCY.search(text[max(0, start - 4) : start]):
            end = -1
            continue
        if chains and start == end + 1 and text[end] in _GLUE:
            chains[-1].append(token)
        else:
            chains.append([token])
        end = token.end()
    return chains


def _read(chain: _Chain, text: str) -> Number:
    start, end = chain[0].start(), chain[-1].end()
    sign = _SIGN.search(text[max(0, start - 12) : start])
    negative = sign is not None and sign[1] != "+"
    shown = ("-" if negative else "") + text[start:end][:_SHOWN]
    percent = chain[-1]["percent"] is not None
    if len(chain) == 1:
        value = _value(chain[0])
    elif len(chain) == 2 and text[chain[0].end()] == "/" and _value(chain[1]):
        value = _value(chain[0]) / _value(chain[1])
        if mixed := _WHOLE.search(text[max(0, start - 12) : start]):
            value += int(mixed[1])
            negative = negative or mixed[0].startswith("-")
    else:
        return Number(None, shown)
    return Number(-value if negative else value, shown, percent)


def _value(token: Any) -> float:
    """The value of one token without its sign; infinite beyond what a float holds."""
    digits = token["digits"]
    grouped = "." in digits or not digits.replace(",", "").isdecimal()
    if ("," in digits and grouped and digits.rfind(",") > digits.rfind(".")) or digits.count(".") > 1:
        digits = digits.translate(_SWAPPED)
    plain = "".join(char for char in digits if char.isdecimal() or char == ".")
    try:
        if token["power"] is not None:
            return float(float(plain) ** int(_exponent(token["power"])))
        tens = token["scale"] or _exponent(token["tens"] or "")
        return float(f"{plain}e{tens}") if tens else float(plain)
    except (OverflowError, ZeroDivisionError):
        return math.inf


def _exponent(text: str) -> str:
    return "".join(char for char in text.translate(_SUPERSCRIPTS) if char.isdecimal() or char in "-+")


_EDIT_LIMIT = 10_000_000_000  # characters x characters: some seconds at worst
_DIGIT = re.compile(r"\d")
_NORMAL = "after normalising Unicode (NFKC), case, punctuation, articles and white space"
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
    ours, theirs = read_numbers(response), read_numbers(reference)
    return len(ours) == len(theirs) and all(map(Number.equals, ours, theirs))


def _bounded(text: str) -> str:
    """Normalised words, each between spaces, so that "no" is not found in "know"."""
    return f" {' '.join(words(normalise_answer(text)))} "
