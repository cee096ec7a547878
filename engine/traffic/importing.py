"""Imports logs of production traffic: what gateways, servers and tracing tools write, file after file.

Files are read as streams, each row by the format that its content shows. What was stored once is not stored
again, so an import that was interrupted is simply repeated. A row that cannot be read is counted and told.
"""

import json
import time as clock
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.data.cells import Malformed, listed
from engine.data.files import data_suffix, is_dataset
from engine.data.reading import json_objects, read_records
from engine.data.textfile import text_lines, text_start
from engine.errors import BadInput
from engine.formats.votes import THUMBS
from engine.traffic import logs, spans
from engine.traffic.events import ASKED, KEYS, SAID, read
from engine.traffic.exchanges import Raw, exchange
from store.read.history import Connection
from store.read.traffic import count, waiting
from store.records import TrafficEvent, TrafficFeedback
from store.records.traffic import UNKNOWN_MODEL
from store.traffic import Added, add

NATIVE, TABLE, BATCH, VLLM = "native", "table", "openai-batch", "vllm"
_BATCH_ROWS, _BATCH_CHARACTERS = 500, 8 << 20  # of one transaction
_SHOWN = 20  # rows that could not be read and are told one by one
_WRAPPERS = ("data", "traces", "runs", "spans", "items", "logs", "results", "events")

# What other people's columns are called, where nobody says which column is what.
ALIASES: Mapping[str, Sequence[str]] = {
    "time": ("timestamp", "created_at", "created", "datetime", "date", "request_time", "start_time", "ts"),
    "prompt": ("question", "query", "input", "user_message", "user_input", "instruction", "request"),
    "messages": ("conversation", "conversations", "chat"),
    "response": ("answer", "output", "completion", "reply", "assistant_message", "generation"),
    "id": ("request_id", "event_id", "message_id", "uuid"),
    "model": ("model_name", "model_id", "deployment"),
    "version": ("model_version",),
    "variant": ("arm", "experiment", "experiment_group"),
    "user": ("user_id", "userId", "end_user", "customer_id"),
    "session": ("session_id", "sessionId", "conversation_id", "thread_id"),
    "tokens_in": ("prompt_tokens", "input_tokens"),
    "tokens_out": ("completion_tokens", "output_tokens"),
    "latency_ms": ("duration_ms", "response_time_ms"),
    "latency_s": ("duration_s",),
    "thumbs": ("feedback", "user_feedback", "thumb"),
    "rating": ("stars",),
    "comment": ("feedback_comment", "feedback_text"),
    "correction": ("corrected", "corrected_response", "ideal_response"),
    "finish_reason": ("stop_reason",),
    "reason": ("error",),
}


def _native(record: Mapping[str, Any]) -> Iterator[Raw]:
    raw = {key: record[key] for key in KEYS if key in record}
    if raw.get("messages") and not raw.get("response") and not raw.get("choices"):
        raw |= exchange(raw["messages"])
    yield raw


def _is_native(record: Mapping[str, Any]) -> bool:
    asked = any(isinstance(record.get(key), str | list) for key in ASKED)
    said = any(record.get(key) is not None for key in SAID)
    known = sum(key in KEYS for key in record)
    told = isinstance(record.get("response"), str | None)
    return ("time" in record and asked and told and known * 2 > len(record)) or (
        said and "event_id" in record
    )


def _table(record: Mapping[str, Any]) -> Iterator[Raw]:
    named = {
        name: next((key for key in (name, *ALIASES.get(name, ())) if record.get(key) not in (None, "")), None)
        for name in KEYS
    }
    raw = {name: record[key] for name, key in named.items() if key is not None}
    if isinstance(words := raw.get("thumbs"), str) and words.strip().lower() not in THUMBS:
        raw["comment"] = "\n".join(map(str, filter(None, [raw.pop("thumbs"), raw.get("comment")])))
    if "messages" not in raw and isinstance(prompt := raw.get("prompt"), list | dict):
        del raw["prompt"]
        raw |= exchange(prompt, raw.pop("response", None))
    elif "messages" in raw:
        raw |= exchange(raw.pop("messages"), raw.get("response"))
    yield raw


def _is_table(record: Mapping[str, Any]) -> bool:
    names = {name for name in KEYS if {name, *ALIASES.get(name, ())} & record.keys()}
    is_event = "time" in names and not names.isdisjoint(ASKED)
    return is_event or ("event_id" in record and not names.isdisjoint(SAID))


Read = Callable[[Mapping[str, Any]], Iterator[Raw | Malformed | None]]
FORMATS: Mapping[str, tuple[Callable[[Mapping[str, Any]], bool], Read]] = {
    NATIVE: (_is_native, _native),
    "otlp": (spans.is_otlp, spans.of_otlp),
    "spans": (spans.is_span, spans.of_record),
    "phoenix-annotations": (logs.is_annotation, logs.of_annotation),
    "mlflow": (spans.is_mlflow, spans.of_mlflow),
    "litellm": (logs.is_litellm, logs.of_litellm),
    "langsmith": (logs.is_langsmith, logs.of_langsmith),
    "langfuse": (logs.is_langfuse, logs.of_langfuse),
    "openai": (logs.is_pair, logs.of_pair),
    TABLE: (_is_table, _table),
}
NAMES = (*FORMATS, BATCH, VLLM)


@dataclass(slots=True)
class TrafficAccount:
    """What an import did. `left_out` names the first rows that could not be read, `unreadable` counts them.

    `others` counts what is no exchange: other spans of a trace, and scores that no person gave.
    """

    formats: Counter[str] = field(default_factory=Counter)
    added: Added = field(default_factory=Added)
    others: int = 0
    unreadable: int = 0
    left_out: list[str] = field(default_factory=list)
    nameless: int = 0  # events in the store of which no log says which model answered
    waiting: int = 0  # feedback in the store whose event is not there

    def leave_out(self, reason: str) -> None:
        self.unreadable += 1
        if len(self.left_out) < _SHOWN:
            self.left_out.append(reason)

    @property
    def read(self) -> int:
        return sum(self.formats.values())


def settled(raw: Raw, variant: str | None = None) -> Raw:
    """An object for `engine.traffic.events`: of the model that was asked for and the one that answered, the
    second is the version where they differ; the time of the answer stands in for that of the question.
    """
    answered, created = raw.pop("answered_by", None), raw.pop("created", None)
    if answered and not raw.get("model"):
        raw["model"] = answered
    elif answered and answered != raw.get("model") and not raw.get("version"):
        raw["version"] = answered
    if raw.get("time") in (None, "") and created is not None and not any(map(raw.get, SAID)):
        raw["time"] = created
    if variant and not raw.get("variant") and any(raw.get(key) is not None for key in ASKED):
        raw["variant"] = variant
    return raw


def rows_of(
    record: Mapping[str, Any], format: str | None = None
) -> tuple[str, Iterator[Raw | Malformed | None]]:
    """The format of a record and the objects in it, None for each thing in it that is none, and an error for
    one that cannot be read.

    Raises Malformed for a record of no known format.
    """
    if format is not None:
        fits, convert = FORMATS.get(format, (None, None))
        if convert is None or (fits is not None and format not in (NATIVE, TABLE) and not fits(record)):
            raise Malformed(f"is no row of {format}")
        return format, convert(record)
    for name, (fits, convert) in FORMATS.items():
        if fits(record):
            return name, convert(record)
    keys = ", ".join(ascii(key)[1:-1] for key in list(record)[:12])
    raise Malformed(f"is in no known format; its keys are {keys:.200}")


def _unwrapped(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The records in a page of an interface ({"data": […], "next_cursor": …}), else the record itself."""
    for key in _WRAPPERS:
        inner = record.get(key)
        if isinstance(inner, list) and len(record) <= 4 and all(isinstance(item, dict) for item in inner):
            yield from inner
            return
    yield record


class _Import:
    """One import: rows come in, batches go to the store."""

    def __init__(
        self,
        connection: Connection,
        salt: bytes,
        variant: str | None,
        mask: bool,
        tell: Callable[[int], None],
    ) -> None:
        self._connection = connection
        self._options: dict[str, Any] = {"salt": salt, "mask": mask, "received": clock.time()}
        self._variant = variant
        self._tell = tell
        self._events: list[TrafficEvent] = []
        self._feedback: list[TrafficFeedback] = []
        self._places: dict[str, str] = {}
        self._characters = 0
        self.halves = logs.Halves()
        self.account = TrafficAccount()

    def take(self, place: str, record: Mapping[str, Any], format: str | None) -> None:
        """Reads one record of a file, which may hold several rows."""
        for inner in _unwrapped(record):
            try:
                if format in (None, BATCH) and logs.is_batch(inner):
                    self._keep(place, BATCH, logs.of_batch(inner, place, self.halves))
                else:
                    self._keep(place, *rows_of(inner, format))
            except (Malformed, RecursionError) as error:
                self.account.leave_out(f"{place}: {error}")

    def _keep(self, place: str, name: str, rows: Iterable[Raw | Malformed | None]) -> None:
        for row in rows:
            if row is None:
                self.account.others += 1
            elif isinstance(row, Malformed):
                self.account.leave_out(f"{place}: {row}")
            else:
                self.keep(place, name, row)

    def keep(self, place: str, name: str, row: Raw) -> None:
        """Stores one row, soon."""
        try:
            event, feedback = read(settled(row, self._variant), source=name, **self._options)
        except Malformed as error:
            self.account.leave_out(f"{place}: {error}")
            return
        self.account.formats[name] += 1
        if event is not None:
            self._events.append(event)
            self._places[event.id] = place
            self._characters += len(event.response or "") + sum(
                len(turn["content"]) for turn in event.messages
            )
        if feedback is not None:
            self._feedback.append(feedback)
        if len(self._events) + len(self._feedback) >= _BATCH_ROWS or self._characters > _BATCH_CHARACTERS:
            self.store()

    def store(self) -> None:
        """Puts what was read so far into the store."""
        added = add(self._connection, self._events, self._feedback)
        for clash in added.clashes:
            self.account.leave_out(
                f"{self._places[clash.id]}: its id stands for another question in the store already"
            )
        self.account.added += Added(added.new, added.known, added.updated, added.feedback)
        self._events, self._feedback, self._places, self._characters = [], [], {}, 0
        self._tell(self.account.read)


def import_traffic(
    paths: Sequence[Path],
    connection: Connection,
    salt: bytes,
    *,
    format: str | None = None,
    fields: Mapping[str, str] | None = None,
    variant: str | None = None,
    mask: bool = False,
    tell: Callable[[int], None] = lambda _: None,
) -> TrafficAccount:
    """Reads logs and stores the events and the feedback in them; `tell` hears how many rows were read.

    `fields` names for keys of an event the columns of a table, or paths into its objects (`a.b.0.c`);
    `variant` is that of events without one. Raises BadInput where a file is missing, or nothing can be read.
    """
    for path in paths:
        if not path.exists() and not is_dataset(path):
            raise BadInput(f"{path}: no such file")
    work = _Import(connection, salt, variant, mask, tell)
    try:
        for path in paths:
            _read_file(path, work, format, fields or {})
            work.store()
        for place, sent in work.halves.left():
            missing = "answer" if sent else "question"
            work.account.leave_out(f"{place}: the {missing} that belongs to it is in none of the files")
    finally:
        work.halves.close()
    account = work.account
    account.waiting, account.nameless = waiting(connection), count(connection, model=UNKNOWN_MODEL)
    if not account.read:
        reasons = account.left_out[:3]
        if account.others:
            reasons.append("among its spans, runs and scores is no exchange and no person's word")
        names = ", ".join(NAMES)
        raise BadInput(
            "\n  ".join([f"{paths[0]}: holds nothing that can be read as traffic", *reasons]),
            f"--map FIELD=COLUMN says which column is what; --format is one of {names}",
        )
    return account


def _read_file(path: Path, work: _Import, format: str | None, fields: Mapping[str, str]) -> None:
    before = work.account.read
    try:
        if format == VLLM or (format is None and _looks_like_a_log(path)):
            _read_log(path, work)
            return
        for line, record in _records(path, work.account):
            place = f"{path}:{line}"
            if fields:
                _take_mapped(place, record, work, format, fields)
            else:
                work.take(place, record, format)
    except BadInput as error:
        rest = "; nothing after that was read" if work.account.read > before else ""
        work.account.leave_out(f"{error.message}{rest}")


def _take_mapped(
    place: str, record: Mapping[str, Any], work: _Import, format: str | None, fields: Mapping[str, str]
) -> None:
    named = {name: _at(record, column) for name, column in fields.items()}
    if missing := [fields[name] for name, value in named.items() if value is _NOTHING and name in _NEEDED]:
        work.account.leave_out(f"{place}: has nothing in a column {missing[0]!r:.60}")
        return
    given = {name: value for name, value in named.items() if value is not _NOTHING}
    work.take(place, {**_without(record, fields), **given}, format or TABLE)


_NEEDED = ("time", *ASKED)
_NOTHING = object()


def _without(record: Mapping[str, Any], fields: Mapping[str, str]) -> Mapping[str, Any]:
    """The record but for the columns that are named, and other names of what they are."""
    gone = {*fields.values(), *(alias for name in fields for alias in ALIASES.get(name, ()))}
    gone |= (
        {*ASKED, *ALIASES["prompt"], *ALIASES["messages"]} if not fields.keys().isdisjoint(ASKED) else set()
    )
    return {key: value for key, value in record.items() if key not in gone}


def _at(record: Any, column: str) -> Any:
    """What a column holds, or the place that a path of dots leads to."""
    if column in record:
        return record[column]
    for name in column.split("."):
        record = listed(record) if isinstance(record, str) else record
        if isinstance(record, dict) and name in record:
            record = record[name]
        elif isinstance(record, list) and name.isdecimal() and int(name) < len(record):
            record = record[int(name)]
        else:
            return _NOTHING
    return record


def _records(path: Path, account: TrafficAccount) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The records of a file, in which objects may also stand over many lines."""
    columnar = data_suffix(path) in (".csv", ".tsv", ".parquet", ".arrow") or is_dataset(path)
    if not columnar and _has_long_objects(path):
        yield from json_objects(path)
        return
    for line, record in read_records(path, lambda bad: account.leave_out(bad.message)):
        yield line, {key: value for key, value in record.items() if value != ""} if columnar else record


def _has_long_objects(path: Path) -> bool:
    """Whether the first line begins an object that a later one ends."""
    if not text_start(path).lstrip().startswith("{"):
        return False
    if _is_whole(next((text for _, text in text_lines(path, lambda bad: None) if text.strip()), "")):
        return False
    try:
        next(json_objects(path), None)
    except BadInput:  # JSON lines whose first is damaged
        return False
    return True


def _is_whole(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _looks_like_a_log(path: Path) -> bool:
    if is_dataset(path) or data_suffix(path) in (".csv", ".tsv", ".parquet", ".arrow", ".json", ".jsonl"):
        return False
    return any(logs.is_vllm(text) for _, text in zip(range(2000), _texts(path), strict=False))


def _texts(path: Path) -> Iterator[str]:
    return (text for _, text in text_lines(path, lambda bad: None))


def _read_log(path: Path, work: _Import) -> None:
    lines = text_lines(path, lambda bad: work.account.leave_out(bad.message))
    for number, row in logs.of_vllm(lines, path, work.halves):
        if row is None:
            work.account.leave_out(f"{path}:{number}: tells of a request in a form that is not known")
        else:
            work.keep(f"{path}:{number}", VLLM, row)
