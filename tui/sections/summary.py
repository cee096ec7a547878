"""One run gathered for reading: what `assay show` and every report are made of."""

from dataclasses import dataclass, field

from engine.compare.forgetting import ForgettingRow, forgetting
from store.read import history, live, slices
from store.read.answered import Answered, answered
from store.read.judging import JudgeRow, Judging, judging
from store.read.lock import test_uses
from store.read.rows import (
    AlertRow,
    BenchmarkRow,
    ComparisonRow,
    LeakRow,
    MetricRow,
    ModelRow,
    ModelScoreRow,
    RunDetail,
    SplitUseRow,
    WinRateRow,
)
from store.read.slices import CorpusRow, DisparityRow, SliceRow, SliceScoreRow
from tui.sections.eta import gpu_hours
from tui.sections.repetition import Repetition, repetition


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything recorded of one run but its texts."""

    run: RunDetail
    models: list[ModelRow]  # those that were evaluated
    cut: list[ModelRow]  # checkpoints that a sweep left out
    metrics: list[MetricRow]
    scores: list[ModelScoreRow]
    judging: Judging
    comparisons: list[ComparisonRow]
    benchmarks: list[BenchmarkRow]
    alerts: list[AlertRow]
    leaks: list[LeakRow]
    answers: list[Answered]
    slices: list[SliceRow]
    slice_scores: list[SliceScoreRow]
    corpora: list[CorpusRow]
    disparities: list[DisparityRow]
    forgetting: list[ForgettingRow]
    spending: tuple[float | None, int] = (None, 0)  # US dollars for judges, answers of unknown price
    gpu_hours: float | None = None  # in which its models held a GPU; None where none did
    repetition: Repetition | None = None  # beside the run that it repeats
    test_uses: list[SplitUseRow] = field(default_factory=list)  # of its eval set's test split, by anybody

    @property
    def candidates(self) -> list[ModelRow]:
        return [model for model in self.models if model.role == "candidate"]

    @property
    def judges(self) -> list[JudgeRow]:
        return self.judging.judges

    @property
    def win_rates(self) -> list[WinRateRow]:
        """Over whole answers and conversations first, then turn by turn."""
        return self.judging.win_rates

    def score(self, model: str, measure: str) -> ModelScoreRow | None:
        return next((row for row in self.scores if row.model == model and row.measure == measure), None)

    @property
    def sources(self) -> dict[str, str]:
        """What the run recorded as the source of each measure."""
        return {metric.measure: metric.source for metric in self.metrics}

    def alerts_of(self, candidate: str) -> list[AlertRow]:
        return [alert for alert in self.alerts if alert.candidate == candidate]


def gather(connection: history.Connection, run_id: int) -> Summary:
    """Reads one run. Raises StoreError when there is no such run."""
    comparisons = history.comparisons(connection, run_id)
    models = history.models(connection, run_id)
    run = history.run(connection, run_id)
    return Summary(
        run=run,
        models=[model for model in models if not model.is_cut],
        cut=[model for model in models if model.is_cut],
        metrics=history.metrics(connection, run_id),
        scores=history.model_scores(connection, run_id),
        judging=judging(connection, run_id),
        comparisons=comparisons,
        benchmarks=history.benchmarks(connection, run_id),
        alerts=history.alerts(connection, run_id, limit=10_000),
        leaks=history.leaks(connection, run_id),
        spending=history.spending(connection, run_id),
        gpu_hours=gpu_hours(live.progress(connection, run_id), models),
        answers=answered(connection, run_id),
        slices=slices.slices(connection, run_id),
        slice_scores=slices.slice_scores(connection, run_id),
        corpora=slices.corpora(connection, run_id),
        disparities=slices.disparities(connection, run_id),
        forgetting=forgetting(comparisons),
        repetition=repetition(connection, run),
        test_uses=_test_uses(connection, run),
    )


def _test_uses(connection: history.Connection, run: RunDetail) -> list[SplitUseRow]:
    if run.eval_set is None:
        return []
    return test_uses(connection, run.eval_set, (run.data_summary or {}).get("file_version") or run.eval_set)
