"""Finds what an evaluation can use in a folder: models, adapters, data, training configs, prompts.

Only names and the first records of files are read, no model is loaded. File names come from anywhere: one
that cannot be written into a plan is left out and reported.
"""

import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from engine.data.example import Example, normalise
from engine.data.files import data_suffix
from engine.data.reading import read_records
from engine.data.shapes import example_from
from engine.errors import AssayError, BadInput
from engine.models.recorded import LISTS

DATA = frozenset({".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow"})
ROWS = 2000  # records that are looked at
MOST_LIST_BYTES = 64 << 20  # a JSON list is read whole
MOST_LABELS = 50
SHORT_WORDS = 4
_NUMBER = frozenset("0123456789.,-+%$€ ")


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of examples, of training data or of answers made elsewhere.

    `rows` were read, and there are `more`. `asks` says that all of them can be asked of a model,
    `answers` that they are recorded outputs. `keys` are their ids and normalised queries. Their fields
    count where all have them, `labels` where they repeat; `label_field` is the key of JSON references with
    the label.
    """

    path: Path
    size: int
    rows: int
    more: bool
    asks: bool
    answers: bool
    keys: frozenset[str]
    references: bool = False
    reference_words: int = 0  # of the middle one
    json_references: bool = False
    numbers: bool = False
    labels: tuple[str, ...] = ()
    label_field: str | None = None
    tests: bool = False
    schemas: bool = False
    calls: bool = False  # of tools, in some

    @property
    def what(self) -> str:
        """How many records, and what they come with."""
        held = (
            ("references", self.references),
            ("labels", bool(self.labels)),
            ("schemas", self.schemas),
            ("tests", self.tests),
            ("tool calls", self.calls),
        )
        words = [name for name, there in held if there]
        count = f"{self.rows:,}{' or more' if self.more else ''}"
        noun = "answers" if self.answers and not self.asks else "records"
        return f"{count} {noun}{': ' if words else ''}{', '.join(words)}"


def look_into(path: Path) -> DataFile | None:
    """The data in a file; None for a JSON file that is no list of records.

    Raises BadInput for a file that cannot be read, or whose records have no known shape.
    """
    size = path.stat().st_size
    if data_suffix(path) == ".json":
        if not _is_list(path):
            return None
        if size > MOST_LIST_BYTES:
            raise BadInput(f"{path}: a list of {size >> 20} MiB is too large to read", "write JSON lines")
    found = list(islice(read_records(path), ROWS + 1))
    records = found[:ROWS]
    if not records:
        raise BadInput(f"{path}: holds no record")
    answers = all(_is_answer(record) for _, record in records)
    keys = frozenset(_keys(record for _, record in records))
    try:
        examples = [example_from(path, record, {}, training=True) for record in records]
    except BadInput:
        if not answers:
            raise
        return DataFile(path, size, len(records), len(found) > ROWS, False, True, keys)
    return DataFile(
        path,
        size,
        len(records),
        len(found) > ROWS,
        all(example.messages and example.query.strip() for example in examples),
        answers,
        keys | {normalise(example.query) for example in examples},
        **_held(examples),
    )


def _is_list(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1 << 10).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"[", b"\x1f", b"\x28")


def _is_answer(record: dict[str, Any]) -> bool:
    asked = record.get("id") is not None or isinstance(record.get("query"), str)
    if "response" in record:
        return asked and isinstance(record["response"], str | None)
    lists = [record[name] for name in LISTS if isinstance(record.get(name), list)]
    return asked and any(texts and all(isinstance(text, str | None) for text in texts) for texts in lists)


def _keys(records: Iterable[dict[str, Any]]) -> Iterator[str]:
    for record in records:
        if record.get("id") is not None:
            yield f"id {record['id']}"
        if isinstance(record.get("query"), str):
            yield normalise(record["query"])


def _held(examples: list[Example]) -> dict[str, Any]:
    """The fields that all examples have."""
    references = [example.references[0] for example in examples if example.references]
    complete = len(references) == len(examples)
    objects = [_object(text) for text in references] if complete else []
    labels = [example.label for example in examples if example.label is not None]
    distinct = tuple(sorted(set(labels)))
    labelled = len(labels) == len(examples) and 2 <= len(distinct) <= min(MOST_LABELS, len(labels) // 2)
    is_json = complete and all(item is not None for item in objects)
    words = sorted(len(text.split()) for text in references)
    return {
        "references": complete,
        "reference_words": words[len(words) // 2] if complete else 0,
        "json_references": is_json,
        "numbers": complete and all(text.strip() and set(text) <= _NUMBER for text in references),
        "labels": distinct if labelled else (),
        "label_field": _label_field(examples, objects) if labelled and is_json else None,
        "tests": all(example.tests for example in examples),
        "schemas": all(example.schema is not None for example in examples),
        "calls": any(example.calls for example in examples),
    }


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _label_field(examples: list[Example], objects: list[dict[str, Any] | None]) -> str | None:
    """The key of the references under which each example's label stands."""
    names = objects[0] or {}
    pairs = [(example.label, item or {}) for example, item in zip(examples, objects, strict=True)]
    return next((name for name in names if all(item.get(name) == label for label, item in pairs)), None)


DEPTH = 5
MOST_ENTRIES = 20_000
MOST_DATA = 60  # data files that are looked into
MOST_JSON_BYTES = 1 << 20
MOST_PROMPT_BYTES = 64 << 10
_SKIPPED = frozenset({"node_modules", "site-packages", "__pycache__", "wandb", "mlruns", "logs", "venv"})
_TRAINER = ("trainer_state.json", "training_args.bin", "optimizer.pt")
_TUNED = re.compile(
    r"(?:^|[-_.])(?:checkpoint-?\d+|merged|sft|dpo|orpo|tuned|finetuned?|ft)(?:[-_.]|$)", re.I
)
_PROMPT = re.compile(r"system|prompt", re.IGNORECASE)
_PROMPT_FILES = (".md", ".txt", ".jinja", ".j2")
_BASE = ("base_model", "model_name_or_path", "model_name")
_ANSWERS = ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model that save_pretrained() wrote; `tuned` where its name or folder indicates training."""

    path: Path
    tuned: bool
    changed: float


@dataclass(frozen=True, slots=True)
class AdapterFolder:
    """An adapter, and the base model that its config names."""

    path: Path
    base: str
    changed: float


@dataclass(frozen=True, slots=True)
class TrainingFile:
    """A training config: its base model, where it wrote to, and the data that it and its evaluation read."""

    path: Path
    base: str
    output: str
    train: tuple[str, ...]
    evaluation: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BenchmarkTask:
    """A local task of lm-evaluation-harness, by the name that its file gives it."""

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class Found:
    """The findings, each kind by path; `left_out` gives the reasons why other files are not usable."""

    folder: Path
    models: tuple[ModelFolder, ...] = ()
    adapters: tuple[AdapterFolder, ...] = ()
    configs: tuple[TrainingFile, ...] = ()
    data: tuple[DataFile, ...] = ()
    schemas: tuple[Path, ...] = ()
    prompts: tuple[Path, ...] = ()
    tasks: tuple[BenchmarkTask, ...] = ()
    left_out: tuple[str, ...] = ()


def look(folder: Path) -> Found:
    """Looks through a folder, DEPTH levels deep, hidden folders left out; paths are absolute."""
    folder = folder.absolute()
    search = _Search()
    for place, files in _folders(folder, search.left_out):
        search.visit(place, files)
    return Found(
        folder,
        models=tuple(search.models),
        adapters=tuple(search.adapters),
        configs=tuple(search.configs),
        data=tuple(search.examples),
        schemas=tuple(search.schemas),
        prompts=tuple(search.prompts),
        tasks=tuple(search.tasks),
        left_out=tuple(dict.fromkeys(search.left_out)),
    )


def _folders(folder: Path, left_out: list[str]) -> Iterator[tuple[Path, list[Path]]]:
    """Each folder with its files, shallow ones first; links to folders are followed once."""
    seen, entries = {folder.resolve()}, 0
    todo = [(folder, 0)]
    for place, depth in todo:
        try:
            inside = sorted(islice(place.iterdir(), MOST_ENTRIES + 1))
        except OSError as error:
            left_out.append(f"{place}: {error.strerror}")
            continue
        entries += len(inside)
        if entries > MOST_ENTRIES:
            left_out.append(f"more than {MOST_ENTRIES:,} files: the rest of {folder} was not searched")
            return
        files = []
        for path in inside:
            if not _writable_name(path):
                left_out.append(f"{path!a}: its name is not UTF-8")
            elif _is(path, stat.S_ISREG):
                files.append(path)
            elif depth < DEPTH and _is_looked_into(path) and path.resolve() not in seen:
                seen.add(path.resolve())
                todo.append((path, depth + 1))
        yield place, files


def _is_looked_into(path: Path) -> bool:
    return not path.name.startswith(".") and path.name not in _SKIPPED and _is(path, stat.S_ISDIR)


def _is(path: Path, kind: Callable[[int], bool]) -> bool:
    """Whether it is of this kind; False for a broken link and for an unreadable path."""
    try:
        return kind(path.stat().st_mode)
    except OSError:
        return False


def _writable_name(path: Path) -> bool:
    try:
        path.name.encode()
    except UnicodeEncodeError:
        return False
    return True


class _Search:
    """The findings so far."""

    def __init__(self) -> None:
        self.models: list[ModelFolder] = []
        self.adapters: list[AdapterFolder] = []
        self.configs: list[TrainingFile] = []
        self.data: list[DataFile] = []
        self.schemas: list[Path] = []
        self.prompts: list[Path] = []
        self.tasks: list[BenchmarkTask] = []
        self.left_out: list[str] = []

    @property
    def examples(self) -> list[DataFile]:
        """The data files except those of the benchmarks, which their tasks read."""
        folders = {task.path.parent for task in self.tasks}
        return [data for data in self.data if data.path.parent not in folders]

    def visit(self, place: Path, files: list[Path]) -> None:
        names = {path.name for path in files}
        if "adapter_config.json" in names:
            base = _json(place / "adapter_config.json").get("base_model_name_or_path")
            changed = (place / "adapter_config.json").stat().st_mtime
            self.adapters.append(AdapterFolder(place, base if isinstance(base, str) else "", changed))
        elif "config.json" in names:
            self._model(place, names)
        else:
            for path in files:
                self._file(path)

    def _model(self, place: Path, names: set[str]) -> None:
        config = _json(place / "config.json")
        kinds = config.get("architectures")
        if not isinstance(kinds, list) or not any(str(kind).endswith(_ANSWERS) for kind in kinds):
            return
        if not any(name.endswith((".safetensors", ".safetensors.index.json", ".bin")) for name in names):
            self.left_out.append(f"{place}: a model without its weights")
            return
        tuned = bool(_TUNED.search(place.name)) or any(name in names for name in _TRAINER)
        self.models.append(ModelFolder(place, tuned, (place / "config.json").stat().st_mtime))

    def _file(self, path: Path) -> None:
        suffix = path.suffix.lower()
        if suffix in (".yaml", ".yml"):
            self._config(path)
        elif suffix in _PROMPT_FILES and _PROMPT.search(f"{path.parent.name}/{path.name}"):
            if 0 < path.stat().st_size <= MOST_PROMPT_BYTES:
                self.prompts.append(path)
        elif data_suffix(path) in DATA and len(self.data) < MOST_DATA:
            self._data(path)

    def _data(self, path: Path) -> None:
        try:
            found = look_into(path)
        except (AssayError, OSError) as error:
            self.left_out.append(
                error.message if isinstance(error, AssayError) else f"{path}: {error.strerror}"
            )
            return
        if found is not None:
            self.data.append(found)
            return
        table = _json(path)
        if "$schema" in table or (table.get("type") == "object" and "properties" in table):
            self.schemas.append(path)
        elif table:
            self._config(path)

    def _config(self, path: Path) -> None:
        """A training config names a model and how it is trained, a benchmark task how its prompt reads."""
        from engine.plan.training_config import read_training_config

        try:
            values = read_training_config(path).values
        except AssayError:
            return
        task = values.get("task")
        if isinstance(task, str) and "doc_to_text" in values and task.isprintable():
            self.tasks.append(BenchmarkTask(path, task))
        base = next((values[name] for name in _BASE if values.get(name)), None)
        if base is None:
            return
        texts = [
            (key, part)
            for key, value in values.items()
            if isinstance(value, str)
            for part in value.split(", ")
        ]
        files = [(key, text) for key, text in texts if data_suffix(Path(text)) in DATA]
        held_out = [text for key, text in files if re.search(r"test|eval|val", key)]
        train = [text for key, text in files if text not in held_out]
        output = str(values.get("output_dir") or "")
        self.configs.append(TrainingFile(path, str(base), output, tuple(train), tuple(held_out)))


def _json(path: Path) -> dict[str, Any]:
    """A JSON object; an empty one for any other content."""
    try:
        if path.stat().st_size > MOST_JSON_BYTES:
            return {}
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def inside(path: Path, folder: Path) -> str:
    """A path as written in a plan in that folder: relative to it, unless that would be ambiguous."""
    shown = Path(os.path.relpath(path, folder)).as_posix()
    return path.as_posix() if shown.startswith(("~", "hf:")) else shown
