"""Commands on people's annotations: agreement with them, export, tags, merge."""

import csv
import io
import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tui.cli.common import Json, Run, Store, store_folder
from tui.text.output import Column, out, paragraph, print_json, print_table

if TYPE_CHECKING:
    from engine.formats.annotated import Written
    from engine.formats.importing import Qualified
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from store.read import history
from store.read.history import Connection
from store.read.labels import labelled_pairs, preferences
from store.reviewing import own_decisions
from tui.sections.judging import FIGURES, OUTCOMES, gate_in_words, own_figures
from tui.text.gate import MISSING, percent, printable
from tui.text.output import heading

if TYPE_CHECKING:
    from engine.compare.calibration import CriterionAgreement, Raters
    from engine.gates.judges import JudgeAgreement, JudgeCurve, RunAgreement
    from engine.stats.agreement import Agreement


def agreement(
    context: typer.Context,
    run: Run,
    judge: Annotated[str | None, typer.Option(help="Only this judge.")] = None,
    keep_alerts: Annotated[
        bool, typer.Option("--keep-alerts", help="Leave the run's alerts as they are.")
    ] = False,
    store: Store = None,
    as_json: Json = False,
) -> int:
    """Report how far a run's judges agree with people, and correct their win rates by it."""
    from engine.formats.importing import qualified
    from engine.gates.judges import KIND, agreement_of
    from store.read import history
    from store.reviewing import raise_alerts
    from store.session import opened

    with opened(store_folder(context, store)) as connection:
        run_id = history.find_run(connection, run)
        found = agreement_of(connection, run_id, judge)
        known, gone = qualified(connection, run_id)
        if judge is None and not keep_alerts:
            raise_alerts(connection, run_id, KIND, [asdict(alert) for alert in found.alerts])
        if as_json:
            own = {"own": _own_values(connection, run_id), "qualification": [asdict(one) for one in known]}
            print_json(agreement_values(run_id, found) | own | {"qualification_reason": gone})
        else:
            _print(run_id, found)
            _print_qualified(known)
            if gone:
                paragraph(f"no figures on items with a known answer: {gone}")
    return 1 if any(alert.severity == "critical" for alert in found.alerts) else 0


def agreement_values(run_id: int, found: "RunAgreement") -> dict[str, Any]:
    """The documented shape: the first match's figures at the top, all matches below."""
    matches = [_values(match) for match in found.matches]
    return {
        "run": str(run_id),
        **(matches[0] if matches else {}),
        "matches": matches,
        "criteria": {name: [asdict(item) for item in items] for name, items in found.criteria.items()},
        "by_vote": {
            judge: [{"turn": turn, **asdict(counts)} for turn, counts in turns.items()]
            for judge, turns in found.by_vote.items()
        },
        "curves": [asdict(curve) for curve in found.curves],
        "alerts": [asdict(alert) for alert in found.alerts],
    }


def _values(match: "JudgeAgreement") -> dict[str, Any]:
    calibration = match.calibration
    return {
        "judge": match.judge,
        "candidate": match.candidate,
        "baseline": match.baseline,
        "annotators": list(match.annotators),
        **asdict(calibration.against_people),
        "between_people": {names: asdict(raters) for names, raters in calibration.between_people.items()},
        "confusion": calibration.confusion,
        "corrected_win_rate": asdict(calibration.corrected),
        "min_win_rate": match.win_rate_gate,
        "labels_to_settle": calibration.to_settle,
    }


def _print(run_id: int, found: "RunAgreement") -> None:
    out(f"run {run_id}: judges against people")
    for match in found.matches:
        _print_match(match)
    for judge, turns in found.by_vote.items():
        heading(f"{judge} · each vote, over all pairs of models")
        for turn, counts in turns.items():
            out(
                f"{f'turn {turn} alone' if turn else 'whole conversations'}: agrees with {counts.alike:,} of "
                f"{counts.votes:,} votes, {counts.alike_decided:,} of {counts.decided:,} without ties"
            )
    for name, items in found.criteria.items():
        _print_criteria(name, items)
    for curve in found.curves:
        _print_curve(curve)
    if found.alerts:
        heading("Alerts")
        for alert in found.alerts:
            paragraph(alert.message, " " * 9, f"{alert.severity.upper():9}")


def _print_curve(curve: "JudgeCurve") -> None:
    """What people said where the judge was so sure, or gave that score."""
    pair = f" · {curve.candidate} against {curve.baseline}" if curve.candidate else ""
    if not curve.bins:
        return
    heading(f"{curve.judge}{pair}: its {curve.kind} and people")
    if curve.kind == "score":
        columns = [Column("score"), Column("answers", True), Column("people's mean rating", True)]
        rows = [[f"{each.low:g}", f"{each.n:,}", f"{each.people:.2f}"] for each in curve.bins]
    else:
        columns = [Column("confidence"), Column("mean", True), Column("verdicts", True)]
        columns.append(Column("people agree [95%]", True))
        rows = [
            [
                f"{each.low:.0%} to {each.high:.0%}", percent(each.judge), f"{each.n:,}",
                _share(each.people, each.people_low, each.people_high),
            ]
            for each in curve.bins
        ]  # fmt: skip
    print_table(columns, rows)


def _print_match(match: "JudgeAgreement") -> None:
    kind = "" if match.is_language_model else " (not a language model)"
    heading(f"{match.judge}{kind} · {match.candidate} against {match.baseline}")
    out(f"labels by {printable(', '.join(match.annotators))}")
    raters = {f"{match.judge} and people": match.calibration.against_people}
    _print_raters(raters | match.calibration.between_people)
    _print_corrected(match)
    _print_confusion(match.judge, match.calibration.confusion)


def _print_raters(raters: Mapping[str, "Raters"]) -> None:
    columns = [Column("agreement"), *(Column(names, number=True) for names in raters)]
    rows = [["pairs", *(f"{item.pairs:,}" for item in raters.values())]]
    rows += [
        [title, *(_figure(getattr(item, name)) for item in raters.values())]
        for name, title in FIGURES.items()
    ]
    print_table(columns, rows)
    reasons = dict.fromkeys(
        f"{title}, {names}: {getattr(item, name).reason}"
        for names, item in raters.items()
        for name, title in FIGURES.items()
        if getattr(item, name).value is None
    )
    for reason in reasons:
        paragraph(reason, "    ", f"  {MISSING} ")


def _figure(found: "Agreement") -> str:
    if found.value is None:
        return MISSING
    if found.low is None or found.high is None:
        return f"{found.value:.2f}"
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _print_corrected(match: "JudgeAgreement") -> None:
    found, gate = match.calibration.corrected, match.win_rate_gate
    alone = found.labels_alone
    out()
    rows = [
        ["the judge alone", percent(found.judge_alone), f"{found.labelled + found.unlabelled:,} verdicts"]
    ]
    if alone.value is not None:
        rows.append(
            ["people alone", _share(alone.value, alone.low, alone.high), f"{found.labelled:,} labels"]
        )
    if found.value is not None:
        rows.append(["corrected", _share(found.value, found.low, found.high), "both"])
    print_table([Column("win rate"), Column("value [95%]", number=True), Column("from")], rows)
    if found.reason:
        paragraph(f"not corrected: {found.reason}", "    ", f"  {MISSING} ")
    if found.value is not None and gate is not None and found.low is not None and found.high is not None:
        examples = found.labelled + found.unlabelled
        needed = match.calibration.to_settle
        said = gate_in_words(
            found.low, found.high, gate, labelled=found.labelled, examples=examples, needed=needed
        )
        paragraph(said, "  ")


def _share(value: float, low: float | None, high: float | None) -> str:
    return percent(value) if low is None or high is None else f"{value:.1%} [{low:.1%}, {high:.1%}]"


def _print_confusion(judge: str, confusion: Mapping[str, Mapping[str, Mapping[str, int]]]) -> None:
    out()
    columns = [Column("people said"), *(Column(f"{judge}: {said}", number=True) for said in OUTCOMES)]
    rows = []
    for category, table in confusion.items():
        for people in OUTCOMES:
            if people in table:
                name = f"{people}, {category}" if category else people
                rows.append([name, *(f"{table[people].get(said, 0):,}" for said in OUTCOMES)])
    print_table(columns, rows)


def _print_criteria(judge: str, items: list["CriterionAgreement"]) -> None:
    heading(f"{judge} by criterion, largest disagreement first")
    columns = [Column("criterion"), Column("answers", True), Column("judge − people", True)]
    columns += [Column("mean gap", True), Column("Spearman", True)]
    rows = [
        [
            item.name,
            f"{item.n:,}",
            MISSING if item.difference is None else f"{item.difference:+.2f}",
            MISSING if item.distance is None else f"{item.distance:.2f}",
            _figure(item.spearman),
        ]
        for item in items
    ]
    print_table(columns, rows)


def _print_qualified(known: Sequence["Qualified"]) -> None:
    if known:
        heading("Items with a known answer")
        columns = [Column("annotator"), Column("right", True), Column("share [95%]", True), Column("wrong")]
        print_table(
            columns,
            [
                [
                    one.annotator,
                    f"{one.right:,} of {one.n:,}",
                    _share(one.right / one.n, one.low, one.high),
                    ", ".join(one.wrong),
                ]
                for one in known
            ],
        )


def _own_values(connection: Connection, run_id: int) -> list[dict[str, Any]]:
    """One record for each person and pair of models; shares have value, low, high and n."""
    names = {model.id: model.name for model in history.models(connection, run_id)}
    return [
        {"annotator": person, "candidate": names[pair[0]], "baseline": names[pair[1]]}
        | asdict(own_figures(own_decisions(connection, run_id, *pair, person)))
        for pair in labelled_pairs(connection, run_id)
        for person in sorted({row.annotator for row in preferences(connection, run_id, *pair)})
    ]


annotations = typer.Typer(help="Export people's annotations, and manage the failure tags.")


class AnnotationFormat(StrEnum):
    ANNOTATIONS = "annotations"
    DPO = "dpo"
    SFT = "sft"
    TAGS = "tags"
    EXAMPLES = "examples"
    CROWD = "crowd"


@annotations.command()
def export(
    context: typer.Context,
    run: Run,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write: JSONL, or CSV (crowd).")],
    form: Annotated[
        AnnotationFormat,
        typer.Option(
            "--format",
            help="All annotations; preference pairs (dpo); corrections (sft); tagged answers; "
            "the failures as an eval set (examples); or pairs to label elsewhere, models hidden (crowd).",
        ),
    ] = AnnotationFormat.ANNOTATIONS,
    tag: Annotated[str | None, typer.Option(help="With --format examples: only those with this tag.")] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="With --format crowd: only so many, at random.")
    ] = None,
    flips: Annotated[
        str | None,
        typer.Option(
            metavar="GROUP",
            help="With --format examples: a group of flips, as `assay show --flips --json` names it; "
            "all that are lost, or gained.",
        ),
    ] = None,
    candidate: Annotated[str | None, typer.Option(help="With --flips: whose [default: the first's].")] = None,
    baseline: Annotated[
        str | None, typer.Option(help="With --flips: against which [default: the first].")
    ] = None,
    measure: Annotated[
        str | None, typer.Option(help="With --flips: by which measure [default: as --flips of show].")
    ] = None,
    store: Store = None,
    as_json: Json = False,
) -> int:
    """Write a run's annotations, or what people elsewhere shall label."""
    from engine.decision.flips import flipped_examples
    from engine.errors import BadInput
    from engine.formats import annotated as protocol
    from store.read import history
    from store.read.queues import annotated, annotated_examples
    from store.session import opened

    if tag is not None and form is not AnnotationFormat.EXAMPLES:
        raise BadInput("--tag chooses examples", "add --format examples")
    if flips is not None and (form is not AnnotationFormat.EXAMPLES or tag is not None):
        raise BadInput("--flips chooses examples by themselves", "add --format examples, and no --tag")
    if flips is None and (candidate, baseline, measure) != (None, None, None):
        raise BadInput("--candidate, --baseline and --measure say which flips", "add --flips GROUP")
    if sample is not None and form is not AnnotationFormat.CROWD:
        raise BadInput("--sample chooses pairs to label", "add --format crowd")
    with opened(store_folder(context, store)) as connection:
        run_id = history.find_run(connection, run)
        crowd = protocol.crowd_records(connection, run_id, sample) if form is AnnotationFormat.CROWD else None
        chosen = None
        if flips is not None:
            chosen = flipped_examples(connection, run_id, flips, candidate, baseline, measure)
        rows, examples = annotated(connection, run_id), annotated_examples(connection, run_id, chosen)
    if crowd is not None:
        written = crowd
    elif form is AnnotationFormat.EXAMPLES:
        written = protocol.example_records(rows, examples, tag, chosen)
    else:
        make = {
            AnnotationFormat.ANNOTATIONS: protocol.annotation_records,
            AnnotationFormat.DPO: protocol.preference_records,
            AnnotationFormat.SFT: protocol.correction_records,
            AnnotationFormat.TAGS: protocol.tag_records,
        }
        written = make[form](rows, examples)
    write_records(file, written, as_csv=crowd is not None)
    line = f"[data]\nexamples = {json.dumps(str(file.absolute()), ensure_ascii=False)}"
    plan = line if form is AnnotationFormat.EXAMPLES else None
    if as_json:
        values = {"file": str(file), "records": len(written.records), "skipped": written.skipped}
        print_json(values | ({"plan": plan} if plan else {}))
        return 0
    paragraph(f"{len(written.records):,} records in {file}")
    if plan:  # whole, to be copied into one
        out(f"a plan evaluates them with:\n\n{printable(plan)}")
    for reason, count in written.skipped.items():
        paragraph(f"left out {count:,}: {reason}", "  ")
    return 0


def write_records(file: Path, written: "Written", *, as_csv: bool = False) -> None:
    """Writes records as JSON lines, or as a table for spreadsheets."""
    from engine.data.textfile import write_text

    if as_csv:
        text = io.StringIO()
        table = csv.DictWriter(text, list(written.records[0]) if written.records else ["item_id"])
        table.writeheader()
        table.writerows(written.records)
        write_text(file, text.getvalue(), "name another file")
        return
    lines = [json.dumps(record, ensure_ascii=False) for record in written.records]
    write_text(file, "".join(f"{line}\n" for line in lines), "name another file")


@annotations.command()
def tags(context: typer.Context, store: Store = None, as_json: Json = False) -> int:
    """List the failure tags, with how many answers of how many runs carry each."""
    from dataclasses import asdict

    from store.read import labels
    from store.session import opened

    with opened(store_folder(context, store)) as connection:
        rows = labels.tags(connection)
    if as_json:
        print_json({"tags": [asdict(row) for row in rows]})
        return 0
    if not rows:
        out("no failure tags yet: `assay review` makes them")
        return 0
    columns = [Column("key"), Column("tag"), Column("answers", True), Column("runs", True)]
    columns += [Column("last run", True)]
    print_table(
        columns,
        [
            [row.letter or "", row.name, f"{row.answers:,}", f"{row.runs:,}", str(row.last_run or "")]
            for row in rows
        ],
    )
    return 0


@annotations.command()
def merge(
    context: typer.Context,
    tag: Annotated[str, typer.Argument(metavar="TAG", help="The tag to remove.")],
    into: Annotated[str, typer.Argument(metavar="INTO", help="The tag that replaces it.")],
    store: Store = None,
) -> int:
    """Replace one failure tag by another, wherever it was given."""
    from store import reviewing
    from store.session import opened

    with opened(store_folder(context, store)) as connection:
        reviewing.merge_tags(connection, tag, into)
    paragraph(f"{tag} is now {into}")
    return 0
