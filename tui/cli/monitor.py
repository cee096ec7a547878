"""`assay monitor`: what production traffic tells, and acknowledging its alerts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import BadInput
from engine.gates.figures import counted
from store import monitor as writing
from store.people import user_name
from store.read.query import LARGEST
from store.session import opened
from tui.cli.common import FAILED_GATE, Json, Store, progress, store_folder
from tui.sections.monitor import (
    MonitorSection,
    VariantSection,
    day,
    figure_said,
    monitor,
    shifts_said,
    uncovered_said,
)
from tui.text.output import Column, heading, out, paragraph, print_json, print_table

if TYPE_CHECKING:
    from engine.traffic.periods import TrafficWatch

LONGEST_PERIOD = 366
MOST_PERIODS = 1000  # of a reference
_SHOWN = 200  # characters of a question
_NEWEST = 8  # periods that are shown

app = typer.Typer(
    name="monitor",
    help="Show what production traffic tells by week and variant, and its alerts.",
    invoke_without_command=True,
    rich_markup_mode=None,
)


@app.callback()
def show(
    context: typer.Context,
    days: Annotated[
        int,
        typer.Option(
            "--days", min=1, max=LONGEST_PERIOD, help="Days of a period; weeks begin on Monday, UTC."
        ),
    ] = 7,
    variant: Annotated[
        str | None, typer.Option("--variant", help='Only this variant; "" is traffic without one.')
    ] = None,
    evaluation: Annotated[
        Path | None,
        typer.Option("--eval", metavar="FILE", help="The eval set that questions are compared with."),
    ] = None,
    reference: Annotated[
        str,
        typer.Option(
            "--reference",
            metavar="N|RUN",
            help="The reference: so many first periods of each variant, a run's name, last, or accepted.",
        ),
    ] = "4",
    meaning: Annotated[
        Path | None,
        typer.Option(
            "--meaning",
            metavar="FOLDER",
            help="A local sentence-transformers model: questions are grouped by meaning, not by words.",
        ),
    ] = None,
    json: Json = False,
    store: Store = None,
) -> int:
    """Show what production traffic tells by week and variant, and its alerts.

    Exit codes: 0 no open alert, 1 an open alert, 2 bad input.
    """
    if context.invoked_subcommand is not None:
        return 0
    found = _watched(context, store, days, variant, evaluation, reference, meaning)
    if json:
        print_json(found.as_dict())
    else:
        _print(monitor(found))
    raise typer.Exit(FAILED_GATE if found.open_alerts else 0)


def _watched(
    context: typer.Context,
    store: str | None,
    days: int,
    variant: str | None,
    evaluation: Path | None,
    reference: str,
    meaning: Path | None,
) -> "TrafficWatch":
    from engine.data.examples import read_examples
    from engine.traffic.watch import watch

    examples = None
    if evaluation is not None:
        rows = read_examples(evaluation)
        if not rows:
            raise BadInput(f"{evaluation}: has no readable row", "Write one JSON object per line.")
        examples = (str(evaluation), rows)
    embedder = None
    if meaning is not None:
        from engine.data.meaning import LocalEmbedder

        embedder = (str(meaning.resolve()), LocalEmbedder(meaning))
    with opened(store_folder(context, store)) as connection:
        found = watch(
            connection,
            days=days,
            variant=variant,
            evaluation=examples,
            reference=_periods_or_run(reference),
            embedder=embedder,
            progress=progress("events measured"),
        )
    if variant is not None and not found.rows:
        raise BadInput(f"no event has the variant {variant!r}", "`assay monitor` shows all variants")
    return found


def _periods_or_run(reference: str) -> int | str:
    if not reference.isdecimal():
        return reference
    if not 1 <= int(reference) <= MOST_PERIODS:
        raise BadInput(f"--reference {reference}: must be from 1 to {MOST_PERIODS} periods, or a run")
    return int(reference)


@app.command()
def acknowledge(
    context: typer.Context,
    alert: Annotated[int, typer.Argument(metavar="ALERT", max=LARGEST, help="The alert's number.")],
    store: Store = None,
) -> None:
    """Acknowledge an alert: it stays in the list and no longer fails `assay monitor`."""
    with opened(store_folder(context, store)) as connection:
        found = writing.acknowledge(connection, alert, user_name())
    paragraph(f"alert {found.id} is acknowledged by {found.by}: {found.measure} from {day(found.start)} on")


def _print(section: MonitorSection) -> None:
    watch = section.watch
    if watch.measured:
        out(f"{counted(watch.measured, 'event')} measured")
    for variant in section.variants:
        _print_variant(variant)
    if watch.uncovered:
        heading(f"Questions that {watch.eval_set} has nothing of")
        for cluster in watch.uncovered:
            paragraph(uncovered_said(cluster), "  ", "")
            for event, text in cluster.examples:
                shown = " ".join(text.split())
                paragraph(f"{shown[:_SHOWN]}{'…' if len(shown) > _SHOWN else ''} ({event})", "    ", "  ")
    heading("Alerts")
    for alert, said in section.alerts:
        seen = f" (acknowledged by {alert.by})" if alert.acknowledged is not None else ""
        whose = f"{alert.variant}: " if alert.variant else ""
        paragraph(f"{whose}from {day(alert.start)} on, {said}{seen}", " " * 6, f"{alert.id:<4}  ")
    if not section.alerts:
        out("none")
    elif watch.open_alerts:
        out("`assay monitor acknowledge ALERT` once somebody has seen to one")
    for remark in watch.remarks:
        paragraph(remark)


def _print_variant(found: VariantSection) -> None:
    heading(f"{found.title}: {counted(sum(row.events for row in found.rows), 'event')}")
    paragraph(f"reference: {found.reference_said}")
    columns = [Column("measure"), Column("reference", True)]
    for row in found.rows[-_NEWEST:]:
        mark = "·" if row.is_reference else "" if row.is_over else "…"
        columns.append(Column(f"{day(row.start)}{mark}", True))
    rows = []
    for line in found.lines:
        if line.is_known:
            cells = [
                f"{'! ' if start in line.alerts else ''}{figure_said(figure, line.measure.unit)}"
                for start, figure in list(line.figures.items())[-_NEWEST:]
            ]
            rows.append([line.measure.title, figure_said(line.reference, line.measure.unit), *cells])
    print_table(columns, rows)
    if len(found.rows) > _NEWEST:
        out(f"and {counted(len(found.rows) - _NEWEST, 'earlier period')}, which --json has")
    out("· in the reference   … not over, so not tested   ! alert   [95% interval]")
    for line in found.lines:
        if not line.is_known:
            paragraph(f"{line.measure.title}: {line.reason}", "  ", "")
    newest = next((row for row in reversed(found.rows) if row.tested or row.from_eval_set), None)
    if newest is not None:
        out(f"Questions of {day(newest.start)}")
        for said in shifts_said(newest):
            paragraph(said, "    ", "  ")
