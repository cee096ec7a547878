"""The money of a run: what its judges have spent, what they may, and how the screens see it."""

from collections.abc import Sequence
from typing import TypedDict

from engine.judges.costs import Ledger, open_ledger
from engine.judges.judge import Judgment, Rating
from engine.judges.prices import read_prices
from engine.phases.work import Work
from store import tables


def open_purse(work: Work) -> None:
    """Gives this process the run's prices, its cap, and what it has spent before.

    The cap is that of the plan, or the one that the run was resumed with. Raises BadInput when the file of
    prices cannot be read.
    """
    judging = work.plan.judging
    max_cost = work.options.get("max_cost") or judging.max_cost
    open_ledger(Ledger(read_prices(judging.prices), max_cost, spent(work)))


class Paid(TypedDict):
    """What the meter is told of some judgments or ratings: only what was asked now has cost anything."""

    tokens: int
    remembered: int
    cost: float | None


def paid(outcomes: Sequence[Judgment | Rating]) -> Paid:
    new = [outcome for outcome in outcomes if not outcome.cached]
    costs = [outcome.cost for outcome in new if outcome.cost is not None]
    return Paid(
        tokens=sum(outcome.tokens_out or 0 for outcome in new),
        remembered=len(outcomes) - len(new),
        cost=sum(costs) if costs else None,
    )


def spent(work: Work) -> float:
    """US dollars that this run's judges have cost; an answer out of the cache has cost nothing here."""
    total = 0.0
    for judge_id in work.recorder.column(tables.Judge, "id", run_id=work.recorder.run_id):
        for table in (tables.Judgment, tables.Rating):
            total += work.recorder.total(table, "cost", judge_id=judge_id, cached=False)
    return total
