import getpass
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.conftest import Settled, text_of
from tests.tui.history import NOW
from tui.app.app import AssayApp
from tui.screens.alerts import AlertsScreen
from tui.screens.samples import SamplesScreen


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


async def test_an_alert_stands_with_its_values_interval_and_n(store_folder: Path, settled: Settled) -> None:
    app = AssayApp(store_folder, run=2, screen="alerts", now=lambda: NOW)
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        shown = text_of(app)
        assert "overfit against base" in shown and "tickets-v2 #2" in shown
        assert "candidate 0.200 · baseline 0.820 · delta −0.620 [−0.720, −0.520]" in shown
        assert "n 10 · p 0.0002" in shown


async def test_the_severest_come_first(store_folder: Path, settled: Settled) -> None:
    app = AssayApp(store_folder, run=2, screen="alerts", now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert isinstance(app.screen, AlertsScreen)
        assert [alert.severity for alert in app.screen.rows.items] == ["critical"] * 3 + ["warning"] * 2 + [
            "note"
        ]


async def test_acknowledging_keeps_name_and_note_and_moves_the_alert_down(
    own_store: Path, settled: Settled
) -> None:
    app = AssayApp(own_store, run=2, screen="alerts", now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("a", *"known [/b]", "enter")
        await settled(pilot)
        assert isinstance(app.screen, AlertsScreen)
        seen = app.screen.rows.items[-1]
        assert (seen.measure, seen.acknowledged_by, seen.note) == (
            "arithmetic · acc",
            getpass.getuser(),
            "known [/b]",
        )
        assert app.screen.rows.item == seen  # the cursor went with it
        assert "✓ seen" in text_of(app) and "known [/b]" in text_of(app)


async def test_esc_leaves_an_alert_unacknowledged(own_store: Path, settled: Settled) -> None:
    app = AssayApp(own_store, run=2, screen="alerts", now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("a", "x", "escape")
        await settled(pilot)
        assert isinstance(app.screen, AlertsScreen)
    with sqlite3.connect(own_store / "assay.db") as connection:
        assert connection.execute("SELECT count(*) FROM alert WHERE acknowledged").fetchone() == (0,)
    connection.close()


async def test_enter_opens_the_questions_behind_a_benchmark_alert_losses_first(
    store_folder: Path, settled: Settled
) -> None:
    app = AssayApp(store_folder, run=2, screen="alerts", now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("enter")
        await settled(pilot)
        assert isinstance(app.screen, SamplesScreen)
        assert text_of(app).split("\n")[2].split()[1:3] == ["−", "worse"]
        await pilot.press("escape")
        assert isinstance(app.screen, AlertsScreen)


async def test_w_shows_the_alerts_of_all_runs(store_folder: Path, settled: Settled) -> None:
    app = AssayApp(store_folder, run=1, screen="alerts", now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert "no alerts in this run" in text_of(app)
        await pilot.press("w")
        await settled(pilot)
        assert isinstance(app.screen, AlertsScreen) and len(app.screen.rows.items) == 6


@pytest.mark.parametrize(
    ("downs", "opened", "shown"),
    [
        (1, "Review", "all examples"),  # an adapter without effect
        (3, "Review", "worst rougeL first"),  # a metric that fell
        (4, "Splits", "examples leaked"),  # a leak
        (5, "Review", "all examples"),  # a win rate without a loss
    ],
)
async def test_enter_opens_the_examples_behind_each_kind_of_alert(
    store_folder: Path, settled: Settled, downs: int, opened: str, shown: str
) -> None:
    app = AssayApp(store_folder, run=2, screen="alerts", now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press(*"j" * downs, "enter")
        await settled(pilot)
        assert f"assay  {opened}" in text_of(app)
        assert shown in text_of(app)
        await pilot.press("escape")
        assert isinstance(app.screen, AlertsScreen)


async def test_a_filter_keeps_the_alerts_that_hold_its_words(store_folder: Path, settled: Settled) -> None:
    app = AssayApp(store_folder, run=2, screen="alerts", now=lambda: NOW)
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        screen = app.screen
        assert isinstance(screen, AlertsScreen)
        everything = len(screen.rows.items)
        await pilot.press("slash", *"overfit", "enter")
        await settled(pilot)
        assert 0 < len(screen.rows.items) < everything
        assert all("overfit" in f"{alert.candidate} {alert.message}" for alert in screen.rows.items)
        await pilot.press("escape")
        await settled(pilot)
        assert len(screen.rows.items) == everything
