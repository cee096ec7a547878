"""The failure log: which failures people tagged, run after run, and the answers that carry each tag."""

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from textual import work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content

from store.read.query import matches
from tui.keys import bindings, written
from tui.screens.base import beside
from tui.screens.choosing import ExportingScreen, FilteredScreen
from tui.screens.watch import StoreFailed
from tui.text.gate import join, one_line, plain, wrap
from tui.widgets.lines import Line, Pane
from tui.widgets.rows import Columns, FlexColumn, Rows

if TYPE_CHECKING:
    from store.read.answers import AlikeRow
    from store.read.history import Connection
    from store.read.labels import RunTags, TaggedRow, TagRow

SETTLE_SECONDS = 0.2  # the cursor rests so long before the lower half follows it
RUNS = 12  # the newest, whose bars are drawn
ANSWERS = 2_000  # of all tags, the newest
TAGS = Columns(
    FlexColumn("", 1),
    FlexColumn("tag", 14, grow=1, key=lambda tag: tag.name),
    FlexColumn("answers", 7, align="right", key=lambda tag: tag.answers),
    FlexColumn("runs", 4, align="right", drop=2, key=lambda tag: tag.runs),
    FlexColumn("over the runs", 13),
    FlexColumn("", 26, drop=1),
)
TAGGED = Columns(
    FlexColumn("run", 5, align="right"),
    FlexColumn("example", 12),
    FlexColumn("category", 10, drop=2),
    FlexColumn("model", 12, drop=1),
    FlexColumn("query", 20, grow=1),
    FlexColumn("by", 8, drop=3),
)
ALIKE = Columns(
    FlexColumn("example", 12),
    FlexColumn("category", 10, drop=2),
    FlexColumn("in common", 24, drop=1),
    FlexColumn("query", 20, grow=1),
)
_BARS = "▂▃▄▅▆▇█"


class FailureLog(NamedTuple):
    tags: "list[TagRow]"
    runs: "list[RunTags]"
    answers: "list[TaggedRow]"


class FailureLogScreen(FilteredScreen, ExportingScreen):
    """Tags above, the answers of the one under the cursor below."""

    NAME = "Failure log"
    FILTER = "filter tags"
    FOOTER = ("move.open", "failures.alike", "failures.export", "find.filter")
    BINDINGS = bindings("failures.alike", "failures.export", "find.filter")
    DEFAULT_CSS = """
    FailureLogScreen #below { border-top: solid $rule; height: 2; padding: 0 1; }
    FailureLogScreen.-wide #below { border-top: none; height: 1; }
    FailureLogScreen #answers { height: 1fr; }
    FailureLogScreen #text { display: none; border-top: solid $rule; padding: 0 1; }
    FailureLogScreen.-wide #text { display: block; }
    """

    def __init__(self, run_id: int) -> None:
        super().__init__(run_id)
        self._log = FailureLog([], [], [])
        self._alike: list[AlikeRow] | None = None  # shown instead of the tagged answers
        self._told = ""  # the tag that the lower half is about

    def compose(self) -> ComposeResult:
        empty = f"no failure tags yet: {written('review.flag')} in Review tags an answer"
        tags = Rows(self._draw_tag, empty=empty, columns=TAGS, id="tags")
        rows, text = Rows(_draw_answer, empty="", id="answers"), Pane(focusable=True, id="text")
        yield from self.framed(beside(tags, Vertical(Line(id="below"), rows, text)))

    @property
    def tags(self) -> "Rows[TagRow]":
        return self.query_one("#tags", Rows)

    @property
    def answers(self) -> "Rows[TaggedRow | AlikeRow]":
        return self.query_one("#answers", Rows)

    # Reading and showing

    def read_run(self, connection: "Connection") -> FailureLog:
        from store.read import labels

        return FailureLog(
            labels.tags(connection),
            labels.by_run(connection, limit=RUNS),
            labels.failures(connection, limit=ANSWERS),
        )

    def show_run(self, data: FailureLog) -> None:
        self._log = data
        self.redraw()

    def redraw(self) -> None:
        above = max(1, min(len(self._log.tags), self.size.height // 2 - 3)) + 1
        self.tags.styles.height = "1fr" if self.is_wide else above
        found = [tag for tag in self._log.tags if matches(self._search, {"tag": tag.name})]
        self.tags.show(found, key=lambda row: row.name)
        self._draw_answers()

    def _draw_tag(self, tag: "TagRow", width: int) -> Content:
        counts = [run.answers.get(tag.name, 0) for run in self._log.runs]
        most = max((count for run in self._log.runs for count in run.answers.values()), default=1)
        cells = [tag.letter or "", tag.name, f"{tag.answers:,}", str(tag.runs), bars(counts, most)]
        return TAGS.row([*cells, lasting(counts)], width)

    def _draw_answers(self) -> None:
        tag = self.tags.item
        name = tag.name if tag is not None else ""
        if name != self._told:
            self._told, self._alike = name, None
        below = self.query_one("#below", Line)
        if tag is None:
            below.set(Content(""))
            self.answers.show([])
        elif self._alike is not None:
            below.set(_titled("Untagged, similar to “", tag.name, f"” in run {self.run_id}, by their words"))
            empty = f"no example of run {self.run_id} has rare words in common with the tagged ones"
            self.answers.show(self._alike, empty=empty, key=lambda row: row.example_id)
        else:
            below.set(_titled("Answers with “", tag.name, "”"))
            found = [row for row in self._log.answers if row.tag == tag.name]
            self.answers.show(found, empty="no tags left", key=lambda row: row)
        self._draw_text()

    def _draw_text(self) -> None:
        """On a wide terminal the answer under the lower cursor, in full."""
        row = self.answers.item
        if self.is_wide and row is not None:
            self._read_text(row)
        else:
            self.query_one("#text", Pane).show([])

    @work(group="text", exclusive=True)
    async def _read_text(self, row: "TaggedRow | AlikeRow") -> None:
        from store.read.answers import answer_cases

        run_id, model = getattr(row, "run_id", self.run_id), getattr(row, "model", self.pair[0])
        with suppress(StoreFailed):  # what failed is said when the screen itself is read
            found = await self.assay.store.ask(answer_cases, run_id, model, None, "", [row.example])
            lines = [Content.styled("query", "$heading"), *wrap(plain(row.query), self.beside_cells)]
            for case in found:
                said = plain(case.candidate_answer or f"missing: {case.candidate_reason or 'not recorded'}")
                lines += [one_line(model, "$heading"), *wrap(said, self.beside_cells)]
            if self.answers.item is row:
                self.query_one("#text", Pane).show(lines, keep_place=False)

    def on_rows_moved(self, event: Rows.Moved) -> None:
        """The lower half follows once the cursor rests: holding a key writes two lines a step."""
        if event.rows is self.tags:
            tag = self.tags.item
            self.set_timer(SETTLE_SECONDS, lambda: self._settled(tag))
        else:
            self._draw_text()

    def _settled(self, tag: "TagRow | None") -> None:
        """Follows, unless the lower half is about this tag already, be it with suggestions."""
        if self.tags.item is tag and (tag is None or tag.name != self._told):
            self._follow()

    def _follow(self) -> None:
        self._alike = None
        self._draw_answers()

    @property
    def example_at_cursor(self) -> int | None:
        row = self.answers.item if self.focused is self.answers else None
        return (
            row.example_id if row is not None and getattr(row, "run_id", self.run_id) == self.run_id else None
        )

    # Keys

    def on_rows_opened(self, event: Rows.Opened) -> None:
        from tui.screens.review.screen import ReviewScreen

        if event.rows is self.tags:
            self.set_focus(self.answers)
            return
        row = self.answers.item
        if row is not None:
            run_id, model = getattr(row, "run_id", self.run_id), getattr(row, "model", None)
            self.app.push_screen(ReviewScreen(run_id, model, example_id=row.example_id))

    def back(self) -> bool:
        """From the suggestions to the tagged answers, from those to the tags."""
        if self._alike is not None:
            self._follow()
            return True
        if self.focused is self.answers:
            self.set_focus(self.tags)
            return True
        return super().back()

    async def action_alike(self) -> None:
        from store.read.answers import alike

        tag = self.tags.item
        if tag is None:
            self.say(f"nothing is tagged yet: {written('review.flag')} in Review tags a failure")
            return
        if self._alike is not None:
            self._follow()
            return
        try:
            found = await self.assay.store.ask(alike, self.run_id, tag.name)
        except StoreFailed as error:
            self.say(str(error).split("\n")[0], error=True)
            return
        if self.tags.item is tag:
            self._told, self._alike = tag.name, found
            self._draw_answers()
            self.set_focus(self.answers)

    def action_export(self) -> None:
        """Asks where to, with a place in the store's folder to start from."""
        tag = self.tags.item
        if tag is None or not tag.answers:
            self.say("there is no tagged answer to write")
            return
        tagged = {row.run_id for row in self._log.answers if row.tag == tag.name}
        run_id = self.run_id if self.run_id in tagged else tag.last_run or self.run_id
        label = f"eval set of run {run_id}'s examples with this tag"
        words = ("export", str(run_id)), ("--format", "examples", f"--tag={tag.name}")
        self.ask_file(label, f"{tag.name[:40]}-run-{run_id}", *words)


def bars(counts: Sequence[int], most: int) -> str:
    """One block a run, the oldest first; a run without the tag is a low line."""
    steps = len(_BARS) - 1
    return "".join(_BARS[round(steps * count / most)] if count else "▁" for count in counts)


def lasting(counts: Sequence[int]) -> Content:
    """Whether a failure persists, from the runs in which people tagged, oldest first."""
    having = sum(1 for count in counts if count)
    if not having:
        return Content("")
    since = next(place for place, count in enumerate(reversed(counts)) if count)
    if since:
        return Content.styled(f"not in the newest {'one' if since == 1 else since}", "$good")
    if having == 1:
        return Content("new" if len(counts) > 1 else "")
    return Content.styled(f"persists: {having} of {len(counts)} runs", "$bad")


def _titled(before: str, tag: str, after: str) -> Content:
    return join(
        [Content.styled(before, "$heading"), one_line(tag, "bold"), Content.styled(after, "$heading")]
    )


def _draw_answer(row: "TaggedRow | AlikeRow", width: int) -> Content:
    from store.read.labels import TaggedRow

    if isinstance(row, TaggedRow):
        cells = [str(row.run_id), row.example, row.category or "", row.model, row.query, row.annotator]
        return TAGGED.row(cells, width)
    mark = Content("= " if row.same_category else "  ")
    category = join([mark, one_line(row.category or "")])
    return ALIKE.row([row.example, category, ", ".join(row.words), row.query], width)
