"""Programs a second through the sandbox, beside the same programs in bare interpreters.

    python -m bench.sandbox

Each program is a function with three tests. The bare run has no isolation at all: one `python -I -S` per
program, as many at a time as the sandbox runs.
"""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from engine.sandbox.sandbox import Job, Sandbox

BUDGET = 20
PROGRAMS = 200
PROGRAM = """
from typing import List

def scaled(values: List[int], by: int) -> List[int]:
    return [value * by for value in values]
"""
TESTS = """
assert scaled([1, 2], 3) == [3, 6]
assert scaled([], 3) == []
assert scaled([1], 0) == [0]
"""


def sandboxed() -> tuple[float, str]:
    jobs = [Job(f"# {place}\n{PROGRAM}", TESTS) for place in range(PROGRAMS)]
    begun = time.perf_counter()
    outcomes = list(Sandbox().run_all(jobs))
    rate = PROGRAMS / (time.perf_counter() - begun)
    failed = [outcome for outcome in outcomes if not outcome.passed]
    if failed:
        raise SystemExit(f"{len(failed)} programs did not pass, first: {failed[0]}")
    return rate, str(outcomes[0].isolation)


def bare() -> float:
    def run(_: int) -> None:
        subprocess.run([sys.executable, "-I", "-S", "-c", PROGRAM + TESTS], check=True, env={})

    begun = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(run, range(PROGRAMS)))
    return PROGRAMS / (time.perf_counter() - begun)


def main() -> None:
    rate, isolation = sandboxed()
    plain = bare()
    print(f"with the sandbox ({isolation}): {rate:>6.1f} programs/s   (budget {BUDGET})")
    print(f"bare interpreters:             {plain:>6.1f} programs/s   (ratio {rate / plain:.2f})")


if __name__ == "__main__":
    main()
