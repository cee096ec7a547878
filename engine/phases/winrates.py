"""Verdicts counted into win rates, with what is known of the judge's own leanings."""

from collections import defaultdict
from typing import Any

from engine.judge.judge import ORDERS
from engine.phases.work import Work
from engine.plan import Model
from engine.stats.intervals import Interval
from engine.stats.length_control import length_controlled
from engine.stats.winrate import Outcome, Winner, position_bias, win_rate
from store import tables


def record_win_rates(work: Work, judge_id: int) -> None:
    """Writes what one judge's verdicts say so far, for every candidate against every baseline."""
    rows = [
        row
        for candidate in work.plan.candidates
        for baseline in work.plan.baselines
        if (row := _win_rate(work, judge_id, candidate, baseline)) is not None
    ]
    work.recorder.put(tables.WinRate, rows)


def _win_rate(work: Work, judge_id: int, candidate: Model, baseline: Model) -> dict[str, Any] | None:
    sides = {
        "judge_id": judge_id,
        "candidate_id": work.model_ids[candidate.name],
        "baseline_id": work.model_ids[baseline.name],
    }
    outcomes: dict[int, Outcome] = {
        row["example_id"]: row["outcome"] for row in work.recorder.rows(tables.Verdict, **sides)
    }
    if not outcomes:
        return None
    seed = work.plan.data.seed
    counted = win_rate(list(outcomes.values()), seed)
    bias = position_bias(_winners_by_example(work, sides), seed)
    controlled = _length_controlled(work, candidate, baseline, outcomes)
    return sides | {
        "wins": counted.wins,
        "losses": counted.losses,
        "ties": counted.ties,
        "failed": counted.failed,
        "win_rate": counted.win_rate,
        "low": counted.low,
        "high": counted.high,
        "position_bias": bias.rate,
        "length_controlled": controlled.value,
        "length_controlled_low": controlled.low,
        "length_controlled_high": controlled.high,
        "reason": None if counted.win_rate is not None else "every judgment failed",
    }


def _winners_by_example(work: Work, sides: dict[str, int]) -> list[tuple[Winner | None, Winner | None]]:
    winners: dict[int, dict[str, Winner | None]] = defaultdict(dict)
    for row in work.recorder.rows(tables.Judgment, **sides):
        winners[row["example_id"]][row["order"]] = row["winner"]
    return [(both[ORDERS[0]], both[ORDERS[1]]) for both in winners.values() if len(both) == len(ORDERS)]


def _length_controlled(
    work: Work, candidate: Model, baseline: Model, outcomes: dict[int, Outcome]
) -> Interval:
    """The win rate at equal length, over the verdicts whose two texts are known."""
    candidate_texts, baseline_texts = work.texts(candidate), work.texts(baseline)
    known = [place for place in outcomes if place in candidate_texts and place in baseline_texts]
    return length_controlled(
        [outcomes[place] for place in known],
        [len(candidate_texts[place]) for place in known],
        [len(baseline_texts[place]) for place in known],
    )
