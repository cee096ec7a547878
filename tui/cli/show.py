"""Commands that read one run or two: show, report, compare."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from io import TextIOWrapper
from json import dumps, loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.decision.families import NO_GATE
from engine.errors import BadInput
from store.read import history
from store.read.query import by_key
from store.session import opened
from tui.cli.common import FAILED_GATE, NAMED_BY_FIND, AllowEmpty, Json, Run, Section, Store, store_folder
from tui.text.gate import counted, printable, probability
from tui.text.output import heading, out, paragraph, print_json, remark

if TYPE_CHECKING:
    from engine.decision.what_if import GatedRun
    from engine.gates.checks import RunComparison
    from engine.plan.training_config import Retrained


class ReportFormat(StrEnum):
    html = "html"
    md = "md"
    json = "json"
    junit = "junit"


LISTED = 3  # of what is not compared for one reason

Full = Annotated[
    bool,
    typer.Option("--full", help="Every section, with all intervals; a table for each pair of models."),
]
Sections = Annotated[
    list[Section] | None,
    typer.Option(
        "--section", help="Only this section; may be repeated. all: every section, without intervals."
    ),
]
Slices = Annotated[
    bool, typer.Option("--slices", help="Only the slices: all of them, those that got clearly worse first.")
]
Find = Annotated[
    str,
    typer.Option(
        "--find", metavar="TEXT", help="Only measures, families and slices with TEXT in their name."
    ),
]
Decision = Annotated[
    bool, typer.Option("--decision", help="Only the decision, with every question and its numbers.")
]
Flips = Annotated[
    bool, typer.Option("--flips", help="Only the examples that turned wrong or right, in groups.")
]
GateOption = Annotated[
    list[str] | None,
    typer.Option(
        "--gate",
        metavar="NAME=VALUE",
        help="What if: the decision under this limit, which is not stored. May be repeated; NAME=off turns a "
        "gate off; - reads a JSON object of limits from each line of standard input, and answers in JSON.",
    ),
]
Write = Annotated[bool, typer.Option("--write", help="With --gate: write the limits into the plan's file.")]
FormatOption = Annotated[ReportFormat, typer.Option("--format", help="What to write.")]
Older = Annotated[str, typer.Argument(metavar="RUN", help="The run to compare with: id, name or last.")]
Newer = Annotated[str, typer.Argument(metavar="RUN", help="The run in question: id, name or last.")]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="The file to write [default: standard output]")
]


Example = Annotated[
    str | None,
    typer.Option("--example", metavar="ID", help="Only this example: where it was lost."),
]
Candidate = Annotated[
    str | None,
    typer.Option("--candidate", metavar="NAME", help="With --example: whose training [default: the first]."),
]


def show(
    context: typer.Context,
    run: Run,
    json: Json = False,
    full: Full = False,
    section: Sections = None,
    slices: Slices = False,
    find: Find = "",
    decision: Decision = False,
    example: Example = None,
    candidate: Candidate = None,
    flips: Flips = False,
    gate: GateOption = None,
    write: Write = False,
    store: Store = None,
) -> None:
    """Show one run on one screen: the decision, the changes that matter, alerts, and where to look next."""
    if example is not None or candidate is not None:
        _show_example(context, run, example, candidate, json, store)
        return
    if flips:
        _show_flips(store_folder(context, store), run, json=json)
        return
    if gate:
        with opened(store_folder(context, store)) as connection:
            _what_if(connection, history.find_run(connection, run), gate, json=json, write=write)
        return
    if write:
        raise BadInput("--write goes with --gate", "name the limits to write: --gate NAME=VALUE")
    from tui.cli.screenful import print_screen
    from tui.cli.terminal import print_decision, print_head, print_sections
    from tui.report.json import run_values
    from tui.sections.gather import gather

    with opened(store_folder(context, store)) as connection:
        found = gather(connection, history.find_run(connection, run))
    if json:
        print_json(run_values(found))
        return
    if decision:
        print_head(found)
        print_decision(found.decision, full=True)
    elif full or section or slices or find:
        asked = [*(section or ()), *([Section.slices] if slices else [])]
        wanted = asked or ([Section.all] if full else NAMED_BY_FIND)
        print_sections(found, wanted, full=full, slices=slices, find=find)
    else:
        print_screen(found)


def _show_example(
    context: typer.Context,
    run: str,
    example: str | None,
    candidate: str | None,
    as_json: bool,
    store: str | None,
) -> None:
    """One example over the checkpoints of a candidate's training, else over the runs that asked it."""
    from store.read.trends import bisect, find_example
    from tui.cli.terminal import print_bisection

    if example is None:
        raise BadInput("--candidate: is about one example", "Add --example ID.")
    with opened(store_folder(context, store)) as connection:
        run_id = history.find_run(connection, run)
        found = bisect(connection, run_id, find_example(connection, run_id, example), candidate)
    if not as_json:
        print_bisection(found)
        return
    told = {"said": found.said, "lost": [[found.where(one) for one in pair] for pair in found.losses]}
    print_json({**asdict(found), **told, "flickers": found.flickers})


def _show_flips(folder: Path, run: str, *, json: bool) -> None:
    """What the flips of each candidate have in common."""
    from engine.decision.flips import run_flips
    from store.read.evidence import examples_by_name

    with opened(folder) as connection:
        run_id = history.find_run(connection, run)
        found = run_flips(connection, run_id)
        names = {key: name for name, key in examples_by_name(connection, run_id).items()}
    if json:
        values = [
            asdict(item)
            | {
                "lost": [names[key] for key in item.lost],
                "gained": [names[key] for key in item.gained],
                "groups": [
                    {
                        "group": group.key,
                        **asdict(group),
                        "share": group.share,
                        "examples": [names[key] for key in group.examples],
                    }
                    for group in item.groups
                ],
            }
            for item in found
        ]
        print_json({"run": str(run_id), "flips": values})
        return
    for item in found:
        heading(f"{item.candidate} against {item.baseline} by {item.measure}")
        turned = f"{len(item.lost):,} turned wrong, {len(item.gained):,} turned right"
        out(f"{turned}, of {counted(item.compared, 'example')} with a value of both models")
        for group in item.groups:
            p = f"p {probability(group.p)}, corrected {probability(group.p_corrected)}"
            paragraph(f"{group.said} · {p}", "    ", "  - ")
        if not item.groups:
            out(item.reason or f"no slice and no word stands out among them ({item.looked_at:,} looked at)")
    if not found:
        out("this run has no candidate and baseline to compare")
    elif any(item.groups for item in found):
        out()
        paragraph(
            "p: Fisher's exact test, one-sided; corrected for all slices and words that at least three "
            "flips have (Holm). Above 0.05 there, chance may explain the group."
        )


def _what_if(
    connection: history.Connection, run_id: int, given: Sequence[str], *, json: bool, write: bool
) -> None:
    """The decision under the limits given; of each line of standard input where they are "-"."""
    from engine.decision.what_if import GatedRun, write_limits

    found = GatedRun(connection, run_id)
    if list(given) == ["-"]:
        if isinstance(sys.stdin, TextIOWrapper):  # bytes that are no text are a bad line
            sys.stdin.reconfigure(errors="backslashreplace")
        for line in sys.stdin or ():
            try:
                values = _under(found, _limits_in(line))
            except BadInput as error:
                values = {"error": str(error)}
            out(dumps(values))
            sys.stdout.flush()
        return
    limits = _limits(given)
    values = _under(found, limits)
    if write:
        write_limits(found.plan_file, found.changes(found.moved(limits)))
    if json:
        print_json(values)
        return
    _print_what_if(found, values)
    if write:
        remark(f"wrote {found.plan_file}")


def _limits(given: Sequence[str]) -> dict[str, float | None]:
    """NAME=VALUE each. Raises BadInput."""
    limits: dict[str, float | None] = {}
    for each in given:
        name, _, value = each.rpartition("=")
        try:
            limits[name.strip()] = None if value.strip() == "off" else float(value)
        except ValueError as error:
            raise BadInput(f"--gate {each}: {value or 'nothing'} is no number", "write NAME=VALUE") from error
    return limits


def _limits_in(line: str) -> dict[str, float | None]:
    """The limits in a JSON object; null turns a gate off. Raises BadInput."""
    way_out = 'write {"max_metric_drop": 0.02}'
    try:
        found = loads(line)
        numbers = isinstance(found, dict) and all(
            value is None or (isinstance(value, int | float) and not isinstance(value, bool))
            for value in found.values()
        )
        if not numbers:
            raise BadInput("not an object of numbers", way_out)
        return {name: None if value is None else float(value) for name, value in found.items()}
    except (ValueError, OverflowError, RecursionError) as error:
        raise BadInput(f"not JSON with numbers: {error}", way_out) from error


def _under(found: "GatedRun", limits: dict[str, float | None]) -> dict[str, Any]:
    """The documented JSON shape of a decision under other limits."""
    from engine.decision.decision import decision_values

    gates = found.moved(limits)
    moved, before = found.changes(gates), {each.candidate: each.word for each in found.stored}
    looks = found.looks(limits)
    decided = decision_values(found.decide(limits))
    diff, reason = found.plan_diff(moved)
    return {
        "gates": [
            {
                "name": gate.name,
                "about": gate.about,
                "limit": found.limit(gate.name, gates),
                "plan": found.limit(gate.name, found.gates),
                "step": gate.step,
                "most": gate.most,
                "start": gate.start,
                "looks": [asdict(look) for look in looks[gate.name]],
            }
            for gate in found.known.values()
        ],
        "decision": [item | {"before": before[item["candidate"]]} for item in decided],
        "plan": {"file": str(found.plan_file), "diff": diff, "reason": reason},
    }


def _print_what_if(found: "GatedRun", values: dict[str, Any]) -> None:
    heading(f"What if, run {found.facts.run.id}")
    from tui.cli.terminal import WORD_SIGNS

    moved = [gate for gate in values["gates"] if gate["limit"] != gate["plan"]]
    for gate in moved:
        out(f"{gate['name']} {_limit_said(gate['limit'])}, in the plan {_limit_said(gate['plan'])}")
    if not moved:
        out("no limit differs from the plan's")
    for item in values["decision"]:
        was = "" if item["word"] == item["before"] else f" (was: {item['before']})"
        out(printable(f"{WORD_SIGNS[item['word']]} {item['candidate']}: {item['word']}{was}"))
        for reason in item["reasons"]:
            paragraph(reason, "      ", "    - ")
    for gate in moved:
        heading(f"{gate['name']}: {gate['about']}")
        for look in gate["looks"]:
            more = f"; {look['more']}" if look["more"] else ""
            paragraph(f"{look['side']:8} {look['candidate']}: {look['said']}{more}", "           ", "  ")


def _limit_said(value: float | None) -> str:
    return "off" if value is None else f"{value:.15g}"


def report(
    context: typer.Context, run: Run, format: FormatOption, file: Out = None, store: Store = None
) -> None:
    """Write a report of one run to share."""
    from engine.data.textfile import write_text
    from tui.report import render
    from tui.sections.gather import gather_report

    with opened(store_folder(context, store)) as connection:
        found = gather_report(connection, history.find_run(connection, run))
    text = render(found, format.value)
    if file is None:
        out(text.rstrip("\n"))
        return
    write_text(file, text, "choose another file with --out FILE")
    remark(f"wrote {file}")


def compare(
    context: typer.Context,
    older: Older,
    newer: Newer,
    allow_empty: AllowEmpty = False,
    json: Json = False,
    store: Store = None,
) -> None:
    """Compare the candidates of two runs, the older first.

    The comparison is paired, on the examples that both evaluated in the same words. Exits with 1 where
    nothing that a gate checks could be compared, and with 2 where nothing could.
    """
    from engine.compare.comparable import shared_sets
    from engine.decision.facts import retrainings
    from engine.gates.checks import compare_runs
    from store.read.answers import answer_counts
    from tui.report.json import comparison_values
    from tui.sections.remarks import cut_remarks, noise_remarks

    with opened(store_folder(context, store)) as connection:
        runs = history.find_run(connection, older), history.find_run(connection, newer)
        found, trained = compare_runs(connection, *runs), retrainings(connection, *runs)
        sets = shared_sets(connection, *runs)
        remarks = found.settings + [
            f"run {run_id}: {remark}"
            for run_id in runs
            for remark in (
                *noise_remarks(history.models(connection, run_id)),
                *cut_remarks(answer_counts(connection, run_id)),
            )
        ]
    if json:
        training = [asdict(item) | {"said": item.said} for item in trained]
        values = {**comparison_values(found), "eval_sets": asdict(sets)}
        print_json({**values, "training": training, "remarks": remarks})
    else:
        _print_run_comparison(found, trained)
        if sets.said or remarks:
            heading("Remarks")
        for remark in filter(None, (sets.said, *remarks)):
            paragraph(remark, "  ", "")
    if found.is_empty and not allow_empty:
        said = f"runs {found.older} and {found.newer} have nothing in common that can be compared"
        raise BadInput(said, "the list above says why; name runs of the same candidate on the same examples")
    if not found.is_evaluated and not allow_empty:
        raise typer.Exit(FAILED_GATE)


def _print_training(trained: "Sequence[Retrained]") -> None:
    """The changes of the training, a line for each candidate."""
    if trained:
        heading("Changed in the training")
    for item in trained:
        paragraph(f"{item.candidate}: {item.said}", "    ", "  ")


def _print_run_comparison(found: "RunComparison", trained: "Sequence[Retrained]" = ()) -> None:
    from tui.cli.terminal import print_comparisons

    shared = f", on the {found.shared} examples that both evaluated" if found.shared else ""
    out(f"run {found.newer} against run {found.older}{shared}")
    _print_training(trained)
    everything = [item for item in (*found.comparisons, *found.benchmarks) if item.delta is not None]
    pairs = by_key(((item.candidate, item.baseline), item) for item in everything)
    for (candidate, baseline), rows in pairs.items():
        heading(f"{candidate} against {baseline}")
        print_comparisons(rows)
    if found.synthetic:
        left = found.shared - found.synthetic
        heading(f"Without the {found.synthetic:,} synthetic examples, on the {left:,} others")
        others = [item for item in found.without_synthetic if item.delta is not None]
        pairs = by_key(((item.candidate, item.baseline), item) for item in others)
        for (candidate, baseline), rows in pairs.items():
            out(printable(f"{candidate} against {baseline}"))
            print_comparisons(rows)
        if not others:
            out("nothing to compare" if left else "nothing to compare: a model wrote every example")
    if found.is_empty:
        out("the runs have nothing in common that can be compared")
    heading("Drops beyond the gates")
    for alert in found.alerts:
        paragraph(alert.message, " " * 9, f"{alert.severity.upper():9}")
    if not found.is_evaluated:
        out(NO_GATE)
    elif not found.alerts:
        out("none")
    if found.incomparable:
        heading("Not compared")
        by_reason = by_key((item.reason, item.what) for item in found.incomparable)
        for reason, whats in by_reason.items():
            more = f" and {len(whats) - LISTED} more (--json lists them)" if len(whats) > LISTED + 1 else ""
            paragraph(f"{'; '.join(whats[:LISTED] if more else whats)}{more}: {reason}", "  ", "")
