"""Commands on proposals for the eval set, of traffic or of a model; training pairs; two variants."""

from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import BadInput, CannotRun
from store.people import user_name
from store.read.query import LARGEST
from tui.cli.annotations import write_records
from tui.cli.common import Fields, Json, Seed, Store, mapping, progress, store_folder
from tui.cli.run import carry_out
from tui.cli.traffic import Before, Since, time_given
from tui.text.gate import MISSING, counted, printable, signed
from tui.text.output import (
    Column,
    err,
    heading,
    moment,
    number,
    out,
    paragraph,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from engine.traffic.ab import ABTest, ArmsCompared
    from engine.traffic.proposals import Decisions
    from engine.traffic.synthesis import Synthesized
    from store.records import EvalProposal


class SyntheticKind(StrEnum):
    DOCUMENTS = "documents"
    TOPICS = "topics"
    HARDER = "harder"
    EDGE = "edge"
    ADVERSARIAL = "adversarial"


class OriginChoice(StrEnum):
    CORRECTION = "correction"
    CLUSTER = "cluster"
    THUMBS = "thumbs"


class DecisionChoice(StrEnum):
    OPEN = "open"
    ACCEPTED = "accepted"
    TRAINING = "training"
    REJECTED = "rejected"
    ALL = "all"


def register(group: typer.Typer) -> None:
    """Adds these commands to their group."""
    for function in (propose, proposals, accept, reject, edit, undo, pairs, ab):
        group.command()(function)


EvalSet = Annotated[Path, typer.Argument(metavar="EVAL", help="The eval set's file.")]
Ids = Annotated[list[int], typer.Argument(metavar="ID...", max=LARGEST, help="Numbers of proposals.")]
SHOWN = 200  # characters of a question in a table


def propose(
    context: typer.Context,
    eval_set: EvalSet,
    train: Annotated[
        Path | None,
        typer.Option("--train", metavar="FILE", help="Training data: leave out what it holds."),
    ] = None,
    origin: Annotated[
        list[OriginChoice] | None,
        typer.Option("--origin", help="Only corrections, uncovered clusters or thumbs down. Repeatable."),
    ] = None,
    since: Since = None,
    before: Before = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="New proposals at most.")] = 200,
    fields: Fields = [],  # noqa: B006  # typer takes an option's default from here, and nobody adds to it
    store: Store = None,
    json: Json = False,
) -> None:
    """Propose what production teaches for an eval set: thumbs down, corrections, uncovered questions."""
    from engine.traffic import proposals
    from store.session import opened

    with opened(store_folder(context, store)) as connection:
        found = proposals.propose(
            connection,
            eval_set,
            train=train,
            fields=mapping(fields) or None,
            origins=[str(each) for each in origin or OriginChoice],
            since=time_given("--since", since),
            before=time_given("--before", before),
            limit=limit,
        )
    if json:
        values = {"new": found.new, "corrected": found.corrected}
        told = {name: [asdict(each) for each in rows] for name, rows in values.items()}
        print_json(told | {"left_out": found.left_out})
        return
    _print_proposals(found.new)
    out(f"{counted(len(found.new), 'new proposal')} for {printable(str(eval_set))}")
    if found.corrected:
        out(f"{counted(len(found.corrected), 'open proposal')} got a correction")
    for reason, count in found.left_out.items():
        paragraph(f"left out {count:,}: {reason}", "  ", "  ")
    if found.new:
        paragraph("`assay traffic accept ID` takes one into the next version, `assay traffic reject ID` not")


def proposals(
    context: typer.Context,
    eval_set: Annotated[Path | None, typer.Argument(metavar="[EVAL]", help="Only for this eval set.")] = None,
    decision: Annotated[
        DecisionChoice, typer.Option("--decision", help="Only what was so decided.")
    ] = DecisionChoice.OPEN,
    store: Store = None,
    json: Json = False,
) -> None:
    """List the proposals for eval sets, those that teach most first."""
    from store.read.traffic import proposals as stored
    from store.session import opened

    with opened(store_folder(context, store)) as connection:
        place = None if eval_set is None else str(eval_set.resolve())
        found = stored(connection, place, None if decision is DecisionChoice.ALL else str(decision))
    if json:
        print_json({"proposals": [asdict(each) for each in found]})
    elif found:
        _print_proposals(found)
    else:
        out(f"no proposal is {decision}" if decision is not DecisionChoice.ALL else "no proposals yet")
        paragraph("`assay traffic propose EVAL` looks for some", "  ", "  ")


def _print_proposals(found: "Sequence[EvalProposal]") -> None:
    if not found:
        return
    columns = [Column("id", True), Column("from"), Column("question"), Column("why"), Column("nearest")]
    rows = [
        [
            str(each.id),
            each.origin if each.decision is None else f"{each.origin}, {each.decision}",
            " ".join(_question(each).split())[:SHOWN],
            each.why,
            MISSING if each.nearest is None else f"{each.nearest} ({number(each.similarity)})",
        ]
        for each in found
    ]
    print_table(columns, rows)
    out()


def _question(each: "EvalProposal") -> str:
    asked = [turn.get("content") for turn in each.messages if turn.get("role") == "user"]
    return str(asked[-1]) if asked else ""


def accept(
    context: typer.Context,
    ids: Ids,
    training: Annotated[
        bool, typer.Option("--training", help="As training pairs, and not into the eval set.")
    ] = False,
    into_test: Annotated[
        bool, typer.Option("--into-test", help="Even where it falls into a test split that was used.")
    ] = False,
    fields: Fields = [],  # noqa: B006  # as above
    store: Store = None,
    json: Json = False,
) -> None:
    """Accept proposals: writes the next version of the eval set beside it, which itself stays as it is."""
    from engine.traffic.proposals import decide
    from store.session import opened

    with opened(store_folder(context, store)) as connection:
        decided = decide(
            connection,
            ids,
            "training" if training else "accepted",
            user_name(),
            into_test=into_test,
            fields=mapping(fields) or None,
        )
    _print_decided(decided, "accepted for training" if training else "accepted", json=json)


def reject(context: typer.Context, ids: Ids, store: Store = None, json: Json = False) -> None:
    """Reject proposals: neither they nor what asks the same is proposed again."""
    from engine.traffic.proposals import decide
    from store.session import opened

    with opened(store_folder(context, store)) as connection:
        decided = decide(connection, ids, "rejected", user_name())
    _print_decided(decided, "rejected", json=json)


def undo(
    context: typer.Context,
    ids: Annotated[
        list[int] | None, typer.Argument(metavar="[ID...]", help="Proposals [default: what you decided last]")
    ] = None,
    fields: Fields = [],  # noqa: B006  # as above
    store: Store = None,
    json: Json = False,
) -> None:
    """Open proposals again that were accepted or rejected, and write the next version without them."""
    from engine.traffic.proposals import undo as open_again
    from store.session import opened

    with opened(store_folder(context, store)) as connection:
        decided = open_again(connection, user_name(), ids or (), fields=mapping(fields) or None)
    _print_decided(decided, "open again", json=json)


def _print_decided(decided: "Decisions", said: str, *, json: bool) -> None:
    if json:
        files = [asdict(each) | {"file": each.file and str(each.file)} for each in decided.files]
        print_json({"proposals": [asdict(each) for each in decided.proposals], "files": files})
        return
    out(f"{', '.join(str(each.id) for each in decided.proposals)} {said}")
    for each in decided.files:
        if each.file is None:
            out("nothing is accepted any more: there is no next version")
            continue
        added = f"{counted(each.examples, 'example')}, {each.told}"
        out(f"wrote {printable(str(each.file))}: version {each.version}, {added}")
        if each.test_uses:
            used = "once" if each.test_uses == 1 else f"{each.test_uses} times"
            paragraph(f"its test split counts as used {used}, like that of the version before", "  ", "  ")


def edit(
    context: typer.Context,
    number: Annotated[int, typer.Argument(metavar="ID", max=LARGEST, help="An open proposal.")],
    reference: Annotated[
        str | None,
        typer.Option("--reference", metavar="TEXT", help="The right answer; empty: there is none."),
    ] = None,
    question: Annotated[
        str | None,
        typer.Option("--question", metavar="TEXT", help="Another question, of one that a model wrote."),
    ] = None,
    store: Store = None,
) -> None:
    """Give an open proposal another reference answer, or one that a model wrote another question."""
    from engine.traffic.proposals import edit as change
    from store.session import opened

    if reference is None and question is None:
        raise BadInput("there is nothing to change", "add --reference TEXT or --question TEXT")
    with opened(store_folder(context, store)) as connection:
        changed = change(connection, number, reference, question)
    kinds = f"; masked: {', '.join(changed.personal)}" if changed.personal else ""
    has = "no reference" if changed.reference is None else "its reference"
    paragraph(f"{number} has {has if question is None else 'its question'}{kinds}")


def pairs(
    context: typer.Context,
    dpo: Annotated[
        Path | None,
        typer.Option("--dpo", metavar="FILE", help="Preferences: prompt, chosen, rejected."),
    ] = None,
    sft: Annotated[
        Path | None, typer.Option("--sft", metavar="FILE", help="Conversations that end as corrected.")
    ] = None,
    accepted: Annotated[
        bool, typer.Option("--accepted", help="Those too that are in the eval set: it then leaks.")
    ] = False,
    store: Store = None,
    json: Json = False,
) -> None:
    """Write the corrections that were accepted for training, for a trainer such as TRL."""
    from engine.traffic.proposals import pairs as training_pairs
    from store.read.traffic import proposals as stored
    from store.session import opened

    if dpo is None and sft is None:
        raise BadInput("no file to write", "add --dpo FILE, --sft FILE or both")
    with opened(store_folder(context, store)) as connection:
        written = [
            (file, training_pairs(connection, "dpo" if file is dpo else "sft", also_accepted=accepted))
            for file in (dpo, sft)
            if file is not None
        ]
        in_eval = [each for each in stored(connection, None, "accepted") if each.reference is not None]
    for file, records in written:
        write_records(file, records)
    if json:
        files = [
            {"file": str(file), "records": len(found.records), "skipped": found.skipped}
            for file, found in written
        ]
        print_json({"files": files, "in_eval_set": len(in_eval), "leaked": len(in_eval) if accepted else 0})
        return
    for file, found in written:
        out(f"{counted(len(found.records), 'record')} in {printable(str(file))}")
        for reason, count in found.skipped.items():
            paragraph(f"left out {count:,}: {reason}", "  ", "  ")
    synthetic = sum(each.synthetic is not None for each in in_eval)
    parts = (len(in_eval) - synthetic, "correction"), (synthetic, "synthetic example")
    told = " and ".join(counted(count, what) for count, what in parts if count)
    if in_eval and accepted:
        err(f"{told} of the eval set are in them: a model that trains on these has seen it")
    elif in_eval:
        paragraph(f"{told} left out: in the eval set, which nobody may train on", "  ", "  ")


# Questions that a model writes


def synthesize(
    context: typer.Context,
    out_file: Annotated[
        Path, typer.Option("--out", metavar="EVAL", help="The eval set that they are for; it may be new.")
    ],
    model: Annotated[
        str,
        typer.Option("--model", metavar="MODEL", help="Who writes: a folder, a hub id, a name on --server."),
    ],
    kind: Annotated[
        SyntheticKind,
        typer.Option(
            "--kind",
            help="From documents or topics (one a line), or from examples: harder ones, edge cases, prompts "
            "that break a rule.",
        ),
    ],
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[SOURCE...]",
            help="Documents (.txt, .md, .jsonl, folders), topics, or examples [default: those of EVAL].",
        ),
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, max=10_000, help="Questions to ask for.")] = 20,
    server: Annotated[
        str | None, typer.Option("--server", metavar="URL", help="The model is on this server.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--api-key-env", metavar="NAME", help="The variable with the server's key.")
    ] = None,
    rubric: Annotated[
        str | None,
        typer.Option("--rubric", metavar="NAME|FILE", help="For --kind adversarial: the rubric of the rule."),
    ] = None,
    rule: Annotated[
        str | None, typer.Option("--rule", metavar="NAME", help="The rule that prompts are to break.")
    ] = None,
    train: Annotated[
        Path | None,
        typer.Option("--train", metavar="FILE", help="Training data: leave out what it holds."),
    ] = None,
    seed: Seed = 0,
    fields: Fields = [],  # noqa: B006  # as above
    store: Store = None,
    json: Json = False,
) -> None:
    """Have a model write test questions; a person accepts them one by one, with `assay traffic accept`."""
    from engine.traffic import synthesis
    from store import database
    from store.session import opened

    if (kind is SyntheticKind.ADVERSARIAL) != (rubric is not None and rule is not None):
        raise BadInput(
            "--kind adversarial needs --rubric and --rule, and no other kind takes them",
            "for example --kind adversarial --rubric safety --rule harmlessness",
        )
    if key is not None and server is None:
        raise BadInput("--api-key-env is about a server", "add --server URL")
    order = synthesis.SyntheticOrder(
        kind=kind.value,
        count=count,
        seed=seed,
        sources=tuple(sources or ()),
        rule=synthesis.rule_of(rubric, rule) if rubric is not None and rule is not None else None,
    )
    writer = synthesis.model_of(model, server, key)
    folder = store_folder(context, store)
    database.prepare(folder)
    with opened(folder) as connection:
        found = synthesis.synthesize(
            connection,
            folder,
            out_file,
            writer,
            order,
            train=train,
            fields=mapping(fields) or None,
            progress=progress("answers"),
        )
    if json:
        print_json(asdict(found))
    else:
        _print_synthesized(found, out_file, model, is_served=server is not None)
    if not found.usable:
        raise CannotRun(f"none of the {found.asked:,} answers could be used", "try a larger model")


def _print_synthesized(found: "Synthesized", eval_set: Path, model: str, *, is_served: bool) -> None:
    _print_proposals(found.new)
    new = counted(len(found.new), "new proposal")
    out(f"{new} for {printable(str(eval_set))}, written by {printable(model)}")
    for reason, count in sorted(found.left_out.items(), key=lambda each: -each[1]):
        paragraph(f"left out {count:,}: {reason}", "  ", "  ")
    spent = "tokens unknown"
    if found.tokens_in is not None and found.tokens_out is not None:
        spent = f"{found.tokens_in:,} tokens in, {found.tokens_out:,} out"
    if is_served:
        spent += ", cost unknown" if found.cost is None else f", {found.cost:.4f} USD"
    paragraph(f"{counted(found.asked, 'answer')}, {found.cached:,} of them from the cache; {spent}")
    _print_shifts(found)
    if found.new:
        paragraph("nothing counts before you accept it: `assay traffic accept ID`, or F4 in the workbench")


def _print_shifts(found: "Synthesized") -> None:
    """How the new questions differ from production's: by topic, by length, and in what else differs."""
    if not found.shifts:
        return
    heading("Against production's questions")
    columns = [Column(""), Column("PSI", True), Column("95% by chance", True), Column("p", True), Column("")]
    rows, reasons = [], []
    for shift in found.shifts:
        differs = shift.psi is not None and shift.chance is not None and shift.psi > shift.chance
        if differs or shift.respect in ("clusters", "prompt length"):
            told = "differs" if differs else ""
            rows.append([shift.respect, *map(number, (shift.psi, shift.chance, shift.p)), told])
            reasons += [f"{shift.respect}: {shift.reason}"] if shift.reason else []
    print_table(columns, rows)
    for reason in reasons:
        paragraph(reason, "    ", f"  {MISSING} ")


# Two variants


def ab(
    context: typer.Context,
    first: Annotated[str, typer.Argument(metavar="A", help="The variant that B is held against.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The variant that is to be judged.")],
    since: Since = None,
    before: Before = None,
    share: Annotated[
        float, typer.Option("--share", metavar="S", help="The share of B by the assignment.")
    ] = 0.5,
    weeks: Annotated[bool, typer.Option("--weeks", help="The differences of each week too.")] = False,
    shadow: Annotated[
        bool,
        typer.Option("--shadow", help="Nobody saw B's answers: make a run of both, to be judged."),
    ] = False,
    judge: Annotated[
        Path | None,
        typer.Option("--judge", metavar="PLAN", help="With --shadow: a plan whose judges compare them."),
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, metavar="N", help="With --shadow: questions.")] = 200,
    detach: Annotated[
        bool, typer.Option("--detach", help="With --shadow: start the run and return.")
    ] = False,
    store: Store = None,
    json: Json = False,
) -> None:
    """Compare two variants that were served at the same time; valid however often one looks."""
    from engine.traffic.ab import compare
    from store.session import opened

    if shadow:
        times = time_given("--since", since), time_given("--before", before)
        folder = store_folder(context, store)
        raise typer.Exit(_shadow(folder, first, second, times, judge, n, detach=detach, json=json))
    if judge is not None or detach:
        raise BadInput("--judge and --detach are about a shadow candidate", "add --shadow")
    with opened(store_folder(context, store)) as connection:
        found = compare(
            connection,
            first,
            second,
            since=time_given("--since", since),
            before=time_given("--before", before),
            expected=share,
            progress=progress("events measured"),
        )
    if json:
        print_json(found.as_dict())
    else:
        _print_ab(found, weeks=weeks)


def _shadow(
    folder: Path,
    first: str,
    second: str,
    times: tuple[float | None, float | None],
    judge: Path | None,
    n: int,
    *,
    detach: bool,
    json: bool,
) -> int:
    """Makes the run of a shadow candidate and watches it; returns its exit code."""
    from engine.traffic.shadow import pairwise_judges, shadow_run
    from store.session import opened

    judges = pairwise_judges(judge) if judge is not None else []
    since, before = times
    with opened(folder) as connection:
        found = shadow_run(connection, folder, first, second, judges=judges, since=since, before=before, n=n)
    if not json:
        out(f"run {found.run_id}: {counted(found.pairs, 'pair')} of answers")
        for reason, count in found.left_out.items():
            paragraph(f"left out {count:,}: {reason}", "  ", "  ")
    if found.is_new:
        return carry_out(folder, found.run_id, detach=detach, brief=True, json=json)
    print_json({"id": found.run_id}) if json else out(f"made before; `assay review {found.run_id}` opens it")
    return 0


def _print_ab(found: "ABTest", *, weeks: bool) -> None:
    one, other = found.arms
    paragraph(f"{other.name} against {one.name}, {moment(found.since)} to {moment(found.before)} UTC")
    for remark in found.remarks:
        paragraph(remark, "  ", "! ")
    units = f"{found.unit}s"
    columns = [Column(""), Column(units, True), Column("events", True)]
    print_table(columns, [[arm.name, f"{arm.units:,}", f"{arm.events:,}"] for arm in found.arms])
    ratio = found.ratio
    paragraph(
        f"{other.name} has {ratio.found:.1%} of the {ratio.counted} ({ratio.expected:.1%} expected): "
        f"χ² = {number(ratio.chi2)}, p = {number(ratio.p)}; at all looks p = {number(ratio.p_any_time)}"
    )
    heading(f"Each {found.unit} counts once; intervals and p hold at every look, over all measures")
    columns = [Column("measure"), Column(one.name, True), Column(other.name, True)]
    columns += [Column("difference [95%]", True), Column("p", True), Column("")]
    columns += [Column(f"{units} needed", True)]
    print_table(columns, [_ab_row(row) for row in found.measures])
    for row in found.measures:
        if row.reason:
            paragraph(f"{row.title}: {row.reason}", "    ", f"  {MISSING} ")
    if weeks:
        _print_weeks(found)


def _ab_row(row: "ArmsCompared") -> list[str]:
    def value(figure: float | None) -> str:
        if figure is None:
            return MISSING
        return f"{figure:.1%}" if row.unit == "share" else number(figure)

    def change(figure: float | None) -> str:
        if figure is None:
            return MISSING
        return signed(100 * figure, 1) if row.unit == "share" else signed(figure)

    inside = "" if row.low is None else f" [{change(row.low)}, {change(row.high)}]"
    needed = "" if row.needed is None else f"about {row.needed:,} more each"
    return [
        row.title,
        *map(value, (row.baseline_value, row.candidate_value)),
        f"{change(row.delta)}{inside}",
        number(row.p),
        row.standing,
        needed,
    ]


def _print_weeks(found: "ABTest") -> None:
    starts = sorted({week.start for row in found.measures for week in row.weeks})
    heading("Difference by week, as it is")
    columns = [Column("measure"), *(Column(moment(start)[:10], True) for start in starts)]
    rows = []
    for row in found.measures:
        known = {week.start: week.delta for week in row.weeks}
        scale = 100 if row.unit == "share" else 1
        deltas = [known.get(start) for start in starts]
        rows.append([row.title, *(signed(None if delta is None else scale * delta) for delta in deltas)])
    print_table(columns, rows)
