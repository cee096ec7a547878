"""How often a corrected win rate's interval holds the truth, and how much narrower it is than people's alone.

    python -m bench.calibration [--rounds 2000]

Each line: labels, examples without a label, how often the judge is right; the share of simulated samples
whose 95 % interval covers the true win rate, with Student's t (Assay's) and with the normal quantile
(ppi-python's); and the corrected interval's width over that of the labels alone.
"""

import argparse
from statistics import NormalDist

import numpy as np

from engine.stats.ppi import corrected_mean

SHARES = {0.0: 0.3, 0.5: 0.1, 1.0: 0.6}
MEAN = sum(value * share for value, share in SHARES.items())
Z = NormalDist().inv_cdf(0.975)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2000)
    rounds = parser.parse_args().rounds
    print("labels  rest  right   covers  normal   width")
    for labelled in (30, 50, 100, 200):
        for unlabelled in (170, 800):
            for right in (0.3, 0.6, 0.9):
                covered, normal, width = simulated(labelled, unlabelled, right, rounds)
                print(
                    f"{labelled:6} {unlabelled:5} {right:6.0%} {covered:8.1%} {normal:7.1%} {width:7.2f}",
                    flush=True,
                )


def simulated(labelled: int, unlabelled: int, right: float, rounds: int) -> tuple[float, float, float]:
    """Coverage of both intervals and the mean ratio of widths over simulated samples."""
    rng = np.random.default_rng(0)
    covered = normal = 0
    widths = []
    for _ in range(rounds):
        people = rng.choice(list(SHARES), labelled + unlabelled, p=list(SHARES.values()))
        guess = rng.choice([0.0, 1.0], labelled + unlabelled)
        judge = np.where(rng.random(labelled + unlabelled) < right, people, guess)
        found = corrected_mean(people[:labelled], judge[:labelled], judge[labelled:])
        alone = found.labels_alone
        assert found.value is not None and found.low is not None and found.high is not None
        assert found.standard_error is not None and alone.low is not None and alone.high is not None
        covered += found.low <= MEAN <= found.high
        normal += abs(found.value - MEAN) <= Z * found.standard_error
        widths.append((found.high - found.low) / (alone.high - alone.low))
    return covered / rounds, normal / rounds, float(np.mean(widths))


if __name__ == "__main__":
    main()
