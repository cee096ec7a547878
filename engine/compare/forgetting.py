"""What a fine-tune forgot: general text, benchmarks, form, length and refusals of one candidate side by side.

Made of comparisons that are already recorded; nothing is computed anew but the correction of their p-values.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from store.read.rows import ComparisonRow

Verdict = Literal["worse", "better", "changed", "no clear change", "missing"]

LEVEL = 0.05
LENGTH = ("response_tokens", "response_words")
_ASPECTS = {
    "format_compliance": "format compliance",
    "refusal": "refusal rate",
    "refused_harmless": "harmless prompts refused",
    "refused_harmful": "harmful prompts refused",
}


@dataclass(frozen=True, slots=True)
class ForgettingRow:
    """One aspect, candidate against baseline; "changed" is a drift of what has no better end.

    `p` is corrected over the aspects of one pair (Holm). `needed` is about how many examples would settle a
    difference that may be chance; None where it is settled, or nothing is known of its spread.
    """

    candidate: str
    baseline: str
    aspect: str
    baseline_value: float | None
    candidate_value: float | None
    delta: float | None
    low: float | None
    high: float | None
    verdict: Verdict
    reason: str | None = None
    p: float | None = None
    n: int = 0
    needed: int | None = None

    @property
    def said(self) -> str:
        """The verdict in words for a table."""
        if self.verdict == "no clear change":
            return f"not settled: needs about {self.needed:,}" if self.needed else "kept"
        return {"worse": "forgotten", "better": "improved", "changed": "drifted"}.get(
            self.verdict, "not compared"
        )


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What a candidate's rows against one baseline come to; `aspects` are those that it rests on."""

    candidate: str
    baseline: str
    verdict: Literal["forgotten", "not settled", "kept", "not measured"]
    aspects: tuple[str, ...]


def forgetting(comparisons: Sequence[ComparisonRow]) -> list[ForgettingRow]:
    """A row for each corpus, each benchmark, format compliance, length and refusals, pair by pair of models.

    A corpus is told by its perplexity, or by bits per byte where perplexities do not compare.
    """
    pairs: dict[tuple[str, str], list[tuple[str, ComparisonRow]]] = {}
    for aspect, row in _chosen(comparisons):
        pairs.setdefault((row.candidate, row.baseline), []).append((aspect, row))
    return [made for items in pairs.values() for made in _rows(items)]


def conclusions(rows: Iterable[ForgettingRow]) -> list[Conclusion]:
    """One verdict for each candidate and baseline: forgotten as soon as one aspect is."""
    pairs: dict[tuple[str, str], list[ForgettingRow]] = {}
    for row in rows:
        pairs.setdefault((row.candidate, row.baseline), []).append(row)
    return [_conclusion(*pair, items) for pair, items in pairs.items()]


def _conclusion(candidate: str, baseline: str, rows: list[ForgettingRow]) -> Conclusion:
    worse = tuple(row.aspect for row in rows if row.verdict == "worse")
    open_ = tuple(row.aspect for row in rows if row.needed is not None)
    if worse:
        return Conclusion(candidate, baseline, "forgotten", worse)
    if all(row.verdict == "missing" for row in rows):
        return Conclusion(candidate, baseline, "not measured", tuple(row.aspect for row in rows))
    return Conclusion(candidate, baseline, "not settled" if open_ else "kept", open_)


def _chosen(comparisons: Sequence[ComparisonRow]) -> Iterable[tuple[str, ComparisonRow]]:
    """The comparisons that speak of forgetting, in the table's order, each with the name of its aspect."""
    corpora: dict[tuple[str, str, str], ComparisonRow] = {}
    for row in comparisons:
        if row.kind == "corpus":
            key = (row.candidate, row.baseline, row.measure.partition(":")[2])
            known = corpora.get(key)
            if known is None or (known.delta is None) > (row.delta is None) or _is_first(row, known):
                corpora[key] = row
    yield from ((corpus_aspect(row.measure), row) for row in corpora.values())
    yield from ((row.measure, row) for row in comparisons if row.kind == "benchmark")
    lengths = {row.measure for row in comparisons if row.delta is not None}
    length = next((name for name in LENGTH if name in lengths), None)
    named = _ASPECTS | ({length: "answer length"} if length else {})
    yield from (
        (named[row.measure], row) for row in comparisons if row.kind == "metric" and row.measure in named
    )


def corpus_aspect(measure: str) -> str:
    """What the aspect of a corpus is called: "perplexity:general" is "perplexity of general"."""
    return measure.replace("_", " ").replace(":", " of ", 1)


def _is_first(row: ComparisonRow, known: ComparisonRow) -> bool:
    """Whether a corpus's perplexity takes the place of its bits per byte."""
    return row.measure.startswith("perplexity") and (row.delta is None) == (known.delta is None)


def _rows(items: list[tuple[str, ComparisonRow]]) -> Iterable[ForgettingRow]:
    corrected = holm({aspect: row.p for aspect, row in items if row.p is not None})
    for aspect, row in items:
        p = corrected.get(aspect)
        verdict = _verdict(row, p)
        values = (row.baseline_value, row.candidate_value, row.delta, row.low, row.high)
        yield ForgettingRow(
            row.candidate,
            row.baseline,
            aspect,
            *values,
            verdict,
            row.reason,
            p,
            row.n,
            _needed(row) if verdict == "no clear change" else None,
        )


def _verdict(row: ComparisonRow, p: float | None) -> Verdict:
    if row.delta is None or row.low is None or row.high is None:
        return "missing"
    if row.low <= 0 <= row.high or (p is not None and p > LEVEL):
        return "no clear change"
    if row.direction == "none":
        return "changed"
    return "better" if (row.delta > 0) == (row.direction == "higher") else "worse"


def _needed(row: ComparisonRow) -> int | None:
    """How many examples would settle a fall of this size; None for a gain, or where no spread is known."""
    worsening = -(row.delta or 0.0) if row.direction == "higher" else row.delta or 0.0
    if row.direction == "none" or worsening <= 0 or not row.smallest_detectable:
        return None
    return max(row.n + 1, math.ceil(row.n * (row.smallest_detectable / worsening) ** 2))


def holm(p: dict[str, float]) -> dict[str, float]:
    """p-values corrected for being looked at together (Holm 1979); as engine.stats has it, without NumPy."""
    corrected: dict[str, float] = {}
    largest = 0.0
    for rank, aspect in enumerate(sorted(p, key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[aspect]))
        corrected[aspect] = largest
    return corrected
