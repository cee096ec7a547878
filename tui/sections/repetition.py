"""Whether a rerun has the same numbers as the run that it repeats."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from engine.decision.families import family_of
from store.read import history
from store.read.history import Connection
from store.read.judging import judging
from store.read.rows import RunDetail
from tui.text.output import number

EXACT = 1e-9  # relative: what the order of a sum may change
TOLD = 5  # differences that are named
RERUN_OF = "rerun_of"

Key = tuple[str, ...]
Value = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Repetition:
    """`same` numbers are equal in both runs; `differences` name the others. Times are left out."""

    of: int
    same: int
    differences: tuple[str, ...]

    @property
    def said(self) -> str:
        total = self.same + len(self.differences)
        if not self.differences:
            return f"rerun of run {self.of}: all {total:,} numbers are the same (times are left out)"
        more = len(self.differences) - TOLD
        named = "; ".join(self.differences[:TOLD]) + (f"; and {more:,} more" if more > 0 else "")
        return f"rerun of run {self.of}: {len(self.differences):,} of {total:,} numbers differ: {named}"


def repetition(connection: Connection, run: RunDetail) -> Repetition | None:
    """A finished rerun compared with the run that it repeats; None for a run that is no rerun.

    Raises StoreError when the earlier run is gone from the store.
    """
    earlier = (run.options or {}).get(RERUN_OF)
    if earlier is None or run.status != "finished":
        return None
    before, after = dict(_numbers(connection, int(earlier))), dict(_numbers(connection, run.id))
    keys = list(dict.fromkeys((*before, *after)))
    differing = [key for key in keys if not _alike(before.get(key), after.get(key))]
    told = tuple(f"{' '.join(key)} {_said(before.get(key))} → {_said(after.get(key))}" for key in differing)
    return Repetition(int(earlier), len(keys) - len(differing), told)


def _numbers(connection: Connection, run_id: int) -> Iterator[tuple[Key, Value]]:
    """Scores, win rates and benchmarks, each with how many examples it rests on."""
    sources = {row.measure: row.source for row in history.metrics(connection, run_id)}
    for score in history.model_scores(connection, run_id):
        if family_of(score.measure, sources.get(score.measure, "")) != "efficiency":
            yield (score.model, score.measure), (score.value, score.n, score.missing)
    for row in judging(connection, run_id).win_rates:
        key = (row.judge, row.candidate, row.baseline, f"turn {row.turn}", "win rate")
        yield key, (row.win_rate, row.wins, row.losses, row.ties, row.failed)
    for task in history.benchmarks(connection, run_id):
        yield (task.model, task.task, task.metric, task.filter), (task.value, task.n)


def _alike(before: Value | None, after: Value | None) -> bool:
    if before is None or after is None or len(before) != len(after):
        return False
    return all(
        first == second
        if first is None or second is None
        else math.isclose(first, second, rel_tol=EXACT, abs_tol=EXACT)
        for first, second in zip(before, after, strict=True)
    )


def _said(value: Value | None) -> str:
    return "absent" if value is None else number(value[0])
