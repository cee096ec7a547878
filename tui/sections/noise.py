"""A model's noise floor in words, as its run measured it."""

from collections.abc import Iterable
from typing import Any

from store.read.rows import ModelRow


def noise(model: ModelRow) -> str | None:
    """The share of answers that a change of batch alone flips, with its interval; None if not measured."""
    floor = _floor(model)
    if floor.get("share") is None:
        return None
    if floor["low"] is None or floor["high"] is None:
        return _percent(floor["share"])
    between = f"{100 * floor['low']:.1f} to {_percent(floor['high'])}"
    return f"{_percent(floor['share'])} ({between}, {floor['n']} answers)"


def largest_noise(models: Iterable[ModelRow]) -> str | None:
    """The largest share of these models; None where none was measured."""
    shares = [share for model in models if (share := _floor(model).get("share")) is not None]
    return _percent(max(shares)) if shares else None


def _floor(model: ModelRow) -> dict[str, Any]:
    return (model.details or {}).get("noise_floor") or {}


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
