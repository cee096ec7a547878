import sqlite3
from pathlib import Path
from typing import Any

from store.read import live
from tests.tui.conftest import Settled, text_of
from tests.tui.history import NOW
from tui.app.app import AssayApp
from tui.app.settings import AppSettings
from tui.screens.live.lines import others
from tui.screens.live.logs import FailedScreen
from tui.screens.live.screen import LiveScreen


def set_runs(store: Path, sql: str) -> None:
    with sqlite3.connect(store / "assay.db") as connection:
        connection.execute(sql)
    connection.close()


ALIVE = "status = 'running', worker_host = 'elsewhere', worker_pid = 1, heartbeat = 9e12"


async def test_other_runs_under_way_have_a_line_each_and_the_brackets_go_there(
    own_store: Path, settled: Settled
) -> None:
    set_runs(own_store, f"UPDATE run SET {ALIVE}, phase = 'judge' WHERE id IN (1, 3)")
    set_runs(own_store, "UPDATE run SET status = 'queued', name = 'late' || char(27) || '[2J' WHERE id = 2")
    app = AssayApp(own_store, run=3, screen="live", now=lambda: NOW)
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        assert "▶ tickets-v1 #1" in text_of(app) and "○ late␛[2J #2" in text_of(app)
        await pilot.press("right_square_bracket")
        await settled(pilot)
        assert isinstance(app.screen, LiveScreen) and app.screen.run_id == 1
        await pilot.press("left_square_bracket")
        await settled(pilot)
        assert isinstance(app.screen, LiveScreen) and app.screen.run_id == 3


def test_many_other_runs_are_counted() -> None:
    runs = [live.OtherRun(place, "sweep", "queued", None, ()) for place in range(9)]
    lines = others(runs, 78)
    assert len(lines) == 4 and lines[0].plain.endswith("6 more")


async def test_what_failed_can_be_read_with_what_came_back(own_store: Path, settled: Settled) -> None:
    set_runs(
        own_store,
        "UPDATE judgment SET failure = 'no JSON', raw = 'I like ' || char(27) || 'A' "
        "WHERE id = (SELECT max(id) FROM judgment)",
    )
    app = AssayApp(own_store, run=3, screen="live", now=lambda: NOW)
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        assert "! 1 answer missing" in text_of(app)
        await pilot.press("enter")
        await settled(pilot)
        assert isinstance(app.screen, FailedScreen)
        assert "the server answered 500 four times" in text_of(app)
        await pilot.press("slash", *"json", "enter")
        await settled(pilot)
        assert "answered 500" not in text_of(app)
        await pilot.press("enter")
        await settled(pilot)
        assert "I like ␛A" in text_of(app)
        await pilot.press("escape", "escape", "escape")
        assert isinstance(app.screen, LiveScreen)


def stored(store: Path, column: str) -> Any:
    with sqlite3.connect(store / "assay.db") as connection:
        (value,) = connection.execute(f"SELECT {column} FROM run WHERE id = 3").fetchone()
    connection.close()
    return value


async def test_a_run_is_stopped_after_its_phase_and_asks_for_fewer_answers_at_once(
    own_store: Path, settled: Settled
) -> None:
    app = AssayApp(own_store, run=3, screen="live", now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("P")
        await settled(pilot)
        assert "‖ The worker stops when this phase is done." in text_of(app)
        await pilot.press("c", "4", "enter")
        await settled(pilot)
        assert "At most 4 answers at once" in text_of(app)
        assert (stored(own_store, "request"), stored(own_store, "concurrency")) == ("finish_phase", 4)
        await pilot.press("c", "backspace", *"many", "enter")
        await settled(pilot)
        assert "not a number" in text_of(app) and stored(own_store, "concurrency") == 4
        await pilot.press("c", "backspace", "enter")
        await settled(pilot)
        assert stored(own_store, "concurrency") is None


async def test_read_only_leaves_a_run_as_it_is(own_store: Path, settled: Settled) -> None:
    app = AssayApp(own_store, run=3, screen="live", now=lambda: NOW, settings=AppSettings(read_only=True))
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        for keys in (("P",), ("p",), ("x",), ("t",), ("c", "4", "enter")):
            await pilot.press(*keys)
            await settled(pilot)
            assert "opened with --read-only" in text_of(app)
            app.screen._show_footer()  # type: ignore[attr-defined]  # the next one says it anew
        assert stored(own_store, "request") is None and stored(own_store, "concurrency") is None
