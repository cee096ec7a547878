"""Whether the statistics keep their promises: coverage, false alarms, power, trends, and time.

Each figure is simulated from data whose truth is known.

    python -m bench.coverage [speed] [coverage] [small] [alarms] [power] [trends]
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engine.compare.comparison import from_paired
from engine.compare.ruling import BoundedComparison, rule
from engine.gates.drops import CheckedComparison, DropLimits, MeasureSeries, alerts_on, downtrend_alerts
from engine.metrics.metric import mean
from engine.stats.family import DETECTABLE, examples_needed
from engine.stats.intervals import Ends, Interval, bootstrap_interval, share_of
from engine.stats.paired import Paired, Sides, compare, compare_all
from engine.stats.winrate import Outcome, win_rate

Values = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Values]

TRIALS = 3_000
RESAMPLES = 2_000
SIZES = (50, 100, 400)
SMALL = (2, 3, 5, 8, 12)
BOUNDED, REACH = (0.0, 1.0), 1.0


def parts(values: Values) -> Values:
    return np.column_stack([values, np.ones(len(values))])


# What scores look like: (name, how they are drawn, their true mean).
SCORES: list[tuple[str, Draw, float]] = [
    ("normal", lambda rng, n: rng.normal(0.5, 0.1, n), 0.5),
    ("skewed (exponential)", lambda rng, n: rng.exponential(1.0, n), 1.0),
    ("skewed (beta 0.5, 2)", lambda rng, n: rng.beta(0.5, 2.0, n), 0.2),
    ("heaped at 0 (half)", lambda rng, n: rng.beta(1, 4, n) * (rng.random(n) < 0.5), 0.1),
]


def difference_right(rng: np.random.Generator, n: int) -> tuple[Values, Values]:
    """Right or wrong: 80 % of examples alike, 12 % lost, 8 % won."""
    kind = rng.random(n)
    return (kind < 0.58).astype(float), ((kind < 0.50) | ((kind >= 0.58) & (kind < 0.70))).astype(float)


def difference_scores(rng: np.random.Generator, n: int) -> tuple[Values, Values]:
    """Scores from 0 to 1 that hang together, the candidate a little worse, skewed."""
    baseline = rng.beta(2, 1, n)
    return np.clip(baseline - 0.04 + rng.gamma(1.0, 0.1, n) - 0.1, -1, 2), baseline


PAIRS: list[tuple[str, Callable[[np.random.Generator, int], tuple[Values, Values]], float]] = [
    ("right or wrong", difference_right, -0.04),
    ("scores, skewed differences", difference_scores, -0.04),
]


def covers(interval: Interval | Paired, truth: float) -> bool:
    assert interval.low is not None and interval.high is not None
    return interval.low <= truth <= interval.high


def share(hits: list[bool]) -> float:
    return 100 * sum(hits) / len(hits)


def tell(name: str, found: list[float], sizes: Sequence[int] = SIZES) -> None:
    print(f"  {name:40}", *(f"n={n}: {hit:5.1f} %" for n, hit in zip(sizes, found, strict=True)), flush=True)


def coverage(rng: np.random.Generator) -> None:
    print(f"Coverage of 95 % intervals, {TRIALS} trials each (standard error 0.4)")
    for name, draw, truth in SCORES:
        found = [
            share(
                [
                    covers(bootstrap_interval(parts(draw(rng, n)), mean, trial, RESAMPLES), truth)
                    for trial in range(TRIALS)
                ]
            )
            for n in SIZES
        ]
        tell(f"mean, {name}", found)
    for name, pair, truth in PAIRS:
        found = []
        for n in SIZES:
            hits = []
            for trial in range(TRIALS):
                ours, theirs = pair(rng, n)
                hits.append(covers(compare(parts(ours), parts(theirs), mean, trial, RESAMPLES), truth))
            found.append(share(hits))
        tell(f"difference, {name}", found)
    # At one share and one n no interval of a count can cover 95 %, only some more or some less.
    tell("mean, right or wrong, 5 to 95 %", [share(_shares_covered(rng, n)) for n in SIZES])
    rates = [share([_win_rate_covers(rng, n, trial) for trial in range(TRIALS // 4)]) for n in SIZES]
    tell("win rate, 45/30/25", rates)


def small(rng: np.random.Generator) -> None:
    """Of a few values; none may leave the measure's range, or have no width where values differ."""
    print(f"Coverage of 95 % intervals of a few values, {TRIALS} trials each")
    bounded: list[tuple[str, Draw, float]] = [
        ("bounded (uniform)", lambda rng, n: rng.uniform(0, 1, n), 0.5),
        *SCORES[2:],
        ("right or wrong (70 %)", lambda rng, n: (rng.random(n) < 0.7).astype(float), 0.7),
    ]
    broken = 0
    every: list[tuple[str, Draw, float, Ends]] = [(*each, BOUNDED) for each in bounded]
    for name, draw, truth, ends in [*every, (*SCORES[1], (0.0, None))]:
        found = []
        for n in SMALL:
            hits = []
            for trial in range(TRIALS):
                values = draw(rng, n)
                one = bootstrap_interval(parts(values), mean, trial, RESAMPLES, ends=ends)
                hits.append(covers(one, truth))
                broken += _is_broken(one, values, ends)
            found.append(share(hits))
        tell(f"mean, {name}", found, SMALL)
    for name, pair, truth in PAIRS:
        found = []
        for n in SMALL:
            draws = [pair(rng, n) for _ in range(TRIALS)]
            compared = [
                compare(parts(ours), parts(theirs), mean, trial, RESAMPLES, reach=REACH)
                for trial, (ours, theirs) in enumerate(draws)
            ]
            found.append(share([covers(one, truth) for one in compared]))
            broken += sum(
                _is_broken(one, ours - theirs, (-REACH, REACH))
                for one, (ours, theirs) in zip(compared, draws, strict=True)
            )
        tell(f"difference, {name}", found, SMALL)
    print(f"  intervals that leave the range, or have no width where values differ: {broken}")


def _is_broken(found: Interval | Paired, values: Values, ends: Ends) -> bool:
    assert found.low is not None and found.high is not None
    outside = (ends[0] is not None and found.low < ends[0]) or (ends[1] is not None and found.high > ends[1])
    return outside or bool(np.ptp(values) > 0 and found.low == found.high)


def _shares_covered(rng: np.random.Generator, n: int) -> list[bool]:
    shares = rng.uniform(0.05, 0.95, 20_000)
    return [covers(share_of(int(rng.binomial(n, share)), n), share) for share in shares]


def _win_rate_covers(rng: np.random.Generator, n: int, trial: int) -> bool:
    kinds: tuple[Outcome, ...] = ("win", "tie", "loss")
    outcomes = [kinds[place] for place in rng.choice(3, n, p=[0.45, 0.30, 0.25])]
    found = win_rate(outcomes, trial)
    assert found.low is not None and found.high is not None
    return found.low <= 0.60 <= found.high


def held(name: str, paired: Paired, limits: DropLimits) -> CheckedComparison:
    return CheckedComparison(
        "metric_drop", from_paired("new", "old", name, "higher", "metric", paired), limits
    )


def false_alarms(rng: np.random.Generator, runs: int = 500, measures: int = 40, n: int = 100) -> None:
    """Runs in which nothing has changed: how many raise a warning or worse, whatever the size of the drop."""
    limits = DropLimits(critical=0.0, warning=None, relative=False)
    alarmed = 0
    for run in range(runs):
        common = rng.normal(size=(n, 1))
        sides = []
        for place in range(measures):
            both = 0.5 + 0.1 * (common + rng.normal(size=(n, 2)))
            if place % 2:
                both = (both > 0.5).astype(float)
            sides.append(Sides(parts(both[:, 0]), parts(both[:, 1]), mean))
        found = compare_all(sides, run, RESAMPLES)
        checked = [held(str(place), paired, limits) for place, paired in enumerate(found)]
        rulings = rule("checked", [BoundedComparison(item.comparison) for item in checked])
        ruled = [
            replace(item, comparison=replace(item.comparison, ruling=ruling))
            for item, ruling in zip(checked, rulings, strict=True)
        ]
        alerts = alerts_on(ruled)
        alarmed += any(alert.severity != "note" for alert in alerts)
    print(f"False alarms: {100 * alarmed / runs:.1f} % of {runs} runs with {measures} null measures, n = {n}")


def power(rng: np.random.Generator, trials: int = 2_500) -> None:
    """How often a difference is found that was called detectable, and one at the n it was said to need."""
    print("Power (wanted: 80 %)")
    for n in (100, 400):
        error = np.mean(
            [
                compare(parts(ours), parts(theirs), mean, 0, RESAMPLES).smallest_detectable or np.nan
                for ours, theirs in (_shifted(rng, n, 0.0) for _ in range(100))
            ]
        )
        found = [_finds(*_shifted(rng, n, float(error)), trial) for trial in range(trials)]
        print(f"  at the smallest detectable change, n = {n}: {share(found):.1f} %")
    needed = [_asked_for(*_shifted(rng, 100, 0.03)) for _ in range(200)]
    # The change itself is known here, so that only the sum is tested and not the luck of the first look.
    spread = 0.2
    exact = round((2.8016 * spread / 0.03) ** 2)
    found = [_finds(*_shifted(rng, exact, 0.03), trial) for trial in range(trials)]
    print(f"  at the {exact} examples that a difference of 0.03 needs: {share(found):.1f} %")
    middle = np.median([item for item in needed if item is not None])
    print(f"  asked for after a look at 100 examples, in the middle of 200 looks: {middle:,.0f}")


def _shifted(rng: np.random.Generator, n: int, shift: float) -> tuple[Values, Values]:
    """Differences of mean `shift` and standard deviation 0.2."""
    baseline = rng.uniform(0.2, 0.8, n)
    return baseline + rng.normal(shift, 0.2, n), baseline


def _finds(ours: Values, theirs: Values, trial: int) -> bool:
    p = compare(parts(ours), parts(theirs), mean, trial, RESAMPLES).p
    return p is not None and p <= 0.05


def _asked_for(ours: Values, theirs: Values) -> int | None:
    found = compare(parts(ours), parts(theirs), mean, 0, RESAMPLES)
    return examples_needed((found.smallest_detectable or 0.0) / DETECTABLE, found.delta or 0.0, found.n)


def trends(rng: np.random.Generator, histories: int = 200, runs: int = 30, measures: int = 20) -> None:
    """Histories of runs, looked at after each run: noise alone, and one measure of them losing 6 points."""
    print(f"Slow decline, {histories} histories of {runs} runs with {measures} measures, a look after each")
    for loss in (0.0, 0.06):
        warned, when = 0, []
        for _ in range(histories):
            values = 0.8 + rng.normal(0, 0.01, (runs, measures))
            values[:, 0] -= np.linspace(0, loss, runs)
            first = next((length for length in range(8, runs + 1) if _declines(values[:length])), None)
            warned += first is not None
            when += [first] if first is not None else []
        middle = f", in the middle after {np.median(when):.0f} runs" if when else ""
        print(f"  {loss:.2f} lost: {100 * warned / histories:.1f} % raise an alert{middle}")


def _declines(values: Values) -> bool:
    runs = tuple(range(1, len(values) + 1))
    series = [
        MeasureSeries("new", str(place), False, 0.05, tuple(column), runs)
        for place, column in enumerate(values.T)
    ]
    return bool(downtrend_alerts(series))


def speed(rng: np.random.Generator, n: int = 10_000, measures: int = 20) -> None:
    sides = []
    for _ in range(measures):
        baseline = rng.random(n)
        sides.append(Sides(parts(baseline + rng.normal(0, 0.1, n)), parts(baseline), mean))
    begun, worked = time.perf_counter(), time.process_time()
    compare_all(sides)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - worked
    print(f"10,000 resamples of {n:,} pairs, {measures} measures: {seconds:.2f} s ({cpu:.2f} s of CPU)")


def main() -> None:
    """All figures, or those that are named."""
    every = {
        "speed": speed,
        "coverage": coverage,
        "small": small,
        "alarms": false_alarms,
        "power": power,
        "trends": trends,
    }
    for name in sys.argv[1:] or every:
        every[name](np.random.default_rng(0))


if __name__ == "__main__":
    main()
