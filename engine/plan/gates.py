"""The gates of a plan: the thresholds that its candidates are held to."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field

from engine.errors import BadInput
from engine.plan.errors import Problem, listed, nearest
from engine.plan.metrics import REGISTRY, make_built_in
from engine.plan.types import Fraction, Name, Table

if TYPE_CHECKING:
    from engine.plan.plan import Plan

Share = Annotated[float, Field(strict=True, ge=0)]
# Measures that a run takes of all answers together, of a corpus, or of a judge: named by what the plan holds.
_NAMED_ELSEWHERE = ("judge:", "perplexity:", "bits_per_byte:", "latency_p", "tokens_in_", "tokens_out_")


class MetricLimit(Table):
    """How far one measure may fall, as a share of the baseline's value; `warn` None gives no warning."""

    max: Share
    warn: Share | None = None


def _limit(value: Any) -> Any:
    return {"max": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


class Gates(Table):
    """Thresholds as fractions: drops are absolute on 0 to 1 measures, the perplexity rise is relative.

    Drops of measures on another bounded scale (a judge's 1 to 10) are fractions of its width. `metrics` sets
    limits for single measures by name, relative to the baseline's value: a number, or `{ max, warn }`. Drifts
    of length and latency are relative and only warn. `min_judge_agreement` is Cohen's kappa of a judge with
    people, looked at once they labelled answers. `max_leakage` is the share of the examples that may stand in
    the training data. None switches a gate off.
    """

    min_win_rate: Fraction | None = None
    warn_win_rate: Fraction | None = 0.55
    max_benchmark_drop: Fraction = 0.05
    warn_benchmark_drop: Fraction = 0.03
    max_metric_drop: Fraction = 0.05
    warn_metric_drop: Fraction = 0.03
    metrics: dict[Name, Annotated[MetricLimit, BeforeValidator(_limit)]] = Field(default_factory=dict)
    max_perplexity_rise: Share = 0.10
    min_format_compliance: Fraction | None = None
    max_judge_failures: Fraction = 0.10
    max_judge_inconsistency: Fraction = 0.30
    min_judge_agreement: Fraction | None = None
    max_disparity: Fraction | None = 0.10
    max_leakage: Fraction | None = 0.10
    warn_length_drift: Share | None = 0.50
    warn_latency_rise: Share | None = 0.50


def limit_checks(plan: "Plan") -> list[Problem]:
    """Limits on measures that nothing in the plan gives, or that warn above where they fail.

    Where a metric is the plan's own, its measures are known only when it runs; nothing is said of names then.
    """
    limits = plan.gates.metrics
    problems = [
        Problem(f"gates.metrics.{name}.warn", f"found {limit.warn:g}; allowed: at most max, {limit.max:g}")
        for name, limit in limits.items()
        if limit.warn is not None and limit.warn > limit.max
    ]
    unknown = [name for name in limits if not name.startswith(_NAMED_ELSEWHERE)]
    known = _measured(plan) if unknown else []
    return problems + [
        Problem(
            f"gates.metrics.{name}",
            f'no metric of the plan measures "{name}"{nearest(name, known)}; measured: {listed(known)}',
        )
        for name in unknown
        if known and name not in known
    ]


def _measured(plan: "Plan") -> list[str]:
    """The measures of the plan's metrics; none where one of them can't be asked before it runs."""
    names: list[str] = []
    for name in plan.metrics.use:
        if name not in REGISTRY:
            return []
        try:
            names += _names(make_built_in(name, plan.metrics.settings.get(name, {})).measures)
        except BadInput:  # its settings are wrong, which is said of them
            return []
    return names


def _names(measures: Iterable[Any]) -> list[str]:
    return [measure.name for measure in measures]
