"""The plans that a person may mean: those in this folder and one level below, and the bundled samples."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

MOST_BYTES = 256 << 10
MOST_FILES = 500  # of a folder, that are looked at
SAMPLES = Path(__file__).parents[2] / "samples" / "plans"


class PlanFile(NamedTuple):
    """A plan by its looks: a file with examples and models. Whether it can run, `assay check` says."""

    path: Path
    name: str
    baselines: int
    candidates: int
    changed: float
    bundled: bool


def found_plans(folder: Path, samples: Path = SAMPLES) -> list[PlanFile]:
    """The likeliest first: plan.toml, then the newest; the bundled ones at the end."""
    here = {path.resolve(): path for path in _files(folder)}
    plans = [plan for path in here.values() if (plan := _look(path, False))]
    plans.sort(key=lambda plan: (plan.path.parent != folder or plan.path.name != "plan.toml", -plan.changed))
    bundled = sorted(path for path in _toml(samples) if path.resolve() not in here)
    # Of the samples the one that shows most stands first: it compares the most candidates.
    shown = sorted(
        (plan for path in bundled if (plan := _look(path, True))), key=lambda plan: -plan.candidates
    )
    return plans + shown


def is_empty(folder: Path) -> bool:
    """Whether it holds nothing but hidden files."""
    return all(place.name.startswith(".") for place in _inside(folder))


def _files(folder: Path) -> Iterator[Path]:
    yield from _toml(folder)
    for place in _inside(folder):
        if not place.name.startswith(".") and place.is_dir():
            yield from _toml(place)


def _toml(folder: Path) -> Iterator[Path]:
    return (path for path in _inside(folder) if path.suffix == ".toml" and path.is_file())


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())[:MOST_FILES]
    except OSError:
        return []


def _look(path: Path, bundled: bool) -> PlanFile | None:
    """The plan in a file; None where it holds none."""
    try:
        stat = path.stat()
        if stat.st_size > MOST_BYTES:
            return None
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    data, models = table.get("data"), table.get("models")
    if not isinstance(data, dict) or "examples" not in data or not isinstance(models, list):
        return None
    name = table.get("name")
    return PlanFile(
        path,
        name if isinstance(name, str) else path.stem,
        _count(models, "baseline"),
        _count(models, "candidate"),
        stat.st_mtime,
        bundled,
    )


def _count(models: list[Any], role: str) -> int:
    return sum(isinstance(model, dict) and model.get("role") == role for model in models)
