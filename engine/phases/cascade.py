"""A cheap judge first, and a dearer one only where the cheap one is not sure."""

from itertools import pairwise
from typing import Any

from engine.judges.judge import ORDERS
from engine.judges.load import load_judge
from engine.judges.selection import matches, selected, turns_of
from engine.phases.combined import Place, part, record_combined
from engine.phases.constant import probe_judge
from engine.phases.judging import declare_judge
from engine.phases.match import Match
from engine.phases.work import Work
from engine.plan.plan import Judge as JudgePlan
from store import tables

NAME = "cascade"
CLOSE = 1.0  # points between the two scores from which on a verdict is not close
SURE = 0.75  # probability of the winner from which on a verdict is sure


def cascade(work: Work) -> int | None:
    """Plays the later judges of the plan's cascade, and writes what all of them decided; its id.

    The first judge has played all matches. An example goes on to the next judge when the orders disagree, a
    judgment failed, the scores are at most one point apart in both orders, or a winner's probability is below
    0.75. The last judge to see an example decides it.
    """
    names = work.plan.judging.cascade
    if len(names) < 2:
        return None
    by_name = {settings.name: settings for settings in work.plan.judges}
    total = saved = 0
    for before, name in pairwise(names):
        made, possible = _next_judge(work, by_name[name], before)
        total, saved = total + possible, saved + possible - made
    parts = [part(work, name) for name in names]
    decided: dict[Place, dict[str, Any]] = {}
    for each in parts:
        decided |= {
            place: {key: row[key] for key in ("outcome", "consistent", "reason")}
            for place, row in each.verdicts.items()
        }
    note = f"{' then '.join(names)}: each next judge sees what the one before is not sure of"
    judge_id = record_combined(work, NAME, parts, decided, note)
    work.recorder.put(
        tables.Audit,
        [
            {
                "judge_id": judge_id,
                "measure": "calls_saved",
                "subject": "",
                "value": float(saved),
                "n": total,
                "details": {"by": "asking the cheaper judge first"},
            }
        ],
    )
    return judge_id


def _next_judge(work: Work, settings: JudgePlan, before: str) -> tuple[int, int]:
    """Plays one judge on what the one before left open; calls made, and calls that all would have been."""
    grader = load_judge(settings, work.cache)
    if not hasattr(grader, "judge"):
        raise AssertionError("a plan's cascade holds judges of pairs alone")
    judge_id = declare_judge(work, settings.name, grader)
    _mark(work, judge_id)
    (row,) = work.recorder.rows(tables.Judge, run_id=work.recorder.run_id, name=before)
    examples = selected(work.plan, settings, work.examples)
    made = possible = 0
    for candidate, baseline in matches(work.plan):
        match = Match(work, grader, judge_id, candidate, baseline)
        unsure = _unsure(work, {**match.sides, "judge_id": row["id"]})
        chosen = [example for example in examples if work.example_ids[example.id] in unsure]
        match.play_all(match.pairs(chosen))
        made += sum(len(ORDERS) * (1 + len(turns_of(example))) for example in chosen)
        possible += sum(len(ORDERS) * (1 + len(turns_of(example))) for example in examples)
        work.recorder.event(
            "info",
            "judge",
            f"{settings.name} was asked about {len(chosen)} of {len(examples)} examples of {match.name}: "
            f"{before} was sure of the others",
        )
    probe_judge(work, settings, grader, judge_id)
    return made, possible


def _mark(work: Work, judge_id: int) -> None:
    """Says in the judge's row that it never saw the easy examples."""
    (row,) = work.recorder.rows(tables.Judge, id=judge_id)
    with work.recorder.transaction() as transaction:
        transaction.update(tables.Judge, judge_id, details={**row["details"], "asked_where_unsure": True})


def _unsure(work: Work, sides: dict[str, int]) -> set[int]:
    """The examples on which a judge was not sure, at the whole or at any turn."""
    unsure = {
        row["example_id"]
        for row in work.recorder.rows(tables.Verdict, **sides)
        if row["consistent"] is not True
    }
    judgments: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for row in work.recorder.rows(tables.Judgment, **sides):
        judgments.setdefault((row["example_id"], row["turn"]), []).append(row)
    return unsure | {place for (place, _), both in judgments.items() if _is_close(both)}


def _is_close(both: list[dict[str, Any]]) -> bool:
    gaps = [
        abs(row["candidate_score"] - row["baseline_score"])
        for row in both
        if row["candidate_score"] is not None and row["baseline_score"] is not None
    ]
    close = len(gaps) == len(both) and all(gap <= CLOSE for gap in gaps)
    return close or any(row["confidence"] is not None and row["confidence"] < SURE for row in both)
