"""The test lock's ledger: who looked at or ran on a locked split, when and why."""

import time

from textual.content import Content

from store.read.datasets import Use
from tui.screens.splits.data import Data
from tui.screens.splits.part import SEPARATOR, Part, flow, plural, times
from tui.text.gate import MISSING, age, cut, join, plain, wrap
from tui.widgets.table import Column, Columns

_COLUMNS = Columns(
    Column("when", 10),
    Column("", 8),
    Column("split", 10, drop=1),
    Column("who", 12, grow=1),
    Column("run", 6, align="right"),
    Column("why", 14, grow=3),
)


class Lock(Part):
    name = "lock"

    def __init__(self, data: Data, now: float) -> None:
        super().__init__(data.uses, str(len(data.uses)), "the test split of this eval set was not used yet")
        self._now = now
        self._training = (data.summary or {}).get("train_sha256")

    def said(self, width: int) -> Content:
        if not self.items:
            return Content("")
        people = len({use.user for use in self.items})
        by = "one person" if people == 1 else f"{people} people"
        parts = [plain(f"used {times(len(self.items))} by {by}")]
        if edited := sum(self._edited(use) for use in self.items):
            parts.append(plain(f"! {plural(edited, 'use')} before the training data was edited", "$warn"))
        return join(parts, SEPARATOR)

    def _edited(self, use: Use) -> bool:
        """Training data edited after a look at the test split may have been edited because of it."""
        return bool(self._training and use.training and use.training != self._training)

    def heading(self, width: int) -> Content:
        return _COLUMNS.heading(width) if self.items else Content("")

    def row(self, item: Use, width: int) -> Content:
        mark = "! trained on other data since: " if self._edited(item) else ""
        return _COLUMNS.row(
            [
                time.strftime("%Y-%m-%d", time.gmtime(item.created)),
                age(max(0.0, self._now - item.created)),
                item.split,
                item.user,
                MISSING if item.run_id is None else f"#{item.run_id}",
                mark + item.reason,
            ],
            width,
        )

    def about(self, item: Use, width: int) -> list[Content]:
        where = f"run #{item.run_id} {cut(item.run_name or '', 40)}" if item.run_id else "without a run"
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(item.created))
        parts = [plain(where), plain(f"{item.split} split"), plain(when)]
        head = flow([plain(cut(item.user, 40), "bold"), *parts], width)
        note = "the training data is not what it was at this use" if self._edited(item) else ""
        return [*head, *wrap(plain(item.reason), width), *wrap(plain(note, "$warn"), width)]

    def key(self, item: Use) -> int:
        return item.id
