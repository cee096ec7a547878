"""A run that is to stop once its phase is done stores that phase whole, and resumes behind it."""

import signal
from pathlib import Path

import pytest

from engine.phases.work import Stopped
from engine.run.worker import Pulse, _pause
from store import records
from store.write import Recorder
from tests.engine.runs import carry_out, queue, recorded_plan

EXAMPLES = [{"id": f"e{place}", "query": f"Question {place}?", "reference": "yes"} for place in range(4)]
ANSWERS = {
    "base": {f"e{place}": "no" for place in range(4)},
    "tuned": {f"e{place}": "yes" for place in range(4)},
}


def test_it_stops_behind_the_phase_and_goes_on_from_there(tmp_path: Path) -> None:
    plan = recorded_plan(tmp_path, EXAMPLES, ANSWERS, '[metrics]\nuse = ["exact_match"]\n')
    store = tmp_path / "store"
    run_id = queue(store, plan)
    asked = iter([False, True])
    with pytest.raises(Stopped) as stopped:
        carry_out(store, run_id, ends_with_phase=lambda: next(asked))
    assert stopped.value.request == "pause"
    recorder = Recorder(store, run_id)
    assert len(recorder.rows(records.StoredResponse)) == 8
    assert recorder.rows(records.StoredScore) == []
    recorder.set_run(status="paused", worker_pid=None, heartbeat=None)
    recorder.close()
    carry_out(store, run_id)
    recorder = Recorder(store, run_id)
    assert len(recorder.rows(records.StoredScore)) == 8 and len(recorder.rows(records.StoredResponse)) == 8
    recorder.close()


def test_a_worker_that_is_told_to_end_pauses_its_run_and_says_why(tmp_path: Path) -> None:
    run_id = queue(tmp_path / "store", recorded_plan(tmp_path, EXAMPLES, ANSWERS, ""))
    recorder = Recorder(tmp_path / "store", run_id)
    pulse = Pulse(recorder)
    pulse.told(signal.SIGTERM)
    assert pulse.request == "pause"
    _pause(recorder, pulse, "a server is out")
    found = recorder.run()
    assert (found.status, found.error) == ("paused", "its worker was told to end by SIGTERM")
    recorder.close()


def test_after_the_last_phase_there_is_nothing_left_to_stop(tmp_path: Path) -> None:
    plan = recorded_plan(tmp_path, EXAMPLES, ANSWERS, '[metrics]\nuse = ["exact_match"]\n')
    store = tmp_path / "store"
    calls = iter([False] * 4)
    run_id = queue(store, plan)
    carry_out(store, run_id, ends_with_phase=lambda: next(calls, True))
    recorder = Recorder(store, run_id)
    assert recorder.run().passed is not None
    recorder.close()
