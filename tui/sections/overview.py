"""A run at a glance: its outcome, its candidates, its sweep, gain against forgetting, trends."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from engine.decision.decision import TradeOff
from engine.decision.facts import model_costs
from engine.decision.families import NO_GATE, NOT_EVALUATED, chosen, no_verdict
from engine.gates.figures import MISSING, counted, interval, number
from engine.plan.training_config import written
from store.read.history import Connection
from store.read.query import Word
from store.read.rows import AlertRow, ModelRow, WinRateRow
from store.read.trends import Point, breaks, trend
from store.records import Run, Track
from tui.sections.measures import MeasuresSection


@dataclass(frozen=True, slots=True)
class ModelCosts:
    """One model's resources, as names and values in words."""

    model: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CostsSection:
    """`dollars` is None where a price is unknown, which `unknown` says; `gpu_hours` where no GPU was used."""

    dollars: float | None
    unknown: str | None
    gpu_hours: float | None
    models: tuple[ModelCosts, ...]  # those of which something is known


def costs(
    spending: tuple[float | None, int], gpu_hours: float | None, models: Sequence[ModelRow]
) -> CostsSection:
    """`spending` is the judges' cost in US dollars, and how many answers have an unknown price."""
    dollars, unknown = judging_cost(spending)
    known = (ModelCosts(model.name, tuple(model_costs(model))) for model in models)
    return CostsSection(dollars, unknown, gpu_hours, tuple(item for item in known if item.facts))


def judging_cost(spending: tuple[float | None, int]) -> tuple[float | None, str | None]:
    """The cost of a run's judges in US dollars, or why it is unknown; never an underestimate."""
    dollars, unknown = spending
    if not unknown:
        return dollars or 0.0, None
    known = f", on top of ${dollars:,.2f}" if dollars else ""
    return None, f"cost: {counted(unknown, 'judgment')} of unknown price{known}"


def track_said(row: Track) -> str:
    """Where a run stands in a tracker, in words."""
    why = f": {row.reason}" if row.reason else ""
    whose = f"; its run {row.tracked}" if row.tracked else ""
    return f"{row.tracker}: {row.status}{why}{whose}" + (f"; at {row.place}" if row.place else "")


NO_LANGUAGE_MODEL = "not a language model"


def verdict(run: Run | Any) -> str:
    """The run's outcome in words."""
    if run.imported and run.passed is None:
        return f"imported from {run.imported}"
    if run.status == "finished":
        return {True: "passed", False: "a gate failed", None: NOT_EVALUATED}[run.passed]
    return str(run.status)


def judge_name(name: str, is_language_model: bool) -> str:
    return name if is_language_model else f"{name} ({NO_LANGUAGE_MODEL})"


MOST = 8  # measures of each candidate
RUNS = 30  # of a trend


@dataclass(frozen=True, slots=True)
class MeasureTrend:
    """One measure of a candidate from run to run, oldest first; `breaks` say where values don't compare."""

    candidate: str
    measure: str
    points: Sequence[Point]
    breaks: Sequence[str | None]


def trends(
    connection: Connection, run: Run, found: MeasuresSection, win_rates: Sequence[WinRateRow]
) -> tuple[MeasureTrend, ...]:
    """The win rates and main measures of each candidate; only those that a previous run has, too."""
    drawn = []
    for candidate, main in found.main.items():
        rates = [
            f"win rate over {row.baseline} ({row.judge})"
            for row in win_rates
            if row.candidate == candidate and row.turn == 0
        ]
        for measure in [*rates, *main][:MOST]:
            points = trend(connection, measure, (Word("name", run.name),), candidate=candidate)
            points = [point for point in points if point.run_id <= run.id][-RUNS:]
            if len(points) > 1:
                drawn.append(MeasureTrend(candidate, measure, points, breaks(points)))
    return tuple(drawn)


SEVERITIES = ("critical", "warning", "note")


def by_severity(alerts: Iterable[AlertRow]) -> str:
    """How many alerts there are of each severity: "2 critical, 1 warning"; "" without any."""
    raised = [alert.severity for alert in alerts]
    return ", ".join(f"{raised.count(each)} {each}" for each in SEVERITIES if each in raised)


@dataclass(frozen=True, slots=True)
class CandidateResult:
    """One candidate; `result` names its verdict and how many alerts of each severity it raised."""

    name: str
    passed: bool | None
    result: str
    probe: dict[str, Any] | None  # what its adapter does to the logits


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint of a sweep with the value that it was ranked by; without a `rank` it has a `reason`."""

    name: str
    rank: int | None
    value: float | None
    low: float | None
    high: float | None
    n: int
    kept: bool
    reason: str | None
    general: float | None  # its value on what it was kept from forgetting

    @property
    def result(self) -> str:
        word = "kept" if self.kept else "cut"
        return f"{word}: {self.reason}" if self.reason else word


@dataclass(frozen=True, slots=True)
class SweepSection:
    """The checkpoints of a sweep, best first, ranked by `measure` on a sample of `sample` examples.

    `held_to` is the general measure on which those that forgot least were found, if any.
    """

    measure: str
    held_to: str | None
    sample: int
    chosen: str  # where the kept ones were chosen on the examples that judge them: how, and what to do
    checkpoints: tuple[Checkpoint, ...]

    @property
    def cut(self) -> int:
        return sum(not checkpoint.kept for checkpoint in self.checkpoints)

    @property
    def title(self) -> str:
        return f"Sweep of {len(self.checkpoints)} checkpoints by {self.measure} on {self.sample} examples"

    @property
    def rule(self) -> str:
        """Which of them were kept."""
        return f"the best by {self.measure}" + (
            f" among those that forgot least by {self.held_to}" if self.held_to else ""
        )

    @property
    def remarks(self) -> tuple[str, ...]:
        """What its cut means for the numbers of the run."""
        kept, noun = len(self.checkpoints) - self.cut, "checkpoint" if self.cut == 1 else "checkpoints"
        cut = f"{self.cut} {noun} cut and not evaluated further; the run's verdict is about the {kept} kept."
        return (*([cut] if self.cut else []), *([f"Each of them: {self.chosen}."] if self.chosen else []))


@dataclass(frozen=True, slots=True)
class OverviewSection:
    """The run with its verdict in words; `no_verdict` is the reason where it neither passed nor failed."""

    run: Run
    verdict: str
    no_verdict: str | None
    models: Sequence[ModelRow]  # those that were evaluated
    cut: Sequence[ModelRow]  # checkpoints that the sweep left out
    candidates: tuple[CandidateResult, ...]
    sweep: SweepSection | None


def overview(run: Run, models: Sequence[ModelRow], alerts: Sequence[AlertRow]) -> OverviewSection:
    evaluated = [model for model in models if not model.is_cut]
    return OverviewSection(
        run=run,
        verdict=verdict(run),
        no_verdict=no_verdict(run),
        models=evaluated,
        cut=[model for model in models if model.is_cut],
        candidates=tuple(_candidate(run, model, alerts) for model in evaluated if model.role == "candidate"),
        sweep=_sweep(models),
    )


def _candidate(run: Run, model: ModelRow, alerts: Sequence[AlertRow]) -> CandidateResult:
    without = NOT_EVALUATED if (no_verdict(run) or NO_GATE) == NO_GATE else "no verdict"
    word = {True: "passed", False: "FAILED", None: without}[model.passed]
    counts = by_severity(alert for alert in alerts if alert.candidate == model.name)
    result = word + (f" ({counts})" if counts else "")
    return CandidateResult(model.name, model.passed, result, model.probe)


def _sweep(models: Sequence[ModelRow]) -> SweepSection | None:
    ranked = [(model, model.sweep) for model in models if model.sweep]
    if not ranked:
        return None
    asked = ranked[0][1]
    checkpoints = [
        Checkpoint(
            model.name,
            found["rank"],
            found["value"],
            found["low"],
            found["high"],
            found["n"],
            bool(found["kept"]),
            found["reason"],
            found.get("general"),
        )
        for model, found in ranked
    ]
    checkpoints.sort(key=lambda checkpoint: (checkpoint.rank is None, checkpoint.rank or 0))
    said = next(filter(None, (chosen(model) for model, _ in ranked)), "")
    return SweepSection(asked["measure"], asked.get("held_to"), asked["sample"], said, tuple(checkpoints))


FEWEST = 3  # candidates, for a report to set them against each other
TRADE_OFF = "Gain against forgetting"


def trade_off_said(found: TradeOff) -> tuple[str, ...]:
    """What the two figures are, and where the plan's gates lie."""
    limits = [
        f"{name} {number(at)}"
        for name, at in (("gain at least", found.least_gain), ("forgetting at most", found.most_forgotten))
        if at is not None
    ]
    axes = f"Gain: {found.gain}. Forgetting: how much worse {found.forgotten} is. Both against the base."
    return (
        f"{axes} On the front: no other candidate is as good on both and better on one, chance aside.",
        *([f"Gates: {', '.join(limits)}."] if limits else []),
    )


def trade_off_table(found: TradeOff) -> tuple[list[tuple[str, bool]], list[list[str]]]:
    """Titles, each with whether it is of numbers, and a line for each candidate."""
    settings = [
        name
        for name in ("step", "rank", "lr")
        if any(getattr(each, name) is not None for each in found.points)
    ]
    titles = [("candidate", False), *((name, True) for name in settings), ("gain", True), ("95% CI", False)]
    titles += [("forgetting", True), ("95% CI", False), ("decision", False), ("front", False)]
    rows = [
        [
            point.candidate,
            *(MISSING if (value := getattr(point, name)) is None else written(value) for name in settings),
            number(point.gain.value, sign=found.even == 0),
            interval(point.gain.low, point.gain.high, sign=found.even == 0),
            number(point.forgotten.value, sign=True),
            interval(point.forgotten.low, point.forgotten.high, sign=True),
            point.word,
            point.reason or ("on the front" if point.is_front else ""),
        ]
        for point in found.points
    ]
    return titles, rows


def cut_reason(model: ModelRow) -> str:
    """Why a sweep left a checkpoint out."""
    found = model.sweep or {}
    after = f"cut after {found['measure']} on {found['sample']} examples"
    after += f", held to {found['held_to']}" if found.get("held_to") else ""
    if found["rank"] is None:
        return f"{after}: not measured, {found['reason']}"
    ranked = f"{after}: rank {found['rank']} of {found['of']}, the best {found['keep']} went on"
    return f"{ranked}; {found['reason']}" if found["reason"] else ranked
