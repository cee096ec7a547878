"""What the Compare screen reads, and the lines that it makes of it for one candidate and one baseline."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from store import history
from store.history import Connection
from store.rows import (
    BenchmarkRow,
    ComparisonRow,
    MetricRow,
    ModelRow,
    ModelScoreRow,
    WinRateRow,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Numbers:
    """All that was computed in a run."""

    models: list[ModelRow]
    metrics: list[MetricRow]
    scores: list[ModelScoreRow]
    comparisons: list[ComparisonRow]
    win_rates: list[WinRateRow]
    benchmarks: list[BenchmarkRow]


@dataclass(frozen=True, slots=True)
class Cell:
    """One model's value of a measure, or the reason why it has none."""

    model: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    missing: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class Title:
    """A line that heads the lines below it."""

    kind: str  # metric verdict benchmark
    text: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric or a benchmark: the models' values and the comparison."""

    kind: str  # metric benchmark
    name: str
    direction: str
    meaning: str
    cells: tuple[Cell, ...]
    compared: ComparisonRow | None


@dataclass(frozen=True, slots=True)
class Judged:
    """One judge's win rate."""

    row: WinRateRow


Entry = Title | Measured | Judged


def read_numbers(connection: Connection, run_id: int) -> Numbers:
    return Numbers(
        history.models(connection, run_id),
        history.metrics(connection, run_id),
        history.model_scores(connection, run_id),
        history.comparisons(connection, run_id),
        history.win_rates(connection, run_id),
        history.benchmarks(connection, run_id),
    )


def entries(numbers: Numbers, candidate: str, baseline: str, search: str = "") -> list[Entry]:
    """The screen's lines, section by section; `search` keeps those whose name contains it."""
    sections: list[tuple[Title, list[Entry]]] = [
        (Title("metric"), [_metric(numbers, metric, candidate, baseline) for metric in numbers.metrics]),
        (Title("verdict"), [Judged(row) for row in numbers.win_rates if _is(row, candidate, baseline)]),
        _benchmarks(numbers, candidate, baseline),
    ]
    found: list[Entry] = []
    for title, lines in sections:
        kept = [line for line in lines if search.lower() in _name(line).lower()]
        found += [title, *kept] if kept else []
    return found


def ordered(models: Iterable[ModelRow], candidate: str, baseline: str) -> list[str]:
    """The models' names as the columns stand: the compared pair first."""
    names = [model.name for model in models]
    return [baseline, candidate, *(name for name in names if name not in (candidate, baseline))]


def _name(entry: Entry) -> str:
    if isinstance(entry, Judged):
        return entry.row.judge
    return entry.name if isinstance(entry, Measured) else ""


def _is(row: WinRateRow | ComparisonRow, candidate: str, baseline: str) -> bool:
    return row.candidate == candidate and row.baseline == baseline


def _metric(numbers: Numbers, metric: MetricRow, candidate: str, baseline: str) -> Measured:
    scores = {score.model: score for score in numbers.scores if score.measure == metric.measure}
    cells = [
        Cell(s.model, s.value, s.low, s.high, s.n, s.missing, s.reason)
        if (s := scores.get(name))
        else Cell(name, None, None, None, 0, 0, "not computed yet")
        for name in ordered(numbers.models, candidate, baseline)
    ]
    compared = [
        row
        for row in numbers.comparisons
        if row.kind == "metric" and row.measure == metric.measure and _is(row, candidate, baseline)
    ]
    return Measured(
        "metric", metric.measure, metric.direction, metric.meaning, tuple(cells), _first(compared)
    )


def _benchmarks(numbers: Numbers, candidate: str, baseline: str) -> tuple[Title, list[Entry]]:
    """The benchmarks. Baselines that share their weights are benchmarked once, under the first one's name."""
    rows = [row for row in numbers.comparisons if row.kind == "benchmark" and row.candidate == candidate]
    against = baseline if any(row.baseline == baseline for row in rows) else ""
    against = against or (rows[0].baseline if rows else baseline)
    found: dict[str, dict[str, BenchmarkRow]] = {}
    for score in numbers.benchmarks:
        found.setdefault(benchmark_name(score), {})[score.model] = score
    lines: list[Entry] = []
    for name, scores in found.items():
        any_score = next(iter(scores.values()))
        cells = [_benchmark_cell(model, scores) for model in ordered(numbers.models, candidate, against)]
        compared = [row for row in rows if row.measure == name and row.baseline == against]
        direction = "higher" if any_score.higher_is_better else "lower"
        shots = f"{any_score.shots}-shot, " if any_score.shots is not None else ""
        meaning = f"lm-eval, {shots}task version {any_score.version}"
        lines.append(Measured("benchmark", name, direction, meaning, tuple(cells), _first(compared)))
    return Title("benchmark", against if against != baseline else ""), lines


def benchmark_name(score: BenchmarkRow) -> str:
    """How comparisons call this benchmark."""
    name = f"{score.task} · {score.metric}"
    return name if score.filter == "none" else f"{name} ({score.filter})"


def task_of(name: str) -> str:
    """The task of a benchmark's name."""
    return name.partition(" · ")[0]


def _benchmark_cell(model: str, scores: dict[str, BenchmarkRow]) -> Cell:
    score = scores.get(model)
    if score is None:
        return Cell(model, None, None, None, 0, 0, "not benchmarked: the same weights as another model here")
    error = None if score.value is None or score.stderr is None else 1.96 * score.stderr
    low, high = (
        (None, None) if error is None or score.value is None else (score.value - error, score.value + error)
    )
    return Cell(model, score.value, low, high, score.n, 0, score.reason)


def _first(rows: list[T]) -> T | None:
    return rows[0] if rows else None
