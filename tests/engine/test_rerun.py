import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import BadInput
from engine.run import launch, worker
from engine.run.launch import again
from store import database, records
from store.database import connect
from store.read import history
from store.read.history import attach
from store.read.runs import count
from store.session import opened
from store.transfer.merge import merge
from store.write import Recorder, create_run
from tests.engine.runs import carry_out, lines, queue, recorded_plan
from tests.store.conftest import queued_run
from tui.sections.protocol import repetition

EXAMPLES = [{"id": f"e{n}", "query": f"What is {n} and {n}?", "reference": str(2 * n)} for n in range(6)]
ANSWERS = {
    "before": {f"e{n}": "no idea" for n in range(6)},
    "after": {f"e{n}": str(2 * n) for n in range(6)},
}
REST = '[metrics]\nuse = ["exact_match", "format"]\nformat = { schema = "schema.json" }\n'


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run in its store."""
    folder = tmp_path_factory.mktemp("rerun")
    (folder / "schema.json").write_text('{"type": "number"}')
    lines(folder / "train.jsonl", [{"query": "What is 40 and 40?", "response": "80"}])
    plan = recorded_plan(folder, EXAMPLES, ANSWERS, REST)
    plan.write_text(plan.read_text().replace("[data]\n", '[data]\ntrain = "train.jsonl"\n'))
    run_to_the_end(folder, queue(folder / "store", plan))
    return folder


@pytest.fixture
def place(finished: Path) -> Iterator[Path]:
    """That folder; what a test does to its files is put back."""
    before = {file: file.read_bytes() for file in finished.iterdir() if file.is_file()}
    yield finished
    for file, content in before.items():
        file.write_bytes(content)


def run_to_the_end(folder: Path, run_id: int) -> None:
    carry_out(folder / "store", run_id)
    recorder = Recorder(folder / "store", run_id)
    recorder.set_run(status="finished", finished=1.0)
    recorder.close()


def rerun(place: Path, *, anyway: bool = False) -> int:
    with opened(place / "store") as connection:
        return again(connection, place / "store", 1, anyway=anyway)


def test_a_rerun_has_the_same_plan_and_comes_to_the_same_numbers(place: Path) -> None:
    (place / "plan.toml").write_text("edited since")
    run_id = rerun(place)
    run_to_the_end(place, run_id)
    with opened(place / "store") as connection:
        first, second = history.run(connection, 1), history.run(connection, run_id)
        assert (second.plan, second.plan_folder, second.name) == (first.plan, first.plan_folder, first.name)
        found = repetition(connection, second)
        assert found is not None and found.of == 1 and found.differences == () and found.same > 2
        assert "are the same" in found.said
        assert repetition(connection, first) is None


def test_files_that_changed_are_named_and_nothing_is_queued(place: Path) -> None:
    lines(place / "examples.jsonl", EXAMPLES[:5])
    lines(place / "train.jsonl", [{"query": "another", "response": "one"}])
    lines(place / "after.jsonl", [{"id": "e0", "response": "1"}])
    (place / "schema.json").write_text('{"type": "string"}')
    with opened(place / "store") as connection:
        before = count(connection)
    with pytest.raises(BadInput) as refused:
        rerun(place)
    told = str(refused.value)
    assert "eval set" in told and "train.jsonl" in told and "model after" in told and "--anyway" in told
    assert "schema.json: its content has changed" in told
    assert "model before" not in told
    with opened(place / "store") as connection:
        assert count(connection) == before


def test_a_file_that_is_gone_is_named(place: Path) -> None:
    (place / "after.jsonl").unlink()
    with pytest.raises(BadInput, match=r"after\.jsonl"):
        rerun(place, anyway=True)


def test_what_differs_afterwards_is_named(place: Path) -> None:
    records = [{"id": f"e{n}", "response": str(2 * n + (n == 3))} for n in range(6)]
    (place / "after.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    run_id = rerun(place, anyway=True)
    run_to_the_end(place, run_id)
    with opened(place / "store") as connection:
        found = repetition(connection, history.run(connection, run_id))
    assert found is not None
    assert "after exact_match 1.000 → 0.833" in found.differences
    assert "numbers differ" in found.said


def test_an_imported_run_has_no_plan_to_run_again(place: Path) -> None:
    with opened(place / "store") as connection:
        row = {"name": "elsewhere", "plan": "", "plan_hash": "", "plan_folder": "", "plan_file": ""}
        run_id = create_run(place / "store", records.Run(**row, options={"imported": "mt-bench"}))
        with pytest.raises(BadInput, match="imported from mt-bench"):
            again(connection, place / "store", run_id)


OWN = "from pathlib import Path\nPath({mark!r}).touch()\ndef polite(*_): return 1\n"


def test_a_run_from_another_store_executes_no_code_that_its_plan_names(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    mark = tmp_path / "ran"
    (theirs / "mine.py").write_text(OWN.format(mark=str(mark)))
    plan = recorded_plan(theirs, EXAMPLES, ANSWERS, '[metrics]\nuse = ["mine.py:polite"]\n')
    run_to_the_end(theirs, queue(theirs / "store", plan))
    assert mark.exists()
    mark.unlink()
    for status in ("finished", "failed", "cancelled"):
        with opened(theirs / "store") as connection:
            connection.execute("UPDATE run SET status = ?, created = created + 1", (status,))
        database.prepare(ours)
        with opened(ours) as connection:
            [run_id] = merge(connection, theirs / "store").joined.values()
            with pytest.raises(BadInput, match="came from another store, and its plan names code"):
                again(connection, ours, run_id)
            with pytest.raises(BadInput, match="came from another store"):
                again(connection, ours, run_id, anyway=True)
        for _ in range(2):  # refusing once is no leave for the next time
            assert worker.work(ours, run_id) == (0 if status in ("finished", "cancelled") else 3)
    with opened(ours) as connection:
        assert "came from another store" in str(history.run(connection, 2).error)
    assert not mark.exists()


def test_a_run_whose_worker_elsewhere_is_silent_is_taken_over_whatever_its_clock_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A heartbeat from the future, of a machine that died with its clock ahead."""
    store = tmp_path / "store"
    recorder = Recorder(store, queued_run(store))
    ahead = time.time() + 86_400
    recorder.set_run(status="running", worker_host="elsewhere", worker_pid=1, heartbeat=ahead)
    connection = attach(connect(store))
    beats = iter((recorder.set_run, lambda **_: None))
    monkeypatch.setattr(launch.time, "sleep", lambda _: next(beats)(heartbeat=ahead + 1))
    with pytest.raises(BadInput, match="its worker answers"):
        launch.take_over(connection, store, recorder.run_id)
    assert not recorder.claim(2, "here")
    recorder.close()
    said = launch.take_over(connection, store, recorder.run_id)
    assert said == "took run 1 over from a worker on elsewhere, which is silent"
    assert history.run(connection, 1).worker_pid is not None, "a run without one came from another store"
    assert recorder.claim(2, "here")
    recorder.close()
    connection.close()


def test_a_worker_that_comes_back_leaves_the_run_to_the_one_that_took_it_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Left(Exception):
        pass

    def leave(code: int) -> None:
        raise Left(code)

    recorder = Recorder(tmp_path / "store", queued_run(tmp_path / "store"))
    assert recorder.claim(1, "elsewhere")
    recorder.set_run(heartbeat=5.0)
    monkeypatch.setattr(worker.os, "_exit", leave)
    monkeypatch.setattr(worker, "BEAT", 0.0)
    with pytest.raises(Left, match="3"):
        worker.Pulse(recorder).run()
    assert recorder.run().heartbeat == 5.0, "the other one's life is not lengthened"
    recorder.close()
