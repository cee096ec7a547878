"""Judges: what each says of the same pairs, how far to believe it, and where two of them differ most."""

from dataclasses import dataclass

from textual.app import ComposeResult
from textual.content import Content
from textual.events import Resize

from store.read import history, judging
from store.read.history import Connection
from store.read.judging import DisputeRow, JudgeRow, Judging
from store.read.rows import ModelRow
from tui.keys import bindings
from tui.screens.base import RunScreen
from tui.screens.judges.lines import about, columns, dispute, disputed, draw
from tui.text.gate import cut, join, plain
from tui.widgets.lines import Line, Pane
from tui.widgets.rows import Rows

SETTLE_SECONDS = 0.2  # the cursor rests so long before the lower half follows it
DISPUTES = 5  # lines of the list of disputes on a small screen
SMALL = 30  # lines of terminal up to which a screen is small


@dataclass(frozen=True, slots=True)
class Judged:
    """A run's judges, the models that they compare, and what they see differently."""

    models: list[ModelRow]
    found: Judging
    disputes: list[DisputeRow]


class JudgesScreen(RunScreen):
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

    def __init__(self, run_id: int, candidate: str | None = None, baseline: str | None = None) -> None:
        super().__init__(run_id)
        self._judged: Judged | None = None
        self._candidate, self._baseline = candidate, baseline

    def compose(self) -> ComposeResult:
        yield from self.framed(
            Line(id="match"),
            Line(id="heading"),
            Rows(self._row, empty="this run has no judges", id="judges"),
            Pane(focusable=True, id="about"),
            Line(id="differ"),
            Rows(dispute, empty="", id="disputes"),
        )

    @property
    def table(self) -> Rows[JudgeRow]:
        return self.query_one("#judges", Rows)

    @property
    def disputes(self) -> Rows[DisputeRow]:
        return self.query_one("#disputes", Rows)

    # Reading and showing

    def read_run(self, connection: Connection) -> Judged:
        found = judging.judging(connection, self.run_id)
        return Judged(
            history.models(connection, self.run_id), found, judging.disputes(connection, found.judges)
        )

    def show_run(self, data: Judged) -> None:
        self._judged = data
        matches = [(row.candidate, row.baseline) for row in data.found.win_rates]
        if matches and (self._candidate, self._baseline) not in matches:
            self._candidate, self._baseline = matches[0]
        elif not matches:
            self._candidate = self._kept("candidate", self._candidate)
            self._baseline = self._kept("baseline", self._baseline)
        self._draw()

    def on_resize(self, event: Resize) -> None:
        super().on_resize(event)
        self._draw()

    def _names(self, role: str) -> list[str]:
        """The models on one side of a match: those that judges saw there, else those of the role."""
        if self._judged is None:
            return []
        played = [getattr(row, role) for row in self._judged.found.win_rates]
        return list(dict.fromkeys(played)) or [m.name for m in self._judged.models if m.role == role]

    def _kept(self, role: str, name: str | None) -> str | None:
        names = self._names(role)
        return name if name in names else next(iter(names), None)

    def _draw(self) -> None:
        if self._judged is None:
            return
        rows = self._judged.found.judges
        self._arrange(len(rows))
        self.query_one("#match", Line).set(self._match())
        heading = columns().heading(self.size.width - 2) if rows else Content("")
        self.query_one("#heading", Line).set(join(["  ", heading]))
        self.table.show(rows, key=lambda row: row.name)
        self._draw_judge()

    def _arrange(self, judges: int) -> None:
        """A third of the screen at most for the judges, the same for what they differ on."""
        self.table.styles.height = max(1, min(judges, self.size.height // 3))
        self.disputes.styles.height = DISPUTES if self.size.height <= SMALL else self.size.height // 3

    def _match(self) -> Content:
        pair = [
            plain(cut(self._candidate or "no candidate", 22), "bold"),
            Content.styled(" against ", "$muted"),
            plain(cut(self._baseline or "no baseline", 22), "bold"),
        ]
        note = " · ! is a reason for doubt" if self._judged and self._judged.found.judges else ""
        return join([*pair, Content.styled(note, "$muted")])

    def _row(self, judge: JudgeRow, width: int) -> Content:
        if self._judged is None:
            return Content("")
        return draw(judge, self._judged.found, self._candidate or "", self._baseline or "", width)

    def _draw_judge(self) -> None:
        if self._judged is None:
            return
        judge, width = self.table.item, self.size.width - 2
        lines = about(judge, self._judged.found, self._candidate or "", self._baseline or "", width)
        self.query_one("#about", Pane).show(lines, keep_place=False)
        rows = disputed(judge, self._judged.disputes)
        self.query_one("#differ", Line).set(self._differ(judge, len(rows)))
        self.disputes.show(rows, key=lambda row: (row.one, row.other, row.candidate, row.example, row.turn))

    def _differ(self, judge: JudgeRow | None, count: int) -> Content:
        if judge is None:
            return Content("")
        if not count:
            return Content.styled("No other judge of its kind saw anything differently", "$muted")
        whose = "its judges" if judge.parts else "it and another judge"
        return Content.styled(f"Where {whose} differ most ({count})", "$heading")

    def on_rows_moved(self, event: Rows.Moved) -> None:
        """The lower half follows once the cursor rests: holding a key writes two lines a step."""
        if event.rows is self.table:
            judge = self.table.item
            self.set_timer(SETTLE_SECONDS, lambda: self._draw_judge() if self.table.item is judge else None)

    # Keys

    def on_rows_opened(self, event: Rows.Opened) -> None:
        """From a judge to what it sees differently, from there to the two answers."""
        from tui.screens.review.screen import ReviewScreen

        if event.rows is self.table:
            if self.disputes.items:
                self.set_focus(self.disputes)
            else:
                self.say("no other judge of its kind saw anything differently")
            return
        row = self.disputes.item
        if row is not None:
            self.app.push_screen(
                ReviewScreen(
                    self.run_id, row.candidate, row.baseline or self._baseline, example_id=row.example_id
                )
            )

    def back(self) -> bool:
        """From the list of disputes to the judges."""
        if self.focused is self.table:
            return False
        self.set_focus(self.table)
        return True

    def action_candidate(self, step: int) -> None:
        self._choose("candidate", step)

    def action_baseline(self, step: int) -> None:
        self._choose("baseline", step)

    def _choose(self, role: str, step: int) -> None:
        names = self._names(role)
        now = self._candidate if role == "candidate" else self._baseline
        if now in names:
            chosen = names[(names.index(now) + step) % len(names)]
            if role == "candidate":
                self._candidate = chosen
            else:
                self._baseline = chosen
            self._draw()
