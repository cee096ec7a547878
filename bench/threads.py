"""Tokens a second of one run and of two at a time, with one thread each, all of them, or a run's own share.

    python -m bench.threads [--model tiny] [--prompts N] [--rounds 1]

Each run is a process of its own, with the environment that workers are started with or with OpenMP's own,
and answers the prompts of `bench.generation` in slots. All runs of a row begin at one moment, warmed up. The
first column is of all runs of the row together; "x" is that, against one run with one thread. Each is the
median of the rounds, the ratio taken within a round.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping

from engine.models import cores
from engine.run.launch import PATIENT

CHILD = "--alone"
ALL, SHARE = "all", "share"
ROWS: tuple[tuple[str, int, str, Mapping[str, str]], ...] = (
    ("one run, 1 thread", 1, "1", PATIENT),
    ("one run, all threads", 1, ALL, PATIENT),
    ("one run, as workers share", 1, SHARE, PATIENT),
    ("two runs, 1 thread each", 2, "1", PATIENT),
    ("two runs, all threads each", 2, ALL, PATIENT),
    ("two runs, as workers share", 2, SHARE, PATIENT),
    ("one run, all threads, OpenMP's own waiting", 1, ALL, {}),
    ("two runs, all threads each, OpenMP's own waiting", 2, ALL, {}),
)


def rate(options: list[str], runs: int, threads: str, waiting: Mapping[str, str]) -> float:
    """Tokens a second of so many processes together."""
    environment = {name: value for name, value in os.environ.items() if name not in PATIENT}
    environment.update(waiting)
    for name in cores.SET_BY_USER:
        environment.pop(name, None)
    command = [sys.executable, "-P", "-m", "bench.threads", CHILD, threads, *options]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(runs)
    ]
    for child in children:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
    began = time.perf_counter()
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    tokens = sum(int(child.communicate()[0]) for child in children)
    return tokens / (time.perf_counter() - began)


def work(model: str, prompts: int | None, threads: str) -> None:
    """What one of the processes does: it says that it is ready, waits for word, and prints its tokens."""
    import torch

    from bench.generation import SHAPES, Bench, quiet
    from engine.models.batcher import MOST_SLOTS_ELSEWHERE

    quiet()
    if threads.isdecimal():
        torch.set_num_threads(int(threads))
    bench = Bench(SHAPES[model], prompts or SHAPES[model].prompts)
    with torch.inference_mode():
        bench.model(torch.tensor([bench.prompts[0]]))
    print("ready", flush=True)
    sys.stdin.readline()
    with cores.shared(fixed=threads != SHARE):
        cores.compute()
        bench.slots_of(MOST_SLOTS_ELSEWHERE, cores.adapt)()
    print(sum(bench.tokens.values()))


def main(given: list[str] | None = None) -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--model", default="tiny")
    arguments.add_argument("--prompts", type=int)
    arguments.add_argument("--rounds", type=int, default=1)
    arguments.add_argument(CHILD, help=argparse.SUPPRESS)
    options = arguments.parse_args(given)
    if options.alone is not None:
        return work(options.model, options.prompts, options.alone)
    passed = ["--model", options.model]
    if options.prompts:
        passed += ["--prompts", str(options.prompts)]
    rates: dict[str, list[float]] = {name: [] for name, *_ in ROWS}
    for _ in range(options.rounds):
        for name, runs, threads, waiting in ROWS:
            rates[name].append(rate(passed, runs, threads, waiting))
            print(f"{name}: {rates[name][-1]:,.0f} tokens/s", file=sys.stderr, flush=True)
    print("| runs | tokens/s | x |\n|---|---|---|")
    first = rates[ROWS[0][0]]
    for name, own in rates.items():
        times = statistics.median(one / other for one, other in zip(own, first, strict=True))
        print(f"| {name} | {statistics.median(own):,.0f} | {times:.2f} |")


if __name__ == "__main__":
    main()
