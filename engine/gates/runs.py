"""Two runs of one history: a candidate before and after, and its drops beyond the newer run's gates."""

import tomllib
from dataclasses import dataclass

from pydantic import ValidationError

from engine.compare.comparable import Incomparable, Side, paired_candidates
from engine.compare.comparison import Comparison
from engine.compare.runs import compare_pairs
from engine.errors import BadInput
from engine.gates.measures import drop_alerts, evaluated, ruled
from engine.plan.plan import Gates
from store.read import history
from store.records.alert import Alert


@dataclass(frozen=True, slots=True)
class RunComparison:
    """The newer run's candidates (in the place of the candidate) against the older run's (the baseline)."""

    older: int
    newer: int
    shared: int  # examples that both runs evaluated in the same words
    comparisons: list[Comparison]
    benchmarks: list[Comparison]
    alerts: list[Alert]
    incomparable: list[Incomparable]
    is_evaluated: bool  # whether the gates had anything to look at


def compare_runs(connection: history.Connection, older: int, newer: int) -> RunComparison:
    """Compares candidates of the same name, or the only candidate of each run.

    Drops beyond the newer run's gates become alerts. Raises StoreError for an unknown run, and BadInput when
    one run is compared with itself.
    """
    if older == newer:
        raise BadInput(
            f"run {older} was to be compared with itself", "name two runs; `assay runs` lists them"
        )
    sides = Side(connection, older), Side(connection, newer)
    pairs, unpaired = paired_candidates(*sides)
    found = compare_pairs(sides, pairs)
    gates = _gates(sides[1])
    # Judges' win rates are in no gate between runs, so they are ruled on with what no gate checks.
    every, benchmarks = ruled([*found.metrics, *found.rates], found.benchmarks, gates, found.measures)
    checked = (every[: len(found.metrics)], benchmarks, gates, found.measures)
    alerts, is_evaluated = drop_alerts(*checked), bool(evaluated(*checked))
    incomparable = [*unpaired, *found.incomparable]
    return RunComparison(older, newer, found.shared, every, benchmarks, alerts, incomparable, is_evaluated)


def _gates(side: Side) -> Gates:
    table = tomllib.loads(side.run.plan).get("gates", {})
    try:
        return Gates.model_validate(table)
    except ValidationError as error:
        raise BadInput(f"the gates of run {side.run.id} are not those of this Assay: {error}") from error
