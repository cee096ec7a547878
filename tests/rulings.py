"""Rulings on rows of comparisons that a test writes into a store itself."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from engine.compare.ruling import BoundedComparison, rule
from store.read.rows import ComparisonRow

Row = dict[str, Any]
_FIELDS = ("direction", "baseline_value", "delta", "low", "high", "p", "smallest_detectable")


def ruled(rows: Sequence[Mapping[str, Any]], allowed: float | None = None) -> list[Row]:
    """The rows of one family with their rulings."""
    rulings = rule("checked", [BoundedComparison(_compared(row), allowed=allowed) for row in rows])
    return [dict(row) | ruling.stored() for row, ruling in zip(rows, rulings, strict=True)]


def ruled_slices(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The rows of slices, whose p-values are corrected already, with their rulings."""
    found = []
    for row in rows:
        [made] = ruled([row])
        found.append({name: value for name, value in made.items() if name != "p_corrected"})
    return found


def _compared(row: Mapping[str, Any]) -> Any:
    return SimpleNamespace(**{name: row.get(name) for name in _FIELDS}, n=row.get("n") or 0)


def ruled_row(row: Mapping[str, Any], allowed: float | None = None) -> ComparisonRow:
    """A row of a family of one, as the store gives it back."""
    return ComparisonRow(**ruled([row], allowed)[0])
