"""What stands for several in a plan: a sweep for the checkpoints that its pattern finds, `{fold}` for folds.

The checkpoints that a sweep found are stored with its run. Checkpoints that are saved later, while it
runs or before it is resumed, are not included; a run that follows a training takes them as they are saved. A
run of a plan with folds evaluates one of them, with the adapters that were trained on the others.
"""

import glob
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.data.textfile import read_text
from engine.errors import BadInput
from engine.plan.errors import Problem, found, key_path
from engine.plan.overrides import override
from engine.plan.paths import Count, Name, Table, read_adapter_config, read_json
from store.read.rows import step_in

MOST = 500  # checkpoints that one sweep may find
Members = Mapping[str, Sequence[str]]
STATE = "trainer_state.json"  # how far a training of transformers' Trainer is; the last file of a checkpoint

_EXAMPLE = '"outputs/checkpoint-*"'
_MEANINGLESS = ("adapter", "adapter_revision", "server", "outputs", "model", "api", "api_key_env")
_OF_THE_BASE_TOO = (
    *("system", "revision", "dtype", "device", "quantize", "device_map", "max_memory"),
    *("trust_remote_code", "chat_template_kwargs"),
)


class Sweep(Table):
    """How a sweep is cut: the `keep` best by a cheap measure on `sample` examples are evaluated in full.

    `by` is a measure of the plan's metrics, perplexity or bits per byte, which need no answers, either of
    them of a corpus ("perplexity:general"), or a task of its benchmarks. None: the perplexity of the
    references, among the checkpoints that forgot least where the plan has a general corpus or a benchmark.
    """

    keep: Count = 3
    by: Name | None = None
    sample: Count = 50


class Follow(Table):
    """How each checkpoint of a training is evaluated as it is saved.

    `sample`: the number of examples that it answers. `stop_after`: after so many checkpoints in a row that
    fail a gate, a STOP file is written into the training's folder; None never writes one.
    """

    sample: Count = 50
    stop_after: Count | None = None


def expand(
    raw: Mapping[str, Any], folder: Path, members: Members | None = None, followed: str | None = None
) -> tuple[dict[str, Any], list[Problem]]:
    """The plan's tables with each sweep replaced by its checkpoints, and what is wrong with the sweeps.

    `members` are the folders that each pattern found when the run was made; without them the disk is asked.
    `followed` is the pattern of a training's checkpoints, which take the place of the plan's candidates: a
    sweep of the plan gives their settings, else they are asked like the first local baseline. There may be
    none of them yet.
    """
    models = raw.get("models")
    alone = isinstance(models, Mapping) and "sweep" in models
    entries = [models] if alone else models
    if not isinstance(entries, list):
        return dict(raw), []
    problems: list[Problem] = []
    tables: list[Any] = []
    if followed is not None:
        entries, problems = _followed(entries, followed)
    for place, entry in enumerate(entries):
        if not (isinstance(entry, Mapping) and "sweep" in entry):
            tables.append(entry)
            continue
        where = "models.sweep" if alone else key_path(raw, ("models", place, "sweep"))
        if followed is not None and not (members or {}).get(followed):
            continue
        try:
            checkpoints = _checkpoints(entry, folder, members or {})
            tables += [_baseline(entry, checkpoints), *checkpoints] if alone else checkpoints
        except ValueError as error:
            problems.append(Problem(where, str(error)))
        except BadInput as error:
            problems.append(Problem(where, error.message))
    if "sweep" in raw and not any(isinstance(entry, Mapping) and "sweep" in entry for entry in entries):
        advice = f"no entry of models has a sweep, such as sweep = {_EXAMPLE}"
        problems.append(Problem("sweep", f"there is nothing to choose from: {advice}"))
    return {**raw, "models": tables}, problems


def _followed(entries: Sequence[Any], pattern: str) -> tuple[list[Any], list[Problem]]:
    """The plan's entries without candidates, but with the one of the training that is followed."""
    tables = [entry for entry in entries if isinstance(entry, Mapping)]
    sweeps = [entry for entry in tables if "sweep" in entry]
    local = (entry for entry in tables if entry.get("role") == "baseline" and "path" in entry)
    like = {key: value for key, value in next(local, {}).items() if key in _OF_THE_BASE_TOO}
    own = {**(sweeps[0] if sweeps else like), "sweep": pattern}
    others = [
        entry
        for entry in entries
        if not isinstance(entry, Mapping) or ("sweep" not in entry and entry.get("role") != "candidate")
    ]
    several = f"has {len(sweeps)} sweeps; a training is followed by a plan with one, or with none"
    return [*others, own], [Problem("models", several)] if len(sweeps) > 1 else []


def followed_pattern(plan: Path, training: Path, settings: Sequence[str] = ()) -> str:
    """The pattern of a training's checkpoints in its folder: they are named as the plan's sweep has them."""
    try:
        models = tomllib.loads(override(read_text(plan), settings, str(plan))).get("models")
    except (BadInput, tomllib.TOMLDecodeError, RecursionError):
        models = None  # which is said when the plan is read
    entries = [models] if isinstance(models, Mapping) else _each(models)
    swept = (entry.get("sweep") for entry in entries if isinstance(entry, Mapping))
    named = next((Path(pattern).name for pattern in swept if isinstance(pattern, str)), "")
    return str(training / (named or "checkpoint-*"))


def step_of(checkpoint: Path) -> int | None:
    """The training step of a checkpoint: by its trainer state, else the one that its name tells."""
    try:
        step = read_json(checkpoint / STATE).get("global_step")
    except BadInput:
        step = None
    if type(step) is int and step >= 0:
        return step
    return int(told[1]) if (told := step_in(checkpoint.name)) else None


def members_of(models: Iterable[Any]) -> dict[str, list[str]]:
    """The folders that each sweep's pattern found, to be kept with the run."""
    members: dict[str, dict[str, None]] = {}
    for model in models:
        if model.sweep is not None:
            members.setdefault(model.sweep, {})[str(model.adapter or model.path)] = None
    return {pattern: list(folders) for pattern, folders in members.items()}


def _checkpoints(entry: Mapping[str, Any], folder: Path, members: Members) -> list[dict[str, Any]]:
    """One model's table for each checkpoint. Raises ValueError or BadInput for a sweep that cannot be."""
    pattern = entry["sweep"]
    if not isinstance(pattern, str) or not pattern.strip() or "\0" in pattern:
        raise ValueError(f"found {found(pattern)}; allowed: a pattern of folders such as {_EXAMPLE}")
    if meaningless := [key for key in _MEANINGLESS if key in entry]:
        raise ValueError(f"{', '.join(meaningless)} does not apply with a sweep")
    if entry.get("role", "candidate") != "candidate":
        raise ValueError('its checkpoints are candidates; give the baseline an entry without "sweep"')
    folders = [Path(member) for member in members.get(pattern, ())] or _folders(pattern, folder)
    shared = {key: value for key, value in entry.items() if key not in ("name", "path")}
    tables = []
    for name, checkpoint in zip(_names(folders, entry.get("name")), folders, strict=True):
        source = _source(checkpoint, entry.get("path"), folder)
        tables.append({**shared, "role": "candidate", "name": name, **source})
    return tables


def _folders(pattern: str, folder: Path) -> list[Path]:
    """The folders that the pattern finds, 2 before 10."""
    # Path.glob takes no absolute patterns, and Path.expanduser raises where this leaves a name as it is.
    matches = glob.glob(os.path.expanduser(pattern), root_dir=folder)  # noqa: PTH111, PTH207
    folders = sorted((path for match in matches if (path := folder / match).is_dir()), key=_natural)
    if not folders:
        raise ValueError(f"no folder matches {folder / pattern}")
    if len(folders) > MOST:
        raise ValueError(f"{len(folders)} folders match; allowed: at most {MOST}, so narrow the pattern")
    return folders


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(path))]


def _names(folders: Sequence[Path], prefix: Any) -> list[str]:
    """Each folder's own name, or its path below what all have in common where two have the same name."""
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names):
        above = os.path.commonpath(folders)
        names = [folder.relative_to(above).as_posix() for folder in folders]
    return [f"{prefix}-{name}" if isinstance(prefix, str) else name for name in names]


def _source(checkpoint: Path, base: Any, folder: Path) -> dict[str, Any]:
    """The model's keys: the checkpoint on its base where it is an adapter, else the checkpoint itself."""
    if (checkpoint / "adapter_config.json").is_file():
        return {
            "path": base if base is not None else _recorded(checkpoint, folder),
            "adapter": str(checkpoint),
        }
    if not (checkpoint / "config.json").is_file():
        raise ValueError(
            f"{checkpoint} is neither an adapter nor a model: it has no adapter_config.json and no "
            "config.json; narrow the pattern, or wait until it is saved"
        )
    if base is not None:
        raise ValueError(f"path does not apply to {checkpoint}, which is a full model and needs no base")
    return {"path": str(checkpoint)}


def _recorded(adapter: Path, folder: Path) -> str:
    """The base that an adapter was trained on, by its own account: a folder that is here, or a hub id."""
    recorded = str(read_adapter_config(adapter).get("base_model_name_or_path") or "")
    if not recorded:
        raise ValueError(f'{adapter} does not record its base: name it with path = "…"')
    if (folder / recorded).is_dir():
        return str(folder / recorded)
    if Path(recorded).is_absolute():
        raise ValueError(f'{adapter} was trained on {recorded}, which is not here: name it with path = "…"')
    return recorded


def _baseline(entry: Mapping[str, Any], checkpoints: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The base of all checkpoints as their baseline, asked in the same way."""
    if not all("adapter" in table for table in checkpoints):
        raise ValueError(
            "full models record no base to compare with: write [[models]], one entry with the sweep "
            'and one with role = "baseline"'
        )
    bases = {table["path"] for table in checkpoints}
    if len(bases) > 1:
        raise ValueError(f"its adapters have {len(bases)} bases: give each base an entry in [[models]]")
    shared = {key: entry[key] for key in _OF_THE_BASE_TOO if key in entry}
    return {**shared, "name": "base", "role": "baseline", "path": bases.pop()}


PLACE = "{fold}"
FEWEST_FOLDS, MOST_FOLDS = 2, 100
_PATHS = ("path", "adapter", "outputs", "server", "model", "training_config", "sweep")


def count_folds(plan: Path, settings: Sequence[str] = ()) -> int | None:
    """How many folds a plan has, before it is read; None where it has none or is no plan at all."""
    try:
        folds = tomllib.loads(override(read_text(plan), settings, str(plan)))["data"]["folds"]
    except (BadInput, tomllib.TOMLDecodeError, RecursionError, KeyError, TypeError):
        return None
    return folds if _is_count(folds) else None


def select_fold(raw: Mapping[str, Any], fold: int | None) -> tuple[dict[str, Any], list[Problem]]:
    """The plan's tables with the fold's number in place of `{fold}`, and what is wrong with the folds.

    `data.folds` goes where the examples' own path names the fold: the file then is the fold.
    """
    data, models = raw.get("data"), raw.get("models")
    folds = data.get("folds") if isinstance(data, Mapping) else None
    if not isinstance(data, Mapping) or (folds is None and fold is None):
        return dict(raw), _misplaced(raw)
    if folds is None:
        advice = "is missing, but a fold was requested; add folds = 5, or run without --fold"
        return dict(raw), [Problem("data.folds", advice)]
    if not _is_count(folds):
        return dict(raw), []  # the table's own rules say what is wrong
    problems = []
    if fold is None or not 1 <= fold <= folds:
        found = "and none is chosen" if fold is None else f"there is no fold {fold}"
        advice = f"the plan has {folds} folds, {found}: use --fold 1 to --fold {folds}, or --fold all"
        problems.append(Problem("data.folds", advice))
        fold = 1  # for finding what else is wrong
    if data.get("split", "all") != "all":
        problems.append(Problem("data.split", "does not apply with folds; every example is in one of them"))
    examples = data.get("examples")
    own_file = isinstance(examples, str) and PLACE in examples
    chosen = {**_filled(data, ("examples", "train"), fold), "fold": fold}
    if own_file:
        del chosen["folds"]
    filled: Any = models
    if isinstance(models, list):
        filled = [_filled(model, _PATHS, fold) if isinstance(model, Mapping) else model for model in models]
    elif isinstance(models, Mapping):
        filled = _filled(models, _PATHS, fold)
    return {**raw, "data": chosen} | ({"models": filled} if "models" in raw else {}), problems


def _is_count(folds: Any) -> bool:
    return isinstance(folds, int) and not isinstance(folds, bool) and FEWEST_FOLDS <= folds <= MOST_FOLDS


def _each(models: Any) -> list[Any]:
    return models if isinstance(models, list) else []


def _filled(table: Mapping[str, Any], keys: tuple[str, ...], fold: int) -> dict[str, Any]:
    return {
        key: value.replace(PLACE, str(fold)) if key in keys and isinstance(value, str) else value
        for key, value in table.items()
    }


def _misplaced(raw: Mapping[str, Any]) -> list[Problem]:
    """`{fold}` in a plan without folds, which would be taken for a part of a name."""
    return [
        Problem(key_path(raw, ("models", place, key)), f"holds {PLACE}, and data.folds is missing")
        for place, model in enumerate(_each(raw.get("models")))
        if isinstance(model, Mapping)
        for key in _PATHS
        if isinstance(model.get(key), str) and PLACE in model[key]
    ]
