"""Monitor: production traffic over time, each measure a small plot with its band, and what the alerts tell.

The figures need libraries that have no place in the app's process: `assay monitor --json` gives them, in one
of its own, and what it gave last stays on the screen meanwhile.
"""

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from textual import work
from textual.app import ComposeResult
from textual.content import Content

from tui.keys import bindings, written
from tui.screens.base import AssayScreen, MessageScreen
from tui.screens.choosing import neighbour, run_command
from tui.text.gate import counted, cut, join, number, one_line, plain, wrap
from tui.widgets.lines import Line, Pane
from tui.widgets.panels import GAP, Panels
from tui.widgets.plot import MARK, Spot, small

if TYPE_CHECKING:
    from engine.traffic.periods import Figure, PeriodRow, Watch, Watched
    from store.read.history import Connection
    from store.read.weeks import WeekRow
    from store.records import TrafficAlert

WAIT_S = 15.0  # from one reading to the next, while events keep coming in
LEAST_PANEL = 36  # cells
NO_TRAFFIC = (
    "There is no production traffic in this store yet. `assay traffic import FILE` reads what gateways log: "
    "JSON lines, CSV or Parquet, OpenAI-style requests, OpenTelemetry spans, exports of Langfuse, Phoenix, "
    "MLflow and LangSmith. `assay collect` takes events over HTTP. docs/monitoring.md is the walk."
)


class Plotted(NamedTuple):
    """One small plot: a measure of one variant, with the figures of all periods."""

    measure: "Watched"
    variant: str
    figures: "tuple[Figure | None, ...]"
    level: float | None  # of the reference
    ends: tuple[float, ...]  # all variants', so that their plots compare


class MonitorScreen(AssayScreen):
    NAME = "Monitor"
    FOOTER = (
        "monitor.worst", "monitor.random", "monitor.acknowledge", "monitor.later", "monitor.days",
        "monitor.variant", "monitor.beside",
    )  # fmt: skip
    BINDINGS = bindings(
        "monitor.next", "monitor.previous", "monitor.later", "monitor.earlier", "monitor.last",
        "monitor.first", "monitor.worst", "monitor.random", "monitor.days", "monitor.variant",
        "monitor.beside", "monitor.acknowledge", "monitor.again",
    )  # fmt: skip
    DEFAULT_CSS = """
    MonitorScreen #about, MonitorScreen #panels { padding: 0 1; }
    MonitorScreen #point { height: 7; padding: 0 1; border-top: solid $rule; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._watch: Watch | None = None
        self._weeks: Sequence[WeekRow] = ()
        self._plots: Sequence[Plotted] = ()
        self._starts: Sequence[float] = ()
        self._variant, self._days = "", 7
        self._at = 0  # the chosen plot
        self._start: float | None = None  # the chosen period's; None: the last
        self._beside = self._asking = self._stale = False
        self._asked_at = float("-inf")
        self._is_empty, self._complaint = False, ""

    def compose(self) -> ComposeResult:
        yield from self.framed(Line(id="about"), Panels(self._panel, id="panels"), Pane(id="point"))

    @property
    def panels(self) -> Panels:
        return self.query_one("#panels", Panels)

    # Reading

    def on_mount(self) -> None:
        super().on_mount()
        known = self.assay.kept.get("monitor")
        if known is not None:
            self._days, self._watch = known  # type: ignore[misc]  # kept below
            self._arrange()

    def read(self, connection: "Connection") -> "tuple[tuple[int | None, ...], list[WeekRow]]":
        from store.read.weeks import traffic_state, weeks

        return traffic_state(connection), weeks(connection)

    def show(self, data: "tuple[tuple[int | None, ...], list[WeekRow]]") -> None:
        state, self._weeks = data
        self._is_empty = state[0] is None
        if self._is_empty:
            self._watch = None
            self._arrange()
        elif state != self.assay.kept.get("monitor.state") or self._watch is None:
            self.assay.kept["monitor.state"] = state
            self._ask()
        self.redraw()

    def show_nothing(self) -> None:
        self._is_empty = True
        self.redraw()

    def _ask(self, *, at_once: bool = False) -> None:
        """Asks for the figures; while they keep changing, not without a pause."""
        self._stale = True
        wait = 0.0 if at_once else self._asked_at + WAIT_S - time.monotonic()
        if self._asking:
            return
        if wait > 0:
            self.set_timer(wait, self._ask_if_stale)
        else:
            self._ask_if_stale()

    def _ask_if_stale(self) -> None:
        if self._stale and not self._asking:
            self._stale, self._asking = False, True
            self._read_figures()

    @work(group="monitor")
    async def _read_figures(self) -> None:
        days = self._days
        self.redraw()
        try:
            ended = await run_command("monitor", "--days", str(days), "--json", store=self.assay.store.folder)
        finally:
            self._asking, self._asked_at = False, time.monotonic()
        if not self.is_mounted or not self.query("#panels"):
            return
        table = ended.table
        self._complaint = "" if table is not None else ended.complaint
        if table is not None and days == self._days:
            from engine.traffic.periods import watch_of

            self._watch = watch_of(table)
            self.assay.kept["monitor"] = days, self._watch
        self._arrange()
        if self._stale:
            self._ask()

    # What is shown

    def _arrange(self) -> None:
        """Makes the plots of what was read and of what the person chose."""
        from engine.traffic.periods import MEASURES

        watch, before = self._watch, self._plot
        self._plots, self._starts = (), ()
        if watch is not None and watch.rows:
            variants = watch.variants
            if self._variant not in variants:
                self._variant = variants[0]
            self._starts = sorted({row.start for row in watch.rows})
            told = [measure for measure in MEASURES if _values(watch, measure.name)]
            shown = variants if self._beside else [self._variant]
            rows = {(row.variant, row.start): row for row in watch.rows}
            self._plots = [
                Plotted(
                    measure,
                    variant,
                    tuple(_figure(rows.get((variant, start)), measure.name) for start in self._starts),
                    _level(watch, variant, measure.name),
                    _values(watch, measure.name),
                )
                for measure in told
                for variant in shown
            ]
        if before is not None:
            same = (before.measure, self._variant if not self._beside else before.variant)
            places = [(plot.measure, plot.variant) for plot in self._plots]
            self._at = places.index(same) if same in places else 0
        self._at = min(self._at, max(0, len(self._plots) - 1))
        if self._start not in self._starts:
            self._start = None
        self.redraw()

    @property
    def _plot(self) -> Plotted | None:
        return self._plots[self._at] if self._at < len(self._plots) else None

    @property
    def _place(self) -> int:
        """The chosen period's, among all."""
        return len(self._starts) - 1 if self._start is None else self._starts.index(self._start)

    @property
    def _columns(self) -> int:
        room = max(1, (self.size.width - 2 + GAP) // (LEAST_PANEL + GAP))
        if self._beside and self._watch is not None:
            return min(room, len(self._watch.variants))
        return min(room, 4)

    @property
    def _row(self) -> "PeriodRow | None":
        """The chosen period of the chosen plot's variant."""
        plot, watch = self._plot, self._watch
        if plot is None or watch is None:
            return None
        start = self._starts[self._place]
        return next((row for row in watch.of(plot.variant) if row.start == start), None)

    def _alerts(self, plot: Plotted, start: float | None = None) -> "list[TrafficAlert]":
        """The alerts on a plot's measure, or on all that its period has."""
        return [
            alert
            for alert in (self._watch.alerts if self._watch is not None else ())
            if alert.variant == plot.variant
            and alert.days == self._days
            and (alert.measure == plot.measure.name or (start is not None and alert.measure == "questions"))
            and start in (None, alert.start)
        ]

    def title_line(self) -> Content:
        watch = self._watch
        if watch is None or not self._starts:
            return Content.styled("production traffic over time", "$muted")
        many = len(watch.open_alerts)
        alerts = (
            Content.styled(f"{MARK} {counted(many, 'open alert')}", "bold $bad")
            if many
            else Content("no open alert")
        )
        return join([alerts, Content.styled("reading …", "$muted") if self._asking else Content("")], "  ")

    def redraw(self) -> None:
        self.refresh_title()
        self.query_one("#about", Line).set(self._about())
        self.panels.show(len(self._plots), self._columns)
        self.panels.keep_in_sight(self._at)
        self._explain()

    def _about(self) -> Content:
        watch = self._watch
        if watch is None or not self._starts:
            return Content("")
        every = "day" if self._days == 1 else "week"
        place = watch.variants.index(self._variant) + 1
        parts = [
            Content(f"{_day(self._starts[0])} to {_day(self._starts[-1])}, by {every}"),
            Content(f"{counted(len(watch.variants), 'variant')} beside one another")
            if self._beside
            else join([one_line(_named(self._variant), "bold"), f" {place} of {len(watch.variants)}"]),
            one_line(f"reference: {watch.reference}", "$muted"),
            one_line(f"eval set: {watch.eval_set}", "$muted") if watch.eval_set else Content(""),
        ]
        return join([part for part in parts if part], " · ")

    def _panel(self, place: int, width: int, height: int) -> list[Content]:
        """A measure's name and its latest value over its plot; what is chosen is marked in it."""
        plot, is_chosen = self._plots[place], place == self._at
        shown = self._window(width)
        alerts = {alert.start: alert for alert in self._alerts(plot)}
        is_open = any(alert.acknowledged is None for alert in alerts.values())
        figure = plot.figures[-1]
        named = f"{cut(_named(plot.variant), 12)} " if self._beside else ""
        title = cut(f"{named}{plot.measure.title}", width - 14)
        heading = join(
            [
                Content("› " if is_chosen else "  "),
                plain(title, "bold reverse" if is_chosen else "bold"),
                Content(f"  {_said(figure, plot.measure)} "),
                Content.styled(MARK, "bold $bad")
                if is_open
                else Content.styled("✓", "$muted")
                if alerts
                else Content(""),
            ]
        )
        spots = [
            Spot(
                *((None,) * 3 if figure is None else (figure.value, figure.low, figure.high)),
                joined=at > shown.start and _known(plot.figures[at - 1]) and _known(figure),
                name="",
                marked=self._starts[at] in alerts,
            )
            for at, figure in ((at, plot.figures[at]) for at in shown)
        ]
        chosen = self._place - shown.start if is_chosen else None
        rows = height - 1 - (height > 6)
        lines = small(spots, width, rows, plot.ends, level=plot.level, chosen=chosen, ascii=self.assay.ascii)
        return [heading, *lines]

    def _window(self, width: int) -> range:
        """The periods that have room, the chosen one among them."""
        room, count = max(2, width - 9), len(self._starts)
        first = max(0, min(count - room, self._place - room // 2))
        return range(first, min(count, first + room))

    def _explain(self) -> None:
        """All that is known of the chosen point; where there is none, why."""
        width = self.size.width - 2
        lines = [line for part in self._point() for line in wrap(part, width)]
        self.query_one("#point", Pane).show(lines, keep_place=False)

    def _point(self) -> Iterable[Content]:
        plot, row, watch = self._plot, self._row, self._watch
        if self._complaint:
            yield plain(self._complaint, "$bad")
        if self._is_empty:
            yield plain(NO_TRAFFIC)
            return
        if plot is None or watch is None:
            yield Content.styled("reading the traffic …" if self._asking else "", "$muted")
            return
        start, figure = self._starts[self._place], plot.figures[self._place]
        yield self._value(plot, start, figure)
        for alert in self._alerts(plot, start):
            yield _told(alert)
        if row is not None and row.models:
            names = ", ".join(f"{name} ({count:,})" for name, count in row.models.items())
            yield one_line(f"{counted(row.events, 'event')} answered by {names}", "$muted")
        yield self._reviews(plot.variant, start)
        for cluster in watch.uncovered:
            yield join(
                [
                    Content.styled("not in the eval set: ", "$warn"),
                    one_line(f"“{cut(cluster.name, 40)}”", "bold"),
                    one_line(f", {counted(cluster.events, 'question')} since {_day(cluster.first)}"),
                ]
            )
        missing = [
            f"{measure.title} ({measure.needs})"
            for measure in _measures()
            if not _values(watch, measure.name)
        ]
        if missing:
            yield one_line(f"not plotted: {'; '.join(missing)}", "$muted")

    def _value(self, plot: Plotted, start: float, figure: "Figure | None") -> Content:
        when = _day(start) if self._days == 1 else f"week of {_day(start)}"
        said = [one_line(plot.measure.title, "bold"), one_line(_named(plot.variant)), Content(when)]
        if figure is None:
            said.append(Content.styled("no events", "$warn"))
        elif figure.value is None:
            said.append(one_line(f"missing: {figure.reason or 'no reason was recorded'}", "$warn"))
        else:
            span = (
                ""
                if figure.low is None or figure.high is None
                else f" [{number(figure.low)}, {number(figure.high)}]"
            )
            said.append(Content(f"{_said(figure, plot.measure)}{span} of {figure.n:,}"))
        if plot.level is not None:
            said.append(Content.styled(f"reference {number(plot.level)}", "$muted"))
        return join(said, " · ")

    def _reviews(self, variant: str, start: float) -> Content:
        """The runs that were made of this week's answers, and the keys that make them."""
        from engine.traffic.periods import start_of

        own = {
            row.purpose: row
            for row in self._weeks
            if (row.variant, row.start) == (variant, start_of(start, 7))
        }
        parts = []
        for purpose, key, name in (("worst", "enter", "worst answers"), ("random", "w", "random sample")):
            row = own.get(purpose)
            done = (
                f"{row.n} in run {row.run_id}, {row.labelled} labelled, {row.graded} judged"
                if row
                else "not drawn yet"
            )
            parts.append(join([Content.styled(key, "$key"), plain(f" {name}: {done}")]))
        return join(parts, " · ")

    # What keys do

    def action_measure(self, step: int) -> None:
        if self._plots:
            self._choose((self._at + step) % len(self._plots))

    def _choose(self, place: int) -> None:
        before, self._at = self._at, place
        self.panels.keep_in_sight(place)
        self.panels.changed(before, place)
        self._explain()

    def on_panels_clicked(self, event: Panels.Clicked) -> None:
        self._choose(event.place)
        if event.times == 2:
            self.action_review("worst")

    def action_period(self, step: int) -> None:
        if self._starts:
            self._to(max(0, min(len(self._starts) - 1, self._place + step)))

    def action_edge(self, place: int) -> None:
        if self._starts:
            self._to(place % len(self._starts))

    def _to(self, place: int) -> None:
        window = self._window(self.panels.block_width)
        self._start = self._starts[place]
        # All plots have the same periods; only those that scroll are drawn anew beside the chosen one.
        self.panels.changed(*([self._at] if window == self._window(self.panels.block_width) else []))
        self._explain()

    def action_days(self) -> None:
        self._days = 1 if self._days == 7 else 7
        self._watch, self._start = None, None
        self._arrange()
        self._ask(at_once=True)

    def action_variant(self) -> None:
        if self._watch is not None:
            self._variant = neighbour(self._watch.variants, self._variant, 1)
            self._arrange()

    def action_beside(self) -> None:
        plot = self._plot
        if plot is not None:
            self._beside, self._variant = not self._beside, plot.variant
            self._arrange()

    def action_again(self) -> None:
        self._ask(at_once=True)

    def action_acknowledge(self) -> None:
        plot, row = self._plot, self._row
        if plot is None or row is None:
            return
        found = [each for each in self._alerts(plot, row.start) if each.acknowledged is None]
        if not found:
            self.say(
                f"no open alert at this point: go to one that is marked {MARK}",
                error=True,
            )
        elif not self._is_read_only():
            self._acknowledged(found)

    @work(group="acknowledge")
    async def _acknowledged(self, alerts: "Sequence[TrafficAlert]") -> None:
        for alert in alerts:
            ended = await run_command("monitor", "acknowledge", str(alert.id), store=self.assay.store.folder)
            if ended.code > 1:
                self.say(ended.complaint.split("\n")[0], error=True)
                return
        self.say("acknowledged")
        self.assay.store.touched()
        self._ask(at_once=True)

    def action_review(self, purpose: str) -> None:
        """Opens the run of this week's answers, once it is made."""
        from engine.traffic.periods import start_of

        plot = self._plot
        if plot is None:
            return
        start = start_of(self._starts[self._place], 7)
        known = (
            row
            for row in self._weeks
            if (row.variant, row.start, row.purpose) == (plot.variant, start, purpose)
        )
        row = next(known, None)
        if row is not None and (self.assay.store.read_only or row.made >= start + 7 * 86_400):
            self._open(row.run_id, purpose)
        elif not self._is_read_only():
            self.say("drawing the answers …")
            self._draw(plot.variant, start, purpose)

    @work(group="draw", exclusive=True)
    async def _draw(self, variant: str, start: float, purpose: str) -> None:
        words = ["traffic", "review", "--week", _day(start), f"--variant={variant}", "--detach", "--json"]
        ended = await run_command(
            *words, *(["--worst"] if purpose == "worst" else []), store=self.assay.store.folder
        )
        table = ended.table
        if table is None or "id" not in table:
            lines = ended.complaint.split("\n")
            self.say(lines[0], error=True) if len(lines) < 3 else self.app.push_screen(
                MessageScreen("The answers could not be drawn", ended.complaint)
            )
            return
        self.assay.store.touched()
        if self.assay.front is self:
            self._open(int(table["id"]), purpose)

    def _open(self, run_id: int, purpose: str) -> None:
        from tui.screens import load

        review: Any = load("review")
        self.app.push_screen(review(run_id, show="random" if purpose == "random" else "all"))

    def _is_read_only(self) -> bool:
        if self.assay.store.read_only:
            self.say("opened with --read-only: the store is left as it is", error=True)
        return self.assay.store.read_only


def _measures() -> "Sequence[Watched]":
    from engine.traffic.periods import MEASURES

    return MEASURES


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))


def _named(variant: str) -> str:
    return variant or "no variant"


def _figure(row: "PeriodRow | None", measure: str) -> "Figure | None":
    return None if row is None else row.figures.get(measure)


def _known(figure: "Figure | None") -> bool:
    return figure is not None and figure.value is not None


def _values(watch: "Watch", measure: str) -> tuple[float, ...]:
    """The values of all periods and variants, with the ends of their intervals."""
    figures = (row.figures.get(measure) for row in (*watch.rows, *watch.references.values()))
    known = [figure for figure in figures if figure is not None and figure.value is not None]
    return tuple(end for each in known for end in (each.value, each.low, each.high) if end is not None)


def _level(watch: "Watch", variant: str, measure: str) -> float | None:
    figure = _figure(watch.references.get(variant), measure)
    return None if figure is None or measure == "events" else figure.value


def _said(figure: "Figure | None", measure: "Watched") -> str:
    if figure is None or figure.value is None:
        return number(None)
    return f"{figure.value:,.0f}" if measure.unit in ("events", "characters") else number(figure.value)


def _told(alert: "TrafficAlert") -> Content:
    """An alert in one line: what it says of the cause, and whether somebody has seen it."""
    from engine.traffic.periods import CAUSES

    cause = CAUSES.get(alert.cause, alert.cause or "")
    if alert.acknowledged is None:
        seen = Content.styled(f"  {written('monitor.acknowledge')} acknowledges it", "$muted")
    else:
        seen = one_line(f"  seen by {alert.by or 'somebody'} on {_day(alert.acknowledged)}", "$muted")
    style = "bold $bad" if alert.acknowledged is None else "$muted"
    return join([Content.styled(f"{MARK} left its reference: ", style), one_line(cause, style), seen])
