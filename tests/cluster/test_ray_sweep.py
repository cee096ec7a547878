"""A sweep on a real Ray cluster: the numbers of a local run, whatever happens to its actors."""

import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from engine.phases.work import Stopped
from store import records
from store.write import Recorder
from tests.cluster.conftest import CHECKPOINTS, RAY
from tests.cluster.runs import create, events_of, finish, numbers_of, sweep_of
from tests.engine.checkpoints import write_sweep

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("cluster")]

EXAMPLES = 6  # of the sweep's plan
DEADLINE = 240.0  # seconds; what a busy machine needs at most, no measure of anything


def workers(recorder: Recorder) -> set[int]:
    """The processes that models have answered in."""
    rows = recorder.rows(records.StoredModel, run_id=recorder.run_id)
    told = (str((row.details or {}).get("worker")) for row in rows)
    return {int(found[1]) for text in told if (found := re.match(r"process (\d+) on ", text))}


def test_a_sweep_paused_and_with_a_killed_actor_gives_the_same_numbers_on_ray(
    checkpoints: Path, local_numbers: dict[str, Any]
) -> None:
    recorder = create(write_sweep(checkpoints, RAY), checkpoints / "rough")
    asked: list[int] = []
    ahead = threading.Lock()

    def pause() -> str | None:
        """Asks once both actors have work: the one that is ahead is held until the other has come."""
        if not asked and recorder.rows(records.StoredScore) and ahead.acquire(blocking=False):
            end = time.monotonic() + DEADLINE
            while len(workers(recorder)) < 2:
                assert time.monotonic() < end, "the second actor got no model"
                time.sleep(0.02)
            asked.append(len(numbers_of(recorder)["answers"]))
        return "pause" if asked else None

    with pytest.raises(Stopped):
        finish(recorder, pause)
    later = len(numbers_of(recorder)["answers"]) - asked[0]
    assert later <= EXAMPLES, "only the model that the other actor had in hand is answered after the request"
    stored = recorder.rows(records.StoredScore)
    first = workers(recorder)
    assert len(first) == 2
    killed: list[int] = []

    def kill() -> str | None:
        working = workers(recorder) - first
        if not killed and working and len(recorder.rows(records.StoredScore)) > len(stored):
            killed.append(working.pop())
            os.kill(killed[0], signal.SIGKILL)
        return None

    finish(recorder, kill)
    assert killed
    [event] = [message for message in events_of(recorder) if "died" in message]
    assert f"its actor (process {killed[0]} on" in event
    assert len(sweep_of(recorder)) == CHECKPOINTS
    assert numbers_of(recorder) == local_numbers
    recorder.close()
