import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.tui.conftest import Settled, text_of
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


async def test_a_row_has_outcome_win_rate_alerts_and_age(store_folder: Path, settled: Settled) -> None:
    app = AssayApp(store_folder, now=lambda: NOW)
    async with app.run_test(size=(120, 30)) as pilot:
        await settled(pilot)
        row = next(line for line in text_of(app).split("\n") if "tickets-v2" in line)
        for part in ("#2", "− gate failed", "good, overfit, no-effect", "%", "3 crit 2 warn", "1d"):
            assert part in row
        assert "+ passed" in text_of(app) and "▶ running" in text_of(app)


async def test_the_trend_shows_the_measures_of_the_run_and_t_the_next_ones(
    store_folder: Path, settled: Settled
) -> None:
    app = AssayApp(store_folder, now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert "rougeL" in text_of(app) and "tokens_per_second" not in text_of(app)
        await pilot.press("t")
        await settled(pilot)
        assert "tokens_per_second" in text_of(app)


async def test_the_filter_narrows_while_typing_and_esc_takes_it_back(
    store_folder: Path, settled: Settled
) -> None:
    app = AssayApp(store_folder, now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("slash", *"overfit")
        await settled(pilot)
        assert [row.id for row in screen_of(app).rows.items] == [2]
        await pilot.press("enter")
        await settled(pilot)
        assert 'with "overfit"' in text_of(app)
        await pilot.press("escape")
        await settled(pilot)
        assert len(screen_of(app).rows.items) == 3


async def test_keys_typed_into_an_input_do_nothing_else(store_folder: Path, settled: Settled) -> None:
    app = AssayApp(store_folder, now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("slash", *"qLRx?:")
        await settled(pilot)
        assert app.is_running and screen_of(app).rows.items == []
        await pilot.press("escape")
        await settled(pilot)
        assert len(screen_of(app).rows.items) == 3


async def test_cancel_asks_first_and_only_y_is_yes(own_store: Path, settled: Settled) -> None:
    with sqlite3.connect(own_store / "assay.db") as connection:
        connection.execute("UPDATE run SET status = 'paused' WHERE id = 3")
    connection.close()
    app = AssayApp(own_store, now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("x")
        assert "Cancel run 3" in text_of(app)
        await pilot.press("n")
        await settled(pilot)
        assert "paused" in text_of(app)
        await pilot.press("x", "y")
        await settled(pilot)
        assert "cancelled" in text_of(app)


async def test_pause_is_asked_of_the_worker_and_refused_where_there_is_none(
    own_store: Path, settled: Settled
) -> None:
    app = AssayApp(own_store, now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("p")
        await settled(pilot)
        assert "pauses after" in text_of(app)
        await pilot.press("j", "p")
        await settled(pilot)
        assert "there is nothing to pause" in text_of(app)
    with sqlite3.connect(own_store / "assay.db") as connection:
        assert connection.execute("SELECT request FROM run WHERE id = 3").fetchone() == ("pause",)
    connection.close()


async def test_a_run_that_cannot_start_says_why(own_store: Path, settled: Settled, tmp_path: Path) -> None:
    app = AssayApp(own_store, now=lambda: NOW)
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await pilot.press("s", "p")
        await pilot.press(*str(tmp_path / "none.toml"), "enter")
        await settled(pilot)
        assert isinstance(app.screen, CheckScreen)
        assert "cannot run yet" in text_of(app) and "none.toml: no such file" in text_of(app)
        assert "Traceback" not in text_of(app)


async def test_older_runs_are_loaded_when_the_cursor_comes_near(own_store: Path, settled: Settled) -> None:
    with sqlite3.connect(own_store / "assay.db") as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(run)") if row[1] != "id"]
        names = ", ".join(columns)
        for _ in range(2 * PAGE):
            connection.execute(f"INSERT INTO run ({names}) SELECT {names} FROM run WHERE id = 1")
    connection.close()
    app = AssayApp(own_store, now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        rows = screen_of(app).rows
        assert len(rows.items) == PAGE
        await pilot.press("G")
        await settled(pilot)
        assert len(rows.items) == 2 * PAGE
        assert rows.item is not None and rows.item.id == 2 * PAGE + 3 - (PAGE - 1)
        await pilot.press("G")
        await settled(pilot)
        await pilot.press("G")
        assert rows.item is not None and rows.item.id == 1


async def test_words_with_a_colon_filter_by_what_a_run_is(own_store: Path, settled: Settled) -> None:
    app = AssayApp(own_store, now=lambda: NOW)
    async with app.run_test(size=(120, 30)) as pilot:
        await settled(pilot)
        await pilot.press("j", "a", *"release", "enter")
        await settled(pilot)
        assert "[release]" in text_of(app)
        await pilot.press("slash", *"tag:release status:finished", "enter")
        await settled(pilot)
        assert [row.id for row in screen_of(app).rows.items] == [2]
        await pilot.press("a", *["backspace"] * 7, "enter")
        await settled(pilot)
        assert screen_of(app).rows.items == []


async def test_a_deleted_run_is_gone_and_u_brings_it_back(own_store: Path, settled: Settled) -> None:
    app = AssayApp(own_store, now=lambda: NOW)
    async with app.run_test(size=(120, 30)) as pilot:
        await settled(pilot)
        await pilot.press("d")
        await settled(pilot)
        assert "run 3 is running: it cannot be deleted" in text_of(app)
        await pilot.press("j", "d")
        await settled(pilot)
        assert [row.id for row in screen_of(app).rows.items] == [3, 1]
        assert "u brings it back" in text_of(app)
        await pilot.press("u")
        await settled(pilot)
        assert [row.id for row in screen_of(app).rows.items] == [3, 2, 1]


async def test_a_note_is_kept_under_the_persons_name(own_store: Path, settled: Settled) -> None:
    app = AssayApp(own_store, now=lambda: NOW)
    async with app.run_test(size=(120, 30)) as pilot:
        await settled(pilot)
        await pilot.press("n", *"lr halved", "enter")
        await settled(pilot)
        assert "noted" in text_of(app)
    with sqlite3.connect(own_store / "assay.db") as connection:
        assert connection.execute("SELECT run_id, kind, value FROM runmark").fetchall() == [
            (3, "note", "lr halved")
        ]
    connection.close()
