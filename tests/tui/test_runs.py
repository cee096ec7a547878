import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from store import records
from store.write import Recorder
from tests.tui.conftest import Settled
from tests.tui.driver import opened
from tests.tui.history import NOW
from tui.app.app import AssayApp
from tui.screens.runs import PAGE, RunsScreen
from tui.screens.start import CheckScreen


def screen_of(app: AssayApp) -> RunsScreen:
    assert isinstance(app.screen, RunsScreen)
    return app.screen


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
def test_runs_look(snap_compare: Any, store_folder: Path, settled: Settled, size: tuple[int, int]) -> None:
    app = AssayApp(store_folder, now=lambda: NOW)
    assert snap_compare(app, terminal_size=size, run_before=settled)


def test_the_first_screen_of_a_new_folder(snap_compare: Any, tmp_path: Path, settled: Settled) -> None:
    assert snap_compare(AssayApp(tmp_path), terminal_size=(80, 24), run_before=settled)


async def test_a_row_has_outcome_win_rate_alerts_and_age(store_folder: Path) -> None:
    async with opened(store_folder, run=None, size=(120, 30)) as ui:
        row = next(line for line in ui.lines if "tickets-v2" in line)
        for part in (
            "#2",
            "− gate failed",
            "−2 ?1 good",
            "%",
            "3 crit 2 warn",
            "1d",
        ):
            assert part in row
        assert "+ passed" in ui.text and "▶ 85% 10s" in ui.text


async def test_a_run_that_waits_in_the_queue_shows_its_place(own_store: Path) -> None:
    for run, joined in ((2, 2.0), (3, 1.0)):
        recorder = Recorder(own_store, run)
        recorder.set_run(status="queued", priority=0, joined=joined)
        recorder.close()
    async with opened(own_store, run=None) as ui:
        rows = {run: next(line for line in ui.lines if f"#{run}" in line) for run in (2, 3)}
        assert "○ queued (2)" in rows[2] and "○ queued (1)" in rows[3]


async def test_on_a_wide_terminal_the_run_at_the_cursor_stands_beside_the_list(store_folder: Path) -> None:
    async with opened(store_folder, run=None, size=(160, 40)) as ui:
        await ui.press("j")
        await ui.shows(
            "tickets-v2 #2  ✓ finished", "took      3m 20s", "overfit    − don't ship", "Open alerts"
        )
        assert "!! critical" in ui.text and "tokens_per_second" in ui.text


async def test_how_far_a_run_is_changes_in_its_row_alone(own_store: Path) -> None:
    async with opened(own_store, run=None) as ui:
        assert "▶ 85% 10s" in ui.text
        with closing(Recorder(own_store, 3)) as recorder:
            (row,) = [row for row in recorder.rows(records.Progress, run_id=3) if row.phase == "judge"]
            recorder.put(replace(row, done=40, seconds=16.0))
        before = ui.lines
        await ui.shows("▶ 95% 5s")
        changed = [old for old, new in zip(before, ui.lines, strict=True) if old != new]
        assert len(changed) == 1 and "tickets-v3" in changed[0]


async def test_the_trend_shows_the_measures_of_the_run_and_t_the_next_ones(store_folder: Path) -> None:
    async with opened(store_folder, run=None) as ui:
        assert "rougeL" in ui.text and "tokens_per_second" not in ui.text
        await ui.press("t")
        assert "tokens_per_second" in ui.text


async def test_the_filter_narrows_while_typing_and_esc_takes_it_back(store_folder: Path) -> None:
    async with opened(store_folder, run=None) as ui:
        await ui.press("slash", *"overfit")
        assert [row.id for row in screen_of(ui.app).rows.items] == [2]
        await ui.press("enter")
        assert 'with "overfit"' in ui.text
        await ui.press("escape")
        assert len(screen_of(ui.app).rows.items) == 3


async def test_keys_typed_into_an_input_do_nothing_else(store_folder: Path) -> None:
    async with opened(store_folder, run=None) as ui:
        await ui.press("slash", *"qLRx?:")
        assert ui.app.is_running and screen_of(ui.app).rows.items == []
        await ui.press("escape")
        assert len(screen_of(ui.app).rows.items) == 3


async def test_cancel_asks_first_and_only_y_is_yes(own_store: Path) -> None:
    with sqlite3.connect(own_store / "assay.db") as connection:
        connection.execute("UPDATE run SET status = 'paused' WHERE id = 3")
    connection.close()
    async with opened(own_store, run=None) as ui:
        await ui.tap("x")
        assert "Cancel run 3" in ui.text
        await ui.press("n")
        assert "paused" in ui.text
        await ui.press("x", "y")
        assert "cancelled" in ui.text


async def test_pause_is_asked_of_the_worker_and_refused_where_there_is_none(own_store: Path) -> None:
    async with opened(own_store, run=None) as ui:
        await ui.press("p")
        assert "pauses after" in ui.text
        await ui.press("j", "p")
        assert "there is nothing to pause" in ui.text
    with sqlite3.connect(own_store / "assay.db") as connection:
        assert connection.execute("SELECT request FROM run WHERE id = 3").fetchone() == ("pause",)
    connection.close()


async def test_a_run_that_cannot_start_says_why(own_store: Path, tmp_path: Path) -> None:
    async with opened(own_store, run=None, size=(200, 30)) as ui:
        await ui.tap("s", "p")
        await ui.press(*str(tmp_path / "none.toml"), "enter")
        assert isinstance(ui.screen, CheckScreen)
        assert "cannot run yet" in ui.text and "none.toml: no such file" in ui.text
        assert "Traceback" not in ui.text


async def test_older_runs_are_loaded_when_the_cursor_comes_near(many_runs: Path) -> None:
    async with opened(many_runs, run=None) as ui:
        rows = screen_of(ui.app).rows
        assert len(rows.items) == PAGE
        await ui.press("G")
        assert len(rows.items) == 2 * PAGE
        assert rows.item is not None and rows.item.id == 2 * PAGE + 3 - (PAGE - 1)
        await ui.press("G")
        await ui.tap("G")
        assert rows.item is not None and rows.item.id == 1


async def test_words_with_a_colon_filter_by_what_a_run_is(own_store: Path) -> None:
    async with opened(own_store, run=None, size=(120, 30)) as ui:
        await ui.press("j", "a", *"release", "enter")
        assert "[release]" in ui.text
        await ui.press("slash", *"tag:release status:finished", "enter")
        assert [row.id for row in screen_of(ui.app).rows.items] == [2]
        await ui.press("a", *["backspace"] * 7, "enter")
        assert screen_of(ui.app).rows.items == []


async def test_a_deleted_run_is_gone_and_u_brings_it_back(own_store: Path) -> None:
    async with opened(own_store, run=None, size=(120, 30)) as ui:
        await ui.press("d")
        assert "run 3 is running: it cannot be deleted" in ui.text
        await ui.press("j", "d")
        assert [row.id for row in screen_of(ui.app).rows.items] == [3, 1]
        assert "u undoes it" in ui.text
        await ui.press("u")
        assert [row.id for row in screen_of(ui.app).rows.items] == [3, 2, 1]


async def test_a_note_is_kept_under_the_persons_name(own_store: Path) -> None:
    async with opened(own_store, run=None, size=(120, 30)) as ui:
        await ui.press("n", *"lr halved", "enter")
        assert "noted" in ui.text
    with sqlite3.connect(own_store / "assay.db") as connection:
        assert connection.execute("SELECT run_id, kind, value FROM runmark").fetchall() == [
            (3, "note", "lr halved")
        ]
    connection.close()
