"""The shared state of a run's phases: the plan, the store, the examples, the stop request."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from engine.compare.forgetting import DROP, INVARIANCE, ROBUST
from engine.data.example import Example
from engine.metrics.metric import Measure, Score
from engine.metrics.perplexity import VALIDATION_LOSS
from engine.models import cores
from engine.plan.plan import Model, Plan, parse_plan
from store import records

if TYPE_CHECKING:  # a check of a plan writes nothing, and needs no SQLAlchemy
    from store.write import Recorder

PHASES = ("data", "generate", "perplexity", "benchmarks", "score", "judge", "compare")
FOLLOW = "follow"  # the option of a run that follows a training, and the phase in which it waits for more
STOP = "STOP"  # the file in a training's folder that asks it to stop
CHECKPOINT = "checkpoint"  # in the details of such a run's models: step, when evaluated, why not
# How measures of judges, tasks and variants begin.
_LEFT_OUT = ("judge:", "ece:", "brier:", "accuracy@80%:", DROP, ROBUST, INVARIANCE)
_AHEAD = 100_000  # places between two phases on screens


T = TypeVar("T")


@contextmanager
def closed_after(source: Iterator[T]) -> Iterator[Iterator[T]]:
    """Closes a generator when the loop over it is left early, so that it lets go of what it holds."""
    try:
        yield source
    finally:
        close = getattr(source, "close", None)
        if close is not None:
            close()


class Stopped(Exception):
    """Raised between two pieces of work after a request to pause or cancel the run."""

    def __init__(self, request: str, reason: str | None = None) -> None:
        super().__init__(request)
        self.request = request
        self.reason = reason  # why, where no person asked for it


def plan_of(run: records.Run, checkpoints: Sequence[str] = ()) -> Plan:
    """The run's plan as it was stored, with its paths; where the run follows a training, the quick part of it
    with these checkpoints. Raises BadInput when what the plan names is gone.
    """
    options = run.options or {}
    named = (run.plan, Path(run.plan_folder), run.plan_file)
    following = options.get(FOLLOW)
    if following is None:
        plan = parse_plan(*named, options.get("swept"), options.get("fold"))
        return _without_gates(plan, VALIDATION_LOSS.name)
    pattern = following["pattern"]
    return quick_part(parse_plan(*named, {pattern: checkpoints}, options.get("fold"), pattern))


def quick_part(plan: Plan) -> Plan:
    """What each checkpoint of a training is evaluated by.

    That is no judge, no benchmark, no suite, no variant, a sample of the examples, and never the test split,
    whose place that of validation takes. Gates on what is not measured then do not apply.
    """
    part = "validation" if plan.data.split == "test" else plan.data.split
    sample = min(plan.follow.sample, plan.data.sample or plan.follow.sample)
    data = plan.data.model_copy(update={"split": part, "sample": sample, "suites": ()})
    plan = _without_gates(plan, *_LEFT_OUT, min_win_rate=None, warn_win_rate=None)
    left_out = {"judges": (), "benchmarks": None, "robustness": None}
    return plan.model_copy(update={"data": data, **left_out})


def _without_gates(plan: Plan, *left_out: str, **others: None) -> Plan:
    """The plan without its limits on measures whose names begin like that, and without `others`."""
    limits = {name: value for name, value in plan.gates.metrics.items() if not name.startswith(left_out)}
    return plan.model_copy(update={"gates": plan.gates.model_copy(update={"metrics": limits, **others})})


@dataclass(frozen=True, slots=True)
class Variant:
    """An example of the run in another form: its row in the store, the plain one's id, and what is asked."""

    id: int
    plain: str
    perturbation: str
    example: Example
    letters: Mapping[str, str]


@dataclass(slots=True)
class Work:
    """One run, as its worker sees it."""

    plan: Plan
    recorder: "Recorder"
    store: Path
    options: dict[str, Any]
    request: Callable[[], str | None]  # what a person asked for: pause, cancel, or nothing yet
    model_ids: dict[str, int] = field(default_factory=dict)
    examples: list[Example] = field(default_factory=list)
    suites: list[Example] = field(default_factory=list)  # of public suites, measured apart from the examples
    example_ids: dict[str, int] = field(default_factory=dict)  # of both
    validation: list[Example] = field(
        default_factory=list
    )  # of a run that follows a training: the whole split
    variants: list[Variant] = field(default_factory=list)  # asked like the examples, and never among them
    _places: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def cache(self) -> Path | None:
        """The folder of cached answers; None when the run must not use them."""
        return (
            self.store / "cache" if self.plan.generation.cache and self.options.get("cache", True) else None
        )

    def checkpoint(self) -> None:
        """Called after each stored piece of work: stops here when asked to, and shares the cores anew."""
        self.heed()
        cores.adapt()

    def heed(self) -> None:
        """Stops here when asked to, and changes nothing between what is compared."""
        asked = self.request()
        if asked:
            raise Stopped(asked)

    def meter(self, phase: str, item: str, unit: str, *, total: int, done: int) -> "Meter":
        return Meter(self, phase, item, unit, total=total, done=done)

    def announce(self, pieces: Sequence["Piece"]) -> None:
        """Shows the work ahead before it begins, phase by phase; entries that exist already stay."""
        rows: list[dict[str, Any]] = [
            {
                "run_id": self.recorder.run_id,
                "phase": piece.phase,
                "item": piece.item,
                "position": PHASES.index(piece.phase) * _AHEAD + len(self.model_ids) + place,
                "done": 0,
                "total": piece.total,
                "unit": piece.unit,
            }
            for place, piece in enumerate(pieces)
        ]
        with self.recorder.transaction() as transaction:
            transaction.ensure([records.Progress(**row) for row in rows])
        self._places = {(row["phase"], row["item"]): row["position"] for row in rows}

    def place_of(self, phase: str, item: str) -> int:
        """The position of a piece of work in the list on screens."""
        return self._places.get((phase, item), 0)

    def declare(self, measures: Sequence[tuple[Measure, dict[str, str]]], start: int = 0) -> None:
        """Stores what measures mean, each with its settings; the first has the position `start`."""
        run_id = self.recorder.run_id
        self.recorder.append(
            [
                declared(run_id, place, measure, settings)
                for place, (measure, settings) in enumerate(measures, start)
            ]
        )

    def variants_of(self, model: Model) -> list[Variant]:
        """The variants that a model is asked: recorded answers are to the plain questions alone."""
        return self.variants if model.kind != "recorded" else []

    def texts(self, model: Model) -> dict[int, str]:
        """The stored answers of a model by example, without those that are missing."""
        rows = self.recorder.rows(records.StoredResponse, model_id=self.model_ids[model.name])
        return {row.example_id: row.text for row in rows if row.text is not None}

    def unscored(self, model: Model, measures: Sequence[str]) -> list[Example]:
        """The examples for which a model has no score yet; the measures are scored together."""
        done = self.recorder.column(
            records.StoredScore, "example_id", model_id=self.model_ids[model.name], measure=measures[0]
        )
        return [example for example in self.examples if self.example_ids[example.id] not in done]


@dataclass(frozen=True, slots=True)
class Piece:
    """One line of progress: what a phase does for one model, metric or judge."""

    phase: str
    item: str
    unit: str
    total: int


_ADDED_UP = ("tokens", "prompt_tokens", "prompt_seconds")


class Meter:
    """Progress of one piece of work, written at most twice a second; its time continues over resumes."""

    EVERY = 0.5

    def __init__(self, work: Work, phase: str, item: str, unit: str, *, total: int, done: int) -> None:
        self._recorder = work.recorder
        place = work.place_of(phase, item)
        key: dict[str, Any] = {"run_id": work.recorder.run_id, "phase": phase, "item": item}
        fresh = records.Progress(**key, position=place, done=0, total=total, unit=unit)
        before = next(iter(self._recorder.rows(records.Progress, **key)), fresh)
        self._row: dict[str, Any] = {
            **key,
            "position": place,
            "done": done,
            "total": total,
            "unit": unit,
            **{name: getattr(before, name) for name in _ADDED_UP},
            "slots": None,
            "busy": None,
            "cost": before.cost,
            # What was stored but never metered, because the worker was killed between the two.
            "resumed_from": before.resumed_from + done - before.done,
            "started": before.started or time.time(),
        }
        self._seconds = before.seconds
        self._begun = time.monotonic()
        self._written = 0.0
        self._write()

    def advance(self, count: int, tokens: int = 0, remembered: int = 0, cost: float | None = None) -> None:
        """`remembered` of the `count` cost no work now: like what an earlier worker did they are no part of
        the rate. `cost`: US dollars, None where it is unknown.
        """
        self._row["resumed_from"] += remembered
        if cost is not None:
            self._row["cost"] = (self._row["cost"] or 0.0) + cost
        self.reach(self._row["done"] + count, tokens=tokens)

    def observe(self, *, slots: int, busy: int, prompt_tokens: int = 0, prompt_seconds: float = 0.0) -> None:
        """Notes the current load and the tokens read since the last call; written with the next step."""
        self._row |= {"slots": slots, "busy": busy}
        self._row["prompt_tokens"] += prompt_tokens
        self._row["prompt_seconds"] += prompt_seconds

    def reach(self, done: int, *, total: int | None = None, tokens: int = 0) -> None:
        """Sets how much is done; the last piece is always written."""
        self._row["done"] = done
        self._row["total"] = total if total is not None else self._row["total"]
        self._row["tokens"] += tokens
        if done >= self._row["total"] or time.monotonic() - self._written >= self.EVERY:
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        seconds = self._seconds + self._written - self._begun
        self._recorder.put(records.Progress(**self._row, updated=time.time(), seconds=seconds))


def declared(
    run_id: int, position: int, measure: Measure, settings: dict[str, Any] | None = None
) -> records.StoredMetric:
    """What a measure means, as the store keeps it."""
    return records.StoredMetric(
        run_id=run_id,
        measure=measure.name,
        position=position,
        direction=measure.direction,
        low=measure.low,
        high=measure.high,
        unit=measure.unit,
        version=measure.version,
        source=measure.source,
        meaning=measure.meaning,
        settings=settings,
    )


def score_row(score: Score, model_id: int, example_id: int) -> dict[str, Any]:
    parts: Sequence[float] | None = score.parts
    return {
        "model_id": model_id,
        "measure": score.measure,
        "example_id": example_id,
        "value": score.value,
        "reason": score.reason,
        "parts": list(parts) if parts is not None else None,
        "samples": list(score.samples) if score.samples is not None else None,
    }
