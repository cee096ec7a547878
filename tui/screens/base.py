"""What all screens share: tabs, title and card at the top, a footer, questions, and reading the store."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from textual import work
from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content
from textual.events import Resize, ScreenResume
from textual.screen import Screen
from textual.widget import Widget

from tui.keys import REGISTRY, written
from tui.screens import TABS
from tui.screens.watch import NoStore, StoreFailed, StoreWatch
from tui.text.gate import cut, fit, join, one_line, plain, told_apart, wrap
from tui.widgets.lines import Line, Lines, Pane
from tui.widgets.menu import Footer, Menu

if TYPE_CHECKING:
    from engine.decision.decision import Decision
    from store.read.history import Connection
    from store.read.rows import RunRow
    from store.records import Run
    from tui.widgets.menu import Choice

# A word and a sign each, so that colour only repeats what is said.
STATUS = {
    "queued": ("○", "queued", "$muted"),
    "running": ("▶", "running", "$good"),
    "paused": ("‖", "paused", "$warn"),
    "interrupted": ("!", "interrupted", "$bad"),
    "finished": ("✓", "finished", "$text"),
    "failed": ("✗", "failed", "$bad"),
    "cancelled": ("–", "cancelled", "$muted"),
}


def status(name: str) -> Content:
    """A run's status: sign and word."""
    sign, word, style = STATUS[name]
    return Content.styled(f"{sign} {word}", style)


def outcome(passed: bool | None, *, ended: bool = False) -> Content:
    """What the gates said; of a run that `ended` without a verdict, that nothing could be evaluated."""
    if passed is None:
        return Content.styled("? not evaluated", "$warn") if ended else Content("")
    return Content.styled("+ passed", "$good") if passed else Content.styled("− gate failed", "$bad")


def is_ended(run: "Run | RunRow") -> bool:
    """Whether a run that was carried out here has come to its end."""
    return run.status == "finished" and not run.imported


BESIDE = 160  # cells from which on a list and what belongs to its item stand side by side


def beside(main: Widget, aside: Widget, *, wide_only: bool = False) -> Container:
    """A list, and below it what belongs to the item at its cursor; on a wide terminal beside it.

    With `wide_only` a narrow terminal shows the list alone.
    """
    aside.add_class("aside", *(["wide-only"] if wide_only else []))
    return Container(main, aside, classes="sides")


class Preferences(Protocol):
    """What a person set, as far as screens need it."""

    @property
    def annotator(self) -> str: ...  # whose decisions Review records; "": the user's

    @property
    def blind(self) -> bool: ...  # whether Review opens with names, scores and verdicts hidden

    @property
    def read_only(self) -> bool: ...


class RunControl(Protocol):
    """Starts, stops and adjusts runs; the screen in front says how that went."""

    def start(self, plan: str) -> None: ...
    def is_starting(self, plan: str) -> bool: ...
    def resume(self, run_id: int) -> None: ...
    def retry(self, run_id: int) -> None: ...
    def pause(self, run_id: int) -> None: ...
    def pause_after_phase(self, run_id: int) -> None: ...
    def set_concurrency(self, run_id: int, text: str) -> None: ...
    def cancel(self, run_id: int) -> None: ...


@dataclass(slots=True)
class InHand:
    """What a person has in hand of one run. All its screens are about it; what one shows is in hand."""

    candidate: str = ""
    baseline: str = ""
    judge: str = ""
    example_id: int | None = None  # which Review is to open at
    is_taken: bool = False  # whether the person took the candidate, rather than found it there

    def take(self, candidate: str | None = None, baseline: str | None = None) -> None:
        if candidate is not None and candidate != self.candidate:
            self.candidate, self.is_taken = candidate, True
        self.baseline = self.baseline if baseline is None else baseline

    def keep(self, candidates: Sequence[str], baselines: Sequence[str]) -> None:
        """Puts the run's first models in the place of those that it does not have."""
        if self.candidate not in candidates:
            self.candidate = next(iter(candidates), "")
        if self.baseline not in baselines:
            self.baseline = next(iter(baselines), "")


class Cards(NamedTuple):
    """The decisions on a run's candidates by name, as of one state of the store."""

    state: int
    decided: "dict[str, Decision]"


# A decision's words with a sign each, and their style.
WORDS = {
    "ship": ("+", "bold $good"),
    "don't ship": ("−", "bold $bad"),
    "inconclusive": ("?", "bold $warn"),
}
WIDE = 100  # cells from which on the tabs stand above the title
TALL, ROOM_FOR_CARD = 14, 44  # lines and cells that leave room for the card


def tabs(current: str, room: int) -> Content:
    """All screens with their keys, [the current one] marked; where there is no room the last ones go."""
    titles = {name: REGISTRY[f"go.{name}"].help.partition(":")[0] for name in TABS}
    drawn = {
        name: join(
            [
                plain(written(f"go.{name}"), "$key"),
                plain(f" {title}", "bold" if name == current else "$muted"),
            ]
        )
        for name, title in titles.items()
    }
    if current:
        drawn[current] = join(["[", drawn[current], "]"])
    cells = sum(each.cell_length for each in drawn.values())
    between = "  " if cells + 2 * (len(drawn) - 1) <= room else " "
    while len(drawn) > 1 and cells + (len(drawn) - 1) + 2 * (len(drawn) < len(titles)) > room:
        last = [name for name in drawn if name != current][-1]
        cells -= drawn.pop(last).cell_length
    return join([*drawn.values(), *([] if len(drawn) == len(titles) else ["…"])], between)


class Workbench(Protocol):
    """The app, as its screens see it."""

    cards: dict[int, Cards]  # by run

    run_id: int | None  # the run that the next screen is about
    ascii: bool  # whether the terminal has ASCII alone
    now: Callable[[], float]  # the time as people see it
    kept: dict[str, object]  # what screens keep of their state until the app is left

    @property
    def store(self) -> StoreWatch: ...

    @property
    def control(self) -> RunControl: ...

    @property
    def settings(self) -> Preferences: ...

    @property
    def front(self) -> "AssayScreen | None": ...

    def in_hand(self, run_id: int) -> InHand: ...
    def go(self, name: str, run_id: int | None = None) -> None: ...
    def store_failed(self, message: str) -> None: ...


class AssayScreen(Screen[None]):
    """A screen that reads something from the store and shows it.

    `read` runs on the store's thread, `show` on the loop with what it returned, and only when that differs
    from what is shown. Screens compose with `yield from self.framed(…)`.
    """

    AUTO_FOCUS = "*"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (BESIDE, "-wide")]
    FOOTER: tuple[str, ...] = ()  # ids of the actions that the footer names, most wanted first
    NAME = ""
    HAS_TABS = True  # whether the keys of other screens work from here

    def __init__(self) -> None:
        super().__init__()
        self._shown: Any = None
        self.read_state = 0  # the store's, before what is shown was read
        self._reading = False
        self._stale = False
        self._then: Callable[[], None] | None = None
        self._asked: Widget | None = None
        self._focused_before: Widget | None = None

    @property
    def assay(self) -> "Workbench":
        return cast("Workbench", self.app)

    # What a screen is made of

    def framed(self, *parts: Widget) -> list[Widget]:
        """What stands at the top, the screen's own parts, and the footer at the bottom of any height."""
        return [Line(id="tabs"), Line(id="title"), Line(id="card"), *parts, Footer()]

    @property
    def is_wide(self) -> bool:
        return self.size.width >= BESIDE

    @property
    def beside_cells(self) -> int:
        """Cells of a line in what stands beside a list, or below it."""
        return self.size.width - self.size.width // 2 - 3 if self.is_wide else self.size.width - 2

    @property
    def list_cells(self) -> int:
        """Cells of a line in what it stands beside."""
        return self.size.width // 2 - 2 if self.is_wide else self.size.width - 2

    def title_line(self) -> Content:
        """What stands in the top line, right of the product's name."""
        return Content("")

    @property
    def shows_tabs(self) -> bool:
        return self.HAS_TABS and self.size.width >= WIDE and self.size.height >= TALL

    @property
    def shows_card(self) -> bool:
        """Whether the card has a line of its own."""
        return False

    @property
    def top(self) -> int:
        """The lines above the screen's own parts."""
        return 1 + self.shows_tabs + self.shows_card

    @property
    def _tab(self) -> str:
        """The screen's name among the tabs; "" where it has none."""
        return next((name for name in TABS if REGISTRY[f"go.{name}"].help.startswith(f"{self.NAME}:")), "")

    @property
    def _named(self) -> Content:
        """The product, and the screen where no tab is marked as it; then the key that lists all."""
        brand = Content.styled("assay", "$brand")
        if self.shows_tabs:
            return brand if self._tab else join([brand, self.NAME], "  ")
        way = [Content.styled(written("app.jump"), "$key")] if self.HAS_TABS else []
        return join([brand, join([self.NAME, *way], " ")], "  ")

    def refresh_title(self) -> None:
        if self.shows_tabs:
            self.query_one("#tabs", Line).set(tabs(self._tab, self.size.width - 2))
        self.query_one("#title", Line).set(join(filter(None, [self._named, self.title_line()]), "  "))

    def _arrange_top(self) -> None:
        self.query_one("#tabs").display = self.shows_tabs
        self.query_one("#card").display = self.shows_card
        self.refresh_title()

    def on_mount(self) -> None:
        self._arrange_top()
        self._show_footer()

    def on_resize(self, event: Resize) -> None:
        self._arrange_top()
        self._show_footer()
        self._fit_question()
        self.redraw()

    def redraw(self) -> None:
        """Draws anew what depends on the screen's size or on what a person chose."""

    # Reading

    def read(self, connection: "Connection") -> Any:
        """What the screen shows, fresh from the store. Runs on the store's thread: touch no widget here."""
        return None

    def show(self, data: Any) -> None:
        """Puts what `read` returned into the widgets; they write only what changed of it."""

    def on_screen_resume(self, event: ScreenResume) -> None:
        self.reload()

    def reload(self) -> None:
        """Reads anew; calls that come while one is under way become one more."""
        self._stale = True
        if not self._reading:
            self._reading = True
            self._read_while_stale()

    @property
    def _has_parts(self) -> bool:
        """A screen that is being left loses its widgets while its last reading is still under way."""
        return self.is_mounted and all(self.query(part) for part in ("#tabs", "#title", "#card"))

    @work(group="read")
    async def _read_while_stale(self) -> None:
        try:
            while self._stale:
                self._stale = False
                state = self.assay.store.state
                data = await self.assay.store.ask(self.read)
                self.read_state = state
                if self._has_parts and (self._shown is None or data != self._shown):
                    self._shown = data
                    self.show(data)
                self._go_on()
        except NoStore:
            if self._has_parts:
                self.show_nothing()
            self._go_on()
        except StoreFailed as error:
            self.assay.store_failed(str(error))
        finally:
            self._reading = False

    def once_read(self, act: Callable[[], None]) -> bool:
        """Does this as soon as the first reading is shown; False where it is already."""
        if self._shown is None and self._reading:
            self._then = act
        return self._then is not None

    def _go_on(self) -> None:
        act, self._then = self._then, None
        if act is not None:
            act()

    def show_nothing(self) -> None:
        """There is no store yet."""

    @property
    def alive(self) -> bool:
        """Whether it shows something that may end without a word to the store: a run whose worker can die."""
        return False

    @property
    def run_at_cursor(self) -> int | None:
        """The run that the next screen is to be about; None where that is the one it came from."""
        return None

    @property
    def about_run(self) -> int | None:
        """The run that the screen is about; None of one about no single run."""
        return None

    @property
    def example_at_cursor(self) -> int | None:
        """The example that Review is to open at; None where that is the one where the person left off."""
        return None

    @property
    def copied(self) -> str:
        """What `y` copies: the row under the cursor, or the text that has the focus."""
        return self.focused.copied if isinstance(self.focused, Lines) else ""

    def goes(self, name: str) -> bool:
        """Whether it answers itself the key that leads to the screen of this name."""
        return False

    def minute(self) -> None:
        """Called each minute: the place to bring ages up to date."""

    def back(self) -> bool:
        """Closes what the screen itself has open, like a filter; False when esc is to leave the screen."""
        return False

    def write(self, query: "Callable[..., Any]", *args: Any, done: str = "") -> None:
        """Runs a short write on the store's thread, then says `done`, or why not."""
        self._write(lambda connection: query(connection, *args), done)

    @work(group="write")
    async def _write(self, query: "Callable[[Connection], Any]", done: str) -> None:
        try:
            await self.assay.store.ask(query)
        except StoreFailed as error:
            self.say(str(error).split("\n")[0], error=True)
            return
        self.assay.store.touched()
        self.reload()
        if done:
            self.say(done)

    # Talking with the person

    def _show_footer(self) -> None:
        self.query_one("#footer", Footer).keys(self.FOOTER)

    def say(self, text: str, *, error: bool = False) -> None:
        """A short message in the footer's place, for some seconds."""
        if self.is_mounted:
            footer = self.query_one("#footer", Footer)
            footer.say(f"! {text}" if error else text, "$bad" if error else "$text")

    def ask(
        self,
        label: str,
        answered: Callable[[str], None],
        *,
        value: str = "",
        changed: Callable[[str], None] | None = None,
        left: Callable[[], None] | None = None,
    ) -> None:
        """Asks for a line of text at the bottom; `left` is called when the person escapes instead."""
        from tui.widgets.menu import Prompt

        def done(text: str | None) -> None:
            self._close_question()
            if text is not None:
                answered(text)
            elif left is not None:
                left()

        self._open_question(Prompt(done, changed=changed, value=value))
        self.query_one("#footer", Footer).ask(label, "enter save · esc cancel")

    def choose(self, label: str, choices: "Sequence[Choice[str]]", chosen: Callable[[str], None]) -> None:
        """Opens a menu at the bottom; its label stands above it."""
        from tui.widgets.menu import Menu

        def done(value: str | None) -> None:
            self._close_question()
            if value is not None:
                chosen(value)

        self._open_question(Menu(choices, done))
        self.query_one("#footer", Footer).ask(label, "a letter, or j k and enter · esc cancel")

    def confirm(self, question: str, confirmed: Callable[[], None]) -> None:
        """Asks yes or no at the bottom; only `y` is yes."""
        from tui.widgets.menu import YesNo

        def done(yes: bool) -> None:
            self._close_question()
            if yes:
                confirmed()

        self._open_question(YesNo(plain(question), done))
        self.query_one("#footer").display = False

    def _open_question(self, widget: Widget) -> None:
        self._close_question()
        self._asked, self._focused_before = widget, self.focused
        widget.styles.dock = "bottom"
        self._fit_question()
        self.mount(widget)
        self.set_focus(widget)  # at once: the next key is meant for it

    def on_descendant_focus(self) -> None:
        """A click elsewhere leaves the question, as escape does."""
        asked = self._asked
        if asked is not None and self.focused is not asked:
            self._focused_before = self.focused
            self.call_later(self.app.run_action, "back", asked)

    def _fit_question(self) -> None:
        """What is asked stands below the footer; a long list leaves room for it and for the title."""
        asked = self._asked
        if asked is not None:
            below = asked.fit(self.size.height - 2) if isinstance(asked, Menu) else 1
            self.query_one("#footer").styles.margin = (0, 0, below, 0)

    def _close_question(self) -> None:
        if self._asked is not None:
            self.set_focus(self._focused_before)
            self._asked.remove()
            self._asked = None
            footer = self.query_one("#footer", Footer)
            footer.display, footer.styles.margin = True, 0
            footer.asked()


LEAST_PAIR = 8  # cells for the models in the title


class RunScreen(AssayScreen):
    """A screen about one run and its models in hand. `show_run` gets what `read_run` returned."""

    def __init__(self, run_id: int) -> None:
        super().__init__()
        self.run_id = run_id
        self.run: Run | None = None
        self._models_by_role: dict[str, list[str]] = {}

    def names(self, role: str) -> list[str]:
        """The run's models as "candidate" or "baseline", without those that a sweep dropped."""
        return self._models_by_role.get(role, [])

    def short(self, name: str, cells: int) -> str:
        """A model's name in at most `cells`, different from those of the other models of its role."""
        among = next((names for names in self._models_by_role.values() if name in names), [name])
        return told_apart(tuple(among), cells)[name]

    @property
    def about_run(self) -> int | None:
        return self.run_id

    @property
    def hand(self) -> InHand:
        return self.assay.in_hand(self.run_id)

    @property
    def pair(self) -> tuple[str, str]:
        """The candidate and the baseline that the screen is about, each "" where the run has none."""
        return self.hand.candidate, self.hand.baseline

    @property
    def alive(self) -> bool:
        return self.run is not None and self.run.status == "running"

    @property
    def hides_outcome(self) -> bool:
        """Whether what the gates said stays out of the title."""
        return False

    def title_line(self) -> Content:
        if self.run is None:
            return Content(f"run {self.run_id}")
        phase = f"in {self.run.phase}" if self.run.status == "running" and self.run.phase else ""
        in_card = self.shows_card or (self.shows_tabs and self._decided is not None)
        parts = [
            join([plain(cut(self.run.name, 24), "bold"), f" #{self.run_id}"]),
            status(self.run.status),
            outcome(self.run.passed, ended=is_ended(self.run))
            if not (self.hides_outcome or (in_card and self.shows_tabs))
            else Content(""),
            plain(f"imported from {cut(self.run.imported, 20)}" if self.run.imported else "", "$muted"),
            plain(phase, "$muted"),
        ]
        said = join(filter(None, parts), "  ")
        if self.hides_outcome or self.shows_card:
            return said
        room = self.size.width - 2 - self._named.cell_length - 2 - said.cell_length - 2
        return join([said, self._card(room) if in_card else self._in_title(room)], "  ")

    @property
    def shows_card(self) -> bool:
        tall, wide = self.size.height >= TALL, self.size.width >= ROOM_FOR_CARD
        return tall and wide and not (self.shows_tabs or self.hides_outcome)

    @property
    def _decided(self) -> "Decision | None":
        """What is known of the candidate in hand; nothing while the run goes on."""
        known = self.assay.cards.get(self.run_id)
        if self.run is not None and self.run.status in ("queued", "running"):
            return None
        return known.decided.get(self.pair[0]) if known is not None else None

    def _card(self, room: int) -> Content:
        """The decision on the candidate in hand in one line; figures that find no room are left out."""
        decided = self._decided
        if decided is None:
            return self._in_title(room)
        sign, style = WORDS[decided.word]
        word = Content.styled(f"{sign} {decided.word.upper()}", style)
        told = [f" · {figure}" for figure in decided.card]
        spare = room - word.cell_length - 1
        named = self._in_title(max(LEAST_PAIR, spare - sum(map(len, told[:3]))))
        line = join(filter(None, [word, named]), " ")
        for figure in map(one_line, told):
            if line.cell_length + figure.cell_length <= room:
                line += figure
        return fit(line, min(room, line.cell_length)) if room > 0 else Content("")

    def refresh_title(self) -> None:
        super().refresh_title()
        card = self.query_one("#card", Line)
        card.display = self.shows_card
        card.set(self._card(self.size.width - 2) if self.shows_card else Content(""))

    def keep_cards(self, decided: "Iterable[Decision]", state: int | None = None) -> None:
        """Keeps the decisions for all screens of the run, until the store changes from `state`.

        `state` None is that before the reading whose data is shown.
        """
        state = self.read_state if state is None else state
        self.assay.cards[self.run_id] = Cards(state, {each.candidate: each for each in decided})
        self.refresh_title()

    @work(group="cards", exclusive=True)
    async def _read_cards(self) -> None:
        from engine.decision.decision import cards

        state = self.assay.store.state
        try:
            found = await self.assay.store.ask(cards, self.run_id)
        except StoreFailed:
            return  # the screen's own reading says so
        if self._has_parts:
            self.keep_cards(found, state)

    def _in_title(self, room: int) -> Content:
        """The models in hand, as far as there is room."""
        candidate, baseline = self.pair
        if not candidate or room < LEAST_PAIR:
            return Content("")
        against = f" against {baseline}" if baseline else ""
        if len(candidate) + len(against) > room:
            against = ""
        return join(
            [plain(self.short(candidate, room - len(against)), "bold $brand"), one_line(against, "$muted")]
        )

    def read(self, connection: "Connection") -> "tuple[Run, dict[str, list[str]], Any]":
        from store.read.history import models, run

        names: dict[str, list[str]] = {}
        for model in models(connection, self.run_id):
            if not model.is_cut:
                names.setdefault(model.role, []).append(model.name)
        return run(connection, self.run_id), names, self.read_run(connection)

    def read_run(self, connection: "Connection") -> Any:
        """What the screen shows of the run. Runs on the store's thread."""
        return None

    def show(self, data: "tuple[Run, dict[str, list[str]], Any]") -> None:
        self.run, self._models_by_role, found = data
        self.hand.keep(self.names("candidate"), self.names("baseline"))
        self.show_run(found)
        self.refresh_title()

    def _go_on(self) -> None:
        super()._go_on()
        known = self.assay.cards.get(self.run_id)
        if not self.hides_outcome and (known is None or known.state != self.assay.store.state):
            self._read_cards()

    def show_run(self, data: Any) -> None:
        """Puts what `read_run` returned into the widgets."""


class MessageScreen(AssayScreen):
    """Shows a text under a heading; esc goes back, which after a store's error tries again."""

    HAS_TABS = False
    DEFAULT_CSS = "MessageScreen #message { padding: 1 2 0 2; }"

    def __init__(self, heading: str, text: str) -> None:
        super().__init__()
        self._heading = heading
        self._text = text

    def compose(self) -> ComposeResult:
        yield from self.framed(Pane(focusable=True, id="message"))

    def title_line(self) -> Content:
        return plain(self._heading, "bold")

    def redraw(self) -> None:
        lines = wrap(plain(self._text), self.size.width - 4)
        self.query_one("#message", Pane).show(lines, keep_place=False)
