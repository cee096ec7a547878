"""Bytes that the app writes to the terminal, beside the budgets that a slow SSH link sets.

    python -m bench.app_bytes [--columns 120 --rows 36]

Launch to settled, idle, `j` in lists of different length and among the thirty candidates of a Decision, the
next item and twenty annotations in Review, screens and the menu of help as they open, and a run that is being
written to while it is watched; a bare Textual app's launch stands beside.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.startup import HELLO
from bench.stores import many_candidates, many_runs, one_large_run
from bench.terminal import Terminal
from store import records
from store.write import Recorder, create_run

LAUNCH, IDLE, LIVE, KEY, ITEM = 1.3, 0, 1_000, 600, 8_000  # launch: of the bare app's
OPENED, ANNOTATED = 12_000, 40_000
WATCHED = 12.0  # seconds
MILLION = """
from textual.app import App
from textual.content import Content
from tui.app.themes import DARK
from tui.widgets.rows import Rows

class Million(App):
    def get_theme_variable_defaults(self):
        return DARK.variables

    def compose(self):
        yield Rows(lambda item, width: Content(f"row {item}"))

    def on_mount(self):
        self.query_one(Rows).show(range(1_000_000))
        self.query_one(Rows).focus()

Million().run(mouse=False)
"""


class Sizes:
    """Opens commands in terminals of one size."""

    def __init__(self, columns: int, rows: int) -> None:
        self._size = {"columns": columns, "rows": rows}

    def launch(self, command: Sequence[str]) -> int:
        with Terminal(command, **self._size) as terminal:
            return terminal.settle()

    def idle(self, command: Sequence[str], seconds: float = 5.0) -> int:
        with Terminal(command, **self._size) as terminal:
            terminal.settle(quiet=2.0)
            return terminal.read_for(seconds)

    def opened(self, command: Sequence[str], keys: str) -> int:
        """Bytes of what the last of these keys opens, each given time to settle."""
        with Terminal(command, **self._size) as terminal:
            taken = terminal.settle(quiet=2.0)
            for key in keys:
                terminal.press(key)
                taken = terminal.settle()
            return taken

    def key(self, command: Sequence[str], key: str, presses: int = 40, before: str = "") -> float:
        """Bytes of a usual press, each given time to settle, once the keys `before` have led there.

        The median: now and then a list scrolls, or what stands below a row is of another kind.
        """
        return statistics.median(self.keys(command, key, presses, before))

    def keys(self, command: Sequence[str], key: str, presses: int, before: str = "") -> list[int]:
        with Terminal(command, **self._size) as terminal:
            terminal.settle(quiet=2.0)  # on a busy machine the first frame comes late
            for way in before:
                terminal.press(way)
                terminal.settle(quiet=1.0)
            taken = []
            for _ in range(presses):
                terminal.press(key)
                taken.append(terminal.settle(quiet=0.5 if before else 0.12))
            return taken

    def watched(self, command: Sequence[str], writer: "subprocess.Popen[bytes]") -> float:
        """Bytes a second while another process writes a run."""
        with Terminal(command, **self._size) as terminal:
            terminal.read_until(b"generate")
            terminal.read_for(2.0)
            written = terminal.read_for(WATCHED)
        writer.kill()
        writer.wait()
        return written / WATCHED


def write_a_run(folder: Path, run_id: int) -> None:
    """What a worker writes while it generates: progress, vitals and its heartbeat, for half a minute."""
    recorder = Recorder(folder, run_id)
    for done in range(60):
        now = time.time()
        progress: dict[str, Any] = {
            "run_id": run_id,
            "phase": "generate",
            "item": "lora",
            "position": 1,
            "done": 16 * done,
            "total": 10_000,
            "unit": "responses",
            "tokens": 1_500 * done,
            "prompt_tokens": 9_000 * done,
            "prompt_seconds": done / 10,
            "slots": 256,
            "busy": 256 - done % 3,
            "resumed_from": 0,
            "started": now - done / 2,
            "updated": now,
            "seconds": done / 2,
        }
        vitals: dict[str, Any] = {
            "run_id": run_id,
            "device": "GPU 0",
            "utilisation": 0.9 + done % 7 / 100,
            "memory_used": (40 << 30) + (done << 24),
            "memory_total": 80 << 30,
            "power_w": 600.0 + done,
            "temperature_c": 61.0 + done % 4,
            "updated": now,
        }
        recorder.put(records.Progress(**progress))
        recorder.put(records.Vitals(**vitals))
        recorder.set_run(heartbeat=now)
        time.sleep(0.5)


def running_store(folder: Path) -> tuple[int, "subprocess.Popen[bytes]"]:
    run = records.Run(name="live", plan="", plan_hash="", plan_folder="/", plan_file="plan.toml")
    run_id = create_run(folder, run)
    recorder = Recorder(folder, run_id)
    recorder.set_run(
        status="running", worker_host="elsewhere", worker_pid=1, heartbeat=time.time(), phase="generate"
    )
    recorder.insert(
        records.StoredModel(run_id=run_id, name="lora", role="candidate", kind="local", position=0)
    )
    recorder.close()
    writer = subprocess.Popen([sys.executable, "-m", "bench.app_bytes", "--write", str(folder), str(run_id)])
    return run_id, writer


def assay(store: Path, *arguments: str) -> list[str]:
    return ["env", f"ASSAY_STORE={store}", sys.executable, "-m", "assay", *arguments]


def say(what: str, value: float, budget: int, unit: str = "bytes") -> None:
    verdict = "ok" if value <= budget else "OVER"
    print(f"{what:<44} {value:>10,.0f} {unit:<8} budget {budget:>6,}  {verdict}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--columns", type=int, default=120)
    parser.add_argument("--rows", type=int, default=36)
    arguments = parser.parse_args()
    sizes = Sizes(arguments.columns, arguments.rows)
    print(f"terminal of {arguments.columns}x{arguments.rows}")
    with tempfile.TemporaryDirectory() as place:
        folders = (Path(place) / name for name in ("few", "many", "large", "live", "sweep"))
        few, many, large, live, sweep = folders
        many_runs(few, 60)
        many_runs(many, 10_000)
        large_run = str(one_large_run(large, 2_000))
        many_candidates(sweep, 30)
        bare = sizes.launch([sys.executable, "-c", HELLO])
        print(f"{'bare Textual app, launch to settled':<44} {bare:>10,} bytes")
        say("launch to settled, 10,000 runs", sizes.launch(assay(many)), round(LAUNCH * bare))
        say("idle for 5 s", sizes.idle(assay(many)), IDLE)
        say("j, 60 runs", sizes.key(assay(few), "j"), KEY)
        say("j, 10,000 runs", sizes.key(assay(many), "j"), KEY)
        say("j, a list of 1,000,000 rows", sizes.key([sys.executable, "-c", MILLION], "j"), KEY)
        say("opening Decision, 30 candidates", sizes.opened(assay(sweep), "\r"), OPENED)
        say("opening Live of a finished run", sizes.opened(assay(sweep), "\rL"), OPENED)
        say("opening the menu of help", sizes.opened(assay(sweep), "\r?"), OPENED)
        say("j in Decision, 30 candidates", sizes.key(assay(sweep), "j", 25, before="\rg"), KEY)
        say("next item in Review", sizes.key(assay(large, "review", large_run), "j", 15), ITEM)
        say(
            "a decision in Review (and on to the next)",
            sizes.key(assay(large, "review", large_run), "1", 15),
            ITEM,
        )
        say(
            "20 annotations in Review",
            sum(sizes.keys(assay(large, "review", large_run), "1", 20)),
            ANNOTATED,
        )
        live_run, writer = running_store(live)
        say(
            "a live run, watched", sizes.watched(assay(live, "watch", str(live_run)), writer), LIVE, "bytes/s"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write_a_run(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
