"""The data that a run was evaluated on: size, exclusions, leaks, and what its questions cover."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.decision.facts import primary, similar_scores
from store.read.rows import LeakRow, ModelRow, ModelScoreRow
from store.read.slices import NOT_LEAKED, NOT_SYNTHETIC, SliceScoreRow
from store.records import Run, SplitUse, StoredMetric

_SHIFTED = 0.25  # population stability index from which on a set has shifted
_KINDS = ("length", "category", "cluster")


@dataclass(frozen=True, slots=True)
class ExcludedExample:
    """An example that a person excluded."""

    example: str
    user: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class ScoreWithout:
    """One model's value of a measure over all examples, and without those that leaked or are synthetic."""

    model: str
    measure: str
    value: float
    without: float


@dataclass(frozen=True, slots=True)
class QuestionGroup:
    """A group of similar questions, with its share of each set."""

    label: str
    shares: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class CoverageGap:
    """A group that takes a larger share of the production log (`wanted`) than of the eval set (`found`)."""

    label: str
    wanted: float
    found: float
    missing: int  # examples


@dataclass(frozen=True, slots=True)
class CoverageShift:
    """How far another set has shifted from the eval set: population stability indices by kind."""

    name: str  # train log
    indices: tuple[tuple[str, float], ...]  # only those that show a shift


@dataclass(frozen=True, slots=True)
class CoverageTable:
    """The topics of each set's questions; `reason` says why there are no groups."""

    sets: tuple[str, ...] = ()
    groups: tuple[QuestionGroup, ...] = ()
    gaps: tuple[CoverageGap, ...] = ()
    shifts: tuple[CoverageShift, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class DataSection:
    """The recorded facts about a run's data; `selected` and `leaked` are None until they are counted."""

    recorded: dict[str, Any] | None
    selected: int | None
    split: str
    detectable: float | None  # the smallest change that so many examples can show
    skipped: int  # records that could not be read
    excluded: tuple[ExcludedExample, ...]
    train_file: str | None
    train_sha256: str
    leaked: int | None
    leaks_by_tier: Mapping[str, int | None]  # None: this tier was not searched
    leaks: Sequence[LeakRow]
    similar: int  # examples like a training question with another answer
    on_similar: tuple[str, ...]  # how the candidates did on them, beside the rest
    answers_seen: int  # examples whose answer is in the training data under another question
    duplicates: int  # groups of near-identical examples
    earlier: tuple[tuple[str, int], ...]  # earlier eval sets, with how many examples they share
    without_leaks: tuple[ScoreWithout, ...]  # the candidates'
    synthetic: int  # examples that a model wrote
    without_synthetic: tuple[ScoreWithout, ...]  # every model's
    coverage: CoverageTable | None
    test_uses: int  # of the eval set's test split, by anybody
    variants: tuple[str, ...]  # how many examples were also asked in each other form, and why others were not

    has_slice_without_leaks: bool

    @property
    def is_read(self) -> bool:
        return self.selected is not None


def data(
    run: Run,
    models: Sequence[ModelRow],
    metrics: Sequence[StoredMetric],
    scores: Sequence[ModelScoreRow],
    slice_scores: Sequence[SliceScoreRow],
    leaks: Sequence[LeakRow],
    test_uses: Sequence[SplitUse],
) -> DataSection:
    found = run.data_summary or {}
    return DataSection(
        recorded=run.data_summary,
        selected=found.get("selected"),
        split=str(found.get("split") or "all"),
        detectable=found.get("detectable"),
        skipped=found.get("skipped") or 0,
        excluded=tuple(
            ExcludedExample(row["example"], row["user"], row["reason"]) for row in found.get("excluded") or ()
        ),
        train_file=found.get("train_file"),
        train_sha256=str(found.get("train_sha256") or ""),
        leaked=found.get("leaked"),
        leaks_by_tier=_by_tier(found, leaks),
        leaks=leaks,
        similar=found.get("similar") or 0,
        on_similar=tuple(_on_similar(models, metrics, slice_scores)),
        answers_seen=found.get("answers_seen") or 0,
        duplicates=found.get("duplicates") or 0,
        earlier=tuple((row["file"], row["leaked"]) for row in found.get("earlier") or ()),
        without_leaks=tuple(
            _without(
                [model for model in models if model.role == "candidate"],
                *(metrics, scores, slice_scores, NOT_LEAKED),
            )
        ),
        synthetic=found.get("synthetic") or 0,
        without_synthetic=tuple(_without(models, metrics, scores, slice_scores, NOT_SYNTHETIC)),
        coverage=_coverage(found.get("coverage")),
        test_uses=len(test_uses),
        variants=tuple(_variants(found.get("perturbed") or {})),
        has_slice_without_leaks=any(row.slice == NOT_LEAKED for row in slice_scores),
    )


def _variants(perturbed: Mapping[str, Any]) -> Iterator[str]:
    for name, told in perturbed.items():
        why = ", ".join(f"{count:,} where {reason}" for reason, count in told["none"].items())
        yield f"{name}: {told['variants']:,} variants" + (f", none for {why}" if why else "")


def _by_tier(found: Mapping[str, Any], leaks: Sequence[LeakRow]) -> dict[str, int | None]:
    """As the run counted them; older runs only recorded the leaks themselves."""
    counted: dict[str, int | None] = dict(found.get("leaks_by_tier") or {})
    if not counted:
        for tier in ("identical", *(leak.tier for leak in leaks)):
            counted[tier] = len({leak.example for leak in leaks if leak.tier == tier})
    return counted


def _on_similar(
    models: Sequence[ModelRow], metrics: Sequence[StoredMetric], slice_scores: Sequence[SliceScoreRow]
) -> Iterator[str]:
    for model in models:
        if model.role == "candidate":
            for row in similar_scores(slice_scores, model.name, primary(metrics), metrics):
                yield f"{model.name}: {row.said}"


def _without(
    models: Sequence[ModelRow],
    metrics: Sequence[StoredMetric],
    scores: Sequence[ModelScoreRow],
    slice_scores: Sequence[SliceScoreRow],
    rest: str,
) -> Iterator[ScoreWithout]:
    """The models' primary measures, over all examples and over the slice that is the rest."""
    clean = {(row.model, row.measure): row.value for row in slice_scores if row.slice == rest}
    whole = {(row.model, row.measure): row.value for row in scores}
    for model in models:
        for measure in primary(metrics):
            value, without = whole.get((model.name, measure)), clean.get((model.name, measure))
            if value is not None and without is not None:
                yield ScoreWithout(model.name, measure, value, without)


def _coverage(found: Mapping[str, Any] | None) -> CoverageTable | None:
    """None for a run that recorded none."""
    if not found:
        return None
    if "clusters" not in found:
        return CoverageTable(reason=str(found.get("reason") or "not recorded"))
    sizes: dict[str, int] = found.get("sizes") or {}
    groups = tuple(
        QuestionGroup(
            str(cluster["label"]), tuple(cluster["sizes"][name] / size for name, size in sizes.items())
        )
        for cluster in found["clusters"]
    )
    gaps = tuple(
        CoverageGap(gap["label"], gap["wanted"], gap["found"], gap["missing"])
        for gap in found.get("gaps") or ()
    )
    shifts = tuple(
        CoverageShift(name, indices)
        for name, drift in (found.get("drift") or {}).items()
        if (indices := tuple((kind, drift[kind]) for kind in _KINDS if (drift.get(kind) or 0) >= _SHIFTED))
    )
    return CoverageTable(tuple(sizes), groups, gaps, shifts)
