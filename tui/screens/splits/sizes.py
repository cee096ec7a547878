"""The sizes of eval and training data, by split and by category, as bars."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from textual.content import Content

from tui.screens.splits.data import Data
from tui.screens.splits.part import Part, flow, plural
from tui.text.gate import MISSING, bar, cut, fit, join, magnitude, plain, printable

_GROUP, _NAME, _COUNT, _GAP = 10, 14, 7, "  "
GROUPS = {"by_split": "split", "by_category": "category"}
_EXACT = 100_000  # larger counts are rounded in the list, and exact below it


class Size(NamedTuple):
    """How many examples of a split or a category there are, of how many; None where there is no such set."""

    group: str
    name: str
    ours: int
    all_ours: int
    theirs: int | None
    all_theirs: int


class Sizes(Part):
    name = "sizes"
    below = 0.2

    def __init__(self, data: Data) -> None:
        summary = data.summary or {}
        self._data, self._summary = data, summary
        self._ours, self._theirs = summary.get("evaluation"), summary.get("training")
        sizes = [*_sizes(self._ours, self._theirs), *_remarks(summary)]
        super().__init__(sizes, "", "the data was not read yet")

    def said(self, width: int) -> Content:
        if not self.items:
            return Content("")
        split, selected = self._summary.get("split") or "all", self._summary.get("selected")
        which = "all examples" if split == "all" else f"the {split} split"
        if self._summary.get("fold") is not None:
            which = f"fold {self._summary['fold']}"
        file = self._summary.get("examples_file")
        name = f"eval set {self._data.eval_set}" + (f" in {cut(str(file), 30)}" if file else "")
        evaluated = MISSING if selected is None else f"{selected:,}"
        return plain(cut(f"evaluated {evaluated} of {which} · {name}", width))

    def heading(self, width: int) -> Content:
        if not self._ours:
            return Content("")
        ours = f"eval {self._ours['total']:,}"
        room = _room(width)
        theirs = self._training(room)
        cells = [fit(plain(cut(text, room)), room) for text in (ours, theirs)]
        return join([" " * (_GROUP + _NAME), *cells], _GAP).stylize("$heading")

    def row(self, item: Size | str, width: int) -> Content:
        if isinstance(item, str):
            return plain(cut(item, width), "$warn")
        room = _room(width)
        group = GROUPS[item.group] if item is self._first(item.group) else ""
        label = Content.styled(f"{group:<{_GROUP}}", "$heading") + fit(item.name, _NAME)
        cells = [_share(item.ours, item.all_ours, room)]
        if item.theirs is not None:
            cells.append(_share(item.theirs, item.all_theirs, room))
        return join([label, *cells], _GAP)

    def _training(self, room: int) -> str:
        """The training file with its size; without its name where there is no room for it."""
        if not self._theirs:
            return "no training data in the plan"
        total = f"{self._theirs['total']:,}"
        named = f"{printable(str(self._summary.get('train_file') or 'train'))} {total}"
        return named if len(named) <= room else f"train {total}"

    def _first(self, group: str) -> Size | None:
        return next((size for size in self.items if isinstance(size, Size) and size.group == group), None)

    def about(self, item: Size | str, width: int) -> list[Content]:
        """The category by split, or the split by category, in both sets."""
        if isinstance(item, str):
            return plain(item).wrap(max(1, width))
        sets = [("eval", self._ours), ("train", self._theirs)]
        lines = []
        for name, found in sets:
            cells = (found or {}).get("by_both") or {}
            if item.group == "by_category":
                counts = cells.get(item.name) or {}
            else:
                counts = {category: row.get(item.name, 0) for category, row in cells.items()}
            if counts:
                parts = [plain(f"{part} {count:,}") for part, count in counts.items()]
                lines += flow([Content.styled(f"{name:<5}", "$heading") + parts[0], *parts[1:]], width)
        counts = [plain(f"eval {item.ours:,}")] + (
            [] if item.theirs is None else [plain(f"train {item.theirs:,}")]
        )
        return [*flow([plain(cut(item.name, 40), "bold"), *counts], width), *lines]

    def key(self, item: Size | str) -> tuple[str, str]:
        return ("remark", item) if isinstance(item, str) else (item.group, item.name)


def _remarks(summary: Mapping[str, Any]) -> list[str]:
    """What is wrong with the eval set beside what training has seen of it."""
    twice = summary.get("duplicates")
    found = [f"! {plural(twice, 'pair')} of copies inside the eval set"] if twice else []
    return found + [
        f"! {plural(row['leaked'], 'example')} also in the earlier eval set {row.get('file')}"
        for row in summary.get("earlier") or ()
        if row.get("leaked")
    ]


def _sizes(ours: Mapping[str, Any] | None, theirs: Mapping[str, Any] | None) -> list[Size]:
    found: list[Size] = []
    for group in GROUPS:
        mine, others = ((part or {}).get(group) or {} for part in (ours, theirs))
        sums = sum(mine.values()), sum(others.values())
        found += [
            Size(group, name, mine.get(name, 0), sums[0], others.get(name, 0) if theirs else None, sums[1])
            for name in dict.fromkeys([*mine, *others])
        ]
    return found


def _room(width: int) -> int:
    return max(12, (width - _GROUP - _NAME - 2 * len(_GAP)) // 2)


def _share(size: int, total: int, room: int) -> Content:
    share = size / total if total else 0.0
    return join([fit(count(size), _COUNT, "right"), " ", share_bar(share, room - _COUNT - 1)])


def count(size: int) -> str:
    return f"{size:,}" if size < _EXACT else magnitude(size)


def share_bar(share: float, room: int, full: float = 1.0) -> Content:
    """A bar that is full at the share `full`, with the figure behind it, `room` cells in all."""
    filled, empty = bar(share / full if full else 0.0, max(2, room - 5))
    return join([Content.styled(filled, "$good"), Content.styled(empty, "$rule"), f"{share:>5.0%}"])
