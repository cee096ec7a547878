"""A run's measures by family: values, changes, errors by label, and what each measure declares."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.benchmarks.results import ASKED, NO_COMMAND, asked_as, command
from engine.compare.forgetting import DROP, Conclusion, ForgettingRow, conclusions, forgetting, own_drops
from engine.decision.facts import against_plain
from engine.decision.families import change, family, family_of, needs_of, rank
from store.read.evidence import measure_values
from store.read.history import Connection
from store.read.query import by_key
from store.read.rows import AlertRow, BenchmarkRow, ComparisonRow, ModelRow, ModelScoreRow
from store.read.slices import (
    PERTURBED,
    CorpusRow,
    DisparityRow,
    LostVariantRow,
    SliceRow,
    SliceScoreRow,
    worst,
)
from store.records import StoredMetric
from tui.text.gate import MISSING, number

if TYPE_CHECKING:
    from engine.gates.checks import Limits
    from tui.widgets.pictures import HeatMap, Histogram


@dataclass(frozen=True, slots=True)
class AskedAs:
    """How a model's benchmarks were asked, in words, and the command that gives the same numbers, or ""."""

    model: str
    said: str
    command: str


@dataclass(frozen=True, slots=True)
class BenchmarksSection:
    """`models` are those that have a benchmark."""

    models: tuple[str, ...]
    rows: Sequence[BenchmarkRow]
    corpora: Sequence[CorpusRow]
    asked: tuple[AskedAs, ...] = ()

    def reused(self) -> dict[tuple[str, int], list[str]]:
        """By model and previous run: the tasks whose result was reused from that run."""
        found: dict[tuple[str, int], dict[str, None]] = {}
        for row in self.rows:
            if row.reused_from is not None:
                found.setdefault((row.model, row.reused_from), {})[row.task] = None
        return {key: list(tasks) for key, tasks in found.items()}


@dataclass(frozen=True, slots=True)
class ForgettingSection:
    """`own` is what perturbations cost each model against its own plain form."""

    rows: Sequence[ForgettingRow]
    conclusions: Sequence[Conclusion]
    own: Sequence[ModelScoreRow] = ()

    def by_baseline(self) -> dict[str, list[ForgettingRow]]:
        return by_key((row.baseline, row) for row in self.rows)


def benchmarks(
    models: Sequence[ModelRow], rows: Sequence[BenchmarkRow], corpora: Sequence[CorpusRow]
) -> BenchmarksSection:
    names = {row.model for row in rows}
    measured = [model for model in models if model.name in names]
    asked = tuple(AskedAs(model.name, _asked(model.details), command(model.details)) for model in measured)
    return BenchmarksSection(
        tuple(model.name for model in measured), rows, corpora, tuple(item for item in asked if item.said)
    )


def _asked(details: Mapping[str, Any] | None) -> str:
    said = ", ".join(f"{what} {how}" for what, how in asked_as(details).items() if how != "none")
    reason = ((details or {}).get(ASKED) or {}).get(NO_COMMAND)
    return f"{said}; no lm_eval command gives these numbers: {reason}" if reason else said


def forgotten(
    comparisons: Sequence[ComparisonRow], models: Sequence[ModelRow], scores: Sequence[ModelScoreRow]
) -> ForgettingSection:
    rows = forgetting(comparisons, models)
    return ForgettingSection(rows, conclusions(rows), own_drops(scores))


@dataclass(frozen=True, slots=True)
class SlicesSection:
    """`rows` begin with those that are clearly worse."""

    rows: Sequence[SliceRow]
    scores: Sequence[SliceScoreRow]
    disparities: Sequence[DisparityRow]
    lost: Sequence[LostVariantRow] = ()  # what candidates answer worse in another form

    @property
    def worse(self) -> int:
        return sum(row.standing == "worse" for row in self.rows)

    @property
    def widest_gaps(self) -> list[DisparityRow]:
        """Of each model, measure and group of three terms or more the two terms that are furthest apart."""
        beside: dict[str, set[str]] = {}
        for row in self.disparities:
            for term in (row.first, row.second):
                beside.setdefault(term, set()).update((row.first, row.second))
        groups: dict[tuple[str, str, frozenset[str]], list[DisparityRow]] = {}
        for row in self.disparities:
            if row.delta is not None:
                groups.setdefault((row.model, row.measure, frozenset(beside[row.first])), []).append(row)
        return [max(own, key=lambda row: abs(row.delta or 0.0)) for own in groups.values() if len(own) > 1]

    def worst(self, count: int) -> list[SliceRow]:
        return worst(self.rows, count)

    @property
    def uncompared(self) -> dict[tuple[str, str], list[SliceScoreRow]]:
        """Every model's value by measure and slice, where no slice was compared."""
        found: dict[tuple[str, str], list[SliceScoreRow]] = {}
        for row in () if self.rows else self.scores:
            found.setdefault((row.measure, row.slice), []).append(row)
        return found


def by_form(
    metrics: Sequence[StoredMetric], scores: Sequence[ModelScoreRow]
) -> dict[tuple[str, str, str], str]:
    """By model, measure and slice of a form the ruling on it against the model's own plain form.

    Of the measure that robustness is told by.
    """
    told_by = {metric.measure: (metric.settings or {}).get("measure", "") for metric in metrics}
    return {
        (row.model, told_by.get(row.measure, ""), PERTURBED + row.measure.removeprefix(DROP)): against_plain(
            row
        )
        for row in own_drops(scores)
    }


def slice_map(rows: Sequence[SliceRow]) -> "HeatMap":
    """A heat map of one pair's slices."""
    from tui.widgets.pictures import HeatRow, heat_map

    return heat_map(
        [HeatRow(row.slice, row.measure, row.delta, row.worsening, row.standing, row.reason) for row in rows]
    )


DIRECTION = {"higher": "higher is better", "lower": "lower is better", "none": "no better direction"}
_SHOWN = 60  # characters of a setting


def declared(metric: StoredMetric) -> Iterator[tuple[str, str]]:
    """A run's record of a measure, as names and values."""
    yield "range", span(metric.low, metric.high)
    yield "direction", DIRECTION.get(metric.direction, metric.direction)
    yield "unit", metric.unit or "none"
    yield "needs", needs(metric)
    yield "version", metric.version
    yield "source", metric.source
    yield "meaning", metric.meaning
    settings = {key: " ".join(str(value).split()) for key, value in (metric.settings or {}).items()}
    if settings:
        parts = (f"{key} {text[:_SHOWN]}{'…' * (len(text) > _SHOWN)}" for key, text in settings.items())
        yield "settings", ", ".join(parts)


def span(low: float | None, high: float | None) -> str:
    """A range: 0 to 1, 0 or more, up to 1, open."""
    if low is None and high is None:
        return "open"
    if low is None:
        return f"up to {high:g}"
    return f"{low:g} or more" if high is None else f"{low:g} to {high:g}"


def needs(metric: StoredMetric) -> str:
    """The inputs that the measure needs to have a value."""
    found = needs_of(metric.measure, metric.source)
    if found is None:
        return "unknown: a metric of your own"
    return ", ".join(found) or "only the answer"


def between_samples(score: ModelScoreRow) -> str:
    """How far the samples of one prompt lie apart, and how many have no value; empty without several."""
    parts = [] if score.spread is None else [f"spread {number(score.spread)}"]
    if score.value is not None and (lacking := score.samples_missing):
        parts.append(f"{lacking:,} sample{'' if lacking == 1 else 's'} without a value")
    return ", ".join(parts)


def coverage(scores: Sequence[ModelScoreRow | None]) -> str:
    """On how many examples the models' values of one measure are: "40", "38 of 40", "10 to 40 of 40"."""
    rows = [row for row in scores if row is not None]
    if not rows:
        return MISSING
    counts, total = sorted({row.n for row in rows}), max(row.n + row.missing for row in rows)
    span = " to ".join(f"{count:,}" for count in dict.fromkeys((counts[0], counts[-1])))
    return span if counts == [total] else f"{span} of {total:,}"


NOT_FOUND = "not found"  # the column of answers in which no label was found


@dataclass(frozen=True, slots=True)
class Change:
    """One comparison with its family of measures and its outcome in a word."""

    row: ComparisonRow
    family: str
    word: str


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One label of a classifier; without answers there is no precision, without examples no recall.

    `answers` counts the examples of this label by the label given, in the order of the labels (shares of
    one where its samples differ); the last count is of answers in which no label was found.
    """

    name: str
    precision: float | None
    recall: float | None
    f1: float
    support: int
    answers: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LabelTable:
    model: str
    labels: tuple[LabelRow, ...]


@dataclass(frozen=True, slots=True)
class ReliabilityRow:
    """`n` examples of about the same confidence: its mean, and how often the answers were right."""

    n: int
    confidence: float
    right: float
    low: float | None
    high: float | None

    @property
    def excess(self) -> float:
        """By how much it was surer than it was right."""
        return self.confidence - self.right


@dataclass(frozen=True, slots=True)
class ReliabilityCurve:
    """One model's rows from the least sure up, over the run's examples or a benchmark's `task`."""

    model: str
    task: str  # "" for the run's examples
    rows: tuple[ReliabilityRow, ...]

    @property
    def of(self) -> str:
        return self.task or "the run's examples"


@dataclass(frozen=True, slots=True)
class MeasuresSection:
    """`changes` are those of metrics, benchmarks and corpora, in the order in which they were compared."""

    models: tuple[str, ...]
    metrics: Sequence[StoredMetric]
    scores: Sequence[ModelScoreRow]
    changes: tuple[Change, ...]
    labels: tuple[LabelTable, ...]
    reliability: tuple[ReliabilityCurve, ...]
    main: Mapping[str, tuple[str, ...]]  # by candidate: the measures that a short table shows
    limits: "Limits"

    def limits_of(self, row: ComparisonRow) -> tuple[float, ...]:
        """The differences beyond which a gate or a warning of the plan trips."""
        return self.limits.get((row.candidate, row.baseline, row.kind, row.measure), ())

    def score(self, model: str, measure: str) -> ModelScoreRow | None:
        return next((row for row in self.scores if (row.model, row.measure) == (model, measure)), None)

    def of(self, candidate: str) -> list[Change]:
        return [item for item in self.changes if item.row.candidate == candidate]

    @property
    def families(self) -> list[tuple[str, list[StoredMetric]]]:
        """The metrics by family, in the order of the families."""
        found = by_key((family_of(metric.measure, metric.source), metric) for metric in self.metrics)
        return sorted(found.items(), key=lambda item: rank(item[0]))


def measures(
    models: Sequence[ModelRow],
    metrics: Sequence[StoredMetric],
    scores: Sequence[ModelScoreRow],
    comparisons: Sequence[ComparisonRow],
    alerts: Sequence[AlertRow],
    limits: "Limits",
) -> MeasuresSection:
    changes = tuple(changes_of(comparisons, metrics))
    candidates = [model.name for model in models if model.role == "candidate"]
    return MeasuresSection(
        models=tuple(model.name for model in models),
        metrics=metrics,
        scores=scores,
        changes=changes,
        labels=tuple(LabelTable(model.name, rows) for model in models if (rows := tuple(labels(model)))),
        reliability=tuple(curve for model in models for curve in reliability(model)),
        main={name: _main(name, changes, alerts) for name in candidates},
        limits=limits,
    )


SPREAD = 8  # measures of each candidate


@dataclass(frozen=True, slots=True)
class MeasureSpread:
    """How the values of single examples spread, of a candidate and the baseline it was compared with."""

    measure: str
    histogram: "Histogram"


def spreads(
    connection: Connection, models: Sequence[ModelRow], found: MeasuresSection
) -> tuple[MeasureSpread, ...]:
    """Of the main measures of each candidate, those that have a value for each example."""
    ids = {model.name: model.id for model in models}
    metrics = {metric.measure: metric for metric in found.metrics}
    drawn = []
    for candidate, main in found.main.items():
        baselines = {
            change.row.measure: change.row.baseline
            for change in reversed(found.of(candidate))
            if change.row.kind == "metric"
        }
        for measure in [name for name in main if name in baselines and name in metrics][:SPREAD]:
            sides = {
                name: measure_values(connection, ids[name], measure)
                for name in (baselines[measure], candidate)
            }
            histogram = spread(sides, metrics[measure])
            if histogram is not None:
                drawn.append(MeasureSpread(measure, histogram))
    return tuple(drawn)


def spread(values: Mapping[str, Sequence[float]], metric: StoredMetric | None) -> "Histogram | None":
    """The values of one measure by model, in bins over its range; None where there are none."""
    from tui.widgets.pictures import histogram

    return histogram(values, *((metric.low, metric.high) if metric else (None, None)))


def changes_of(comparisons: Sequence[ComparisonRow], metrics: Sequence[StoredMetric] = ()) -> list[Change]:
    """The comparisons with their families; `metrics` say where a measure of an unknown name comes from."""
    sources = {metric.measure: metric.source for metric in metrics}
    return [Change(row, family(row, sources), change(row)) for row in comparisons]


def _main(candidate: str, changes: Sequence[Change], alerts: Sequence[AlertRow]) -> tuple[str, ...]:
    """The measures of the candidate's alerts, then the first of every family, then the benchmarks."""
    own = [item for item in changes if item.row.candidate == candidate]
    compared = {item.row.measure for item in own if item.row.delta is not None}
    named = [alert.measure for alert in alerts if alert.candidate == candidate and alert.measure in compared]
    first: dict[str, str] = {}
    for item in own:
        if item.row.kind == "metric" and item.row.delta is not None:
            first.setdefault(item.family, item.row.measure)
    first.pop("efficiency", None)
    benchmarks = [item.row.measure for item in own if item.row.kind == "benchmark"]
    return tuple(dict.fromkeys([*named, *first.values(), *benchmarks]))


def labels(model: ModelRow) -> list[LabelRow]:
    """A classifier's errors by label; empty for a model that was not measured as one."""
    found = (model.details or {}).get("classification")
    if not found:
        return []
    return [
        LabelRow(row["label"], row["precision"], row["recall"], row["f1"], row["support"], tuple(counts))
        for row, counts in zip(found["per_class"], found["confusion"], strict=True)
    ]


def reliability(model: ModelRow) -> list[ReliabilityCurve]:
    """A model's reliability curves, its examples' first; none where its probabilities were not measured."""
    found = (model.details or {}).get("calibration") or {}
    return [
        ReliabilityCurve(model.name, task, tuple(ReliabilityRow(**row) for row in rows))
        for task, rows in sorted(found.items())
    ]
