"""Folds in a plan: a run evaluates one of them, with the adapters that were trained on the others.

`{fold}` in the paths of models and data is replaced by the number of the fold that a run evaluates.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.data.textfile import read_text
from engine.errors import BadInput
from engine.plan.errors import Problem, key_path

PLACE = "{fold}"
FEWEST, MOST = 2, 100
_PATHS = ("path", "adapter", "outputs", "server", "model", "training_config", "sweep")


def count_folds(plan: Path) -> int | None:
    """How many folds a plan has, before it is read; None where it has none or is no plan at all."""
    try:
        folds = tomllib.loads(read_text(plan))["data"]["folds"]
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
    return isinstance(folds, int) and not isinstance(folds, bool) and FEWEST <= folds <= MOST


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
