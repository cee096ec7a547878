"""A queue through a run's examples: two answers side by side, with all that is known about them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from textual.app import ComposeResult
from textual.events import Resize

from store.history import Connection
from store.rows import ModelRow
from tui.keys import bindings
from tui.screens.base import RunScreen
from tui.screens.review_answers import Answers
from tui.screens.review_data import QUEUES, Review, Wanted, read_pair, read_review
from tui.screens.review_lines import details, excerpt, metrics_line, position, verdict_line
from tui.watch import StoreFailed
from tui.widgets.lines import Line, Pane

ROOMY = 34  # lines of terminal from which on the details stand below the answers


class QueueScreen(RunScreen):
    """A queue through a run's examples for one candidate (right) and one baseline (left)."""

    NAME = "Review"
    AUTO_FOCUS = ""
    BINDINGS = bindings(
        "review.next", "review.previous", "review.first", "review.last", "review.worst", "review.in_order",
        "review.queue", "review.details", "review.details_down", "review.details_up", "review.scroll_down",
        "review.scroll_up", "review.page_down", "review.page_up", "find.filter", "compare.candidate",
        "compare.candidate_back", "compare.baseline_back", "compare.baseline",
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
        example_id: int | None = None,
    ) -> None:
        super().__init__(run_id)
        self._wanted = Wanted(candidate, baseline, show, search, worst_by, example_id)
        self._review: Review | None = None
        self._details: bool | None = None  # None: where there is room
        self._example: int | None = None  # the one on the screen

    def compose(self) -> ComposeResult:
        yield from self.framed(
            Line(id="position"),
            Pane(id="question"),
            Answers(id="answers"),
            Pane(id="facts"),
            Pane(id="details"),
        )

    # Reading and showing

    def read_run(self, connection: Connection) -> Review | None:
        return read_review(connection, self.run_id, self._wanted)

    def show_run(self, data: Review | None) -> None:
        self._review = data
        self._draw()

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
            answers.show_empty(f"no {self._wanted.show} here{where}: F shows the next queue, / searches")
            for name in ("question", "facts", "details"):
                self.query_one(f"#{name}", Pane).show([])
            return
        view, width = review.pair.view, self.size.width - 2
        same, self._example = view.example.id == self._example, view.example.id
        query, reference = (3, 2) if self._roomy else (1, 1)
        lines = excerpt("query", view.example.query, width, query)
        references = view.example.references or []
        lines += excerpt("reference", " ⏐ ".join(references) if references else "–", width, reference)
        self.query_one("#question", Pane).show(lines)
        answers.show(review, keep_place=same)
        facts = [verdict_line(view, width), metrics_line(view, review, self._wanted.worst_by, width)]
        self.query_one("#facts", Pane).show(facts)
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

    # Moving

    async def _go_to(self, place: int) -> None:
        """Opens the example at a place in the queue, as near to it as there are examples."""
        review = self._review
        if review is None or not review.items:
            return
        place = max(0, min(len(review.items) - 1, place))
        item = review.items[place].example_id
        with self._told():
            pair = await self.assay.store.ask(
                read_pair, self.run_id, review.candidate.id, review.baseline.id, item
            )
            self._wanted = replace(self._wanted, example_id=item, place=place)
            self._review = replace(review, place=place, pair=pair)
            self._shown = None  # what was read last is no longer what stands here
            self._draw()

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

    # Choosing what to look at

    def _want(self, *, keep_example: bool = True, **changes: str | None) -> None:
        self._wanted = replace(
            self._wanted,
            **changes,  # type: ignore[arg-type]  # names of Wanted's fields that are texts
            example_id=self._example if keep_example else None,
            place=0,
        )
        self.reload()

    def action_queue(self) -> None:
        at = QUEUES.index(self._wanted.show)
        self._want(show=QUEUES[(at + 1) % len(QUEUES)], keep_example=False)

    def action_worst(self) -> None:
        """By the first measure that has a good end; asked again, by the next one."""
        review = self._review
        measures = [m.measure for m in review.metrics if m.direction != "none"] if review else []
        if not measures:
            self.say("no measure here has a better and a worse end")
            return
        at = measures.index(self._wanted.worst_by) if self._wanted.worst_by in measures else -1
        self._want(worst_by=measures[(at + 1) % len(measures)], keep_example=False)

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
        return False

    def action_candidate(self, step: int) -> None:
        if self._review is not None:
            self._want(candidate=_next(self._review.candidates, self._review.candidate, step))

    def action_baseline(self, step: int) -> None:
        if self._review is not None:
            self._want(baseline=_next(self._review.baselines, self._review.baseline, step))


def _next(models: Sequence[ModelRow], model: ModelRow, step: int) -> str:
    names = [each.name for each in models]
    return names[(names.index(model.name) + step) % len(names)]
