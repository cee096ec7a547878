"""Map: what the candidates of a run gained against what they forgot, the best of both marked."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content
from textual.events import Resize

from engine.decision.decision import Coordinate, SweepPoint, TradeOff, trade_off, verdicts
from engine.decision.facts import cases, read
from engine.gates.figures import interval, number
from engine.plan.training_config import Value, written
from store.read.history import Connection, models
from store.read.query import by_key
from tui.keys import bindings
from tui.screens.base import WORDS, RunScreen
from tui.sections.overview import cut_reason
from tui.text.gate import counted, cut, fit, join, plain, wrap
from tui.widgets.lines import Line, Pane
from tui.widgets.plot import Axis, Dot, axis, nearest, scatter

FEWEST = 2  # candidates that can be set against each other
VIEWS = ("all", "rank", "lr", "step")
SETTINGS = {"rank": "rank", "lr": "learning rate"}
ROOMY = 20  # lines of terminal from which on the figures may take two
BESIDE = 110  # cells from which on what is not drawn stands beside the map
_MARKS, _GATES = ("●", "o"), ("┄ ┊ gates", "= ! gates")  # as they are drawn, and in ASCII
PANEL = (26, 7)  # cells and lines of a panel at least
NO_STEP = "neither its name nor its folder tells a step: checkpoint-200 would"


class Panel(NamedTuple):
    """One picture: the points that it shows, where each lies, and its axes."""

    title: str
    points: tuple[SweepPoint, ...]
    dots: tuple[Dot, ...]
    x: Axis
    y: Axis
    joined: bool = True


class MapScreen(RunScreen):
    NAME = "Map"
    AUTO_FOCUS = ""
    FOOTER = ("move.open", "map.next", "map.by")
    BINDINGS = bindings(
        "map.left", "map.right", "map.up", "map.down", "map.next", "map.previous", "map.by", "move.open",
    )  # fmt: skip
    DEFAULT_CSS = """
    MapScreen #axes { padding: 0 1; }
    MapScreen #area { height: 1fr; }
    MapScreen #map { padding: 0 1; width: 1fr; }
    MapScreen #point { height: 3; padding: 0 1; border-top: solid $rule; }
    MapScreen #missing { padding: 0 1; }
    """

    def __init__(self, run_id: int) -> None:
        super().__init__(run_id)
        self._found: TradeOff | None = None
        self._cut: list[tuple[str, str]] = []  # checkpoints that the sweep left out, and why
        self._view = VIEWS[0]
        self._arranged: object = None

    def compose(self) -> ComposeResult:
        yield from self.framed(
            Line(id="axes"),
            Container(Pane(id="map"), Pane(focusable=True, id="missing"), id="area"),
            Pane(id="point"),
        )

    def read_run(self, connection: Connection) -> tuple[TradeOff, list[tuple[str, str]]]:
        found = cases(read(connection, self.run_id))
        cut = [(model.name, cut_reason(model)) for model in models(connection, self.run_id) if model.is_cut]
        return trade_off(found, verdicts(found, None)), cut

    def show_run(self, data: tuple[TradeOff, list[tuple[str, str]]]) -> None:
        self._found, self._cut = data
        self.redraw()

    def on_resize(self, event: Resize) -> None:
        super().on_resize(event)
        self.call_after_refresh(self.redraw)

    # What is drawn

    @property
    def _points(self) -> list[SweepPoint]:
        """The points that this view can draw, in order."""
        return [point for point in self._found.points if self._why(point) is None] if self._found else []

    def _why(self, point: SweepPoint) -> str | None:
        """Why a point is not drawn in this view."""
        if self._view != "step":
            return point.reason
        if point.gain.value is None:
            return point.gain.reason
        return NO_STEP if point.step is None else None

    @property
    def _panels(self) -> list[Panel]:
        found, points = self._found, self._points
        if found is None or len(points) < FEWEST:
            return []
        up = axis([_known(point.gain) for point in points], found.even, found.least_gain)
        if self._view == "step":
            across = axis([float(point.step or 0) for point in points])
            gained = _panel(f"gain: {found.gain}", points, across, up, _step, lambda point: point.gain)
            lost = [point for point in points if point.forgotten.value is not None]
            if not lost:
                return [gained]
            depth = axis([_known(point.forgotten) for point in lost], 0.0, found.most_forgotten)
            told = f"forgetting: {found.forgotten}"
            return [gained, _panel(told, lost, across, depth, _step, lambda point: point.forgotten)]
        across = axis([_known(point.forgotten) for point in points], 0.0, found.most_forgotten)
        groups = {"": points} if self._view == "all" else self._groups(points)
        return [
            _panel(title, own, across, up, _forgotten, lambda point: point.gain)
            for title, own in groups.items()
        ]

    def _groups(self, points: Sequence[SweepPoint]) -> dict[str, list[SweepPoint]]:
        """The points by a training setting, from the least on; those of which it is not known last."""

        name, groups = SETTINGS[self._view], by_key((getattr(point, self._view), point) for point in points)
        return {
            f"{name} {'not recorded' if value is None else written(value)} ({len(own)})": own
            for value, own in sorted(groups.items(), key=lambda item: _place(item[0]))
        }

    @property
    def _chosen(self) -> SweepPoint | None:
        """The candidate in hand, or the first where that one is not drawn."""
        points = self._points
        mine = (point for point in points if point.candidate == self.hand.candidate)
        return next(mine, next(iter(points), None))

    # Drawing

    def redraw(self) -> None:
        if self._found is None:
            return
        width, panels = self.size.width, self._panels
        missing = [(point.candidate, why) for point in self._found.points if (why := self._why(point))]
        told = self._missing([*missing, *self._cut])
        self._arrange(told, width >= BESIDE)
        self.query_one("#axes", Line).set(self._axes(panels))
        area = self.query_one("#map", Pane)
        area.show(self._drawn(panels, area.size.width, area.size.height) if panels else [self._too_few()])
        self.query_one("#point", Pane).show(self._told(width - 2) if panels else [], keep_place=False)

    def _arrange(self, told: Sequence[Content], is_wide: bool) -> None:
        """What is not drawn stands beside the map, or below it where the screen is narrow."""
        pane, area = self.query_one("#missing", Pane), self.query_one("#area")
        pane.display = bool(told)
        pane.show(told)
        room = min(len(told), max(1, (self.size.height - 6) // 4))
        self.query_one("#point").styles.height = 4 if self.size.height >= ROOMY else 3
        arranged = (bool(told), is_wide, room, self.size)
        if arranged != self._arranged:
            self._arranged = arranged
            area.styles.layout = "horizontal" if is_wide else "vertical"
            pane.styles.width = self.size.width // 3 if is_wide else "100%"
            pane.styles.height = "100%" if is_wide else room
            self.call_after_refresh(self.redraw)  # the map's size is known once it is laid out

    def _too_few(self) -> Content:
        count, known = len(self._found.points) if self._found else 0, len(self._points)
        what = "gain is known" if self._view == "step" else "gain and forgetting are known"
        has = f"this run has {count or 'none'}" if count < FEWEST else f"{what} of {known or 'none'}"
        return Content.styled(f"the map needs {FEWEST} candidates: {has}", "$muted")

    def _axes(self, panels: Sequence[Panel]) -> Content:
        """In which view, and what lies on the axes."""
        found = self._found
        if found is None or not panels:
            return Content("")
        over = self._view == "step"
        view = "over steps" if over else f"by {SETTINGS[self._view]}" if self._view in SETTINGS else "all"
        gates = (found.least_gain, found.most_forgotten) != (None, None)
        parts = [
            *([] if over else [f"↑ gain: {found.gain}", f"→ forgetting: {found.forgotten}"]),
            f"{_MARKS[self.assay.ascii]} on the front",
            *([_GATES[self.assay.ascii]] if gates else []),
        ]
        return join([plain(view, "bold"), *(plain(part, "$muted") for part in parts)], "  ")

    def _drawn(self, panels: Sequence[Panel], width: int, height: int) -> list[Content]:
        """As many panels as there is room for, that of the cursor among them."""
        chosen = self._chosen
        across = max(1, min(len(panels), width // PANEL[0]))
        down = max(1, min(-(-len(panels) // across), height // PANEL[1]))
        at = next((place for place, panel in enumerate(panels) if chosen in panel.points), 0) // across
        first = max(0, min(at - down // 2, -(-len(panels) // across) - down)) * across
        lines: list[Content] = []
        cells, high = width // across - (across > 1), height // down
        for start in range(first, first + down * across, across):
            bank = [self._panel_lines(panel, chosen, cells, high) for panel in panels[start : start + across]]
            lines += [join([fit(line, cells) for line in row], " ") for row in zip(*bank, strict=True)]
        return lines

    def _panel_lines(self, panel: Panel, chosen: SweepPoint | None, width: int, height: int) -> list[Content]:
        place = panel.points.index(chosen) if chosen is not None and chosen in panel.points else None
        title = [plain(cut(panel.title, width), "$heading")] if panel.title else []
        drawn = scatter(
            panel.dots, panel.x, panel.y, width, height - len(title),
            chosen=place, joined=panel.joined, ascii=self.assay.ascii,
        )  # fmt: skip
        return [*title, *drawn][:height]

    def _told(self, width: int) -> list[Content]:
        """The candidate under the cursor: its settings, its verdict and both figures."""
        point, found = self._chosen, self._found
        if point is None or found is None:
            return []
        settings = [
            f"{name} {written(value)}"
            for name, value in (("step", point.step), ("rank", point.rank), ("lr", point.lr))
            if value is not None
        ]
        front = "on the front" if point.is_front else ""
        word = Content.styled(*WORDS[point.word])
        tail = join([word, *(plain(part, "$muted") for part in (*settings, front) if part)], "  ")
        name = plain(self.short(point.candidate, max(8, width - tail.cell_length - 2)), "bold")
        signed = found.even == 0
        here = [(each.gain.value, each.forgotten.value) for each in self._points]
        more = here.count((point.gain.value, point.forgotten.value)) - 1
        figures = f"gain {_figure(point.gain, signed)}  forgetting {_figure(point.forgotten, True)}"
        figures += f"  {counted(more, 'other candidate')} here" if more else ""
        return [join([name, tail], "  "), *wrap(plain(figures), width)]

    def _missing(self, found: Sequence[tuple[str, str]]) -> list[Content]:
        if not found:
            return []
        width = (self.size.width // 3 if self.size.width >= BESIDE else self.size.width) - 2
        lines = [plain(cut(f"not drawn: {counted(len(found), 'candidate')}", width), "$heading")]
        for name, why in found:
            said = join([plain(self.short(name, width // 2), "bold"), plain(f" {why}", "$muted")])
            lines += wrap(said, width)
        return lines

    # Moving

    def action_by(self) -> None:
        self._view = VIEWS[(VIEWS.index(self._view) + 1) % len(VIEWS)]
        self.redraw()

    def action_candidate(self, step: int) -> None:
        points, chosen = self._points, self._chosen
        if chosen is not None:
            self._take(points[(points.index(chosen) + step) % len(points)])

    def action_across(self, right: int, up: int) -> None:
        """The nearest point in this direction; sideways on to the next panel where there is none."""
        chosen, panels = self._chosen, self._panels
        place = next((at for at, panel in enumerate(panels) if chosen in panel.points), None)
        if chosen is None or place is None:
            return
        panel = panels[place]
        at = panel.points.index(chosen)
        to = nearest(panel.dots, at, panel.x, panel.y, (right, up))
        if to != at:
            self._take(panel.points[to])
        elif right and self._view in SETTINGS and 0 <= place + right < len(panels):
            self._take(panels[place + right].points[0])

    def _take(self, point: SweepPoint) -> None:
        self.hand.take(point.candidate)
        self.refresh_title()
        self.redraw()

    def action_open(self) -> None:
        """The decision on this candidate."""
        from tui.screens.decision import DecisionScreen

        if (point := self._chosen) is not None:
            self.hand.take(point.candidate)
            self.app.push_screen(DecisionScreen(self.run_id))


def _panel(
    title: str,
    points: Iterable[SweepPoint],
    x: Axis,
    y: Axis,
    across: Callable[[SweepPoint], float],
    up: Callable[[SweepPoint], Coordinate],
) -> Panel:
    found = tuple(points)
    dots = tuple(Dot(across(point), _known(up(point)), point.is_front) for point in found)
    return Panel(title, found, dots, x, y, joined=across is not _step)


def _place(value: Value) -> tuple[bool, bool, float, str]:
    """Numbers by their size, then words, then what is not recorded."""
    known = value if isinstance(value, int | float) else None
    return value is None, known is None, float(known or 0), str(value)


def _forgotten(point: SweepPoint) -> float:
    return _known(point.forgotten)


def _step(point: SweepPoint) -> float:
    return float(point.step or 0)


def _known(found: Coordinate) -> float:
    assert found.value is not None  # what is missing is not drawn
    return found.value


def _figure(found: Coordinate, signed: bool) -> str:
    if found.value is None:
        return f"missing: {found.reason}"
    return f"{number(found.value, signed)} {interval(found.low, found.high, signed)} {found.standing}".strip()
