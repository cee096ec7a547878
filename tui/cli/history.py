"""Commands on the history of runs: runs, trend, tag, note, accept, delete, restore, undo."""

import sys
from typing import Annotated

import typer

from engine.decision.families import no_verdict
from engine.errors import BadInput
from engine.gates.figures import counted
from store import people
from store.people import user_name
from store.read import history, trends
from store.read import runs as listed
from store.read.query import Word
from store.read.rows import ModelRow, RunRow
from store.read.runs import Words
from store.session import opened
from store.transfer.merge import deleted, held_by, purge
from tui.cli.common import Json, Run, Store, store_folder
from tui.sections.overview import judging_cost, verdict
from tui.text.gate import printable
from tui.text.output import (
    Column,
    interval,
    iso,
    moment,
    number,
    out,
    paragraph,
    print_json,
    print_table,
    remark,
    width,
)

Limit = Annotated[int, typer.Option("--limit", min=1, help="How many of the newest runs.")]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="FAMILY", help="This is in a model's name, path or architecture."),
]
EvalSet = Annotated[
    str | None,
    typer.Option("--eval-set", metavar="V", help="The eval set's file, or the start of its version."),
]
Judge = Annotated[str | None, typer.Option("--judge", metavar="NAME", help="A judge of that name or model.")]
Tag = Annotated[list[str] | None, typer.Option("--tag", metavar="T", help="Has that tag; may be repeated.")]
Config = Annotated[
    str | None,
    typer.Option("--config", metavar="HASH", help="The start of the plan's or a training config's hash."),
]
Named = Annotated[str | None, typer.Option("--name", metavar="N", help="The run's name.")]
Status = Annotated[
    str | None, typer.Option("--status", metavar="S", help=f"One of: {', '.join(listed.STATUSES)}.")
]
Deleted = Annotated[bool, typer.Option("--deleted", help="Only deleted runs.")]
Measure = Annotated[
    str, typer.Argument(metavar="MEASURE", help="A metric, benchmark or win rate, or a part of its name.")
]
Candidate = Annotated[
    str | None,
    typer.Option("--candidate", metavar="NAME", help="That candidate [default: a run's first]."),
]
Curve = Annotated[
    str | None,
    typer.Option("--run", metavar="RUN", help="The checkpoints of this run instead, by training step."),
]
Ascii = Annotated[bool, typer.Option("--ascii", help="Draw with ASCII only.")]
Newest = Annotated[int | None, typer.Option("--limit", min=1, help="The newest runs only.")]


def _words(**given: str | None) -> Words:
    return listed.check(tuple(Word(field, value) for field, value in given.items() if value))


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
    words += _tags(tag) + ((Word("status", "deleted"),) if deleted else ())
    with opened(store_folder(context, store)) as connection:
        rows = listed.page(connection, limit=limit, words=words)
        if json:
            print_json([_run_values(row, connection) for row in rows])
            return
        total = listed.count(connection, words)
    if not rows:
        out("no run matches" if words else "no runs yet; `assay run PLAN` starts one")
        return
    columns = [
        *(Column("id", True), Column("name"), Column("result"), Column("candidates")),
        *(Column("win rate", True), Column("critical", True), Column("started (UTC)", True)),
    ]
    cells = [
        [
            *(str(row.id), row.name, _standing(row), row.candidates or ""),
            *(number(row.win_rate), str(row.critical or ""), moment(row.started or row.created)),
        ]
        for row in rows
    ]
    if any(row.win_rate_without_synthetic is not None for row in rows):
        columns.append(Column("without synthetic", True))
        cells = [
            [*line, number(row.win_rate_without_synthetic)] for line, row in zip(cells, rows, strict=True)
        ]
    if any(row.tags for row in rows):
        columns.append(Column("tags"))
        cells = [[*line, row.tags or ""] for line, row in zip(cells, rows, strict=True)]
    print_table(columns, cells)
    if total > len(rows):
        remark(f"{total - len(rows)} older runs; --limit N shows more")


def _standing(row: RunRow) -> str:
    return verdict(row) if row.place is None else f"{verdict(row)}, place {row.place}"


def _tags(tags: list[str] | None) -> Words:
    return tuple(Word("tag", tag) for tag in tags or ())


def _run_values(row: RunRow, connection: history.Connection) -> dict[str, object]:
    run = history.run(connection, row.id)
    absent = "" if run.finished is not None else f"the run is {run.status}"
    dollars, unknown = judging_cost(history.spending(connection, run.id))
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
    run: Curve = None,
    ascii: Ascii = False,
    json: Json = False,
    store: Store = None,
) -> None:
    """Show one measure over the runs, or a run's checkpoints; only comparable values are joined."""
    words = _words(model=model, eval=eval_set, judge=judge, config=config, name=name, status=status)
    words += _tags(tag)
    with opened(store_folder(context, store)) as connection:
        if run is None:
            found = find_measure(measure, trends.measures(connection))
            points = trends.trend(connection, found.name, words, candidate=candidate, limit=limit)
        elif words or candidate or limit:
            raise BadInput("--run shows one run's checkpoints", "leave out the options that choose runs")
        else:
            run_id = history.find_run(connection, run)
            known = trends.curve_measures(connection, run_id)
            if not known:
                raise BadInput(
                    f"run {run_id} has no checkpoints with a training step",
                    "`assay follow OUTPUTS --plan PLAN` makes such a run",
                )
            found = find_measure(measure, known)
            points = trends.curve(connection, found.name, run_id)
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


def find_measure(wanted: str, known: list[trends.Named], missing: str = "no run has a") -> trends.Named:
    """The measure of that name, or the only one that has it in its name.

    Raises BadInput for a name that no run has, or that several measures have in theirs.
    """
    exact = [item for item in known if item.name == wanted]
    near = exact or [item for item in known if wanted.casefold() in item.name.casefold()]
    if len(near) == 1:
        return near[0]
    if not near:
        names = ", ".join(item.name for item in known[:12]) + (" …" if len(known) > 12 else "")
        raise BadInput(f"{missing} measure {wanted!r}", f"measures: {names or 'none yet'}")
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
    from tui.widgets.plot import Spot, only_ascii, plot

    better = {"higher": ", higher is better", "lower": ", lower is better"}.get(measure.direction, "")
    by_step = points[0].step is not None
    what = counted(len(points), "checkpoint" if by_step else "run")
    out(f"{printable(measure.name)}{better}: {what}, {'by step' if by_step else 'oldest first'}")
    names = [f"#{point.run_id}" if point.step is None else f"step {point.step:,}" for point in points]
    spots = [
        Spot(point.value, point.low, point.high, bool(place) and gaps[place] is None, names[place])
        for place, point in enumerate(points)
    ]
    for line in plot(spots, min(width(), 100), 14, ascii=ascii or only_ascii()):
        out(line.plain.rstrip())
    columns = [Column("run", True), Column("name"), Column("candidate"), Column("value", True)]
    columns += [Column("95% CI", True), Column("n", True), Column("created (UTC)", True)]
    cells = [
        [
            *(str(point.run_id), point.run_name, point.candidate, number(point.value)),
            *(interval(point.low, point.high), str(point.n), moment(point.created)),
        ]
        for point in points
    ]
    if any(point.without_synthetic is not None for point in points):
        columns.append(Column("without synthetic", True))
        cells = [[*line, number(point.without_synthetic)] for line, point in zip(cells, points, strict=True)]
    print_table(columns, cells)
    for point, gap, name in zip(points, gaps, names, strict=True):
        if gap:
            before = "checkpoint" if by_step else "run"
            paragraph(f"not joined to the {before} before it: {gap}", "  ", f"{name}: ")
        if point.value is None:
            paragraph(f"no value: {point.reason or 'not recorded'}", "  ", f"{name}: ")


Tags = Annotated[
    list[str] | None, typer.Argument(metavar="TAG", help="Tags to add [default: list its tags].")
]
Remove = Annotated[list[str] | None, typer.Option("--remove", metavar="TAG", help="Remove this tag.")]
Text = Annotated[str | None, typer.Argument(metavar="TEXT", help="The note [default: list its notes].")]
Runs = Annotated[list[str] | None, typer.Argument(metavar="RUN", help="Runs by id or name, or last.")]
Purge = Annotated[
    bool, typer.Option("--purge", help="Remove the deleted runs for good, with all their answers.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def tag(
    context: typer.Context,
    run: Run,
    tags: Tags = None,
    remove: Remove = None,
    json: Json = False,
    store: Store = None,
) -> None:
    """Add or remove tags of a run; `assay runs --tag TAG` lists the runs that have one."""
    with opened(store_folder(context, store)) as connection:
        run_id, user = history.find_run(connection, run), user_name()
        for word in tags or ():
            people.tag(connection, run_id, word, user)
        for word in remove or ():
            people.untag(connection, run_id, word, user)
        standing = people.tags(connection, run_id)
    if json:
        print_json({"id": str(run_id), "tags": standing})
    else:
        paragraph(f"run {run_id}: {', '.join(standing) or 'no tags'}")


def note(
    context: typer.Context, run: Run, text: Text = None, json: Json = False, store: Store = None
) -> None:
    """Write a note on a run, or list its notes."""
    with opened(store_folder(context, store)) as connection:
        run_id = history.find_run(connection, run)
        if text is not None:
            if not text.strip():
                raise BadInput("the note is empty", 'assay note RUN "TEXT"')
            people.mark(connection, run_id, "note", text.strip(), user_name())
        found = people.notes(connection, run_id)
    if json:
        print_json([{"user": row.user, "created": row.created, "note": row.value} for row in found])
        return
    for row in found:
        paragraph(f"{moment(row.created)} {row.user}: {row.value}", "  ", "")
    if not found:
        out(f"run {run_id} has no notes")


def delete(
    context: typer.Context,
    runs: Runs = None,
    remove: Purge = False,
    yes: Yes = False,
    store: Store = None,
) -> None:
    """Delete runs: no list shows them; `assay restore` restores them until they are purged."""
    folder = store_folder(context, store)
    if not runs and not remove:
        raise BadInput("no run was named", "assay delete RUN; --purge removes deleted runs for good")
    with opened(folder) as connection:
        for run_id in _found(connection, runs):
            people.delete(connection, run_id, user_name())
            out(f"run {run_id} is deleted; `assay restore {run_id}` restores it")
        if not remove:
            return
        gone = deleted(connection)
        if gone and not yes:
            _ask(gone)
        gone = purge(connection, folder)
        held = held_by(connection)
    for run_id, others in held.items():
        paragraph(f"run {run_id} stays, hidden: {_listed(others)} was compared with it")
    out(f"removed for good: {_listed(gone)}" if gone else "no run is deleted: there is nothing to remove")


def restore(context: typer.Context, runs: Runs = None, store: Store = None) -> None:
    """Bring deleted runs back; `assay runs --deleted` lists them."""
    if not runs:
        raise BadInput("no run was named", "`assay runs --deleted` lists those that can be restored")
    with opened(store_folder(context, store)) as connection:
        for run_id in _found(connection, runs):
            people.restore(connection, run_id, user_name())
            out(f"run {run_id} is restored")


def undo(context: typer.Context, run: Run, store: Store = None) -> None:
    """Undo the newest tag, acceptance or deletion of a run."""
    with opened(store_folder(context, store)) as connection:
        run_id = history.find_run(connection, run)
        row = people.take_back(connection, run_id, user_name())
    undone = {"tag": f"the tag {row.value}", "accept": f"the acceptance of {row.value}"}
    paragraph(f"run {run_id}: {undone.get(row.kind, 'its deletion')} is undone")


def _found(connection: history.Connection, runs: list[str] | None) -> list[int]:
    return list(dict.fromkeys(history.find_run(connection, run) for run in runs or ()))


def _ask(gone: list[int]) -> None:
    question = f"Remove {_listed(gone)} for good, with all answers, scores and judgments?"
    if not sys.stdin.isatty():
        raise BadInput(
            "removing runs for good needs a confirmation", f"{question} Then: assay delete --purge --yes"
        )
    typer.confirm(question, abort=True)


def _listed(ids: list[int]) -> str:
    return f"run{'' if len(ids) == 1 else 's'} {', '.join(map(str, ids))}"


Accepted = Annotated[
    str | None, typer.Argument(metavar="CANDIDATE", help="Which of its candidates [default: the only one].")
]
Note = Annotated[str | None, typer.Option("--note", metavar="TEXT", help="Why; kept as a note on the run.")]
Withdraw = Annotated[bool, typer.Option("--withdraw", help="Withdraw the acceptance.")]


def accept(
    context: typer.Context,
    run: Run,
    candidate: Accepted = None,
    note: Note = None,
    withdraw: Withdraw = False,
    store: Store = None,
) -> None:
    """Make a run's candidate the reference of `assay run PLAN --against accepted`."""
    with opened(store_folder(context, store)) as connection:
        detail = history.run(connection, history.find_run(connection, run))
        if withdraw:
            _withdraw(connection, detail.id, detail.name, candidate)
            return
        if detail.status != "finished":
            raise BadInput(
                f"run {detail.id} is {detail.status}: only a finished run can be a reference",
                f"`assay resume {detail.id}` continues it",
            )
        chosen = _accepted(detail.id, history.models(connection, detail.id), candidate)
        people.mark(connection, detail.id, "accept", chosen.name, user_name())
        if note:
            people.mark(connection, detail.id, "note", note, user_name())
        out(
            f"{printable(chosen.name)} of run {detail.id} is the reference for later runs of "
            f"{printable(detail.name)}; `assay run PLAN --against accepted` compares them with it"
        )
        if chosen.passed is False:
            out("It failed a gate; `assay show` says which.")


def _accepted(run_id: int, models: list[ModelRow], name: str | None) -> ModelRow:
    """The candidate that is meant: by name, or the only one, or the only one that passed."""
    candidates = [model for model in models if model.role == "candidate"]
    named = [model for model in candidates if name in (None, model.name)]
    passed = [model for model in named if model.passed]
    for found in (named, passed):
        if len(found) == 1:
            return found[0]
    listed = printable(", ".join(model.name for model in candidates))
    if not named:
        raise BadInput(f"run {run_id} has no candidate {printable(name or '')!r}", f"it has {listed}")
    raise BadInput(
        f"run {run_id} has {len(named)} candidates, and not exactly one that passed",
        f"name one: `assay accept {run_id} CANDIDATE`, of {listed}",
    )


def _withdraw(connection: history.Connection, run_id: int, name: str, candidate: str | None) -> None:
    standing = people.accepted_of(connection, run_id)
    wanted = [value for value in standing if candidate in (None, value)]
    if not wanted:
        raise BadInput(f"nothing of run {run_id} is accepted", f"`assay accept {run_id}` accepts it")
    for value in wanted:
        people.mark(connection, run_id, "withdraw", value, user_name())
    reference = people.accepted(connection, name)
    left = f"run {reference.run_id} is the reference again" if reference else "no run of its name is one now"
    out(f"run {run_id} is no longer the reference; {left}")
