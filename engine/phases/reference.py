"""The run's candidates against one of a previous run, the reference."""

from dataclasses import dataclass, field
from typing import Any

from engine.compare.comparable import Incomparable, Pair, Side
from engine.compare.comparison import Comparison
from engine.compare.runs import compare_pairs
from engine.metrics.metric import Measure
from engine.phases.work import Work
from store import people, records
from store.read import runs
from store.read.history import Connection
from store.read.rows import ModelRow
from store.read.runs import ACCEPTED, BEST
from store.session import opened


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """The results of comparing with the reference, empty without one; `models`: its ids by name."""

    models: dict[str, int] = field(default_factory=dict)
    measures: dict[str, Measure] = field(default_factory=dict)
    metrics: list[Comparison] = field(default_factory=list)
    rates: list[Comparison] = field(default_factory=list)
    benchmarks: list[Comparison] = field(default_factory=list)

    @property
    def comparisons(self) -> list[Comparison]:
        return [*self.metrics, *self.rates, *self.benchmarks]


class _Called(Side):
    """A run whose models are named with a prefix that says which run it is."""

    def __init__(self, connection: Connection, run_id: int, prefix: str = "") -> None:
        super().__init__(connection, run_id)
        self._prefix = prefix

    def label(self, model: ModelRow) -> str:
        return f"{self._prefix}: {model.name}" if self._prefix else model.name


def against_reference(work: Work) -> EarlierRun:
    """Compares every candidate with the requested reference; adds a remark where there is none yet."""
    asked = work.options.get("against")
    if not asked:
        return EarlierRun()
    with opened(work.store) as connection:
        known = work.options.get("reference") or _found(work, connection, asked)
        if isinstance(known, str):
            _remark(work, "info", known)
            return EarlierRun()
        work.options["reference"] = known
        work.recorder.set_run(options=work.options)
        sides = (
            _Called(connection, known["run"], known["label"]),
            _Called(connection, work.recorder.run_id),
        )
        pairs = _pairs(work, sides, known["candidate"])
        if not pairs:
            theirs = ", ".join(model.name for model in sides[0].candidates) or "none"
            said = f"{known['label']} has no candidate with that name to compare with: it has {theirs}"
            _remark(work, "warning", said)
            return EarlierRun()
        found = compare_pairs(sides, pairs)
        _tell(work, known["label"], found.shared, found.incomparable, found.settings)
        return EarlierRun(
            {sides[0].label(older): older.id for older, _ in pairs},
            found.measures,
            [item for item in found.metrics if item.delta is not None],
            [item for item in found.rates if item.delta is not None],
            found.benchmarks,
        )


def _found(work: Work, connection: Connection, asked: str) -> dict[str, Any] | str:
    """Which run, which of its candidates (None: by name), and what it is called; or a remark why none."""
    name = work.recorder.run().name
    if asked == ACCEPTED:
        mark = people.accepted(connection, name, before=work.recorder.run_id)
        if mark is None:
            return (
                f"no previous run of {name} is accepted yet, so this one is compared only with its "
                "own baselines; `assay accept` makes a run the reference"
            )
        return {
            "run": mark.run_id,
            "candidate": mark.value or None,
            "label": f"accepted run {mark.run_id}",
        }
    if asked == BEST:
        return _best(work, connection, name)
    return {"run": int(asked), "candidate": None, "label": f"run {asked}"}


def _best(work: Work, connection: Connection, name: str) -> dict[str, Any] | str:
    """Best on the first measure of the plan that has a better end."""
    declared = sorted(
        work.recorder.rows(records.StoredMetric, run_id=work.recorder.run_id), key=lambda row: row.position
    )
    measure = next((row for row in declared if row.direction != "none"), None)
    found = measure and runs.best(
        connection, work.recorder.run_id, measure.measure, lower=measure.direction == "lower"
    )
    if not measure or not found:
        on = f" on {measure.measure}" if measure else ""
        return (
            f"no previous run of {name} that passed was measured in the same way{on} on this "
            "version of the eval set, so there is no best run to compare with"
        )
    work.recorder.event(
        "info", "compare", f"best so far on {measure.measure}: run {found.run_id}, {found.value:.3f}"
    )
    return {"run": found.run_id, "candidate": found.candidate, "label": f"best run {found.run_id}"}


def _pairs(work: Work, sides: tuple[Side, Side], named: str | None) -> list[Pair]:
    """(older, newer) models: all against the one that is named, else by name, else the only one."""
    older, newer = sides
    ours = [newer.models[model.name] for model in work.plan.candidates]
    if named is not None:
        return [(older.models[named], model) for model in ours if named in older.models]
    before = {model.name: model for model in older.candidates}
    pairs = [(before[model.name], model) for model in ours if model.name in before]
    if not pairs and len(older.candidates) == 1:
        pairs = [(older.candidates[0], model) for model in ours]
    return pairs


def _tell(work: Work, label: str, shared: int, left_out: list[Incomparable], settings: list[str]) -> None:
    said = f"compared with {label} on the {shared} examples that both evaluated in the same words"
    if left_out:
        said += "; not compared: " + "; ".join(f"{item.what} ({item.reason})" for item in left_out[:8])
        if len(left_out) > 8:
            said += f"; and {len(left_out) - 8} more, which `assay compare` lists"
    _remark(work, "warning" if settings or not shared else "info", "; ".join([said, *settings]))


def _remark(work: Work, level: str, said: str) -> None:
    """Tells who watches, and keeps it with the run for who reads it later."""
    work.recorder.event(level, "compare", said)
    work.options["reference_remark"] = said
    work.recorder.set_run(options=work.options)
