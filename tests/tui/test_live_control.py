import sqlite3
from pathlib import Path
from typing import Any

from store.read import live
from tests.tui.driver import opened
from tui.app.settings import AppSettings
from tui.screens.live.lines import others
from tui.screens.live.screen import FailedScreen, LiveScreen


def set_runs(store: Path, sql: str) -> None:
    with sqlite3.connect(store / "assay.db") as connection:
        connection.execute(sql)
    connection.close()


ALIVE = "status = 'running', worker_host = 'elsewhere', worker_pid = 1, heartbeat = 9e12"


async def test_other_runs_under_way_have_a_line_each_and_the_brackets_go_there(own_store: Path) -> None:
    set_runs(own_store, f"UPDATE run SET {ALIVE}, phase = 'judge' WHERE id IN (1, 3)")
    set_runs(own_store, "UPDATE run SET status = 'queued', name = 'late' || char(27) || '[2J' WHERE id = 2")
    async with opened(own_store, "live", run=3, size=(120, 36)) as ui:
        assert "▶ tickets-v1 #1" in ui.text and "○ late␛[2J #2" in ui.text
        await ui.press("right_square_bracket")
        assert isinstance(ui.screen, LiveScreen) and ui.screen.run_id == 1
        await ui.press("left_square_bracket")
        assert isinstance(ui.screen, LiveScreen) and ui.screen.run_id == 3


def test_many_other_runs_are_counted() -> None:
    runs = [live.OtherRun(place, "sweep", "queued", None, ()) for place in range(9)]
    lines = others(runs, 78)
    assert len(lines) == 4 and lines[0].plain.endswith("6 more")


async def test_what_failed_can_be_read_with_what_came_back(own_store: Path) -> None:
    set_runs(
        own_store,
        "UPDATE judgment SET failure = 'no JSON', raw = 'I like ' || char(27) || 'A' "
        "WHERE id = (SELECT max(id) FROM judgment)",
    )
    async with opened(own_store, "live", run=3, size=(120, 36)) as ui:
        assert "! 1 answer missing" in ui.text
        await ui.press("enter")
        assert isinstance(ui.screen, FailedScreen)
        assert "the server answered 500 four times" in ui.text
        await ui.press("slash", *"json", "enter")
        assert "answered 500" not in ui.text
        await ui.press("enter")
        assert "I like ␛A" in ui.text
        await ui.tap("escape", "escape", "escape")
        assert isinstance(ui.screen, LiveScreen)


def stored(store: Path, column: str) -> Any:
    with sqlite3.connect(store / "assay.db") as connection:
        (value,) = connection.execute(f"SELECT {column} FROM run WHERE id = 3").fetchone()
    connection.close()
    return value


async def test_a_run_is_stopped_after_its_phase_and_asks_for_fewer_answers_at_once(own_store: Path) -> None:
    async with opened(own_store, "live", run=3) as ui:
        await ui.press("P")
        assert "‖ The worker stops when this phase is done." in ui.text
        await ui.press("c", "4", "enter")
        assert "At most 4 parallel requests" in ui.text
        assert (stored(own_store, "request"), stored(own_store, "concurrency")) == ("finish_phase", 4)
        await ui.press("c", "backspace", *"many", "enter")
        assert "enter 1 to 9999" in ui.text and stored(own_store, "concurrency") == 4
        await ui.press("c", "backspace", "enter")
        assert stored(own_store, "concurrency") is None


async def test_read_only_leaves_a_run_as_it_is(own_store: Path) -> None:
    async with opened(own_store, "live", run=3, settings=AppSettings(read_only=True)) as ui:
        for keys in (("P",), ("p",), ("x",), ("t",), ("c", "4", "enter")):
            await ui.press(*keys)
            assert "opened with --read-only" in ui.text
            ui.screen._show_footer()  # type: ignore[attr-defined]  # the next one says it anew
        assert stored(own_store, "request") is None and stored(own_store, "concurrency") is None
