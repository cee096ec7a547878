"""Records of other tools' files in one form, with errors that name file, line and key."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from engine.data.example import Example, query_id
from engine.data.reading import decode_json, read_records
from engine.data.textfile import read_text
from engine.errors import BadInput
from engine.judges.answers import Verdict
from engine.judges.judge import Order

Side = Literal["candidate", "baseline", "tie"]
UNKNOWN_QUESTION = "(the question is not in this file)"


@dataclass(frozen=True, slots=True)
class Grader:
    """A judge as named in those files; `details` holds their other information about it."""

    name: str
    kind: Literal["pairwise", "pointwise"]
    details: dict[str, Any]
    is_language_model: bool = True


@dataclass(frozen=True, slots=True)
class ImportedMeasure:
    """A measure that another tool computed, with the ends of its range where they are known."""

    name: str
    low: float | None = None
    high: float | None = None
    direction: str = "higher"
    unit: str = ""
    source: str = ""
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Game:
    """One grading call on a pair. `winner` is None exactly when `failure` says why.

    `turn` 0 is the whole conversation, from 1 that turn alone.
    """

    judge: str
    candidate: str
    baseline: str
    example: str
    turn: int
    order: Order
    winner: Side | None
    raw: str
    failure: str | None = None
    candidate_score: float | None = None
    baseline_score: float | None = None
    confidence: float | None = None
    cost: float | None = None
    latency_s: float | None = None


@dataclass(frozen=True, slots=True)
class ImportedMatch:
    """Candidate against baseline on one example and turn; `points`: the candidate's, where they are graded.

    Points are 0 to 1; None takes them from the outcome (a tie is half a win).
    """

    judge: str
    candidate: str
    baseline: str
    example: str
    turn: int
    outcome: Verdict
    consistent: bool | None
    points: float | None = None


@dataclass(frozen=True, slots=True)
class Grade:
    """One response graded by a judge, or by a measure. `score` is None exactly when `failure` says why."""

    judge: str
    model: str
    example: str
    turn: int
    score: float | None
    raw: str
    failure: str | None = None


@dataclass(slots=True)
class Imported:
    """All records that were read. `answers`: every turn's answer by model and example.

    Repeated grades and matches count in means and win rates only: another one of the same stands.
    """

    source: str
    models: list[str] = field(default_factory=list)
    baselines: list[str] = field(default_factory=list)
    examples: dict[str, Example] = field(default_factory=dict)
    answers: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    samples: dict[tuple[str, str], list[str | None]] = field(default_factory=dict)  # further answers
    graders: dict[str, Grader] = field(default_factory=dict)
    games: list[Game] = field(default_factory=list)
    matches: list[ImportedMatch] = field(default_factory=list)
    grades: list[Grade] = field(default_factory=list)
    measures: dict[str, ImportedMeasure] = field(default_factory=dict)
    scores: list[Grade] = field(default_factory=list)  # by measures
    repeated_grades: list[Grade] = field(default_factory=list)
    repeated_matches: list[ImportedMatch] = field(default_factory=list)
    # AlpacaEval's own prediction at equal length for each row of a judge, candidate and baseline
    glm_preferences: dict[tuple[str, str, str], list[float | None]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add_model(self, name: str) -> None:
        if name not in self.models:
            self.models.append(name)

    def add_example(self, example: Example, row: "FileRecord", key: str) -> None:
        """Keeps the first example of an id, or the first that has its question.

        Raises BadInput naming the row's key where the id stands for another question.
        """
        known = self.examples.get(example.id)
        if known is None or known.query == UNKNOWN_QUESTION:
            self.examples[example.id] = example
        elif example.query != UNKNOWN_QUESTION and query_id(known.query) != query_id(example.query):
            raise row.wrong(key, f"{example.id:.60} stands for another question in a line before")


class FileRecord:
    """One record; a missing field raises a BadInput that names the place."""

    def __init__(self, path: Path, line: int, values: Mapping[str, Any]) -> None:
        self.path = path
        self.line = line
        self.values = values

    def wrong(self, key: str, what: str) -> BadInput:
        return BadInput(f"{self.path}:{self.line}: {key}: {what}")

    def text(self, key: str) -> str:
        """A text, or a number as it is written."""
        value = self.values.get(key)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.wrong(key, "is missing" if value is None else f"found {value!r:.60}, expected a text")
        return str(value)

    def optional(self, key: str) -> str | None:
        return None if self.values.get(key) is None else self.text(key)

    def number(self, key: str) -> float | None:
        """A number; None for what is missing or not a number."""
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(key, f"found {value!r:.60}, expected a number")
        return None if value != value else float(value)

    def number_or_text(self, key: str) -> float | None:
        """A number, also as text."""
        value = self.values.get(key)
        if not isinstance(value, str):
            return self.number(key)
        if value.strip().lower() in ("", "nan", "none", "null"):
            return None
        try:
            number = float(value)
        except ValueError:
            raise self.wrong(key, f"found {value!r:.60}, expected a number") from None
        if number in (float("inf"), float("-inf")):
            raise self.wrong(key, f"found {value!r:.60}, expected a finite number")
        return None if number != number else number

    def whole(self, key: str) -> int:
        value = self.values.get(key)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(key, f"found {value!r:.60}, expected a whole number")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.values.get(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(key, "expected a list of texts")
        return tuple(value)

    def has(self, *keys: str) -> bool:
        return all(self.values.get(key) is not None for key in keys)


def rows(path: Path) -> list[FileRecord]:
    """All records of a JSONL file or JSON list. Raises BadInput when there is none."""
    found = [FileRecord(path, line, values) for line, values in read_records(path)]
    if not found:
        raise BadInput(f"{path}: holds no records")
    return found


def document(path: Path) -> Any:
    """The one JSON value that a file is. Raises BadInput naming it."""
    return decoded(read_text(path), str(path))


def decoded(text: str, place: str) -> Any:
    """The JSON value in a text. Raises BadInput naming its place."""
    try:
        return decode_json(text)
    except ValueError as error:
        raise BadInput(f"{place}: is not JSON: {error}", "Export the file again.") from error


def write_lines(file: IO[str], records: Iterable[Mapping[str, Any]]) -> None:
    """JSON lines; a lone surrogate, which UTF-8 cannot carry, as its escape."""
    file.writelines(_json(record) + "\n" for record in records)


def write_list(file: IO[str], records: Iterable[Mapping[str, Any]]) -> None:
    """One JSON list."""
    file.write("[\n" + ",\n".join(map(_json, records)) + "\n]\n")


def _json(record: Mapping[str, Any]) -> str:
    text = json.dumps(record, ensure_ascii=False, allow_nan=False)
    return text if text.isascii() or _encodes(text) else json.dumps(record, allow_nan=False)


def _encodes(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
