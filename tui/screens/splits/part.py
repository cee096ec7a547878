"""What a part of the Splits screen is: words above, a list, and what is said of the item under the cursor."""

from collections.abc import Hashable, Sequence
from typing import Any

from textual.content import Content

from tui.text.gate import join

SEPARATOR = " · "


class Part:
    """One of the screen's parts, made anew from what the store holds; `items` are the rows of its list."""

    name = ""

    def __init__(self, items: Sequence[Any] = (), note: str = "", empty: str = "") -> None:
        self.items = items
        self.note = note  # behind the part's name: how many there are
        self.empty = empty

    def said(self, width: int) -> Content:
        """The line above the list."""
        return Content("")

    def heading(self, width: int) -> Content:
        """The columns' names; empty where the rows need none."""
        return Content("")

    def row(self, item: Any, width: int) -> Content:
        raise NotImplementedError

    def about(self, item: Any, width: int) -> list[Content]:
        """Everything about one item."""
        return []

    def key(self, item: Any) -> Hashable:
        """What makes an item the same one after the store was read again."""
        found: Hashable = item
        return found


def flow(parts: Sequence[Content], width: int, between: str = SEPARATOR) -> list[Content]:
    """The parts in as few lines as they need, none of them broken unless it is wider than a line."""
    lines: list[list[Content]] = []
    used = 0
    for part in parts:
        if lines and used + len(between) + part.cell_length <= width:
            lines[-1].append(part)
            used += len(between) + part.cell_length
        else:
            lines.append([part])
            used = part.cell_length
    return [wrapped for line in lines for wrapped in join(line, between).wrap(max(1, width))]


def plural(count: int, word: str) -> str:
    """A count with its word: 1 example, 1,204 examples."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count:,} times")
