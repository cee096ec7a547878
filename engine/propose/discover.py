"""What a folder holds that an evaluation can use: models, adapters, data, training configs, prompts.

Only names and the beginnings of files are read, no model is loaded. File names come from anywhere: one that
cannot be written into a plan is left out, and said to be.
"""

import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from engine.data.files import data_suffix
from engine.errors import AssayError
from engine.propose.discover_data import DATA, DataFile, look_into

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
    """A model that save_pretrained() wrote; `tuned` where its name or its folder tells of a training."""

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
    """What is there, each kind by path; `left_out` says of what else was looked at why it is no use."""

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
            left_out.append(f"more than {MOST_ENTRIES:,} files: the rest of {folder} was not looked at")
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
    """Whether it is of this kind; no for a link to nowhere, and for what may not be looked at."""
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
    """What was found so far."""

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
        """The data files but for those of the benchmarks, which their tasks read."""
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
    """A JSON object; an empty one for whatever else the file holds."""
    try:
        if path.stat().st_size > MOST_JSON_BYTES:
            return {}
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def inside(path: Path, folder: Path) -> str:
    """A path as it stands in a plan in that folder: relative to it, unless it would be read otherwise."""
    shown = Path(os.path.relpath(path, folder)).as_posix()
    return path.as_posix() if shown.startswith(("~", "hf:")) else shown
