"""Whole runs in this process: recorded answers, no network, no worker."""

import json
import os
import signal
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from engine.plan.plan import read_plan
from engine.run import worker
from engine.run.execute import execute
from store import records
from store.write import Recorder, create_run

Row = dict[str, Any]


def lines(path: Path, records: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def recorded_plan(
    folder: Path, examples: list[Row], answers: Mapping[str, Mapping[str, str]], rest: str
) -> Path:
    """A plan of recorded models, the first the baseline, the others candidates; `rest` is more TOML."""
    lines(folder / "examples.jsonl", examples)
    tables = ['name = "recorded"', "[data]", 'examples = "examples.jsonl"']
    for place, (name, texts) in enumerate(answers.items()):
        lines(folder / f"{name}.jsonl", [{"id": key, "response": text} for key, text in texts.items()])
        role = "candidate" if place else "baseline"
        tables += ["[[models]]", f'name = "{name}"', f'role = "{role}"', f'outputs = "{name}.jsonl"']
    plan = folder / "plan.toml"
    plan.write_text("\n".join([*tables, rest]))
    return plan


def queue(store: Path, plan_file: Path, **options: int) -> int:
    plan = read_plan(plan_file)
    row = {
        "name": plan.name,
        "plan": plan.text,
        "plan_hash": plan.hash,
        "plan_folder": str(plan.folder),
        "plan_file": plan_file.name,
        "options": dict(options) or None,
    }
    return create_run(store, records.Run(**row))


def carry_out(
    store: Path,
    run_id: int,
    request: Callable[[], str | None] = lambda: None,
    ends_with_phase: Callable[[], bool] = lambda: False,
) -> Recorder:
    """Executes a queued run here; the recorder reads what it left. Raises what `execute` raises."""
    recorder = Recorder(store, run_id)
    assert recorder.claim(os.getpid(), socket.gethostname())
    try:
        execute(recorder, store, request, ends_with_phase)
    finally:
        recorder.close()
    return recorder


def work_here(store: Path, run_id: int, gpu: int | None = None) -> int:
    """What `launch.start` has a process of its own do, done here; returns the process id."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        worker.work(store, run_id)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return os.getpid()
