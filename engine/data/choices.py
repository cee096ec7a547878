"""Multiple-choice questions: the choices of a record, and the right one."""

import re
import string
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NoReturn

from engine.data.cells import Malformed, listed

COLUMNS = ("choices", "options", "endings")
# Where the right one is named, in the order in which it is looked for.
KEYS = (
    "references", "reference", "answer", "answerKey", "answer_key", "answer_idx", "answer_index", "answer_id",
    "correct", "correct_answer", "correct_option", "correct_choice", "answers", "label", "target", "gold",
)  # fmt: skip
# These name a label; any other key may also count from 0.
_LABELS = ("answerKey", "answer_key", "correct_option", "correct_choice")
_LETTERS = string.ascii_uppercase
_PREFIX = re.compile(r"\s*\(?([A-Z])[).:]\s*(.*)", re.DOTALL)
_NAMED = re.compile(r"(?:(?i:option|choice)\s+(?=\(?[A-Za-z]\b))?\(?([A-Za-z]|\d{1,3})[).:]?")
_SEVERAL = re.compile(r"\(?[A-Z]\)?(?:\s*+(?:[,;&/+]\s*+)?(?:and\s*+)?\(?[A-Z]\)?)++")
# A column for each choice: A, option_a, choice1, ending0. Two answers may be of two models.
_OF_ONE = re.compile(r"(?:(option|choice|ending|opt|op|answer|ans)[ _-]?([a-j]|\d)|([A-J]))", re.IGNORECASE)
_ANSWERS = ("answer", "ans")


@dataclass(frozen=True, slots=True)
class Choices:
    """The choices with a label each; `own` are the labels that the record gives them, where it does."""

    column: str
    labels: tuple[str, ...]
    texts: tuple[str, ...]
    own: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()  # where each choice has its own
    counted: tuple[int, ...] = ()  # the place of each in the record, from 0: empty ones count

    def asked(self, question: str) -> str:
        """The question with the lettered choices below it, unless it lists them itself."""
        if all(
            self._lists(question, label, text) for label, text in zip(self.labels, self.texts, strict=True)
        ):
            return question
        lines = [f"{label}. {text}" for label, text in zip(self.labels, self.texts, strict=True)]
        return "\n".join([question, "", *lines])

    @staticmethod
    def _lists(question: str, label: str, text: str) -> bool:
        return (
            re.search(rf"(?<!\w)\(?{re.escape(label)}[).:]\s*{re.escape(text.strip())}", question) is not None
        )

    def right(self, record: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
        """The label and the text of the right choice, and the column that names it; ((), "") without one.

        A whole number that is no label is an index from 0. Raises Malformed for a number or letter that names
        no choice, and for one that could mean two of them.
        """
        for key in KEYS:
            value = record.get(key)
            given = value if isinstance(value, list) else [value]
            if any(isinstance(item, bool | list | dict) or item in (None, "") for item in given):
                continue
            places = {self._place(item, key) for item in given}
            if len(places - {None}) > 1:
                self._refuse_several(value, key)
            if len(places) == 1 and (place := places.pop()) is not None:
                return (self.labels[place], self.texts[place]), key
        return (), ""

    def _refuse_several(self, value: Any, key: str) -> NoReturn:
        raise Malformed(f"{key}: {value!a:.60} names several {self.column}; only one can be right")

    def _place(self, value: Any, key: str) -> int | None:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        said = str(value).strip()
        if said in self.columns:
            return self.columns.index(said)
        named = _NAMED.fullmatch(said)
        if named and named[1].isdigit():
            self._refuse_uncertain(str(int(named[1])), key)
        if said in self.own:
            return self.own.index(said)
        if isinstance(value, int | float):
            if value not in self.counted:
                raise Malformed(
                    f"{key}: {value} is none of the {len(self.texts)} {self.column}, counted from 0"
                )
            return self.counted.index(value)
        by_text = self._saying(said)
        by_name = self._named(named[1]) if named else None
        if by_text and by_name is not None and by_name not in by_text and not self.own:
            raise Malformed(
                f"{key}: {said!a} is the text of choice {self.labels[by_text[0]]} and could name choice "
                f"{self.labels[by_name]}; write the letter, and give the choices labels"
            )
        if by_text or by_name is not None:
            return by_text[0] if by_text else by_name
        letter = _PREFIX.fullmatch(said)
        if letter and letter[1] in self.labels and (by_text := self._saying(letter[2])):
            if (place := self.labels.index(letter[1])) not in by_text:
                raise Malformed(f"{key}: {said!a:.60} has the text of choice {self.labels[by_text[0]]}")
            return place
        if _SEVERAL.fullmatch(said) and {*re.findall("[A-Z]", said)} <= {*self.labels}:
            self._refuse_several(value, key)
        if (named and not said.isalpha()) or len(said) == 1:
            raise Malformed(f"{key}: {said!a} names none of the {len(self.texts)} {self.column}")
        return None

    def _refuse_uncertain(self, count: str, key: str) -> None:
        """Refuses a number that counts from 0 beside labels from 1, or may do so beside columns from 1."""
        if self.own[:1] != (str(self.counted[0] + 1),):
            return
        names = self.columns or self.own
        way_out = f"write the text of the right choice{', or its column' if self.columns else ''}"
        if count == "0":
            raise Malformed(f"{key}: 0 is none of {', '.join(names)}; {way_out}")
        own = names[self.own.index(count)] if count in self.own else "an empty choice"
        labelled = count in self.own and (key in _LABELS or not self.columns)
        if int(count) in self.counted and not labelled:
            raise Malformed(f"{key}: {count} could be {own}, or count from 0; {way_out}")

    def _saying(self, said: str) -> list[int]:
        """The places of the choices with this text, but for case and a full stop."""
        wanted = _loose(said)
        return [place for place, text in enumerate(self.texts) if _loose(text) == wanted]

    def _named(self, name: str) -> int | None:
        if name.isdigit():
            return self.counted.index(int(name)) if int(name) in self.counted else None
        return self.labels.index(name.upper()) if name.upper() in self.labels else None


def choices_of(record: Mapping[str, Any]) -> Choices | None:
    """The choices of a record, None where it has none that can be read.

    Read are a list of texts (MMLU), {"text": […], "label": […]} (ARC), a list of {"label" or "id", "text"}
    (CommonsenseQA), an object with the letters as keys (MedQA), and a column for each: A, B … (C-Eval),
    option_a, choice1 ….
    """
    for column in COLUMNS:
        value = record.get(column)
        if isinstance(value, str):
            value = listed(value)
        if found := _read(value):
            return _lettered(column, *found)
    for columns in _columns_of_choices(tuple(record)):
        if found := _read({label: None if record[name] == "" else record[name] for label, name in columns}):
            names = tuple(columns[place][1] for place in found[2])
            return replace(_lettered(f"columns {', '.join(names[:2])} …", *found), columns=names)
    return None


@lru_cache(maxsize=64)
def _columns_of_choices(names: tuple[str, ...]) -> list[list[tuple[str, str]]]:
    """The columns, with their labels, of each kind of which there are the first two."""
    kinds = defaultdict(list)
    for name in names:
        if found := _OF_ONE.fullmatch(name):
            kind, label = (found[1] or "").casefold(), (found[2] or found[3]).upper()
            if kind or name.isupper():
                kinds[kind].append((label, name))
    return [
        sorted(columns)
        for kind, columns in kinds.items()
        if len(columns) > (2 if kind in _ANSWERS else 1)
        and "".join(label for label, _ in sorted(columns)[:2]) in ("AB", "01", "12")
    ]


_AT_LINES = re.compile(r"^[ \t>*-]*\(?\**([A-Z])\**[).:]\s", re.MULTILINE)
_IN_LINE = re.compile(r"(?<!\w)\(?([A-Z])\)\s")


def labels_listed(question: str) -> tuple[str, ...]:
    """The letters of the choices that a question lists, the last list of several; () where it lists none.

    Read are letters from A in order, each at the start of a line ("A. …", "(A) …") or, where there are no two
    of those, in brackets ("A) … B) …"). Questions that Assay makes of choices have the former.
    """
    for pattern in (_AT_LINES, _IN_LINE):
        found: list[str] = []
        for match in pattern.finditer(question):
            if match[1] == "A":
                found = ["A"]
            elif found and match[1] == _LETTERS[len(found) % len(_LETTERS)]:
                found.append(match[1])
        if len(found) > 1:
            return tuple(found)
    return ()


def stand_beside(record: Iterable[str]) -> bool:
    """Whether columns of choices may stand among some columns."""
    names = tuple(record)
    return not {*COLUMNS}.isdisjoint(names) or bool(_columns_of_choices(names))


def columns_of(choices: Choices, record: Mapping[str, Any]) -> set[str]:
    """The columns that the choices were read from."""
    return {*choices.columns} or {choices.column} & record.keys()


def _loose(text: str) -> str:
    return text.strip().rstrip(".").casefold()


def _lettered(column: str, own: tuple[str, ...], texts: tuple[str, ...], counted: tuple[int, ...]) -> Choices:
    lettered = len(set(own)) == len(texts) and all(len(label) == 1 and label in _LETTERS for label in own)
    if lettered:
        return Choices(column, own, texts, own, counted=counted)
    labels = (
        tuple(_LETTERS[: len(texts)])
        if len(texts) <= len(_LETTERS)
        else tuple(map(str, range(1, len(texts) + 1)))
    )
    return Choices(column, labels, texts, own, counted=counted)


_Read = tuple[tuple[str, ...], tuple[str, ...], tuple[int, ...]]


def _read(value: Any) -> _Read | None:
    """The labels, if there are any, the texts, and their places among the empty ones."""
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        labels = value.get("label")
        return _checked(labels if isinstance(labels, list) else [], value["text"])
    if isinstance(value, dict):
        given = [(place, key, text) for place, (key, text) in enumerate(value.items()) if text is not None]
        if all(len(key) == 1 and (key.upper() in _LETTERS or key.isdigit()) for _, key, _ in given):
            found = _checked([key.upper() for _, key, _ in given], [text for *_, text in given])
            return found and (*found[:2], tuple(place for place, *_ in given))
        return None
    if not isinstance(value, list):
        return None
    if value and all(isinstance(item, dict) and "text" in item for item in value):
        labels = [item[key] for item in value for key in ("label", "id", "key") if key in item]
        return _checked(labels, [item["text"] for item in value])
    matches = [_PREFIX.fullmatch(item) if isinstance(item, str) else None for item in value]
    prefixes = [match for match in matches if match]
    if len(prefixes) == len(value) and [match[1] for match in prefixes] == list(_LETTERS[: len(value)]):
        return _checked([match[1] for match in prefixes], [match[2] for match in prefixes])
    return _checked([], value)


def _checked(labels: list[Any], texts: list[Any]) -> _Read | None:
    if len(texts) < 2 or not all(isinstance(text, str | int | float) for text in texts):
        return None
    if labels and len(labels) != len(texts):
        return None
    return tuple(str(label).strip() for label in labels), tuple(map(str, texts)), tuple(range(len(texts)))
