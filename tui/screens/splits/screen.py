"""Splits: whether the eval set can be believed: what leaked, what it covers, who looked, its versions."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from textual import work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.events import Resize

from engine.stats.family import smallest_change
from store.read import datasets
from store.read.history import Connection
from store.records import Exclusion
from tui.keys import bindings
from tui.screens.base import RunScreen
from tui.screens.choosing import FilteredScreen
from tui.screens.splits.data import (
    Known,
    LeakEntry,
    SplitsData,
    around,
    put_back,
    read_data,
    read_leaks,
    toggle,
)
from tui.screens.splits.parts import (
    CoveragePart,
    LeakPair,
    LeaksPart,
    LockPart,
    SizesPart,
    SplitsPart,
    VersionsPart,
    by_tier,
    flow,
    pair,
    times,
)
from tui.screens.watch import StoreFailed
from tui.text.gate import MISSING, counted, fit, join, plain
from tui.widgets.lines import Line, Pane
from tui.widgets.rows import Rows

# How a tier is called in a sentence.
_TIERS = {"identical": "identical", "near": "near", "ngram": "long shared n-gram", "meaning": "same meaning"}


def judgement(data: SplitsData, width: int) -> list[Content]:
    """Whether the eval set can be trusted: what leaked, how often it was looked at, what it can show."""
    if not data.summary or data.eval_set is None:
        return list(plain(data.unread, "$muted").wrap(max(1, width)))
    rest = []
    if answers := data.summary.get("answers_seen"):
        rest.append(plain(f"{counted(answers, 'answer')} also in training"))
    if similar := data.summary.get("similar"):
        rest.append(plain(f"{similar:,} only similar"))
    uses = sum(use.split == "test" for use in data.uses)
    rest.append(plain(f"test split used {times(uses)}") if uses else plain("test split not used yet"))
    rest += _power(data.summary)
    if data.pending:
        rest.append(plain(f"× {len(data.pending):,} excluded", "$good"))
    return [*flow(_leaked(data, width), width), *flow(rest, width)]


def _leaked(data: SplitsData, width: int) -> list[Content]:
    """How many of the evaluated examples stand in the training data, by tier; unsearched is not clean."""
    summary = data.summary or {}
    if not summary.get("training"):
        return [plain("? leaks were not searched for: the plan names no training data", "$warn")]
    evaluated = summary.get("selected")
    total = MISSING if evaluated is None else f"{evaluated:,}"
    tiers = by_tier(data)
    leaked = sum(tiers.values())
    # Runs before tiers were counted searched for identical texts alone.
    searched = summary.get("leaks_by_tier")
    only = " (searched: identical texts)" if searched is None else ""
    if isinstance(searched, Mapping) and searched.get("meaning", 0) is None:
        only = " (same meaning: not searched)"
    if not leaked:
        return [plain(f"+ none of the {total} evaluated examples leaked{only}", "bold $good")]
    named = ", ".join(f"{count:,} {_TIERS[tier]}" for tier, count in tiers.items() if count)
    said = f"! {leaked:,} of {total} evaluated examples leaked: {named}{only}"
    if len(said) > width:
        said = said.replace(" evaluated examples", "")
    return [plain(said, "bold $bad")]


def _power(summary: Mapping[str, Any]) -> list[Content]:
    """The smallest change that so many examples can show."""
    count = summary.get("selected")
    if not count:
        return []
    change = summary.get("detectable") or smallest_change(count)
    return [plain(f"with {counted(count, 'example')} you can see a {change * 100:.0f}-point change")]


def tabs(parts: Sequence[SplitsPart], chosen: int) -> Content:
    """The parts' names with their keys and counts; brackets mark the one that is shown."""
    named = []
    for place, part in enumerate(parts):
        count = Content.styled(f" {part.note}", "$muted") if part.note else Content("")
        name = join([Content.styled(str(place + 1), "$key"), f" {part.name}", count])
        shown = place == chosen
        named.append(join(["[", name.stylize("bold"), "]"]) if shown else join([" ", name, " "]))
    return join(named, " ")


def glance(parts: Sequence[SplitsPart], chosen: int, width: int, height: int) -> list[Content]:
    """The parts that are not shown, each with its first rows, a blank line between them."""
    others = [(place, part) for place, part in enumerate(parts) if place != chosen]
    free = height - len(others) + 1
    rooms: dict[int, int] = {}
    # What needs the least is served first, and leaves to the others what it does not need.
    for left, (need, place) in enumerate(sorted((_need(part), place) for place, part in others)):
        rooms[place] = min(need, free // (len(others) - left))
        free -= rooms[place]
    lines = [
        line for place, part in others for line in [*_glance(place, part, width, rooms[place]), Content("")]
    ]
    return lines[:-1]


def _need(part: SplitsPart) -> int:
    """Lines to say all of a part."""
    return 3 + max(1, len(part.items))


def _glance(place: int, part: SplitsPart, width: int, room: int) -> list[Content]:
    """A part's name, its words, and its first rows with how many more there are."""
    key = Content.styled(str(place + 1), "$key")
    head = join([key, Content.styled(f" {part.name}", "bold"), Content.styled(f" {part.note}", "$muted")])
    if not part.items:
        return [head, *plain(part.empty, "$muted").wrap(max(1, width))][:room]
    above = [head, part.said(width), part.heading(width)]
    free = max(0, room - len(above))
    shown = part.items if len(part.items) <= free else part.items[: max(0, free - 1)]
    rows = [part.row(item, width) for item in shown]
    if len(shown) < len(part.items):
        rows.append(Content.styled(f"… {len(part.items) - len(shown):,} more", "$muted"))
    return [fit(line, width) for line in [*above, *rows][:room]]


SETTLE_SECONDS = 0.2  # the cursor rests so long before what stands below the list follows it
WIDE = 140  # cells from which on the other parts stand beside the one that is shown
OTHERS = 66


class SplitsScreen(FilteredScreen, RunScreen):
    """One part at a time, and on a wide screen the others at a glance."""

    NAME = "Splits"
    AUTO_FOCUS = "#list"
    FILTER = "filter: words, tier:near, field:both"
    FOOTER = ("splits.exclude", "splits.next", "find.filter", "move.open", "splits.undo")
    BINDINGS = bindings(
        "splits.exclude", "splits.undo", "splits.next", "splits.previous", "splits.leaks", "splits.sizes",
        "splits.coverage", "splits.lock", "splits.versions", "find.filter",
    )  # fmt: skip
    DEFAULT_CSS = """
    SplitsScreen #judgement { background: $panel; padding: 0 1; }
    SplitsScreen #above { padding: 0 0 0 1; height: 2; }
    SplitsScreen #about { padding: 0 1; height: 45%; border-top: solid $rule; }
    SplitsScreen #others { padding: 0 1; border-left: solid $rule; width: 66; }
    """

    def __init__(self, run_id: int) -> None:
        super().__init__(run_id)
        self._data = SplitsData()
        self._place = 0  # of the part that is shown
        self._cursors: dict[int, int] = {}  # by part
        self._known: Known = {}
        self._near: dict[int, LeakEntry] = {}
        self._pair: LeakPair | None = None
        self._parts: list[SplitsPart] = []
        self._described: Hashable = None  # the part and item that stand below the list

    def compose(self) -> ComposeResult:
        part = Vertical(
            Pane(id="above"),
            Rows(self._row, empty="", id="list"),
            Pane(focusable=True, id="about"),
        )
        yield from self.framed(Pane(id="judgement"), Line(id="parts"), Horizontal(part, Pane(id="others")))

    @property
    def rows(self) -> "Rows[object]":
        return self.query_one("#list", Rows)

    @property
    def _part(self) -> SplitsPart:
        return self._parts[self._place]

    # Reading and showing

    def read_run(self, connection: Connection) -> SplitsData:
        return read_data(connection, self.run_id, self._search, self._cursors.get(0, 0), self._known)

    def show_run(self, data: SplitsData) -> None:
        first = not self._parts
        self._data = data
        self._near.clear()
        self._near.update(data.near)
        if first and data.summary and not data.leaks:
            self._place = 1
        self._draw()

    def on_resize(self, event: Resize) -> None:
        super().on_resize(event)
        # Heights depend on the terminal alone: each change of the layout writes the whole screen anew.
        self.query_one("#others").display = self.size.width >= WIDE
        self.query_one("#judgement").styles.height = 2 if self.size.width >= WIDE else 3
        self.call_after_refresh(self._draw)

    def minute(self) -> None:
        self._draw()

    def _draw(self, *, other: bool = False) -> None:
        """Shows everything anew; with `other` the part is not the one whose rows stand there."""
        if self.run is None:
            return
        now = self.assay.now()
        data = self._data
        leaks = LeaksPart(data, self._near, self._pair)
        other = other or not self._parts
        self._parts = [
            leaks,
            SizesPart(data),
            CoveragePart(data),
            LockPart(data, now),
            VersionsPart(data, now),
        ]
        self.query_one("#judgement", Pane).show(judgement(data, self.size.width - 2))
        self.query_one("#parts", Line).set(tabs(self._parts, self._place))
        self._draw_part(other=other)
        if self.size.width >= WIDE:
            others = self.query_one("#others", Pane)
            others.show(glance(self._parts, self._place, OTHERS - 3, others.size.height))

    def _draw_part(self, *, other: bool) -> None:
        part, width = self._part, self._width - 2
        heading = join([" ", part.heading(width)])
        self.query_one("#above", Pane).show([part.said(width), heading])
        self.rows.show(part.items, empty=part.empty, key=None if other else part.key)
        if other:
            self.rows.go_to(self._cursors.get(self._place, 0))
        self._draw_about()
        self._load()

    @property
    def _width(self) -> int:
        """Cells for the part that is shown."""
        return self.size.width - OTHERS if self.size.width >= WIDE else self.size.width

    def _row(self, item: object, width: int) -> Content:
        return self._part.row(item, width)

    def _draw_about(self) -> None:
        item, part = self.rows.item, self._part
        lines = part.about(item, self._width - 2) if item is not None else []
        if isinstance(part, LeaksPart) and isinstance(item, int) and not lines:
            self._read_pair(item)
            return
        described = (self._place, part.key(item) if item is not None else None)
        self.query_one("#about", Pane).show(lines, keep_place=described == self._described)
        self._described = described

    @work(group="pair", exclusive=True)
    async def _read_pair(self, leak: int) -> None:
        with suppress(StoreFailed):  # what failed is said when the screen itself is read
            self._pair = await self.assay.store.ask(
                lambda connection: pair(datasets.leak_texts(connection, leak))
            )
            leaks = self._parts[0]
            assert isinstance(leaks, LeaksPart)
            leaks.pair = self._pair
            if self._place == 0 and self.rows.item == leak:
                self._draw_about()

    @work(group="near", exclusive=True)
    async def _read_near(self) -> None:
        """Loads the leaks around the cursor, and forgets those far from it."""
        wanted = around(self._data.leaks, self.rows.cursor)
        with suppress(StoreFailed):
            found = await self.assay.store.ask(
                read_leaks, [leak for leak in wanted if leak not in self._near]
            )
            kept = {leak: self._near[leak] for leak in wanted if leak in self._near}
            self._near.clear()
            self._near.update(kept | found)
            self.rows.redraw()

    def on_rows_moved(self, event: Rows.Moved) -> None:
        """What stands below follows once the cursor rests: holding a key writes two lines a step."""
        if not self._parts:
            return
        self._cursors[self._place] = self.rows.cursor
        self._load()
        item = self.rows.item
        self.set_timer(SETTLE_SECONDS, lambda: self._draw_about() if self.rows.item == item else None)

    def _load(self) -> None:
        """Reads the leaks that a screen further down or up would show, unless they are at hand."""
        if self._place == 0:
            top, height = self.rows.top, self.rows.size.height
            seen = self._data.leaks[max(0, top - height) : top + 2 * height]
            if any(leak not in self._near for leak in seen):
                self._read_near()

    # Going from part to part

    def action_part(self, step: int) -> None:
        self._show((self._place + step) % len(self._parts) if self._parts else 0)

    def action_part_at(self, place: int) -> None:
        self._show(place)

    def _show(self, place: int) -> None:
        if not self._parts or place == self._place:
            return
        self._place = place
        self.set_focus(self.rows)
        self._draw(other=True)

    def on_rows_opened(self, event: Rows.Opened) -> None:
        """The answers to the leaked example."""
        from tui.screens.review.screen import ReviewScreen

        leak = self._leak
        if leak is None:
            self.say("enter opens the answers to a leaked example")
            return
        self.app.push_screen(ReviewScreen(self.run_id, search=leak.row.example))

    @property
    def _leak(self) -> LeakEntry | None:
        """The leak under the cursor, when the leaks are shown."""
        item = self.rows.item
        return self._near.get(item) if self._place == 0 and isinstance(item, int) else None

    # Excluding

    def action_exclude(self) -> None:
        """Takes the example under the cursor out of later runs, or puts it back."""
        item, leak = self.rows.item, self._leak
        if leak is not None and self._data.eval_set is not None:
            why = f"leaked: {leak.row.tier}, training line {leak.row.train_line}"
            self._record(toggle, self._data.eval_set, leak.identity, why)
        elif isinstance(item, Exclusion):
            self._record(toggle, item.eval_set, (item.example, item.query_hash))
        else:
            self.say("x excludes a leaked example, or restores an excluded one under versions")

    def action_undo(self) -> None:
        """Puts back the example that this person took out last."""
        self._record(put_back, [version.row.version for version in self._data.versions])

    @work(group="record")
    async def _record(self, change: Callable[..., str], *values: object) -> None:
        """Writes, shows what is written, and says what it means."""
        try:
            said = await self.assay.store.ask(change, *values)
        except StoreFailed as error:
            self.say(str(error).split("\n")[0], error=True)
            return
        self.assay.store.touched()
        self.reload()
        self.say(said)

    # Finding

    def action_filter(self) -> None:
        self._show(0)
        super().action_filter()

    def filtered(self) -> None:
        self.reload()

    def back(self) -> bool:
        if self._place == 0 and super().back():
            return True
        inner = self.focused is not self.rows
        self.set_focus(self.rows)
        return inner
