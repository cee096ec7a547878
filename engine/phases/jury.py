"""All judges of a run: each by itself, then what they say together, and what is known of them."""

from engine.phases.audits import record_audits
from engine.phases.cascade import cascade
from engine.phases.judge import judge
from engine.phases.panel import agreement_of_raters, panel
from engine.phases.winrates import record_win_rates
from engine.phases.work import Work


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
