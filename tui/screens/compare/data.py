"""What the Compare screen reads, and the lines that it makes of it for one candidate and one baseline."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from engine.compare.forgetting import ForgettingRow, forgetting
from store.read import history, slices
from store.read.history import Connection
from store.read.rows import (
    BenchmarkRow,
    ComparisonRow,
    MetricRow,
    ModelRow,
    ModelScoreRow,
    WinRateRow,
)
from store.read.slices import DisparityRow

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
    disparities: list[DisparityRow] = field(default_factory=list)
    forgetting: list[ForgettingRow] = field(default_factory=list)


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
    is_gap: bool = False  # of a disparity: the groups are told apart by more than chance


@dataclass(frozen=True, slots=True)
class Measured:
    """A measure: the models' values and the comparison. A disparity's values are differences of groups."""

    kind: str  # metric benchmark corpus disparity
    name: str
    direction: str
    meaning: str
    cells: tuple[Cell, ...]
    compared: ComparisonRow | None
    declared: MetricRow | None = None

    @property
    def gaps(self) -> list[str]:
        """What is not there, counted and with its reason."""
        found = [
            f"{cell.model} {f'{cell.missing:,} missing' if cell.value is not None else 'none'}: {cell.reason}"
            for cell in self.cells
            if cell.reason
        ]
        row = self.compared
        if row is not None and row.low is None:
            word = "not compared: " if row.delta is None else ""
            found.insert(0, f"{word}{row.reason or 'no reason was recorded'}")
        return found

    @property
    def is_gap(self) -> bool:
        """Whether it is a disparity that is settled for the candidate."""
        return self.cells[1].is_gap


@dataclass(frozen=True, slots=True)
class Judged:
    """One judge's win rate."""

    row: WinRateRow


@dataclass(frozen=True, slots=True)
class Forgot:
    """One thing that the candidate may have forgotten."""

    row: ForgettingRow


Line = Measured | Judged | Forgot


def read_numbers(connection: Connection, run_id: int) -> Numbers:
    comparisons = history.comparisons(connection, run_id)
    return Numbers(
        [model for model in history.models(connection, run_id) if not model.is_cut],
        history.metrics(connection, run_id),
        history.model_scores(connection, run_id),
        comparisons,
        history.win_rates(connection, run_id),
        history.benchmarks(connection, run_id),
        slices.disparities(connection, run_id),
        forgetting(comparisons),
    )


def ordered(models: Iterable[ModelRow], candidate: str, baseline: str) -> list[str]:
    """The models' names as the columns stand: the compared pair first."""
    names = [model.name for model in models]
    return [baseline, candidate, *(name for name in names if name not in (candidate, baseline))]


def metric_lines(numbers: Numbers, candidate: str, baseline: str) -> list[Measured]:
    return [_metric(numbers, metric, candidate, baseline) for metric in numbers.metrics]


def judge_lines(numbers: Numbers, candidate: str, baseline: str) -> list[Judged]:
    return [Judged(row) for row in numbers.win_rates if _is(row, candidate, baseline)]


def forgetting_lines(numbers: Numbers, candidate: str, baseline: str) -> tuple[str, list[Forgot]]:
    """The baseline that they are against, and a line for each aspect."""
    rows = [row for row in numbers.forgetting if row.candidate == candidate]
    against = _against({row.baseline for row in rows}, numbers, baseline)
    return against, [Forgot(row) for row in rows if row.baseline == against]


def disparity_lines(numbers: Numbers, candidate: str, baseline: str) -> list[Measured]:
    """A line for each measure and two groups: how far each model's values for them are apart."""
    found: dict[tuple[str, str, str], dict[str, DisparityRow]] = {}
    for row in numbers.disparities:
        found.setdefault((row.measure, row.first, row.second), {})[row.model] = row
    return [
        Measured(
            "disparity",
            f"{measure}: {first} − {second}",
            "none",
            f"{measure} for prompts about {first} less that for the same ones about {second}",
            tuple(
                Cell(name, gap.delta, gap.low, gap.high, gap.n, 0, gap.reason, gap.is_settled)
                if (gap := rows.get(name))
                else Cell(name, None, None, None, 0, 0, "not computed yet")
                for name in ordered(numbers.models, candidate, baseline)
            ),
            None,
        )
        for (measure, first, second), rows in found.items()
    ]


def benchmark_lines(numbers: Numbers, candidate: str, baseline: str) -> tuple[str, list[Measured]]:
    """The benchmarks. Baselines that share their weights are benchmarked once, under the first one's name."""
    rows = [row for row in numbers.comparisons if row.kind == "benchmark" and row.candidate == candidate]
    against = _against({row.baseline for row in rows}, numbers, baseline)
    found: dict[str, dict[str, BenchmarkRow]] = {}
    for score in numbers.benchmarks:
        found.setdefault(benchmark_name(score), {})[score.model] = score
    lines: list[Measured] = []
    for name, scores in found.items():
        any_score = next(iter(scores.values()))
        cells = [_benchmark_cell(model, scores) for model in ordered(numbers.models, candidate, against)]
        compared = [row for row in rows if row.measure == name and row.baseline == against]
        direction = "higher" if any_score.higher_is_better else "lower"
        shots = f"{any_score.shots}-shot, " if any_score.shots is not None else ""
        meaning = f"lm-eval, {shots}task version {any_score.version}"
        lines.append(Measured("benchmark", name, direction, meaning, tuple(cells), _first(compared)))
    return against, lines


def benchmark_name(score: BenchmarkRow) -> str:
    """How comparisons call this benchmark."""
    name = f"{score.task} · {score.metric}"
    return name if score.filter == "none" else f"{name} ({score.filter})"


def task_of(name: str) -> str:
    """The task of a benchmark's name."""
    return name.partition(" · ")[0]


def _against(compared: set[str], numbers: Numbers, baseline: str) -> str:
    """The baseline that was compared with: the chosen one, or the first where that has no numbers."""
    if baseline in compared or not compared:
        return baseline
    return next(model.name for model in numbers.models if model.name in compared)


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
        if row.kind != "benchmark" and row.measure == metric.measure and _is(row, candidate, baseline)
    ]
    kind = "corpus" if compared and compared[0].kind == "corpus" else "metric"
    about = (metric.measure, metric.direction, metric.meaning)
    return Measured(kind, *about, tuple(cells), _first(compared), metric)


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
