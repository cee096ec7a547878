"""Commands about metrics: score, metrics."""

from pathlib import Path
from typing import Annotated

import typer

from tui.commands.common import Json
from tui.output import Column, heading, interval, number, out, paragraph, print_json, print_table

File = Annotated[Path, typer.Argument(metavar="FILE", help="Lines of query, reference and response.")]
Metrics = Annotated[
    list[str],
    typer.Option("--metrics", metavar="NAME[,NAME]", help="What to measure; `assay metrics` lists them."),
]
References = Annotated[
    Path | None,
    typer.Option("--references", metavar="FILE", help="Examples to answer, found by id or query."),
]
Schema = Annotated[Path | None, typer.Option("--schema", metavar="FILE", help="A JSON schema, for `format`.")]
PerExample = Annotated[bool, typer.Option("--per-example", help="Every example's scores too.")]


def score(
    file: File,
    metrics: Metrics,
    references: References = None,
    schema: Schema = None,
    per_example: PerExample = False,
    json: Json = False,
) -> None:
    """Score answers made elsewhere. Nothing is generated or stored."""
    from engine.outputs import read_outputs, score_outputs

    names = list(dict.fromkeys(name.strip() for text in metrics for name in text.split(",") if name.strip()))
    settings = {"format": {"schema": str(schema)}} if schema else {}
    totals, each = score_outputs(read_outputs(file, references), names, settings)
    if json:
        values: dict[str, object] = {
            "scores": [
                {
                    "model": file.stem,
                    "metric": total.measure.name,
                    "value": total.interval.value,
                    "low": total.interval.low,
                    "high": total.interval.high,
                    "n": total.interval.n,
                    "missing": total.missing,
                    "reason": total.reason,
                }
                for total in totals
            ]
        }
        if per_example:
            values["examples"] = [
                {"id": identity, "metric": one.measure, "value": one.value, "reason": one.reason}
                for identity, one in each
            ]
        print_json(values)
        return
    columns = [Column("measure"), Column("value", True), Column("95% interval"), Column("n", True)]
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
    for total in totals:
        if total.missing:
            paragraph(f"{total.measure.name}: {total.missing} missing, most often: {total.reason}", "  ")
    if per_example:
        heading("By example")
        print_table(
            [Column("id"), Column("measure"), Column("value", True), Column("reason")],
            [[identity, one.measure, number(one.value), one.reason or ""] for identity, one in each],
        )


def metrics(json: Json = False) -> None:
    """List the metrics and what each of their measures means."""
    from engine.metrics.metric import REGISTRY, load_metric

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
