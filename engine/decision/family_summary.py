"""What a group of comparisons comes to: how many are clearly worse or better, and which is the worst."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from engine.decision.families import BENCHMARKS, family_of
from store.read.rows import ComparisonRow
from tui.sections.words import change


@dataclass(frozen=True, slots=True)
class Standing:
    """`worst` is the comparison that speaks most of a worsening, or least of an improvement."""

    worse: int = 0
    better: int = 0
    worst: ComparisonRow | None = None


def standing(rows: Iterable[ComparisonRow]) -> Standing:
    """Measures without a direction have no good end, so that they are neither."""
    found = list(rows)
    words = [change(row) for row in found]
    sided = [row for row in found if row.direction != "none" and row.delta is not None]
    return Standing(words.count("worse"), words.count("better"), max(sided, key=_badness, default=None))


def _badness(row: ComparisonRow) -> tuple[bool, float]:
    """How far a change is on the bad side, in widths of its interval: scales differ, this can be compared."""
    delta = row.delta or 0.0
    worsening = -delta if row.direction == "higher" else delta
    if row.low is None or row.high is None:
        return False, worsening
    width = row.high - row.low
    if width > 0:
        return True, worsening / width
    return True, math.copysign(math.inf, worsening) if worsening else 0.0


def family(row: ComparisonRow, sources: Mapping[str, str]) -> str:
    """The family of a comparison; `sources` are those that the run recorded of its measures."""
    if row.kind == "benchmark":
        return BENCHMARKS
    return "perplexity" if row.kind == "corpus" else family_of(row.measure, sources.get(row.measure, ""))
