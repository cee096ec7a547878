"""Review: two answers side by side, and a person's own judgement of them, one key a decision."""

from dataclasses import replace

from engine.example import query_id
from engine.person import user_name
from store.annotations import annotate, undo
from tui.exclusion import toggle
from tui.keys import bindings
from tui.screens.review_lines import DECISIONS
from tui.screens.review_queue import QueueScreen

TAGS_OFFERED = 5


class ReviewScreen(QueueScreen):
    """The queue, with keys to decide."""

    FOOTER = (
        "review.left", "review.right", "review.tie", "review.both_bad", "review.next", "review.undo",
        "review.queue", "review.worst", "review.details", "review.note", "review.flag", "find.filter",
        "review.exclude",
    )  # fmt: skip
    BINDINGS = bindings(
        "review.left", "review.right", "review.tie", "review.both_bad", "review.undo", "review.note",
        "review.flag", "review.exclude",
    )  # fmt: skip

    async def action_prefer(self, value: str) -> None:
        """Records a preference, and only when it is on disk shows the next example."""
        review = self._review
        if review is None or review.pair is None:
            return
        view = review.pair.view
        with self._told():
            await self._record("preference", value)
            first = not any(note.kind == "preference" for note in view.annotations)
            self._review = replace(review, undecided=review.undecided - first)
            last = review.place + 1 == len(review.items)
            await self._go_to(review.place + (not last))
            said = f"{view.example.example}: {DECISIONS[value]}"
            self.say(f"{said}; this was the last one" if last else said)

    async def _record(self, kind: str, value: str) -> None:
        """Raises StoreFailed when it could not be written."""
        review = self._review
        if review is not None and review.pair is not None:
            await self.assay.store.ask(
                annotate,
                self.run_id,
                review.pair.view.example.id,
                kind,
                value,
                left_id=review.baseline.id,
                right_id=review.candidate.id,
                annotator=user_name(),
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
        with self._told():
            await self._record(kind, text)
            self.reload()

    async def action_exclude(self) -> None:
        """Takes this example out of later runs, or puts it back."""
        if self.run is None or self.run.eval_set is None or self._review is None or self._review.pair is None:
            return
        example = self._review.pair.view.example
        identity = example.example, query_id(example.query)
        with self._told():
            self.say(await self.assay.store.ask(toggle, self.run.eval_set, identity))

    async def action_undo(self) -> None:
        """Takes back the newest decision, whichever queue it was made in, and goes there."""
        with self._told():
            example = await self.assay.store.ask(undo, self.run_id, user_name())
            if example is None:
                self.say("there is nothing to take back")
                return
            self._wanted = replace(self._wanted, example_id=example)
            if self._review and all(item.example_id != example for item in self._review.items):
                self._wanted = replace(self._wanted, show="all", search="")
            self.reload()
            self.say("taken back")
