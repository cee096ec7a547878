"""The parts of the Splits screen: leaks, sizes, coverage, the test lock, versions."""

import re
import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import groupby, zip_longest
from typing import Any, NamedTuple

from textual.content import Content, Span

from engine.data.example import normalise
from store.read.datasets import Changes, LeakCount, Use
from store.read.rows import LeakItem, LeakTexts
from store.records import Exclusion
from tui.screens.splits.data import LeakEntry, SplitsData, VersionEntry
from tui.text.diff import Segment, common, tokens
from tui.text.gate import (
    MISSING,
    age,
    bar,
    counted,
    cut,
    fit,
    join,
    magnitude,
    one_line,
    plain,
    printable,
    wrap,
)
from tui.text.side_by_side import wrapped
from tui.widgets.rows import Columns, FlexColumn

SEPARATOR = " · "


class SplitsPart:
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


def times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count:,} times")


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


class SizesPart(SplitsPart):
    name = "sizes"
    below = 0.2

    def __init__(self, data: SplitsData) -> None:
        summary = data.summary or {}
        self._data, self._summary = data, summary
        self._ours, self._theirs = summary.get("evaluation"), summary.get("training")
        sizes = [*_sizes(self._ours, self._theirs), *_remarks(summary)]
        super().__init__(sizes, "", data.unread)

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
    found = [f"! {counted(twice, 'group')} of copies inside the eval set"] if twice else []
    return found + [
        f"! {counted(row['leaked'], 'example')} also in the previous eval set {row.get('file')}"
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


SETS = ("eval", "train", "log")
_LACKING, _NARROW = 12, 70
_BETWEEN = "  "
# The usual reading of a population stability index: below the first stable, above the second shifted.
_STABLE, _SHIFTED = 0.1, 0.25
_SURE = 0.05
_UNLIKE = "≠"
_KINDS = {"length": "lengths", "category": "categories", "cluster": "subjects"}

CoverageItem = tuple[int, Mapping[str, Any]] | str


class CoveragePart(SplitsPart):
    """The items are clusters of questions, the largest first."""

    name = "coverage"

    def __init__(self, data: SplitsData) -> None:
        found: Mapping[str, Any] = (data.summary or {}).get("coverage") or {}
        self._found = found
        clusters = list(found.get("clusters") or ())
        self._totals = {
            name: sum(cluster["sizes"].get(name, 0) for cluster in clusters)
            for name in SETS
            if any(name in cluster["sizes"] for cluster in clusters)
        }
        self._largest = max(
            (share for each in clusters for share in _shares(each, self._totals)), default=1.0
        )
        self._gaps = {gap["cluster"]: gap for gap in found.get("gaps") or ()}
        reason = found.get("reason") or "coverage was not measured in this run: `assay coverage` does it"
        lacking = f"!{len(self._gaps)}" if self._gaps else ""
        drifts = [_drift(name, drift) for name, drift in (found.get("drift") or {}).items()]
        super().__init__(
            [*enumerate(clusters), *drifts], lacking or (str(len(clusters)) if clusters else ""), reason
        )

    def said(self, width: int) -> Content:
        if not self.items:
            return Content("")
        if "log" not in self._totals:
            return Content.styled("no log of production queries in the plan (queries in [data])", "$muted")
        if self._gaps:
            lacking = counted(len(self._gaps), "kind")
            return plain(f"! the log asks {lacking} of question that the eval set lacks", "$warn")
        return Content.styled("+ the eval set has every kind of question that the log asks", "$good")

    def heading(self, width: int) -> Content:
        if not self.items:
            return Content("")
        label, room = self._rooms(width)
        heads = [fit(_total(name, total, room), room) for name, total in self._totals.items()]
        return join([fit("questions about", label), *heads], _BETWEEN).stylize("$heading")

    def row(self, item: CoverageItem, width: int) -> Content:
        if isinstance(item, str):
            return plain(cut(item, width), "$warn" if item.startswith(_UNLIKE) else "")
        number, cluster = item
        label, room = self._rooms(width)
        cells = [share_bar(share, room, self._largest) for share in _shares(cluster, self._totals)]
        gap = self._gaps.get(number)
        lacks = "!" if width < _NARROW else "! lacks"
        missing = Content.styled(f"{lacks} {gap['missing']:,}", "$warn") if gap else Content("")
        name = fit(str(cluster.get("label") or "no words of its own"), label)
        return join([name, *cells, *([fit(missing, self._lacking(width))] if self._gaps else [])], _BETWEEN)

    def _rooms(self, width: int) -> tuple[int, int]:
        """Cells for a cluster's words, and for each set's bar."""
        sets = max(1, len(self._totals))
        left = width - (len(_BETWEEN) + self._lacking(width) if self._gaps else 0) - sets * len(_BETWEEN)
        label = max(12, min(34, left * 3 // 8))
        return label, max(8, (left - label) // sets)

    def _lacking(self, width: int) -> int:
        return _LACKING if width >= _NARROW else _LACKING // 2

    def about(self, item: CoverageItem, width: int) -> list[Content]:
        """A cluster's counts, what is lacking of it, and its most typical questions."""
        if isinstance(item, str):
            return plain(item).wrap(max(1, width))
        number, cluster = item
        counts = [plain(f"{name} {cluster['sizes'].get(name, 0):,}") for name in self._totals]
        lines = flow([plain(str(cluster.get("label") or ""), "bold"), *counts], width)
        if gap := self._gaps.get(number):
            lacks = f"the log asks this {gap['wanted']:.1%} of the time, the eval set {gap['found']:.1%}: "
            lines += plain(f"{lacks}{counted(gap['missing'], 'example')} missing", "$warn").wrap(
                max(1, width)
            )
        return [*lines, *(one_line(cut(f"“{text}”", width)) for text in cluster.get("examples") or ())]

    def key(self, item: CoverageItem) -> Hashable:
        return item if isinstance(item, str) else item[0]


def _shares(cluster: Mapping[str, Any], totals: Mapping[str, int]) -> list[float]:
    """A cluster's share of each set."""
    return [cluster["sizes"].get(name, 0) / total if total else 0.0 for name, total in totals.items()]


def _total(name: str, size: int, room: int) -> str:
    """A set's name and size, rounded where there is no room for all of it."""
    exact = f"{name} {size:,}"
    return exact if len(exact) <= room else f"{name} {magnitude(size)}"


def _drift(name: str, drift: Mapping[str, Any]) -> str:
    """How far another set lies from the eval set, in words with the figures."""
    other = {"train": "training data", "log": "log"}.get(name, name)
    told = drift.get("classifier") or {}
    found = []
    if told.get("accuracy") is not None and (told.get("p") or 0.0) < _SURE:
        found.append(f"a classifier tells it from the eval set ({told['accuracy']:.0%} right)")
    found += [
        f"{word} shifted{'' if drift[kind] >= _SHIFTED else ' a little'} (PSI {drift[kind]:.2f})"
        for kind, word in _KINDS.items()
        if drift.get(kind) is not None and drift[kind] >= _STABLE
    ]
    if not found:
        return f"= {other}: like the eval set"
    return f"{_UNLIKE} {other}: {', '.join(found)}"


_USES = Columns(
    FlexColumn("when", 10),
    FlexColumn("", 8),
    FlexColumn("split", 10, drop=1),
    FlexColumn("who", 12, grow=1),
    FlexColumn("run", 6, align="right"),
    FlexColumn("why", 14, grow=3),
)


class LockPart(SplitsPart):
    name = "lock"

    def __init__(self, data: SplitsData, now: float) -> None:
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
            parts.append(plain(f"! {counted(edited, 'use')} before the training data was edited", "$warn"))
        return join(parts, SEPARATOR)

    def _edited(self, use: Use) -> bool:
        """Training data edited after a look at the test split may have been edited because of it."""
        return bool(self._training and use.training and use.training != self._training)

    def heading(self, width: int) -> Content:
        return _USES.heading(width) if self.items else Content("")

    def row(self, item: Use, width: int) -> Content:
        mark = "! trained on other data since: " if self._edited(item) else ""
        return _USES.row(
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


NEXT = "next run"
_VERSIONS = Columns(
    FlexColumn("version", 14),
    FlexColumn("first used", 10),
    FlexColumn("examples", 8, align="right"),
    FlexColumn("against the one before", 18, grow=1),
    FlexColumn("runs", 5, align="right"),
)

VersionItem = str | VersionEntry | Exclusion


class VersionsPart(SplitsPart):
    """The items: the next run where it will be on a new version, the versions, the excluded examples."""

    name = "versions"

    def __init__(self, data: SplitsData, now: float) -> None:
        self._data, self._now = data, now
        out = sorted(data.out.values(), key=lambda row: -row.id)
        items: list[VersionItem] = [NEXT] if data.pending else []
        super().__init__([*items, *data.versions, *out], str(len(data.versions)), "no eval set was read yet")

    def said(self, width: int) -> Content:
        summary = self._data.summary or {}
        file, left_out = summary.get("examples_file"), summary.get("excluded")
        parts = [plain(f"versions of {cut(str(file), 24)}")] if file and self.items else []
        if left_out:
            parts.append(plain(f"this run went without {counted(len(left_out), 'example')}"))
        if self._data.out:
            parts.append(plain(f"{len(self._data.out):,} excluded (x on its line restores it)"))
        return join(parts, SEPARATOR)

    def heading(self, width: int) -> Content:
        return _VERSIONS.heading(width) if self.items else Content("")

    def row(self, item: VersionItem, width: int) -> Content:
        if isinstance(item, Exclusion):
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
            return _VERSIONS.row(cells, width)
        row = item.row
        here = row.version == self._data.eval_set
        return _VERSIONS.row(
            [
                plain(row.version + (" ‹" if here else ""), "bold" if here else ""),
                time.strftime("%Y-%m-%d", time.gmtime(row.first)),
                f"{row.examples:,}",
                _changed(item.changes),
                f"{row.runs:,}",
            ],
            width,
        )

    def about(self, item: VersionItem, width: int) -> list[Content]:
        if isinstance(item, Exclusion):
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

    def key(self, item: VersionItem) -> tuple[str, object]:
        if isinstance(item, Exclusion):
            return "out", item.id
        return ("next", 0) if isinstance(item, str) else ("version", item.row.version)


def _changed(found: Changes | None) -> Content:
    if found is None:
        return Content.styled("the oldest known", "$muted")
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


LONGEST = 20_000  # characters of a text that are compared and shown
BESIDE = 72  # cells from which on the two texts stand side by side
_GUTTER = " │ "
_TELLING = 4  # a shorter word that is alone in common says nothing
# Underlined too, so that it shows without colour.
_SHARED = "underline $warn"
_WORD = re.compile(r"\w")


class LeakPair(NamedTuple):
    """Both texts in segments (`changed`: the other has no such words) and how many words they share."""

    leak: LeakTexts
    ours: tuple[Segment, ...]
    theirs: tuple[Segment, ...]
    words: int  # of the eval text
    shared: int


def pair(leak: LeakTexts) -> LeakPair:
    """Aligns the part of the example that was found with the training text."""
    references = "\n".join(leak.references or [])
    ours = {"query": leak.query, "reference": references}.get(leak.field, f"{leak.query}\n{references}")
    theirs = leak.excerpt if leak.train_text is None else leak.train_text
    a, b = tokens(ours[:LONGEST]), tokens(theirs[:LONGEST])
    mine, found = _words(a), _words(b)
    matched = _telling(mine, found)
    return LeakPair(
        leak,
        _segments(a, {mine[i][0] for i, _ in matched}, len(ours) - LONGEST),
        _segments(b, {found[j][0] for _, j in matched}, len(theirs) - LONGEST),
        len(mine),
        len(matched),
    )


def _words(found: Sequence[str]) -> list[tuple[int, str]]:
    """Each word's place among the tokens, and the word as leaks are searched for."""
    return [(place, normalise(token)) for place, token in enumerate(found) if _WORD.match(token)]


def _telling(mine: Sequence[tuple[int, str]], found: Sequence[tuple[int, str]]) -> list[tuple[int, int]]:
    """The words in common, in order, without short ones that stand alone."""
    matched = common([word for _, word in mine], [word for _, word in found]) or []
    kept: list[tuple[int, int]] = []
    # Neighbours on both sides have the same distance to their place in the row of matches.
    numbered = enumerate(matched)
    for _, run in groupby(numbered, lambda each: (each[1][0] - each[0], each[1][1] - each[0])):
        stretch = [match for _, match in run]
        if len(stretch) > 1 or len(mine[stretch[0][0]][1]) >= _TELLING:
            kept += stretch
    return kept


def _segments(found: Sequence[str], shared: set[int], beyond: int) -> tuple[Segment, ...]:
    """The text in pieces; what stands between two neighbouring shared words belongs to them."""
    marks = [place in shared for place in range(len(found))]
    last: int | None = None
    for place, token in enumerate(found):
        if marks[place]:
            if last is not None:
                marks[last:place] = [True] * (place - last)
            last = place
        elif _WORD.match(token):
            last = None
    pieces = [
        Segment("".join(token for token, _ in group), not mark)
        for mark, group in groupby(zip(found, marks, strict=True), lambda item: item[1])
    ]
    more = [Segment(f"\n… {beyond:,} more characters", True)] if beyond > 0 else []
    return (*pieces, *more)


def lines(found: LeakPair, width: int) -> list[Content]:
    """The two texts side by side, one under the other where that would be too narrow."""
    if width < BESIDE:
        return [
            *_under(_eval(found), found.ours, width),
            *_under(_train(found), found.theirs, width),
        ]
    column = (width - len(_GUTTER)) // 2
    sides = [_rows(side, column) for side in (found.ours, found.theirs)]
    gutter = Content.styled(_GUTTER, "$rule")
    head = join([fit(_eval(found), column), fit(_train(found), column)], "   ")
    return [
        head,
        *(
            join([fit(left, column), gutter, fit(right, column)])
            for left, right in zip_longest(*sides, fillvalue=Content(""))
        ),
    ]


def _under(head: Content, side: Sequence[Segment], width: int) -> list[Content]:
    return [head, *(join(["  ", row]) for row in _rows(side, width - 2))]


def _eval(found: LeakPair) -> Content:
    leak = found.leak
    what = {"query": "query", "reference": "reference"}.get(leak.field, "query and reference")
    return join([Content.styled("eval ", "$heading"), plain(cut(leak.example, 24), "bold"), f" {what}"])


def _train(found: LeakPair) -> Content:
    leak = found.leak
    said = f"line {leak.train_line:,}"
    counted = f" · {found.shared} of {found.words} words" if found.words else ""
    part = " · an excerpt" if leak.train_text is None else ""
    return join(
        [Content.styled("train ", "$heading"), plain(said, "bold"), Content.styled(counted + part, "$muted")]
    )


def _rows(side: Sequence[Segment], width: int) -> list[Content]:
    return [_row(segments, width) for segments in wrapped(side, width)]


def _row(segments: Iterable[Segment], width: int) -> Content:
    spans: list[Span] = []
    text = ""
    for segment in segments:
        if not segment.changed:
            spans.append(Span(len(text), len(text) + len(segment.text), _SHARED))
        text += segment.text
    content = Content(text, spans)
    return content[:-1] if content.cell_length > width else content  # one space may hang over the edge


# The strictest first, as the list calls them.
TIERS = {"identical": "identical", "near": "near", "ngram": "n-gram", "meaning": "meaning"}
_EXCERPT = 300  # characters of a training text of which the list shows the beginning
_COLUMNS = Columns(
    FlexColumn("example", 12, grow=1),
    FlexColumn("tier", 11),
    FlexColumn("score", 5, align="right"),
    FlexColumn("found", 9, drop=1),
    FlexColumn("line", 9, align="right", drop=2),
    FlexColumn("training text", 20, grow=4),
)


class LeaksPart(SplitsPart):
    """The items are the leaks' ids; the rows of those near the cursor are loaded, and the pair under it."""

    name = "leakage"

    def __init__(
        self, data: SplitsData, loaded: Mapping[int, LeakEntry], pair: LeakPair | None = None
    ) -> None:
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
            found = f"{counted(len(self.items), 'pair')} with “{cut(self._data.search, 40)}” · esc shows all"
            return plain(cut(found, width), "$warn")
        hint = "worst first · words in both texts are underlined"
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


def by_tier(data: SplitsData) -> dict[str, int]:
    """Leaked examples by tier: what the run counted, else what it recorded."""
    counted = (data.summary or {}).get("leaks_by_tier")
    if isinstance(counted, Mapping):
        return {tier: int(counted.get(tier) or 0) for tier in TIERS}
    found = [row for row in data.counts if counts(row)]
    return {tier: sum(row.examples for row in found if row.tier == tier) for tier in TIERS}


def _empty(data: SplitsData, searched: bool) -> str:
    if data.search:
        return "no leak matches: esc shows all"
    if data.summary is None:
        return data.unread
    if not searched:
        return "the plan names no training data (train in [data]), so leaks were not searched for"
    return "no example was found in the training data"
