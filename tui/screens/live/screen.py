"""Live: where a run is, how fast it goes, what the machine does, and how the judging turns out."""

import time
from typing import TYPE_CHECKING, NamedTuple

from textual.app import ComposeResult
from textual.content import Content
from textual.timer import Timer

from store.read.query import matches
from tui.keys import bindings
from tui.screens.base import MessageScreen, RunScreen, beside
from tui.screens.choosing import FilteredScreen
from tui.screens.control import RunControls
from tui.screens.live import lines
from tui.screens.live.lines import JudgingSoFar, judging
from tui.sections.eta import Cost, Recent, cost, whole_time_left
from tui.text.gate import one_line, plain, wrap
from tui.widgets.lines import Pane
from tui.widgets.plot import gate_of
from tui.widgets.rows import Columns, FlexColumn, Rows

if TYPE_CHECKING:
    from engine.decision.decision import Decision
    from store.read.history import Connection
    from store.read.live import CheckpointRow, FailedRow, LatestAnswer, MissingRow, OtherRun
    from store.read.rows import LatestVerdict
    from store.records import Event, Progress, RunMark, Vitals


FAILED = Columns(
    FlexColumn("what", 8, key=lambda row: row.kind),
    FlexColumn("judge or model", 16, key=lambda row: row.who),
    FlexColumn("example", 12, key=lambda row: row.example),
    FlexColumn("about", 26, drop=1, key=lambda row: row.about),
    FlexColumn("reason", 20, grow=1, key=lambda row: row.reason),
)


class FailedScreen(FilteredScreen, RunScreen):
    """One line each; enter shows all that came back, `/` keeps those with a text."""

    NAME = "Failures"
    FOOTER = ("move.open", "find.filter")
    BINDINGS = bindings("find.filter")
    DEFAULT_CSS = "FailedScreen #whole { padding: 0 1; }"

    def __init__(self, run_id: int) -> None:
        super().__init__(run_id)
        self._failed: list[FailedRow] = []

    def compose(self) -> ComposeResult:
        rows = Rows(_failed_row, empty="nothing failed", columns=FAILED, id="failed")
        yield from self.framed(beside(rows, Pane(focusable=True, id="whole"), wide_only=True))

    def read_run(self, connection: "Connection") -> "list[FailedRow]":
        from store.read import live

        return live.failed(connection, self.run_id)

    def show_run(self, data: "list[FailedRow]") -> None:
        self._failed = data
        self.filtered()

    def filtered(self) -> None:
        found = [row for row in self._failed if matches(self._search, _logs_searched(row))]
        self.query_one("#failed", Rows).show(found, key=lambda row: row)
        self.redraw()

    def on_rows_moved(self, event: "Rows.Moved") -> None:
        self.redraw()

    def redraw(self) -> None:
        row: FailedRow | None = self.query_one("#failed", Rows).item
        lines = wrap(plain(_in_full(row)), self.beside_cells) if row is not None else []
        self.query_one("#whole", Pane).show(lines, keep_place=False)

    def on_rows_opened(self, event: "Rows.Opened") -> None:
        row: FailedRow | None = event.rows.item
        if row is not None:
            self.app.push_screen(MessageScreen(f"Failed {row.kind} of {row.example}", _in_full(row)))


def _in_full(row: "FailedRow") -> str:
    about = f" on {row.about}" if row.about else ""
    came = row.raw or "nothing came back, or it was not kept"
    return f"{row.who}{about}\n\n{row.reason}\n\nWhat came back:\n{came}\n\nThe query:\n{row.query}"


def _failed_row(row: "FailedRow", width: int) -> Content:
    reason = one_line(row.reason, "$bad")
    return FAILED.row(
        [row.kind, one_line(row.who), one_line(row.example), one_line(row.about), reason], width
    )


def _logs_searched(row: "FailedRow") -> dict[str, str]:
    return {
        "what": row.kind, "model": row.who, "about": row.about, "example": row.example,
        "reason": row.reason, "raw": row.raw, "query": row.query,
    }  # fmt: skip


LEVELS = {
    "error": Content.styled("! error", "$bad"),
    "warning": Content.styled("~ warning", "$warn"),
    "info": Content.styled("· info", "$muted"),
}
EVENTS = Columns(
    FlexColumn("time", 19, drop=1, key=lambda event: event.created),
    FlexColumn("level", 9, key=lambda event: tuple(LEVELS).index(event.level)),
    FlexColumn("phase", 10, key=lambda event: event.phase),
    FlexColumn("message", 20, grow=1, key=lambda event: event.message),
)
LIMIT = 10_000


class EventsScreen(FilteredScreen, RunScreen):
    NAME = "Events"
    FOOTER = ("move.open", "events.errors", "find.filter")
    BINDINGS = bindings("events.errors", "find.filter")
    DEFAULT_CSS = "EventsScreen #whole { padding: 0 1; }"

    def __init__(self, run_id: int) -> None:
        super().__init__(run_id)
        self._level = ""
        self._events: list[Event] = []

    def compose(self) -> ComposeResult:
        rows = Rows(_event_row, empty="nothing happened", columns=EVENTS, id="events")
        yield from self.framed(beside(rows, Pane(focusable=True, id="whole"), wide_only=True))

    def read_run(self, connection: "Connection") -> "list[Event]":
        from store.read import live

        return live.events(connection, self.run_id, level=self._level, limit=LIMIT)

    def show_run(self, data: "list[Event]") -> None:
        self._events = data
        self.filtered()

    def filtered(self) -> None:
        found = [
            event
            for event in self._events
            if matches(
                self._search, {"level": event.level, "phase": event.phase or "", "message": event.message}
            )
        ]
        self.query_one("#events", Rows).show(found, key=lambda row: row.id)
        self.redraw()

    def on_rows_moved(self, event: "Rows.Moved") -> None:
        self.redraw()

    def redraw(self) -> None:
        row: Event | None = self.query_one("#events", Rows).item
        lines = wrap(plain(row.message), self.beside_cells) if row is not None else []
        self.query_one("#whole", Pane).show(lines, keep_place=False)

    def action_errors(self) -> None:
        self._level = "" if self._level else "error"
        self.reload()

    def on_rows_opened(self, event: "Rows.Opened") -> None:
        row = event.rows.item
        if row is not None:
            self.app.push_screen(MessageScreen(f"{row.level} in {row.phase}", row.message))


def _event_row(row: "Event", width: int) -> Content:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(row.time))
    return EVENTS.row([when, LEVELS[row.level], row.phase, one_line(row.message)], width)


VERDICTS = 5
MOST_VERDICTS = 30  # on a wide terminal
STARTING = 60.0  # seconds in which a worker that was started may not have taken its run yet
# Vitals, answers, judging and verdicts change whole lines: over a slow link they take turns.
SLOW_SECONDS = 5.0


class LiveData(NamedTuple):
    """Everything that moves while a run runs."""

    progress: "list[Progress]"
    cost: Cost
    vitals: "list[Vitals]"
    judging: JudgingSoFar
    verdicts: "list[LatestVerdict]"
    events: dict[str, int]
    newest: "list[Event]"
    missing: "list[MissingRow]"
    others: "list[OtherRun]"
    earlier: dict[str, float]  # units a second by phase, of an earlier run
    answers: "list[LatestAnswer]"
    decided: "list[Decision]"  # once it is finished
    asked: "RunMark | None"
    starts: bool  # it was queued a moment ago
    place: int | None  # in the queue
    checkpoints: "list[tuple[CheckpointRow, list[tuple[str, float | None]]]]"


class LiveScreen(RunControls, FilteredScreen, RunScreen):
    NAME = "Live"
    FOOTER = (
        "live.events", "live.failures", "runs.pause", "runs.resume", "runs.cancel", "live.concurrency",
        "live.answers", "live.after_phase", "live.next", "live.retry",
    )  # fmt: skip
    BINDINGS = bindings(
        "live.answers", "live.events", "live.failures", "live.retry", "runs.resume", "runs.pause",
        "live.after_phase", "runs.cancel", "live.concurrency", "live.next", "live.previous", "find.filter",
    )  # fmt: skip
    DEFAULT_CSS = "LiveScreen Pane { padding: 1 1 0 1; }"

    def __init__(self, run_id: int) -> None:
        super().__init__(run_id)
        self._recent = Recent()
        self._work: LiveData | None = None
        self._slow: LiveData | None = None  # of which vitals, judging and verdicts are shown
        self._slow_until = 0.0
        self._later: Timer | None = None
        self._wants_answers: bool | None = None  # None: while it generates, and where there is room

    def compose(self) -> ComposeResult:
        yield from self.framed(
            beside(Pane(focusable=True, id="work"), Pane(focusable=True, id="aside"), wide_only=True)
        )

    def read_run(self, connection: "Connection") -> LiveData:
        from engine.decision.decision import decide
        from store.people import asked
        from store.read import history, live, runs
        from store.read import judging as judged

        run = history.run(connection, self.run_id)
        answering = run.status == "running" and run.phase == "generate"
        wanted = answering or self.is_wide if self._wants_answers is None else self._wants_answers
        progress = live.progress(connection, self.run_id)
        return LiveData(
            progress,
            cost(progress, history.models(connection, self.run_id)),
            live.vitals(connection, self.run_id),
            JudgingSoFar(
                judged.judges(connection, self.run_id),
                history.win_rates(connection, self.run_id),
                judged.failures(connection, self.run_id),
            ),
            live.latest_verdicts(connection, self.run_id, limit=MOST_VERDICTS),
            live.count_events(connection, self.run_id),
            live.events(connection, self.run_id, level="error", limit=1),
            live.missing_answers(connection, self.run_id),
            live.others(connection, self.run_id),
            live.earlier_paces(connection, self.run_id),
            live.latest_answers(connection, self.run_id) if wanted else [],
            decide(connection, self.run_id) if run.status == "finished" else [],
            asked(connection, self.run_id),
            run.status == "queued" and self.assay.now() - run.created < STARTING,
            runs.place(connection, self.run_id),
            [(row, live.headlines(connection, row.id)) for row in live.checkpoints(connection, self.run_id)],
        )

    def show_run(self, data: LiveData) -> None:
        self._work = data
        self._recent.look(data.progress)
        if data.decided:
            self.keep_cards(data.decided)
        self.redraw()

    def redraw(self) -> None:
        if self._work is None or self.run is None:
            return
        running = self.run.status == "running"
        width, side = self.list_cells, self.beside_cells
        work, slow = self._work, self._taken_slowly(self._work)
        whole = whole_time_left(work.progress, work.earlier, self._recent)
        gate = gate_of(self.run.plan)
        verdicts = [row for row in slow.verdicts if matches(self._search, _searched(row))]
        verdicts = verdicts if self.is_wide else verdicts[:VERDICTS]
        judged = judging(slow.judging, slow.progress, side, gate=gate, recent=self._recent)
        answers = lines.answers(slow.answers, side)
        latest = lines.verdicts(verdicts, side)
        above = [
            lines.state(self.run, width, asked=work.asked, starts=work.starts, place=work.place),
            lines.decided(work.decided, width),
            lines.phases(work.progress, width, running=running, recent=self._recent, whole=whole),
            lines.checkpoints(work.checkpoints, width),
        ]
        others = lines.others(slow.others, width)
        machine = lines.machine(slow.vitals, slow.cost) if running else []
        missing, events = lines.missing(slow.missing, width), lines.events(work.events, work.newest, width)
        if self.is_wide:
            self._show("work", [*above, others, machine, missing, events])
            first = running and self.run.phase == "generate"
            self._show("aside", [answers, judged, latest] if first else [judged, answers, latest])
        else:
            self._show("work", [*above, others, machine, answers, judged, missing, latest, events])

    def _show(self, pane: str, sections: "list[list[Content]]") -> None:
        shown = [line for section in sections if section for line in (*section, Content(""))]
        self.query_one(f"#{pane}", Pane).show(shown)

    def _taken_slowly(self, work: LiveData) -> LiveData:
        """What to take vitals, judging and verdicts from: the newest, or that of some seconds ago."""
        left = self._slow_until - time.monotonic()
        if self._slow is None or left <= 0:
            self._slow, self._slow_until = work, time.monotonic() + SLOW_SECONDS
        elif self._later is None:
            self._later = self.set_timer(left, self._draw_later)
        return self._slow

    def _draw_later(self) -> None:
        self._later = None
        self.redraw()

    @property
    def controlled(self) -> int:
        return self.run_id

    @property
    def alive(self) -> bool:
        return super().alive or (self.run is not None and self.run.status == "queued")

    def action_answers(self) -> None:
        shown = bool(self._work and self._work.answers)
        self._wants_answers = not shown
        self._slow_until = 0.0
        self.reload()
        if not shown:
            self.say("the newest answer of each model, as far as the run has written any lately")

    def action_events(self) -> None:
        self.app.push_screen(EventsScreen(self.run_id))

    def action_failures(self) -> None:
        self.app.push_screen(FailedScreen(self.run_id))

    def action_other(self, step: int) -> None:
        """The run that is under way next to this one, in the order of their numbers."""
        runs = sorted(run.id for run in self._work.others if run.status == "running") if self._work else []
        if not runs:
            self.say("no other run is under way")
            return
        after = [run for run in runs if run > self.run_id]
        before = [run for run in runs if run < self.run_id]
        self.assay.go("live", (after + before)[0] if step > 0 else (after + before)[-1])

    def action_concurrency(self) -> None:
        allowed = self.run.concurrency if self.run else None
        self.ask(
            "concurrency; max parallel requests per server (0 = the plan's value)",
            lambda text: self.assay.control.set_concurrency(self.run_id, text),
            value=str(allowed or ""),
        )

    def action_after_phase(self) -> None:
        self.assay.control.pause_after_phase(self.run_id)

    def action_retry(self) -> None:
        self.assay.control.retry(self.run_id)


def _searched(row: "LatestVerdict") -> dict[str, str]:
    return {
        "judge": row.judge, "candidate": row.candidate, "baseline": row.baseline, "example": row.example,
        "outcome": row.outcome, "query": row.query,
    }  # fmt: skip
