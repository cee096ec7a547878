"""What an alert on a fall says: the measure, both values, how sure the difference is, and the limit."""

from engine.compare.comparison import Comparison
from engine.gates.checked import Held, Ruling
from engine.stats.family import Look


def told(ruling: Ruling) -> str:
    """The whole message of a fall beyond a limit."""
    held, limit = ruling.held, ruling.held.limits.said(ruling.severity)
    if ruling.look is None:
        return f"{_finding(held)}. No interval could be computed, so chance can't be ruled out. {limit}"
    sure = _how_sure(held.comparison, ruling.look)
    if ruling.is_settled:
        return f"{_finding(held)} ({sure}). {limit}"
    needs = f"needs about {ruling.needed:,} examples" if ruling.needed else "needs more examples"
    return (
        f"Not settled: {needs}. {_both(held)}, {_change(held)} that {_counted(held.comparison)} cannot tell "
        f"from noise ({sure}). {limit}"
    )


def not_compared(comparison: Comparison) -> str:
    """The message where the two sides gave no difference."""
    values = ", ".join(
        f"{name} has {'no value' if value is None else number(value)}"
        for name, value in (
            (comparison.candidate, comparison.candidate_value),
            (comparison.baseline, comparison.baseline_value),
        )
    )
    reason = f": {comparison.reason}" if comparison.reason else ""
    pair = f"{comparison.candidate} could not be compared with {comparison.baseline}"
    return f"{pair} on {comparison.measure}{reason} ({values}). Whether it fell is unknown."


def _finding(held: Held) -> str:
    comparison, change = held.comparison, _change(held)
    first, second = number(comparison.candidate_value or 0.0), number(comparison.baseline_value or 0.0)
    who, whom, measure = comparison.candidate, comparison.baseline, comparison.measure
    if held.kind == "benchmark_drop":
        return (
            f"{who} has forgotten some of what {whom} can do: {measure} is {first} against {second}, {change}"
        )
    if held.kind == "perplexity_rise":
        what = f"the corpus {corpus}" if (corpus := measure.partition(":")[2]) else "the references"
        return f"{who} expects {what} less than {whom} does: {measure} is {first} against {second}, {change}"
    if held.kind == "metric_drop":
        return f"{who} falls behind {whom} on {measure}: {first} against {second}, {change}"
    return f"{_both(held)}, {change}"


def _both(held: Held) -> str:
    comparison = held.comparison
    first, second = number(comparison.candidate_value or 0.0), number(comparison.baseline_value or 0.0)
    return (
        f"{comparison.measure} of {comparison.candidate} is {first} against {second} of {comparison.baseline}"
    )


def _change(held: Held) -> str:
    rose = (held.comparison.delta or 0.0) > 0
    fall = held.fall or 0.0
    size = held.limits.amount(fall) if held.limits.relative else number(fall)
    return f"a {'rise' if rose else 'drop'} of {size}"


def _how_sure(comparison: Comparison, look: Look) -> str:
    p = "p < 0.001" if look.p < 0.001 else f"p = {look.p:.3f}"
    interval = f"difference {comparison.delta:+.3f}, 95% interval {look.low:+.3f} to {look.high:+.3f}"
    among = f", both corrected for {look.family} comparisons" if look.family > 1 else ""
    return f"{interval}, {_counted(comparison)}, {p}{among}"


def _counted(comparison: Comparison) -> str:
    return f"n = {comparison.n}" if comparison.n else "an unknown n"


def number(value: float) -> str:
    """A value as alerts print it: three decimals, or four figures where it is large."""
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.4g}"
