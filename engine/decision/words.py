"""Words that a decision and its faces share: an alert as a clause, a run's outcome, a comparison's change."""

from collections.abc import Callable

from engine.gates.figures import number, percent
from store.read.history import silence
from store.read.rows import AlertRow, ComparisonRow, ModelRow
from store.records import Run
from store.records.alert import Format, figure_of, kind_of

NOT_RECORDED = "not recorded"
NOT_EVALUATED = "not evaluated"
NO_GATE = f"{NOT_EVALUATED}: nothing that a gate checks could be compared"
_WRITTEN: dict[Format, Callable[[float], str]] = {
    "value": number,
    "difference": lambda value: number(value, sign=True),
    "share": percent,
    "count": lambda value: f"{value:,.0f}",
}


def brief(alert: AlertRow) -> str | None:
    """An alert as a clause made of its evidence; None where an older store lacks a figure that it needs."""
    kind, found = kind_of(alert.kind), alert.evidence
    figure, n = figure_of(kind, found), getattr(found, "n", None)
    values = moved_values(alert)
    known = {
        "figure": None if figure is None else _WRITTEN[kind.format](figure),
        "values": values and values + (f", n {n:,}" if n else ""),
        "n": None if n is None else f"{n:,}",
        "baseline": alert.baseline,
        "measure": alert.measure,
        "judge": getattr(found, "judge", None),
    }
    if not kind.short or any(value is None and f"{{{name}}}" in kind.short for name, value in known.items()):
        return None
    return kind.short.format_map(known)


def moved_values(alert: AlertRow) -> str | None:
    """Both values of what an alert is about, baseline's first; None where one is not known."""
    ours = getattr(alert.evidence, "candidate_value", None)
    theirs = getattr(alert.evidence, "baseline_value", None)
    if ours is None or theirs is None:
        return None
    return f"{alert.measure} {number(theirs)} → {number(ours)}"


def no_verdict(run: Run) -> str | None:
    """Why a run has neither passed nor failed; None when it has."""
    if run.passed is not None:
        return None
    if run.status != "finished":
        state = "the run failed" if run.status == "failed" else f"the run is {run.status}"
        why = run.error or silence(run)
        return f"{state}: {why}" if why else state
    if run.imported and not (run.options or {}).get("baseline"):
        return f"imported from {run.imported}: there was no plan with gates"
    only = (run.options or {}).get("only")
    return f"only the phase {only!r} was asked for" if only else NO_GATE


def chosen(model: ModelRow) -> str:
    """Of a checkpoint that a sweep chose on the examples that judge it, too: how, and what to do."""
    found = model.sweep or {}
    among = f"one of the best {found['keep']} of {found['of']} checkpoints by {found['measure']}"
    return (
        f"it was chosen as {among} on {model.chosen_on} of the examples that judge it, which favours it; "
        "judge it on others: name it in a plan with another file or split under [data]"
    )


def change(row: ComparisonRow) -> str:
    """What a comparison says, in a word: its stored ruling."""
    return row.standing
