"""Choosing what to look at in Review: the queue, the order, a search, the two models."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from store.read.rows import ModelRow
from tui.keys import bindings
from tui.screens.review.choices import SEARCH, SLICES, measure_choices, queue_choices, slice_choices
from tui.screens.review.queue import QueueScreen
from tui.widgets.footer import Footer
from tui.widgets.menu import Choice, Menu


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

    def _choose(self, label: str, choices: Sequence[Choice[str]], chosen: Callable[[str], None]) -> None:
        """Opens a menu at the bottom; its label stands above it."""

        def done(value: str | None) -> None:
            self._close_question()
            if value is not None:
                chosen(value)

        self._open_question(Menu(choices, done))
        self.query_one(Footer).ask(label, "a letter, or j k and enter · esc: leave")

    async def action_queue(self) -> None:
        review = self._review
        if review is None:
            return
        with self._told():
            choices = await self.assay.store.ask(queue_choices, self.run_id, review)
            self._choose("queue", choices, self._queue_chosen)

    def _queue_chosen(self, name: str) -> None:
        if name == SEARCH:
            self.action_filter()
        elif name == SLICES:
            self.run_worker(self._choose_slice())
        else:
            self._want(show=name, search="", keep_example=False, resumed=True)

    async def _choose_slice(self) -> None:
        with self._told():
            choices = await self.assay.store.ask(slice_choices, self.run_id)
            if choices:
                self._choose("slice", choices, self._queue_chosen)
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
            self._choose(
                "worst first by", choices, lambda name: self._want(worst_by=name, keep_example=False)
            )

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
