"""Judges: what each says of the same pairs, how far to believe it, and where two of them disagree most."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.content import Content

from engine.decision import judges
from engine.decision.judges import Said
from store.read import judging
from store.read.history import Connection
from store.read.judging import DisputeRow, JudgeUse, JudgingResults, MeanRow, RankingRow
from store.read.rows import WinRateRow
from tui.keys import bindings
from tui.screens.choosing import PairScreen
from tui.text.gate import MISSING, cut, fit, join, one_line, plain, told_apart, wrap
from tui.widgets.lines import Line, Pane
from tui.widgets.rows import Columns, FlexColumn, Rows

STRIP = 24  # cells of a ranking's strip
_SIGNS = {
    "win": Content.styled("+ win", "$good"),
    "loss": Content.styled("− loss", "$bad"),
    "tie": Content("= tie"),
}


@lru_cache(maxsize=1)
def columns() -> Columns:
    """A judge's line; model and prompt stand there where there is room for them."""
    return Columns(
        FlexColumn("judge", 12, grow=2, key=lambda judge: judge.name),
        FlexColumn("kind", 9, key=lambda judge: judge.kind),
        FlexColumn("model", 16, grow=1, drop=2),
        FlexColumn("prompt", 8, drop=1),
        FlexColumn("n", 5, align="right"),
        FlexColumn("win rate or score", 17),
        FlexColumn("agree", 5, align="right"),
        FlexColumn("1st", 5, align="right"),
        FlexColumn("LC", 5, align="right"),
        FlexColumn("fail", 4, align="right", key=lambda judge: judge.failed),
        FlexColumn("cost", 7, align="right"),
        gap=1,
    )


def draw(judge: JudgeUse, found: JudgingResults, candidate: str, baseline: str, width: int) -> Content:
    """One judge on one match; of a judge of single responses its mean score of the candidate."""
    rate = judges.rate_of(found, judge.name, candidate, baseline)
    mean = judges.mean_of(found, judge.name, candidate)
    n, result = _rate(rate) if judge.kind == "pairwise" else _mean(mean)
    failed = f"!{judge.failed}" if judge.failed > judges.MANY_FAILED * judge.calls else f"{judge.failed}"
    return columns().row(
        [
            judge.name,
            judge.kind,
            str((judge.details or {}).get("model") or MISSING),
            judge.prompt_hash.removeprefix("imported:")[:8],
            n,
            result,
            _agreement(found, rate),
            _marked(rate.position_bias if rate else None, judges.is_biased),
            _marked(
                rate.length_controlled if rate else None,
                lambda _: rate is not None and judges.is_shifted(rate),
            ),
            MISSING if judge.parts else failed,
            judges.cost(judge),
        ],
        width,
    )


def _rate(rate: WinRateRow | None) -> tuple[str, str]:
    if rate is None:
        return MISSING, MISSING
    if rate.win_rate is None:
        return "0", cut(rate.reason or "no verdict yet", 17)
    return f"{rate.wins + rate.losses + rate.ties:,}", judges.share(rate.win_rate, rate.low, rate.high)


def _mean(mean: MeanRow | None) -> tuple[str, str]:
    return (MISSING, MISSING) if mean is None else (f"{mean.n:,}", judges.mean(mean))


def _agreement(found: JudgingResults, rate: WinRateRow | None) -> str:
    if rate is None or judges.is_panel(found, rate.judge):
        return MISSING
    audit = judges.audit_of(found, rate.judge, "consistency", judges.subject(rate))
    return _marked(audit.value if audit else None, lambda value: value < judges.HALF)


def _marked(value: float | None, warns: Callable[[float], bool]) -> str:
    """A share, behind a mark where it is a reason for doubt."""
    if value is None:
        return MISSING
    return f"{'!' if warns(value) else ''}{value:.0%}"


def about(
    judge: JudgeUse | None, found: JudgingResults, candidate: str, baseline: str, width: int
) -> list[Content]:
    """Everything about one judge on one match in words, the reasons for doubt first."""
    if judge is None:
        return []
    said = list(_said(judge, found, candidate, baseline))
    lines = [_title(judge, width)]
    for statement in sorted(said, key=lambda each: not each.warns):
        sign, style = ("! ", "$warn") if statement.warns else ("· ", "")
        first, *rest = wrap(one_line(statement.text, style), width - 2) or [Content("")]
        lines += [join([plain(sign, style), first]), *(join(["  ", line]) for line in rest)]
    return [*lines, *ranking(judges.ranking_of(found, judge.name), width)]


def _title(judge: JudgeUse, width: int) -> Content:
    details = judge.details or {}
    words = [str(details.get("model") or "")] if details.get("model") != judge.name else []
    words += [f"prompt {judge.prompt_hash[:8]}"] if not judge.parts else []
    if isinstance(details.get("criteria"), dict) and details["criteria"]:
        words.append(f"rubric {', '.join(details['criteria'])}")
    if judge.calls:
        words.append(f"{judge.calls:,} calls, {judge.from_cache:,} cached")
    if judge.seconds is not None:
        words.append(f"{judge.seconds:.2g} s a call")
    if judge.reported_models:
        words.append(f"says it is {judge.reported_models}")
    rest = one_line("  " + " · ".join(filter(None, words)), "$muted")
    return fit(join([plain(cut(judge.name, 24), "bold"), rest]), width)


def _said(judge: JudgeUse, found: JudgingResults, candidate: str, baseline: str) -> Iterator[Said]:
    if rate := judges.rate_of(found, judge.name, candidate, baseline):
        yield from judges.about_match(found, rate)
    for row in found.win_rates:
        if row.turn and (row.judge, row.candidate, row.baseline) == (judge.name, candidate, baseline):
            won = judges.share(row.win_rate, row.low, row.high)
            yield Said(f"turn {row.turn} alone: {won}, {row.wins}/{row.losses}/{row.ties} win/loss/tie")
    means = [row for row in found.means if row.judge == judge.name]
    if means:
        yield Said("mean scores: " + " · ".join(f"{row.model} {judges.mean(row)}" for row in means))
    yield from judges.about_judge(found, judge)
    yield from judges.agreement(found, judge)


def ranking(rows: Sequence[RankingRow], width: int) -> list[Content]:
    """Strengths on one scale, each with its interval as a strip."""
    ends = [end for row in rows for end in (row.low, row.strength, row.high) if end is not None]
    if not ends:
        return []
    names = told_apart(tuple(row.model for row in rows), max(24, width // 4))
    name = max(map(cell_len, names.values()))
    lines = [Content.styled("Ranking (Bradley-Terry, on Elo's scale)", "$heading")]
    for row in rows:
        said = f"{row.strength:,.0f}" if row.strength is not None else row.reason or "no reason was recorded"
        held = "" if row.low is None or row.high is None else f" [{row.low:.0f}, {row.high:.0f}]"
        strip = _strip(row, min(ends), max(ends))
        lines.append(fit(join([fit(names[row.model], name), "  ", strip, plain(f"  {said}{held}")]), width))
    return lines


def _strip(row: RankingRow, lowest: float, highest: float) -> Content:
    """The interval as a line with the strength on it."""
    if row.strength is None:
        return Content(" " * STRIP)

    def cell(value: float) -> int:
        return round((value - lowest) / ((highest - lowest) or 1.0) * (STRIP - 1))

    low, high = cell(row.low or row.strength), cell(row.high or row.strength)
    cells = ["─" if low <= place <= high else " " for place in range(STRIP)]
    cells[cell(row.strength)] = "●"
    return Content.styled("".join(cells), "$good")


def disputed(judge: JudgeUse | None, rows: Sequence[DisputeRow]) -> list[DisputeRow]:
    """What this judge sees differently from another, or what the parts of a panel do, widest gap first."""
    if judge is None:
        return []
    if judge.parts:
        return [row for row in rows if {row.one, row.other} <= set(judge.parts)]
    return [
        row if row.one == judge.name else _turned(row) for row in rows if judge.name in (row.one, row.other)
    ]


def _turned(row: DisputeRow) -> DisputeRow:
    """The other judge first."""
    return replace(row, one=row.other, said=row.other_said, other=row.one, other_said=row.said)


def dispute(row: DisputeRow, candidate: str, width: int) -> Content:
    """One pair that two judges see differently; the candidate as its name is shown."""
    against = f" against {cut(row.baseline, 10)}" if row.baseline else ""
    turn = f" turn {row.turn}" if row.turn else ""
    parts: list[Content | str] = [
        fit(row.example, 7), " ", fit(f"{candidate}{against}{turn}", name_room(width) + 19), " ",
        fit(row.one, 12), " ", fit(_verdict(row.said), 6), " ", fit(row.other, 12), " ",
        fit(_verdict(row.other_said), 6), " ", one_line(row.query, "$muted"),
    ]  # fmt: skip
    return fit(join(parts), width)


def name_room(width: int) -> int:
    """Cells of a candidate's name beside a dispute."""
    return max(10, width // 8)


def _verdict(said: str) -> Content:
    """An outcome with its sign, or a score."""
    return _SIGNS.get(said) or plain(said)


SETTLE_SECONDS = 0.2  # the cursor rests so long before the lower half follows it
DISPUTES = 5  # lines of the list of disputes on a small screen
SMALL = 30  # lines of terminal up to which a screen is small


@dataclass(frozen=True, slots=True)
class JudgesData:
    """A run's judges, and what they see differently."""

    found: JudgingResults
    disputes: list[DisputeRow]


class JudgesScreen(PairScreen):
    """Judges and rubrics side by side on one match, with everything about the selected one below."""

    NAME = "Judges"
    FOOTER = ("judges.open", "judges.pane", "compare.candidate", "compare.baseline")
    BINDINGS = bindings(
        "judges.pane", "compare.candidate", "compare.candidate_back", "compare.baseline",
        "compare.baseline_back",
    )  # fmt: skip
    DEFAULT_CSS = """
    JudgesScreen #match { background: $panel; padding: 0 1; }
    JudgesScreen #about { padding: 0 1; border-top: solid $rule; }
    JudgesScreen #differ { padding: 0 1; }
    """

    def __init__(self, run_id: int) -> None:
        super().__init__(run_id)
        self._judged: JudgesData | None = None

    def compose(self) -> ComposeResult:
        yield from self.framed(
            Line(id="match"),
            Rows(self._row, empty="this run has no judges", columns=columns(), id="judges"),
            Pane(focusable=True, id="about"),
            Line(id="differ"),
            Rows(self._dispute, empty="", id="disputes"),
        )

    @property
    def table(self) -> Rows[JudgeUse]:
        return self.query_one("#judges", Rows)

    @property
    def disputes(self) -> Rows[DisputeRow]:
        return self.query_one("#disputes", Rows)

    # Reading and showing

    def read_run(self, connection: Connection) -> JudgesData:
        found = judging.judging(connection, self.run_id)
        return JudgesData(found, judging.disputes(connection, found.judges))

    def show_run(self, data: JudgesData) -> None:
        first, self._judged = self._judged is None, data
        self.redraw()
        names = [judge.name for judge in data.found.judges]
        if first and self.hand.judge in names:
            self.table.go_to(names.index(self.hand.judge))

    @property
    def pair(self) -> tuple[str, str]:
        """The match in hand; where no judge saw it, the candidate's first one, else the run's."""
        matches = (
            [(row.candidate, row.baseline) for row in self._judged.found.win_rates] if self._judged else []
        )
        hand = super().pair
        if hand in matches or not matches:
            return hand
        return next((match for match in matches if match[0] == hand[0]), matches[0])

    def names(self, role: str) -> list[str]:
        """The models on one side of a match: those that judges saw there, else those of the role."""
        played = [getattr(row, role) for row in self._judged.found.win_rates] if self._judged else []
        return list(dict.fromkeys(played)) or super().names(role)

    def redraw(self) -> None:
        if self._judged is None:
            return
        rows = self._judged.found.judges
        self._arrange(len(rows))
        self.query_one("#match", Line).set(self._match())
        self.table.show(rows, key=lambda row: row.name)
        self._draw_judge()

    def _arrange(self, judges: int) -> None:
        """A third of the screen at most for the judges, the same for what they differ on."""
        self.table.styles.height = max(1, min(judges, self.size.height // 3)) + 1
        self.disputes.styles.height = DISPUTES if self.size.height <= SMALL else self.size.height // 3

    def _match(self) -> Content:
        note = " · ! is a reason for doubt" if self._judged and self._judged.found.judges else ""
        return join([self.against(self.size.width // 3), Content.styled(note, "$muted")])

    def _row(self, judge: JudgeUse, width: int) -> Content:
        if self._judged is None:
            return Content("")
        return draw(judge, self._judged.found, *self.pair, width)

    def _dispute(self, row: DisputeRow, width: int) -> Content:
        return dispute(row, self.short(row.candidate, name_room(width)), width)

    def _draw_judge(self) -> None:
        if self._judged is None:
            return
        judge, width = self.table.item, self.size.width - 2
        lines = about(judge, self._judged.found, *self.pair, width)
        self.query_one("#about", Pane).show(lines, keep_place=False)
        rows = disputed(judge, self._judged.disputes)
        self.query_one("#differ", Line).set(self._differ(judge, len(rows)))
        self.disputes.show(rows, key=lambda row: (row.one, row.other, row.candidate, row.example, row.turn))

    def _differ(self, judge: JudgeUse | None, count: int) -> Content:
        if judge is None:
            return Content("")
        if not count:
            return Content.styled("No disagreements with another judge", "$muted")
        whose = "its judges" if judge.parts else "it and another judge"
        return Content.styled(f"Where {whose} disagree most ({count})", "$heading")

    def on_rows_moved(self, event: Rows.Moved) -> None:
        """The lower half follows once the cursor rests: holding a key writes two lines a step."""
        if event.rows is self.table:
            judge = self.table.item
            self.hand.judge = judge.name if judge else self.hand.judge
            self.set_timer(SETTLE_SECONDS, lambda: self._draw_judge() if self.table.item is judge else None)

    @property
    def example_at_cursor(self) -> int | None:
        row = self.disputes.item if self.focused is self.disputes else None
        return row.example_id if row is not None else None

    # Keys

    def on_rows_opened(self, event: Rows.Opened) -> None:
        """From a judge to what it sees differently, from there to the two answers."""
        from tui.screens.review.screen import ReviewScreen

        if event.rows is self.table:
            if self.disputes.items:
                self.set_focus(self.disputes)
            else:
                self.say("no disagreements with another judge")
            return
        row = self.disputes.item
        if row is not None:
            self.app.push_screen(
                ReviewScreen(
                    self.run_id, row.candidate, row.baseline or self.pair[1], example_id=row.example_id
                )
            )

    def back(self) -> bool:
        """From the list of disputes to the judges."""
        if self.focused is self.table:
            return False
        self.set_focus(self.table)
        return True
