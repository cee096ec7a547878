"""How long a key takes to reach the screen, beside a bare Textual app, and what the app's process takes.

    python -m bench.app_latency [--columns 80 --rows 24] [--presses 60]

In a real pseudo-terminal: `j` in Runs, in a list of a million rows, and the next item in Review, each time
from the key to the last byte of the frame that it changes: alone, while another process writes a run's
progress to the store, and read at 8 kB/s as over a slow link. Then resident memory, and the time to compare
two answers word by word, and every screen of a sweep of 30 checkpoints over 10,000 examples, opened again and
again. CPU time a key stands beside, since wall time on a busy machine is its neighbours'.
"""

import argparse
import json
import os
import random
import select
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.app_bytes import MILLION, assay, running_store
from bench.stores import many_runs, one_large_run, one_sweep
from bench.terminal import Terminal
from tui.text.side_by_side import Cell

LINK = 8_000  # bytes a second
SLICE = 0.02  # seconds between two reads over the slow link
QUIET = 0.08  # seconds without a byte after which a frame is over
READ = 0.8  # seconds without a byte after which a screen has read all that it shows
SCREENS = {
    "Decision": "H", "Map": "Z", "Compare": "C", "Slices": "Cs", "Review": "V", "Since when": "Vp",
    "Alerts": "A", "Trends": "T", "Live": "L", "Judges": "J", "Splits": "S", "Runs": "R",
}  # fmt: skip
BARE = """
from textual.app import App
from textual.widgets import OptionList

class Bare(App):
    BINDINGS = [("j", "app.down", "down")]

    def compose(self):
        yield OptionList(*(f"row {n}" for n in range(200)))

    def action_down(self):
        self.query_one(OptionList).action_cursor_down()

Bare().run(mouse=False)
"""
TEXT = (
    "the parcel left our house and should be with you within some working days please wait for it "
    "or tell us the number of your order so that we can look where it is now"
)
WORDS = TEXT.split()


class Keys:
    """One program in a terminal whose keys are timed."""

    def __init__(self, terminal: Terminal, presses: int) -> None:
        self._terminal, self._presses = terminal, presses

    def timed(self, key: str, *, link: int | None = None) -> list[float]:
        """Seconds from each key to the last byte of its frame; a key without one is an error."""
        taken = []
        for _ in range(self._presses):
            begun = time.monotonic()
            self._terminal.press(key)
            ended = self._slowly(link) if link else self._at_once()
            assert ended is not None, f"nothing came after the key {key!r}"
            taken.append(ended - begun)
        return taken

    def _at_once(self) -> float | None:
        last = None
        while self._ready(QUIET if last else 2.0):
            os.read(self._terminal.file, 65_536)
            last = time.monotonic()
        return last

    def _slowly(self, link: int) -> float | None:
        """Reads no faster than the link does."""
        last = None
        while self._ready(QUIET if last else 3.0):
            time.sleep(SLICE)
            os.read(self._terminal.file, int(link * SLICE))
            last = time.monotonic()
        return last

    def _ready(self, seconds: float) -> bool:
        return bool(select.select([self._terminal.file], [], [], seconds)[0])


def report(what: str, seconds: Sequence[float], cpu: float, budget: str) -> None:
    ordered = sorted(seconds)
    middle, high = statistics.median(ordered), ordered[int(0.95 * (len(ordered) - 1))]
    print(
        f"{what:<46} p50 {1000 * middle:6.0f} ms  p95 {1000 * high:6.0f} ms  "
        f"CPU {1000 * cpu / len(seconds):5.1f} ms a key   {budget}",
        flush=True,
    )


def measure(
    case: "Case", presses: int, size: dict[str, int], note: str = "", link: int | None = None
) -> None:
    with Terminal(case.command, **size) as terminal:
        terminal.read_until(case.marker)
        terminal.settle(1.5)
        before = terminal.cpu()
        seconds = Keys(terminal, presses).timed("j", link=link)
        budget = "budget 16 / 50 ms on a free core" if link is None else "budget 1,000 ms"
        report(case.what + note, seconds, terminal.cpu() - before, budget)


def screens(command: Sequence[str], size: dict[str, int], rounds: int = 5) -> None:
    """CPU seconds of the app from the key that opens a screen until all that it shows has been read."""
    with Terminal(command, **size) as terminal:
        terminal.settle(READ)
        for name, keys in SCREENS.items():
            taken = []
            for _ in range(rounds):
                terminal.press("R")
                terminal.settle(READ)
                for key in keys[:-1]:
                    terminal.press(key)
                    terminal.settle(READ)
                before = terminal.cpu()
                terminal.press(keys[-1])
                terminal.settle(READ)
                taken.append(terminal.cpu() - before)
            middle = 1000 * statistics.median(taken)
            what = f"{name}, 30 checkpoints, 10,000 examples"
            print(f"{what:<46} CPU {middle:6.0f} ms   budget 150 ms", flush=True)


class Case(NamedTuple):
    """A list to move in: what it is called, how it is opened, and what stands there when it is."""

    what: str
    command: Sequence[str]
    marker: bytes


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Another process writes to this store meanwhile, as a worker does."""
    _, writer = running_store(folder)
    try:
        yield
    finally:
        writer.kill()
        writer.wait()


def compared(words: int) -> float:
    """Seconds to compare two answers of so many words that differ here and there."""
    from tui.text.diff import diff

    one, other = alike(words)
    begun = time.process_time()
    diff(one, other)
    return time.process_time() - begun


def alike(words: int) -> tuple[str, str]:
    rng = random.Random(0)
    one = [rng.choice(WORDS) + ("." if place % 17 == 16 else "") for place in range(words)]
    other = [rng.choice(WORDS) if rng.random() < 0.1 else word for word in one]
    return " ".join(one), " ".join(other)


def laid_out(view: str, words: int) -> float:
    """Seconds to lay out two answers of so many words in a view 120 cells wide, once they are compared."""
    from tui.text.diff import diff
    from tui.text.json_fields import field_rows, read_json
    from tui.text.side_by_side import folded, raw_rows, unified

    one, other = alike(words)
    found = diff(one, other)
    fields = [json.dumps(dict(enumerate(text.split(".")))) for text in (one, other)]

    def as_json() -> Sequence[Sequence[Cell]]:
        left, right = (read_json(text).node for text in fields)
        return field_rows(left, right, 58)

    make: dict[str, Callable[[], Sequence[Sequence[Cell]]]] = {
        "unified": lambda: unified(found, 120),
        "raw": lambda: raw_rows(found, 58),
        "JSON fields": as_json,
    }
    begun = time.process_time()
    folded(make[view]())
    return time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--columns", type=int, default=80)
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--presses", type=int, default=60)
    arguments = parser.parse_args()
    size, presses = {"columns": arguments.columns, "rows": arguments.rows}, arguments.presses
    print(f"terminal of {arguments.columns}x{arguments.rows}")
    with tempfile.TemporaryDirectory() as place:
        many, large = Path(place) / "many", Path(place) / "large"
        many_runs(many, 10_000)
        review = assay(large, "review", str(one_large_run(large, 2_000)))
        bare = Case("bare Textual, j in 200 options", [sys.executable, "-c", BARE], b"row 5")
        runs = Case("j in Runs, 10,000 runs", assay(many), b"bench-")
        million = Case("j in 1,000,000 rows", [sys.executable, "-c", MILLION], b"row 5")
        items = Case("next item in Review", review, b"parcel")
        for case in (bare, runs, million, items):
            measure(case, presses, size)
        for folder, case in ((many, runs), (large, items)):
            with writing(folder):
                measure(case, presses, size, ", while a run is written")
        for case in (runs, million, items):
            measure(case, min(20, presses), size, ", at 8 kB/s", LINK)
        with Terminal(review, **size) as terminal:
            terminal.read_until(b"parcel")
            terminal.settle(1.5)
            print(f"{'memory of the app, Review open':<46} {terminal.memory() / 1e6:6.0f} MB   budget 150 MB")
        sweep = Path(place) / "sweep"
        screens(assay(sweep, "review", str(one_sweep(sweep, 30, 10_000))), size)
    for words, budget in ((2_000, 30), (18_000, 300)):
        best = min(compared(words) for _ in range(5))
        print(f"two answers of {words:,} words compared{'':<9} {1000 * best:6.0f} ms   budget {budget} ms")
        for view in ("unified", "raw", "JSON fields"):
            best = min(laid_out(view, words) for _ in range(5))
            print(f"{f'and laid out: {view}':<46} {1000 * best:6.0f} ms   budget {budget} ms")


if __name__ == "__main__":
    main()
