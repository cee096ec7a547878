import getpass
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.conftest import Settled
from tests.tui.driver import opened
from tests.tui.history import NOW
from tui.app.app import AssayApp
from tui.screens.alerts import AlertsScreen
from tui.screens.compare.samples import SamplesScreen


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
def test_alerts_look(snap_compare: Any, store_folder: Path, settled: Settled, size: tuple[int, int]) -> None:
    app = AssayApp(store_folder, run=2, screen="alerts", now=lambda: NOW)
    assert snap_compare(app, terminal_size=size, run_before=settled)


def test_samples_look(snap_compare: Any, store_folder: Path, settled: Settled) -> None:
    async def open_samples(pilot: Pilot[int]) -> None:
        await settled(pilot)
        await pilot.press("enter")
        await settled(pilot)

    app = AssayApp(store_folder, run=2, screen="alerts", now=lambda: NOW)
    assert snap_compare(app, terminal_size=(80, 24), run_before=open_samples)


async def test_an_alert_stands_with_its_values_interval_and_n(store_folder: Path) -> None:
    async with opened(store_folder, "alerts", size=(120, 36)) as ui:
        shown = ui.text
        assert "overfit against base" in shown and "tickets-v2 #2" in shown
        assert "candidate 0.200 · baseline 0.820 · delta −0.620 [−0.720, −0.520]" in shown
        assert "n 10 · p 0.0002" in shown


async def test_the_severest_come_first(store_folder: Path) -> None:
    async with opened(store_folder, "alerts") as ui:
        assert isinstance(ui.screen, AlertsScreen)
        assert [alert.severity for alert in ui.screen.rows.items] == ["critical"] * 3 + ["warning"] * 2 + [
            "note"
        ]


async def test_acknowledging_keeps_name_and_note_and_moves_the_alert_down(own_store: Path) -> None:
    async with opened(own_store, "alerts") as ui:
        await ui.press("a", *"known [/b]", "enter")
        assert isinstance(ui.screen, AlertsScreen)
        seen = ui.screen.rows.items[-1]
        assert (seen.measure, seen.acknowledged_by, seen.note) == (
            "arithmetic · acc",
            getpass.getuser(),
            "known [/b]",
        )
        assert ui.screen.rows.item == seen  # the cursor went with it
        assert "✓ seen" in ui.text and "known [/b]" in ui.text


async def test_esc_leaves_an_alert_unacknowledged(own_store: Path) -> None:
    async with opened(own_store, "alerts") as ui:
        await ui.press("a", "x", "escape")
        assert isinstance(ui.screen, AlertsScreen)
    with sqlite3.connect(own_store / "assay.db") as connection:
        assert connection.execute("SELECT count(*) FROM alert WHERE acknowledged").fetchone() == (0,)
    connection.close()


async def test_enter_opens_the_questions_behind_a_benchmark_alert_losses_first(store_folder: Path) -> None:
    async with opened(store_folder, "alerts") as ui:
        await ui.press("enter")
        assert isinstance(ui.screen, SamplesScreen)
        assert ui.body[1].split()[1:3] == ["−", "worse"]
        await ui.tap("escape")
        assert isinstance(ui.screen, AlertsScreen)


async def test_w_shows_the_alerts_of_all_runs(store_folder: Path) -> None:
    async with opened(store_folder, "alerts", run=1) as ui:
        assert "no alerts in this run" in ui.text
        await ui.press("w")
        assert isinstance(ui.screen, AlertsScreen) and len(ui.screen.rows.items) == 6


@pytest.mark.parametrize(
    ("downs", "title", "shown"),
    [
        (1, "Review", "all examples"),  # an adapter without effect
        (3, "Review", "worst rougeL first"),  # a metric that fell
        (4, "Splits", "examples leaked"),  # a leak
        (5, "Review", "all examples"),  # a win rate without a loss
    ],
)
async def test_enter_opens_the_examples_behind_each_kind_of_alert(
    store_folder: Path, downs: int, title: str, shown: str
) -> None:
    async with opened(store_folder, "alerts") as ui:
        await ui.press(*"j" * downs, "enter")
        assert f"assay  {title}" in ui.text
        assert shown in ui.text
        await ui.tap("escape")
        assert isinstance(ui.screen, AlertsScreen)


async def test_a_filter_keeps_the_alerts_that_hold_its_words(store_folder: Path) -> None:
    async with opened(store_folder, "alerts", size=(120, 36)) as ui:
        screen = ui.screen
        assert isinstance(screen, AlertsScreen)
        everything = len(screen.rows.items)
        await ui.press("slash", *"overfit", "enter")
        assert 0 < len(screen.rows.items) < everything
        assert all("overfit" in f"{alert.candidate} {alert.message}" for alert in screen.rows.items)
        await ui.press("escape")
        assert len(screen.rows.items) == everything


async def test_a_kind_that_names_its_measure_is_said_once(store_folder: Path) -> None:
    async with opened(store_folder, "alerts", size=(120, 36)) as ui:
        await ui.press("G")
        assert "win rate: no-effect against base" in ui.text and "win_rate" not in ui.text
