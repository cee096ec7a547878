"""The queue from the command line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.run import queue
from tests.cli.conftest import Assay
from tests.timers import add_crontab

Write = Callable[..., Path]
TOO_HIGH = ["--queue", "--priority", str(10**30)]


@pytest.fixture(autouse=True)
def crontab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of this user's crontab."""
    monkeypatch.setenv("ASSAY_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(queue, "EVERY_S", 0.0)
    return add_crontab(tmp_path, monkeypatch)


def test_runs_wait_in_order_and_work_starts_them(assay: Assay, plan: Write) -> None:
    file = plan()
    assert "run 1 waits in the queue, at place 1" in assay("run", file, "--queue").out
    assert assay("run", file, "--queue", "--json").json == {"id": 2}
    assert "at place 1" in assay("run", file, "--queue", "--priority", "3").out
    listed = assay("queue")
    assert "assay queue work" in listed.err and "plan.toml" in listed.out
    assert [(row["id"], row["place"], row["priority"]) for row in assay("queue", "--json").json["runs"]] == [
        ("3", 1, 3),
        ("1", 2, 0),
        ("2", 3, 0),
    ]
    assert "queued, place 2" in assay("runs").out
    assert "run 2 waits at place 1" in assay("queue", "move", "2", "1").out
    assert assay("queue", "cancel", "3").code == 0
    worked = assay("queue", "work", "--once")
    assert worked.code == 0 and worked.out.index("run 2 started") < worked.out.index("run 1 started")
    assert "run 1 is finished, passed" in worked.out
    assert "no run waits" in assay("queue").out
    assert [(row["id"], row["status"]) for row in assay("runs", "--json").json] == [
        ("3", "cancelled"),
        ("2", "finished"),
        ("1", "finished"),
    ]


def test_bad_input(assay: Assay, plan: Write) -> None:
    file = plan()
    for words in (["--priority", "1"], ["--queue", "--detach"], ["--queue", "--fold", "all"], TOO_HIGH):
        assert assay("run", file, *words).code == 2
    assay("run", file, "--quiet")
    assert "does not wait" in assay("queue", "move", "1", "1").err
    assert "does not wait" in assay("queue", "cancel", "1").err
    assert assay("queue", "move", "17", "1").code != 0


def test_a_plan_that_cannot_run_is_refused_before_it_waits(assay: Assay, plan: Write, tmp_path: Path) -> None:
    file = plan()
    (tmp_path / "eval.jsonl").unlink()
    assert assay("run", file, "--queue").code == 2
    assert assay("runs").out.startswith("no runs yet") or assay("runs").code != 0


def test_the_work_is_installed_for_every_start_of_the_machine(assay: Assay, crontab: Path) -> None:
    assert "@reboot" in assay("queue", "install", "--print").out and not crontab.exists()
    assert assay("queue", "install").code == 2, "it asks"
    assert assay("queue", "install", "--yes").code == 0
    assert crontab.read_text().rstrip().endswith("queue work # assay queue")
    assert assay("queue", "install", "--yes").code == 2
    assert assay("queue", "uninstall").code == 0 and crontab.read_text() == ""
    assert assay("queue", "uninstall").code == 2
    unit = assay("queue", "install", "--systemd", "--print").out
    assert "Restart=on-failure" in unit and "KillMode=process" in unit and "WantedBy=default.target" in unit
