"""Part of the last phase: alerts that somebody acknowledged in an earlier run of the same name."""

from typing import Any, NamedTuple

from engine.phases.work import Work
from store.read.references import Seen, acknowledged
from store.records.alert import Evidence, figure_of, kind_of, read_evidence
from store.session import opened

Row = dict[str, Any]
_USUAL = 0.05  # the usual limit, where an alert does not name its own


def followed(work: Work, alerts: list[Row]) -> list[Row]:
    """The alerts to store, acknowledged like the newest acknowledged one that said the same.

    The same is: kind, candidate, baseline, measure, and slice. One that has got worse stands open again and
    says so: more severe than it was, beyond the interval that was acknowledged, or a further third of the
    gate's limit away. It follows the acknowledged alert in either case.
    """
    with opened(work.store) as connection:
        seen: dict[tuple[Any, ...], Seen] = {}
        for earlier in acknowledged(connection, work.recorder.run_id):
            found = (earlier.kind, earlier.candidate, earlier.baseline, earlier.measure)
            seen.setdefault((*found, getattr(earlier.evidence, "slice", None)), earlier)
    return [_follow(row, seen.get(_key(row))) for row in alerts]


def _key(row: Row) -> tuple[Any, ...]:
    return row["kind"], row["candidate"], row["baseline"], row["measure"], row["evidence"].get("slice")


class _Figure(NamedTuple):
    """The number that an alert is about; `worse` is +1 where more of it is worse, else -1."""

    value: float
    low: float
    high: float
    worse: int
    step: float  # a third of the limit


def _follow(row: Row, earlier: Seen | None) -> Row:
    if earlier is None:
        return row | {"follows": None, "acknowledged": None, "acknowledged_by": None, "note": None}
    values: Row = {"acknowledged": None, "acknowledged_by": None, "note": None}
    change = _got_worse(row, earlier)
    if change is None:
        values = {name: getattr(earlier, name) for name in values}
    else:
        who = f"acknowledged by {earlier.acknowledged_by} in run {earlier.run_id}"
        values["message"] = f"Reopened: {who} {change}. {row['message']}"
    return row | values | {"follows": earlier.id}


_RANK = ("note", "warning", "critical")


def _got_worse(row: Row, earlier: Seen) -> str | None:
    """How it was and how it is, where it got worse; None where it did not."""
    before = _figure(earlier.kind, earlier.evidence)
    now = _figure(row["kind"], read_evidence(row["kind"], row["evidence"]))
    if before is not None and now is not None:
        further = (now.value - before.value) * before.worse
        room = (before.high if before.worse > 0 else before.low) - before.value
        if further > before.step or (room and further > abs(room)):
            return f"at {before.value:+.3g}, now {now.value:+.3g}"
    if _RANK.index(row["severity"]) > _RANK.index(earlier.severity):
        return f"as a {earlier.severity}, now {row['severity']}"
    return None


def _figure(name: str, evidence: Evidence) -> _Figure | None:
    kind = kind_of(name)
    value = figure_of(kind, evidence)
    if value is None:
        return None
    grows = value > 0 if kind.worse == "either" else kind.worse == "more"
    low, high = getattr(evidence, "low", None), getattr(evidence, "high", None)
    step = getattr(evidence, "limit", None) or (abs(value) if kind.format == "count" else _USUAL)
    return _Figure(
        value, value if low is None else low, value if high is None else high, 1 if grows else -1, step / 3
    )
