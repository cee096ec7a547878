"""A run on one screen: what to do, the changes that matter, the alerts, and what to look at next."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.compare.forgetting import DROP
from engine.decision.decision import headline
from store.read.query import by_key
from store.read.rows import ModelScoreRow
from tui.cli.terminal import (
    CLEAR,
    alike,
    print_alert,
    print_head,
    print_scores,
    print_slices,
    print_word,
    said_missing,
)
from tui.sections.gather import RunSections
from tui.sections.measures import Change
from tui.sections.overview import by_severity
from tui.text.gate import counted, cut
from tui.text.output import (
    Column,
    heading,
    height,
    held,
    interval,
    number,
    out,
    paragraph,
    print_table,
    width,
)

REASONS = 3  # of a candidate, at most
MATTER = ("worse", "better")
USUAL = 6  # items of a block for which reasons give way
DECISION = 1  # the place of its block
LAST = 1  # item of each block, which stays on any screen


@dataclass(frozen=True, slots=True)
class ScreenPart:
    """Lines under one heading: `items` give way from the last on; `more` says where those are."""

    lead: tuple[str, ...]
    items: tuple[tuple[str, ...], ...] = ()
    more: str = ""
    fewest: int = LAST  # items
    shown: int = 1 << 30
    stays: bool = True  # without items

    @property
    def lines(self) -> list[str]:
        found = [*self.lead, *(line for item in self.items[: self.shown] for line in item)]
        left = len(self.items) - self.shown
        return [*found, cut(f"  {left} more: {self.more}", width())] if left > 0 and self.more else found

    def at_most(self, items: int) -> "ScreenPart":
        return replace(self, shown=min(items, len(self.items)) if self.stays else 0)


def print_screen(found: RunSections) -> None:
    """The run in as many lines as the terminal has, at most 47."""
    room = height()
    for reasons, compact in ((REASONS, False), (2, False), (1, False), (1, True), (0, True)):
        blocks = _blocks(found, reasons, compact)
        if sum(len(block.at_most(USUAL).lines) for block in blocks) <= room:
            break
    for line in _fitted(blocks, room):
        out(line)


def _fitted(blocks: list[ScreenPart], room: int) -> list[str]:
    """The blocks without what finds no room: what need not stay, then of the longest, then of all."""
    blocks = [replace(block, shown=len(block.items)) for block in blocks]
    while sum(len(block.lines) for block in blocks) > room:
        spare = [n for n, block in enumerate(blocks) if block.shown > block.fewest]
        optional = [n for n in spare if not blocks[n].stays]
        others = optional or [n for n in spare if n != DECISION]
        if not others and any("" in block.lead for block in blocks):
            blocks = [replace(block, lead=tuple(filter(None, block.lead))) for block in blocks]
            continue
        if not spare:
            break
        longest = max(others or spare, key=lambda n: blocks[n].shown)
        blocks[longest] = replace(blocks[longest], shown=blocks[longest].shown - 1)
    return [line for block in blocks for line in (block.lines if block.shown or block.stays else ())]


def _blocks(found: RunSections, reasons: int, compact: bool) -> list[ScreenPart]:
    show = f"assay show {found.run.id}"
    remarks = (
        [
            ScreenPart(
                _lines(heading, "Remarks"), _each(found.remarks), f"{show} --section remarks", 0, stays=False
            )
        ]
        if found.remarks
        else []
    )
    return [
        ScreenPart(_lines(print_head, found)),
        _decision(found, reasons, compact, show),
        *_numbers(found, show),
        *_forms(found, show),
        *_missing(found, show),
        _alerts(found, show),
        _next(found, show),
        *remarks,
    ]


def _lines(work: Callable[..., None], *given: Any, **named: Any) -> tuple[str, ...]:
    """What a function prints."""
    with held() as lines:
        work(*given, **named)
    return tuple(lines)


def _each(texts: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(_lines(paragraph, text, "  ", "") for text in texts)


def _decision(found: RunSections, reasons: int, compact: bool, show: str) -> ScreenPart:
    """Candidates of which the same is to be told are told once."""
    if not found.decision:
        return ScreenPart(("no candidate to decide on",))

    def lead() -> None:
        heading("Decision")
        for said in filter(None, (headline(found.decision), *_cut(found))):
            paragraph(said)

    told = by_key(((one.word, one.card, one.reasons), one) for one in found.decision)
    items = tuple(
        _lines(
            print_word,
            ", ".join(one.candidate for one in same),
            same[0],
            same[0].reasons[:reasons],
            compact=compact,
            advised=reasons > 1,
        )
        for same in told.values()
    )
    return ScreenPart(_lines(lead), items, f"{show} --decision")


def _cut(found: RunSections) -> tuple[str, ...]:
    """A sweep's cut is never hidden."""
    sweep = found.overview.sweep
    return () if sweep is None else (f"{sweep.title}: `assay show {found.run.id} --section sweep`",)


def _numbers(found: RunSections, show: str) -> Iterator[ScreenPart]:
    """What changed clearly; the scores where nothing was compared."""
    changes = found.measures.changes
    if not changes:
        for name, lines in (
            ("scores", _lines(print_scores, found.measures, full=False, find="")),
            ("slices", _lines(print_slices, found.slices, everything=False, find="")),
        ):
            if lines:
                yield ScreenPart(lines[:3], tuple((line,) for line in lines[3:]), f"{show} --section {name}")
        return
    matter = sorted((change for change in changes if change.word in MATTER), key=_weight(found))
    counts = [f"{sum(change.word == word for change in matter)} {word}" for word in MATTER]
    title = f"Changes that matter: {', '.join(counts)}, of {counted(len(changes), 'comparison')}"
    rows = _lines(_print_changes, matter) if matter else ()
    heads = _lines(heading, title)
    if len(rows) == len(matter) + 1:
        yield ScreenPart((*heads, rows[0]), tuple((row,) for row in rows[1:]), f"{show} --section changes")
    else:  # one below the other, on a narrow terminal
        yield ScreenPart(heads, (rows,) if rows else (), f"{show} --section changes", 0)


def _weight(found: RunSections) -> Callable[[Change], tuple[bool, int]]:
    """Worse ones first; of either, the measures of alerts and the main ones first."""
    places = {
        (name, measure): place
        for name, main in found.measures.main.items()
        for place, measure in enumerate(main)
    }

    def weight(change: Change) -> tuple[bool, int]:
        return change.word != "worse", places.get((change.row.candidate, change.row.measure), len(places))

    return weight


def _print_changes(changes: Sequence[Change]) -> None:
    titles = (("measure", False), ("from", True), ("to", True), ("delta", True), ("change", False))
    print_table(
        [*(Column(*title) for title in titles), Column("candidate"), Column("against")],
        [
            [
                change.row.measure,
                number(change.row.baseline_value),
                number(change.row.candidate_value),
                number(change.row.delta, sign=True),
                CLEAR[change.word],
                change.row.candidate,
                change.row.baseline,
            ]
            for change in changes
        ],
    )


def _forms(found: RunSections, show: str) -> Iterator[ScreenPart]:
    """Where candidates do worse in another form than in their own plain one: a line for each form."""
    tuned = {model.name for model in found.overview.candidates}
    worse = [row for row in found.forgetting.own if row.model in tuned and row.standing == "worse"]
    if worse:
        by_form = by_key((row.measure.removeprefix(DROP), row) for row in worse)
        told = sorted(by_form.items(), key=lambda item: -max(row.value or 0.0 for row in item[1]))
        items = _each(f"{form}: {', '.join(map(_loss, rows))}" for form, rows in told)
        more = f"{show} --section robustness"
        yield ScreenPart(_lines(heading, f"Worse than in the own plain form: {more}"), items, more)


def _loss(row: ModelScoreRow) -> str:
    return f"{row.model} loses {number(row.value)} {interval(row.low, row.high)}"


def _missing(found: RunSections, show: str) -> Iterator[ScreenPart]:
    """Values that a model lacks, with the reason: none may be taken for a result."""
    if any(row.missing for row in found.measures.scores):
        items = _each(said_missing(found.measures.scores))
        title = _lines(heading, f"Missing values: {show} --section scores")
        yield ScreenPart(title, items, fewest=0)


def _alerts(found: RunSections, show: str) -> ScreenPart:
    alerts = alike(found.alerts.rows)
    title = _lines(heading, f"Alerts: {by_severity(found.alerts.rows) or 'none'}")
    items = tuple(_lines(print_alert, same) for same in alerts)
    return ScreenPart(title, items, f"{show} --section alerts")


def _next(found: RunSections, show: str) -> ScreenPart:
    """What to look at next, the likeliest first."""
    run, asked = found.run, list[tuple[str, str]]()
    if run.status in ("paused", "interrupted", "failed"):
        asked.append((f"assay resume {run.id}", "continue it"))
    if found.answers and found.decision:
        asked.append((f"assay review {run.id}", "read the answers side by side"))
    if found.decision:
        asked.append((f"{show} --decision", "every question with the numbers behind its answer"))
    if any(change.word == "worse" for change in found.measures.changes):
        asked.append((f"{show} --flips", "which examples turned wrong, in groups"))
    if found.slices.worse:
        asked.append((f"{show} --slices", f"{found.slices.worse} of {len(found.slices.rows)} clearly worse"))
    wide = max((len(command) for command, _ in asked), default=0)
    items = tuple((cut(f"  {command:{wide}}  {what}", width()),) for command, what in asked)
    return ScreenPart(_lines(heading, f"Next: {show} --full, every section; --section NAME, one"), items)
