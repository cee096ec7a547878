"""Rows a second into the store, and what kill -9 costs.

    python -m bench.store_writes

Prints the rate at which scores are appended in the worker's own chunks (beside plain sqlite3 doing the same
with the same pragmas), the rate of single durable appends, and how many responses that a writer had reported
as stored are missing after it was killed at random moments.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from store import database, records
from store.write import Recorder, create_run

BUDGET = 20_000
ROWS = 100_000
CHUNK = 500
KILLS = 10


def prepared(folder: Path) -> tuple[Recorder, int]:
    run = records.Run(name="bench", plan="", plan_hash="", plan_folder="/", plan_file="plan.toml")
    recorder = Recorder(folder, create_run(folder, run))
    model = recorder.insert(
        records.StoredModel(run_id=recorder.run_id, name="m", role="candidate", kind="local", position=0)
    )
    recorder.append(
        [
            records.StoredExample(eval_set="v", example=str(place), position=place, query="q")
            for place in range(ROWS)
        ]
    )
    return recorder, model


def score(model: int, place: int) -> dict[str, Any]:
    return {
        "model_id": model,
        "measure": "rougeL",
        "example_id": place + 1,
        "value": place / ROWS,
        "reason": None,
        "parts": None,
    }


def through_the_recorder(recorder: Recorder, model: int) -> float:
    begun = time.perf_counter()
    for start in range(0, ROWS, CHUNK):
        recorder.append([records.StoredScore(**score(model, place)) for place in range(start, start + CHUNK)])
    return ROWS / (time.perf_counter() - begun)


def through_sqlite(folder: Path, model: int) -> float:
    connection = database.connect(folder)
    connection.execute("DELETE FROM score")
    begun = time.perf_counter()
    for start in range(0, ROWS, CHUNK):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO score (model_id, measure, example_id, value) VALUES (?, ?, ?, ?)",
            [(model, "rougeL", place + 1, place / ROWS) for place in range(start, start + CHUNK)],
        )
        connection.execute("COMMIT")
    return ROWS / (time.perf_counter() - begun)


def single_appends(recorder: Recorder, model: int, count: int = 500) -> float:
    begun = time.perf_counter()
    for place in range(count):
        recorder.append(records.StoredResponse(**response(model, place)))
    return count / (time.perf_counter() - begun)


def response(model: int, place: int) -> dict[str, Any]:
    return {"model_id": model, "example_id": place + 1, "text": "x" * 400, "created": time.time()}


def write_until_killed(folder: Path, run_id: int, model: int, start: int) -> None:
    recorder = Recorder(folder, run_id)
    for place in range(start, ROWS):
        recorder.append(records.StoredResponse(**response(model, place)))
        sys.stdout.write(f"{place}\n")
        sys.stdout.flush()


def lost_to_kills(folder: Path) -> tuple[int, int]:
    """How many responses killed writers had reported as stored, and how many of them are not there."""
    recorder, model = prepared(folder)
    draw = random.Random(0)
    reported: set[int] = set()
    for round_ in range(KILLS):
        arguments = [str(folder), str(recorder.run_id), str(model), str(round_ * ROWS // KILLS)]
        writer = subprocess.Popen(
            [sys.executable, "-m", "bench.store_writes", *arguments], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(draw.uniform(0.05, 0.6))
        os.kill(writer.pid, signal.SIGKILL)
        lines = (first + writer.stdout.read()).splitlines(keepends=True)
        reported |= {int(line) + 1 for line in lines if line.endswith("\n")}
        writer.wait()
    stored = recorder.column(records.StoredResponse, "example_id", model_id=model)
    recorder.close()
    return len(reported), len(reported - stored)


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        recorder, model = prepared(Path(place))
        appended = through_the_recorder(recorder, model)
        singles = single_appends(recorder, model)
        plain = through_sqlite(Path(place), model)
        recorder.close()
    print(f"scores appended in chunks of {CHUNK}:   {appended:>9,.0f} rows/s   (budget {BUDGET:,})")
    print(f"plain sqlite3, same pragmas:        {plain:>9,.0f} rows/s   (ratio {appended / plain:.2f})")
    print(f"responses appended one by one:      {singles:>9,.0f} rows/s   (each durable on its own)")
    with tempfile.TemporaryDirectory() as place:
        reported, lost = lost_to_kills(Path(place))
    print(f"kill -9 of a writer, {KILLS} times:       {lost} of {reported:,} reported responses lost")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        write_until_killed(Path(sys.argv[1]), *map(int, sys.argv[2:]))
    else:
        main()
