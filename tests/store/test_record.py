import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from store import database, records
from store.database import connect
from store.errors import StoreError
from store.read import history
from store.write import Recorder
from tests.store.conftest import queued_run


def response(model: int, example: int) -> dict[str, object]:
    return {"model_id": model, "example_id": example, "text": "answer", "created": 1.0}


def test_what_append_returned_for_is_on_disk_for_another_process(
    recorder: Recorder, two_models: tuple[int, int]
) -> None:
    recorder.append(records.StoredResponse(**response(two_models[0], 1)))
    other = database.connect(recorder.folder)
    assert other.execute("SELECT count(*) FROM response").fetchone()[0] == 1


def test_a_reasoning_trace_is_stored_beside_its_answer(
    recorder: Recorder, two_models: tuple[int, int]
) -> None:
    thought = records.StoredResponse(
        **response(two_models[0], 1), thinking="12 less 5 is 7", thinking_tokens=6
    )
    plain = records.StoredResponse(**response(two_models[1], 1))
    recorder.append([thought, plain])
    found = recorder.rows(records.StoredResponse)
    assert [(row.text, row.thinking, row.thinking_tokens) for row in found] == [
        ("answer", "12 less 5 is 7", 6),
        ("answer", None, None),
    ]


def test_doing_something_twice_is_an_error_and_writes_nothing(
    recorder: Recorder, two_models: tuple[int, int]
) -> None:
    recorder.append(records.StoredResponse(**response(two_models[0], 1)))
    with pytest.raises(IntegrityError):
        recorder.append(
            [
                records.StoredResponse(**response(two_models[0], 2)),
                records.StoredResponse(**response(two_models[0], 1)),
            ]
        )
    assert recorder.column(records.StoredResponse, "example_id", model_id=two_models[0]) == {1}


def test_rows_of_one_transaction_stand_together_or_not_at_all(
    recorder: Recorder, two_models: tuple[int, int]
) -> None:
    with pytest.raises(RuntimeError), recorder.transaction() as transaction:
        transaction.append(records.StoredResponse(**response(two_models[0], 1)))
        raise RuntimeError
    assert recorder.rows(records.StoredResponse) == []


def test_put_overwrites_what_describes_the_present(recorder: Recorder) -> None:
    for share in (0.25, 0.75):
        recorder.put(records.Vitals(run_id=recorder.run_id, device="CPU", utilisation=share, updated=1.0))
    assert [row.utilisation for row in recorder.rows(records.Vitals)] == [0.75]


def test_a_run_has_one_worker_at_a_time(folder: Path, recorder: Recorder) -> None:
    assert recorder.claim(1, "here")
    second = Recorder(folder, recorder.run_id)
    assert not second.claim(2, "here")
    recorder.close()
    assert second.claim(2, "here")
    second.close()


def test_a_killed_workers_run_can_be_claimed_at_once(folder: Path) -> None:
    run_id = queued_run(folder)
    code = (
        "import os, signal; from pathlib import Path; from store.write import Recorder\n"
        f"recorder = Recorder(Path({str(folder)!r}), {run_id}); assert recorder.claim(os.getpid(), 'here')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    recorder = Recorder(folder, run_id)
    assert recorder.run().status == "running"
    assert recorder.claim(2, "here")
    recorder.close()


def test_a_worker_on_another_machine_keeps_its_run_while_its_heart_beats(recorder: Recorder) -> None:
    recorder.set_run(status="running", worker_host="elsewhere", worker_pid=1, heartbeat=time.time())
    assert not recorder.claim(2, "here")
    recorder.set_run(heartbeat=time.time() - 60)
    assert Recorder(recorder.folder, recorder.run_id).claim(2, "here") is False  # the lock is still held here
    recorder.close()
    assert recorder.claim(2, "here")


def test_a_finished_run_is_not_taken_again(recorder: Recorder) -> None:
    recorder.set_run(status="finished")
    assert not recorder.claim(1, "here")


def test_an_unknown_run_is_named(folder: Path, recorder: Recorder) -> None:
    with pytest.raises(StoreError, match="no run 99"):
        Recorder(folder, 99).run()


def test_a_lock_that_was_removed_while_it_was_taken_is_taken_again(
    folder: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert recorder.claim(1, "here")
    second, third = Recorder(folder, recorder.run_id), Recorder(folder, recorder.run_id)
    lock = fcntl.flock

    def slow(descriptor: int, how: int) -> None:
        recorder.close()  # its worker ends, after the second has opened the file and before it has locked it
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", slow)
    assert second.claim(2, "here")
    assert not third.claim(3, "here"), "one run, two workers"
    second.close()


def test_a_worker_s_last_words_are_the_run_s_error_where_the_store_could_not_take_them(
    folder: Path, recorder: Recorder
) -> None:
    assert recorder.claim(2**22 + 1, socket.gethostname())  # a process that does not exist
    recorder.last_words("the disk is full\n  free some space \x1b[31m" + "x" * 10_000)
    recorder.close()
    connection = history.attach(connect(folder))
    found = history.run(connection, recorder.run_id)
    assert found.status == "interrupted"
    assert found.error is not None and found.error.startswith("the disk is full") and len(found.error) == 512
    again = Recorder(folder, recorder.run_id)
    assert again.claim(os.getpid(), socket.gethostname())
    assert history.run(connection, recorder.run_id).error is None
    again.close()
    connection.close()


@pytest.mark.parametrize(
    ("beat", "said"), [(1.0, None), (40.0, "no heartbeat for 40 s, process {pid} is stopped"), (-1e6, None)]
)
def test_a_worker_that_is_stopped_is_told_by_its_silence(
    folder: Path, recorder: Recorder, beat: float, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after the clock was set back: then nobody knows how long it has been silent."""
    monkeypatch.setattr(history, "_began", lambda pid: 0.0)  # long before, in place of waiting
    child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    try:
        os.kill(child.pid, signal.SIGSTOP)
        os.waitpid(child.pid, os.WUNTRACED)
        assert recorder.claim(child.pid, socket.gethostname())
        recorder.set_run(heartbeat=time.time() - beat)
        connection = history.attach(connect(folder))
        found = history.silence(history.run(connection, recorder.run_id))
        connection.close()
        assert found == (said and said.format(pid=child.pid))
    finally:
        child.kill()
        child.communicate()
