"""CPU time from `assay` to its first frame and to its first rows, beside a hello-world Textual app.

    python -m bench.startup [--runs 10000] [--rounds 7]

Everything runs in a real pseudo-terminal of 120x36, in turn, round by round; medians and their ratios count.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.stores import many_runs
from bench.terminal import Terminal

HELLO = """
from textual.app import App
from textual.widgets import Static

class Hello(App):
    def compose(self):
        yield Static("hello world")

Hello().run()
"""
FRAME_BUDGET, ROWS_BUDGET = 1.3, 3.0


def measure(command: Sequence[str], marker: bytes) -> tuple[float, float]:
    """CPU and wall seconds until the marker stands on the screen."""
    begun = time.perf_counter()
    with Terminal(command) as terminal:
        terminal.read_until(marker)
        return terminal.cpu(), time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        store = Path(place)
        many_runs(store, arguments.runs)
        newest = f"bench-{arguments.runs - 1:05}".encode()
        app = ["env", f"ASSAY_STORE={store}", sys.executable, "-m", "assay"]
        cases = {
            "hello-world Textual app, first frame": ([sys.executable, "-c", HELLO], b"hello world"),
            "assay, first frame": (app, b"assay"),
            f"assay, first rows of {arguments.runs:,} runs": (app, newest),
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
        for _ in range(arguments.rounds):
            for name, (command, marker) in cases.items():
                taken[name].append(measure(command, marker))
    report(taken)


def report(taken: dict[str, list[tuple[float, float]]]) -> None:
    cpu = {name: statistics.median(value for value, _ in times) for name, times in taken.items()}
    wall = {name: statistics.median(value for _, value in times) for name, times in taken.items()}
    hello, frame, rows = cpu
    for name in cpu:
        print(f"{name:<42} {cpu[name]:6.3f} s CPU  {wall[name]:6.3f} s wall")
    print(f"first frame: {cpu[frame] / cpu[hello]:.2f}x hello world (budget {FRAME_BUDGET}x)")
    print(f"first rows:  {cpu[rows] / cpu[hello]:.2f}x hello world (budget {ROWS_BUDGET}x)")


if __name__ == "__main__":
    main()
