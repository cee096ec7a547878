"""What judging may cost, told and asked before a run begins."""

import sys
from pathlib import Path

import typer

from engine.errors import BadInput
from tui.text.output import err


def confirm_cost(plan_file: Path, limit: int | None, fold: int | None, *, yes: bool, quiet: bool) -> None:
    """Says what the judges could cost, and asks where that may pass the plan's `max_cost`.

    Without a `fold`, a plan's folds count together.

    Raises BadInput where it may and nobody can be asked, and Abort when the answer is no.
    """
    from engine.data.selection import in_part, whole_set
    from engine.judges.estimate import estimate
    from engine.plan.folds import count_folds
    from engine.plan.plan import read_plan

    plan = read_plan(plan_file, fold or (1 if count_folds(plan_file) else None))
    if all(judge.server is None for judge in plan.judges):
        return
    examples = whole_set(plan.data)
    if fold is not None:
        examples = in_part(examples, plan.data)
    counts = [count for count in (limit, plan.data.sample) if count is not None]
    found = estimate(plan, examples[: min(counts, default=None)])
    if not quiet:
        for each in found:
            err(f"judge {each.judge}: {each.text()}")
    cap = plan.judging.max_cost
    likely = sum(each.dollars[0] for each in found if each.dollars is not None)
    if cap is None or likely <= cap or yes:
        return
    over = f"judging is likely to cost ${likely:,.2f}, and max_cost is ${cap:,.2f}: the run would pause there"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise BadInput(over, "raise max_cost, judge a sample, or add --yes to run until the cap")
    typer.confirm(f"{over}. Start it?", abort=True, err=True)
