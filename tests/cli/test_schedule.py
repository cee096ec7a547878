"""Schedules from the command line: with a crontab program, a clock of the test's own, and real runs."""

import json
import os
import shlex
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from engine.run import launch, schedule
from engine.run.schedule import lock_of
from store.write import hold
from tests.cli.conftest import Assay
from tests.engine.runs import work_here
from tests.timers import Hook, add_crontab

Write = Callable[..., Path]
ZONE = ZoneInfo("Europe/Berlin")


class Clock:
    def __init__(self) -> None:
        self.set("2026-03-02 12:00")

    def set(self, text: str) -> None:
        self.now = datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(schedule, "now", lambda: clock.now)
    monkeypatch.setattr(schedule, "zone", lambda: ZONE)
    return clock


@pytest.fixture(autouse=True)
def crontab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of this user's crontab; no systemd runs."""
    monkeypatch.setenv("ASSAY_STORE", str(tmp_path / "store"))
    return add_crontab(tmp_path, monkeypatch)


def test_what_is_written_is_shown_first_and_print_writes_nothing(
    assay: Assay, plan: Write, tmp_path: Path, crontab: Path
) -> None:
    shown = assay("schedule", "add", plan(), "--weekly", "mon 03:00", "--print")
    assert shown.code == 0 and "0 3 * * 1" in shown.out and "# assay plan" in shown.out
    unasked = assay("schedule", "add", plan(), "--weekly", "mon 03:00")
    assert unasked.code == 2 and "--yes" in unasked.err
    assert not crontab.exists() and not (tmp_path / "store").exists()
    units = assay("schedule", "add", plan(), "--daily", "03:00", "--systemd", "--print", "--name", "nightly")
    assert "assay-nightly.timer" in units.out and "OnCalendar=*-*-* 03:00:00" in units.out
    assert not (tmp_path / "config").exists()


def test_a_schedule_is_added_listed_and_removed(assay: Assay, plan: Write, crontab: Path) -> None:
    crontab.write_text("0 1 * * * backup\n")
    added = assay("schedule", "add", plan(), "--weekly", "mon 03:00", "--yes")
    assert added.code == 0 and "plan runs next at Mon 2026-03-09 03:00" in added.out
    line = crontab.read_text().splitlines()[1]
    words = shlex.split(line.split(" ", 5)[5], comments=True)
    assert words[1] == f"ASSAY_STORE={os.environ['ASSAY_STORE']}" and words[-3:] == [
        "schedule",
        "run",
        "plan",
    ]
    listed = assay("schedule", "list")
    assert "Mon 2026-03-09 03:00" in listed.out and "has not run yet" in listed.out
    again = assay("schedule", "add", plan(), "--weekly", "mon 03:00", "--yes")
    assert again.code == 2 and "already" in again.err
    removed = assay("schedule", "remove", "plan")
    assert removed.code == 0 and crontab.read_text() == "0 1 * * * backup\n"
    assert "no schedule" in assay("schedule", "list").out
    assert assay("schedule", "remove", "plan").code == 2


def test_a_timer_that_somebody_removed_is_told(assay: Assay, plan: Write, crontab: Path) -> None:
    assay("schedule", "add", plan(), "--daily", "03:00", "--yes")
    crontab.write_text("")
    assert "nothing starts it" in assay("schedule", "list").out
    assert assay("schedule", "list", "--json").json[0]["installed"] is False


def test_a_damaged_schedule_is_named_and_can_be_removed(assay: Assay, plan: Write, crontab: Path) -> None:
    assay("schedule", "add", plan(), "--daily", "03:00", "--name", "a.b", "--yes")
    schedule.file_of(Path(os.environ["ASSAY_STORE"]), "a.b").write_text("{")
    for words in (["list"], ["run", "a.b"]):
        done = assay("schedule", *words)
        assert done.code == 2 and "a.b.json is no schedule" in done.err
    assert assay("schedule", "remove", "a.b").code == 0 and crontab.read_text() == ""
    assert "no schedule" in assay("schedule", "list").out


def test_a_crontab_that_refuses_the_line_leaves_no_schedule(
    assay: Assay, plan: Write, tmp_path: Path
) -> None:
    (tmp_path / "bin/crontab").write_text("#!/bin/sh\necho 'no crontab for you: quota' >&2; exit 1\n")
    done = assay("schedule", "add", plan(), "--daily", "03:00", "--yes")
    assert done.code == 3 and "quota" in done.err
    assert "no schedule" in assay("schedule", "list").out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "one of --weekly, --daily and --cron"),
        (["--daily", "03:00", "--cron", "0 3 * * 1"], "one of --weekly"),
        (["--weekly", "mon"], "--weekly"),
        (["--daily", "03:00", "--name", "a b"], "--name"),
        (["--daily", "03:00", "--env-file", "no-such"], "--env-file"),
        (["--daily", "03:00", "--hook", "no-such-program"], "--hook"),
        (["--daily", "03:00", "--webhook", "example.org"], "--webhook"),
        (["--daily", "03:00", "--against", "17"], "no store"),
        (["--daily", "03:00", "--systemd", "--cron-tab"], "exclude"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    assay: Assay, plan: Write, crontab: Path, options: list[str], said: str
) -> None:
    done = assay("schedule", "add", plan(), "--yes", *options)
    assert done.code == 2 and said in done.err and not crontab.exists()


def test_a_plan_that_is_none_is_refused(assay: Assay, tmp_path: Path, crontab: Path) -> None:
    assert assay("schedule", "add", tmp_path / "none.toml", "--daily", "03:00", "--yes").code == 2
    assert not crontab.exists()


def test_a_run_ends_in_its_exit_code_and_hands_the_hook_what_show_prints(
    assay: Assay, plan: Write, tmp_path: Path, clock: Clock
) -> None:
    file = plan(candidate="wrong")
    hook = "sh -c 'cat > hooked.json'"
    assay("schedule", "add", file, "--weekly", "mon 03:00", "--hook", hook, "--against", "accepted", "--yes")
    clock.set("2026-03-09 03:00")
    done = assay("schedule", "run", "plan")
    assert done.code == 1 and "CRITICAL" in done.out and "missed" not in done.err
    told = json.loads((tmp_path / "hooked.json").read_text())
    assert told.pop("schedule") == {
        **{"name": "plan", "plan": str(file), "started": "2026-03-09T02:00:00Z"},
        **{"due": "2026-03-09T02:00:00Z", "missed": [], "exit_code": 1, "error": None},
    }
    assert told == assay("show", "1", "--json").json
    (listed,) = assay("schedule", "list", "--json").json
    assert listed["run"] == 1 and listed["exit_code"] == 1 and listed["result"] == "a gate failed"
    assert listed["next"] == "2026-03-16T02:00:00Z" and listed["missed"] == []


def test_weeks_without_a_run_are_told_when_it_runs_again(assay: Assay, plan: Write, clock: Clock) -> None:
    assay("schedule", "add", plan(), "--weekly", "mon 03:00", "--yes")
    clock.set("2026-03-09 03:00")
    assert assay("schedule", "run", "plan").code == 0
    clock.set("2026-03-31 09:00")
    assert assay("schedule", "list", "--json").json[0]["missed"] == [
        "2026-03-16T02:00:00Z",
        "2026-03-23T02:00:00Z",
        "2026-03-30T01:00:00Z",
    ]
    late = assay("schedule", "run", "plan")
    assert late.code == 0
    assert "missed 2 times, Mon 2026-03-16 03:00, Mon 2026-03-23 03:00: nothing ran then" in late.err
    assert "runs late: it was due at Mon 2026-03-30 03:00" in late.err
    listed = assay("schedule", "list")
    assert "missed: Mon 2026-03-16 03:00, Mon 2026-03-23 03:00\n" in listed.out
    clock.set("2026-04-06 03:00")
    assert "missed" not in assay("schedule", "run", "plan").err


def test_an_accepted_run_is_what_later_ones_are_compared_with(
    assay: Assay, plan: Write, clock: Clock
) -> None:
    file = plan()
    assay("run", file, "--quiet")
    assay("accept", "1")
    assay("schedule", "add", file, "--daily", "03:00", "--against", "accepted", "--yes")
    clock.set("2026-03-03 03:00")
    assert assay("schedule", "run", "plan").code == 0
    shown = assay("show", "2", "--json").json
    assert any("accepted" in row["baseline"] for row in shown["comparisons"])


def test_a_second_start_says_so_and_starts_nothing(assay: Assay, plan: Write, tmp_path: Path) -> None:
    assay("schedule", "add", plan(), "--daily", "03:00", "--yes")
    held = hold(lock_of(tmp_path / "store", "plan"))
    assert held is not None
    second = assay("schedule", "run", "plan")
    assert second.code == 3 and "is running already" in second.err
    os.close(held)
    assert assay("schedule", "run", "plan").code == 0
    assert len(assay("runs", "--json").json) == 1


def test_a_schedule_that_is_removed_while_it_runs_stays_removed(
    assay: Assay, plan: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assay("schedule", "add", plan(), "--daily", "03:00", "--yes")

    def remove_and_work(store: Path, run_id: int) -> int:
        schedule.forget(store, "plan")
        return work_here(store, run_id)

    monkeypatch.setattr(launch, "start", remove_and_work)
    assert assay("schedule", "run", "plan").code == 0
    assert "no schedule" in assay("schedule", "list").out


def test_a_plan_that_cannot_run_any_more_is_told_to_the_hook_too(
    assay: Assay, plan: Write, tmp_path: Path
) -> None:
    file = plan()
    assay("schedule", "add", file, "--daily", "03:00", "--hook", "sh -c 'cat > hooked.json'", "--yes")
    (tmp_path / "eval.jsonl").unlink()
    done = assay("schedule", "run", "plan")
    assert done.code == 2 and "eval.jsonl" in done.err
    told = json.loads((tmp_path / "hooked.json").read_text())
    assert told["run"] is None and told["passed"] is None and "eval.jsonl" in told["reason"]
    listed = assay("schedule", "list")
    assert "did not start" in listed.out and "eval.jsonl" in listed.out


def test_a_hook_that_fails_is_told_and_the_run_stays_what_it_is(assay: Assay, plan: Write) -> None:
    assay("schedule", "add", plan(), "--daily", "03:00", "--hook", "false", "--yes")
    done = assay("schedule", "run", "plan")
    assert done.code == 3 and "false ended with exit code 1" in done.err
    (listed,) = assay("schedule", "list", "--json").json
    assert listed["result"] == "passed" and listed["exit_code"] == 0 and "exit code 1" in listed["error"]


def test_a_webhook_gets_the_summary_and_its_secret_is_nowhere(
    assay: Assay, plan: Write, tmp_path: Path, crontab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HOOK_TOKEN", "t0ps3cret")
    hook = Hook(204)
    added = assay(
        *("schedule", "add", plan(), "--daily", "03:00", "--yes"),
        *("--webhook", hook.url + "/in/${HOOK_TOKEN}"),
    )
    done = assay("schedule", "run", "plan")
    hook.shutdown()
    hook.server_close()
    assert done.code == 0 and [path for path, _ in hook.got] == ["/in/t0ps3cret"]
    assert json.loads(hook.got[0][1])["passed"] is True
    kept = b"".join(file.read_bytes() for file in (tmp_path / "store").rglob("*") if file.is_file())
    assert b"t0ps3cret" not in kept + crontab.read_bytes() + (added.out + done.out + done.err).encode()
