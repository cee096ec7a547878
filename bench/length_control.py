"""How close the win rate at equal length comes to a known truth, beside the raw rate.

    python -m bench.length_control [--rounds 300]

Answers are simulated whose lengths follow what the prompt calls for; prompts that call for long answers are
harder for the candidate; the judge's logit grows by `effect` x tanh(length difference / its standard
deviation). `shorter` is the candidate's mean log length below the baseline's. Each line: verdicts, effect,
shorter; the true rate at equal length; the root mean square error of the raw rate and of Assay's figure
(the raw rate where it gives none); how often it gives one; and how often its 95 % interval covers the truth.
"""

import argparse
from itertools import product

import numpy as np

from engine.stats.length_control import length_controlled

MODEL, HARDER = 0.3, 0.7  # the candidate's logit at equal length, and its loss per deviation of the demand


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    rounds = parser.parse_args().rounds
    print("   n effect shorter  truth    raw  assay  given covers")
    for n, effect, shorter in product((50, 100, 200, 400, 800), (0.0, 1.0, 2.0), (0.0, 0.5)):
        truth, raw, own, given, covers = simulated(n, effect, shorter, rounds)
        print(
            f"{n:4} {effect:6} {shorter:7} {truth:6.1%} {raw:6.1%} {own:6.1%} {given:6.0%} {covers:6.1%}",
            flush=True,
        )


def simulated(n: int, effect: float, shorter: float, rounds: int) -> tuple[float, float, float, float, float]:
    """Truth, both errors, the share of rounds with a figure, and the coverage of its interval."""
    rng = np.random.default_rng(0)
    truth = float((1 / (1 + np.exp(HARDER * rng.normal(size=1_000_000) - MODEL))).mean())
    raw, own, covered = [], [], []
    for seed in range(rounds):
        demand = rng.normal(size=n)
        baseline = np.exp(6 + 0.7 * demand + rng.normal(0, 0.4, n)).round()
        candidate = np.exp(6 - shorter + 0.7 * demand + rng.normal(0, 0.4, n)).round()
        difference = candidate - baseline
        logits = MODEL - HARDER * demand + effect * np.tanh(difference / difference.std(ddof=1))
        points = (rng.random(n) < 1 / (1 + np.exp(-logits))).astype(float)
        found = length_controlled(
            points.tolist(), candidate.astype(int).tolist(), baseline.astype(int).tolist(), seed
        )
        raw.append(points.mean() - truth)
        own.append(raw[-1] if found.value is None else found.value - truth)
        if found.low is not None and found.high is not None:
            covered.append(found.low <= truth <= found.high)
    errors = [float(np.sqrt(np.mean(np.square(each)))) for each in (raw, own)]
    return (
        truth,
        errors[0],
        errors[1],
        len(covered) / rounds,
        float(np.mean(covered)) if covered else float("nan"),
    )


if __name__ == "__main__":
    main()
