"""Judges grade candidate against baseline in both orders, and verdicts follow; then panels and audits.

A judge of kind "pointwise" scores single responses instead: see `judging.ratings`.
"""

from collections.abc import Iterator

from engine.judges.chat import PointwiseJudge
from engine.judges.judge import ORDERS, PairJudge
from engine.judges.load import load_judge
from engine.judges.questions import matches, selected, turns_of
from engine.phases.judging.audits import probe_item, probe_judge, record_audits
from engine.phases.judging.pairs import Matchup, play_until_settled, record_win_rates
from engine.phases.judging.panel import agreement_of_raters, cascade, panel
from engine.phases.judging.ratings import rate, rating_pieces
from engine.phases.judging.shared import declare_judge, match_item
from engine.phases.work import Piece, Work
from engine.plan.plan import Judge as JudgePlan


def judge(work: Work, settings: JudgePlan) -> None:
    grader = load_judge(settings, work.cache)
    judge_id = declare_judge(work, settings.name, grader)
    if isinstance(grader, PointwiseJudge):
        rate(work, settings, grader, judge_id)
    else:
        compare_pairs(work, settings, grader, judge_id)


def compare_pairs(work: Work, settings: JudgePlan, grader: PairJudge, judge_id: int) -> None:
    """One judge of pairs on all matches, and its win rates."""
    examples = selected(work.plan, settings, work.examples)
    for candidate, baseline in matches(work.plan):
        match = Matchup(work, grader, judge_id, candidate, baseline)
        if settings.stop_early:
            play_until_settled(work, match, examples)
        else:
            match.play_all(match.pairs(examples))
    probe_judge(work, settings, grader, judge_id)
    record_win_rates(work, judge_id)


def judge_pieces(work: Work, settings: JudgePlan) -> Iterator[Piece]:
    """One judge's work, for the announcement."""
    if settings.kind == "pointwise":
        yield from rating_pieces(work, settings)
        return
    # What the dearer judges of a cascade are asked is known once the cheaper ones have answered.
    later = settings.name in work.plan.judging.cascade[1:]
    examples = [] if later else selected(work.plan, settings, work.examples)
    count = sum(len(ORDERS) * (1 + len(turns_of(example))) for example in examples)
    for candidate, baseline in matches(work.plan):
        yield Piece("judge", match_item(settings.name, candidate, baseline), "judgments", count)
    if settings.constant_probe is not None:
        count = len(ORDERS) * min(settings.constant_probe, len(work.examples))
        yield Piece("judge", probe_item(settings.name), "judgments", count)


def judge_all(work: Work) -> None:
    """Every judge of the plan, the dearer ones of a cascade only where they are needed."""
    later = set(work.plan.judging.cascade[1:])
    for settings in work.plan.judges:
        if settings.name not in later:
            judge(work, settings)
    # The embedded rule is no language model: its vote would turn a model's verdicts into ties.
    alone = [
        settings.name
        for settings in work.plan.judges
        if settings.kind == "pairwise"
        and not settings.embedded
        and settings.name not in work.plan.judging.cascade
    ]
    together = cascade(work)
    if together is not None:
        record_win_rates(work, together)
    else:
        speaking = panel(work, alone)
        if speaking is not None:
            record_win_rates(work, speaking)
    agreement_of_raters(work)
    record_audits(work)
