"""The leaks: which examples stand in the training data, the gravest first, with both texts."""

from collections.abc import Mapping

from textual.content import Content

from store.read.datasets import LeakCount, LeakItem
from tui.screens.splits.data import Data, Leak
from tui.screens.splits.part import Part, plural
from tui.screens.splits.shared import Pair, lines
from tui.text.gate import cut, one_line, plain
from tui.widgets.table import Column, Columns

# The strictest first, as the list calls them.
TIERS = {"identical": "identical", "near": "near", "ngram": "n-gram", "meaning": "meaning"}
_EXCERPT = 300  # characters of a training text of which the list shows the beginning
_COLUMNS = Columns(
    Column("example", 12, grow=1),
    Column("tier", 11),
    Column("score", 5, align="right"),
    Column("found", 9, drop=1),
    Column("line", 9, align="right", drop=2),
    Column("training text", 20, grow=4),
)


class Leaks(Part):
    """The items are the leaks' ids; the rows of those near the cursor are loaded, and the pair under it."""

    name = "leakage"

    def __init__(self, data: Data, loaded: Mapping[int, Leak], pair: Pair | None = None) -> None:
        summary = data.summary or {}
        searched = bool(summary.get("training"))
        super().__init__(
            data.leaks, f"{sum(by_tier(data).values()):,}" if searched else "", _empty(data, searched)
        )
        self._data = data
        self._loaded = loaded
        self.pair = pair

    def said(self, width: int) -> Content:
        if self._data.search:
            found = f"{plural(len(self.items), 'pair')} with “{cut(self._data.search, 40)}” · esc shows all"
            return plain(cut(found, width), "$warn")
        hint = "the gravest first · words that both texts have are underlined"
        return Content.styled(hint if self.items else "", "$muted")

    def heading(self, width: int) -> Content:
        return _COLUMNS.heading(width) if self.items else Content("")

    def row(self, item: int, width: int) -> Content:
        leak = self._loaded.get(item)
        if leak is None:
            return Content.styled("…", "$muted")
        row = leak.row
        out = leak.identity in self._data.out
        return _COLUMNS.row(
            [
                row.example,
                _tier(row),
                f"{row.score:.2f}",
                row.field,
                f"{row.train_line:,}",
                Content.styled("× excluded from the next run", "$good")
                if out
                else one_line(row.excerpt[:_EXCERPT]),
            ],
            width,
        )

    def about(self, item: int, width: int) -> list[Content]:
        """Both texts with the words that they share."""
        return lines(self.pair, width) if self.pair is not None and self.pair.leak.id == item else []


def _tier(row: LeakItem) -> Content:
    """How it was found; what is told of without making its example leaked stands back."""
    if row.tier not in TIERS:
        return plain(row.tier, "$muted")
    return (
        Content.styled(TIERS[row.tier], "$warn") if counts(row) else Content.styled("answer only", "$muted")
    )


def counts(row: LeakItem | LeakCount) -> bool:
    """Whether the example counts as leaked: a whole answer may rightly stand under another question."""
    return row.tier in TIERS and (row.field != "reference" or row.tier == "ngram")


def by_tier(data: Data) -> dict[str, int]:
    """Leaked examples by tier: what the run counted, else what it recorded."""
    counted = (data.summary or {}).get("leaks_by_tier")
    if isinstance(counted, Mapping):
        return {tier: int(counted.get(tier) or 0) for tier in TIERS}
    found = [row for row in data.counts if counts(row)]
    return {tier: sum(row.examples for row in found if row.tier == tier) for tier in TIERS}


def _empty(data: Data, searched: bool) -> str:
    if data.search:
        return "no leak matches: esc shows all"
    if data.summary is None:
        return "the data was not read yet"
    if not searched:
        return "the plan names no training data (train in [data]), so no leak was searched for"
    return "no example was found in the training data"
