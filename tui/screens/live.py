"""Live: where a run is, how fast it goes, what the machine does, and how the judging turns out."""

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from textual.app import ComposeResult
from textual.content import Content
from textual.events import Resize

from tui.keys import bindings, written
from tui.screens.base import RunScreen
from tui.text import MISSING, bar, cut, duration, fit, join, one_line, plain, size, wrap
from tui.widgets.lines import Pane

if TYPE_CHECKING:
    from store.history import Connection
    from store.rows import EventRow, LatestVerdict, ProgressRow, RunDetail, VitalsRow, WinRateRow

PHASES = ("data", "generate", "perplexity", "benchmarks", "score", "judge", "compare")
NAME_CELLS = 24
VERDICTS = 5
OUTCOMES = {
    "win": Content.styled("+ win   ", "$good"),
    "loss": Content.styled("− loss  ", "$bad"),
    "tie": Content("= tie   "),
    "failed": Content.styled("? failed", "$muted"),
}


class Work(NamedTuple):
    """Everything that moves while a run runs."""

    progress: "list[ProgressRow]"
    vitals: "list[VitalsRow]"
    win_rates: "list[WinRateRow]"
    verdicts: "list[LatestVerdict]"
    events: dict[str, int]
    newest: "list[EventRow]"


class LiveScreen(RunScreen):
    NAME = "Live"
    FOOTER = ("live.events", "runs.resume", "runs.pause", "runs.cancel")
    BINDINGS = bindings("live.events", "runs.resume", "runs.pause", "runs.cancel")
    DEFAULT_CSS = "LiveScreen #work { padding: 1 1 0 1; }"

    def __init__(self, run_id: int) -> None:
        super().__init__(run_id)
        self._work: Work | None = None

    def compose(self) -> ComposeResult:
        yield from self.framed(Pane(focusable=True, id="work"))

    def read_run(self, connection: "Connection") -> Work:
        from store import history, live

        return Work(
            live.progress(connection, self.run_id),
            live.vitals(connection, self.run_id),
            history.win_rates(connection, self.run_id),
            live.latest_verdicts(connection, self.run_id, limit=VERDICTS),
            live.count_events(connection, self.run_id),
            live.events(connection, self.run_id, level="error", limit=1),
        )

    def show_run(self, data: Work) -> None:
        self._work = data
        self._draw()

    def on_resize(self, event: Resize) -> None:
        super().on_resize(event)
        self._draw()

    def _draw(self) -> None:
        if self._work is None or self.run is None:
            return
        width = self.size.width - 2
        sections = [
            _state(self.run, width),
            _phases(self._work.progress, width),
            _machine(self._work.vitals) if self.run.status == "running" else [],
            _judging(self._work.win_rates),
            _verdicts(self._work.verdicts, width),
            _events(self._work.events, self._work.newest, width),
        ]
        lines = [line for section in sections if section for line in (*section, Content(""))]
        self.query_one("#work", Pane).show(lines)

    def action_events(self) -> None:
        from tui.screens.events import EventsScreen

        self.app.push_screen(EventsScreen(self.run_id))

    def action_resume(self) -> None:
        self.assay.control.resume(self.run_id)

    def action_pause(self) -> None:
        self.assay.control.pause(self.run_id)

    def action_cancel(self) -> None:
        self.assay.control.cancel(self.run_id)


def _heading(text: str) -> Content:
    return Content.styled(text, "$heading")


def _state(run: "RunDetail", width: int) -> list[Content]:
    """What a person has to know before any number: that the run stands still, and what goes on with it."""
    resume = f"{written('runs.resume')} resumes it; what is finished is kept."
    said = {
        "interrupted": f"! The worker of this run has died or was killed. {resume}",
        "paused": f"‖ This run is paused. {resume}",
        "failed": f"✗ This run could not go on. {resume}",
        "queued": f"○ No worker has taken this run yet. {written('runs.resume')} starts one.",
    }.get(run.status, "")
    if run.status == "running" and run.request:
        said = f"‖ A {run.request} was asked for: the worker stops after its current piece of work."
    lines = [*wrap(Content.styled(said, "$bad"), width)] if said else []
    if run.error and run.status in ("failed", "interrupted"):
        lines += [line for part in run.error.split("\n") for line in wrap(plain(part), width)]
    return lines


def _phases(progress: "list[ProgressRow]", width: int) -> list[Content]:
    """A phase that is done or has not begun takes one line, one under way a line for each piece of work."""
    lines = []
    for phase, found in groupby(progress, key=lambda row: row.phase):
        rows = list(found)
        done, total = sum(row.done for row in rows), sum(row.total for row in rows)
        begun = any(row.started is not None for row in rows)
        finished = begun and all(row.done >= row.total and row.started is not None for row in rows)
        if len(rows) == 1 or finished or not begun:
            name = phase if len(rows) > 1 or phase == rows[0].item else f"{phase}  {cut(rows[0].item, 30)}"
            name = phase if finished or not begun else name
            lines.append(_piece(name, done, total, rows, width, begun))
            continue
        lines.append(_piece(phase, done, total, rows, width, begun))
        lines += [
            _piece(f"  {row.item}", row.done, row.total, [row], width, True) for row in rows if row.started
        ]
    return [_heading("Phases"), *lines] if lines else []


def _piece(name: str, done: int, total: int, rows: "list[ProgressRow]", width: int, begun: bool) -> Content:
    label = fit(name, NAME_CELLS)
    if not begun:
        return join([Content("· "), label, Content.styled("waiting", "$muted")])
    finished = done >= total
    room = max(8, min(40, (width - NAME_CELLS - 44) // 1))
    filled, empty = bar(done / total if total else 1.0, room)
    seconds = sum(row.seconds for row in rows)
    fresh = sum(row.done - row.resumed_from for row in rows)
    rate = fresh / seconds if seconds > 0 and fresh > 0 else None
    counts = f"{done:,}/{total:,} {rows[0].unit}"
    parts = [
        Content.styled("✓ ", "$good") if finished else Content.styled("▶ ", "$good"),
        label,
        Content.styled(filled, "$good"),
        Content.styled(empty, "$rule"),
        Content(f" {counts:<18} "),
        Content(f"{_pace(rate, tokens=sum(row.tokens for row in rows), seconds=seconds)}"),
    ]
    if not finished and rate is not None:
        parts.append(Content(f"  {duration((total - done) / rate)} left"))
    elif finished:
        parts.append(Content.styled(f"  {duration(seconds)}", "$muted"))
    return join(parts)


def _pace(rate: float | None, tokens: int, seconds: float) -> str:
    if rate is None:
        return ""
    speed = f"{rate:.1f}/s" if rate < 100 else f"{rate:,.0f}/s"
    return f"{speed}  {tokens / seconds:,.0f} tok/s" if tokens and seconds > 0 else speed


def _machine(vitals: "list[VitalsRow]") -> list[Content]:
    lines = []
    for row in vitals:
        filled, empty = bar(row.utilisation or 0.0, 12)
        used = MISSING if row.utilisation is None else f"{row.utilisation:.0%}"
        lines.append(
            join(
                [
                    Content("  "),
                    fit(row.device, NAME_CELLS),
                    Content.styled(filled, "$good"),
                    Content.styled(empty, "$rule"),
                    Content(f" {used:>4}  memory {size(row.memory_used)} of {size(row.memory_total)}"),
                    Content("" if row.power_w is None else f"  {row.power_w:.0f} W"),
                ]
            )
        )
    return [_heading("Machine"), *lines] if lines else []


def _judging(rates: "list[WinRateRow]") -> list[Content]:
    lines = []
    for judge, found in groupby(rates, key=lambda row: (row.judge, row.is_language_model)):
        note = "" if judge[1] else ", not a language model: it compares with the references"
        lines.append(join([_heading("Win rate by "), one_line(judge[0], "bold"), _heading(note)]))
        lines += [_win_rate(row) for row in found]
    return lines


def _win_rate(row: "WinRateRow") -> Content:
    failed = Content.styled(f" {row.failed} failed", "$bad") if row.failed else Content("")
    if row.win_rate is None or row.low is None or row.high is None:
        rate = plain(row.reason or "no verdict yet", "$muted")
    else:
        rate = Content(f"{row.win_rate:.1%} [{100 * row.low:.1f}, {100 * row.high:.1f}]")
    name = join([one_line(row.candidate), " against ", one_line(row.baseline)])
    counts = f"{row.wins} win {row.ties} tie {row.losses} loss"
    return join([Content("  "), fit(name, 26), fit(rate, 20), counts, failed], " ")


def _verdicts(verdicts: "list[LatestVerdict]", width: int) -> list[Content]:
    lines = []
    for row in verdicts:
        pair = join([one_line(row.candidate), " against ", one_line(row.baseline)])
        flipped = " (orders disagree)" if row.consistent is False else ""
        example = one_line(f"{row.example}{flipped}  {row.query}", "$muted")
        lines.append(fit(join(["  ", OUTCOMES[row.outcome], "  ", fit(pair, 26), example]), width))
    return [_heading("Latest verdicts"), *lines] if lines else []


def _events(counts: dict[str, int], newest: "list[EventRow]", width: int) -> list[Content]:
    errors, warnings = counts.get("error", 0), counts.get("warning", 0)
    if not errors and not warnings:
        return []
    said = f"{errors} error{'' if errors == 1 else 's'}, {warnings} warning{'' if warnings == 1 else 's'}"
    counted = Content.styled(said, "$bad" if errors else "$warn")
    line = join([_heading("Events  "), counted, f" · {written('live.events')} lists them"])
    return [line, *(fit(one_line(f"  last error: {row.message}"), width) for row in newest)]
