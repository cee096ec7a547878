import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.tui.conftest import Settled
from tests.tui.driver import driven, opened
from tests.tui.history import HOSTILE, NOW
from tui.app.app import AssayApp, run
from tui.keys import EVERYWHERE, REGISTRY
from tui.screens import NAMES
from tui.screens.alerts import AlertsScreen
from tui.screens.base import MessageScreen
from tui.screens.compare.screen import CompareScreen
from tui.screens.decision import DecisionScreen
from tui.screens.help import HelpScreen
from tui.screens.live.screen import LiveScreen
from tui.screens.runs import RunsScreen
from tui.widgets.menu import TALLEST, Menu


async def test_screens_are_one_key_away_and_esc_leads_back_to_runs(store_folder: Path) -> None:
    async with opened(store_folder, run=None) as ui:
        await ui.press("j", "L")
        assert isinstance(ui.screen, LiveScreen) and ui.screen.run_id == 2
        await ui.press("A")
        assert isinstance(ui.screen, AlertsScreen) and ui.screen.run_id == 2
        assert len(ui.app.screen_stack) == 2
        await ui.tap("escape", "escape", "escape")
        assert isinstance(ui.screen, RunsScreen)
        assert ui.app.is_running
        await ui.tap("q")
    assert ui.app.return_value == 0


async def test_a_key_typed_right_after_a_move_is_about_the_run_moved_to(
    store_folder: Path, settled: Settled
) -> None:
    async with opened(store_folder, run=None) as ui:
        assert isinstance(ui.screen, RunsScreen)
        ui.screen.rows.action_down()
        ui.app.action_go("alerts")
        await ui.settled()
        assert isinstance(ui.screen, AlertsScreen) and ui.screen.run_id == 2


async def test_it_opens_on_the_run_and_screen_asked_for(store_folder: Path) -> None:
    async with opened(store_folder, "alerts", run=1) as ui:
        assert isinstance(ui.screen, AlertsScreen) and ui.screen.run_id == 1
        await ui.press("R")
        assert isinstance(ui.screen, RunsScreen)
        assert ui.screen.rows.item is not None and ui.screen.rows.item.id == 1


def test_an_unknown_screen_is_refused(store_folder: Path) -> None:
    with pytest.raises(ValueError, match="no such screen"):
        run(store_folder, screen="nonsense")


async def test_help_lists_what_can_be_done_on_the_screen_it_was_called_from(store_folder: Path) -> None:
    async with opened(store_folder, "alerts", size=(160, 30)) as ui:
        await ui.press("question_mark")
        shown = ui.text
        for name in (*EVERYWHERE, "alerts.acknowledge", "alerts.all", "move.open"):
            assert REGISTRY[name].help in shown
        assert REGISTRY["runs.start"].help not in shown
        await ui.tap("escape")
        assert isinstance(ui.screen, AlertsScreen)


async def test_help_names_no_key_that_means_something_else_there(store_folder: Path) -> None:
    async with opened(store_folder, "review", size=(80, 60)) as ui:
        await ui.press("question_mark")
        assert any(line.split() == ["b", *REGISTRY["review.both_bad"].help.split()] for line in ui.lines)
        assert any(line.split() == ["}", *REGISTRY["compare.baseline"].help.split()] for line in ui.lines)


async def test_help_finds_an_action_by_its_words_and_does_it(store_folder: Path) -> None:
    async with opened(store_folder, "alerts") as ui:
        await ui.press("question_mark", *"ackn")
        assert ui.lines[3].split()[:3] == ["›", "a", "Acknowledge"]
        await ui.press("enter")
        assert isinstance(ui.screen, AlertsScreen) and "enter save" in ui.text


@pytest.mark.parametrize(
    ("screen", "word", "name"),
    [
        ("splits", "undo", "splits.undo"),
        ("compare", "search", "find.filter"),
        ("live", "stop", "runs.cancel"),
        ("alerts", "verdict", "go.decision"),
        ("failures", "export", "failures.export"),
        ("compare", "^l", "app.redraw"),
    ],
)
async def test_help_finds_synonyms_and_keys(store_folder: Path, screen: str, word: str, name: str) -> None:
    async with opened(store_folder, screen) as ui:
        await ui.press("colon", *word)
        assert REGISTRY[name].help in ui.text


async def test_help_finds_runs_models_and_measures_and_goes_to_them(store_folder: Path) -> None:
    async with opened(store_folder, "alerts") as ui:
        await ui.press("question_mark", "1")
        assert ui.lines[3].split()[:2] == ["›", "#1"]
        await ui.press("enter")
        assert isinstance(ui.screen, DecisionScreen) and ui.screen.run_id == 1
        await ui.press("R", "k", "A", "question_mark", *"overfit", "enter")
        assert ui.on(DecisionScreen).pair[0] == "overfit"
        await ui.press("question_mark", *"exact_match", "enter")
        assert ui.on(CompareScreen).run_id == 2
        assert {line.name for line in ui.on(CompareScreen).table.items} >= {"exact_match"}
        assert len(ui.on(CompareScreen).table.items) == 2  # its family and itself


async def test_the_cursor_of_the_help_passes_over_headings_and_between_columns(store_folder: Path) -> None:
    async with opened(store_folder, "alerts", size=(120, 24)) as ui:
        await ui.press("question_mark", "down", "up", "up")
        assert REGISTRY["go.runs"].help in ui.lines[-2]
        await ui.press("right")
        chosen = ui.lines[-2].strip()
        assert chosen and chosen != REGISTRY["go.runs"].help
        assert [line.index("›") > 50 for line in ui.lines if "›" in line] == [True]
        await ui.press("left", "up", "enter")
        assert isinstance(ui.screen, RunsScreen)


async def test_ctrl_o_lists_all_screens_and_goes_to_one(store_folder: Path) -> None:
    async with opened(store_folder, "alerts") as ui:
        await ui.press("ctrl+o")
        assert all(REGISTRY[f"go.{name}"].help.partition(": ")[2] in ui.text for name in NAMES)
        assert next(line for line in ui.lines if line.startswith("›")).split()[1] == "A"
        await ui.press("L")
        assert isinstance(ui.screen, LiveScreen) and len(ui.app.screen_stack) == 2
        await ui.press("ctrl+o", "escape")
        assert isinstance(ui.screen, LiveScreen)


def test_no_key_means_two_things_on_one_screen() -> None:
    everywhere = {key for name in EVERYWHERE for key in REGISTRY[name].keys.split(",")}
    for name, key in REGISTRY.items():
        if name not in EVERYWHERE:
            assert not everywhere & set(key.keys.split(",")), name


async def test_a_folder_without_a_store_shows_how_to_begin_and_makes_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path / "none", run=None) as ui:
        assert "assay init" in ui.text
        await ui.tap("L", "j", "enter", "p")
        assert isinstance(ui.screen, RunsScreen)
    assert not (tmp_path / "none").exists()


async def test_a_damaged_store_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "assay.db").write_bytes(b"this is no database" * 200)
    async with opened(tmp_path, run=None) as ui:
        assert isinstance(ui.screen, MessageScreen)
        assert "damaged" in ui.text
        await ui.tap("q")
    assert ui.app.return_value == 0


async def test_a_store_of_a_newer_assay_is_told_in_words(own_store: Path) -> None:
    with sqlite3.connect(own_store / "assay.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    async with opened(own_store, run=None) as ui:
        assert "newer Assay" in ui.text


async def test_a_look_at_the_store_that_ends_after_the_app_is_no_crash(store_folder: Path) -> None:
    app = AssayApp(store_folder, now=lambda: NOW)
    async with driven(app, (80, 24), settle=False) as ui:
        await ui.tap("q")
    assert ui.app.front is None
    ui.app.store_failed("too late to be told")


async def test_a_store_deleted_under_the_app_is_told_and_not_written_to(own_store: Path) -> None:
    async with opened(own_store, "review") as ui:
        shutil.rmtree(own_store)
        await ui.press("1")
        assert "2/12" not in ui.text
        await ui.until(lambda: isinstance(ui.screen, MessageScreen), "what the next look at the store finds")
        assert "2/12" not in ui.text


async def test_a_store_that_was_put_back_is_read_anew(own_store: Path, settled: Settled) -> None:
    async with opened(own_store, run=None) as ui:
        with sqlite3.connect(own_store / "assay.db") as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        shutil.copytree(own_store, own_store.with_name("copy"))
        shutil.rmtree(own_store)
        own_store.with_name("copy").rename(own_store)
        with sqlite3.connect(own_store / "assay.db") as connection:
            connection.execute("UPDATE run SET name = 'put-back'")
        connection.close()
        assert isinstance(ui.screen, RunsScreen)
        ui.screen.reload()
        await ui.settled()
        assert "put-back" in ui.text


async def test_what_another_process_writes_appears_by_itself(own_store: Path) -> None:
    async with opened(own_store, run=None) as ui:
        with sqlite3.connect(own_store / "assay.db") as connection:
            connection.execute("UPDATE run SET name = 'renamed' WHERE id = 1")
        connection.close()
        await ui.shows("renamed")


async def test_nothing_is_repainted_while_nothing_changes(own_store: Path, settled: Settled) -> None:
    with sqlite3.connect(own_store / "assay.db") as connection:
        connection.execute("UPDATE run SET status = 'paused' WHERE id = 3")
    connection.close()
    async with opened(own_store, run=None) as ui:
        looks, look = 0, ui.app.store.changed

        async def counted() -> bool:
            nonlocal looks
            found = await look()
            looks += 1
            return found

        ui.app.store.changed = counted  # type: ignore[method-assign]
        await ui.until(lambda: looks > 1 and not ui.app._stale, "the first look, which finds the store new")
        await ui.settled()
        frames = 0

        def count() -> None:
            nonlocal frames
            frames += 1

        ui.app.post_display_hook = count  # type: ignore[method-assign]
        before = looks
        await ui.until(lambda: looks > before + 3, "more looks")
        assert frames == 0


async def test_hostile_text_reaches_no_screen_raw(own_store: Path) -> None:
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
    async with driven(app, (80, 24), settle=False) as ui:
        for keys in ((), ("enter",), ("escape", "L"), ("e",), ("enter",), ("R",), ("question_mark",)):
            await ui.press(*keys)
            shown = ui.text
            assert not any(ord(char) < 32 and char != "\n" for char in shown)
            assert not any(char in shown for char in "\x9b\u202e\u202c\x00")
        assert isinstance(ui.screen, HelpScreen)


async def test_a_store_that_becomes_a_newer_assays_while_open_is_told_in_words(
    own_store: Path, settled: Settled
) -> None:
    async with opened(own_store, run=None) as ui:
        with sqlite3.connect(own_store / "assay.db") as connection:
            connection.execute("ALTER TABLE run RENAME TO runs_of_tomorrow")
        connection.close()
        ui.app.store.touched()
        assert isinstance(ui.screen, RunsScreen)
        ui.screen.reload()
        await ui.settled()
        assert isinstance(ui.screen, MessageScreen)
        assert "Traceback" not in ui.text
        await ui.tap("q")
    assert ui.app.return_value == 0


async def test_help_that_is_longer_than_the_screen_says_so(store_folder: Path) -> None:
    async with opened(store_folder, run=None) as ui:
        await ui.press("question_mark")
        place, count = ui.lines[-2].split()[-1].split("/")
        assert place == "1" and int(count) > 20
        await ui.press(*["ctrl+d"] * 6)
        assert ui.lines[-2].split()[-1] == f"{count}/{count}"


async def test_what_is_asked_at_the_bottom_stays_on_a_small_screen(store_folder: Path) -> None:
    async with opened(store_folder, "review", size=(30, 8)) as ui:
        await ui.press("F")
        menu = ui.screen.query_one(Menu)
        assert ui.lines[1].strip().startswith("queue") and len(menu.items) > menu.size.height
        await ui.press("end")
        assert menu.items[-1].text.split()[0] in ui.lines[-1]
        await ui.pilot.resize_terminal(80, 40)
        await ui.press("home")
        assert menu.size.height == min(TALLEST, len(menu.items))
        await ui.press("escape")
        await ui.pilot.resize_terminal(30, 8)
        ui.screen.confirm("Remove it?", lambda: None)  # type: ignore[attr-defined]
        await ui.press()
        assert ui.lines[-1].startswith(" Remove it?")
        await ui.press("n")
        assert "Remove it?" not in ui.text and "quit" in ui.lines[-1]
