"""Runs go to the real trackers and are read back there: the same numbers, once, whatever happens."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from engine.plan import plan as plan_tables
from engine.run import tracking
from store import database
from store.read import history
from tests.cli.conftest import Assay
from tests.engine.runs import queue, recorded_plan, work_here
from tests.tui.history import build_sweep
from tui.cli.track import tracked_run

ROOT = Path(__file__).parents[2]
EXAMPLES = [
    {"id": f"e{n}", "query": f"What is {n} and {n}?", "reference": f"It is {2 * n}."} for n in range(8)
]
ANSWERS = {
    "base": {f"e{n}": f"It is {2 * n}." if n % 2 else "No \x1b[31m idea" for n in range(8)},
    "7b/tuned=größer": {f"e{n}": f"It is {2 * n}." for n in range(8)},
}
METRICS = '[metrics]\nuse = ["rouge", "exact_match", "length"]\n'
SECRET = "s3cret-passw0rd"


def write_plan(folder: Path, more: str = "") -> Path:
    answers = {name.split("/")[0]: texts for name, texts in ANSWERS.items()}
    plan = recorded_plan(folder, EXAMPLES, answers, METRICS + more)
    plan.write_text(plan.read_text().replace('name = "7b"', 'name = "7b/tuned=größer"'))
    return plan


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one finished run; not to be written to."""
    folder = tmp_path_factory.mktemp("finished")
    work_here(folder / "store", queue(folder / "store", write_plan(folder)))
    return folder / "store"


@pytest.fixture
def store(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with one finished run; no tracker waits between its tries, and none finds the tester's own."""
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "WANDB_", "TRACKIO_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(tracking, "WAITS", ())
    return Path(shutil.copytree(finished, tmp_path / "store"))


def connected(store: Path) -> history.Connection:
    return history.attach(database.connect(store))


def numbers(store: Path, run: int = 1) -> dict[str, float]:
    """What the store says, under the names that trackers take."""
    told = tracked_run(connected(store), run, store)
    return {name: number for at in told.steps.values() for name, number in at.items()}


def track(store: Path, tracker: str, run: int = 1) -> Any:
    return next(row for row in history.tracks(connected(store), run) if row.tracker == tracker)


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 240
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_names_suit_every_tracker_and_what_is_missing_is_no_number(store: Path) -> None:
    told = tracked_run(connected(store), 1, store)
    scores = history.model_scores(connected(store), 1)
    found = {item.name: (item.value, item.low, item.high) for item in told.values}
    base = next(row for row in scores if (row.model, row.measure) == ("base", "rougeL"))
    assert found["base/rougeL"] == (base.value, base.low, base.high)
    assert "_7b_tuned_gr__er/exact_match" in found
    unmeasured = [row.measure for row in scores if row.model == "base" and row.value is None]
    assert unmeasured and not any(f"base/{name}" in found for name in unmeasured)
    assert {row[1] for row in told.tables["missing"].rows if row[0] == "base"} == set(unmeasured)
    example = told.tables["examples"].rows[0]
    assert "␛[31m" in str(example[4])


def test_tensorboard_reads_the_same_numbers_back_and_once(store: Path, assay: Assay) -> None:
    pytest.importorskip("tensorboard", reason="assay[tensorboard]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    for _ in range(2):
        assert assay("track", "last", "--to", "tensorboard", "--store", store).code == 0
    (folder,) = (store / "tensorboard").iterdir()
    read = EventAccumulator(str(folder))
    read.Reload()
    for name, number in numbers(store).items():
        (event,) = read.Tensors(name)
        assert make_ndarray(event.tensor_proto) == pytest.approx(number, rel=1e-6), name
    cells = make_ndarray(read.Tensors("examples")[0].tensor_proto)
    assert cells.shape[0] == 1 + 2 * len(EXAMPLES) and cells[1][0] == b"e0"
    assert "tensorboard" in assay("show", "last", "--store", store).out


def test_checkpoints_are_one_curve_by_their_steps(tmp_path: Path) -> None:
    store = build_sweep(tmp_path / "store")
    told = tracked_run(connected(store), 1, store)
    curve = [
        item for item in told.values if item.name == "llama_3_1_8b_instruct_lora_r16_tickets_step/rougeL"
    ]
    assert [item.step for item in curve] == [100 * step for step in range(1, 31)]
    assert all(item.low is not None and item.low <= item.value for item in curve)
    assert {item.step for item in told.values if item.name.startswith("base/")} == {0}


def wandb_records(file: Path) -> Iterator[Any]:
    """The records of a W&B file: a LevelDB log in blocks of 32 KiB, behind a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, whole = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(whole)
            whole = b""


def test_wandb_offline_keeps_one_run_with_the_same_numbers(
    store: Path, assay: Assay, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="assay[wandb]")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for _ in range(2):
        assert assay("track", "last", "--to", "wandb", "--store", store).code == 0
    (file,) = store.glob("wandb/offline-run-*/run-*.wandb")
    logged: dict[str, Any] = {}
    for record in wandb_records(file):
        for item in record.history.item:
            logged["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
        if record.HasField("run"):
            assert record.run.run_id == track(store, "wandb").tracked
    assert {name: logged[name] for name in numbers(store)} == numbers(store)
    (table,) = file.parent.glob("files/media/table/examples*.json")
    assert len(json.loads(table.read_text())["data"]) == 2 * len(EXAMPLES)


def test_trackio_keeps_one_run_with_the_same_numbers(
    store: Path, assay: Assay, process: Assay, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("trackio", reason="assay[trackio]")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "kept"))
    for _ in range(2):  # Trackio reads its folder once in a process
        assert process("track", "last", "--to", "trackio", "--store", store).code == 0
    read = "import json, sys, trackio; from trackio.sqlite_storage import SQLiteStorage as S; "
    read += "print(json.dumps([S.get_logs('recorded', r.name) for r in trackio.Api().runs('recorded')]))"
    (logs,) = json.loads(subprocess.check_output([sys.executable, "-c", read], text=True))
    logged = {name: value for log in logs for name, value in log.items()}
    assert {name: logged[name] for name in numbers(store)} == numbers(store)
    assert sum("base/rougeL" in log for log in logs) == 1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MLflow server over SQLite."""
    for package in ("mlflow", "flask", "graphene", "huey"):
        pytest.importorskip(package, reason="an MLflow server is not installed")
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--default-artifact-root",
        "mlflow-artifacts:/",
    ]
    words += ["--artifacts-destination", str(folder / "artifacts")]
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(
            [sys.executable, *words],
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        )
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert running.poll() is None, (folder / "log").read_text()
        try:
            return bool(urlopen(f"{address}/health", timeout=5).status == 200)
        except OSError:
            return False

    try:
        wait_for(answers)
        yield address
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()


def test_mlflow_has_the_run_once_with_its_numbers_words_reports_and_examples(
    store: Path, assay: Assay, server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.replace("://", f"://somebody:{SECRET}@"))
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", "")
    client, key = MlflowClient(server), tracking.key_of(history.run(connected(store), 1))
    begun = client.create_run(client.create_experiment("recorded"), tags={"assay_key": key})
    for _ in range(2):
        told = assay("track", "last", "--to", "mlflow", "--json", "--store", store)
        assert told.code == 0 and told.json[0]["tracked"] == begun.info.run_id, "it goes on with what began"
    run = client.get_run(begun.info.run_id)
    assert run.data.metrics == pytest.approx(numbers(store), rel=1e-12)
    assert len(client.get_metric_history(run.info.run_id, "base/rougeL")) == 1
    assert run.data.params["plan_name"] == "recorded" and run.data.tags["verdict"]
    assert "decision/_7b_tuned_gr__er" in run.data.tags and run.info.status == "FINISHED"
    names = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert {"plan.toml", "report.html", "report.md", "report.json", "alerts.json", "examples.json"} <= names
    table = json.loads(
        Path(client.download_artifacts(run.info.run_id, "examples.json", str(tmp_path))).read_text()
    )
    assert len(table["data"]) == 2 * len(EXAMPLES) and table["columns"][0] == "example"
    assert track(store, "mlflow").place == server
    assert SECRET not in told.out + told.err
    assert not any(SECRET.encode() in file.read_bytes() for file in store.rglob("*") if file.is_file())


def test_a_server_that_is_away_waits_and_is_told_later(
    store: Path, assay: Assay, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://somebody:{SECRET}@127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    told = assay("track", "last", "--to", "mlflow", "--store", store)
    row = track(store, "mlflow")
    assert told.code == 3 and "mlflow" in told.err and (row.status, row.attempts) == ("waiting", 1)
    assert "refused" in row.reason and SECRET not in row.reason + told.err + told.out
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    assert assay("track", "--waiting", "--store", store).code == 0
    row = track(store, "mlflow")
    assert row.status == "sent" and row.reason is None and row.tracked
    assert assay("track", "--waiting", "--store", store).out == "nothing waits to be sent\n"


@pytest.fixture
def deaf() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_tracker_that_hangs_is_given_up(
    store: Path, assay: Assay, deaf: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="assay[mlflow]")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", deaf)
    monkeypatch.setattr(tracking, "LIMIT_S", 1)
    assert assay("track", "last", "--to", "mlflow", "--store", store).code == 3
    row = track(store, "mlflow")
    assert row.status == "waiting" and "did not answer within 1 s" in row.reason


def test_a_sending_that_is_killed_is_known_and_done_again(
    store: Path, assay: Assay, deaf: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", deaf)
    words = ["track", "1", "--to", "mlflow", "--store", str(store)]
    sending = subprocess.Popen(
        [sys.executable, "-P", "-m", "assay", *words], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    wait_for(lambda: history.tracks(connected(store), 1))
    sending.kill()
    sending.wait()
    assert track(store, "mlflow").status == "waiting" and "ended before" in track(store, "mlflow").reason
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    assert assay("track", "--waiting", "--store", store).code == 0
    assert track(store, "mlflow").status == "sent"


def test_a_run_sends_itself_when_it_has_ended(tmp_path: Path, assay: Assay) -> None:
    pytest.importorskip("tensorboard", reason="assay[tensorboard]")
    plan = write_plan(tmp_path, '[track]\nto = ["tensorboard"]\nfolder = "curves"\nexamples = false\n')
    store = tmp_path / "store"
    assert assay("run", plan, "--quiet", "--store", store).code in (0, 1)
    row = wait_for(lambda: [row for row in history.tracks(connected(store), 1) if row.status != "waiting"])[0]
    assert row.status == "sent", row.reason
    (file,) = (tmp_path / "curves").rglob("events.out.*")
    assert b"What is 3 and 3?" not in file.read_bytes(), "no text leaves where the plan forbids it"
    shown = assay("show", "last", "--json", "--store", store).json["trackers"]
    assert [(each["tracker"], each["tracked"], each["status"]) for each in shown] == [
        ("tensorboard", file.parent.name, "sent")
    ]


def test_a_run_does_not_fail_for_its_tracker(
    tmp_path: Path, assay: Assay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    plan = write_plan(tmp_path, '[track]\nto = ["mlflow"]\n')
    store = tmp_path / "store"
    assert assay("run", plan, "--quiet", "--store", store).code in (0, 1)
    row = wait_for(lambda: history.tracks(connected(store), 1))[0]
    assert (row.status, row.attempts) == ("waiting", 1), "another shell may know the server"
    assert "export MLFLOW_TRACKING_URI=" in row.reason
    assert history.run(connected(store), 1).status == "finished"


def test_a_tracker_that_refuses_is_not_asked_again(
    store: Path, assay: Assay, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    plan = connected(store).execute("UPDATE run SET name = 'gone'")
    assert plan.rowcount == 1
    client = MlflowClient(server)
    client.delete_experiment(client.create_experiment("gone"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    assert assay("track", "last", "--to", "mlflow", "--store", store).code == 3
    row = track(store, "mlflow")
    assert (row.status, row.attempts) == ("failed", 1) and "refused" in row.reason


def test_a_run_of_another_store_is_sent_by_that_store(store: Path, assay: Assay, tmp_path: Path) -> None:
    assert assay("track", "last", "--to", "mlflow", "--store", store).code == 3
    other = tmp_path / "other"
    assert assay("import", "store", store, "--store", other).code == 0
    assert [row.status for row in history.tracks(connected(other), 1)] == ["waiting"]
    assert history.waiting_tracks(connected(store)) and not history.waiting_tracks(connected(other))
    assert assay("delete", "last", "--store", store).code == 0
    assert not history.waiting_tracks(connected(store))


def test_wandb_without_a_key_waits_for_one(store: Path, assay: Assay) -> None:
    pytest.importorskip("wandb", reason="assay[wandb]")
    told = assay("track", "last", "--to", "wandb", "--store", store)
    assert told.code == 3 and "WANDB_API_KEY" in told.out and "offline" in told.out


def test_check_says_what_to_install(tmp_path: Path, assay: Assay, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = write_plan(tmp_path, '[track]\nto = ["trackio"]\n')
    found = plan_tables.find_spec
    monkeypatch.setattr(plan_tables, "find_spec", lambda name: None if name == "trackio" else found(name))
    told = assay("check", plan, "--store", tmp_path / "store")
    assert told.code == 0 and "pip install 'assay[trackio]'" in told.out


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('to = ["mlfow"]', "did you mean"),
        ("to = []", "track.to"),
        ('project = "p"', "track.to: is missing"),
        ('to = ["mlflow"]\nuri = "http://x"', 'unknown key "uri"'),
        ('to = ["tensorboard"]\nfolder = "plan.toml"', "is a file"),
    ],
)
def test_a_wrong_table_is_refused_by_its_key(tmp_path: Path, assay: Assay, table: str, said: str) -> None:
    told = assay("run", write_plan(tmp_path, f"[track]\n{table}\n"), "--store", tmp_path / "store")
    assert told.code == 2 and said in told.err


@pytest.mark.parametrize("words", [[], ["last", "--waiting"], ["--waiting", "--to", "wandb"], ["last"]])
def test_a_command_that_names_no_run_or_no_tracker_says_so(
    store: Path, assay: Assay, words: list[str]
) -> None:
    assert assay("track", *words, "--store", store).code == 2


def test_what_waits_is_tried_again_later_each_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[str] = []
    monkeypatch.setattr(tracking, "_start", lambda store, run_id, tracker: started.append(tracker))
    rows = [
        tracking.Track(
            run_id=1, tracker=name, place="", status="waiting", attempts=attempts, updated=time.time() - age
        )
        for name, attempts, age in (
            ("mlflow", 1, 30),
            ("wandb", 1, 130),
            ("trackio", 9, 130),
            ("t", 99, 90_000),
        )
    ]
    tracking.start_due(tmp_path, rows)
    assert started == ["wandb", "t"]


def test_the_lines_of_the_manual_work(
    store: Path, assay: Assay, process: Assay, server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ASSAY_STORE", str(store))
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "kept"))
    page = (ROOT / "docs/tracking.md").read_text()
    lines = [
        line for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL) for line in block.splitlines()
    ]
    assert len(lines) == 5
    for line in lines:
        word, *rest = shlex.split(line)
        if word == "export":
            name, _, value = rest[0].partition("=")
            monkeypatch.setenv(name, value.replace("http://127.0.0.1:5000", server))
        else:
            told = process(*rest) if "trackio" in rest else assay(*rest)
            assert told.code == 0, told.err
    assert {row.tracker for row in history.tracks(connected(store), 1)} == {"mlflow", "wandb", "trackio"}


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("no http://me:pw@host/x?a=1 there", "no http://host/x?a=1 there"),
        ("GET https://h/?write_token=abc&x=1", "GET https://h/?&x=1"),
        ("key hf_abcdefghij0123456789xyz", "key [key]"),
        ("it is topsecret99 here", "it is [key] here"),
    ],
)
def test_no_key_stays_in_what_a_tracker_said(said: str, left: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "topsecret99")
    assert tracking.without_keys(said) == left
