"""One run gathered for reading: the sections that the terminal and every report render."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from engine.compare.forgetting import DROP
from engine.decision.decision import Decision, TradeOff, headline, trade_off, verdicts
from engine.decision.facts import cases, read, read_before
from store.read import history, live, slices
from store.read.answers import AnswerCount, answer_counts, long_texts
from store.read.datasets import test_uses
from store.read.history import Connection
from store.read.judging import judging as read_judging
from store.records import Run, SplitUse, Track
from tui.sections.alerts import AlertsSection, advised, with_examples
from tui.sections.data import DataSection, data
from tui.sections.eta import gpu_hours
from tui.sections.judging import JudgingSection, judging
from tui.sections.measures import (
    BenchmarksSection,
    ForgettingSection,
    MeasureSpread,
    MeasuresSection,
    SlicesSection,
    benchmarks,
    forgotten,
    measures,
    spreads,
)
from tui.sections.overview import FEWEST, CostsSection, MeasureTrend, OverviewSection, costs, overview, trends
from tui.sections.protocol import ProtocolTable, Repetition, protocol, repetition
from tui.sections.remarks import remarks

if TYPE_CHECKING:
    from engine.gates.judges import JudgeCurve


@dataclass(frozen=True, slots=True)
class RunSections:
    """All records of one run except its texts, subject by subject."""

    overview: OverviewSection
    decision: tuple[Decision, ...]
    trade_off: TradeOff | None  # of a run with several candidates
    data: DataSection
    measures: MeasuresSection
    judging: JudgingSection
    benchmarks: BenchmarksSection
    forgetting: ForgettingSection
    slices: SlicesSection
    costs: CostsSection
    alerts: AlertsSection
    remarks: tuple[str, ...]
    answers: tuple[AnswerCount, ...]
    repetition: Repetition | None  # of the run that it repeats
    protocol: tuple[ProtocolTable, ...]
    tracks: tuple[Track, ...] = ()
    trends: tuple[MeasureTrend, ...] = ()
    spreads: tuple[MeasureSpread, ...] = ()
    curves: "tuple[JudgeCurve, ...]" = ()

    @property
    def run(self) -> Run:
        return self.overview.run

    @property
    def headline(self) -> str:
        return headline(self.decision)


def gather(connection: Connection, run_id: int) -> RunSections:
    """Reads one run. Raises StoreError when there is no such run."""
    from engine.gates.checks import limits  # with pydantic and NumPy: `assay show --help` does without

    run = history.run(connection, run_id)
    every_model = history.models(connection, run_id)
    models = [model for model in every_model if not model.is_cut]
    metrics, scores = history.metrics(connection, run_id), history.model_scores(connection, run_id)
    comparisons = history.comparisons(connection, run_id)
    benchmark_rows = history.benchmarks(connection, run_id)
    alerts = history.alerts(connection, run_id, limit=10_000)
    slice_scores = slices.slice_scores(connection, run_id)
    judges, answers = read_judging(connection, run_id), answer_counts(connection, run_id)
    repeated = repetition(connection, run)
    hours = gpu_hours(live.progress(connection, run_id), every_model)
    uses = _test_uses(connection, run)
    split_uses = history.split_uses(connection, run.eval_set) if run.eval_set else []
    leaks = history.leaks(connection, run_id)
    candidates = cases(read(connection, run_id))
    tuned = {model.name for model in models if model.role == "candidate"}
    decided = verdicts(candidates, read_before(connection, run_id))
    about_data = data(run, models, metrics, scores, slice_scores, leaks, uses)
    return RunSections(
        overview=overview(run, every_model, alerts),
        decision=tuple(decided),
        trade_off=trade_off(candidates, decided) if len(candidates) >= FEWEST else None,
        data=about_data,
        measures=measures(models, metrics, scores, comparisons, alerts, limits(run, comparisons, metrics)),
        judging=judging(judges),
        benchmarks=benchmarks(models, benchmark_rows, slices.corpora(connection, run_id)),
        forgetting=forgotten(comparisons, models, scores),
        slices=SlicesSection(
            slices.slices(connection, run_id),
            slice_scores,
            slices.disparities(connection, run_id),
            [row for row in slices.lost_variants(connection, run_id, DROP) if row.model in tuned],
        ),
        costs=costs(history.spending(connection, run_id), hours, models),
        alerts=AlertsSection(alerts, advised(connection, alerts)),
        remarks=tuple(
            remarks(
                run,
                models,
                judges,
                answers,
                about_data,
                repeated,
                long_texts(connection, run_id),
                benchmark_rows,
                history.isolations(connection, run_id),
            )
        ),
        answers=tuple(answers),
        repetition=repeated,
        protocol=tuple(protocol(run, models, judges.judges, metrics, benchmark_rows, split_uses)),
        tracks=tuple(history.tracks(connection, run_id)),
    )


def gather_report(connection: Connection, run_id: int) -> RunSections:
    """As `gather`, with examples behind the alerts, the past and the spread of the main measures, and
    judges' values against what people said.
    """
    from engine.gates.judges import curves_of

    found = gather(connection, run_id)
    return replace(
        found,
        alerts=with_examples(connection, found.alerts),
        trends=trends(connection, found.run, found.measures, found.judging.win_rates),
        spreads=spreads(connection, found.overview.models, found.measures),
        curves=tuple(curves_of(connection, run_id)),
    )


def _test_uses(connection: Connection, run: Run) -> list[SplitUse]:
    if run.eval_set is None:
        return []
    return test_uses(connection, run.eval_set, (run.data_summary or {}).get("file_version") or run.eval_set)
