import os
import re
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot

from store import people, records
from store.database import connect
from store.read import history
from store.read.history import attach
from store.read.judging import JudgeFailure, JudgeUse
from store.read.live import LatestAnswer, latest_answers
from store.read.rows import WinRateRow
from store.records import Progress, Vitals
from store.write import Recorder
from tests.tui.conftest import Settled
from tests.tui.driver import opened
from tests.tui.history import HOSTILE, NOW
from tui.app.app import AssayApp
from tui.screens.live.lines import ANSWER_LINES, JudgingSoFar, answers, judging, machine, phases
from tui.screens.live.screen import EventsScreen, LiveScreen
from tui.sections.eta import Cost, WholeTime, in_brief, whole_time_left


def progress(phase: str, item: str, done: int, total: int, **more: Any) -> Progress:
    values: dict[str, Any] = {
        "unit": "responses",
        "tokens": 0,
        "resumed_from": 0,
        "started": 1.0,
        "updated": 2.0,
        "seconds": 4.0,
    }
    return Progress(run_id=1, position=0, phase=phase, item=item, done=done, total=total, **(values | more))


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
def test_live_look(snap_compare: Any, store_folder: Path, settled: Settled, size: tuple[int, int]) -> None:
    app = AssayApp(store_folder, run=3, screen="live", now=lambda: NOW)
    assert snap_compare(app, terminal_size=size, run_before=settled)


def test_events_look(snap_compare: Any, store_folder: Path, settled: Settled) -> None:
    async def open_events(pilot: Pilot[int]) -> None:
        await settled(pilot)
        await pilot.press("e")
        await settled(pilot)

    app = AssayApp(store_folder, run=3, screen="live", now=lambda: NOW)
    assert snap_compare(app, terminal_size=(80, 24), run_before=open_events)


def test_rate_and_time_left_count_only_what_this_worker_did() -> None:
    line = phases([progress("generate", "good", 60, 100, resumed_from=40)], 100)[1].plain
    assert "60/100 responses" in line
    assert "5.0/s" in line  # (60 - 40) / 4 s
    assert "8s left" in line


ANSWERING = {
    "slots": 64,
    "busy": 60,
    "tokens": 9_000,
    "prompt_tokens": 24_000,
    "prompt_seconds": 1.0,
    "seconds": 4.0,
}


def test_a_model_that_answers_shows_its_speeds_its_slots_and_its_queue() -> None:
    rows = [progress("generate", "good", 60, 1000, **ANSWERING)]
    _, _, now = phases(rows, 78, running=True)
    assert now.plain.strip() == "prefill 24,000 tok/s · decode 3,000 tok/s · 60/64 slots · 880 queued"
    assert len(phases(rows, 78)) == 2, "a run that stands still has nothing under way"
    served = [progress("generate", "good", 60, 1000, **ANSWERING | {"prompt_seconds": 0.0, "busy": 7})]
    assert phases(served, 78, running=True)[2].plain.strip().startswith("decode 2,250 tok/s · 7/64 slots")


def test_where_a_line_is_too_long_the_time_left_stays_and_the_tokens_go() -> None:
    more = {"tokens": 60_000, "seconds": 32.0}
    rows = [progress("generate", name, 1500, 3000, **more) for name in ("base", "good")]
    wide, narrow = (phases(rows, width)[1].plain for width in (120, 78))
    assert "tok/s" in wide and wide.endswith(" left")
    assert "tok/s" not in narrow and narrow.endswith(" left") and cell_len(narrow) <= 78


def test_answers_under_way_count_as_half_written() -> None:
    line = phases([progress("generate", "good", 60, 1000, **ANSWERING)], 78)[1].plain
    assert "40s left" in line  # (940 - 30) / ((60 + 30) / 4 s)


def test_each_gpu_shows_its_load_and_the_run_its_cost() -> None:
    gpu = Vitals(
        run_id=1,
        device="GPU 0",
        utilisation=0.87,
        memory_used=44 << 30,
        memory_total=139 << 30,
        power_w=312.4,
        temperature_c=61.0,
        updated=1.0,
    )
    title, line = machine([gpu], Cost(0.4211, 1.5))
    assert title.plain == "Machine  0.42 GPU-hours, $1.50 so far"
    for word in ("GPU 0", "87%", "44.0 GiB of 139 GiB", "312 W", "61 °C"):
        assert word in line.plain
    assert cell_len(line.plain) <= 78
    assert machine([gpu], Cost(None, None))[0].plain == "Machine"


def answer_on_gpu(store: Path) -> None:
    """Puts run 3 back into the middle of generating, on a GPU."""
    recorder = Recorder(store, 3)
    models = {row.name: row.id for row in recorder.rows(records.StoredModel, run_id=3)}
    for model_id in models.values():
        recorder.set_model(model_id, details={"device": "cuda"})
    with recorder.transaction() as write:
        for row in recorder.rows(records.Progress, run_id=3):
            if row.phase == "generate":
                done = 60 if row.item == "good" else 1000
                now = ANSWERING | {"done": done, "total": 1000, "seconds": 300.0, "tokens": 900_000}
                write.put(replace(row, **now))
            elif row.phase != "data":
                write.put(replace(row, done=0, started=None, seconds=0.0))
        gpu = {"run_id": 3, "device": "GPU 0", "utilisation": 0.97, "memory_used": 44 << 30}
        gpu |= {"memory_total": 139 << 30, "power_w": 612.0, "temperature_c": 61.0, "updated": NOW}
        write.clear(records.Vitals, run_id=3)
        write.put(records.Vitals(**gpu))
    recorder.set_run(phase="generate")
    recorder.close()


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
def test_generating_look(snap_compare: Any, own_store: Path, settled: Settled, size: tuple[int, int]) -> None:
    answer_on_gpu(own_store)
    app = AssayApp(own_store, run=3, screen="live", now=lambda: NOW)
    assert snap_compare(app, terminal_size=size, run_before=settled)


def test_what_has_not_begun_has_no_rate_and_no_bar() -> None:
    line = phases([progress("judge", "reference", 0, 48, started=None, seconds=0.0)], 100)[1].plain
    assert "waiting" in line
    assert "█" not in line and "/s" not in line


def test_a_phase_under_way_lists_its_pieces_and_a_finished_one_is_one_line() -> None:
    rows = [progress("generate", name, 12, 12, tokens=400) for name in ("base", "good")]
    assert [line.plain[:10] for line in phases(rows, 100)[1:]] == ["✓ generate"]
    rows[1] = progress("generate", "good", 3, 12)
    assert [line.plain[2:12].strip() for line in phases(rows, 100)[1:]] == ["generate", "base", "good"]


def judge_row(**more: Any) -> JudgeUse:
    values: dict[str, Any] = {
        "id": 1, "name": "gpt", "kind": "pairwise", "is_language_model": True, "prompt_hash": "5215cc7b",
        "details": None, "calls": 0, "failed": 0, "from_cache": 0, "tokens_in": None, "tokens_out": None,
        "cost": None, "unpriced": 0, "seconds": None, "reported_models": None,
    }  # fmt: skip
    return JudgeUse(**(values | more))


def test_a_judges_pace_cost_and_failures_stand_above_its_win_rates() -> None:
    judge = judge_row(calls=240, failed=12, cost=0.42)
    work = [
        progress("judge", "gpt · good against base", 100, 200, unit="judgments"),
        progress("judge", "gpt-mini · good against base", 900, 1000, unit="judgments"),
    ]
    failures = [JudgeFailure("gpt", "no JSON in the answer\x1b[2J", 9), JudgeFailure("gpt", "timed out", 3)]
    heading, calls, failed = judging(JudgingSoFar([judge], [], failures), work, 78)
    assert "Win rate by gpt" in heading.plain
    assert calls.plain.strip() == "240 calls · $0.42 so far · 25.0 calls/s"
    assert failed.plain.strip() == "! 12 failed: 9 × no JSON in the answer␛[2J · 3 × timed out"
    unpriced = judging(JudgingSoFar([judge_row(calls=2, unpriced=2)], [], []), [], 78)
    assert "cost unknown" in unpriced[1].plain and "calls/s" not in unpriced[1].plain


def test_a_win_rate_that_could_not_be_computed_gives_its_reason() -> None:
    row = WinRateRow(
        judge="gpt", is_language_model=True, candidate="good", baseline="base", wins=0, losses=0, ties=0,
        failed=12, win_rate=None, low=None, high=None, position_bias=None, length_controlled=None,
        reason="every judgment failed",
    )  # fmt: skip
    found = JudgingSoFar([judge_row(calls=24, failed=24)], [row], [])
    heading, _, line = judging(found, [], 78)
    assert "every judgment failed" in line.plain and "12 failed" in line.plain and "%" not in line.plain
    assert "not a language model" not in heading.plain


async def test_the_embedded_judge_is_said_to_be_no_language_model(store_folder: Path) -> None:
    async with opened(store_folder, "live", run=3) as ui:
        assert "not a language model" in ui.text


async def test_a_worker_that_was_killed_shows_as_interrupted_with_the_way_on(own_store: Path) -> None:
    with sqlite3.connect(own_store / "assay.db") as connection:
        connection.execute("UPDATE run SET worker_host = 'elsewhere', heartbeat = 1 WHERE id = 3")
    connection.close()
    async with opened(own_store, "live", run=3) as ui:
        assert "! interrupted" in ui.text
        assert "r resumes it" in ui.text


async def test_a_worker_that_gives_no_sign_of_life_shows_with_the_way_on(
    own_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "_began", lambda pid: 0.0)  # long before, in place of waiting
    with sqlite3.connect(own_store / "assay.db") as connection:
        connection.execute("UPDATE run SET heartbeat = ? WHERE id = 3", (time.time() - 60,))
    connection.close()
    async with opened(own_store, "live", run=3) as ui:
        assert "! No heartbeat for 6" in ui.text and "does not answer" in ui.text
        assert "`assay resume 3 --take-over` ends it" in " ".join(ui.text.split())


async def test_errors_are_counted_and_can_be_read_in_full(store_folder: Path) -> None:
    async with opened(store_folder, "live", run=3, size=(80, 30)) as ui:
        assert "1 error, 1 warning" in ui.text
        await ui.press("e")
        assert isinstance(ui.screen, EventsScreen)
        assert "12 examples read" in ui.text
        await ui.press("e")
        assert "12 examples read" not in ui.text
        await ui.press("enter")
        assert "no JSON object in the answer, counted as failed" in ui.text
        await ui.tap("escape", "escape")
        assert isinstance(ui.screen, LiveScreen)


def test_a_win_rate_is_a_band_with_the_half_and_the_gate_marked() -> None:
    row = WinRateRow(
        judge="gpt", is_language_model=True, candidate="good", baseline="base", wins=8, losses=2, ties=0,
        failed=0, win_rate=0.8, low=0.5, high=0.95, position_bias=None, length_controlled=None, reason=None,
    )  # fmt: skip
    found = JudgingSoFar([judge_row(calls=24)], [row], [])
    narrow = judging(found, [], 78, gate=0.55)[-1].plain
    assert narrow.strip().endswith("◆ gate 55%") and cell_len(narrow) <= 78
    track = narrow.split()[0]
    assert track.index("│") < track.index("◆") < track.index("█") < track.rindex("▒")
    wide = judging(found, [], 158, gate=0.55)[-1].plain
    assert "80.0% [50.0, 95.0]" in wide and "█" in wide and cell_len(wide) <= 158
    assert "gate" not in judging(found, [], 78)[-1].plain


def test_many_finished_pieces_of_a_phase_fold_to_one_line() -> None:
    rows = [progress("generate", f"step-{place}", 12, 12) for place in range(5)]
    rows.append(progress("generate", "step-5", 3, 12))
    folded = [line.plain for line in phases(rows, 100)[2:]]
    assert folded[0].split()[:3] == ["✓", "5", "finished"] and "60/60 responses" in folded[0]
    assert folded[1].split()[:2] == ["▶", "step-5"] and len(folded) == 2


def test_the_latest_answers_are_wrapped_inert_and_cut_with_what_is_missing_said() -> None:
    text = "one two three " * 20 + HOSTILE
    shown = [line.plain for line in answers([LatestAnswer("m\x1b[2J", "e\n1", "q\x07", text, 4_000)], 40)]
    assert shown[1].startswith("m␛[2J  e⏎1  q␇") and all(cell_len(line) <= 40 for line in shown)
    assert len(shown) == 2 + ANSWER_LINES and shown[-1].strip() == "… 4,000 characters in all"
    assert not set("\x1b\x07\x9b\u202e") & set("".join(shown))
    assert answers([], 40) == []


async def test_the_latest_answers_show_while_it_generates_and_under_a_key(own_store: Path) -> None:
    answer_on_gpu(own_store)
    async with opened(own_store, "live", run=3, size=(120, 36)) as ui:
        assert "Latest answers" in ui.text and "a replacement is on its way" in ui.text
        await ui.press("a")
        assert "Latest answers" not in ui.text
        await ui.press("a")
        assert "Latest answers" in ui.text
    async with opened(own_store, "live", run=2, size=(160, 48)) as ui:
        assert "Latest answers" in ui.text, "there is room"
    async with opened(own_store, "live", run=2, size=(120, 36)) as ui:
        assert "Latest answers" not in ui.text
        await ui.press("a")
        assert "Latest answers" in ui.text


def test_only_answers_written_lately_are_looked_at(own_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.read.live.NEWEST", 5)
    with closing(attach(connect(own_store))) as connection:
        assert [row.model for row in latest_answers(connection, 3)] == ["good"]
        assert latest_answers(connection, 2) == []


async def test_a_finished_run_ends_in_what_came_of_its_candidates(store_folder: Path, sweep: Path) -> None:
    async with opened(store_folder, "live", run=2) as ui:
        below = ui.text.partition("Decision  H: why")[2].splitlines()[1:4]
        assert [line.split()[:2] for line in below] == [["good", "?"], ["overfit", "−"], ["no-effect", "−"]]
    async with opened(sweep, "live", run=1) as ui:
        below = ui.text.partition("Decision  H: why")[2].splitlines()
        assert re.search(r"\d+ (ship|inconclusive|don't)", below[1])


async def test_other_runs_that_wait_show_their_place_in_the_queue(own_store: Path) -> None:
    recorder = Recorder(own_store, 2)
    recorder.set_run(status="queued", priority=0, joined=1.0)
    recorder.close()
    async with opened(own_store, "live", run=3, size=(120, 36)) as ui:
        assert "queued, place 1" in next(line for line in ui.lines if "tickets-v2 #2" in line)


async def test_a_run_that_stands_still_says_who_or_what_stopped_it(own_store: Path) -> None:
    def store(**columns: object) -> None:
        recorder = Recorder(own_store, 3)
        recorder.set_run(**columns)
        recorder.close()

    with closing(attach(connect(own_store))) as connection:
        store(worker_pid=os.getpid(), heartbeat=time.time())
        people.request(connection, 3, "pause")
    name = people.user_name()
    async with opened(own_store, "live", run=3, size=(120, 36)) as ui:
        assert f"current piece of work. Asked for by {name}." in ui.text
        store(status="paused", request=None)
        await ui.shows(f"‖ This run was paused by {name} on 20", "r resumes it")
        store(error="gpu7:8000 has been unreachable since 12:00: no route\n  start it, then resume")
        await ui.shows("‖ This run was paused. r resumes", "gpu7:8000 has been unreachable", "start it, then")
        store(status="cancelled", error=None)
        await ui.shows(f"– This run was cancelled by {name}", "What is finished is kept.")
        store(status="queued", created=NOW - 1)
        await ui.shows("○ The worker of this run is starting.")
        store(created=NOW - 100)
        await ui.shows("No worker has taken this run yet. r starts one.")
        store(priority=0, joined=1.0)
        await ui.shows("○ This run waits in the queue at place 1. `assay queue work` starts it.")


def test_how_far_a_run_is_in_brief() -> None:
    rows = [progress("generate", "good", 60, 100), progress("judge", "gpt", 0, 48, started=None, seconds=0.0)]
    known = whole_time_left(rows, {"judge": 8.0})
    assert known.spent == 4.0 and known.seconds == pytest.approx(4 * 40 / 60 + 6)
    assert in_brief(known) == "31% 10s"
    assert in_brief(whole_time_left(rows, {})) == "<60% >5s"
    resumed = [progress("generate", "good", 60, 100, resumed_from=40)]
    assert whole_time_left(resumed, {}).spent == 12.0, "what an earlier worker did, at this one's pace"
    unknown = [progress("generate", "good", 40, 100, resumed_from=40, seconds=0.0)]
    assert in_brief(whole_time_left(unknown, {})) == ""
    assert in_brief(WholeTime(5_990.0, (), 4.0)) == "0% 1h40m"
    assert in_brief(WholeTime(300_000.0, ("judge",), 9e5)) == "<75% >83h"
    assert in_brief(WholeTime(0.0, (), 4.0)) == "99%"
