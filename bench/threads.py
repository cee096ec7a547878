"""Tokens a second of one run and of two at a time, with one thread each or with all of them.

    python -m bench.threads [--model tiny] [--prompts N]

Each run is a process of its own, with the environment that workers are started with or with OpenMP's own,
and answers the prompts of `bench.generation` in slots. All runs of a row begin at one moment, warmed up. The
first column is of all runs of the row together; "x" is that, against one run with one thread.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping

from engine.run.launch import PATIENT

CHILD = "--alone"
ROWS: tuple[tuple[str, int, int | None, Mapping[str, str]], ...] = (
    ("one run, 1 thread", 1, 1, PATIENT),
    ("one run, all threads", 1, None, PATIENT),
    ("two runs, 1 thread each", 2, 1, PATIENT),
    ("two runs, all threads each", 2, None, PATIENT),
    ("one run, all threads, OpenMP's own waiting", 1, None, {}),
    ("two runs, all threads each, OpenMP's own waiting", 2, None, {}),
)


def rate(options: list[str], runs: int, threads: int | None, waiting: Mapping[str, str]) -> float:
    """Tokens a second of so many processes together."""
    environment = {name: value for name, value in os.environ.items() if name not in PATIENT}
    environment.update(waiting)
    environment.pop("OMP_NUM_THREADS", None)
    command = [sys.executable, "-P", "-m", "bench.threads", CHILD, str(threads or 0), *options]
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


def work(model: str, prompts: int | None, threads: int) -> None:
    """What one of the processes does: it says that it is ready, waits for word, and prints its tokens."""
    import torch

    from bench.generation import SHAPES, Bench, quiet
    from engine.models.batcher import MOST_SLOTS_ELSEWHERE

    quiet()
    if threads:
        torch.set_num_threads(threads)
    bench = Bench(SHAPES[model], prompts or SHAPES[model].prompts)
    with torch.inference_mode():
        bench.model(torch.tensor([bench.prompts[0]]))
    print("ready", flush=True)
    sys.stdin.readline()
    bench.slots_of(MOST_SLOTS_ELSEWHERE)()
    print(sum(bench.tokens.values()))


def main(given: list[str] | None = None) -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--model", default="tiny")
    arguments.add_argument("--prompts", type=int)
    arguments.add_argument(CHILD, type=int, help=argparse.SUPPRESS)
    options = arguments.parse_args(given)
    if options.alone is not None:
        return work(options.model, options.prompts, options.alone)
    passed = ["--model", options.model]
    if options.prompts:
        passed += ["--prompts", str(options.prompts)]
    print("| runs | tokens/s | x |\n|---|---|---|")
    first = None
    for name, runs, threads, waiting in ROWS:
        found = rate(passed, runs, threads, waiting)
        first = first or found
        print(f"| {name} | {found:,.0f} | {found / first:.2f} |", flush=True)


if __name__ == "__main__":
    main()
