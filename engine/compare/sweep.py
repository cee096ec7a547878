"""The cut of a sweep: checkpoints ranked by a cheap measure, the best of them kept."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from engine.compare.forgetting import general_corpus
from engine.errors import BadInput, CannotRun
from engine.metrics.calibration import BRIER, NAME, AnswerCalibration
from engine.metrics.load import load_metrics
from engine.metrics.metric import Measure
from engine.metrics.perplexity import MEASURES, PERPLEXITY, corpus_measures
from engine.plan.errors import listed, nearest
from engine.plan.plan import Plan
from engine.stats.intervals import Interval, bootstrap_interval

Parts = tuple[float, ...]

# A checkpoint measured on fewer of the sample's examples is broken, and not ranked.
LEAST = 0.5


@dataclass(frozen=True, slots=True)
class Place:
    """How one checkpoint fared: its value over n examples, and its rank, 1 for the best.

    Without a rank it could not be measured, and `reason` says why. `general` is its value on what the
    default holds it to: how much it forgot.
    """

    model: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    rank: int | None
    kept: bool
    reason: str | None = None
    general: float | None = None


def general_measure(plan: Plan) -> Measure | None:
    """What a sweep must not forget, by default: a corpus that is not the domain's, else a benchmark.

    None where the plan has neither, or names a measure to cut by.
    """
    if plan.sweep.by is not None:
        return None
    if (corpus := general_corpus(plan.metrics.corpora)) is not None:
        # Bits per byte compare between tokenizers, too.
        found: Measure = corpus_measures(corpus)[1]
        return found
    tasks = plan.benchmarks.tasks if plan.benchmarks else ()
    return task_measure(tasks[0]) if tasks else None


def task_measure(task: str) -> Measure:
    """A benchmark task by its first metric; its direction is known once it has run."""
    what = f"the first metric of {task}"
    return Measure(task, "higher", None, None, "", frozenset({"weights"}), "", "lm-eval", what)


def cheap_measure(plan: Plan, leave_out: Sequence[str] = ()) -> Measure:
    """The measure that cuts the plan's sweep; other metrics are not loaded.

    Raises BadInput when no metric of the plan gives it, or when it has no direction.
    """
    used = [name for name in plan.metrics.use if name not in leave_out]
    metrics = load_metrics(used, plan.metrics.settings)
    known = {measure.name: measure for metric in metrics.values() for measure in metric.measures}
    known |= {measure.name: measure for measure in MEASURES}
    known |= {measure.name: measure for name in plan.metrics.corpora for measure in corpus_measures(name)}
    known |= {task: task_measure(task) for task in (plan.benchmarks.tasks if plan.benchmarks else ())}
    by = plan.sweep.by or PERPLEXITY.name
    if by in (measure.name for measure in AnswerCalibration.of_all):
        raise BadInput(
            f"sweep.by: {by} is of all examples together, and checkpoints are ranked by values of each",
            f'Choose "{BRIER.name}", with "{NAME}" in metrics.use.',
        )
    if by not in known:
        sided = listed(name for name, measure in known.items() if measure.direction != "none")
        raise BadInput(
            f'sweep.by: no metric of the plan gives "{by}"{nearest(by, known)}',
            f"Put its metric into metrics.use, or choose one of {sided}; a corpus or a benchmark has to be "
            "in the plan.",
        )
    if known[by].direction == "none":
        raise BadInput(f"sweep.by: neither more nor less {by} is better", "Choose another measure.")
    return known[by]


def rank(
    scored: Mapping[str, Mapping[str, Parts]],
    reasons: Mapping[str, str],
    measure: Measure,
    sample: Sequence[str],
    keep: int,
    seed: int,
) -> list[Place]:
    """The checkpoints from the best to the worst; the first `keep` are kept, the earlier one of equals first.

    `scored` has each checkpoint's additive parts by example. All are compared on the examples that all ranked
    ones have. Raises CannotRun when there is nothing to rank by.
    """
    ranked = [name for name, parts in scored.items() if len(parts) >= max(1, LEAST * len(sample))]
    shared = [example for example in sample if all(example in scored[name] for name in ranked)]
    if not ranked or not shared:
        reason = next(iter(reasons.values()), "they have no example in common")
        raise CannotRun(
            f"the sweep cannot be cut: {measure.name} could not be measured ({reason})",
            "Choose another measure under [sweep], by = …",
        )
    values = {name: _value([scored[name][example] for example in shared], measure, seed) for name in ranked}
    finite = [name for name in ranked if values[name].value is not None]
    sign = -1 if measure.direction == "higher" else 1
    order = sorted(finite, key=lambda name: sign * (values[name].value or 0.0))
    places = [
        Place(name, **asdict(values[name]), rank=place, kept=place <= keep)
        for place, name in enumerate(order, start=1)
    ]
    return places + [
        Place(
            name, None, None, None, len(parts), None, kept=False, reason=_reason(name, parts, reasons, sample)
        )
        for name, parts in scored.items()
        if name not in finite
    ]


NEAR = 0.01  # of the best general value


def hold_to_general(places: Sequence[Place], general: Sequence[Place], keep: int, name: str) -> list[Place]:
    """The best by gain among those that forgot least: the better half on the general measure, or `keep`.

    One that is as good there as the last of them, or within NEAR of the best, is among them: so small a
    difference is no forgetting, and one that has learned nothing has forgotten least.

    `places` are the ranking by gain and `general` that by the general measure, whose name is given.
    """
    values = {place.model: place.value for place in general}
    ranked = [place.model for place in general if place.rank is not None]
    least = ranked[: max(keep, -(-len(ranked) // 2))]
    near = NEAR * abs(values[ranked[0]] or 0.0) if ranked else 0.0
    least += [
        model
        for model in ranked[len(least) :]
        if values[model] == values[least[-1]]
        or abs((values[model] or 0.0) - (values[ranked[0]] or 0.0)) <= near
    ]
    order = sorted(
        (place for place in places if place.rank is not None),
        key=lambda place: (place.model not in least, place.rank),
    )
    forgot = f"not in the better half on {name}, and more than {NEAR:.0%} from the best there"
    unknown = f"{name} could not be measured"
    found = [
        replace(
            place,
            rank=rank,
            kept=rank <= keep,
            general=values[place.model],
            reason=None if place.model in least else forgot if place.model in ranked else unknown,
        )
        for rank, place in enumerate(order, start=1)
    ]
    return found + [replace(place, general=values[place.model]) for place in places if place.rank is None]


def _value(parts: Sequence[Parts], measure: Measure, seed: int) -> Interval:
    interval = bootstrap_interval(np.array(parts), measure.combine, seed, ends=(measure.low, measure.high))
    return interval if measure.independent else replace(interval, low=None, high=None)


def _reason(name: str, parts: Mapping[str, Parts], reasons: Mapping[str, str], sample: Sequence[str]) -> str:
    why = reasons.get(name, "its value is not a finite number")
    return f"measured on {len(parts)} of {len(sample)} examples: {why}" if parts else why
