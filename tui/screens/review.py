"""Review: two answers side by side, and a person's own judgement of them, one key a decision."""

from dataclasses import replace
from getpass import getuser

from textual.app import ComposeResult
from textual.events import Resize

from store.history import Connection
from tui.keys import bindings
from tui.screens.base import RunScreen
from tui.screens.review_answers import Answers
from tui.screens.review_data import QUEUES, Review, Wanted, decide, read_pair, read_review, take_back
from tui.screens.review_lines import DECISIONS, details, excerpt, metrics_line, position, verdict_line
from tui.widgets.lines import Line, Pane

ROOMY = 34  # lines of terminal from which on the details stand below the answers
TAGS_OFFERED = 5


class ReviewScreen(RunScreen):
    """A queue through a run's examples for one candidate (right) and one baseline (left)."""

    NAME = "Review"
    AUTO_FOCUS = ""
    FOOTER = (
        "review.left", "review.right", "review.tie", "review.both_bad", "review.next", "review.undo",
        "review.queue", "review.worst", "review.details", "review.note", "review.flag", "find.filter",
    )  # fmt: skip
    BINDINGS = bindings(
        "review.next", "review.previous", "review.first", "review.last", "review.left", "review.right",
        "review.tie", "review.both_bad", "review.undo", "review.note", "review.flag", "review.worst",
        "review.in_order", "review.queue", "review.details", "review.details_down", "review.details_up",
        "review.scroll_down", "review.scroll_up", "review.page_down", "review.page_up", "find.filter",
        "compare.candidate", "compare.candidate_back", "compare.baseline", "compare.baseline_back",
    )  # fmt: skip
    DEFAULT_CSS = """
    ReviewScreen #position { background: $panel; padding: 0 1; }
    ReviewScreen #question, ReviewScreen #facts { padding: 0 1; }
    ReviewScreen #facts { height: 2; }
    ReviewScreen #answers { height: 3fr; padding: 0 1; border-top: solid $rule; border-bottom: solid $rule; }
    ReviewScreen #details { height: 2fr; padding: 0 1; }
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
    ) -> None:
        super().__init__(run_id)
        self._wanted = Wanted(candidate, baseline, show, search, worst_by)
        self._review: Review | None = None
        self._details: bool | None = None  # None: where there is room
        self._example: int | None = None  # the one on the screen
        self._person = getuser()

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
        self._draw_position()
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
        self.query_one("#details", Pane).show(details(view, review, width), keep_place=same)

    def _draw_position(self) -> None:
        if self._review is not None:
            line = position(self._review, self._wanted, self.size.width - 2)
            self.query_one("#position", Line).set(line)

    @property
    def _roomy(self) -> bool:
        return self.size.height >= ROOMY

    def _arrange(self) -> None:
        """Which parts stand on the screen: on a small one the details take the answers' place."""
        shown = self._roomy if self._details is None else self._details
        self.query_one("#question").styles.height = 5 if self._roomy else 2
        self.query_one("#details").display = shown
        self.query_one("#facts").display = not shown
        self.query_one("#answers").display = self._roomy or not shown

    # Moving

    async def _go_to(self, place: int) -> None:
        """Opens the example at a place in the queue, as near to it as there are examples."""
        review = self._review
        if review is None or not review.items:
            return
        place = max(0, min(len(review.items) - 1, place))
        item = review.items[place].example_id
        pair = await self.assay.store.ask(
            read_pair, self.run_id, review.candidate.id, review.baseline.id, item
        )
        self._wanted = replace(self._wanted, example_id=item, place=place)
        self._review = replace(review, place=place, pair=pair)
        self._shown = None  # what was read last is no longer what stands here
        self._draw()

    async def action_next(self) -> None:
        await self._step(1)

    async def action_previous(self) -> None:
        await self._step(-1)

    async def _step(self, count: int) -> None:
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

    def action_scroll(self, count: int) -> None:
        answers = self.query_one(Answers)
        if answers.display:
            answers.scroll_rows(count)
        else:
            self.query_one("#details", Pane).scroll_lines(count)

    def action_scroll_page(self, direction: int) -> None:
        answers = self.query_one(Answers)
        if answers.display:
            answers.scroll_half(direction)
        else:
            self.action_scroll_details(direction)

    def action_scroll_details(self, direction: int) -> None:
        pane = self.query_one("#details", Pane)
        pane.scroll_lines(direction * max(1, pane.size.height // 2))

    def action_details(self) -> None:
        self._details = not (self._roomy if self._details is None else self._details)
        self._arrange()

    # Choosing what to look at

    def _want(self, *, keep_example: bool = True, **changes: str | None) -> None:
        self._wanted = replace(self._wanted, **changes)  # type: ignore[arg-type]  # names of Wanted's str fields
        if not keep_example:
            self._wanted = replace(self._wanted, example_id=None, place=0)
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
            names = [model.name for model in self._review.candidates]
            self._want(candidate=names[(names.index(self._review.candidate.name) + step) % len(names)])

    def action_baseline(self, step: int) -> None:
        if self._review is not None:
            names = [model.name for model in self._review.baselines]
            self._want(baseline=names[(names.index(self._review.baseline.name) + step) % len(names)])

    # Deciding

    async def action_prefer(self, value: str) -> None:
        """Records a preference, and only when it is on disk shows the next example."""
        review = self._review
        if review is None or review.pair is None:
            return
        view = review.pair.view
        await self._record("preference", value)
        first = not any(note.kind == "preference" for note in view.annotations)
        self._review = replace(review, undecided=review.undecided - first)
        last = review.place + 1 == len(review.items)
        await self._go_to(review.place + (not last))
        said = f"{view.example.example}: {DECISIONS[value]}"
        self.say(f"{said}; this was the last one" if last else said)

    async def _record(self, kind: str, value: str) -> None:
        review = self._review
        if review is None or review.pair is None:
            return
        await self.assay.store.ask(
            decide,
            self.run_id,
            review.pair.view.example.id,
            kind,
            value,
            review.baseline.id,
            review.candidate.id,
            self._person,
        )

    def action_note(self) -> None:
        if self._review is not None and self._review.pair is not None:
            self.ask("note", lambda text: self._annotate("note", text))

    def action_flag(self) -> None:
        review = self._review
        if review is None or review.pair is None:
            return
        offered = review.tags[:TAGS_OFFERED]
        hint = "  ".join(f"{number} {tag}" for number, tag in enumerate(offered, 1))

        def tagged(text: str) -> None:
            chosen = text.isdecimal() and 0 < int(text) <= len(offered)
            self._annotate("tag", offered[int(text) - 1] if chosen else text)

        self.ask(f"tag ({hint})" if offered else "tag", tagged)

    def _annotate(self, kind: str, text: str) -> None:
        if text.strip():
            self.run_worker(self._annotated(kind, text.strip()))

    async def _annotated(self, kind: str, text: str) -> None:
        await self._record(kind, text)
        self.reload()

    async def action_undo(self) -> None:
        """Takes back the newest decision, whichever queue it was made in, and goes there."""
        example = await self.assay.store.ask(take_back, self.run_id, self._person)
        if example is None:
            self.say("there is nothing to take back")
            return
        self._wanted = replace(self._wanted, example_id=example)
        if self._review and all(item.example_id != example for item in self._review.items):
            self._wanted = replace(self._wanted, show="all", search="")
        self.reload()
        self.say("taken back")
