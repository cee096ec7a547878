import asyncio
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.conftest import Settled, text_of
from tests.tui.history import HOSTILE, NOW
from tui.app.app import AssayApp, run
from tui.keys import EVERYWHERE, REGISTRY
from tui.screens.alerts import AlertsScreen
from tui.screens.base import MessageScreen
from tui.screens.help import HelpScreen
from tui.screens.live.screen import LiveScreen
from tui.screens.runs import RunsScreen


async def test_screens_are_one_key_away_and_esc_leads_back_to_runs(
    store_folder: Path, settled: Settled
) -> None:
    app = AssayApp(store_folder, now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("j", "L")
        await settled(pilot)
        assert isinstance(app.screen, LiveScreen) and app.screen.run_id == 2
        await pilot.press("A")
        await settled(pilot)
        assert isinstance(app.screen, AlertsScreen) and app.screen.run_id == 2
        assert len(app.screen_stack) == 2
        await pilot.press("escape", "escape", "escape")
        assert isinstance(app.screen, RunsScreen)
        assert app.is_running
        await pilot.press("q")
    assert app.return_value == 0


async def test_a_key_typed_right_after_a_move_is_about_the_run_moved_to(
    store_folder: Path, settled: Settled
) -> None:
    app = AssayApp(store_folder, now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert isinstance(app.screen, RunsScreen)
        app.screen.rows.action_down()
        app.action_go("alerts")
        await settled(pilot)
        assert isinstance(app.screen, AlertsScreen) and app.screen.run_id == 2


async def test_it_opens_on_the_run_and_screen_asked_for(store_folder: Path, settled: Settled) -> None:
    app = AssayApp(store_folder, run=1, screen="alerts", now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert isinstance(app.screen, AlertsScreen) and app.screen.run_id == 1
        await pilot.press("R")
        await settled(pilot)
        assert isinstance(app.screen, RunsScreen)
        assert app.screen.rows.item is not None and app.screen.rows.item.id == 1


def test_an_unknown_screen_is_refused(store_folder: Path) -> None:
    with pytest.raises(ValueError, match="no such screen"):
        run(store_folder, screen="nonsense")


async def test_help_lists_the_keys_alive_on_the_screen_it_was_called_from(
    store_folder: Path, settled: Settled
) -> None:
    app = AssayApp(store_folder, run=2, screen="alerts", now=lambda: NOW)
    async with app.run_test(size=(80, 36)) as pilot:
        await settled(pilot)
        await pilot.press("question_mark")
        await settled(pilot)
        shown = text_of(app)
        for name in (*EVERYWHERE, "alerts.acknowledge", "alerts.all", "move.open"):
            assert REGISTRY[name].help in shown
        assert REGISTRY["runs.start"].help not in shown
        await pilot.press("escape")
        assert isinstance(app.screen, AlertsScreen)


async def test_help_names_no_key_that_means_something_else_there(
    store_folder: Path, settled: Settled
) -> None:
    app = AssayApp(store_folder, run=2, screen="review", now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("question_mark")
        await settled(pilot)
        lines = text_of(app).splitlines()
        assert any(line.split() == ["b", *REGISTRY["review.both_bad"].help.split()] for line in lines)
        await pilot.press("ctrl+d")
        await settled(pilot)
        lines += text_of(app).splitlines()
        assert any(line.split() == ["}", *REGISTRY["compare.baseline"].help.split()] for line in lines)


def test_no_key_means_two_things_on_one_screen() -> None:
    everywhere = {key for name in EVERYWHERE for key in REGISTRY[name].keys.split(",")}
    for name, key in REGISTRY.items():
        if name not in EVERYWHERE:
            assert not everywhere & set(key.keys.split(",")), name


async def test_a_folder_without_a_store_shows_how_to_begin_and_makes_nothing(
    tmp_path: Path, settled: Settled
) -> None:
    app = AssayApp(tmp_path / "none", now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert "assay init" in text_of(app)
        await pilot.press("L", "j", "enter", "p")
        assert isinstance(app.screen, RunsScreen)
    assert not (tmp_path / "none").exists()


async def test_a_damaged_store_is_told_in_words(tmp_path: Path, settled: Settled) -> None:
    (tmp_path / "assay.db").write_bytes(b"this is no database" * 200)
    app = AssayApp(tmp_path, now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert isinstance(app.screen, MessageScreen)
        assert "damaged" in text_of(app)
        await pilot.press("q")
    assert app.return_value == 0


async def test_a_store_of_a_newer_assay_is_told_in_words(own_store: Path, settled: Settled) -> None:
    with sqlite3.connect(own_store / "assay.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    app = AssayApp(own_store, now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert "newer Assay" in text_of(app)


async def test_a_look_at_the_store_that_ends_after_the_app_is_no_crash(store_folder: Path) -> None:
    app = AssayApp(store_folder, now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("q")
    assert app.front is None
    app.store_failed("too late to be told")


async def test_a_store_deleted_under_the_app_is_told_and_not_written_to(
    own_store: Path, settled: Settled
) -> None:
    app = AssayApp(own_store, run=2, screen="review", now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        shutil.rmtree(own_store)
        await pilot.press("1")
        await settled(pilot)
        assert isinstance(app.screen, MessageScreen) or "is gone" in text_of(app)
        assert "2/12" not in text_of(app)


async def test_a_store_that_was_put_back_is_read_anew(own_store: Path, settled: Settled) -> None:
    app = AssayApp(own_store, now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        with sqlite3.connect(own_store / "assay.db") as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        shutil.copytree(own_store, own_store.with_name("copy"))
        shutil.rmtree(own_store)
        own_store.with_name("copy").rename(own_store)
        with sqlite3.connect(own_store / "assay.db") as connection:
            connection.execute("UPDATE run SET name = 'put-back'")
        connection.close()
        assert isinstance(app.screen, RunsScreen)
        app.screen.reload()
        await settled(pilot)
        assert "put-back" in text_of(app)


async def test_what_another_process_writes_appears_by_itself(own_store: Path, settled: Settled) -> None:
    app = AssayApp(own_store, now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        with sqlite3.connect(own_store / "assay.db") as connection:
            connection.execute("UPDATE run SET name = 'renamed' WHERE id = 1")
        connection.close()
        await _until(pilot, lambda: "renamed" in text_of(app))


async def test_nothing_is_repainted_while_nothing_changes(own_store: Path, settled: Settled) -> None:
    with sqlite3.connect(own_store / "assay.db") as connection:
        connection.execute("UPDATE run SET status = 'paused' WHERE id = 3")
    connection.close()
    app = AssayApp(own_store, now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await asyncio.sleep(1.2)  # two looks at the store: the first one finds it new
        await settled(pilot)
        frames = 0

        def count() -> None:
            nonlocal frames
            frames += 1

        app.post_display_hook = count  # type: ignore[method-assign]
        await asyncio.sleep(1.6)
        assert frames == 0


async def test_hostile_text_reaches_no_screen_raw(own_store: Path, settled: Settled) -> None:
    with sqlite3.connect(own_store / "assay.db") as connection:
        for table, column in (
            ("run", "name"),
            ("alert", "message"),
            ("alert", "measure"),
            ("event", "message"),
        ):
            connection.execute(f"UPDATE {table} SET {column} = ?", (HOSTILE,))
        connection.execute("UPDATE benchmarksample SET question = ?, answer = ?", (HOSTILE, "x" * 100_000))
        connection.execute("UPDATE model SET name = name || ?", (HOSTILE,))
    connection.close()
    app = AssayApp(own_store, run=2, screen="alerts", now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        for keys in ((), ("enter",), ("escape", "L"), ("e",), ("enter",), ("R",), ("question_mark",)):
            await pilot.press(*keys)
            await settled(pilot)
            shown = text_of(app)
            assert not any(ord(char) < 32 and char != "\n" for char in shown)
            assert not any(char in shown for char in "\x9b\u202e\u202c\x00")
        assert isinstance(app.screen, HelpScreen)


async def _until(pilot: Pilot[Any], condition: Callable[[], bool], seconds: float = 8.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        await pilot.pause(0.05)


async def test_a_store_that_becomes_a_newer_assays_while_open_is_told_in_words(
    own_store: Path, settled: Settled
) -> None:
    app = AssayApp(own_store, now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        with sqlite3.connect(own_store / "assay.db") as connection:
            connection.execute("ALTER TABLE run RENAME TO runs_of_tomorrow")
        connection.close()
        app.store.touched()
        assert isinstance(app.screen, RunsScreen)
        app.screen.reload()
        await settled(pilot)
        assert isinstance(app.screen, MessageScreen)
        assert "Traceback" not in text_of(app)
        await pilot.press("q")
    assert app.return_value == 0


async def test_every_action_of_a_screen_is_found_by_its_words(store_folder: Path, settled: Settled) -> None:
    app = AssayApp(store_folder, run=2, screen="alerts", now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        offered = {command.title: command.help for command in app.get_system_commands(app.screen)}
        for name in (*EVERYWHERE, "alerts.acknowledge", "alerts.all", "move.open"):
            assert REGISTRY[name].help in offered, name
        await pilot.press("colon", *"acknowledge", "enter")
        await settled(pilot)
        assert "enter: done" in text_of(app)


async def test_help_that_is_longer_than_the_screen_says_so(store_folder: Path, settled: Settled) -> None:
    app = AssayApp(store_folder, now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("question_mark")
        await settled(pilot)
        assert "more: j" in text_of(app) and REGISTRY["app.quit"].help not in text_of(app)
        await pilot.press("G")
        await settled(pilot)
        assert "more: j" not in text_of(app) and REGISTRY["app.quit"].help in text_of(app)
