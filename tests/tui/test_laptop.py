"""On a laptop a copied store opens for review, where PyTorch and its like are not even installed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

LACKING = ("torch", "transformers", "peft", "lm_eval", "datasets", "accelerate", "ray")

# What is not installed cannot be imported; anything that tries is an error, also where it is caught.
ABSENT = f"""
import json, sys

tried = []

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {LACKING!r}:
            tried.append(name)
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""

REVIEW = """
import asyncio
from pathlib import Path
from tui.app.app import AssayApp

async def review(folder):
    app = AssayApp(Path(folder))
    async with app.run_test(size=(120, 36)) as pilot:
        for key in ("R", "enter", "H", "C", "V", "1", "u", "J", "K", "E", "S", "A", "T"):
            await pilot.press(key)
            await pilot.pause()
            await app.workers.wait_for_complete()

asyncio.run(review(sys.argv[1]))
print(json.dumps(tried))
"""

COMMANDS = """
import contextlib, io
from tui.cli.main import command, guarded

codes = {}
for words in sys.argv[2:]:
    with contextlib.redirect_stdout(io.StringIO()):
        codes[words] = guarded(lambda: command([*words.split(), "--store", sys.argv[1]]))
print(json.dumps([codes, tried]))
"""


def run(code: str, *arguments: str | Path) -> Any:
    words = [sys.executable, "-c", ABSENT + code, *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_screen_opens_and_a_pair_is_labelled(store_folder: Path, tmp_path: Path) -> None:
    assert run(REVIEW, shutil.copytree(store_folder, tmp_path / "copied")) == []


def test_the_commands_that_read_a_run_need_none_of_them(store_folder: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    reading = (
        *("runs", "show 1", "show 1 --decision", "show 1 --json", "show 1 --slices", "doctor"),
        *(f"report 1 --format html --out {report}", f"annotations export 1 {tmp_path / 'labels.jsonl'}"),
    )
    codes, tried = run(COMMANDS, shutil.copytree(store_folder, tmp_path / "copied"), *reading)
    assert {words: code for words, code in codes.items() if code not in (0, 1)} == {}
    assert tried == [] and report.stat().st_size > 0


def test_the_installation_says_what_is_missing(store_folder: Path) -> None:
    codes, tried = run(COMMANDS, store_folder, "doctor --install")
    assert codes == {"doctor --install": 1} and set(tried) == {"torch"}
