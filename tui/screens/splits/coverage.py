"""Coverage: what the eval set, the training data and a log ask about, and what the eval set lacks."""

from collections.abc import Hashable, Mapping
from typing import Any

from textual.content import Content

from tui.screens.splits.data import Data
from tui.screens.splits.part import Part, flow, plural
from tui.screens.splits.sizes import share_bar
from tui.text.gate import cut, fit, join, magnitude, one_line, plain

SETS = ("eval", "train", "log")
_LACKING, _NARROW = 12, 70
_GAP = "  "
# The usual reading of a population stability index: below the first stable, above the second shifted.
_STABLE, _SHIFTED = 0.1, 0.25
_SURE = 0.05
_UNLIKE = "≠"
_KINDS = {"length": "lengths", "category": "categories", "cluster": "subjects"}

Item = tuple[int, Mapping[str, Any]] | str


class Coverage(Part):
    """The items are clusters of questions, the largest first."""

    name = "coverage"

    def __init__(self, data: Data) -> None:
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
            lacking = plural(len(self._gaps), "kind")
            return plain(f"! the log asks {lacking} of question that the eval set lacks", "$warn")
        return Content.styled("+ the eval set has every kind of question that the log asks", "$good")

    def heading(self, width: int) -> Content:
        if not self.items:
            return Content("")
        label, room = self._rooms(width)
        heads = [fit(_total(name, total, room), room) for name, total in self._totals.items()]
        return join([fit("questions about", label), *heads], _GAP).stylize("$heading")

    def row(self, item: Item, width: int) -> Content:
        if isinstance(item, str):
            return plain(cut(item, width), "$warn" if item.startswith(_UNLIKE) else "")
        number, cluster = item
        label, room = self._rooms(width)
        cells = [share_bar(share, room, self._largest) for share in _shares(cluster, self._totals)]
        gap = self._gaps.get(number)
        lacks = "!" if width < _NARROW else "! lacks"
        missing = Content.styled(f"{lacks} {gap['missing']:,}", "$warn") if gap else Content("")
        name = fit(str(cluster.get("label") or "no words of its own"), label)
        return join([name, *cells, *([fit(missing, self._lacking(width))] if self._gaps else [])], _GAP)

    def _rooms(self, width: int) -> tuple[int, int]:
        """Cells for a cluster's words, and for each set's bar."""
        sets = max(1, len(self._totals))
        left = width - (len(_GAP) + self._lacking(width) if self._gaps else 0) - sets * len(_GAP)
        label = max(12, min(34, left * 3 // 8))
        return label, max(8, (left - label) // sets)

    def _lacking(self, width: int) -> int:
        return _LACKING if width >= _NARROW else _LACKING // 2

    def about(self, item: Item, width: int) -> list[Content]:
        """A cluster's counts, what is lacking of it, and its most typical questions."""
        if isinstance(item, str):
            return plain(item).wrap(max(1, width))
        number, cluster = item
        counts = [plain(f"{name} {cluster['sizes'].get(name, 0):,}") for name in self._totals]
        lines = flow([plain(str(cluster.get("label") or ""), "bold"), *counts], width)
        if gap := self._gaps.get(number):
            lacks = f"the log asks this {gap['wanted']:.1%} of the time, the eval set {gap['found']:.1%}: "
            lines += plain(f"{lacks}{plural(gap['missing'], 'example')} missing", "$warn").wrap(max(1, width))
        return [*lines, *(one_line(cut(f"“{text}”", width)) for text in cluster.get("examples") or ())]

    def key(self, item: Item) -> Hashable:
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
