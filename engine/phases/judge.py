"""Sixth phase: judges grade candidate against baseline in both orders, and verdicts follow.

A judge of kind "pointwise" gives single responses scores instead: see `ratings`.
"""

from collections.abc import Iterator

from engine.examples import Example
from engine.judge.judge import ORDERS, Judge
from engine.judge.load import load_judge
from engine.judge.pointwise import PointwiseJudge
from engine.phases.constant import probe_judge
from engine.phases.early import play_until_settled
from engine.phases.judging import declare_judge, match_item, matches, selected, turns_of
from engine.phases.match import Match
from engine.phases.ratings import rate, rating_pieces
from engine.phases.winrates import record_win_rates
from engine.phases.work import Piece, Work
from engine.plan import Judge as JudgePlan


def judge(work: Work, settings: JudgePlan) -> None:
    grader = load_judge(settings, work.cache)
    judge_id = declare_judge(work, settings.name, grader)
    if isinstance(grader, PointwiseJudge):
        rate(work, settings, grader, judge_id)
    else:
        compare_pairs(work, settings, grader, judge_id)


def compare_pairs(work: Work, settings: JudgePlan, grader: Judge, judge_id: int) -> None:
    """One judge of pairs on all matches, and its win rates."""
    examples = judged_examples(work, settings)
    for candidate, baseline in matches(work):
        match = Match(work, grader, judge_id, candidate, baseline)
        if settings.stop_early:
            play_until_settled(work, settings, match, examples)
        else:
            match.play_all(match.pairs(examples))
    probe_judge(work, settings, grader, judge_id)
    record_win_rates(work, judge_id)


def judge_pieces(work: Work, settings: JudgePlan) -> Iterator[Piece]:
    """What one judge will do, as it is announced."""
    if settings.kind == "pointwise":
        yield from rating_pieces(work, settings)
        return
    count = sum(map(_calls_on, judged_examples(work, settings)))
    for candidate, baseline in matches(work):
        yield Piece("judge", match_item(settings.name, candidate, baseline), "judgments", count)


def judged_examples(work: Work, settings: JudgePlan) -> list[Example]:
    """The examples on which a judge compares: for every match the same."""
    count = len(matches(work))
    return selected(settings, work.examples, lambda example: count * _calls_on(example))


def _calls_on(example: Example) -> int:
    return len(ORDERS) * (1 + len(turns_of(example)))
