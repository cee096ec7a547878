"""How the time of each phase grows with the examples: CPU seconds at three sizes, and the exponent.

    python -m bench.growth [--quick]

Runs of recorded answers, with as many training rows as examples, in two shapes: one template that all
questions fill in, which is the worst case for a search of near-copies, and questions that share only common
words. After the phases stand the steps of the data phase, each alone. The exponent is the slope of log time
over log size from the smallest size to the largest; times below FLOOR seconds have none. `--quick` stops at
4,000 examples. The last lines are the search for copies among 100,000 questions, in a process of its own.
"""

import argparse
import json
import math
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from bench.leakage import Words
from engine.data.coverage import cover, two_sample
from engine.data.duplicates import conflicts, copies
from engine.data.example import Example, eval_set_version
from engine.data.examples import read_examples
from engine.data.leakage import find_leaks
from engine.data.split import splits
from engine.plan.plan import read_plan
from engine.run.execute import execute
from store import records
from store.write import Recorder, create_run

SIZES, QUICK, LARGE = (1_000, 4_000, 16_000), (1_000, 4_000), 100_000
EXPONENT, FLOOR = 1.15, 0.2
SECONDS, GIB = 60, 1.0
SHAPES = ("template", "mixed")
PLAN = """
name = "growth"
[data]
examples = "examples.jsonl"
train = "train.jsonl"
[metrics]
use = ["exact_match", "numeric", "length", "rouge"]
[[models]]
name = "base"
role = "baseline"
outputs = "base.jsonl"
[[models]]
name = "tuned"
role = "candidate"
outputs = "tuned.jsonl"
"""

Row = dict[str, str]


def rows(shape: str, count: int, first: int = 0) -> Iterator[Row]:
    """Questions with answers and one of eight categories; different ones from another `first`."""
    words = Words(first)
    for place in range(first, first + count):
        if shape == "template":
            query = f"Tom has {place} boxes with {place % 89} pencils in each. How many pencils has he got?"
            answer = f"{place} times {place % 89} is what he has.\n#### {place * (place % 89)}"
        else:
            query = " ".join(words.some(words.draw.randint(8, 50)))
            answer = " ".join(words.some(20))
        yield {"id": f"e{place}", "query": query, "reference": answer, "category": f"c{place % 8}"}


def write(folder: Path, shape: str, count: int) -> Path:
    """A plan with its data; the candidate's answers are right twice in three times, the baseline's once."""
    own = list(rows(shape, count))
    answers = {
        name: [
            {"id": row["id"], "response": row["reference"] if (at % 3 == 0) == thirds else "0"}
            for at, row in enumerate(own)
        ]
        for name, thirds in (("base", True), ("tuned", False))
    }
    trained = [{"query": row["query"], "answer": row["reference"]} for row in rows(shape, count, 10**6)]
    files: dict[str, Sequence[Mapping[str, str]]] = {"examples": own, "train": trained, **answers}
    for name, content in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content), "utf-8")
    plan = folder / "plan.toml"
    plan.write_text(PLAN)
    return plan


def phases(folder: Path, plan_file: Path) -> dict[str, float]:
    """CPU seconds of each phase of a run."""
    plan = read_plan(plan_file)
    run = records.Run(
        name=plan.name,
        plan=plan.text,
        plan_hash=plan.hash,
        plan_folder=str(plan.folder),
        plan_file="plan.toml",
    )
    store = folder / "store"
    recorder = Recorder(store, create_run(store, run))
    if not recorder.claim(os.getpid(), socket.gethostname()):
        raise RuntimeError("another process has the run")
    taken: dict[str, float] = {}
    last = time.process_time()

    def ended() -> bool:
        nonlocal last
        now = time.process_time()
        taken[recorder.run().phase or "?"] = now - last
        last = now
        return False

    try:
        execute(recorder, store, lambda: None, ended)
    finally:
        recorder.close()
    return taken


def steps(folder: Path) -> dict[str, float]:
    """CPU seconds of each step of the data phase."""
    read = read_examples(folder / "examples.jsonl")
    train = read_examples(folder / "train.jsonl", {"reference": "answer"})
    asked, trained = ([row.query for row in part] for part in (read, train))
    each: dict[str, Callable[[], object]] = {
        "  reading": lambda: read_examples(folder / "examples.jsonl"),
        "  version": lambda: eval_set_version(read),
        "  splits": lambda: splits(read),
        "  copies": lambda: copies(read),
        "  contradictions": lambda: list(conflicts(read)),
        "  leakage": lambda: find_leaks(train, read),
        "  clusters": lambda: cover({"eval": asked, "train": trained}),
        "  two samples": lambda: two_sample(asked, trained),
    }
    return {name: _timed(step) for name, step in each.items()}


def _timed(step: Callable[[], object]) -> float:
    begun = time.process_time()
    step()
    return time.process_time() - begun


def exponent(sizes: Sequence[int], times: Sequence[float]) -> float | None:
    """The slope between the first and the last size, None where the last took less than FLOOR seconds."""
    if times[-1] < FLOOR:
        return None
    return math.log(times[-1] / max(times[0], 0.01)) / math.log(sizes[-1] / sizes[0])


def table(shape: str, sizes: Sequence[int]) -> None:
    columns = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as place:
            plan = write(Path(place), shape, size)
            columns.append(phases(Path(place), plan) | steps(Path(place)))
    print(f"{shape:18}" + "".join(f"{size:>11,}" for size in sizes) + f"{'exponent':>11}")
    for name in columns[0]:
        times = [column[name] for column in columns]
        found = exponent(sizes, times)
        told = "–" if found is None else f"{found:.2f}{' !' if found > EXPONENT else '  '}"
        print(f"{name:18}" + "".join(f"{taken:>9.2f} s" for taken in times) + f"{told:>11}", flush=True)
    print()


def large(shape: str) -> None:
    """The search for copies among LARGE questions."""
    examples = [
        Example(
            row["id"],
            row["query"],
            ({"role": "user", "content": row["query"]},),
            (row["reference"],),
            line=line,
        )
        for line, row in enumerate(rows(shape, LARGE), start=1)
    ]
    seconds = _timed(lambda: copies(examples))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"copies among {LARGE:,} ({shape}): {seconds:.1f} s of CPU (under {SECONDS}), "
        f"{peak:.2f} GiB with the data (under {GIB:g})"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="stop at 4,000 examples")
    parser.add_argument("--large", choices=SHAPES, help="only the search among 100,000 questions")
    options = parser.parse_args(arguments)
    if options.large:
        large(options.large)
        return
    for shape in SHAPES:
        table(shape, QUICK if options.quick else SIZES)
    if not options.quick:
        for shape in SHAPES:
            subprocess.run([sys.executable, "-m", "bench.growth", "--large", shape], check=True)


if __name__ == "__main__":
    main()
