"""Runs of a sweep in this process, and what they found."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.run import launch
from engine.run.execute import execute
from store import records
from store.write import Recorder


def create(plan: Path, store: Path) -> Recorder:
    """A queued run of the plan, taken by this process."""
    recorder = Recorder(store, launch.create(plan, store))
    assert recorder.claim(1, "here")
    return recorder


def finish(recorder: Recorder, request: Callable[[], str | None] = lambda: None) -> None:
    execute(recorder, recorder.folder, request)


def sweep_of(recorder: Recorder) -> dict[str, Any]:
    """How each checkpoint fared."""
    rows = recorder.rows(records.StoredModel, run_id=recorder.run_id)
    return {row.name: row.details["sweep"] for row in rows if "sweep" in (row.details or {})}


def numbers_of(recorder: Recorder) -> dict[str, Any]:
    """Everything that must not depend on where the models answered."""
    names = {row.id: row.name for row in recorder.rows(records.StoredModel, run_id=recorder.run_id)}
    return {
        "sweep": sweep_of(recorder),
        "passed": recorder.run().passed,
        "answers": sorted(
            (names[row.model_id], row.example_id, row.text, row.tokens_out)
            for row in recorder.rows(records.StoredResponse)
        ),
        "scores": sorted(
            (names[row.model_id], row.example_id, row.measure, row.value)
            for row in recorder.rows(records.StoredScore)
        ),
        "values": sorted(
            (names[row.model_id], row.measure, row.value, row.low, row.high)
            for row in recorder.rows(records.ModelScore)
        ),
        "win rates": sorted(
            (names[row.candidate_id], row.wins, row.losses, row.ties)
            for row in recorder.rows(records.StoredWinRate)
        ),
    }


def events_of(recorder: Recorder) -> list[str]:
    return [row.message for row in recorder.rows(records.Event, run_id=recorder.run_id)]
