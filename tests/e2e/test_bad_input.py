"""What people get wrong, through the real command: one message, the way out, and a store as it was before."""

import asyncio
import json
import os
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from engine.run import worker
from store import database, people, records
from store.read import history
from store.write import Recorder, create_run
from tests.cli.conftest import Assay, assay, process
from tests.e2e.conftest import SAMPLES, queue, reader, wait_until
from tests.e2e.forked import Worker
from tests.judges.scripted import Answer, Json, JudgeServer, kept_port, prefers
from tui.screens.watch import StoreFailed, StoreWatch

__all__ = ["assay", "process"]  # the fixtures

pytestmark = pytest.mark.e2e

BASE = SAMPLES / "models" / "base"
ADAPTER = SAMPLES / "models" / "adapters" / "good"
EXAMPLES = 24
SMALL = "56m"  # more than a run asks for at its start, less than the answers of the one below
Edit = Callable[[Path], None]


def lines(file: Path, records: list[dict[str, str]]) -> None:
    file.write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A plan of recorded answers with all that it names; each test breaks one thing of it."""
    lines(
        tmp_path / "eval.jsonl",
        [{"id": f"e{n}", "query": f"question {n}?", "reference": f"answer {n}"} for n in range(EXAMPLES)],
    )
    for name, text in (("before", "No idea."), ("after", "answer 1")):
        lines(tmp_path / f"{name}.jsonl", [{"id": f"e{n}", "response": text} for n in range(EXAMPLES)])
    (tmp_path / "plan.toml").write_text(
        """name = "recorded"
[data]
examples = "eval.jsonl"
[[models]]
name = "before"
role = "baseline"
outputs = "before.jsonl"
[[models]]
name = "after"
role = "candidate"
outputs = "after.jsonl"
[metrics]
use = ["exact_match", "length"]
"""
    )
    return tmp_path


def change(folder: Path, old: str, new: str) -> None:
    plan = folder / "plan.toml"
    assert old in plan.read_text()
    plan.write_text(plan.read_text().replace(old, new))


def add(folder: Path, text: str) -> None:
    plan = folder / "plan.toml"
    plan.write_text(plan.read_text() + text)


def copy(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target))


def no_such_examples(folder: Path) -> None:
    (folder / "eval.jsonl").rename(folder / "evals.jsonl")


def misspelt_key(folder: Path) -> None:
    add(folder, "[gates]\nmin_winrate = 0.5\n")


def broken_line_17(folder: Path) -> None:
    rows = (folder / "eval.jsonl").read_text().splitlines()
    rows[16] = rows[16][:20]
    (folder / "eval.jsonl").write_text("\n".join(rows))


def empty_eval_set(folder: Path) -> None:
    (folder / "eval.jsonl").write_text("\n\n")


def no_baseline(folder: Path) -> None:
    change(folder, '"baseline"', '"candidate"')


def literal_key(folder: Path) -> None:
    add(folder, '[[judges]]\nname = "gpt"\nserver = "http://127.0.0.1:9/v1"\nmodel = "m"\n')
    add(folder, 'api_key = "sk-1234567890abcdef"\n')


def no_model(folder: Path) -> None:
    (folder / "notes").mkdir()
    (folder / "notes" / "readme.txt").write_text("no model here")
    change(folder, 'outputs = "after.jsonl"', 'path = "notes"')


def truncated_weights(folder: Path) -> None:
    weights = copy(BASE, folder / "model") / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    change(folder, 'outputs = "after.jsonl"', 'path = "model"')


def with_adapter(folder: Path) -> Path:
    """Gives the candidate the sample base and a copy of the good adapter, which is returned."""
    change(folder, 'outputs = "after.jsonl"', f'path = "{BASE}"\nadapter = "adapter"')
    return copy(ADAPTER, folder / "adapter")


def adapter_of_another_base(folder: Path) -> None:
    config = with_adapter(folder) / "adapter_config.json"
    settings = json.loads(config.read_text()) | {"base_model_name_or_path": "acme/other-7b"}
    config.write_text(json.dumps(settings))


def adapter_of_other_shapes(folder: Path) -> None:
    weights = with_adapter(folder) / "adapter_model.safetensors"
    tensors = load_file(weights)
    save_file({name: tensor.repeat(2, axis=0).repeat(2, axis=1) for name, tensor in tensors.items()}, weights)


def adapter_cut_off(folder: Path) -> None:
    weights = with_adapter(folder) / "adapter_model.safetensors"
    os.truncate(weights, weights.stat().st_size - 1000)


def nobody_listens(folder: Path) -> None:
    add(folder, '[[judges]]\nname = "gpt"\nserver = "http://127.0.0.1:9/v1"\nmodel = "m"\n')


WRONG: dict[Edit, tuple[str, ...]] = {
    no_such_examples: ("data.examples", "eval.jsonl", "evals.jsonl"),
    misspelt_key: ("plan.toml", "min_winrate", 'did you mean "min_win_rate"'),
    broken_line_17: ("eval.jsonl:17",),
    empty_eval_set: ("eval.jsonl", "no example"),
    no_baseline: ("no baseline", 'role = "baseline"'),
    literal_key: ("judges[0].api_key", "api_key_env"),
    no_model: ("after", "notes", "no config.json", "save_pretrained()"),
    truncated_weights: ("model after", "model.safetensors", "truncated"),
    adapter_of_another_base: ("model after", "acme/other-7b", "the plan's base is"),
    adapter_of_other_shapes: ("model after", "has shape"),
    adapter_cut_off: ("model after", "adapter_model.safetensors", "truncated"),
    nobody_listens: ("judge gpt", "cannot be reached", "start the server"),
}


def dump(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return list(connection.iterdump())


@pytest.mark.parametrize("spoil", WRONG, ids=lambda edit: edit.__name__)
def test_what_is_wrong_is_named_before_anything_is_stored(folder: Path, spoil: Edit, assay: Assay) -> None:
    store = folder / "store"
    create_run(store, records.Run(name="earlier", plan="", plan_hash="", plan_folder="", plan_file=""))
    before = dump(store / database.FILE)
    spoil(folder)
    done = assay("run", folder / "plan.toml", "--store", store)
    assert (done.code, done.out) == (2, "")
    for words in WRONG[spoil]:
        assert words in done.err, done.err
    assert "sk-1234567890abcdef" not in done.err
    assert done.err.count("assay: ") == 1 and len(done.err.splitlines()) <= 4, done.err
    assert dump(store / database.FILE) == before


def another_database(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript("CREATE TABLE recipe (name); INSERT INTO recipe VALUES ('soup')")


def a_text(file: Path) -> None:
    file.write_text("not a database, however long it may be. " * 50)


@pytest.mark.parametrize("make", [another_database, a_text])
def test_a_file_that_is_no_store_is_left_as_it_is(folder: Path, make: Edit, assay: Assay) -> None:
    store = folder / "store"
    store.mkdir()
    make(store / database.FILE)
    make(folder / "same")
    done = assay("run", folder / "plan.toml", "--store", store)
    assert done.code == 2 and str(store) in done.err and "--store DIR" in done.err
    if make is another_database:
        assert dump(store / database.FILE) == dump(folder / "same")
    else:
        assert (store / database.FILE).read_bytes() == (folder / "same").read_bytes()


@pytest.fixture
def port() -> Iterator[int]:
    with kept_port() as kept:
        yield kept


def test_a_judge_that_goes_away_is_waited_for_and_nothing_is_asked_twice(folder: Path, port: int) -> None:
    gone = JudgeServer(port)

    def leaves(body: Json, number: int) -> Answer:
        if number == 9:
            gone.stop()
        return replace(prefers("A"), headers={"connection": "close"})

    gone.script = leaves
    judge = f'name = "gpt"\nserver = "{gone.url}"\nmodel = "m"\nconcurrency = 1\nretries = 1\n'
    add(folder, f"[[judges]]\n{judge}")
    store = folder / "store"
    run_id = queue(store, folder / "plan.toml")
    running = Worker(store, run_id)

    def waiting() -> str:
        return history.run(reader(store), run_id).waiting or ""

    assert wait_until(lambda: "has not answered since" in waiting(), running)
    assert gone.url in waiting()
    assert counts(store, "response", "judgment") == [2 * EXAMPLES, 10]

    back = JudgeServer(port)
    try:
        assert running.wait(timeout=240) == 0
        assert counts(store, "response", "judgment") == [2 * EXAMPLES, 2 * EXAMPLES]
        assert len(back.requests) == 2 * EXAMPLES - 10
        assert "HTTP Request" not in (store / "worker.log").read_text()
    finally:
        back.stop()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with little room."""
    place = tmp_path / "disk"
    place.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={SMALL}"]
    if subprocess.run(["mount", *options, "tmpfs", place], capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system takes the rights of root")
    yield place
    # Lazily: a worker that has told its end may take a moment more to leave.
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_disk_that_fills_up_ends_the_run_which_goes_on_when_there_is_room(
    folder: Path, small_disk: Path, process: Assay
) -> None:
    long = [{"id": f"e{n}", "response": f"word{n} " * 400_000} for n in range(EXAMPLES)]
    lines(folder / "after.jsonl", long)
    change(folder, '["exact_match", "length"]', '["length"]')
    change(folder, "[data]", "judges = []\n[data]")
    store = small_disk / "store"
    failed = process("run", folder / "plan.toml", "--store", store)
    assert failed.code == 3
    assert f"the disk that holds the store {store} is full" in failed.err
    assert failed.err.count("free some space and resume the run") == 1
    assert counts(store, "response") == [EXAMPLES], "the first model's answers are kept"
    assert json.loads(process("show", "1", "--json", "--store", store).out)["run"]["status"] == "failed"

    subprocess.run(["mount", "-o", "remount,size=400m", small_disk], check=True)
    resumed = process("resume", "1", "--store", store)
    assert resumed.code == 1 and "not evaluated" in resumed.out, resumed.err
    assert counts(store, "response") == [2 * EXAMPLES]
    with closing(database.connect(store)) as connection:
        texts = connection.execute(
            "SELECT text FROM response WHERE length(text) > 100 ORDER BY id"
        ).fetchall()
        assert [row[0] for row in texts] == [answer["response"] for answer in long]
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def fill(disk: Path) -> None:
    with (disk / "fill").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(1 << 12)):
            pass


def test_a_store_on_a_full_disk_is_read_and_whatever_cannot_be_written_says_why(
    folder: Path, small_disk: Path, assay: Assay
) -> None:
    store = small_disk / "store"
    assert assay("run", folder / "plan.toml", "--store", store).code in (0, 1)
    running = Recorder(store, queue(store, folder / "plan.toml"))
    assert running.claim(2**22 + 1, socket.gethostname())  # a process that does not exist
    with closing(sqlite3.connect(store / database.FILE)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    fill(small_disk)
    worker._fail(running, "the judge's server is gone")
    running.close()

    shown = assay("show", "1", "--section", "scores", "--store", store)
    assert shown.code == 0 and "exact_match" in shown.out, shown.err
    assert "the judge's server is gone" in assay("show", "2", "--store", store).out, "told, though not stored"
    full = f"assay: the disk that holds the store {store} is full\n  free some space and resume the run\n"
    noted = assay("note", "1", "a note", "--store", store)
    assert (noted.code, noted.err) == (2, full)
    into = small_disk / "exported"
    exported = assay("export", "runs", "1", into, "--store", store)
    assert exported.code == 2 and f"{into} cannot be written: No space left on device" in exported.err
    assert list(into.rglob("*")) == []
    app = StoreWatch(store)
    with pytest.raises(StoreFailed, match="is full"):
        asyncio.run(app.ask(people.mark, 1, "note", "a note", "me"))
    (small_disk / "fill").unlink()
    assert asyncio.run(app.ask(people.mark, 1, "note", "a note", "me")), "the app goes on where there is room"
    app.close()
    assert assay("note", "1", "a note", "--store", store).code == 0


def counts(store: Path, *tables: str) -> list[int]:
    """How many rows stand in each table."""
    with closing(database.connect(store)) as connection:
        return [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]
