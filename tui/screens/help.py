"""Help: what can be done here and where one can go, found while typing and done on enter."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from textual import work
from textual.app import ComposeResult
from textual.binding import ActiveBinding
from textual.content import Content
from textual.events import Click, Resize
from textual.message import Message

from tui.keys import EVERYWHERE, REGISTRY, bindings, written
from tui.screens import NAMES, RUN_SCREENS, STORE_SCREENS
from tui.screens.base import AssayScreen
from tui.screens.choosing import FilteredScreen
from tui.screens.watch import NoStore, StoreFailed
from tui.text.gate import fit, join, plain
from tui.widgets.lines import Line, Lines
from tui.widgets.menu import Choice, Footer, Menu, Prompt

if TYPE_CHECKING:
    from store.read.history import Connection

NARROWEST = 58  # cells of a column
FOUND_RUNS = 8


class Offer(NamedTuple):
    """One thing to do; a heading does nothing. `text` may be from outside."""

    text: str
    keys: str = ""
    searched: str = ""
    act: Callable[[], Awaitable[Any] | None] | None = None


class FoundInStore(NamedTuple):
    """What the store has under the words that were typed."""

    runs: list[tuple[int, str, str]]  # number, name, status
    models: list[tuple[str, str]]  # name, role; of the run in front
    measures: list[str]


class Query(Prompt):
    """The line that is typed in; the arrows are for what is found."""

    BINDINGS = bindings(
        "menu.down", "menu.up", "menu.left", "menu.right", "menu.page_down", "menu.page_up"
    )  # fmt: skip


class Offers(Lines):
    """Offers in columns, each read downwards, and a cursor that passes over headings."""

    class Clicked(Message):
        """An offer was clicked, so many times."""

        def __init__(self, times: int) -> None:
            super().__init__()
            self.times = times

    def __init__(self) -> None:
        super().__init__(id="offers")
        self._offers: Sequence[Offer] = ()
        self._cursor = self._top = 0

    def show(self, offers: Sequence[Offer]) -> None:
        self._offers, self._cursor, self._top = offers, 0, 0
        self.move(0)

    @property
    def offer(self) -> Offer | None:
        """What enter does; None where nothing was found."""
        return self._offers[self._cursor] if self._offers and self._offers[self._cursor].act else None

    @property
    def place(self) -> str:
        done = [place for place, offer in enumerate(self._offers) if offer.act]
        if self._height <= self.size.height or self._cursor not in done:
            return ""
        return f"{done.index(self._cursor) + 1}/{len(done)}"

    @property
    def _columns(self) -> int:
        needed = -(-len(self._offers) // max(1, self.size.height))
        return max(1, min(needed, self.size.width // NARROWEST))

    @property
    def _height(self) -> int:
        """How many lines the columns have."""
        return -(-len(self._offers) // self._columns)

    def move(self, step: int) -> None:
        """To the nearest that can be done, `step` places on or beyond; else it stays, or goes back to one."""
        last, way = len(self._offers) - 1, -1 if step < 0 else 1
        place = max(0, min(last, self._cursor + step))
        ahead = range(place, last + 1) if way > 0 else range(place, -1, -1)
        behind = range(place, -1, -1) if way > 0 else range(place, last + 1)
        self._cursor = next((at for at in (*ahead, *behind) if self._offers[at].act), 0)
        row, seen = self._cursor % max(1, self._height), max(1, self.size.height)
        if not self._top <= row < self._top + seen:
            self._top = max(0, min(row - seen // 2, self._height - seen))
        if row == 1 and self._top == 1:  # the heading above the first
            self._top = 0
        self.redraw()

    def across(self, columns: int) -> None:
        place = self._cursor + columns * self._height
        if 0 <= place < len(self._offers):
            self.move(columns * self._height)

    def scroll_lines(self, count: int) -> None:
        self.move(count)

    def on_click(self, event: Click) -> None:
        at = event.get_content_offset(self)
        if at is None or self._top + at.y >= self._height:
            return
        place = self._top + at.y + at.x // (self.size.width // self._columns) * self._height
        if place < len(self._offers) and self._offers[place].act:
            self.move(place - self._cursor)
            self.post_message(self.Clicked(event.chain))

    def page(self, way: int) -> None:
        self.move(way * max(1, self.size.height // 2))

    def line(self, y: int) -> Content:
        width = self.size.width // self._columns
        row = self._top + y
        places = range(row, len(self._offers), self._height) if row < self._height else ()
        return join(self._cell(place, width) for place in places)

    def _cell(self, place: int, width: int) -> Content:
        offer = self._offers[place]
        if offer.act is None:
            return fit(plain(offer.text, "$heading"), width)
        chosen = place == self._cursor
        said = join([Content.styled(offer.keys.rjust(8), "$key"), plain(offer.text)], "  ")
        line = fit(join(["›" if chosen else " ", said]), width - 1)
        return join([line.stylize("reverse") if chosen else line, " "])

    def on_resize(self, event: Resize) -> None:
        super().on_resize(event)
        self.move(0)


class HelpScreen(AssayScreen):
    NAME = "Help"
    HAS_TABS = False
    DEFAULT_CSS = "HelpScreen #offers, HelpScreen #chosen { padding: 0 1; }"

    def __init__(self, alive: Iterable[ActiveBinding]) -> None:
        super().__init__()
        self._looking = self._is_answered = False
        owners = {each.binding.key: each for each in alive if each.enabled and each.binding.id in REGISTRY}
        self._actions = [
            [self._action(name, owners) for name in REGISTRY if name in part]
            for part in _parts({each.binding.id for each in owners.values() if each.binding.id})
        ]

    def compose(self) -> ComposeResult:
        query = Query(self._answered, changed=self._typed)
        query.placeholder = "type to find an action, a run by its number or name, a model, a measure"
        yield from self.framed(query, Offers(), Line(id="chosen"))

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(Footer).ask("", "↑ ↓ ← → move · enter does it · esc back")
        self._typed("")

    def redraw(self) -> None:
        self.call_after_refresh(self._hint)

    @property
    def _offers(self) -> Offers:
        return self.query_one(Offers)

    def _action(self, name: str, owners: dict[str, ActiveBinding]) -> Offer:
        """An action with its keys, but those that mean something else on that screen."""
        mine = {key: each for key, each in owners.items() if each.binding.id == name}
        binding, action = next(iter(mine.values())), REGISTRY[name]
        others = {key for key, each in owners.items() if each.binding.id != name}
        keys = " ".join(key for key in written(name).split(" ") if key not in others)
        act = partial(self.app_action, binding)
        return Offer(action.help, keys, f"{action.label} {action.help} {action.also}".casefold(), act)

    async def app_action(self, active: ActiveBinding) -> None:
        await self.app.run_action(active.binding.action, active.node)

    # Finding

    def _typed(self, text: str) -> None:
        self._looking = bool(text.strip())
        self._is_answered = False
        self._show(text, FoundInStore([], [], []))
        if self._looking:
            self._look(text.strip())

    @work(group="find", exclusive=True)
    async def _look(self, text: str) -> None:
        try:
            known = await self.assay.store.ask(_known, text, self.assay.run_id)
        except (NoStore, StoreFailed):
            known = FoundInStore([], [], [])  # the screen below says what is wrong with the store
        self._looking = False
        if known != FoundInStore([], [], []):
            self._show(text, known)
        if self._is_answered:
            self._answered(text)

    def _show(self, text: str, known: FoundInStore) -> None:
        words = text.casefold().split()
        parts = [
            *zip(("Go to", "On this screen", "Everywhere"), self._actions, strict=True),
            (f"Models of run {self.assay.run_id}", [self._model(*model) for model in known.models]),
            (f"Measures of run {self.assay.run_id}", [self._measure(name) for name in known.measures]),
            ("Runs", [self._run(*run) for run in known.runs]),
        ]
        offers: list[Offer] = []
        for heading, part in parts:
            found = [offer for offer in part if _has(offer, words)]
            offers += [Offer(heading), *sorted(found, key=lambda offer: _rank(offer, text))] if found else []
        self._offers.show(offers or [Offer("nothing has these words: esc leads back")])
        self._hint()

    def _run(self, run_id: int, name: str, status: str) -> Offer:
        screen = "decision" if status == "finished" else "live"
        return Offer(f"{name}  {status}", f"#{run_id}", act=partial(self.assay.go, screen, run_id))

    def _model(self, name: str, role: str) -> Offer:
        def go() -> None:
            if self.assay.run_id is not None:
                self.assay.in_hand(self.assay.run_id).take(**{role: name})
                self.assay.go("decision" if role == "candidate" else "compare")

        return Offer(f"{name}  {role}", act=go)

    def _measure(self, name: str) -> Offer:
        def go() -> None:
            self.assay.go("compare")
            if isinstance(self.assay.front, FilteredScreen):
                self.assay.front.narrow(name)

        return Offer(name, act=go)

    # Choosing

    def action_move(self, step: int) -> None:
        self._offers.move(step)
        self._hint()

    def action_across(self, columns: int) -> None:
        self._offers.across(columns)
        self._hint()

    def action_page(self, way: int) -> None:
        self._offers.page(way)
        self._hint()

    def on_offers_clicked(self, event: Offers.Clicked) -> None:
        self._hint()
        if event.times == 2:
            self._answered("")

    def _hint(self) -> None:
        """The chosen one in full, and its place among those that do not all fit."""
        offer, place = self._offers.offer, self._offers.place
        room = self.size.width - 4 - len(place)
        said = fit(plain(offer.text if offer else ""), room)
        self.query_one("#chosen", Line).set(join([said, Content.styled(place, "$heading")], "  "))

    def _answered(self, text: str | None) -> None:
        offer = self._offers.offer if text is not None else None
        self._is_answered = offer is None and self._looking  # enter came before what it is for
        if text is None or offer is not None:
            self.app.pop_screen()
        if offer is not None and offer.act is not None:
            self.app.call_later(offer.act)


class JumpScreen(AssayScreen):
    """All screens with their keys, from anywhere."""

    NAME = "Go to"
    HAS_TABS = False

    def __init__(self, origin: type[AssayScreen]) -> None:
        super().__init__()
        self._at = next((at for at, name in enumerate(NAMES) if _is_named(name, origin)), 0)

    def compose(self) -> ComposeResult:
        keys = {name: written(f"go.{name}") for name in NAMES}
        choices = [
            Choice(key if len(key) == 1 else "", title, name, about)
            for name, key in keys.items()
            for title, _, about in [REGISTRY[f"go.{name}"].help.partition(": ")]
        ]
        menu = Menu(choices, self._chosen, at=self._at)
        menu.styles.height = "1fr"
        yield from self.framed(menu)

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(Footer).ask("", "a letter, or j k and enter · esc back")

    def _chosen(self, name: str | None) -> None:
        self.app.pop_screen()
        if name is not None:
            self.assay.go(name)


def _is_named(name: str, screen: type[AssayScreen]) -> bool:
    return (RUN_SCREENS | STORE_SCREENS).get(name, "").endswith(f":{screen.__name__}")


def _parts(ids: set[str]) -> list[list[str]]:
    """Where one can go, what is this screen's own, and the rest; how to move comes last."""
    going = [name for name in EVERYWHERE if name in ids and name.startswith(("go.", "app.jump"))]
    moving = [name for name in ids if name.startswith("move.") and name != "move.open"]
    here = [name for name in ids if name not in EVERYWHERE and name not in moving]
    return [going, here, [name for name in ids if name not in going and name not in here]]


def _has(offer: Offer, words: Sequence[str]) -> bool:
    """Whether it has all the words; what the store found has them in its own way."""
    return not offer.searched or all(word in offer.searched or word == offer.keys for word in words)


def _rank(offer: Offer, text: str) -> int:
    """0 for the key itself, then where a word starts like that, then the rest."""
    if not text or not offer.searched:
        return 0
    if text in offer.keys.split(" "):
        return 0
    return 1 if f" {text.casefold()}" in f" {offer.searched}" else 2


def _known(connection: "Connection", text: str, run_id: int | None) -> FoundInStore:
    from store.read import history, runs

    found = runs.page(connection, limit=FOUND_RUNS, words=runs.read_words(text))
    number = text.removeprefix("#")
    if number.isdecimal() and len(number) < 16:
        numbered = runs.page(connection, limit=1, before=int(number) + 1)
        found = [row for row in numbered if row.id == int(number)] + [
            row for row in found if row.id != int(number)
        ]
    low = text.casefold()
    models = [] if run_id is None else history.models(connection, run_id)
    measures = [] if run_id is None else history.metrics(connection, run_id)
    return FoundInStore(
        [(row.id, row.name, row.status) for row in found],
        [(model.name, model.role) for model in models if not model.is_cut and low in model.name.casefold()],
        [metric.measure for metric in measures if low in metric.measure.casefold()],
    )
