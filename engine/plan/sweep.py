"""Sweeps in a plan: one entry covers every checkpoint that a pattern finds, and the best are evaluated.

The checkpoints that a sweep found are stored with its run. Checkpoints that are saved later, while it
runs or before it is resumed, are not included.
"""

import glob
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.errors import BadInput
from engine.plan.errors import Problem, found, key_path
from engine.plan.paths import Count, Name, Table, read_adapter_config

MOST = 500  # checkpoints that one sweep may find
Members = Mapping[str, Sequence[str]]

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


def expand(
    raw: Mapping[str, Any], folder: Path, members: Members | None = None
) -> tuple[dict[str, Any], list[Problem]]:
    """The plan's tables with each sweep replaced by its checkpoints, and what is wrong with the sweeps.

    `members` are the folders that each pattern found when the run was made; without them the disk is asked.
    """
    models = raw.get("models")
    alone = isinstance(models, Mapping) and "sweep" in models
    entries = [models] if alone else models
    if not isinstance(entries, list):
        return dict(raw), []
    problems: list[Problem] = []
    tables: list[Any] = []
    for place, entry in enumerate(entries):
        if not (isinstance(entry, Mapping) and "sweep" in entry):
            tables.append(entry)
            continue
        where = "models.sweep" if alone else key_path(raw, ("models", place, "sweep"))
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
