"""The HTML report: one file, no scripts, nothing loaded, light or dark as the reader's system is.

This module decides which of a run's numbers appear in which plot; `plots` draws them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from engine.compare.forgetting import DROP
from engine.compare.ruling import rule_on_rate
from engine.decision.decision import Coordinate, TradeOff
from engine.decision.families import family_of, rank
from store.read.query import by_key
from store.read.slices import SliceRow
from store.records import StoredMetric
from tui.report import plots
from tui.report.markdown import environment, shown
from tui.sections.alerts import WITH_EXAMPLES
from tui.sections.data import CoverageGap, DataSection
from tui.sections.eta import in_gpu_hours
from tui.sections.gather import RunSections
from tui.sections.judging import GRADES, JudgingSection
from tui.sections.measures import (
    DIRECTION,
    NOT_FOUND,
    Change,
    MeasuresSection,
    SlicesSection,
    between_samples,
    slice_map,
)
from tui.sections.overview import TRADE_OFF, CostsSection, MeasureTrend, trade_off_said, trade_off_table
from tui.sections.protocol import plan_tables
from tui.sections.remarks import ANSWERS, answer_table
from tui.text.output import number
from tui.widgets.pictures import HEAT_KEY, HeatMap, LabelAnswers, Scale, shade

WORST = 10  # slices in a table
MOST_GROUPS = 20  # of questions
_SIGNS = {"good": "▲", "bad": "▼", "open": "○", "neutral": "=", "missing": "–"}
_SEVERITIES = {"critical": "‼", "warning": "!", "note": "·"}
_CLASSES = {"ship": "good", "don't ship": "bad"}
_SIDES: dict[str, plots.Side] = {
    **{"better": "better", "worse": "worse", "more": "moved", "less": "moved"},
    "not tested": "open",
}
_PERCENTILES = (("half", "latency_p50_s"), ("95%", "latency_p95_s"), ("99%", "latency_p99_s"))


def html(found: RunSections) -> str:
    page = environment(autoescape=True, finalize=shown).get_template("report.html.j2")
    alerts = found.alerts
    return page.render(
        s=found,
        run=found.run,
        told=alerts.rows[:WITH_EXAMPLES],
        untold=alerts.rows[WITH_EXAMPLES:],
        first_told=next((alert.id for alert in alerts.rows if alerts.behind(alert)), None),
        word_class=lambda word: _CLASSES.get(word, "open"),
        standing_sign=_SIGNS.__getitem__,
        severity_sign=lambda severity: _SEVERITIES.get(severity, ""),
        between_samples=between_samples,
        data_facts=list(_data_facts(found.data)),
        gap_in_words=_gap,
        spent=list(_spent(found.costs)),
        DROP=DROP,
        WORST=WORST,
        MOST_GROUPS=MOST_GROUPS,
        NOT_FOUND=NOT_FOUND,
        TRADE_OFF=TRADE_OFF,
        trade_off_said=trade_off_said,
        trade_off_table=trade_off_table,
        ANSWERS=ANSWERS,
        answers=answer_table(found.answers),
        **_plots(found),
    )


def _plots(found: RunSections) -> dict[str, Any]:
    plan = plan_tables(found.run)
    return {
        "traded": _trade_off(found.trade_off) if found.trade_off else None,
        "measured": _families(found.measures),
        "spread": _spreads(found),
        "heat": list(_heat_maps(found.slices)),
        "heat_key": HEAT_KEY,
        "shade": shade,
        "shares": lambda row: [LabelAnswers(row.name, row.answers).share(count) for count in row.answers],
        "curves": _curves(found),
        "reliable": _reliability(found.measures),
        "trends": list(_trends(found.trends)),
        "benchmarked": _benchmarks(found.measures),
        "rated": _win_rates(found.judging, (plan.get("gates") or {}).get("min_win_rate")),
        "sliced": _slices(found.slices),
        "leaked": _leaks(found.data, bool((plan.get("data") or {}).get("embedding_model"))),
        "latency": _latency(found.measures),
    }


def _trade_off(found: TradeOff) -> Markup | None:
    """The candidates of which both is known; None for fewer than two."""
    points = [
        plots.PlotPoint(
            point.candidate,
            _coordinate(found.forgotten, point.forgotten),
            _coordinate(found.gain, point.gain),
            point.is_front,
        )
        for point in found.drawn
    ]
    caption = (
        f"up: {found.gain}, more is better; to the right: how much worse {found.forgotten} is; a full circle "
        "is on the front, a dashed line is a limit of the plan, a thin cross the 95% intervals"
    )
    limits = found.most_forgotten, found.least_gain
    return plots.scatter(points, caption, limits=limits, even=(0.0, found.even)) if len(points) > 1 else None


def _coordinate(name: str, found: Coordinate) -> plots.Reading:
    return plots.Reading(name, found.value, found.low, found.high, said=name)


def _spent(costs: CostsSection) -> Iterator[tuple[str, str]]:
    """Money for judges and hours of GPUs, or that they are unknown."""
    yield "judges", costs.unknown or f"${costs.dollars or 0:,.2f}"
    yield "GPUs", "no model used a GPU here" if costs.gpu_hours is None else in_gpu_hours(costs.gpu_hours)


def _data_facts(found: DataSection) -> Iterator[tuple[str, str]]:
    """Names and values, leaks aside."""
    if found.selected is not None:
        yield "examples evaluated", f"{found.selected:,}, split {found.split}"
    if found.synthetic:
        yield "synthetic examples, which a model wrote", f"{found.synthetic:,}"
    if found.train_file:
        yield "training data", f"{found.train_file} {found.train_sha256[:12]}".strip()
    if found.answers_seen:
        yield "answers also in the training data", f"{found.answers_seen:,}"
    if found.similar:
        yield "similar to a training question, with a different answer", f"{found.similar:,}"
        yield from (("scores there", said) for said in found.on_similar)
    if found.duplicates:
        yield "groups of near-identical examples", f"{found.duplicates:,}"
    for row in found.excluded:
        yield f"excluded: {row.example}", f"{row.reason or 'no reason given'} ({row.user})"
    if found.detectable is not None:
        yield "smallest detectable change", f"{found.detectable:.1%}"


def _gap(gap: CoverageGap) -> str:
    return (
        f"{gap.label}: {gap.wanted:.0%} of what users ask, {gap.found:.0%} of the eval set; "
        f"about {gap.missing:,} examples missing"
    )


@dataclass(frozen=True, slots=True)
class PlottedFamily:
    """The differences of one family of measures; `said` sums them up."""

    name: str
    said: str
    worse: int
    plots: Sequence[Markup]


def _families(found: MeasuresSection) -> list[PlottedFamily]:
    """The forest plots of all measures that were compared, benchmarks aside."""
    grouped = by_key((change.family, change) for change in found.changes if change.row.kind != "benchmark")
    limits = found.limits_of
    metrics = {metric.measure: metric for metric in found.metrics}
    return [
        _family(name, [(change, _difference(change, limits(change.row))) for change in changes], metrics)
        for name, changes in sorted(grouped.items(), key=lambda g: rank(g[0]))
    ]


def _family(
    name: str, drawn: Sequence[tuple[Change, plots.Reading]], metrics: Mapping[str, StoredMetric]
) -> PlottedFamily:
    changes = [change for change, _ in drawn]
    by_measure = by_key((change.row.measure, reading) for change, reading in drawn)
    shared = plots.difference_scale(
        [item for measure, own in by_measure.items() if _is_share(metrics.get(measure)) for item in own]
    )
    figures = [
        plots.forest(
            own,
            _caption(measure, metrics.get(measure))
            + ("; the dashed line is the gate's limit" if any(item.limits for item in own) else ""),
            shared if _is_share(metrics.get(measure)) else None,
        )
        for measure, own in by_measure.items()
    ]
    words = [change.word for change in changes]
    counts = [
        (words.count(word), word)
        for word in (
            *("worse", "better", "more", "less", "no worse", "inconclusive", "at the floor"),
            *("not tested", "missing"),
        )
    ]
    said = ", ".join(f"{count} {word}" for count, word in counts if count)
    return PlottedFamily(name, said, words.count("worse"), figures)


def _is_share(metric: StoredMetric | None) -> bool:
    return metric is not None and (metric.low, metric.high) == (0.0, 1.0)


def _caption(measure: str, metric: StoredMetric | None) -> str:
    if metric is None:
        return measure
    unit = f" ({metric.unit})" if metric.unit else ""
    return f"{measure}{unit}: {metric.meaning}; {DIRECTION[metric.direction]}"


def _difference(change: Change, limits: Sequence[float]) -> plots.Reading:
    row, word = change.row, change.word
    name = f"{row.candidate} against {row.baseline}"
    side = _SIDES.get(word, "even")
    return plots.Reading(name, row.delta, row.low, row.high, side, word, row.reason, limits)


def _spreads(found: RunSections) -> list[Markup]:
    metrics = {metric.measure: metric for metric in found.measures.metrics}
    return [
        plots.histogram(item.histogram, _caption(item.measure, metrics[item.measure]))
        for item in found.spreads
    ]


def _curves(found: RunSections) -> list[Markup]:
    """Judges' confidence and scores against what people said."""
    drawn = []
    for curve in found.curves:
        pair = f", {curve.candidate} against {curve.baseline}" if curve.candidate else ""
        if not curve.bins:
            reading = plots.Reading(f"{curve.judge}{pair}", None, reason=curve.reason)
            drawn.append(plots.rates([reading], f"judge {curve.judge}: {curve.kind} and people"))
        elif curve.kind == "confidence":
            readings = [
                plots.Reading(
                    f"{bin.low:.0%} to {bin.high:.0%} sure", bin.people, bin.people_low, bin.people_high,
                    said=f"n {bin.n:,}",
                )
                for bin in curve.bins
            ]  # fmt: skip
            caption = f"judge {curve.judge}{pair}: how often people give its verdict, by its confidence"
            drawn.append(plots.rates(readings, caption))
        else:
            steps = [
                plots.Reading(f"score {bin.low:g}", bin.people, said=f"mean rating, n {bin.n:,}")
                for bin in curve.bins
            ]
            caption = f"judge {curve.judge}: people's mean rating of the answers, by its score"
            drawn.append(plots.rates(steps, caption, of=Scale(*GRADES)))
    return drawn


def _reliability(found: MeasuresSection) -> list[Markup]:
    """The models' confidence against how often their answers were right."""
    return [
        plots.rates(
            [
                plots.Reading(
                    f"{row.confidence:.0%} sure", row.right, row.low, row.high,
                    said=f"right {row.right:.0%}, n {row.n:,}", limits=(row.confidence,),
                )
                for row in curve.rows
            ],
            f"{curve.model} on {curve.of}: how often its answers were right, by its confidence",
        )
        for curve in found.reliability
    ]  # fmt: skip


def _heat_maps(found: SlicesSection) -> Iterator[tuple[str, HeatMap]]:
    """Each pair's slices by measure."""
    pairs = by_key(((row.candidate, row.baseline), row) for row in found.rows)
    for (candidate, baseline), rows in pairs.items():
        yield f"{candidate} against {baseline}", slice_map(rows)


def _benchmarks(found: MeasuresSection) -> list[Markup]:
    """Every benchmark before and after, a plot for each pair of models."""
    pairs: dict[tuple[str, str], list[plots.BeforeAfter]] = {}
    for change in found.changes:
        row, word = change.row, change.word
        if row.kind == "benchmark":
            said = f"{word} {number(row.delta, sign=True)}, n {row.n:,}"
            step = plots.BeforeAfter(
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


_RATE_SIDES: dict[str, plots.Side] = {
    "better": "better",
    "worse": "worse",
    "inconclusive": "even",
    "missing": "open",
    "not tested": "open",
}


def _win_rates(found: JudgingSection, wanted: object) -> list[Markup]:
    """The win rates over whole answers, a plot for each judge; `wanted` is the plan's minimum."""
    drawn = []
    for judge in found.judges:
        readings = []
        for pair in judge.pairs:
            row = pair.row
            failed = f", {row.failed} failed" if row.failed else ""
            counts = f"({row.wins} won, {row.losses} lost, {row.ties} tied{failed})"
            reading = plots.Reading(
                pair.name,
                row.win_rate, row.low, row.high, _RATE_SIDES[rule_on_rate(row)], counts, row.reason,
            )  # fmt: skip
            readings.append(reading)
        if readings:
            asks = f"; the dashed line is the plan's minimum of {wanted}" if isinstance(wanted, float) else ""
            caption = f"judge {judge.name}; 0.5 is as good as the baseline{asks}; intervals by themselves"
            drawn.append(plots.rates(readings, caption, wanted if isinstance(wanted, float) else None))
    return drawn


def _latency(found: MeasuresSection) -> Markup | None:
    """How long the models took for an answer; None where the run measured no latency."""
    if not any(row.measure == _PERCENTILES[0][1] for row in found.scores):
        return None
    rows = []
    for model in found.models:
        scores = [(label, found.score(model, measure)) for label, measure in _PERCENTILES]
        points = [(label, None if score is None else score.value) for label, score in scores]
        reasons = dict.fromkeys(score.reason for _, score in scores if score and score.reason)
        rows.append((model, points, "; ".join(reason for reason in reasons if reason)))
    return plots.percentiles(rows, "seconds within which half, 95% and 99% of the answers came")


def _slices(found: SlicesSection) -> list[Markup]:
    """For each pair of models its slices on the measure that dropped on most of them."""
    pairs: dict[tuple[str, str], dict[str, list[SliceRow]]] = {}
    for row in found.rows:
        if row.direction != "none" and family_of(row.measure) != "efficiency":
            pairs.setdefault((row.candidate, row.baseline), {}).setdefault(row.measure, []).append(row)
    return [_strip(pair, measures) for pair, measures in pairs.items()]


def _strip(pair: tuple[str, str], measures: dict[str, list[SliceRow]]) -> Markup:
    measure, rows = max(measures.items(), key=lambda item: sum(row.standing == "worse" for row in item[1]))
    places = []
    for row in rows:
        worsening = row.worsening or 0.0
        side = _SIDES.get(row.standing, "even")
        places.append(plots.PlotPlace(row.slice, row.delta, side, row.reason, upward=worsening <= 0))
    worse = sum(row.standing == "worse" for row in rows)
    said = f"{measure}: {worse or 'none'} of {len(rows)} slices clearly worse"
    return plots.strip(places, f"{pair[0]} against {pair[1]}", said)


def _leaks(found: DataSection, by_meaning: bool) -> Markup:
    """How many of the run's examples are in the training data, tier by tier.

    `by_meaning` says whether the plan names a model to search by meaning with.
    """
    total = found.selected or 0
    if not found.train_file:
        missing = plots.Bar("leaked examples", None, total, "the plan names no training data")
        return plots.bars([missing], "eval examples found in the training data")
    bars = [
        plots.Bar(tier, count, total, "not searched" if count is None else None)
        for tier, count in found.leaks_by_tier.items()
    ]
    if "meaning" in found.leaks_by_tier and not by_meaning:
        unsearched = plots.Bar("meaning", None, total, "not searched, [data] names no embedding_model")
        bars = [*(bar for bar in bars if bar.name != "meaning"), unsearched]
    return plots.bars(bars, "eval examples found in the training data, by how")


def _trends(trends: Sequence[MeasureTrend]) -> Iterator[tuple[str, list[Markup]]]:
    """Each candidate's measures from run to run."""
    drawn: dict[str, list[Markup]] = {}
    for trend in trends:
        places = [
            plots.PlotPlace(f"run {point.run_id}", point.value, reason=point.reason, joined=gap is None)
            for point, gap in zip(trend.points, trend.breaks, strict=True)
        ]
        first, last = trend.points[0], trend.points[-1]
        said = f"{number(first.value)} in run {first.run_id} → {number(last.value)} in run {last.run_id}"
        gaps = dict.fromkeys(gap for gap in trend.breaks if gap)
        said += f"; not joined where {'; '.join(gaps)}" if gaps else ""
        drawn.setdefault(trend.candidate, []).append(plots.sparkline(places, trend.measure, said))
    yield from drawn.items()
