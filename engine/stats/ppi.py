"""Prediction-powered inference: a judge's labels on all examples, made honest by people's labels on some.

The judge's mean over the unlabelled examples is cheap but may be off; the labelled ones tell by how much.
With the power-tuning weight of PPI++ (Angelopoulos, Duchi, Zrnic 2023, arXiv:2311.01453) the interval is
hardly ever wider than that of the labels alone, and the narrower the better the judge agrees with people.

Value, weight and standard error are those of ppi-python's `ppi_mean_pointestimate` and `ppi_mean_ci`. The
interval is a little wider than theirs: with 30 labels their normal one covers 92 % of the time where it says
95 %, so this one takes Student's t and the small-sample divisor (`python -m bench.calibration` shows both).

All of it holds only where the labelled examples are a random sample of all: a queue of the worst ones is not.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.stats.intervals import LEVEL, Array, Interval

Values = Sequence[float] | Array
FEWEST = 30  # with fewer, the interval covers visibly less than it says


@dataclass(frozen=True, slots=True)
class Corrected:
    """A mean corrected by people's labels, beside what the labels alone and the judge alone say.

    `weight` is how far the judge is trusted, 0 to 1. `reason` says why there is no corrected value.
    """

    value: float | None
    low: float | None
    high: float | None
    labelled: int
    unlabelled: int
    weight: float | None
    standard_error: float | None
    labels_alone: Interval
    judge_alone: float | None
    reason: str | None = None


def corrected_mean(
    labels: Values,
    judged: Values,
    unlabelled: Values,
    level: float = LEVEL,
    fewest: int = FEWEST,
) -> Corrected:
    """The mean that people would give, from their `labels` and the judge's values on the same examples
    (`judged`) and on all others (`unlabelled`).

    Missing, with the reason, below `fewest` labels and where nothing is unlabelled: then the labels alone say
    everything.
    """
    people, same, rest = (np.asarray(values, dtype=np.float64) for values in (labels, judged, unlabelled))
    alone = _mean_interval(people, level)
    judge = float(np.concatenate([same, rest]).mean()) if len(same) + len(rest) else None
    counts = (len(people), len(rest))
    if len(people) < fewest:
        reason = f"{len(people)} random labels are too few to correct by: {fewest} are needed"
        return Corrected(None, None, None, *counts, None, None, alone, judge, reason)
    if len(rest) == 0:
        error = float(people.std()) / math.sqrt(len(people))
        ends = (alone.value, alone.low, alone.high)
        return Corrected(*ends, *counts, 0.0, error, alone, judge, "every example was labelled")
    weight = _weight(people, same, rest)
    value = float(weight * rest.mean() + (people - weight * same).mean())
    error = math.sqrt(_variance(people, same, rest, weight))
    half = _widening(len(people), level) * error
    return Corrected(value, value - half, value + half, *counts, weight, error, alone, judge)


def labels_to_settle(
    labels: Values,
    judged: Values,
    unlabelled: Values,
    threshold: float,
    level: float = LEVEL,
) -> int | None:
    """How many labels in all would put the threshold outside the interval, if the value stays as it is.

    None where no number of labels would: the value is the threshold, or the unlabelled examples themselves
    are too few.
    """
    people, same, rest = (np.asarray(values, dtype=np.float64) for values in (labels, judged, unlabelled))
    if len(people) < 2 or len(rest) < 2:
        return None
    weight = _weight(people, same, rest)
    value = float(weight * rest.mean() + (people - weight * same).mean())
    room = ((value - threshold) / _widening(len(people), level)) ** 2 - float((weight * rest).var()) / len(
        rest
    )
    spread = float((people - weight * same).var())
    if room <= 0:
        return None
    return max(2, math.ceil(spread / room))


def _weight(people: Array, same: Array, rest: Array) -> float:
    """The weight of the judge's values that makes the interval narrowest, kept within 0 and 1."""
    n, unlabelled = len(people), len(rest)
    together = float(np.cov(np.concatenate([same, rest])))
    if together == 0:
        return 0.0
    shared = float(((people - people.mean()) * (same - same.mean())).mean())
    return float(np.clip(shared / ((1 + n / unlabelled) * together), 0.0, 1.0))


def _variance(people: Array, same: Array, rest: Array, weight: float) -> float:
    return float((weight * rest).var()) / len(rest) + float((people - weight * same).var()) / len(people)


def _mean_interval(values: Array, level: float) -> Interval:
    """The mean with Student's interval."""
    n = len(values)
    if n == 0:
        return Interval(None, None, None, 0)
    value = float(values.mean())
    if n < 2:
        return Interval(value, None, None, n)
    half = _widening(n, level) * float(values.std()) / math.sqrt(n)
    return Interval(value, value - half, value + half, n)


def _widening(n: int, level: float) -> float:
    """Half the interval's width in standard errors that were computed with the divisor n."""
    from scipy.stats import t

    return float(t.ppf(0.5 + level / 2, n - 1)) * math.sqrt(n / (n - 1))
