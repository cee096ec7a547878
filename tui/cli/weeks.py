"""`assay traffic review`: a week's answers as a run for judges and people."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import BadInput
from store.session import opened
from tui.cli.common import Json, Store, store_folder
from tui.cli.run import carry_out
from tui.text.gate import counted
from tui.text.output import out, print_json

Week = Annotated[
    str | None,
    typer.Option("--week", metavar="DATE", help="A day of the week, as 2026-02-02 [default: the last one]."),
]
Variant = Annotated[str, typer.Option("--variant", metavar="NAME", help="The variant [default: none].")]
Worst = Annotated[
    bool, typer.Option("--worst", help="The worst answers: complained of, corrected, refused or cut.")
]
Number = Annotated[int, typer.Option("--n", min=1, max=10_000, metavar="N", help="How many answers.")]
JudgedBy = Annotated[
    Path | None,
    typer.Option("--judge", metavar="PLAN", help="A plan whose judges score the answers, one by one."),
]
Detach = Annotated[bool, typer.Option("--detach", help="Start it and return; `assay watch` shows it.")]


def review(
    context: typer.Context,
    week: Week = None,
    variant: Variant = "",
    worst: Worst = False,
    n: Number = 50,
    judge: JudgedBy = None,
    detach: Detach = False,
    json: Json = False,
    store: Store = None,
) -> None:
    """Make a run of a week's answers, a random sample or the worst, for Review and judges.

    Weeks begin on Monday, 0:00 UTC. The same week again opens the run that was made of it.
    """
    from engine.traffic import weeks
    from engine.traffic.periods import start_of

    folder, now = store_folder(context, store), time.time()
    purpose = weeks.WORST if worst else weeks.RANDOM
    judges = weeks.scoring_judges(judge) if judge is not None else []
    with opened(folder) as connection:
        start = (
            start_of(_day(week), weeks.WEEK)
            if week is not None
            else weeks.last_week(connection, variant, now)
        )
        found = weeks.review(connection, folder, start, variant, purpose, now=now, n=n, judges=judges)
    told = f"run {found.run_id}: {counted(found.n, 'answer')} of the week of {weeks.day(start)}, {purpose}"
    if not found.is_new:
        if json:
            print_json({"id": found.run_id})
        else:
            out(f"{told}, made before; `assay review {found.run_id}` opens it")
        return
    if not json:
        out(told)
    raise typer.Exit(carry_out(folder, found.run_id, detach=detach, brief=True, json=json))


def _day(text: str) -> float:
    """A day in seconds since 1970. Raises BadInput for what is none."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise BadInput(f"--week {text!r}: is no day", "write it as 2026-02-02") from None
