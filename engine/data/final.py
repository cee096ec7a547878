"""The final answer of a text, and whether two answers give the same one."""

import json
import re
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from engine.data.example import normalise
from engine.data.numbers import (
    DecimalMark,
    Number,
    exact,
    folded,
    last_of,
    only_number,
    read_numbers,
    sentence_number,
)
from engine.data.words import same_but_for_typing, words

# "42", "yes" or a category name is the answer to many questions; alone it gives none of them away.
DISTINCTIVE_LENGTH = 20
_LABEL_WORDS = 5
_END = 400  # characters of a sentence in which its final answer stands
_SHOWN = 40
_DIGIT = re.compile(r"\d")
_KEPT = 256  # answers, and pairs of them: each of a set is compared with many, and labels are few
_REFILLED = 0.6  # share of words in common from which two answers are one template filled in twice

_MARK = re.compile(r"####[ \t]*([^\s#][^\n]*)")
_ALONE = re.compile(r"[^\w\n#]{0,8}\d[\d.,]*[^\w\n#]{0,8}")
_ORDER = re.compile(r"\W*\d{1,3}[.)]\W*")
_MARKER = re.compile(
    r"^[ \t]*(?:#{1,6}[ \t]+|[*_>-]{1,3}[ \t]*)?"
    r"(?:\(?(\d{1,3})[.)](?=[ \t*]+\S)|(?:step|schritt|étape|etapa|paso|第)\s?\d{1,3}(?=\s?[:.：步]))",
    re.MULTILINE | re.IGNORECASE,
)
_SPACED_MINUS = re.compile(r"^([\s:*_$]*)[-−][^\S\n]+(?=[$€£]?\d)")
_STATED = re.compile(
    r"\b(?:final\s+answer|answer|result)\b\s*(?:is|[:=])\s*\**\s*([^\n]+?)[\s.*]*$", re.IGNORECASE
)
_FENCED = re.compile(r"\A```(?:json)?\s*\n(.*)\n```\Z", re.DOTALL | re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|\n+")
_MARKUP = re.compile(r"\A(?:(?!(?<!\.)\.\d)[\s.*_`:;,!?])+|(?<![\s.*_`:;,!?])[\s.*_`:;,!?]+\Z")
_INLINE = re.compile(r"\$\s?([^$]+?)\s?\$")
_EQUALS = re.compile(r"(?<![<>!=:\\])=(?!=)|≈|\\approx(?![a-z])")
_SEVERAL = re.compile(
    r"[;\n]|,(?!\d{3}(?!\d))|\b(?:or|and|oder|und|ou|et|[oy](?!\s*(?:[=≈*/^<>≤≥)]|[-+]\s|\\(?:approx|cdot|times))))\b|或|和"
)
_SYMBOLS = re.compile(r"[\d\\^√π{}=<>≤≥≠±|+#%°]|(?<!\w)-(?=\w)|(?<![\w*])\*(?=\w)|\w\*\w")
_ELEMENT = re.compile(r"[-+]?\d{1,30}(?:\.\d{1,30})?(?:/[1-9]\d{0,30})?")
_SPELT: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), into)
    for pattern, into in (
        (r"\\(?:left|right|displaystyle)(?![a-z])|\\[,;:! ()\[\]]|\$", ""),
        (r"\\(?:text|textbf|mathrm|mathbf|mbox|operatorname)\s?\{([^{}]*)\}", r"\1"),
        (r"\\[dtc]frac(?![a-z])", r"\\frac"),
        (r"\\(frac|sqrt)\s?(\w)", r"\\\1{\2}"),
        (r"(\\frac\s?\{[^{}]*\})\s?(\w)", r"\1{\2}"),
        (r"\\frac\s?\{([^{}]*)\}\s?\{([^{}]*)\}", r"(\1)/(\2)"),
        (r"\\sqrt\s?\{([^{}]*)\}", r"√(\1)"),
        (r"\\(?:cdot|times|ast)(?![a-z])|[×·]", "*"),
        (r"\\pi(?![a-z])|(?<![a-z])pi(?![a-z])", "π"),
        (r"\\infty(?![a-z])", "∞"),
        (r"\\(?:leq?|leqslant)(?![a-z])|<=", "≤"),
        (r"\\(?:geq?|geqslant)(?![a-z])|>=", "≥"),
        (r"\*\*", "^"),
        (r"\^\s?\{([^{}]*)\}", r"^(\1)"),
        (r"\((-?\d+|\w)\)(?![,(])", r"\1"),
        (r"(?<=[\w)])\s?\*\s?(?=[^\W\d]|[√π(])", ""),
        (r"[−–]", "-"),
        (r"(?<=\d),(?=\d{3}(?!\d))(?<![(\[]\d,)", ""),
        (r"\s*([^\w\s.])\s*|(?<=\d)\s+(?=[^\W\d])", r"\1"),
    )
)


@dataclass(frozen=True, slots=True)
class Final:
    """A normalised final answer; `sure` unless it is only the last number of a longer text.

    A number is a `Decimal`, per cent as a share, with its `unit` beside it.
    """

    value: str | Decimal
    unit: str = ""
    sure: bool = True


def last_number(text: str, decimal: DecimalMark = ".") -> Number | None:
    """The number of `#### 18` or of the last `\\boxed{}`, else the last of the text: see `read_numbers`.

    Several numbers in such a place are undecided. The markers of a list ("1.", "2.") are no numbers.
    """
    for part in (marked(text), boxed(text)):
        numbers = read_numbers(_signed(_right_side(part)), decimal) if part else []
        if part and numbers:
            return numbers[0] if len(numbers) == 1 else Number(None, part[:_SHOWN])
    text = _without_markers(text)
    tail = _tail(text)
    return last_of(tail, decimal) or (last_of(text, decimal) if len(tail) < len(text) else None)


def marked(text: str) -> str | None:
    """What follows the last `####`, as GSM8K marks an answer; None for a heading, which has text below it.

    A number alone is an answer whatever stands below it, unless it is one of a list ("#### 2.").
    """
    for found in reversed([*_MARK.finditer(text)]):
        content = found[1].strip()
        if not text[found.end() :].strip() or (_ALONE.fullmatch(content) and not _ORDER.fullmatch(content)):
            return content
    return None


@lru_cache(maxsize=_KEPT)
def final_answer(text: str) -> Final | None:
    """What a text answers in the end, None for free text.

    In this order: what follows `####` (see `marked`) or stands in the last `\\boxed{}`; a JSON value; what
    follows "the answer is" at the end; a text of at most five words; the last number of the last sentence.
    """
    text = folded(text).strip()
    stated = marked(text) or boxed(text)
    if stated is not None:
        return _stated(_signed(stated))
    if (value := _json(text)) is not None:
        return Final(value)
    last = _SENTENCE.split(text)[-1]
    found = _STATED.search(last[-_END:])
    if found:
        return _stated(_signed(found.group(1)))
    if text and 0 < len(words(text)) <= _LABEL_WORDS:
        item = _MARKER.sub("", text, count=1) if "\n" not in text else text
        return _stated(item if only_number(item) else text)
    found_number = sentence_number(last[-_END:]) if _DIGIT.search(last) else None
    number = found_number and exact(found_number[0])
    return Final(number, found_number[1], sure=False) if found_number and number is not None else None


def final_number(text: str) -> Decimal | None:
    """The number that a text answers with, None where its final answer is another or is not certain."""
    final = final_answer(text)
    return final.value if final and final.sure and isinstance(final.value, Decimal) else None


@lru_cache(maxsize=_KEPT)
def same_final(one: str, other: str) -> bool | None:
    """Whether two answers are the same; None where they are free text that may say the same in other words.

    Different are two final answers of different values, and free texts that are one template filled in with
    other words. A label and a free text are the same where the text holds the label.
    """
    if normalise(one) == normalise(other):
        return True
    ours, theirs = words(one), words(other)
    if not ours or not theirs:
        return None
    if len(one) >= DISTINCTIVE_LENGTH and _holds(theirs, ours):
        return True
    final, given = final_answer(one), final_answer(other)
    if final is not None and given is not None:
        if final.value == given.value:
            return True
        if type(final.value) is type(given.value):
            return isinstance(final.value, str) and _typed(ours, theirs)
        if final.sure and given.sure:
            return None if _holds(ours, theirs) or _holds(theirs, ours) else False
    for found, text in ((final, theirs), (given, ours)):
        if found is not None and found.sure and isinstance(found.value, str):
            return _holds(text, words(found.value))
    if _typed(ours, theirs):
        return True
    in_common = sum((Counter(ours) & Counter(theirs)).values()) / max(len(ours), len(theirs))
    return False if in_common >= _REFILLED else None


def _holds(text: list[str], part: list[str]) -> bool:
    return f" {' '.join(part)} " in f" {' '.join(text)} "


def _typed(ours: list[str], theirs: list[str]) -> bool:
    return same_but_for_typing(theirs, ours) is not None


def boxed(text: str) -> str | None:
    """What stands in the last `\\boxed{}` of a text; None without one."""
    start = text.rfind(r"\boxed{")
    if start < 0:
        return None
    depth, begin = 0, start + len(r"\boxed{")
    for place in range(begin, len(text)):
        if text[place] == "}" and not depth:
            return text[begin:place]
        depth += (text[place] == "{") - (text[place] == "}")
    return None


def _json(text: str) -> str | None:
    fenced = _FENCED.match(text)
    inner = fenced.group(1).strip() if fenced else text
    if not inner.startswith(("{", "[", '"')):
        return None
    try:
        return json.dumps(json.loads(inner), sort_keys=True, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None


def _right_side(text: str) -> str:
    """What stands right of the last "=" of one statement; a text of several as it is."""
    *left, right = _EQUALS.split(text)
    return _signed(right) if left and right.strip() and not _SEVERAL.search(text) else text


def _signed(text: str) -> str:
    """A stated answer is no item of a list: the dash before its number is a minus."""
    return _SPACED_MINUS.sub(r"\1-", text)


def _without_markers(text: str) -> str:
    """The text without the numbers that count its steps or the items of a list."""
    counts = {int(found[1]) for found in _MARKER.finditer(text) if found[1]}
    listed = {count for count in counts if {1, 2, count - 1 or 1} <= counts}
    return _MARKER.sub(lambda found: found[0] if found[1] and int(found[1]) not in listed else "", text)


def _tail(text: str) -> str:
    """The end of a text with its last digit, and what may belong to that number: the rest takes the time."""
    last = next((place for place in range(len(text) - 1, -1, -1) if text[place].isdecimal()), 0)
    return text[max(0, last - _END) :].partition(" ")[2] if last > _END else text


def _stated(text: str) -> Final:
    text = _MARKUP.sub("", text)
    inline = _INLINE.fullmatch(text)
    text = _MARKUP.sub("", _right_side(inline[1] if inline else text))
    short = len(text) <= _END and len(words(text)) <= _LABEL_WORDS
    found = only_number(text) if short else None
    number = found and exact(found[0])
    if found and number is not None:
        return Final(number, found[1])
    formula = len(text) <= _END and _SYMBOLS.search(text)
    return Final(_expression(text) if formula else " ".join(words(text)) or normalise(text))


def _expression(text: str) -> str:
    """A formula, a pair or a label with a sign ("C++") in one spelling, its numbers by value."""
    spelt = text
    for pattern, into in _SPELT:
        spelt = pattern.sub(into, spelt)
    return "".join(
        str(Fraction(part)) if _ELEMENT.fullmatch(part) else part
        for part in re.split(r"([,;()\[\]])", normalise(spelt))
    )
