"""A queue through a run's examples: two answers side by side, which examples, and in which view."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, repeat
from time import monotonic
from typing import Any, TypeVar

from textual.app import ComposeResult
from textual.content import Content
from textual.events import Resize, ScreenSuspend

from store.people import user_name
from store.read.history import Connection
from store.read.queues import CATEGORY, FLIPS, QUEUES, SLICE
from store.read.rows import ModelRow
from store.records import StoredMetric
from store.reviewing import leave_off
from tui.keys import bindings
from tui.screens.base import RunScreen
from tui.screens.choosing import neighbour
from tui.screens.review.data import Review, Wanted, read_counts, read_pair, read_review, slices, tells_nothing
from tui.screens.review.lines import details, excerpt, metrics_line, position, queue_name, verdict_line
from tui.screens.review.views import VIEWS, Answers, ViewOptions, has_thoughts
from tui.screens.watch import StoreFailed
from tui.widgets.lines import Line, Pane
from tui.widgets.menu import LETTERS, Choice, Footer

T = TypeVar("T")
SLICES, SEARCH = "slices", "search"  # what leads to more than a queue


def queue_choices(connection: Connection, run_id: int, review: Review) -> list[Choice[str]]:
    """The queues; in blind mode only those that tell nothing of how the models did."""
    counts = read_counts(connection, run_id, review)
    offered = [queue for queue in QUEUES.values() if not review.blind or tells_nothing(queue.name)]
    return [
        *(
            Choice(each.key, each.name, each.name, f"{counts[each.name]:>6,}  {each.meaning}")
            for each in offered
        ),
        Choice("c", "slice", SLICES, f"{'…':>6}  a category, a length, a feature of the prompt"),
        Choice("s", "search", SEARCH, f"{'…':>6}  what contains a text, also with /"),
    ]


def slice_choices(connection: Connection, run_id: int) -> list[Choice[str]]:
    """The slices of the run's examples, categories among them."""
    found = slices(connection, run_id)
    return [
        Choice(letter, name, name if name.startswith(CATEGORY) else SLICE + name, f"{len(found[name]):>6,}")
        for letter, name in _lettered(list(found))
    ]


def measure_choices(metrics: Sequence[StoredMetric]) -> list[Choice[str]]:
    """The measures that have a better and a worse end."""
    return [
        Choice(letter, metric.measure, metric.measure, metric.meaning)
        for letter, metric in _lettered([metric for metric in metrics if metric.direction != "none"])
    ]


def _lettered(items: Sequence[T]) -> Iterator[tuple[str, T]]:
    """Each with a letter, as far as they go."""
    return zip(chain(LETTERS, repeat("")), items, strict=False)


ROOMY = 34  # lines of terminal from which on the details stand below the answers
HIDDEN = [
    Content.styled("hidden    names, scores and verdicts, and whose sides are whose", "$muted"),
    Content.styled("          B shows them, P shows how you decided", "$muted"),
]
REST_SECONDS = 0.5  # on an example, for it to be where the person left off


class QueueScreen(RunScreen):
    """A queue through a run's examples for one candidate (right) and one baseline (left)."""

    NAME = "Review"
    AUTO_FOCUS = ""
    BINDINGS = bindings(
        "review.next", "review.previous", "review.first", "review.last", "review.details",
        "review.details_down", "review.details_up", "review.scroll_down", "review.scroll_up",
        "review.page_down", "review.page_up",
    )  # fmt: skip
    DEFAULT_CSS = """
    QueueScreen #position { background: $panel; padding: 0 1; }
    QueueScreen #question, QueueScreen #facts { padding: 0 1; }
    QueueScreen #facts { height: 2; }
    QueueScreen #answers { height: 3fr; padding: 0 1; border-top: solid $rule; border-bottom: solid $rule; }
    QueueScreen #details { height: 2fr; padding: 0 1; }
    """

    def __init__(
        self,
        run_id: int,
        candidate: str | None = None,
        baseline: str | None = None,
        *,
        show: str = "all",
        worst_by: str | None = None,
        search: str = "",
        judge: str | None = None,
        example_id: int | None = None,
    ) -> None:
        super().__init__(run_id)
        wanted = Wanted(candidate, baseline, show, search, worst_by, judge, example_id)
        # Who asks for the worst or for one example gets that, others go on where they were.
        resumed = worst_by is None and example_id is None and not search
        self._wanted = replace(wanted, resumed=resumed, newest=resumed and wanted.is_open)
        self._review: Review | None = None
        self.person = ""
        self._since = 0.0  # when the example came on the screen; a clock that is set back does not touch it
        self._left: tuple[str, int] | None = None  # the place that is still to be remembered
        self._details: bool | None = None  # None: where there is room
        self._example: tuple[int, bool] | None = None  # the one on the screen, and whether it is a repeat

    def compose(self) -> ComposeResult:
        yield from self.framed(
            Line(id="position"),
            Pane(id="question"),
            Answers(id="answers"),
            Pane(id="facts"),
            Pane(id="details"),
        )

    # Reading and showing

    @property
    def hides_outcome(self) -> bool:
        return self._wanted.blind  # it tells how the candidate did

    def _show_footer(self) -> None:
        own = ("review.groups",) if self._wanted.show == FLIPS else ()
        self.query_one("#footer", Footer).keys((*own, *self.FOOTER))

    def on_mount(self) -> None:
        super().on_mount()
        self.person = self.assay.settings.annotator or user_name()
        wanted, hand = replace(self._wanted, blind=self.assay.settings.blind), self.hand
        if hand.example_id is not None:
            wanted = replace(
                wanted, example_id=wanted.example_id or hand.example_id, resumed=False, newest=False
            )
            hand.example_id = None
        # What nobody took is no reason to leave the pair where the person left off.
        held = (hand.candidate, hand.baseline) if hand.is_taken or not wanted.newest else ("", "")
        candidate, baseline = wanted.candidate or held[0], wanted.baseline or held[1]
        self._wanted = replace(wanted, candidate=candidate or None, baseline=baseline or None)

    def read_run(self, connection: Connection) -> tuple[Wanted, Review | None]:
        asked = self._wanted
        return asked, read_review(connection, self.run_id, asked, self.person)

    def show_run(self, data: tuple[Wanted, Review | None]) -> None:
        asked, review = data
        if asked != self._wanted:  # the person has gone on while this was read
            self.reload()
            return
        self._review = review
        if review is not None:
            self._wanted = review.wanted
            self.hand.take(*self.pair)
        self._show_footer()
        self._draw()

    @property
    def pair(self) -> tuple[str, str]:
        review = self._review
        return (review.candidate.name, review.baseline.name) if review is not None else super().pair

    def on_resize(self, event: Resize) -> None:
        super().on_resize(event)
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        """Shows the current pair; one that stood here before keeps its scroll position."""
        review = self._review
        self._arrange()
        answers = self.query_one(Answers)
        if review is None:
            answers.show_empty("this run has no candidate and baseline to compare yet")
            return
        self.query_one("#position", Line).set(position(review, self.size.width - 2))
        if review.pair is None:
            where = f" with “{self._wanted.search}”" if self._wanted.search else ""
            answers.show_empty(
                f"nothing in “{queue_name(review.wanted.show)}”{where}: F chooses a queue, / searches"
            )
            for name in ("question", "facts", "details"):
                self.query_one(f"#{name}", Pane).show([])
            return
        view, width = review.pair.view, self.size.width - 2
        shown = view.example.id, review.pair.control
        same, self._example = shown == self._example, shown
        if not same:
            self._since = monotonic()
        query, reference = (3, 2) if self._roomy else (1, 1)
        lines = excerpt("query", view.example.query, width, query)
        references = view.example.references or []
        lines += excerpt("reference", " ⏐ ".join(references) if references else "–", width, reference)
        self.query_one("#question", Pane).show(lines)
        answers.show(review, keep_place=same)
        facts = [verdict_line(view, width), metrics_line(view, review, self._wanted.worst_by, width)]
        self.query_one("#facts", Pane).show(HIDDEN if review.blind else facts)
        if self.query_one("#details").display:
            self.query_one("#details", Pane).show(details(view, review, width), keep_place=same)

    @property
    def _roomy(self) -> bool:
        return self.size.height >= ROOMY

    def _arrange(self) -> None:
        """Which parts stand on the screen: on a small one the details take the answers' place."""
        shown = self._roomy if self._details is None else self._details
        self.query_one("#question").styles.height = 5 if self._roomy else 2
        self.query_one("#details").display = shown
        self.query_one("#facts").display = not shown
        self.query_one(Answers).display = self._roomy or not shown

    # Where the person is

    def _remember(self) -> None:
        """Remembers the place once the person rests there: going through a queue writes little."""
        if self._left is None:
            self.set_timer(REST_SECONDS, self._leave_off)
        self._left = self._place or self._left

    @property
    def _place(self) -> tuple[str, int] | None:
        """The queue and the example in it; None on a repeat, to which nobody can come back."""
        review = self._review
        if review is None or review.item is None or review.item.control or self.assay.settings.read_only:
            return None
        return review.wanted.place_key, review.item.example_id

    async def _leave_off(self) -> None:
        place, self._left = self._left, None
        if place is not None:
            with self._told():
                await self.assay.store.ask(leave_off, self.run_id, self.person, *place)

    async def on_screen_suspend(self, event: ScreenSuspend) -> None:
        await self._leave_off()

    async def on_unmount(self) -> None:
        await self._leave_off()

    # Moving

    async def _go_to(self, place: int) -> None:
        """Opens the example at a place in the queue, as near to it as there are examples."""
        review = self._review
        if review is None or not review.items:
            return
        place = max(0, min(len(review.items) - 1, place))
        item = review.items[place]
        with self._told():
            pair = await self.assay.store.ask(read_pair, self.run_id, review, item)
            self._wanted = replace(self._wanted, example_id=item.example_id, place=place)
            self._review = replace(review, place=place, pair=pair)
            self._shown = None  # what was read last is no longer what stands here
            self._draw()
            self._remember()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Says why the store could not be read or written, and leaves everything as it stands."""
        try:
            yield
        except StoreFailed as error:
            self.say(str(error).split("\n")[0], error=True)

    async def action_step(self, count: int) -> None:
        review = self._review
        if review is None:
            return
        if 0 <= review.place + count < len(review.items):
            await self._go_to(review.place + count)
        else:
            self.say("this is the last one" if count > 0 else "this is the first one")

    async def action_first(self) -> None:
        await self._go_to(0)

    async def action_last(self) -> None:
        await self._go_to(len(self._review.items) if self._review else 0)

    @property
    def _front(self) -> Answers | Pane:
        """What the scrolling keys scroll."""
        answers = self.query_one(Answers)
        return answers if answers.display else self.query_one("#details", Pane)

    def action_scroll(self, count: int) -> None:
        self._front.scroll_lines(count)

    def action_scroll_page(self, direction: int) -> None:
        front = self._front
        front.scroll_lines(direction * max(1, front.size.height // 2))

    def action_scroll_details(self, direction: int) -> None:
        pane = self.query_one("#details", Pane)
        pane.scroll_lines(direction * max(1, pane.size.height // 2))

    def action_details(self) -> None:
        self._details = not (self._roomy if self._details is None else self._details)
        self._draw()


class ChoosingScreen(QueueScreen):
    """The queue, with keys that choose it."""

    BINDINGS = bindings(
        "review.worst", "review.in_order", "review.queue", "find.filter", "compare.candidate",
        "compare.candidate_back", "compare.baseline_back", "compare.baseline",
    )  # fmt: skip

    def _want(self, *, keep_example: bool = True, **changes: Any) -> None:
        kept = self._example[0] if keep_example and self._example else None
        self._wanted = replace(self._wanted, example_id=kept, place=0, **changes)
        self.reload()

    async def action_queue(self) -> None:
        review = self._review
        if review is None:
            return
        with self._told():
            choices = await self.assay.store.ask(queue_choices, self.run_id, review)
            self.choose("queue", choices, self._queue_chosen)

    def _queue_chosen(self, name: str) -> None:
        if name == SEARCH:
            self.action_filter()
        elif name == SLICES:
            self.run_worker(self._choose_slice())
        else:
            worst_by = None if self._wanted.show == FLIPS else self._wanted.worst_by
            self._want(show=name, search="", within="", worst_by=worst_by, keep_example=False, resumed=True)

    async def _choose_slice(self) -> None:
        with self._told():
            choices = await self.assay.store.ask(slice_choices, self.run_id)
            if choices:
                self.choose("slice", choices, self._queue_chosen)
            else:
                self.say("this run has no examples yet")

    def action_worst(self) -> None:
        """Worst first by one of the measures that have a good end."""
        review = self._review
        choices = measure_choices(review.metrics) if review else []
        if self._wanted.blind:
            self.say("while blind, the order tells nothing of scores; B ends it")
        elif not choices:
            self.say("no measure here has a better and a worse end")
        else:
            self.choose("worst first by", choices, self._worst_first)

    def _worst_first(self, measure: str) -> None:
        self._want(worst_by=measure, keep_example=False)

    def action_in_order(self) -> None:
        self._want(worst_by=None)

    def action_filter(self) -> None:
        before = self._wanted.search
        self.ask(
            "search",
            lambda text: self._want(search=text, keep_example=False),
            value=before,
            changed=lambda text: self._want(search=text, keep_example=False),
            left=lambda: self._want(search=before),
        )

    def back(self) -> bool:
        if self._wanted.search:
            self._want(search="")
            return True
        if self._wanted.within:
            self._want(within="")
            return True
        return False

    def action_candidate(self, step: int) -> None:
        if self._review is not None:
            self._want(candidate=_other(self._review.candidates, self._review.candidate, step))

    def action_baseline(self, step: int) -> None:
        if self._review is not None:
            self._want(baseline=_other(self._review.baselines, self._review.baseline, step))


def _other(models: Sequence[ModelRow], model: ModelRow, step: int) -> str:
    return neighbour([each.name for each in models], model.name, step)


KEPT = "review look"
AT_WORST = ViewOptions(view="right against reference")  # what is wrong shows there, until a view is chosen


class LookingScreen(ChoosingScreen):
    """The queue, with keys that choose the view. It stays for the next example, and the next opening."""

    BINDINGS = bindings("review.view", "review.views", "review.models", "review.unfold", "review.thoughts")

    def on_mount(self) -> None:
        super().on_mount()
        kept = self.assay.kept.get(KEPT)
        if isinstance(kept, ViewOptions):
            self.query_one(Answers).look_at(kept)
        elif self._wanted.worst_by is not None:
            self.query_one(Answers).look_at(AT_WORST)

    def _worst_first(self, measure: str) -> None:
        super()._worst_first(measure)
        if KEPT not in self.assay.kept:
            self.query_one(Answers).look_at(AT_WORST)

    def _look_at(self, look: ViewOptions) -> None:
        self.assay.kept[KEPT] = look
        if not self.query_one(Answers).display:
            self.action_details()  # they are in the answers' place
        self.query_one(Answers).look_at(look)

    def action_view(self, step: int) -> None:
        look, names = self.query_one(Answers).look, list(VIEWS)
        at = (names.index(look.view) + (0 if look.models else step)) % len(names)
        self._look_at(look._replace(view=names[at], models=False))

    def action_views(self) -> None:
        look = self.query_one(Answers).look
        choices = [Choice(view.key, name, name, view.note) for name, view in VIEWS.items()]
        self.choose("view", choices, lambda name: self._look_at(look._replace(view=name, models=False)))

    def action_models(self) -> None:
        look = self.query_one(Answers).look
        if self._wanted.blind:
            self.say("while blind, other models' answers stay hidden; B ends it")
        else:
            self._look_at(look._replace(models=not look.models))

    def action_unfold(self) -> None:
        answers = self.query_one(Answers)
        if not answers.folds and not answers.look.unfolded:
            self.say("nothing is folded here")
        else:
            self._look_at(answers.look._replace(unfolded=not answers.look.unfolded))

    def action_thoughts(self) -> None:
        pair, look = self._review.pair if self._review else None, self.query_one(Answers).look
        if pair is None or not has_thoughts(look, pair):
            self.say("no reasoning trace was recorded here")
        else:
            self._look_at(look._replace(thoughts=not look.thoughts))

    @property
    def copied(self) -> str:
        """The candidate's answer in full; while blind, the right one."""
        response = self._review.pair.view.candidate if self._review and self._review.pair else None
        return (response.whole if response else None) or ""
