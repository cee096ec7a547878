"""Alerts on the data: examples that appear in the training data, and scores too good for chance."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from engine.data.leak import TIER_WORDS, Suspicion
from engine.plan.plan import Gates
from store.records.alert import Alert, LeakageEvidence, LeakDifference, Severity, SuspicionEvidence

_VISIBLE = 0.0005  # with three decimals


@dataclass(frozen=True, slots=True)
class Leaked:
    """The examples of a run that count as leaked, by id, and how many there are of each tier."""

    ids: tuple[str, ...]
    tiers: Mapping[str, int]
    examples: int  # of the run, leaked or not


def leakage_alerts(
    leaked: Leaked, differences: Mapping[str, Sequence[LeakDifference]], gates: Gates
) -> list[Alert]:
    """One for each candidate (`differences` by its name) when examples leaked: a warning, or critical.

    Critical is a larger share of the examples than the plan allows.
    """
    if not leaked.ids:
        return []
    count, share, allowed = len(leaked.ids), len(leaked.ids) / leaked.examples, gates.max_leakage
    severity: Severity = "critical" if allowed is not None and share > allowed else "warning"
    found = ", ".join(f"{n} {TIER_WORDS[tier]}" for tier, n in leaked.tiers.items() if n)
    limit = "" if allowed is None else f", where the plan allows {allowed:.1%}"
    appear = "appears" if count == 1 else "appear"
    head = (
        f"{count} of {leaked.examples} examples ({share:.1%}{limit}) {appear} in the training data: {found}."
    )
    return [
        Alert(
            severity,
            "leakage",
            candidate,
            None,
            "examples",
            f"{head} {_without(candidate, found_of)} Remove them from the training data or the eval set.",
            LeakageEvidence(
                n=leaked.examples,
                leaked=count,
                share=share,
                allowed=allowed,
                tiers=dict(leaked.tiers),
                example_ids=leaked.ids,
                differences=tuple(found_of),
            ),
        )
        for candidate, found_of in differences.items()
    ]


def _without(candidate: str, differences: Sequence[LeakDifference]) -> str:
    if not differences:
        return f"The scores of {candidate} without them are not known."
    most = max(differences, key=lambda item: abs(item.difference))
    if abs(most.difference) < _VISIBLE:
        return f"Without them no measure of {candidate} changes."
    change = f"from {most.all:.3f} to {most.without:.3f}"
    return f"Without them {most.measure} of {candidate} changes most, {change}."


def suspicion_alerts(found: Iterable[tuple[str, str | None, Suspicion]]) -> list[Alert]:
    """Hints that a model was trained on what it is measured on, each as (model, baseline or None, suspicion).

    A baseline near the ceiling is a note, since easy questions explain it as well; the others are warnings.
    """
    return [
        Alert(
            "note" if item.kind == "ceiling" else "warning",
            "suspicion",
            model,
            baseline,
            item.subject,
            item.message,
            SuspicionEvidence(hint=item.kind, figures=dict(item.figures)),
        )
        for model, baseline, item in found
    ]
