"""Commands about metrics: score, metrics."""

import sys
import time
import tomllib
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from store.read.query import by_key
from tui.cli.common import Fields, Json, mapping
from tui.text.output import (
    Column,
    as_json,
    asked,
    interval,
    number,
    out,
    paragraph,
    print_json,
    print_table,
    redraws,
)

if TYPE_CHECKING:
    from engine.metrics.metric import Score
    from engine.run.outputs import OutputScores

Row = tuple[str, "Score"]  # an example's id and one of its scores
PORTION = 200
UNCOUNTED = 100_000  # answers between two lines of progress where the total is unknown
MOMENT = 1.0  # seconds before progress is shown
FRAME = 0.25  # seconds between two states of it on a terminal

File = Annotated[Path, typer.Argument(metavar="FILE", help="Lines of query, reference and response.")]
Metrics = Annotated[
    list[str],
    typer.Option("--metrics", metavar="NAME[,NAME]", help="The metrics; `assay metrics` lists them."),
]
References = Annotated[
    Path | None,
    typer.Option("--references", metavar="FILE", help="Examples to answer, found by id or query."),
]
Schema = Annotated[Path | None, typer.Option("--schema", metavar="FILE", help="A JSON schema, for `format`.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="METRIC.KEY=VALUE",
        help="A setting of a metric, written as in a plan: 'code.k=[1,10]'. Repeatable.",
    ),
]
PassK = Annotated[
    list[int],
    typer.Option("--pass-k", metavar="K", help="The k of pass@k over samples; default: all. Repeatable."),
]
PerExample = Annotated[bool, typer.Option("--per-example", help="Every example's scores too.")]


def score(
    file: File,
    metrics: Metrics,
    references: References = None,
    schema: Schema = None,
    given: Set = None,
    pass_k: PassK = [],  # noqa: B006  # as `fields`
    per_example: PerExample = False,
    fields: Fields = [],  # noqa: B006  # typer takes an option's default from here, and nobody adds to it
    json: Json = False,
) -> None:
    """Score answers made elsewhere. Nothing is generated or stored."""
    from engine.errors import BadInput
    from engine.run.outputs import (
        RESPONSE,
        OutputScores,
        count_outputs,
        most_samples,
        read_outputs,
        rows_differ,
        with_samples,
    )

    names = list(dict.fromkeys(name.strip() for text in metrics for name in text.split(",") if name.strip()))
    if not names:
        raise BadInput("--metrics names no metric", "`assay metrics` lists them.")
    settings = _settings(given or [], names)
    if schema:
        settings["format"] = {**settings.get("format", {}), "schema": str(schema)}
    columns = mapping(fields, also=(RESPONSE,))
    outputs, samples = read_outputs(file, references, columns), 1
    if references or not rows_differ(file, columns):
        outputs = iter(held := list(outputs))
        if (samples := most_samples(file, held)) > 1:
            outputs = with_samples(held, samples)
    scores = OutputScores(outputs, names, settings, count_outputs(file), samples, pass_k)
    rows: Iterator[Row]
    if per_example and sys.stdout.isatty():  # where the rows go by themselves
        rows = ((identity, one) for identity, each in scores for one in each)
    else:
        rows = _with_progress(scores, count_outputs(file))
    if json:
        _print_json(file.stem, scores, rows, per_example)
    else:
        _print_tables(file.stem, scores, rows, per_example)


def _settings(given: list[str], names: list[str]) -> dict[str, dict[str, Any]]:
    """The metrics' tables of settings. Raises BadInput for text that is no TOML, or metrics not in use."""
    from engine.errors import BadInput

    way_out = (
        """Write it as in a plan: --set 'classification.labels=["no","yes"]' or --set 'code.k=[1,10]'."""
    )
    settings: dict[str, dict[str, Any]] = {}
    for text in given:
        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise BadInput(f"--set {text}: is not TOML: {error}", way_out) from error
        for name, table in tables.items():
            if not isinstance(table, dict):
                raise BadInput(f"--set {text}: names no metric", way_out)
            if name not in names:
                raise BadInput(f'--set {text}: the metric "{name}" is not among --metrics', way_out)
            settings[name] = {**settings.get(name, {}), **table}
    return settings


def _with_progress(scores: "OutputScores", total: int | None) -> Iterator[Row]:
    """The rows as they come, with progress on the way: in place on a terminal, else a line for each tenth."""
    terminal = redraws()
    step = PORTION if terminal else max(total // 10, 1) if total else UNCOUNTED
    of = f" of {total:,}" if total else ""
    due = time.monotonic() + MOMENT
    try:
        for done, (identity, each) in enumerate(scores, start=1):
            for one in each:
                yield identity, one
            # What takes less than a moment needs no progress.
            if done % step == 0 and time.monotonic() > due and not asked.quiet:
                due = time.monotonic() + FRAME if terminal else due
                text = f"scored {done:,}{of}"
                sys.stderr.write(f"\r{text}\x1b[K" if terminal else f"{text}\n")
                sys.stderr.flush()
    finally:
        if terminal:
            sys.stderr.write("\r\x1b[K")


def _print_json(model: str, scores: "OutputScores", rows: Iterator[Row], per_example: bool) -> None:
    """{"scores": […]}; with `per_example` the "examples" come before them, one line each."""
    examples = 0
    for identity, one in rows:
        if per_example:
            values = {"id": identity, "metric": one.measure, "value": one.value, "reason": one.reason}
            sys.stdout.write((",\n" if examples else '{"examples": [\n') + as_json(values, indent=None))
            examples += 1
    totals = [{"model": model, **total.values()} for total in scores.totals()]
    classes = [asdict(row) | {"answers": answers} for row, answers in scores.classes()]
    more: dict[str, Any] = {"samples": scores.samples} if scores.samples > 1 else {}
    more |= {"classes": classes} if classes else {}
    if examples:
        also = "".join(f',\n"{name}": {as_json(values)}' for name, values in more.items())
        out(f'\n],\n"scores": {as_json(totals)}{also}}}')
    else:
        print_json({"scores": totals, **more})


def _print_tables(model: str, scores: "OutputScores", rows: Iterator[Row], per_example: bool) -> None:
    """The totals; with `per_example` every answer's scores before them, a table for each PORTION of rows."""
    from tui.cli.terminal import print_labels
    from tui.sections.measures import LabelRow, LabelTable

    columns = [Column("id"), Column("measure"), Column("value", True), Column("reason")]
    if per_example:
        while portion := list(islice(rows, PORTION)):
            print_table(
                columns,
                [[identity, one.measure, number(one.value), one.reason or ""] for identity, one in portion],
            )
            out()
    deque(rows, maxlen=0)
    totals = scores.totals()
    columns = [Column("measure"), Column("value", True), Column("95% CI", True), Column("n", True)]
    columns += [Column("missing", True), Column("better")]
    print_table(
        columns,
        [
            [
                total.measure.name,
                number(total.interval.value),
                interval(total.interval.low, total.interval.high),
                str(total.interval.n),
                str(total.missing or ""),
                total.measure.direction.replace("none", ""),
            ]
            for total in totals
        ],
    )
    if scores.samples > 1:
        paragraph(
            f"an example's value is its mean over up to {scores.samples} answers; n counts examples", "  "
        )
    gaps = by_key(((total.missing, total.reason), total.measure.name) for total in totals if total.missing)
    for (count, reason), names in gaps.items():
        paragraph(f"{', '.join(names)}: {count} missing, most often: {reason}", "  ")
    said = by_key((total.notes, total.measure.name) for total in totals if total.notes)
    for notes, names in said.items():
        paragraph(f"{', '.join(names)}: {'; '.join(f'{count} × {note}' for note, count in notes)}", "  ")
    if rows_by_label := scores.classes():
        labels = tuple(
            LabelRow(row.label, row.precision, row.recall, row.f1, row.support, tuple(given))
            for row, given in rows_by_label
        )
        print_labels([LabelTable(model, labels)], full=True)


def metrics(json: Json = False) -> None:
    """List the metrics and what each of their measures means."""
    from engine.metrics.load import load_metric
    from engine.plan.metrics import REGISTRY

    declared = [(name, measure) for name in REGISTRY for measure in load_metric(name, {}).measures]
    if json:
        print_json(
            [
                {
                    "metric": name,
                    "measure": measure.name,
                    "direction": measure.direction,
                    "low": measure.low,
                    "high": measure.high,
                    "unit": measure.unit,
                    "needs": sorted(measure.needs),
                    "version": measure.version,
                    "source": measure.source,
                    "meaning": measure.meaning,
                }
                for name, measure in declared
            ]
        )
        return
    rows = [
        [name, measure.name, measure.direction, ", ".join(sorted(measure.needs)), measure.version]
        for name, measure in declared
    ]
    print_table(
        [Column("metric"), Column("measure"), Column("better"), Column("needs"), Column("version")], rows
    )
    out()
    for _, measure in declared:
        paragraph(f"{measure.name}: {measure.meaning} ({measure.source})", "  ", "")
