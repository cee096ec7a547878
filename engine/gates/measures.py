"""The limits that each measure is checked against: metrics, perplexity, refusals, length, benchmarks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from engine.compare.comparison import Comparison, reach
from engine.compare.forgetting import DROP, INVARIANCE, ROBUST
from engine.compare.ruling import BoundedComparison, ends_of_benchmark, rule
from engine.data.suites import PREFIX, plain
from engine.gates.drops import CheckedComparison, DropLimits, alerts_on, surprises
from engine.metrics.metric import Measure
from engine.plan.plan import Gates
from store.read.rows import ComparisonRow
from store.records.alert import Alert, ComparisonEvidence

LABELLED = ("refused_harmless", "refused_harmful")
# In suites every question is labelled: more refusals of all of them may be what was wanted.
REFUSALS = ("refusal", *LABELLED, *(f"{PREFIX}{name}" for name in LABELLED))
LENGTHS = ("response_tokens", "response_words")
LATENCY = "latency_s"


def ruled(
    comparisons: Sequence[Comparison],
    benchmarks: Sequence[Comparison],
    gates: Gates,
    measures: Mapping[str, Measure],
) -> tuple[list[Comparison], list[Comparison]]:
    """Both with their rulings: for each candidate, what gates check is one family and the rest another.

    What perturbations cost and leave is a third.
    """
    known = {id(item.comparison): item for item in checked(comparisons, benchmarks, gates, measures)}
    families: dict[tuple[str, str], list[tuple[Comparison, BoundedComparison]]] = {}
    for comparison in (*comparisons, *benchmarks):
        item, measure = known.get(id(comparison)), measures.get(comparison.measure)
        ends = (measure.low, measure.high) if measure else item.ends if item else (None, None)
        of_forms = comparison.measure.startswith((DROP, ROBUST))
        has_own = comparison.measure in gates.metrics
        allowed = allowed_of_forms(gates) if of_forms and not has_own else item.allowed if item else None
        asked = BoundedComparison(comparison, ends, allowed)
        name = "robustness" if of_forms else "checked" if item else "unchecked"
        families.setdefault((comparison.candidate, name), []).append((comparison, asked))
    found = {
        # A limit relative to a value that is not known is not known either.
        id(comparison): replace(
            comparison, ruling=ruling, allowed=None if comparison.delta is None else asked.allowed
        )
        for (_, name), family in families.items()
        for (comparison, asked), ruling in zip(family, rule(name, [each for _, each in family]), strict=True)
    }
    first, second = ([found[id(item)] for item in group] for group in (comparisons, benchmarks))
    return first, second


def allowed_of_forms(gates: Gates) -> float | None:
    """How much more than a baseline, or than in the plain form, a candidate may lose to a perturbation.

    Where the plan has no limit that fails, it is the one that warns.
    """
    most = gates.max_robustness_drop
    return gates.warn_robustness_drop if most is None else most


def tripping(
    comparisons: Sequence[Comparison],
    benchmarks: Sequence[Comparison],
    gates: Gates,
    measures: Mapping[str, Measure],
) -> list[tuple[Comparison, tuple[float, ...]]]:
    """The comparisons that a gate or a warning checks, each with the differences beyond which it trips.

    The differences are in the measure's unit, candidate minus baseline.
    """
    found: list[tuple[Comparison, tuple[float, ...]]] = []
    for item in checked(comparisons, benchmarks, gates, measures):
        if item.drop is None:
            continue
        rise = item.way == "more" or item.comparison.direction == "lower"
        ends = (-item.limit, item.limit) if item.way == "either" else (item.limit if rise else -item.limit,)
        found.append((item.comparison, ends))
    return found


def drop_alerts(
    comparisons: Sequence[Comparison],
    benchmarks: Sequence[Comparison],
    gates: Gates,
    measures: Mapping[str, Measure],
) -> list[Alert]:
    """The alerts on measures that dropped or drifted; the comparisons have their rulings.

    Drops count on bounded measures with a direction and on benchmarks (absolute for scores from 0 to 1, else
    relative), and so do rises in perplexity and refusals, and drifts of length.
    """
    return [
        *alerts_on(checked(comparisons, benchmarks, gates, measures)),
        *_unmeasured(comparisons, gates),
    ]


def evaluated(
    comparisons: Sequence[Comparison],
    benchmarks: Sequence[Comparison],
    gates: Gates,
    measures: Mapping[str, Measure],
) -> set[str]:
    """The candidates with at least one difference that a gate checks; drifts are not gates."""
    known = checked(comparisons, benchmarks, gates, measures)
    return {item.comparison.candidate for item in known if item.asked and item.drop is not None}


def checked(
    comparisons: Sequence[Comparison],
    benchmarks: Sequence[Comparison],
    gates: Gates,
    measures: Mapping[str, Measure],
) -> list[CheckedComparison]:
    return [*_checked_benchmarks(benchmarks, gates), *_checked_metrics(comparisons, gates, measures)]


def decline_limit(
    item: Comparison | ComparisonRow, measure: Measure | None, at: float, gates: Gates
) -> float | None:
    """The drop that the plan allows in one run, in the measure's unit; None without a gate on it.

    `at` is the value that a slow decline began at.
    """
    if item.measure in gates.metrics:
        return gates.metrics[item.measure].max * abs(at)
    if item.measure.startswith((DROP, ROBUST, INVARIANCE)):
        return gates.max_robustness_drop
    if item.measure.partition(":")[0] in ("perplexity", "bits_per_byte"):
        return gates.max_perplexity_rise * abs(at)
    if item.kind == "benchmark":
        return gates.max_benchmark_drop * (1.0 if 0 <= at <= 1 else abs(at))
    width = None if measure is None else reach(measure)
    return None if width is None else gates.max_metric_drop * width


def _checked_benchmarks(comparisons: Sequence[Comparison], gates: Gates) -> list[CheckedComparison]:
    return [
        CheckedComparison(
            "benchmark_drop",
            comparison,
            DropLimits(gates.max_benchmark_drop, gates.warn_benchmark_drop, relative=ends == (None, None)),
            ends=ends,
        )
        for comparison in comparisons
        for ends in [ends_of_benchmark(comparison.candidate_value, comparison.baseline_value)]
    ]


def _checked_metrics(
    comparisons: Sequence[Comparison], gates: Gates, measures: Mapping[str, Measure]
) -> list[CheckedComparison]:
    own = [item for item in comparisons if item.measure in gates.metrics]
    others = [item for item in comparisons if item.measure not in gates.metrics]
    rise = DropLimits(gates.max_perplexity_rise, None, relative=True)
    lengths = {item.measure for item in others if item.delta is not None}
    length = next((name for name in LENGTHS if name in lengths), None)
    checked = [
        *(_by_name(item, gates, measures.get(item.measure)) for item in own),
        *(CheckedComparison("perplexity_rise", item, rise) for item in surprises(others)),
    ]
    for item in others:
        if item.measure.startswith((DROP, ROBUST, INVARIANCE)):
            checked += _perturbed(item, gates)
        elif item.measure in REFUSALS:
            checked.append(_refusal(item, gates))
        elif item.measure == length and gates.warn_length_drift is not None:
            limits = DropLimits(None, gates.warn_length_drift, relative=True)
            checked.append(CheckedComparison("length_drift", item, limits, "either", asked=False))
        elif item.measure == LATENCY and gates.warn_latency_rise is not None:
            limits = DropLimits(None, gates.warn_latency_rise, relative=True)
            checked.append(CheckedComparison("latency_drift", item, limits, asked=False))
        elif (measure := measures.get(item.measure)) is not None and measure.direction != "none":
            checked += _bounded(item, measure, gates)
    return checked


def _by_name(item: Comparison, gates: Gates, measure: Measure | None) -> CheckedComparison:
    """By the plan's limit for this measure; one without a direction may not drift."""
    limit = gates.metrics[item.measure]
    is_surprise = item.measure.partition(":")[0] in ("perplexity", "bits_per_byte")
    return CheckedComparison(
        "perplexity_rise" if is_surprise else "metric_drop",
        item,
        DropLimits(limit.max, limit.warn, relative=True),
        "either" if item.direction == "none" else "worse",
        ends=(measure.low, measure.high) if measure else (None, None),
    )


def _refusal(item: Comparison, gates: Gates) -> CheckedComparison:
    """More refusals of unlabelled prompts only warn, since they may be right."""
    if item.direction == "none":
        return CheckedComparison(
            "refusal_drift",
            item,
            DropLimits(None, gates.warn_metric_drop, relative=False),
            "more",
            asked=False,
        )
    measure = plain(item.measure)
    kind = "less_safe" if measure == "refused_harmful" else "refusal_drift"
    return CheckedComparison(kind, item, _refusal_limits(measure, gates))


def _refusal_limits(measure: str, gates: Gates) -> DropLimits:
    """Each direction has a limit of its own where the plan names one."""
    own = {
        "refused_harmful": gates.max_harmful_compliance_rise,
        "refused_harmless": gates.max_over_refusal_rise,
    }.get(measure)
    most = gates.max_metric_drop if own is None else own
    return DropLimits(most, min(gates.warn_metric_drop, most), relative=False)


def _perturbed(item: Comparison, gates: Gates) -> list[CheckedComparison]:
    """What a perturbation costs the candidate beyond what it costs the baseline, and nothing else."""
    limits = DropLimits(gates.max_robustness_drop, gates.warn_robustness_drop, relative=False)
    if not item.measure.startswith(DROP) or (limits.critical is None and limits.warning is None):
        return []
    asked = limits.critical is not None
    return [CheckedComparison("robustness_drop", item, limits, asked=asked, ends=(-1.0, 1.0))]


def _bounded(item: Comparison, measure: Measure, gates: Gates) -> list[CheckedComparison]:
    """Bounded measures with a direction: the limits are shares of their range."""
    width = reach(measure)
    if width is None:
        return []
    limits = DropLimits(gates.max_metric_drop * width, gates.warn_metric_drop * width, relative=False)
    return [CheckedComparison("metric_drop", item, limits, ends=(measure.low, measure.high))]


def _unmeasured(comparisons: Iterable[Comparison], gates: Gates) -> list[Alert]:
    """Critical alerts on measures with their own limit that were never compared."""
    found = list(comparisons)
    compared = {(item.candidate, item.measure) for item in found}
    return [
        Alert(
            "critical",
            "metric_drop",
            candidate,
            None,
            name,
            f"{name} was not measured for {candidate}. The plan sets a limit on it under [gates.metrics].",
            ComparisonEvidence(),
        )
        for candidate in dict.fromkeys(item.candidate for item in found)
        for name in gates.metrics
        if (candidate, name) not in compared
    ]
