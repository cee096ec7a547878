"""What a fine-tune forgot: general text, benchmarks, form, length and refusals of one candidate side by side.

Made of stored comparisons with their rulings; nothing is recomputed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from engine.compare.ruling import BoundedComparison, ends_of_benchmark
from engine.data.perturb import PERTURBATIONS
from store.read.query import by_key
from store.read.rows import ComparisonRow, ModelRow, ModelScoreRow

# Corpora by name: what must not be forgotten, what is to be learned, reworded texts.
GENERAL, DOMAIN, ALTERED = "general", "domain", "-altered"
# Measures of robustness: what a perturbation costs, what it leaves, and the share of answers that stay.
DROP, ROBUST, INVARIANCE = "drop:", "robust:", "invariance"
NONE_RIGHT = "nothing is right in the plain form, so nothing can be lost"
Part = TypeVar("Part")
LENGTH = ("response_tokens", "response_words")
_ASPECTS = {
    "format_compliance": "format compliance",
    "refusal": "refusal rate",
    "refused_harmless": "harmless prompts refused",
    "refused_harmful": "harmful prompts refused",
}
_SAID = {
    "worse": "forgotten",
    "better": "improved",
    "more": "drifted",
    "less": "drifted",
    "no worse": "kept",
    "missing": "not compared",
}
NOT_SETTLED = "not settled"  # what speaks for a checkpoint on that by which a sweep chose it
_KEPT, _OPEN = ("better", "no worse"), ("inconclusive", "not tested", "missing", NOT_SETTLED)


@dataclass(frozen=True, slots=True)
class ForgettingRow:
    """One aspect, candidate against baseline, with the comparison's ruling (see engine.compare.ruling).

    It is "not settled" where nothing was lost, and a sweep chose the candidate by this very aspect; and "at
    the floor" where nothing could be lost, though a gain may be chance.

    `p` is corrected over the ruling's family, and `needed` is about how many examples would settle an
    inconclusive difference; None where it is settled, or too little is known.
    """

    candidate: str
    baseline: str
    aspect: str
    direction: str
    baseline_value: float | None
    candidate_value: float | None
    delta: float | None
    low: float | None
    high: float | None
    standing: str
    reason: str | None = None
    p: float | None = None
    n: int = 0
    needed: int | None = None

    @property
    def word(self) -> str:
        return _SAID.get(self.standing, self.standing)

    @property
    def said(self) -> str:
        """The word, and what it takes to settle it."""
        if self.needed and self.standing == "inconclusive":
            return f"{self.word}: needs about {self.needed:,} examples"
        return f"{self.word}: chosen by it" if self.standing == NOT_SETTLED else self.word


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The verdict of a candidate's rows against one baseline, and the `aspects` behind it."""

    candidate: str
    baseline: str
    verdict: Literal["forgotten", "inconclusive", "kept", "at the floor", "not measured"]
    aspects: tuple[str, ...]


def forgetting(comparisons: Sequence[ComparisonRow], models: Iterable[ModelRow] = ()) -> list[ForgettingRow]:
    """A row for each corpus, benchmark, perturbation, format compliance, length and refusals, for each pair
    of models.

    A corpus counts by its perplexity, or by bits per byte where perplexities are not comparable.
    """
    known = {model.name: model for model in models}

    def ruled(aspect: str, row: ComparisonRow) -> ForgettingRow:
        found, model = _row(aspect, row), known.get(row.candidate)
        if row.delta is None and row.reason == NONE_RIGHT:
            return replace(found, standing="at the floor")
        if found.standing == "inconclusive" and BoundedComparison(row, _ends(row)).is_at_floor:
            return replace(found, standing="at the floor", needed=None)
        is_kept = found.standing in _KEPT and model and model.is_chosen_on(row.kind, row.measure)
        return replace(found, standing=NOT_SETTLED) if is_kept else found

    pairs = by_key(((row.candidate, row.baseline), (aspect, row)) for aspect, row in _chosen(comparisons))
    return [ruled(*item) for items in pairs.values() for item in items]


def _ends(row: ComparisonRow) -> tuple[float | None, float | None]:
    """Of the aspect's range: all are shares but likelihoods, and lengths, which have no worse end."""
    values = row.candidate_value, row.baseline_value
    return (None, None) if row.kind == "corpus" else ends_of_benchmark(*values)


def conclusions(rows: Iterable[ForgettingRow]) -> list[Conclusion]:
    """One verdict for each candidate and baseline: forgotten as soon as one aspect is."""
    pairs = by_key(((row.candidate, row.baseline), row) for row in rows)
    return [_conclusion(*pair, items) for pair, items in pairs.items()]


def _conclusion(candidate: str, baseline: str, rows: list[ForgettingRow]) -> Conclusion:
    """ "kept" takes evidence: every aspect with a direction must show it, or be at the floor."""
    sided = [row for row in rows if row.direction != "none"]
    worse = tuple(row.aspect for row in rows if row.standing == "worse")
    open_ = tuple(row.aspect for row in sided if row.standing in _OPEN)
    if worse:
        return Conclusion(candidate, baseline, "forgotten", worse)
    if all(row.standing == "missing" for row in rows):
        return Conclusion(candidate, baseline, "not measured", tuple(row.aspect for row in rows))
    if open_ or not sided:
        return Conclusion(candidate, baseline, "inconclusive", open_)
    if any(row.standing in _KEPT for row in sided):
        return Conclusion(candidate, baseline, "kept", ())
    return Conclusion(candidate, baseline, "at the floor", tuple(row.aspect for row in sided))


def _chosen(comparisons: Sequence[ComparisonRow]) -> Iterable[tuple[str, ComparisonRow]]:
    """The comparisons about forgetting, in the table's order, with their aspects' names."""
    corpora: dict[tuple[str, str, str], ComparisonRow] = {}
    for row in comparisons:
        if row.kind == "corpus":
            key = (row.candidate, row.baseline, row.measure.partition(":")[2])
            known = corpora.get(key)
            if known is None or (known.delta is None) > (row.delta is None) or _is_first(row, known):
                corpora[key] = row
    yield from ((corpus_aspect(row.measure), row) for row in corpora.values())
    yield from ((row.measure, row) for row in comparisons if row.kind == "benchmark")
    for row in comparisons:
        if row.measure.startswith(ROBUST):
            name = row.measure.removeprefix(ROBUST)
            said = PERTURBATIONS[name].said if name in PERTURBATIONS else name
            yield f"robust to {said}", row
    lengths = {row.measure for row in comparisons if row.delta is not None}
    length = next((name for name in LENGTH if name in lengths), None)
    named = _ASPECTS | ({length: "answer length"} if length else {})
    yield from (
        (named[row.measure], row) for row in comparisons if row.kind == "metric" and row.measure in named
    )


def compared_by(measure: str, parts: Mapping[str, Mapping[str, Part]]) -> Mapping[str, Part]:
    """The examples' values, of a model's by measure, that its comparisons on this one are over.

    A drop's are those of what is right in the plain form, to a part at least: who gets nothing right loses
    nothing, and would be the most robust of all.
    """
    own = parts.get(measure, {})
    if not measure.startswith(DROP):
        return own
    right = parts.get(ROBUST + measure.removeprefix(DROP), {})
    return {example: value for example, value in own.items() if example in right}


def own_drops(scores: Iterable[ModelScoreRow]) -> list[ModelScoreRow]:
    """What each perturbation costs each model, where the run set it against the model's own plain form."""
    return [row for row in scores if row.measure.startswith(DROP) and row.standing not in (None, "missing")]


def general_corpus(corpora: Iterable[str]) -> str | None:
    """The corpus that must not be forgotten: "general", else the first not "domain" or reworded."""
    found = [name for name in corpora if name != DOMAIN and not name.endswith(ALTERED)]
    return GENERAL if GENERAL in found else next(iter(found), None)


def corpus_aspect(measure: str) -> str:
    """What the aspect of a corpus is called: "perplexity:general" is "perplexity of general"."""
    return measure.replace("_", " ").replace(":", " of ", 1)


def _is_first(row: ComparisonRow, known: ComparisonRow) -> bool:
    """Whether a corpus's perplexity is shown rather than its bits per byte."""
    return row.measure.startswith("perplexity") and (row.delta is None) == (known.delta is None)


def _row(aspect: str, row: ComparisonRow) -> ForgettingRow:
    values = (row.baseline_value, row.candidate_value, row.delta, row.low, row.high)
    return ForgettingRow(
        row.candidate,
        row.baseline,
        aspect,
        row.direction,
        *values,
        row.standing,
        row.reason,
        row.p_corrected,
        row.n,
        row.needed,
    )
