"""One run as text in a terminal: the decision first, then its evidence."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from engine.compare.forgetting import DROP, NONE_RIGHT, Conclusion
from engine.data.leak import TIER_WORDS
from engine.decision.decision import AnsweredQuestion, Decision, TradeOff, headline
from engine.decision.families import common_word, family_of, rank, summarize
from engine.decision.judges import Said
from engine.gates.figures import relative
from store.read.answers import AnswerCount
from store.read.query import by_key
from store.read.rows import AlertRow, ComparisonRow, ModelScoreRow, WinRateRow
from store.read.slices import OF_THE_SET, CorpusRow, DisparityRow, SliceRow, SliceScoreRow
from store.read.trends import Bisection
from tui.cli.common import Section
from tui.sections.alerts import AlertsSection
from tui.sections.data import CoverageTable, DataSection
from tui.sections.eta import in_gpu_hours
from tui.sections.gather import RunSections
from tui.sections.judging import JudgedPair, JudgeReport, JudgingSection
from tui.sections.measures import (
    NOT_FOUND,
    BenchmarksSection,
    Change,
    ForgettingSection,
    LabelTable,
    MeasuresSection,
    ReliabilityCurve,
    SlicesSection,
    between_samples,
    changes_of,
    coverage,
)
from tui.sections.overview import (
    TRADE_OFF,
    Checkpoint,
    CostsSection,
    OverviewSection,
    SweepSection,
    track_said,
    trade_off_said,
    trade_off_table,
)
from tui.sections.remarks import ANSWERS, answer_table
from tui.text.diff import first_change, text_of
from tui.text.gate import MISSING, cut, duration, percent, printable, probability
from tui.text.output import (
    Column,
    heading,
    held,
    interval,
    moment,
    number,
    out,
    paragraph,
    print_table,
    strong,
    width,
)

if TYPE_CHECKING:
    from engine.compare.comparison import Comparison


EXCERPT = 80  # cells of an answer in a table


def print_sections(
    found: RunSections,
    wanted: Collection[Section] = (Section.all,),
    *,
    full: bool = False,
    slices: bool = False,
    find: str = "",
) -> None:
    """The run and these sections of it, in the order of the decision and what it rests on.

    `full` adds every interval, `slices` every slice; `find` keeps the measures, families and slices whose
    name contains it.
    """
    print_head(found)
    measures, changes = found.measures, _print_every_change if full else _print_glance
    candidates = [candidate.name for candidate in found.overview.candidates]
    parts: dict[Section, Callable[[], None]] = {
        Section.decision: lambda: print_decision(found.decision),
        Section.data: lambda: _print_data(found.data, candidates),
        Section.sweep: lambda: _print_sweep(found.overview.sweep),
        Section.trade_off: lambda: _print_trade_off(found.trade_off),
        Section.candidates: lambda: _print_candidates(found.overview),
        Section.forgetting: lambda: _print_forgetting(found.forgetting),
        Section.judges: lambda: _print_judging(found.judging, full=full),
        Section.scores: lambda: print_scores(measures, full=full, find=find),
        Section.answers: lambda: _print_answers(found.answers),
        Section.labels: lambda: print_labels(measures.labels, full=full),
        Section.calibration: lambda: (
            _print_reliability(measures.reliability) if full or Section.calibration in wanted else None
        ),
        Section.benchmarks: lambda: _print_benchmarks(found.benchmarks),
        Section.corpora: lambda: _print_corpora(found.benchmarks.corpora),
        Section.changes: lambda: changes(measures, find=find),
        Section.slices: lambda: print_slices(found.slices, everything=slices, find=find),
        Section.people: lambda: _print_disparities(found.slices),
        Section.robustness: lambda: _print_robustness(
            found, own=not {Section.all, Section.forgetting} & set(wanted)
        ),
        Section.resources: lambda: _print_costs(found.costs),
        Section.remarks: lambda: _print_remarks(found.remarks),
        Section.alerts: lambda: print_alerts(found.alerts),
    }
    for name, print_part in parts.items():
        if Section.all in wanted:
            print_part()
        elif name in wanted:
            with held() as lines:
                print_part()
            out("\n".join(lines or ["", f"{name}: nothing in this run"]))


# The run and its decision


def print_verdict(found: OverviewSection) -> None:
    """The run and its outcome in one line."""
    run = found.run
    result = found.verdict.upper() if run.passed is False else found.verdict
    out(strong(printable(f"run {run.id} · {run.name} · {result}")))


def print_head(found: RunSections) -> None:
    """Which run it is, how it ended, and what it ran on."""
    run = found.run
    print_verdict(found.overview)
    started, finished = run.started or 0.0, run.finished or 0.0
    # A clock that was set back meanwhile tells nothing.
    took = f", took {duration(finished - started)}" if started and finished >= started else ""
    plan = f" · plan {run.plan_file} {run.plan_hash[:12]}" if run.plan_hash else ""
    when = f"started {moment(run.started)} UTC" if run.started else "not started"
    # An imported run may hold benchmarks alone.
    data = f" · eval set {run.eval_set_file or ''} {run.eval_set or run.no_data}"
    paragraph(f"{when}{took}{plan}{data if plan or run.eval_set else ''} · seed {run.seed}")
    if settings := (run.options or {}).get("set"):
        paragraph(f"set in place of the plan's: {', '.join(settings)}", "  ", "")
    costs = found.costs
    if costs.unknown or costs.dollars:
        paragraph(costs.unknown or f"judging cost ${costs.dollars:,.2f}")
    if costs.gpu_hours is not None:
        paragraph(f"its models used {in_gpu_hours(costs.gpu_hours)}")
    for track in found.tracks:
        paragraph(track_said(track))
    if found.overview.no_verdict and not run.imported:
        paragraph(found.overview.no_verdict)


WORD_SIGNS = {"ship": "+", "don't ship": "-", "inconclusive": "?"}
ANSWER_SIGNS = {"good": "+", "bad": "-", "open": "?", "neutral": "=", "missing": "·"}


def print_decision(verdicts: Sequence[Decision], *, full: bool = False) -> None:
    """Word and reasons of every candidate; `full` adds every question with the numbers behind its answer."""
    if not verdicts:
        out("no candidate to decide on")
        return
    heading("Decision")
    if said := headline(verdicts):
        paragraph(said)
    for verdict in verdicts:
        print_word(verdict.candidate, verdict, verdict.reasons)
        for answer in verdict.answers if full else ():
            _print_answer(answer)
    if full:
        paragraph("+ good · - bad · ? inconclusive · = without a verdict · · not known")


def print_word(
    name: str, verdict: Decision, reasons: Sequence[str], *, compact: bool = False, advised: bool = True
) -> None:
    """What to do with the candidate of that name; `compact` has its figures beside the word."""
    word = verdict.word.upper() if verdict.word == "don't ship" else verdict.word
    told, card = strong(printable(f"{WORD_SIGNS[verdict.word]} {name}: {word}")), " · ".join(verdict.card)
    if compact:
        out(cut(f"{WORD_SIGNS[verdict.word]} {name}: {word} · {card}".removesuffix(" · "), width()))
    else:
        out(told)
        paragraph(card, "    ", "    ")
    for reason in reasons:
        paragraph(reason, "      ", "    - ")
    if verdict.advice and advised:
        paragraph(verdict.advice, "      ", "    > ")


def _print_answer(answer: AnsweredQuestion) -> None:
    paragraph(f"{answer.question} {answer.answer}", "      ", f"  {ANSWER_SIGNS[answer.standing]} ")
    for line in answer.evidence:
        paragraph(line, "          ", "        ")


def _print_candidates(found: OverviewSection) -> None:
    if not found.candidates:
        return
    heading("Candidates")
    rows = [
        [
            candidate.name,
            candidate.result,
            "" if candidate.probe is None else _effect(candidate.probe),
        ]
        for candidate in found.candidates
    ]
    print_table([Column("candidate"), Column("result"), Column("adapter's effect on logits")], rows)


def _effect(probe: Mapping[str, Any]) -> str:
    largest = probe.get("max_difference") if probe.get("prompts") else None
    return MISSING if largest is None else f"up to {number(largest)}"


def _print_sweep(found: SweepSection | None) -> None:
    """The checkpoints from the best to the worst, those that were cut too."""
    if found is None:
        return
    heading(found.title)
    if found.held_to:
        paragraph(found.rule)
    held = [Column(found.held_to, True)] if found.held_to else []
    columns = [Column("rank", True), Column("checkpoint"), Column(found.measure, True)]
    columns += [Column("95% CI", True), *held, Column("n", True), Column("result")]
    print_table(columns, [_checkpoint(row, bool(held)) for row in found.checkpoints])
    for remark in found.remarks:
        paragraph(remark)


def _checkpoint(found: Checkpoint, is_held: bool) -> list[str]:
    return [
        MISSING if found.rank is None else str(found.rank),
        found.name,
        number(found.value),
        interval(found.low, found.high),
        *([number(found.general)] if is_held else []),
        str(found.n),
        found.result,
    ]


def _print_trade_off(found: TradeOff | None) -> None:
    if found is None:
        return
    heading(TRADE_OFF)
    for said in trade_off_said(found):
        paragraph(said)
    titles, rows = trade_off_table(found)
    print_table([Column(*title) for title in titles], rows)


def print_bisection(found: Bisection) -> None:
    """An example over checkpoints or runs: the word on it, then each answer from where it changed."""
    out(strong(printable(f"{found.example} · {found.said}")))
    paragraph(f"query: {found.query}", " " * 7, "")
    if found.measure:
        paragraph(f"right or wrong by {found.measure}, as in the queue of flips")
    rows: list[list[str]] = []
    before = None
    for each in (*([found.baseline] if found.baseline else []), *found.attempts):
        word = {True: "right", False: "WRONG", None: "not known"}[each.right]
        answer = each.reason or "" if each.text is None else each.text
        if each.text is not None and before is not None:
            is_same = each.text == before
            answer = "the same answer" if is_same else text_of(first_change(before, each.text))
        model = [] if found.is_sweep else [each.model]
        rows.append([found.where(each), *model, word, number(each.value), cut(answer, EXCERPT)])
        before = each.text
    titles = [Column("where"), *([] if found.is_sweep else [Column("model")])]
    titles += [Column("answer is"), Column("value", True)]
    print_table([*titles, Column("answer, from the words that differ")], rows)


def print_alerts(found: AlertsSection) -> None:
    """The alerts, open and severe ones first."""
    heading("Alerts")
    if not found.rows:
        out("none")
    for alerts in alike(found.rows):
        print_alert(alerts)
        if told := found.advice.get(alerts[0].id):
            paragraph(told, " " * 11, " " * 9 + "> ")


def alike(rows: Iterable[AlertRow]) -> list[list[AlertRow]]:
    """The alerts in their order; those that say the same of several candidates are together."""
    return list(by_key(((row.severity, row.message, _acknowledged(row)), row) for row in rows).values())


def print_alert(alerts: Sequence[AlertRow]) -> None:
    """Alerts that say the same, once."""
    first = alerts[0]
    names = dict.fromkeys(alert.candidate for alert in alerts)
    whose = "" if set(names) == {first.candidate} and first.candidate in first.message else ", ".join(names)
    said = f"{whose}: {first.message}" if whose else first.message
    paragraph(said + _acknowledged(first), " " * 9, f"{first.severity.upper():9}")


def _acknowledged(alert: AlertRow) -> str:
    again = " in an earlier run" if alert.follows else ""
    by = f"{alert.acknowledged_by}{again}: {alert.note}"
    return f" (acknowledged by {by})" if alert.acknowledged else ""


def _print_remarks(remarks: Sequence[str]) -> None:
    if remarks:
        heading("Remarks")
    for remark in remarks:
        paragraph(remark, "  ", "")


def _print_costs(found: CostsSection) -> None:
    """The models' resources; models with the same figures share a line."""
    alike = by_key((costs.facts, costs.model) for costs in found.models)
    if alike:
        heading("Resources")
    for facts, models in alike.items():
        paragraph(f"{', '.join(models)}: {'; '.join(f'{name} {value}' for name, value in facts)}", "  ", "")


# The data

NAMED = 3  # excluded examples and gaps that are named


def _print_data(found: DataSection, candidates: Sequence[str]) -> None:
    """Nothing for a run that has not read its data yet."""
    if not found.is_read:
        return
    heading("Data")
    lines = (
        *_size(found),
        *_leaks(found),
        *_without_leaks(found, candidates),
        *_within(found),
        *_coverage(found.coverage),
        *_lock(found),
        *(f"perturbed: {line}" for line in found.variants),
    )
    for line in lines:
        paragraph(line, "    ", "  ")


def _size(found: DataSection) -> Iterator[str]:
    which = "" if found.split == "all" else f" of the {found.split} split"
    seen = "" if found.detectable is None else f"; smallest detectable change {percent(found.detectable)}"
    yield f"{_count(found.selected or 0, 'example')}{which}{seen}"
    if found.synthetic:
        yield f"{found.synthetic:,} of them synthetic: the remarks tell the numbers without them"
    if found.skipped:
        yield f"! {_count(found.skipped, 'record')} of the file could not be read"
    if found.excluded:
        names = ", ".join(
            f"{row.example} ({row.user}: {row.reason or 'no reason given'})" for row in found.excluded[:NAMED]
        )
        left = len(found.excluded) - NAMED
        more = f" and {left} more" if left > 0 else ""
        yield f"excluded by people: {names}{more}"


def _leaks(found: DataSection) -> Iterator[str]:
    leaked, total = found.leaked, found.selected or 0
    if leaked is None:
        yield "? not checked for leaks: the plan names no training data"
        return
    tiers = [f"{n} {TIER_WORDS.get(tier, tier)}" for tier, n in found.leaks_by_tier.items() if n]
    appear = "appears" if leaked == 1 else "appear"
    if leaked:
        by = f": {', '.join(tiers)}" if tiers else ""
        yield f"! {leaked:,} of {total:,} ({leaked / total:.1%}) {appear} in the training data{by}"
    else:
        yield f"+ none of the {total:,} appears in the training data"
    if similar := found.similar:
        is_ = "is" if similar == 1 else "are"
        yield f"{similar:,} more {is_} similar to a training question with another answer: not counted"
        yield from found.on_similar
    if answers := found.answers_seen:
        have = "has" if answers == 1 else "have"
        yield f"{answers:,} more {have} an answer that appears there under another question: not counted"


def _without_leaks(found: DataSection, candidates: Sequence[str]) -> Iterator[str]:
    """Each candidate's main measures on all examples and without the leaked ones."""
    if not found.has_slice_without_leaks:
        return
    yield "main measures on all examples → without the leaked ones:"
    for name in candidates:
        parts = [
            f"{score.measure} {number(score.value)} → {number(score.without)} "
            f"({number(score.without - score.value, sign=True)})"
            for score in found.without_leaks
            if score.model == name
        ]
        if parts:
            yield f"  {name}: {', '.join(parts)}"


def _within(found: DataSection) -> Iterator[str]:
    if found.duplicates:
        groups = _count(found.duplicates, "group")
        yield f"! {groups} of near-identical examples: each group counts more than once"
    for file, leaked in found.earlier:
        if leaked:
            yield f"! {leaked:,} also in the earlier eval set {file}"


def _coverage(found: CoverageTable | None) -> Iterator[str]:
    if found is None:
        return
    if found.gaps:
        lacking = ", ".join(f"{gap.label} ({gap.wanted:.0%} of the log)" for gap in found.gaps[:NAMED])
        yield f"! the eval set lacks questions that production gets: {lacking}"
    for shift in found.shifts:
        other = {"train": "training data differ", "log": "query log differs"}.get(shift.name, shift.name)
        kinds = ", ".join(kind for kind, _ in shift.indices)
        indices = ", ".join(f"{index:.2f}" for _, index in shift.indices)
        yield f"! the {other} from the eval set in {kinds}: PSI {indices}"


def _lock(found: DataSection) -> Iterator[str]:
    if found.split != "test":
        return
    uses = found.test_uses
    times = {1: "once", 2: "twice"}.get(uses, f"{uses} times")
    others = (
        ", by this run" if uses == 1 else ", including this run: each use makes its numbers less trustworthy"
    )
    yield f"{'+' if uses == 1 else '!'} the test split was used {times}{others}"


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


# Judges


def _print_judging(found: JudgingSection, *, full: bool) -> None:
    """Judges, win rates with reasons for doubt, agreement and rankings; `full` adds every figure in words."""
    if not found.judges:
        return
    heading("Judges")
    columns = [Column("judge"), Column("kind"), Column("model"), Column("calls", True)]
    columns += [Column("failed", True), Column("cached", True), Column("cost", True)]
    print_table(columns, [_judge(judge) for judge in found.judges])
    for judge in found.judges:
        _say(f"{judge.row.name}: ", judge.said)
        if full or judge.row.parts:
            _say(f"{judge.row.name}: ", judge.agreement)
    for judge in found.judges:
        _print_win_rates(judge, full=full)
    if found.win_rates:
        paragraph(
            "first: how often the first position won (0.5 is no bias) · "
            "agree: pairs on which both orders agree · LC win rate: length-controlled win rate"
        )
        paragraph("in brackets the 95% CI: each win rate by itself; verdicts are corrected for all of them")
    for judge in found.judges:
        if full or not judge.part_of:
            _print_ranking(judge)


def _judge(judge: JudgeReport) -> list[str]:
    row = judge.row
    if row.parts:
        return [row.name, row.kind, f"{len(row.parts)} judges", MISSING, MISSING, MISSING, MISSING]
    within = f", in {judge.part_of}" if judge.part_of else ""
    counts = [f"{count:,}" for count in (row.calls, row.failed, row.from_cache)]
    return [row.name, row.kind + within, judge.model, *counts, judge.cost]


def _say(about: str, said: Iterable[Said]) -> None:
    for statement in said:
        paragraph(f"{about}{statement.text}", "    ", "  ! " if statement.warns else "    ")


def _print_win_rates(judge: JudgeReport, *, full: bool) -> None:
    if not judge.pairs:
        return
    heading(f"Win rate by judge {judge.name}")
    columns = [Column("candidate"), Column("against"), Column("win rate", True), Column("w/l/t", True)]
    columns += [Column(title, True) for title in ("failed", "first", "agree", "LC win rate")]
    print_table(columns, [cells for pair in judge.pairs for cells in _pair(pair)])
    for pair in judge.pairs:
        about = f"{pair.name}: " if len(judge.pairs) > 1 else ""
        if pair.row.reason:
            paragraph(f"{about}{pair.row.reason}", "    ")
        _say(about, [said for said in pair.said if full or said.warns])
    rates = [row for pair in judge.pairs for row in (pair.row, *pair.turns)]
    reasons = [row.length_controlled_reason for row in rates if row.length_controlled is None]
    for reason in () if full else filter(None, dict.fromkeys(reasons)):
        paragraph(f"no LC win rate: {reason}", "    ")


def _pair(pair: JudgedPair) -> Iterator[list[str]]:
    """A line for the pair, and one for each of its turns."""
    yield _win_rate(pair.row, pair.row.candidate, pair.orders_agree)
    for turn in pair.turns:
        yield _win_rate(turn, f"  turn {turn.turn}", None)


def _win_rate(row: WinRateRow, name: str, orders_agree: float | None) -> list[str]:
    return [
        name,
        row.baseline,
        f"{number(row.win_rate)} {interval(row.low, row.high).replace(',', '')}".strip(),
        f"{row.wins}/{row.losses}/{row.ties}",
        str(row.failed),
        number(row.position_bias),
        number(orders_agree),
        number(row.length_controlled),
    ]


def _print_ranking(judge: JudgeReport) -> None:
    if not judge.ranking:
        return
    heading(f"Ranking by judge {judge.row.name} (Bradley-Terry, on Elo's scale)")
    columns = [Column("model"), Column("strength", True), Column("95% CI", True), Column("n", True)]
    print_table(
        columns,
        [
            [row.model, number(row.strength), interval(row.low, row.high) or row.reason or "", str(row.n)]
            for row in judge.ranking
        ],
    )


# Measures and how they changed

UNFOLDED = 24  # measures that are shown without folding
UNCLEAR = ("inconclusive", "no worse", "at the floor")
CLEAR = {
    "better": "+ better",
    "worse": "- worse",
    "more": "more",
    "less": "less",
    "not tested": "not tested",
}
KINDS = {"metric": "measures", "benchmark": "benchmarks", "corpus": "corpora"}


@dataclass(frozen=True, slots=True)
class FoldedFamily:
    """A family's measures, and which of them are shown."""

    name: str
    measures: tuple[str, ...]
    shown: frozenset[str]

    @property
    def title(self) -> str:
        folded = len(self.measures) - len(self.shown)
        return f"{self.name}: {folded} folded" if folded else self.name


def _fold(
    families: Iterable[tuple[str, str]], changes: Sequence[Change], *, full: bool, find: str
) -> list[FoldedFamily]:
    """Measures by family, from pairs of (measure, family): those that got clearly worse come first.

    Where there are more measures than a person reads, those that did not get worse are folded. `find` keeps
    the measures and families whose name contains it, and folds nothing; neither does `full`.
    """
    found = by_key(
        (name, measure) for measure, name in families if find.lower() in f"{name} {measure}".lower()
    )
    worse = {change.row.measure for change in changes if change.word == "worse"}
    unfolded = full or bool(find) or sum(map(len, found.values())) <= UNFOLDED
    ordered = sorted(found.items(), key=lambda item: (not worse & set(item[1]), rank(item[0])))
    return [
        FoldedFamily(name, tuple(measures), frozenset(measures if unfolded else worse.intersection(measures)))
        for name, measures in ordered
    ]


def print_scores(found: MeasuresSection, *, full: bool, find: str) -> None:
    """Every model's value of every measure; `full` adds the intervals."""
    of_metrics = [change for change in found.changes if change.row.kind == "metric"]
    families = [(metric.measure, family_of(metric.measure, metric.source)) for metric in found.metrics]
    folded = _fold(families, of_metrics, full=full, find=find)
    if not found.scores or not folded:
        return
    heading("Scores, with 95% CIs" if full else "Scores")
    columns = [Column("measure"), *(Column(model, True) for model in found.models), Column("n", True)]

    def cells(measure: str) -> list[str]:
        rows = [found.score(model, measure) for model in found.models]
        return [*(_score(row, full) for row in rows), coverage(rows)]

    print_table(columns, _rows(folded, cells, lambda family: [""] * (1 + len(found.models))))
    _print_folded(folded)
    shown = frozenset().union(*(family.shown for family in folded))
    for said in said_missing(row for row in found.scores if row.measure in shown):
        paragraph(said, "  ")
    between = by_key(
        (row.model, f"{row.measure} {said}")
        for row in found.scores
        if row.measure in shown and (said := between_samples(row))
    )
    for model, told in between.items():
        paragraph(f"{model}, between the samples of a prompt: {'; '.join(told)}", "  ")


def _print_answers(answers: Sequence[AnswerCount]) -> None:
    """How the answers ended, and how much of them was thought."""
    if rows := answer_table(answers):
        heading("Answers")
        print_table([Column(title, title != "model") for title in ANSWERS], rows)


def _rows(
    families: Sequence[FoldedFamily],
    cells: Callable[[str], list[str]],
    head: Callable[[FoldedFamily], list[str]],
) -> list[list[str]]:
    """A table's lines: a line for each family, and its measures indented below."""
    rows = []
    for family in families:
        rows.append([family.title, *head(family)])
        rows += [[f"  {measure}", *cells(measure)] for measure in family.measures if measure in family.shown]
    return rows


def _print_folded(families: Sequence[FoldedFamily]) -> None:
    count = sum(len(family.measures) - len(family.shown) for family in families)
    if count:
        paragraph(
            f"{count} measures that did not get clearly worse are folded: --find NAME shows a family or "
            "measure, --full shows all",
            "  ",
            "",
        )


def said_missing(rows: Iterable[ModelScoreRow]) -> Iterator[str]:
    """Which models lack how many values, and why; what models have in common once."""
    missing = by_key(
        ((row.model, row.missing, row.n + row.missing, row.reason or "no reason recorded"), row.measure)
        for row in rows
        if row.missing
    )
    same = by_key(
        ((count, total, reason, tuple(measures)), model)
        for (model, count, total, reason), measures in missing.items()
    )
    for (count, total, reason, measures), models in same.items():
        yield f"{', '.join(models)}: {count} of {total} missing ({reason}): {', '.join(measures)}"


def _score(row: ModelScoreRow | None, full: bool) -> str:
    if row is None:
        return MISSING
    if not full:
        return number(row.value)
    return f"{number(row.value)} {interval(row.low, row.high).replace(',', '')}".strip()


def _print_glance(found: MeasuresSection, *, find: str) -> None:
    """A table for each baseline: what every candidate changed, and whether it is more than chance."""
    by_baseline = by_key((change.row.baseline, change) for change in found.changes)
    shown = [_print_changes_from(baseline, changes, find) for baseline, changes in by_baseline.items()]
    if any(shown):
        paragraph("= inconclusive (in brackets the min. detectable), or no worse. Intervals: --full")


def _print_changes_from(baseline: str, changes: Sequence[Change], find: str) -> bool:
    """Whether there was anything to show."""
    families = dict.fromkeys((change.row.measure, change.family) for change in changes)
    folded = _fold(families, changes, full=False, find=find)
    names = list(dict.fromkeys(change.row.candidate for change in changes))
    by_cell = {(change.row.measure, change.row.candidate): change for change in changes}

    def cells(measure: str) -> list[str]:
        found = (by_cell.get((measure, name)) for name in names)
        return [MISSING if change is None else _glance(change) for change in found]

    def head(family: FoldedFamily) -> list[str]:
        of_family = [change.row for change in changes if change.row.measure in family.measures]
        return [_sum([row for row in of_family if row.candidate == name]) for name in names]

    if not folded:
        return False
    heading(f"Change against {baseline}")
    print_table([Column("measure"), *(Column(name) for name in names)], _rows(folded, cells, head))
    _print_folded(folded)
    shown = {measure for family in folded for measure in family.shown}
    reasons = by_key(
        (change.row.reason, change.row.measure)
        for change in changes
        if change.row.reason and change.row.measure in shown
    )
    for reason, measures in reasons.items():
        paragraph(f"{', '.join(dict.fromkeys(measures))}: {reason}", "  ", "")
    return True


def _sum(rows: Sequence[ComparisonRow]) -> str:
    """How many of a family's measures got worse and better for one candidate."""
    found = summarize(rows)
    parts = [f"{found.worse} worse" if found.worse else "", f"{found.better} better" if found.better else ""]
    return ", ".join(filter(None, parts)) or common_word(row.standing for row in rows)


def _glance(change: Change) -> str:
    row = change.row
    if row.delta is None:
        return MISSING
    if row.low is None:
        return number(row.delta, sign=True)
    if change.word not in UNCLEAR:
        return f"{number(row.delta, sign=True)} {change.word}"
    if change.word != "inconclusive":
        return f"{number(row.delta, sign=True)} = {change.word}"
    seen = "" if row.smallest_detectable is None else f" ({number(row.smallest_detectable)})"
    return f"{number(row.delta, sign=True)} ={seen}"


def _print_every_change(found: MeasuresSection, *, find: str) -> None:
    """Candidate minus baseline, a table for each pair of models and kind of measure."""
    for kind, words in KINDS.items():
        chosen = [
            change
            for change in found.changes
            if change.row.kind == kind and find.lower() in f"{change.family} {change.row.measure}".lower()
        ]
        for (candidate, baseline), changes in groupby(
            chosen, key=lambda change: (change.row.candidate, change.row.baseline)
        ):
            heading(f"{candidate} against {baseline}: {words}")
            _print_changes(list(changes))


def print_comparisons(comparisons: Iterable["Comparison"]) -> None:
    """The changes as a table; the rest in a line, with the min. detectable change."""
    from engine.compare.comparison import stored

    _print_changes(changes_of([ComparisonRow(**stored(item)) for item in comparisons]))


def _print_changes(changes: Sequence[Change]) -> None:
    clear = [change for change in changes if change.word in CLEAR]
    if clear:
        columns = [Column("measure"), Column("from", True), Column("to", True), Column("delta", True)]
        families = [(change.row.measure, change.family) for change in clear]
        by_measure = {change.row.measure: change for change in clear}
        print_table(
            [*columns, Column("%", True), Column("95% CI", True), Column("change"), Column("n", True)],
            _rows(
                _fold(families, clear, full=True, find=""),
                lambda measure: _cells(by_measure[measure]),
                lambda family: [""] * 7,
            ),
        )
        paragraph("95% CI: each measure by itself; the words are corrected for all of them", "  ", "")
    for word in UNCLEAR:
        found = [_unclear(change.row) for change in changes if change.word == word]
        if found:
            seen = " (min. detectable)" if word == "inconclusive" else ""
            paragraph(f"= {word}{seen}: {', '.join(found)}", "  ", "")
    reasons = by_key((change.row.reason, change.row.measure) for change in changes if change.row.reason)
    for reason, measures in reasons.items():
        paragraph(f"{', '.join(measures)}: {reason}", "  ", "")


def _unclear(row: ComparisonRow) -> str:
    seen = row.smallest_detectable if row.standing == "inconclusive" else None
    return row.measure if seen is None else f"{row.measure} ({number(seen)})"


def _cells(change: Change) -> list[str]:
    row = change.row
    return [
        number(row.baseline_value),
        number(row.candidate_value),
        number(row.delta, sign=True),
        relative(row.relative),
        interval(row.low, row.high, sign=True),
        CLEAR[change.word],
        str(row.n) if row.n else MISSING,
    ]


def print_labels(tables: Sequence[LabelTable], *, full: bool) -> None:
    """Every model's F1 by label; `full` adds each model's precision and recall, and what it answered."""
    if not tables:
        return
    heading("F1 by label")
    by_name = [{row.name: row for row in table.labels} for table in tables]
    support = {row.name: row.support for table in tables for row in table.labels}
    columns = [Column("label"), Column("examples", True), *(Column(table.model, True) for table in tables)]
    print_table(
        columns,
        [
            [label, str(count), *(number(rows[label].f1) if label in rows else MISSING for rows in by_name)]
            for label, count in support.items()
        ],
    )
    for table in tables if full else ():
        _print_confusion(table)


def _print_confusion(table: LabelTable) -> None:
    """Precision and recall, then examples by label (down) and answer (across)."""
    heading(f"{table.model}: examples by label and answer")
    names = [*(row.name for row in table.labels), NOT_FOUND]
    columns = [Column("label"), Column("precision", True), Column("recall", True)]
    print_table(
        [*columns, *(Column(f"→ {name}", True) for name in names)],
        [
            [row.name, number(row.precision), number(row.recall), *map(str, row.answers)]
            for row in table.labels
        ],
    )


# Benchmarks, corpora and forgetting

FORGETTING_SIGNS = {"worse": "- ", "better": "+ "} | dict.fromkeys(UNCLEAR, "= ")


def _print_benchmarks(found: BenchmarksSection) -> None:
    if not found.rows:
        return
    heading("Benchmarks (lm-eval), ± standard error")
    tasks: dict[str, dict[str, str]] = {}
    for row in found.rows:
        metric = row.metric if row.filter == "none" else f"{row.metric},{row.filter}"
        error = "" if row.stderr is None else f" ±{number(row.stderr)}"
        tasks.setdefault(f"{row.task} · {metric}", {})[row.model] = f"{number(row.value)}{error}"
    print_table(
        [Column("task"), *(Column(name, True) for name in found.models)],
        [[task, *(cells.get(name, MISSING) for name in found.models)] for task, cells in tasks.items()],
    )
    for row in found.rows:
        if row.value is None and row.reason:
            paragraph(f"{row.task}, {row.model}: {row.reason}", "  ")
    for item in found.asked:
        paragraph(f"{item.model}: {item.said}", "  ")
        if item.command:
            paragraph(f"the same numbers: {item.command}", "    ", "  ")
    for (model, run), reused in found.reused().items():
        paragraph(f"{model}: {', '.join(reused)}: measured by run {run}, on the same weights", "  ")


def _print_reliability(found: Sequence[ReliabilityCurve]) -> None:
    """How often answers of about the same confidence were right."""
    for of, curves in by_key((curve.of, curve) for curve in found).items():
        heading(f"Reliability on {of}")
        columns = [Column("model"), Column("confidence", True), Column("right", True), Column("95% CI")]
        rows = [
            [
                *(curve.model, percent(row.confidence), percent(row.right), interval(row.low, row.high)),
                *(number(row.excess, sign=True), f"{row.n:,}"),
            ]
            for curve in curves
            for row in curve.rows
        ]
        print_table([*columns, Column("too sure by", True), Column("n", True)], rows)


def _print_corpora(rows: Sequence[CorpusRow]) -> None:
    """How well the models predict plain texts."""
    if not rows:
        return
    heading("Plain-text corpora")
    columns = [Column("corpus"), Column("model"), Column("perplexity", True), Column("bits per byte", True)]
    print_table([*columns, Column("texts", True)], [_corpus(row) for row in rows])
    gaps: dict[tuple[str, int, int, str], list[str]] = {}
    for row in rows:
        if row.missing:
            key = (row.corpus, row.missing, row.texts, row.reason or "no reason recorded")
            gaps.setdefault(key, []).append(row.model)
    for (corpus, missing, texts, reason), models in gaps.items():
        paragraph(f"{corpus}: {missing} of {texts} texts missing ({reason}): {', '.join(models)}", "  ")


def _corpus(row: CorpusRow) -> list[str]:
    counted = row.texts - row.missing
    return [row.corpus, row.model, number(row.perplexity), number(row.bits_per_byte), str(counted)]


def _print_forgetting(found: ForgettingSection) -> None:
    """A row for each aspect and candidate, a table for each baseline."""
    for baseline, rows in found.by_baseline().items():
        heading(f"Forgetting, against {baseline}")
        names = list(dict.fromkeys(row.candidate for row in rows))
        cells: dict[str, dict[str, str]] = {}
        for row in rows:
            word = FORGETTING_SIGNS.get(row.standing, "") + row.word
            cells.setdefault(row.aspect, {"": number(row.baseline_value)})[row.candidate] = (
                f"{number(row.candidate_value)} {word}"
            )
        columns = [Column("aspect"), Column(baseline, True), *(Column(name) for name in names)]
        print_table(
            columns,
            [
                [aspect, values[""], *(values.get(name, MISSING) for name in names)]
                for aspect, values in cells.items()
            ],
        )
        concluded = by_key(
            (_concluded(each), each.candidate) for each in found.conclusions if each.baseline == baseline
        )
        for said, candidates in concluded.items():
            paragraph(f"{', '.join(candidates)}: {said}", "  ")
    _print_own_drops(found.own)


def _print_own_drops(rows: Sequence[ModelScoreRow]) -> None:
    """What each perturbation costs each model against its own plain form."""
    if not rows:
        return
    heading("Other forms of the questions, against each model's own plain form")
    can_lose = [row for row in rows if row.standing != "at the floor"]
    columns = [Column("model"), Column("form"), Column("loses", True), Column("95% CI", True)]
    print_table(
        [*columns, Column("n", True), Column("p", True), Column("")],
        [
            [
                *(row.model, row.measure.removeprefix(DROP), number(row.value), interval(row.low, row.high)),
                *(f"{row.n:,}", probability(row.p), FORGETTING_SIGNS.get(word, "") + word),
            ]
            for row in can_lose
            for word in [row.standing or ""]
        ],
    )
    floor = by_key((row.measure.removeprefix(DROP), row.model) for row in rows if row not in can_lose)
    same = by_key((tuple(models), form) for form, models in floor.items())
    for models, forms in same.items():
        paragraph(f"{', '.join(models)}: {NONE_RIGHT}: {', '.join(forms)}", "  ")


def _concluded(found: Conclusion) -> str:
    return f"{found.verdict} ({', '.join(found.aspects)})" if found.aspects else found.verdict


# Slices

WORST = 5  # slices shown unless more are asked for
SLICE_WORDS = {
    "worse": " worse",
    "better": " better",
    "more": " more",
    "less": " less",
    "inconclusive": " =",
    "no worse": " =",
    "at the floor": " =",
    "not tested": "",
    "missing": "",
}


def print_slices(section: SlicesSection, *, everything: bool, find: str) -> None:
    """The slices that are clearly worse; `everything` shows all of them, the worse ones first."""
    found = [row for row in section.rows if find.lower() in f"{row.slice} {row.measure}".lower()]
    if not found:
        if section.uncompared and not find:
            _print_uncompared(section.uncompared)
        elif everything:
            heading("Slices")
            paragraph("no slices were computed" if not section.rows else f"no slice matches {find!r}")
        return
    worse = sum(row.standing == "worse" for row in found)
    # Nearly all examples are among those that did not leak; Data shows what they tell.
    telling = [row for row in found if find or row.slice not in OF_THE_SET]
    shown = found if everything else [row for row in telling if row.standing == "worse"][:WORST]
    heading(f"Slices: {worse} of {len(found)} clearly worse")
    pairs = by_key(((row.candidate, row.baseline), row) for row in shown)
    for (candidate, baseline), rows in pairs.items():
        _print_slices_of(f"{candidate} / {baseline}", rows)
    if len(shown) < len(found):
        paragraph(
            "p is Holm-corrected over all slices and measures, those without a gate by themselves; "
            "--slices shows all of them"
        )


def _print_uncompared(slices: Mapping[tuple[str, str], list[SliceScoreRow]]) -> None:
    """The models' values by slice, as MT-Bench's by turn and category."""
    heading("Scores by slice")
    models = list(dict.fromkeys(row.model for rows in slices.values() for row in rows))
    lines, above = [], ""
    for (measure, slice_), rows in slices.items():
        own = {row.model: row for row in rows}
        if measure != above:
            lines.append([measure, *[""] * len(models)])
        values = [
            MISSING if name not in own else f"{number(own[name].value)} of {own[name].n}" for name in models
        ]
        lines.append([f"  {slice_}", *values])
        above = measure
    print_table([Column("slice"), *(Column(name, True) for name in models)], lines)


def _print_slices_of(title: str, rows: Sequence[SliceRow]) -> None:
    """One pair's slices, those of a measure below its name."""
    by_measure = by_key((row.measure, row) for row in rows)
    lines = []
    for measure, found in by_measure.items():
        lines += [[measure, *[""] * 6], *(_slice(row) for row in found)]
    columns = [Column(title), Column("n", True), Column("from", True), Column("to", True), Column("change")]
    print_table([*columns, Column("95% CI", True), Column("p", True)], lines)
    for row in rows:
        if row.reason:
            paragraph(f"{row.slice}, {row.measure}: {row.reason}", "  ")


def _slice(row: SliceRow) -> list[str]:
    return [
        f"  {row.slice}", str(row.n), number(row.baseline_value), number(row.candidate_value),
        number(row.delta, sign=True) + SLICE_WORDS[row.standing], interval(row.low, row.high, sign=True),
        MISSING if row.p is None else "<0.001" if row.p < 0.001 else number(row.p),
    ]  # fmt: skip


def _print_disparities(found: SlicesSection) -> None:
    """How far answers about different people are apart, where nothing else in the prompt differs."""
    rows = found.disparities
    if not rows:
        return
    heading("The same prompts about different people")
    columns = [Column("measure"), Column("first"), Column("second"), Column("model"), Column("gap", True)]
    print_table(
        [*columns, Column("95% CI", True), Column(""), Column("n", True)],
        [_disparity(row) for row in rows],
    )
    for row in found.widest_gaps:
        word = "" if row.is_settled else ", inconclusive"
        gap = f"{row.first} and {row.second}, {number(row.delta, sign=True)}{word}"
        paragraph(f"Widest gap of {row.measure}, {row.model}: {gap}", "  ")
    for row in rows:
        if row.delta is None:
            reason = row.reason or "no reason recorded"
            paragraph(f"{row.measure}, {row.first} and {row.second}, {row.model}: {reason}", "  ")


def _print_robustness(found: RunSections, *, own: bool) -> None:
    """What other forms cost, and what was lost; `own`: where the table does not stand under forgetting."""
    if own:
        _print_own_drops(found.forgetting.own)
    _print_lost(found.slices)


def _print_lost(found: SlicesSection) -> None:
    """Examples that candidates answer worse in another form, with both answers."""
    if not found.lost:
        return
    heading("Lost in another form")
    for row in found.lost:
        paragraph(
            f"{row.model}, {row.perturbation}, {row.example}: {number(-row.loss, sign=True)}", "    ", "  "
        )
        asked = ((row.query, row.answer), (row.perturbed_query, row.perturbed_answer))
        for question, answer in asked:
            paragraph(
                f"{cut(_flat(question), 2 * EXCERPT)} → {cut(_flat(answer), 2 * EXCERPT)}", "      ", "    "
            )


def _flat(text: str | None) -> str:
    return MISSING if text is None else printable(" ".join(text.split()))


def _disparity(row: DisparityRow) -> list[str]:
    word = "unequal" if row.is_settled else "= inconclusive"
    if row.low is None:
        word = "missing" if row.delta is None else "not tested"
    gap, range_ = number(row.delta, sign=True), interval(row.low, row.high, sign=True)
    return [row.measure, row.first, row.second, row.model, gap, range_, word, str(row.n)]
