"""The final answer of a text, and whether two answers give the same one."""

import json
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from engine.data.example import normalise
from engine.data.words import same_but_for_typing, words

# "42", "yes" or a category name is the answer to many questions; alone it gives none of them away.
DISTINCTIVE_LENGTH = 20
_LABEL_WORDS = 5
_END = 4000  # characters of a text in which its final answer stands
_REFILLED = 0.6  # share of words in common from which two answers are one template filled in twice

_MARKED = re.compile(r"####[ \t]*(\S[^\n]*)")
_STATED = re.compile(
    r"\b(?:final\s+answer|answer|result)\b\s*(?:is|[:=])\s*\**\s*([^\n]+?)[\s.*]*$", re.IGNORECASE
)
_FENCED = re.compile(r"\A```(?:json)?\s*\n(.*)\n```\Z", re.DOTALL | re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.,])[-−+]?\d+(?:[,\u00a0\u202f']\d{3})*(?:\.\d+)?(?![\d])")
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|\n+")
_MARKUP = " \t\n.*_`$:;,!?"


@dataclass(frozen=True, slots=True)
class Final:
    """A normalised final answer; `sure` unless it is only the last number of a longer text.

    `text` is a short one as it was written, or the sentence of that last number; "" for any other.
    """

    value: str | Decimal
    text: str = ""
    sure: bool = True


def final_answer(text: str) -> Final | None:
    """What a text answers in the end, None for free text.

    In this order: what follows the last `####` or stands in the last `\\boxed{}`; a JSON value; what follows
    "the answer is" at the end; a text of at most five words; the last number of the last sentence.
    """
    text = unicodedata.normalize("NFKC", text).strip()
    marked = _MARKED.findall(text)
    stated = marked[-1] if marked else boxed(text)
    if stated is not None:
        return _stated(stated)
    if (value := _json(text)) is not None:
        return Final(value)
    last = _SENTENCE.split(text)[-1]
    found = _STATED.search(last[-_END:])
    if found:
        return _stated(found.group(1))
    if text and 0 < len(words(text)) <= _LABEL_WORDS:
        return _stated(text.rpartition("=")[2])
    numbers = _NUMBER.findall(last[-_END:])
    return Final(_number(numbers[-1]), last[-_END:], sure=False) if numbers else None


def final_number(text: str) -> Decimal | None:
    """The number that a text answers with, None where its final answer is another or is not certain."""
    final = final_answer(text)
    return final.value if final and final.sure and isinstance(final.value, Decimal) else None


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


def _stated(text: str) -> Final:
    return Final(_canonical(text), text if len(words(text)) <= _LABEL_WORDS else "")


def _canonical(text: str) -> str | Decimal:
    text = text.strip(_MARKUP)
    numbers = _NUMBER.findall(text)
    if len(numbers) == 1 and len(words(text)) <= _LABEL_WORDS:
        return _number(numbers[0])
    return " ".join(words(text)) or normalise(text)


def _number(text: str) -> Decimal:
    plain = re.sub(r"[,\u00a0\u202f']", "", text.replace("−", "-"))
    try:
        return Decimal(plain).normalize()
    except InvalidOperation:  # pragma: no cover  # the pattern admits only numbers
        return Decimal("NaN")
