import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len

from store import database, records
from store.read import history
from store.read.rows import ModelRow
from store.records import Progress
from store.write import Recorder
from tui.cli.progress import ProgressBars, ProgressLines, Watcher, bar_line, phases
from tui.sections.eta import cost
from tui.text.output import redraws


def progress(item: str, done: int, **changes: float) -> Progress:
    values = {"resumed_from": 0, "seconds": 4.0} | changes
    return Progress(
        run_id=1,
        phase="generate",
        item=item,
        position=0,
        done=done,
        total=20,
        unit="responses",
        resumed_from=int(values["resumed_from"]),
        started=0.0,
        updated=0.0,
        seconds=values["seconds"],
    )


def test_a_phase_sums_its_items_and_leaves_resumed_work_out_of_its_rate() -> None:
    (phase,) = phases([progress("base", 20, resumed_from=12), progress("good", 8, seconds=4.0)])
    assert (phase.done, phase.total) == (28, 40)
    assert phase.rate == pytest.approx((8 + 8) / 8.0)
    assert phase.left == pytest.approx(12 / 2.0)


def test_the_time_left_is_that_of_the_model_under_way() -> None:
    (phase,) = phases([progress("recorded", 20, seconds=0.01), progress("served", 4, seconds=40.0)])
    assert phase.left == pytest.approx(16 / 0.1)
    (phase,) = phases([progress("base", 20), progress("good", 0, seconds=0.0)])
    assert phase.left == pytest.approx(20 / 5.0)


def test_a_phase_that_has_not_begun_has_no_rate() -> None:
    (phase,) = phases([progress("base", 0, seconds=0.0)])
    assert phase.rate is None and phase.left is None
    assert "left" not in bar_line(phase, 80)


def answering() -> Progress:
    return replace(progress("base", 7), slots=4, busy=3, tokens=900, prompt_tokens=500, prompt_seconds=1.0)


def test_a_wide_bar_tells_how_fast_prompts_are_read_and_answers_written() -> None:
    (phase,) = phases([answering()])
    assert phase.speeds == "prefill 500 tok/s, decode 300 tok/s, 3/4 slots"
    assert phase.speeds in bar_line(phase, 140)
    assert "slots" not in bar_line(phase, 80) and "7/20 responses" in bar_line(phase, 80)


def test_only_models_on_a_gpu_cost_gpu_hours() -> None:
    def model(name: str, details: dict[str, str] | None) -> ModelRow:
        return ModelRow(1, name, "baseline", "local", None, details, None, None)

    rows = [replace(progress(name, 20, seconds=1800.0), cost=None) for name in ("here", "there", "new")]
    models = [model("here", {"device": "cuda:0"}), model("there", {"device": "cpu"}), model("new", None)]
    assert cost(rows, models) == (0.5, None)
    assert cost(rows, models[1:]) == (None, None)
    charged = replace(progress("gpt", 20), phase="judge", cost=0.25)
    assert cost([*rows, charged, charged], models) == (0.5, 0.5)


@pytest.mark.parametrize("columns", [20, 40, 80, 110, 200])
@pytest.mark.parametrize("row", [progress("base", 7), answering()])
def test_a_bar_never_wraps(columns: int, row: Progress) -> None:
    (phase,) = phases([row])
    assert cell_len(bar_line(phase, columns)) < columns


def test_following_a_finished_run_tells_each_phase_and_ends(
    history_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    connection = history.attach(database.connect(history_store))
    run = Watcher(connection, 2).watch()
    connection.close()
    told = capsys.readouterr()
    assert run.status == "finished" and told.out == ""
    assert "generate: 100% (60/60 responses)" in told.err
    assert "\x1b" not in told.err


def test_quiet_tells_nothing(history_store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    connection = history.attach(database.connect(history_store))
    Watcher(connection, 2, quiet=True).watch()
    connection.close()
    assert capsys.readouterr().err == ""


def test_a_worker_that_died_before_it_took_the_run_is_noticed(own_store: Path) -> None:
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    recorder = Recorder(own_store, 3)
    recorder.set_run(status="queued", worker_pid=None)
    recorder.close()
    os.kill(worker.pid, signal.SIGKILL)
    connection = history.attach(database.connect(own_store))
    run = Watcher(connection, 3, quiet=True).watch(worker.pid)
    connection.close()
    worker.wait()
    assert run.status == "queued"


def test_errors_of_the_run_are_told_with_their_control_characters_visible(
    own_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = Recorder(own_store, 1)
    recorder.event("error", "generate", "the server said \x1b[2J")
    recorder.event("info", "generate", "all is well")
    recorder.insert(records.Event(run_id=1, time=0.0, level="warning", phase="judge", message="slow"))
    recorder.close()
    connection = history.attach(database.connect(own_store))
    Watcher(connection, 1).watch()
    connection.close()
    told = capsys.readouterr().err
    assert "error: generate: the server said ␛[2J" in told and "warning: judge: slow" in told
    assert "all is well" not in told


def test_bars_are_redrawn_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    bars = ProgressBars()
    bars.update(phases([progress("base", 7)]))
    bars.close()
    first = capsys.readouterr().err
    assert "35% 7/20 responses" in first and "\x1b" not in first
    bars.update(phases([progress("base", 14)]))
    bars.close()
    again = capsys.readouterr().err
    assert again.startswith("\x1b[1F") and again.endswith("\x1b[K\x1b[1E") and "70% 14/20" in again
    bars.say("error: \x1b[2J")
    told = capsys.readouterr().err
    assert told.startswith("\x1b[1F\x1b[Jerror: ␛[2J\n") and told.count("\n") == 2


@pytest.mark.parametrize("name", ["CI", "NO_COLOR", "TERM"])
def test_a_terminal_of_a_ci_gets_whole_lines(
    history_store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for each in ("CI", "NO_COLOR"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert redraws()
    monkeypatch.setenv(name, "dumb" if name == "TERM" else "1")
    connection = history.attach(database.connect(history_store))
    Watcher(connection, 2).watch()
    connection.close()
    told = capsys.readouterr().err
    assert "generate: 100% (60/60 responses)" in told
    assert "\x1b" not in told and "\r" not in told


def test_a_log_gets_a_line_every_minute_with_the_rate_and_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 30.0, 61.0, 200.0])
    monkeypatch.setattr("tui.cli.progress.time.monotonic", lambda: next(clock))
    lines = ProgressLines()
    for done in (100, 101, 102, 102):
        lines.update(phases([replace(progress("base", done), total=10_000)]))
    told = capsys.readouterr().err.splitlines()
    assert [line.split("/")[0] for line in told] == ["generate: 1% (100", "generate: 1% (102"]
    assert "/s, " in told[1] and "left" in told[1]
