"""The runs of one plan's folds taken together: each measure per fold, and over all folds' examples.

Each example is evaluated in the run of its fold, by models that have not seen it, so the folds' examples
together are the whole eval set. The interval is over them: a handful of folds' values have no usable spread
of their own (Bengio and Grandvalet, 2004).
"""

import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.compare.comparable import Parts, Side, declared_measures
from engine.compare.comparison import Comparison, compare_parts
from engine.compare.forgetting import compared_by
from engine.compare.ruling import BoundedComparison, Ruling, rule
from engine.errors import BadInput
from engine.metrics.metric import Direction, Measure
from engine.stats.intervals import bootstrap_interval, finite
from store.read import evidence, history
from store.read.runs import fold_runs

_WORTH = {"win": 1.0, "tie": 0.5, "loss": 0.0}


@dataclass(frozen=True, slots=True)
class Pooled:
    """One measure of one model: its value in each fold and over all of them; None where it has none.

    `low` and `high` are also None where no interval can be claimed, as for times of answers in batches.
    """

    model: str
    measure: str
    direction: Direction
    folds: tuple[float | None, ...]
    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Folds:
    """`runs` by fold; the `missing` folds have no finished run, and their examples are in no value.

    `comparisons` are of candidates and baselines, paired on the examples of all folds.
    """

    of: int
    runs: dict[int, int]
    missing: tuple[int, ...]
    measures: list[Pooled]
    comparisons: list[Comparison]


@dataclass(frozen=True, slots=True)
class _Column:
    """What one model got by one measure: additive parts by example, for each fold."""

    model: str
    measure: Measure
    folds: tuple[Parts, ...]

    @property
    def all(self) -> Parts:
        # Examples of one file have ids of their own; those of several files may be called alike.
        return {f"{fold} {key}": value for fold, part in enumerate(self.folds) for key, value in part.items()}


def newest_folds(connection: history.Connection, run_id: int) -> dict[int, int]:
    """The newest finished run of each fold of the plan that a run is of, by fold.

    Raises BadInput for a run of a plan without folds, and where no fold's run is finished.
    """
    if (history.run(connection, run_id).options or {}).get("fold") is None:
        raise BadInput(
            f"run {run_id} is not the run of a fold",
            "`assay run PLAN --fold all` runs a plan's folds one by one",
        )
    runs = fold_runs(connection, run_id)
    if not runs:
        raise BadInput("no run of this plan's folds is finished", f"`assay resume {run_id}` continues it")
    return runs


def pool(connection: history.Connection, runs: Mapping[int, int]) -> Folds:
    """The finished runs of a plan's folds, pooled. Raises ValueError without a run."""
    if not runs:
        raise ValueError("no run, nothing to pool")
    sides = {fold: Side(connection, run) for fold, run in sorted(runs.items())}
    newest = next(reversed(sides.values()))
    of = int(tomllib.loads(newest.run.plan)["data"]["folds"])
    columns = [*_measured(sides, of), *_won(sides, of)]
    baselines = [model.name for model in newest.models.values() if model.role == "baseline"]
    found = {(column.model, column.measure.name): column for column in columns}
    pairs = [
        (_fair(column, found), _fair(found[baseline, column.measure.name], found))
        for column in columns
        for baseline in baselines
        if newest.models[column.model].role == "candidate" and (baseline, column.measure.name) in found
    ]
    return Folds(
        of,
        dict(sorted(runs.items())),
        tuple(fold for fold in range(1, of + 1) if fold not in sides),
        [_pooled(column) for column in columns],
        _compared(pairs),
    )


def _fair(column: _Column, known: Mapping[tuple[str, str], _Column]) -> _Column:
    """What of a model's column is compared; `known` are all columns by model and measure."""
    name = column.measure.name
    own = {measure: each for (model, measure), each in known.items() if model == column.model}
    folds = [
        compared_by(name, {measure: each.folds[place] for measure, each in own.items()})
        for place in range(len(column.folds))
    ]
    return replace(column, folds=tuple(map(dict, folds)))


def _compared(pairs: Sequence[tuple[_Column, _Column]]) -> list[Comparison]:
    """Each candidate with its baselines; a candidate's comparisons are one family."""
    found = [
        compare_parts(column.model, other.model, column.measure, column.all, other.all)
        for column, other in pairs
    ]
    rulings: dict[int, Ruling] = {}
    for candidate in dict.fromkeys(item.candidate for item in found):
        places = [place for place, item in enumerate(found) if item.candidate == candidate]
        asked = [
            BoundedComparison(found[place], (pairs[place][0].measure.low, pairs[place][0].measure.high))
            for place in places
        ]
        rulings |= dict(zip(places, rule("folds", asked), strict=True))
    return [replace(item, ruling=rulings[place]) for place, item in enumerate(found)]


def _measured(sides: Mapping[int, Side], of: int) -> list[_Column]:
    """What every model got by the measures of the plan's metrics, in the plan's order."""
    declared, _ = declared_measures(list(sides.values()))
    parts: defaultdict[str, defaultdict[str, dict[int, Parts]]] = defaultdict(lambda: defaultdict(dict))
    for fold, side in sides.items():
        names = {row: name for name, row in side.examples.items()}
        for model in side.models.values():
            for measure, found in side.parts(model, names).items():
                parts[measure][model.name][fold] = found
    named = dict.fromkeys(name for side in sides.values() for name in side.metrics)
    return [
        _Column(model, declared[name], _in_order(folds, of))
        for name in named
        if name in declared
        for model, folds in parts[name].items()
    ]


def _won(sides: Mapping[int, Side], of: int) -> list[_Column]:
    """How often each candidate beat each baseline, by each judge that grades pairs; a tie is half a win."""
    parts: defaultdict[tuple[str, str, str], dict[int, Parts]] = defaultdict(dict)
    for fold, side in sides.items():
        for judge in history.judges(side.connection, side.run.id):
            for candidate in side.candidates:
                for baseline in side.models.values():
                    rows = evidence.outcomes(side.connection, judge.id, candidate.id, baseline.id)
                    worth: Parts = {
                        str(row.example_id): (_WORTH[row.outcome], 1.0)
                        for row in rows
                        if row.outcome in _WORTH
                    }
                    if worth:
                        parts[judge.name, candidate.name, baseline.name][fold] = worth
    return [
        _Column(candidate, _rate(f"win rate over {baseline} ({judge})"), _in_order(folds, of))
        for (judge, candidate, baseline), folds in parts.items()
    ]


def _rate(name: str) -> Measure:
    return Measure(name, "higher", 0.0, 1.0, "share", frozenset(), "1", "", name)


def _in_order(folds: Mapping[int, Parts], of: int) -> tuple[Parts, ...]:
    return tuple(folds.get(fold, {}) for fold in range(1, of + 1))


def _pooled(column: _Column) -> Pooled:
    measure = column.measure
    found = bootstrap_interval(_array(column.all), measure.combine, ends=(measure.low, measure.high))
    known = measure.independent
    return Pooled(
        column.model,
        measure.name,
        measure.direction,
        tuple(finite(measure.combine(_array(part).sum(axis=0))) if part else None for part in column.folds),
        found.value,
        found.low if known else None,
        found.high if known else None,
        found.n,
    )


def _array(parts: Mapping[str, Sequence[float]]) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    return np.array(list(parts.values()), dtype=np.float64)
