"""False alarms of watching production traffic in years without a change, and the delay to tell a change.

    python -m bench.alarms [--years 1000] [--events 300] [--seed 0]

Made weeks go through the tests themselves (`engine.traffic.alerts.look`). A year has 52 weeks after the four
of the reference. Users differ in how much they ask, and a user's own events are alike.
"""

import argparse
import os
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from engine.stats.family import share_of
from engine.traffic.alerts import WINDOWS, look
from engine.traffic.periods import DAY
from engine.traffic.samples import Sample, joined

WEEKS = 52
REFERENCE = 4
CLUSTERS = 12
MOST_WEEKS = 26  # after a change, that are looked at


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a week's traffic is like; `alike` is how much a user's own events are, 0 to 1."""

    events: int = 300
    users: int = 120
    alike: float = 0.3
    refused: float = 0.04
    cut: float = 0.02
    well_formed: float = 0.9
    thumbs_up: float = 0.8
    corrected: float = 0.03
    length: float = 1.0
    latency: float = 1.0
    new_topic: float = 0.0


CHANGES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "refusals from 4 % to 8 %": ("refused", {"refused": 0.08}),
    "refusals from 4 % to 20 %": ("refused", {"refused": 0.2}),
    "answers half as long": ("length", {"length": 0.5}),
    "latency up by 20 %": ("latency_median", {"latency": 1.2}),
    "format kept in 75 % instead of 90 %": ("well_formed", {"well_formed": 0.75}),
    "thumbs up 60 % instead of 80 %": ("thumbs_up", {"thumbs_up": 0.6}),
    "10 % of questions on a new topic": ("questions", {"new_topic": 0.1}),
}


def week(rng: np.random.Generator, told: Traffic) -> Sample:
    """The events of one week."""
    n = int(rng.poisson(told.events))
    activity = 1 / (np.arange(told.users) + 5)
    users = rng.choice(told.users, n, p=activity / activity.sum())
    # A user's own leaning, in place of chance, on so many of the events.
    leaning, own = rng.random((told.users, 8)), rng.random((n, 8)) < told.alike
    drawn = np.where(own, leaning[users], rng.random((n, 8)))
    said = rng.random(n)
    topics = np.minimum((drawn[:, 6] ** 2 * CLUSTERS).astype(np.int64), CLUSTERS - 1)
    topics[rng.random(n) < told.new_topic] = CLUSTERS
    latency = told.latency * np.exp(0.5 * rng.standard_normal(n))
    values = {
        "refused": drawn[:, 0] < told.refused,
        "cut": drawn[:, 1] < told.cut,
        "well_formed": np.where(said < 0.3, drawn[:, 2] < told.well_formed, np.nan),
        "same_language": rng.random(n) < 0.98,
        "thumbs_up": np.where(said > 0.9, drawn[:, 3] < told.thumbs_up, np.nan),
        "corrected": drawn[:, 4] < told.corrected,
        "length": np.round(told.length * np.exp(5 + 0.6 * rng.standard_normal(n))),
        "latency_median": latency,
        "latency_p95": latency,
        "distance": 0.5 + 0.4 * drawn[:, 5],
        "rating": np.where(said > 0.95, np.ceil(5 * drawn[:, 7] ** 0.5), np.nan),
    }
    return Sample(
        np.zeros(n),
        rng.integers(0, 2**62, told.users)[users],
        {name: np.asarray(value, dtype=np.float64) for name, value in values.items()},
        topics,
        {
            "prompt of up to 25 words": drawn[:, 6] < 0.7,
            "prompt of 26 to 100 words": drawn[:, 6] >= 0.7,
            "numbers": rng.random(n) < 0.4,
            "negation": rng.random(n) < 0.1,
        },
        np.full(n, "model", dtype=object),
        {"judge": 1 + np.floor(10 * rng.random(50))},
    )


def year(told: Traffic, change: Mapping[str, Any], seed: int) -> list[set[str]]:
    """The measures that alarmed in each week after the reference; the change holds from the first on."""
    rng = np.random.default_rng(seed)
    reference = joined([week(rng, told) for _ in range(REFERENCE)])
    weeks = MOST_WEEKS if change else WEEKS
    recent: list[Sample] = []
    found = []
    for place in range(weeks):
        recent = [*recent, week(rng, replace(told, **change))][-max(WINDOWS) :]
        alarms, _ = look(place * 7 * DAY, 7, reference, recent)
        found.append({alarm.measure for alarm in alarms})
        if change and found[-1]:
            break
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--years", type=int, default=1000)
    parser.add_argument("--events", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    told = Traffic(events=asked.events, users=max(40, asked.events * 2 // 5))
    started = time.perf_counter()
    seeds = range(asked.seed, asked.seed + asked.years)
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        years = list(pool.map(partial(year, told, {}), seeds, chunksize=4))
        alarmed = [sum(bool(week) for week in found) for found in years]
        bad = sum(count > 0 for count in alarmed)
        share = share_of(bad, len(years))
        print(f"{len(years):,} years without a change, {asked.events} events a week:")
        print(f"  years with a false alarm: {bad} = {share.value:.1%} [{share.low:.1%}, {share.high:.1%}]")
        measures = sorted({name for found in years for week in found for name in week})
        print(f"  weeks with one: {sum(alarmed) / len(years):.3f} a year, of {', '.join(measures) or 'none'}")
        for name, (measure, change) in CHANGES.items():
            some = list(pool.map(partial(year, told, change), seeds[: max(20, asked.years // 20)]))
            delays = sorted(
                next((place for place, week in enumerate(found, 1) if week), MOST_WEEKS + 1) for found in some
            )
            told_by = sum(measure in found[-1] for found in some) / len(some)
            middle, late = delays[len(delays) // 2], delays[int(0.9 * len(delays))]
            print(
                f"  {name}: told after {middle} weeks (median), {late} (90 %); by {measure} in {told_by:.0%}"
            )
    print(f"in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
