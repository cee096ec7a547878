"""Monitor: production traffic over time, each measure a small plot with its band, and what the alerts tell.

The figures need libraries that have no place in the app's process: `assay monitor --json` gives them, in one
of its own, and what it gave last stays on the screen meanwhile.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from textual import work
from textual.app import ComposeResult
from textual.content import Content

from store.people import user_name
from tui.keys import bindings, written
from tui.screens.base import AssayScreen
from tui.screens.choosing import neighbour, run_command
from tui.text.gate import counted, cut, join, one_line, plain, wrap
from tui.widgets.lines import Line, Pane
from tui.widgets.panels import GAP, Panels
from tui.widgets.plot import MARK, Spot, small

if TYPE_CHECKING:
    from engine.traffic.periods import PeriodRow
    from store.read.history import Connection
    from store.read.weeks import WeekRow
    from store.records import TrafficAlert
    from tui.sections.monitor import MonitorSection, TrafficLine, VariantSection

WAIT_S = 15.0  # from one reading to the next, while events keep coming in
LEAST_PANEL, MOST_COLUMNS = 36, 4  # cells of a plot, and plots beside one another
LEAST_POINT = 7  # lines below the plots
WEEK, DAY_S = 7, 86_400.0
NO_TRAFFIC = (
    "There is no production traffic in this store yet. `assay traffic import FILE` reads what gateways log: "
    "JSON lines, CSV or Parquet, OpenAI-style requests, OpenTelemetry spans, exports of Langfuse, Phoenix, "
    "MLflow and LangSmith. `assay collect` takes events over HTTP. docs/monitoring.md is the walk."
)


class StoredTraffic(NamedTuple):
    """What the store says itself: of other traffic, alerts, weekly runs, and its eval set."""

    state: tuple[int | None, ...] = (None,)
    alerts: "Sequence[TrafficAlert]" = ()
    weeks: "Sequence[WeekRow]" = ()
    eval_set: str | None = None


class Plotted(NamedTuple):
    """One small plot: a measure of one variant. `ends` are all variants', so that their plots compare."""

    line: "TrafficLine"
    variant: str
    ends: tuple[float, ...]

    @property
    def key(self) -> tuple[str, str]:
        return self.line.measure.name, self.variant


class MonitorScreen(AssayScreen):
    NAME = "Monitor"
    FOOTER = (
        "monitor.worst", "monitor.random", "monitor.acknowledge", "monitor.later", "monitor.days",
        "monitor.variant", "monitor.beside", "monitor.proposals", "monitor.eval_set",
    )  # fmt: skip
    BINDINGS = bindings(
        "monitor.next", "monitor.previous", "monitor.later", "monitor.earlier", "monitor.last",
        "monitor.first", "monitor.worst", "monitor.random", "monitor.days", "monitor.variant",
        "monitor.beside", "monitor.acknowledge", "monitor.proposals", "monitor.eval_set", "monitor.again",
    )  # fmt: skip
    DEFAULT_CSS = """
    MonitorScreen #about, MonitorScreen #panels { padding: 0 1; }
    MonitorScreen #point { padding: 0 1; border-top: solid $rule; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._section: MonitorSection | None = None
        self._stored = StoredTraffic()
        self._plots: Sequence[Plotted] = ()
        self._starts: Sequence[float] = ()
        self._variant, self._days = "", WEEK
        self._at = 0  # the chosen plot
        self._start: float | None = None  # of the chosen period; None: the last
        self._is_beside = self._is_asking = self._is_stale = self._is_empty = False
        self._asked_at = float("-inf")
        self._complaint = ""

    def compose(self) -> ComposeResult:
        yield from self.framed(Line(id="about"), Panels(self._panel, id="panels"), Pane(id="point"))

    @property
    def panels(self) -> Panels:
        return self.query_one("#panels", Panels)

    # Reading

    def read(self, connection: "Connection") -> StoredTraffic:
        from store.read.monitor import alerts
        from store.read.weeks import eval_set, traffic_state, weeks

        found = alerts(connection, self._days)
        return StoredTraffic(traffic_state(connection), found, weeks(connection), eval_set(connection))

    def show(self, data: StoredTraffic) -> None:
        before, self._stored = self._stored, data
        self._is_empty = data.state[0] is None
        if self._is_empty:
            self._section = None
        else:
            kept = self._known()
            self._section = self._section or (kept[1] if kept is not None else None)
            is_new = (data.state, data.eval_set) != (before.state, before.eval_set)
            if is_new and (kept is None or kept[0] != data.state):
                self._ask()
        self._arrange()

    def show_nothing(self) -> None:
        self._is_empty = True
        self.redraw()

    @property
    def _eval_set(self) -> str:
        """What questions are compared with: the eval set that the person named, or the store's own."""
        return str(self.assay.kept.get("monitor.eval_set", self._stored.eval_set or ""))

    @property
    def _kept(self) -> str:
        return f"monitor {self._days} {self._eval_set}"

    def _known(self) -> "tuple[tuple[int | None, ...], MonitorSection] | None":
        """What was read last of these periods, and of which state of the store."""
        return cast("tuple[tuple[int | None, ...], MonitorSection] | None", self.assay.kept.get(self._kept))

    def _ask(self, *, at_once: bool = False) -> None:
        """Asks for the figures; while they keep changing, not without a pause."""
        self._is_stale = True
        wait = 0.0 if at_once else self._asked_at + WAIT_S - time.monotonic()
        if wait > 0:
            self.set_timer(wait, self._ask_if_stale)
        else:
            self._ask_if_stale()

    def _ask_if_stale(self) -> None:
        if self._is_stale and not self._is_asking:
            self._is_stale, self._is_asking = False, True
            self._read_figures()

    @work(group="monitor")
    async def _read_figures(self) -> None:
        days, kept, state = self._days, self._kept, self._stored.state
        self.redraw()
        compared = ("--eval", self._eval_set) if self._eval_set else ()
        words = ("monitor", "--days", str(days), *compared, "--json")
        try:
            ended = await run_command(*words, store=self.assay.store.folder)
        finally:
            self._is_asking, self._asked_at = False, time.monotonic()
        if not self.is_mounted or not self.query("#panels"):
            return
        if kept == self._kept:
            table = ended.table
            self._complaint = "" if table is not None else ended.complaint
            if table is not None:
                from engine.traffic.periods import watch_of
                from tui.sections.monitor import monitor

                table.pop("open", None)  # how many alerts are open
                watch = watch_of(table)
                self._section, self._stored = monitor(watch), self._stored._replace(alerts=watch.alerts)
                self.assay.kept[kept] = state, self._section
        self._arrange()
        if self._is_stale:
            self._ask(at_once=kept != self._kept)

    # What is shown

    def _arrange(self) -> None:
        """Makes the plots of what was read and of what the person chose."""
        from tui.sections.monitor import monitor

        before = self._plot.key if self._plot is not None else ("", self._variant)
        if self._section is not None:  # somebody may have seen to an alert meanwhile
            now = {alert.id: alert for alert in self._stored.alerts}
            told = self._section.watch.alerts
            if (alerts := [now.get(alert.id, alert) for alert in told]) != list(told):
                self._section = monitor(replace(self._section.watch, alerts=alerts))
        variants = list(self._section.variants) if self._section is not None else []
        names = [each.name for each in variants]
        if self._variant not in names:
            self._variant = names[0] if names else ""
        self._starts = sorted({row.start for each in variants for row in each.rows})
        shown = variants if self._is_beside else [each for each in variants if each.name == self._variant]
        groups = zip(*(each.lines for each in variants), strict=True)
        self._plots = [
            Plotted(line, each.name, ends)
            for place, group in enumerate(groups)
            if (ends := _ends(group))
            for each in shown
            for line in [each.lines[place]]
        ]
        keys = [plot.key for plot in self._plots]
        wanted = before if self._is_beside else (before[0], self._variant)
        self._at = keys.index(wanted) if wanted in keys else 0
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
    def _chosen_variant(self) -> "VariantSection | None":
        name = self._plot.variant if self._plot is not None else None
        return (
            next((each for each in self._section.variants if each.name == name), None)
            if self._section
            else None
        )

    @property
    def _row(self) -> "PeriodRow | None":
        """The chosen period of the chosen plot's variant."""
        variant = self._chosen_variant
        rows = variant.rows if variant is not None else ()
        return next((row for row in rows if row.start == self._starts[self._place]), None)

    @property
    def _columns(self) -> int:
        room = max(1, (self.size.width - 2 + GAP) // (LEAST_PANEL + GAP))
        many = len(self._section.variants) if self._is_beside and self._section else MOST_COLUMNS
        return min(room, many)

    def title_line(self) -> Content:
        if self._section is None or not self._plots:
            said = Content.styled("production traffic over time", "$muted")
        elif many := len(self._section.watch.open_alerts):
            said = Content.styled(f"{MARK} {counted(many, 'open alert')}", "bold $bad")
        else:
            said = Content("no open alert")
        return join([said, Content.styled("  reading …" if self._is_asking else "", "$muted")])

    def redraw(self) -> None:
        self.query_one("#point").styles.height = max(LEAST_POINT, self.size.height // 3 - 1)
        self.refresh_title()
        self.query_one("#about", Line).set(self._about())
        self.panels.show(len(self._plots), self._columns)
        self.panels.keep_in_sight(self._at)
        self._explain()

    def _about(self) -> Content:
        from tui.sections.monitor import day

        variant, section = self._chosen_variant, self._section
        if variant is None or section is None:
            return Content("")
        many = len(section.variants)
        at = f" {section.variants.index(variant) + 1} of {many}" if many > 1 else ""
        whose = join([one_line(cut(variant.title, 30), "bold"), at])
        parts = [
            f"{day(self._starts[0])} to {day(self._starts[-1])} by {'day' if self._days == 1 else 'week'}",
            f"{many} variants beside one another" if self._is_beside else whose,
            one_line(
                f"eval set {Path(section.watch.eval_set).name}" if section.watch.eval_set else "no eval set",
                "$muted",
            ),
            one_line(f"reference: {variant.reference_said}", "$muted"),
        ]
        return join(parts, " · ")

    def _panel(self, place: int, width: int, height: int) -> list[Content]:
        """A measure's name and its latest figure over its plot, in which the chosen period is marked."""
        from tui.sections.monitor import value_said

        plot, is_chosen, shown = self._plots[place], place == self._at, self._window(width)
        line, figures = plot.line, [plot.line.figures.get(start) for start in self._starts]
        measure, latest = line.measure, figures[-1]
        value = value_said(latest.value if latest is not None else None, measure.unit)
        is_open = any(alert.acknowledged is None for alert in line.alerts.values())
        mark = Content.styled(f" {MARK}", "bold $bad") if is_open else f" {'✓' if line.alerts else ''}"
        name = f"{plot.variant or '–'}: {measure.title}" if self._is_beside else measure.title
        title = plain(cut(name, width - len(value) - 5), "bold reverse" if is_chosen else "bold")
        spots = [
            Spot(
                *((None,) * 3 if figure is None else (figure.value, figure.low, figure.high)),
                joined=all(each is not None and each.value is not None for each in figures[at - 1 : at + 1])
                and at > shown.start,
                name="",
                marked=self._starts[at] in line.alerts,
            )
            for at, figure in ((at, figures[at]) for at in shown)
        ]
        lines = small(
            spots, width, height - 1 - (height > 6), plot.ends, ascii=self.assay.ascii,
            written=lambda end: value_said(end, measure.unit),
            level=line.reference.value if line.reference is not None else None,
            chosen=self._place - shown.start if is_chosen else None,
        )  # fmt: skip
        return [join(["›" if is_chosen else " ", title, f"  {value}", mark]), *lines]

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

    def _point(self) -> Iterator[Content]:
        from engine.traffic.periods import QUESTIONS
        from tui.sections.monitor import alert_said, day

        plot, section = self._plot, self._section
        if self._complaint:
            yield plain(self._complaint, "$bad")
        if self._is_empty:
            yield plain(NO_TRAFFIC)
        if plot is None or section is None:
            yield Content.styled("reading the traffic …" if self._is_asking else "", "$muted")
            return
        yield self._figure(plot)
        alerts = self._alerts(plot)
        here = self._starts[self._place]
        since = {alert.start: f"from {day(alert.start)} on, " for alert in alerts if alert.start != here}
        told = [_told(alert, since.get(alert.start, "") + alert_said(alert)) for alert in alerts]
        own = len(told) - (bool(alerts) and alerts[-1].measure == QUESTIONS)
        yield from told[:own]
        yield self._reviews(plot.variant)
        row = self._row
        if row is not None:
            models = ", ".join(f"{name} {count:,}" for name, count in row.models.items())
            events = f"{counted(row.events, 'event')}, users or sessions: {row.units:,}"
            yield one_line(f"{events} · {models}", "$muted")
        yield from told[own:]
        for cluster in section.watch.uncovered:
            yield join(
                [
                    Content.styled("not in the eval set: ", "$warn"),
                    one_line(f"“{cut(cluster.name, 40)}”", "bold"),
                    one_line(f", {counted(cluster.events, 'question')} since {day(cluster.first)}"),
                ]
            )
        variant = self._chosen_variant
        for line in variant.lines if variant is not None else ():
            if not line.is_known:
                yield one_line(f"{line.measure.title}: {line.reason}", "$muted")

    def _alerts(self, plot: Plotted) -> "list[TrafficAlert]":
        """The alerts on the chosen point: its measure's, then that on the period's questions."""
        from engine.traffic.periods import QUESTIONS

        start = self._starts[self._place]
        alerts = self._section.watch.alerts if self._section is not None else ()
        asked = (
            alert
            for alert in alerts
            if (alert.variant, alert.measure) == (plot.variant, QUESTIONS)
            and alert.start <= start < alert.evidence["until"]
        )
        own = plot.line.alerts.get(start)
        return [*([own] if own is not None else []), *asked]

    def _figure(self, plot: Plotted) -> Content:
        from tui.sections.monitor import day, figure_said, value_said

        start, measure = self._starts[self._place], plot.line.measure
        figure, reference = plot.line.figures.get(start), plot.line.reference
        said: list[Content | str] = [
            one_line(measure.title, "bold"),
            f"{'' if self._days == 1 else 'week of '}{day(start)}",
        ]
        if figure is None or figure.value is None:
            said.append(one_line(f"missing: {figure.reason if figure is not None else 'no events'}", "$warn"))
        else:
            among = "" if measure.unit == "events" else f" of {figure.n:,}"
            said.append(f"{figure_said(figure, measure.unit)}{among}")
        if reference is not None:
            said.append(Content.styled(f"reference {value_said(reference.value, measure.unit)}", "$muted"))
        row = self._row
        if row is not None and not row.is_over:
            said.append(Content.styled("not over, so not tested", "$muted"))
        return join(said, " · ")

    def _reviews(self, variant: str) -> Content:
        """The runs that were made of this week's answers, and the keys that open or make them."""
        parts = []
        for purpose, key in (("worst", "monitor.worst"), ("random", "monitor.random")):
            row = self._week(variant, purpose)
            said = "not drawn"
            if row is not None:
                said = f"run {row.run_id}, {row.labelled} of {row.n} labelled"
                said += f", {row.up} of {row.up + row.down} good" if row.up + row.down else ""
                said += f", {row.graded} judged" if row.graded else ""
            parts.append(join([Content.styled(written(key), "$key"), f" {purpose}: {said}"]))
        return join(["this week's answers: ", join(parts, " · ")])

    def _week(self, variant: str, purpose: str) -> "WeekRow | None":
        from engine.traffic.periods import start_of

        of = (start_of(self._starts[self._place], WEEK), variant, purpose)
        return next((row for row in self._stored.weeks if (row.start, row.variant, row.purpose) == of), None)

    # Choosing

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
        self._to(self._place + step)

    def action_edge(self, place: int) -> None:
        self._to(place % max(1, len(self._starts)))

    def _to(self, place: int) -> None:
        if not 0 <= place < len(self._starts):
            return
        before = self._window(self.panels.block_width)
        self._start = self._starts[place]
        # The other plots change only where all of them move on.
        stays = before == self._window(self.panels.block_width)
        self.panels.changed(*([self._at] if stays else []))
        self._explain()

    def action_days(self) -> None:
        self._days = 1 if self._days == WEEK else WEEK
        kept = self._known()
        self._section = kept[1] if kept is not None else None
        self._arrange()
        self._ask(at_once=True)
        self.reload()

    def action_variant(self) -> None:
        if self._section is not None and not self._is_beside:
            self._variant = neighbour([each.name for each in self._section.variants], self._variant, 1)
            self._arrange()

    def action_beside(self) -> None:
        if self._plot is not None:
            self._is_beside, self._variant = not self._is_beside, self._plot.variant
            self._arrange()

    def action_eval_set(self) -> None:
        def answered(text: str) -> None:
            self.assay.kept["monitor.eval_set"] = str(Path(text.strip()).expanduser()) if text.strip() else ""
            self._ask(at_once=True)

        self.ask("eval set that the questions are compared with", answered, value=self._eval_set)

    def action_again(self) -> None:
        self._ask(at_once=True)

    # Acting

    def action_acknowledge(self) -> None:
        from store.monitor import acknowledge

        if self._plot is None or self._is_read_only():
            return
        found = next((each for each in self._alerts(self._plot) if each.acknowledged is None), None)
        if found is None:
            self.say(f"no open alert at this point: go to one that is marked {MARK}", error=True)
        else:
            self.write(acknowledge, found.id, user_name(), done=f"alert {found.id} is acknowledged")

    def action_review(self, purpose: str) -> None:
        """Opens the run of this week's answers, which a command makes first where there is none."""
        from engine.traffic.periods import start_of

        if self._plot is None:
            return
        start, row = start_of(self._starts[self._place], WEEK), self._week(self._plot.variant, purpose)
        if row is not None and (self.assay.store.read_only or row.made >= start + WEEK * DAY_S):
            self._open(row.run_id, purpose)
        elif not self._is_read_only():
            self.say("drawing the answers …")
            self._draw(self._plot.variant, start, purpose)

    @work(group="draw", exclusive=True)
    async def _draw(self, variant: str, start: float, purpose: str) -> None:
        from tui.sections.monitor import day

        words = ["traffic", "review", "--week", day(start), f"--variant={variant}", "--detach", "--json"]
        words += ["--worst"] if purpose == "worst" else []
        ended = await run_command(*words, store=self.assay.store.folder)
        if ended.table is None:
            self.say(ended.complaint.split("\n")[0], error=True)
            return
        self.assay.store.touched()
        if self.assay.front is self:
            self._open(int(ended.table["id"]), purpose)

    def _open(self, run_id: int, purpose: str) -> None:
        from tui.screens import load

        review: Any = load("review")
        self.app.push_screen(review(run_id, show="random" if purpose == "random" else "all"))

    def _is_read_only(self) -> bool:
        if self.assay.store.read_only:
            self.say("opened with --read-only: the store is left as it is", error=True)
        return self.assay.store.read_only


def _ends(lines: "Sequence[TrafficLine]") -> tuple[float, ...]:
    """All values of a measure, with the ends of their intervals."""
    figures = [figure for line in lines for figure in (*line.figures.values(), line.reference)]
    known = [figure for figure in figures if figure is not None and figure.value is not None]
    return tuple(end for each in known for end in (each.value, each.low, each.high) if end is not None)


def _told(alert: "TrafficAlert", said: str) -> Content:
    """What an alert says, and whether somebody has seen to it."""
    if alert.acknowledged is not None:
        return one_line(f"✓ {said}, acknowledged by {alert.by or 'somebody'}", "$muted")
    return join(
        [
            Content.styled(f"{MARK} ", "bold $bad"),
            one_line(said),
            Content.styled(f"  {written('monitor.acknowledge')} acknowledges it", "$muted"),
        ]
    )
