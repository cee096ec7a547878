"""Commands over many runs: runs, trend."""

from typing import Annotated

import typer

from engine.errors import BadInput
from store.read import history, trends
from store.read import runs as listed
from store.read.rows import RunRow
from store.read.runs import Words
from store.session import opened
from tui.cli.common import Json, Store, store_folder
from tui.sections.words import cost, no_verdict, verdict
from tui.text.gate import printable
from tui.text.output import (
    Column,
    err,
    interval,
    iso,
    moment,
    number,
    out,
    paragraph,
    print_json,
    print_table,
    width,
)
from tui.widgets.plot import Spot, only_ascii, plot

Limit = Annotated[int, typer.Option("--limit", min=1, help="How many of the newest runs.")]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="FAMILY", help="A model's name, path or architecture has this in it."),
]
EvalSet = Annotated[
    str | None, typer.Option("--eval-set", metavar="V", help="The eval set's version begins so, or its file.")
]
Judge = Annotated[str | None, typer.Option("--judge", metavar="NAME", help="A judge of that name or model.")]
Tag = Annotated[list[str] | None, typer.Option("--tag", metavar="T", help="Has that tag; may be repeated.")]
Config = Annotated[
    str | None,
    typer.Option("--config", metavar="HASH", help="The plan's or a training config's hash begins so."),
]
Named = Annotated[str | None, typer.Option("--name", metavar="N", help="The run's name.")]
Status = Annotated[
    str | None, typer.Option("--status", metavar="S", help=f"One of: {', '.join(listed.STATUSES)}.")
]
Deleted = Annotated[bool, typer.Option("--deleted", help="The runs that were put away.")]
Measure = Annotated[
    str, typer.Argument(metavar="MEASURE", help="A metric, benchmark or win rate, or a part of its name.")
]
Candidate = Annotated[
    str | None,
    typer.Option("--candidate", metavar="NAME", help="That candidate [default: a run's first]."),
]
Ascii = Annotated[bool, typer.Option("--ascii", help="Draw with ASCII alone.")]
Newest = Annotated[int | None, typer.Option("--limit", min=1, help="The newest runs only.")]


def _words(**given: str | None) -> Words:
    return listed.check(tuple((kind, value) for kind, value in given.items() if value))


def runs(
    context: typer.Context,
    limit: Limit = 20,
    model: Model = None,
    eval_set: EvalSet = None,
    judge: Judge = None,
    tag: Tag = None,
    config: Config = None,
    name: Named = None,
    status: Status = None,
    deleted: Deleted = False,
    json: Json = False,
    store: Store = None,
) -> None:
    """List the runs, newest first."""
    words = _words(model=model, eval=eval_set, judge=judge, config=config, name=name, status=status)
    words += _tags(tag) + ((("status", "deleted"),) if deleted else ())
    with opened(store_folder(context, store)) as connection:
        rows = listed.page(connection, limit=limit, words=words)
        if json:
            print_json([_run_values(row, connection) for row in rows])
            return
        total = listed.count(connection, words)
    if not rows:
        out("no run is like that" if words else "no runs yet; `assay run PLAN` starts one")
        return
    columns = [
        *(Column("id", True), Column("name"), Column("result"), Column("candidates")),
        *(Column("win rate", True), Column("critical", True), Column("started (UTC)", True)),
    ]
    cells = [
        [
            *(str(row.id), row.name, verdict(row), row.candidates or ""),
            *(number(row.win_rate), str(row.critical or ""), moment(row.started or row.created)),
        ]
        for row in rows
    ]
    if any(row.tags for row in rows):
        columns.append(Column("tags"))
        cells = [[*line, row.tags or ""] for line, row in zip(cells, rows, strict=True)]
    print_table(columns, cells)
    if total > len(rows):
        err(f"{total - len(rows)} older runs; --limit N shows more")


def _tags(tags: list[str] | None) -> Words:
    return tuple(("tag", tag) for tag in tags or ())


def _run_values(row: RunRow, connection: history.Connection) -> dict[str, object]:
    run = history.run(connection, row.id)
    absent = "" if run.finished is not None else f"the run is {run.status}"
    dollars, unknown = cost(history.spending(connection, run.id))
    return {
        "id": str(run.id),
        "name": run.name,
        "status": run.status,
        "started": iso(run.started),
        "finished": iso(run.finished),
        "passed": run.passed,
        "cost": dollars,
        "tags": row.tags.split(", ") if row.tags else [],
        "reason": "; ".join(part for part in (no_verdict(run) or absent, unknown) if part) or None,
    }


def trend(
    context: typer.Context,
    measure: Measure,
    candidate: Candidate = None,
    model: Model = None,
    eval_set: EvalSet = None,
    judge: Judge = None,
    tag: Tag = None,
    config: Config = None,
    name: Named = None,
    status: Status = None,
    limit: Newest = None,
    ascii: Ascii = False,
    json: Json = False,
    store: Store = None,
) -> None:
    """Show one measure over the runs, oldest first; only values that compare are joined."""
    words = _words(model=model, eval=eval_set, judge=judge, config=config, name=name, status=status)
    words += _tags(tag)
    with opened(store_folder(context, store)) as connection:
        found = find_measure(measure, trends.measures(connection))
        points = trends.trend(connection, found.name, words, candidate=candidate, limit=limit)
    gaps = trends.breaks(points)
    if json:
        print_json(
            {
                "measure": found.name,
                "direction": found.direction,
                "points": [_point(*pair) for pair in zip(points, gaps, strict=True)],
            }
        )
    else:
        _print_trend(found, points, gaps, ascii)


def find_measure(wanted: str, known: list[trends.Named]) -> trends.Named:
    """The measure of that name, or the only one that has it in its name.

    Raises BadInput for a name that no run has, or that several measures have in theirs.
    """
    exact = [item for item in known if item.name == wanted]
    near = exact or [item for item in known if wanted.casefold() in item.name.casefold()]
    if len(near) == 1:
        return near[0]
    if not near:
        names = ", ".join(item.name for item in known[:12]) + (" …" if len(known) > 12 else "")
        raise BadInput(f"no run has a measure {wanted!r}", f"measures: {names or 'none yet'}")
    raise BadInput(f"several measures have {wanted!r} in their name", ", ".join(item.name for item in near))


def _point(point: trends.Point, gap: str | None) -> dict[str, object]:
    values = history.as_values(point)
    return {**values, "run_id": str(point.run_id), "conditions": dict(point.conditions), "not_joined": gap}


def _print_trend(
    measure: trends.Named, points: list[trends.Point], gaps: list[str | None], ascii: bool
) -> None:
    if not points:
        out("no run like that has this measure")
        return
    better = {"higher": ", higher is better", "lower": ", lower is better"}.get(measure.direction, "")
    out(f"{printable(measure.name)}{better}: {len(points)} runs, oldest first")
    spots = [
        Spot(point.value, point.low, point.high, bool(place) and gaps[place] is None, f"#{point.run_id}")
        for place, point in enumerate(points)
    ]
    for line in plot(spots, min(width(), 100), 14, ascii=ascii or only_ascii()):
        out(line.plain.rstrip())
    columns = [Column("run", True), Column("name"), Column("candidate"), Column("value", True)]
    columns += [Column("95 % interval", True), Column("n", True), Column("created (UTC)", True)]
    print_table(
        columns,
        [
            [
                *(str(point.run_id), point.run_name, point.candidate, number(point.value)),
                *(interval(point.low, point.high), str(point.n), moment(point.created)),
            ]
            for point in points
        ],
    )
    for point, gap in zip(points, gaps, strict=True):
        if gap:
            paragraph(f"not joined to the run before it: {gap}", "  ", f"#{point.run_id}: ")
        if point.value is None:
            paragraph(f"no value: {point.reason or 'not recorded'}", "  ", f"#{point.run_id}: ")
