"""Two runs against each other, for people and for programs."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Any

from store.read.rows import ComparisonRow
from tui.cli.showing_measures import print_changes
from tui.text.output import heading, out, paragraph

if TYPE_CHECKING:
    from engine.compare.comparison import Comparison
    from engine.gates.runs import RunComparison
    from engine.plan.training_changes import Retrained


def comparison_values(found: "RunComparison") -> dict[str, Any]:
    """The documented JSON shape; a missing value is null with its reason."""
    return {
        "older": str(found.older),
        "newer": str(found.newer),
        "shared_examples": found.shared,
        "comparisons": [_values(item) for item in found.comparisons],
        "benchmarks": [_values(item) for item in found.benchmarks],
        "alerts": [
            {**asdict(alert), "acknowledged": None, "reason": "alerts between runs are not stored"}
            for alert in found.alerts
        ],
        "incomparable": [asdict(item) for item in found.incomparable],
    }


def training_values(trained: "Sequence[Retrained]") -> list[dict[str, Any]]:
    """What each candidate was trained differently with, and the same in words."""
    return [asdict(item) | {"said": item.said} for item in trained]


def _print_training(trained: "Sequence[Retrained]") -> None:
    """The changes of the training, a line for each candidate."""
    if trained:
        heading("Changed in the training")
    for item in trained:
        paragraph(f"{item.candidate}: {item.said}", "    ", "  ")


def _values(item: "Comparison") -> dict[str, Any]:
    from engine.compare.comparison import stored

    values = stored(item)
    if values["delta"] is None and values["reason"] is None:
        values["reason"] = "it cannot be computed from these values"
    return values


def print_comparison(found: "RunComparison", trained: "Sequence[Retrained]" = ()) -> None:
    shared = f", on the {found.shared} examples that both evaluated" if found.shared else ""
    out(f"run {found.newer} against run {found.older}{shared}")
    _print_training(trained)
    everything = [*found.comparisons, *found.benchmarks]
    for (candidate, baseline), rows in groupby(everything, key=lambda item: (item.candidate, item.baseline)):
        heading(f"{candidate} against {baseline}")
        print_changes([_row(item) for item in rows if item.delta is not None])
    if not everything:
        out("the runs share nothing that can be compared")
    heading("Drops beyond the gates")
    for alert in found.alerts:
        paragraph(alert.message, " " * 9, f"{alert.severity.upper():9}")
    if not found.alerts:
        out("none")
    if found.incomparable:
        heading("Not compared")
        for item in found.incomparable:
            paragraph(f"{item.what}: {item.reason}", "  ", "")


def _row(item: "Comparison") -> ComparisonRow:
    from engine.compare.comparison import stored

    return ComparisonRow(**stored(item))
