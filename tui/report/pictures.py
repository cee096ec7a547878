"""Which of a run's numbers stand in which plot of the HTML report."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from engine.decision.families import family, family_of, rank
from store.read.rows import ComparisonRow, MetricRow
from store.read.slices import SliceRow
from tui.report import plots
from tui.sections.material import Report
from tui.sections.protocol import plan_tables
from tui.sections.summary import Summary
from tui.sections.words import change, judge_name
from tui.text.output import number

_SIDES: dict[str, plots.Side] = {
    **{"better": "better", "worse": "worse", "more": "moved", "less": "moved"},
    "not tested": "open",
}
_PERCENTILES = (("half", "latency_p50_s"), ("95 %", "latency_p95_s"), ("99 %", "latency_p99_s"))


@dataclass(frozen=True, slots=True)
class Family:
    """The differences of one family of measures; `said` sums them up."""

    name: str
    said: str
    worse: int
    plots: Sequence[Markup]


def families(summary: Summary) -> list[Family]:
    """The forest plots of all measures that were compared, benchmarks aside."""
    grouped: dict[str, list[ComparisonRow]] = {}
    for row in summary.comparisons:
        if row.kind != "benchmark":
            grouped.setdefault(family(row, summary.sources), []).append(row)
    return [_family(summary, name, rows) for name, rows in sorted(grouped.items(), key=lambda g: rank(g[0]))]


def _family(summary: Summary, name: str, rows: list[ComparisonRow]) -> Family:
    metrics = {metric.measure: metric for metric in summary.metrics}
    by_measure: dict[str, list[ComparisonRow]] = {}
    for row in rows:
        by_measure.setdefault(row.measure, []).append(row)
    shared = plots.difference_scale([_difference(row) for row in rows if _is_share(metrics.get(row.measure))])
    drawn = [
        plots.forest(
            [_difference(row) for row in own],
            _caption(measure, metrics.get(measure)),
            shared if _is_share(metrics.get(measure)) else None,
        )
        for measure, own in by_measure.items()
    ]
    words = [change(row) for row in rows]
    counts = [
        (words.count(word), word)
        for word in (
            *("worse", "better", "more", "less", "no worse", "inconclusive", "at the floor"),
            *("not tested", "missing"),
        )
    ]
    said = ", ".join(f"{count} {word}" for count, word in counts if count)
    return Family(name, said, words.count("worse"), drawn)


def _is_share(metric: MetricRow | None) -> bool:
    return metric is not None and (metric.low, metric.high) == (0.0, 1.0)


def _caption(measure: str, metric: MetricRow | None) -> str:
    if metric is None:
        return measure
    better = {"higher": "higher is better", "lower": "lower is better"}.get(
        metric.direction, "neither is better"
    )
    return f"{measure}{f' ({metric.unit})' if metric.unit else ''}: {metric.meaning}; {better}"


def _difference(row: ComparisonRow) -> plots.Reading:
    word = change(row)
    name = f"{row.candidate} against {row.baseline}"
    return plots.Reading(name, row.delta, row.low, row.high, _SIDES.get(word, "even"), word, row.reason)


def benchmarks(summary: Summary) -> list[Markup]:
    """Every benchmark before and after, a plot for each pair of models."""
    pairs: dict[tuple[str, str], list[plots.Step]] = {}
    for row in summary.comparisons:
        if row.kind == "benchmark":
            word = change(row)
            said = f"{word} {number(row.delta, sign=True)}, n {row.n:,}"
            step = plots.Step(
                row.measure,
                row.baseline_value,
                row.candidate_value,
                _SIDES.get(word, "even"),
                said,
                row.reason,
            )
            pairs.setdefault((row.candidate, row.baseline), []).append(step)
    return [
        plots.dumbbells(steps, f"{candidate} against {baseline}: before (open circle) and after")
        for (candidate, baseline), steps in pairs.items()
    ]


def win_rates(summary: Summary) -> list[Markup]:
    """The win rates over whole answers, a plot for each judge."""
    wanted = (plan_tables(summary.run).get("gates") or {}).get("min_win_rate")
    drawn = []
    for judge in summary.judges:
        readings = []
        for row in summary.win_rates:
            if row.judge == judge.name and row.turn == 0:
                failed = f", {row.failed} failed" if row.failed else ""
                counts = f"({row.wins} won, {row.losses} lost, {row.ties} tied{failed})"
                reading = plots.Reading(
                    f"{row.candidate} against {row.baseline}",
                    row.win_rate, row.low, row.high, _rate_side(row.low, row.high), counts, row.reason,
                )  # fmt: skip
                readings.append(reading)
        if readings:
            asks = f"; the dashed line is the plan's minimum of {wanted}" if isinstance(wanted, float) else ""
            name = judge_name(judge.name, judge.is_language_model)
            caption = f"judge {name}; 0.5 is as good as the baseline{asks}"
            drawn.append(plots.rates(readings, caption, wanted if isinstance(wanted, float) else None))
    return drawn


def _rate_side(low: float | None, high: float | None) -> plots.Side:
    if low is None or high is None:
        return "open"
    return "better" if low > 0.5 else "worse" if high < 0.5 else "even"


def latency(summary: Summary) -> Markup | None:
    """How long the models took for an answer; None where the run measured no latency."""
    if not any(row.measure == _PERCENTILES[0][1] for row in summary.scores):
        return None
    rows = []
    for model in summary.models:
        scores = [(label, summary.score(model.name, measure)) for label, measure in _PERCENTILES]
        points = [(label, None if score is None else score.value) for label, score in scores]
        reasons = dict.fromkeys(score.reason for _, score in scores if score and score.reason)
        rows.append((model.name, points, "; ".join(reason for reason in reasons if reason)))
    return plots.percentiles(rows, "seconds within which half, 95 % and 99 % of the answers came")


def slices(summary: Summary) -> list[Markup]:
    """For each pair of models its slices on the measure that fell on most of them."""
    pairs: dict[tuple[str, str], dict[str, list[SliceRow]]] = {}
    for row in summary.slices:
        if row.direction != "none" and family_of(row.measure) != "efficiency":
            pairs.setdefault((row.candidate, row.baseline), {}).setdefault(row.measure, []).append(row)
    return [_strip(pair, measures) for pair, measures in pairs.items()]


def _strip(pair: tuple[str, str], measures: dict[str, list[SliceRow]]) -> Markup:
    measure, rows = max(measures.items(), key=lambda item: sum(row.standing == "worse" for row in item[1]))
    places = []
    for row in rows:
        worsening = row.worsening or 0.0
        side = _SIDES.get(row.standing, "even")
        places.append(plots.Place(row.slice, row.delta, side, row.reason, upward=worsening <= 0))
    worse = sum(row.standing == "worse" for row in rows)
    said = f"{measure}: {worse or 'none'} of {len(rows)} slices clearly worse"
    return plots.strip(places, f"{pair[0]} against {pair[1]}", said)


def leaks(summary: Summary) -> Markup:
    """How many of the run's examples stand in the training data, tier by tier."""
    found = summary.run.data_summary or {}
    total = int(found.get("selected") or 0)
    if not found.get("train_file"):
        missing = plots.Bar("leaked examples", None, total, "the plan names no training data")
        return plots.bars([missing], "eval examples found in the training data")
    counted: dict[str, int] = dict(found.get("leaks_by_tier") or {})
    if not counted:
        for tier in ("identical", *(leak.tier for leak in summary.leaks)):
            counted[tier] = len({leak.example for leak in summary.leaks if leak.tier == tier})
    bars = [plots.Bar(tier, count, total) for tier, count in counted.items()]
    if "meaning" in counted and not (plan_tables(summary.run).get("data") or {}).get("embedding_model"):
        unsearched = plots.Bar("meaning", None, total, "not searched, [data] names no embedding_model")
        bars = [*(bar for bar in bars if bar.name != "meaning"), unsearched]
    return plots.bars(bars, "eval examples found in the training data, by how")


def trends(report: Report) -> Iterator[tuple[str, list[Markup]]]:
    """Each candidate's measures from run to run."""
    drawn: dict[str, list[Markup]] = {}
    for trend in report.trends:
        places = [
            plots.Place(f"run {point.run_id}", point.value, reason=point.reason, joined=gap is None)
            for point, gap in zip(trend.points, trend.breaks, strict=True)
        ]
        first, last = trend.points[0], trend.points[-1]
        said = f"{number(first.value)} in run {first.run_id} → {number(last.value)} in run {last.run_id}"
        gaps = dict.fromkeys(gap for gap in trend.breaks if gap)
        said += f"; not joined where {'; '.join(gaps)}" if gaps else ""
        drawn.setdefault(trend.candidate, []).append(plots.sparkline(places, trend.measure, said))
    yield from drawn.items()
