"""The versions of the eval set that runs used, what changed between them, and what people took out."""

import time

from textual.content import Content

from store.exclusions import ExclusionRow
from store.read.datasets import Changes
from tui.screens.splits.data import Data, Version
from tui.screens.splits.part import SEPARATOR, Part, flow, plural
from tui.text.gate import MISSING, age, cut, join, one_line, plain, wrap
from tui.widgets.table import Column, Columns

NEXT = "next run"
_COLUMNS = Columns(
    Column("version", 14),
    Column("first used", 10),
    Column("examples", 8, align="right"),
    Column("against the one before", 18, grow=1),
    Column("runs", 5, align="right"),
)

Item = str | Version | ExclusionRow


class Versions(Part):
    """The items: the next run where it will be on a new version, the versions, the excluded examples."""

    name = "versions"

    def __init__(self, data: Data, now: float) -> None:
        self._data, self._now = data, now
        out = sorted(data.out.values(), key=lambda row: -row.id)
        items: list[Item] = [NEXT] if data.pending else []
        super().__init__([*items, *data.versions, *out], str(len(data.versions)), "no eval set was read yet")

    def said(self, width: int) -> Content:
        summary = self._data.summary or {}
        file, left_out = summary.get("examples_file"), summary.get("excluded")
        parts = [plain(f"versions of {cut(str(file), 24)}")] if file and self.items else []
        if left_out:
            parts.append(plain(f"this run went without {plural(len(left_out), 'example')}"))
        if self._data.out:
            parts.append(plain(f"{len(self._data.out):,} excluded (x on its line puts it back)"))
        return join(parts, SEPARATOR)

    def heading(self, width: int) -> Content:
        return _COLUMNS.heading(width) if self.items else Content("")

    def row(self, item: Item, width: int) -> Content:
        if isinstance(item, ExclusionRow):
            said = f"excluded by {item.user}, {age(max(0.0, self._now - item.created))}"
            why = f": {item.reason}" if item.reason else ""
            return join(
                [Content.styled("× ", "$good"), one_line(item.example, "bold"), one_line(f"  {said}{why}")]
            )
        if isinstance(item, str):
            current = next(
                (each for each in self._data.versions if each.row.version == self._data.eval_set), None
            )
            left = len(self._data.pending)
            kept = f"{current.row.examples - left:,}" if current else MISSING
            cells: list[Content | str] = [
                plain(NEXT, "bold"),
                "",
                kept,
                plain(f"−{left:,} excluded", "$good"),
                "",
            ]
            return _COLUMNS.row(cells, width)
        row = item.row
        here = row.version == self._data.eval_set
        return _COLUMNS.row(
            [
                plain(row.version + (" ‹" if here else ""), "bold" if here else ""),
                time.strftime("%Y-%m-%d", time.gmtime(row.first)),
                f"{row.examples:,}",
                _changed(item.changes),
                f"{row.runs:,}",
            ],
            width,
        )

    def about(self, item: Item, width: int) -> list[Content]:
        if isinstance(item, ExclusionRow):
            head = [plain(cut(item.example, 40), "bold"), plain(f"seen in version {item.eval_set}")]
            day = time.strftime("%Y-%m-%d %H:%M", time.gmtime(item.created))
            lines = flow([*head, plain(f"{cut(item.user, 30)}, {day}")], width)
            return [*lines, *wrap(plain(item.reason or "no reason was given"), width)]
        if isinstance(item, str):
            names = ", ".join(sorted(example for example, _ in self._data.pending))
            return wrap(
                plain(f"the next run on this file is on a new version without {cut(names, 2_000)}"), width
            )
        here = " · this run's" if item.row.version == self._data.eval_set else ""
        lines = [plain(item.row.version, "bold") + plain(here)]
        runs = [plain(f"#{run.id} {cut(run.name, 24)}") for run in item.runs]
        more = item.row.runs - len(item.runs)
        runs += [plain(f"and {more:,} more")] if more > 0 else []
        lines += _labelled("runs", runs, width)
        for label, count, first in _named(item.changes):
            parts = [plain(cut(name, 30)) for name in first]
            parts += [plain(f"and {count - len(first):,} more")] if count > len(first) else []
            lines += _labelled(label, parts, width)
        return lines

    def key(self, item: Item) -> tuple[str, object]:
        if isinstance(item, ExclusionRow):
            return "out", item.id
        return ("next", 0) if isinstance(item, str) else ("version", item.row.version)


def _changed(found: Changes | None) -> Content:
    if found is None:
        return Content.styled("the oldest that is known", "$muted")
    counts = [("+", found.added, "added"), ("−", found.removed, "removed"), ("~", found.edited, "edited")]
    said = ", ".join(f"{sign}{count:,} {word}" for sign, count, word in counts if count)
    return plain(said or "the same examples")


def _named(found: Changes | None) -> list[tuple[str, int, tuple[str, ...]]]:
    if found is None:
        return []
    kinds = [
        ("added", found.added, found.added_names),
        ("removed", found.removed, found.removed_names),
        ("edited", found.edited, found.edited_names),
    ]
    return [kind for kind in kinds if kind[1]]


def _labelled(label: str, parts: list[Content], width: int) -> list[Content]:
    if not parts:
        return []
    lines = flow(parts, width - 9, ", ")
    heads = [Content.styled(f"{label:<9}", "$heading"), *([Content(" " * 9)] * (len(lines) - 1))]
    return [join([head, line]) for head, line in zip(heads, lines, strict=True)]
