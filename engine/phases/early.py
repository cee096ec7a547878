"""Judging that stops as soon as the verdict on the gate is settled, in a way that stopping cannot distort.

Verdicts are looked at in an order that was drawn beforehand, whatever order they come in, by an interval that
holds at every look.
"""

from collections.abc import Sequence

from engine.data.examples import Example
from engine.judges.judge import ORDERS, WHOLE
from engine.judges.selection import drawn as in_drawn_order
from engine.phases.match import Match
from engine.phases.watch import watched
from engine.phases.work import Work
from store import tables

EVEN = 0.5  # what a win rate is held against where the plan has no gate for it


def play_until_settled(work: Work, match: Match, examples: Sequence[Example]) -> None:
    """Plays a match in the drawn order until its win rate is known to be above the gate, or below it."""
    drawn = in_drawn_order(work.plan.data.seed, examples)
    pairs = match.pairs(drawn)
    watch = watched(work, match.sides, [example.id for example in drawn])
    threshold = threshold_of(work)
    if not watch.settled(threshold):
        for decided in match.play(pairs):
            if decided.turn == WHOLE:
                watch.know(decided.pair.example.id, decided.outcome)
                if watch.settled(threshold):
                    break
    _record_saved(work, match, len(ORDERS) * sum(1 + pair.turns for pair in pairs))


def threshold_of(work: Work) -> float:
    """The win rate that decides: the plan's gate, or even odds."""
    gate = work.plan.gates.min_win_rate
    return EVEN if gate is None else gate


def _record_saved(work: Work, match: Match, total: int) -> None:
    """How many of the calls were not made; the progress is over with those that were."""
    made = len(work.recorder.rows(tables.Judgment, **match.sides))
    work.meter("judge", match.title, "judgments", total=made, done=made)
    work.recorder.put(
        tables.Audit,
        [
            {
                "judge_id": match.sides["judge_id"],
                "measure": "calls_saved",
                "subject": match.name,
                "value": float(total - made),
                "n": total,
                "details": {"by": "stopping when settled", "threshold": threshold_of(work)},
            }
        ],
    )
