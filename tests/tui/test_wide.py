"""Wide terminals: from 160 columns on a list and what belongs to its item stand side by side."""

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.engine.runs import recorded_plan
from tests.tui.conftest import Settled
from tests.tui.driver import driven, opened
from tests.tui.history import NOW
from tests.tui.test_failures import tagged_folder as tagged_folder
from tui.app.app import AssayApp
from tui.screens.failures import FailureLogScreen
from tui.screens.start import StartScreen
from tui.widgets.lines import Pane

WIDE = (160, 48)


@pytest.mark.parametrize(
    ("screen", "run", "keys"),
    [
        ("runs", None, ""),
        ("live", 3, ""),
        ("live", 3, "f"),
        ("live", 3, "e"),
        ("alerts", 2, ""),
        ("alerts", 2, "enter"),
    ],
)
def test_wide_look(
    snap_compare: Any, store_folder: Path, settled: Settled, screen: str, run: int | None, keys: str
) -> None:
    async def opens(pilot: Pilot[int]) -> None:
        await settled(pilot)
        await pilot.press(*([keys] if keys else []))
        await settled(pilot)

    app = AssayApp(store_folder, run=run, screen=screen, now=lambda: NOW)
    assert snap_compare(app, terminal_size=WIDE, run_before=opens)


def test_wide_failure_log_look(snap_compare: Any, tagged_folder: Path, settled: Settled) -> None:
    app = AssayApp(tagged_folder, run=3, screen="failures", now=lambda: NOW)
    assert snap_compare(app, terminal_size=WIDE, run_before=settled)


@pytest.mark.parametrize("screen", ["alerts", "failures", "agreement", "splits", "live"])
@pytest.mark.parametrize("width", [159, 160, 161, 240])
async def test_no_line_is_longer_than_its_pane(tagged_folder: Path, screen: str, width: int) -> None:
    async with opened(tagged_folder, screen, run=2, size=(width, 48)) as ui:
        for pane in ui.screen.query(Pane):
            if pane.display and pane.size.width:
                assert all(pane.line(y).cell_length <= pane.size.width for y in range(pane.size.height)), pane


async def test_a_terminal_that_changes_its_width_changes_sides(store_folder: Path) -> None:
    async with opened(store_folder, "alerts", size=(100, 30)) as ui:
        rows, evidence = ui.screen.query_one("#alerts"), ui.screen.query_one("#evidence")
        assert evidence.region.y > rows.region.bottom - 1
        await ui.pilot.resize_terminal(200, 30)
        await ui.settled()
        assert evidence.region.x >= rows.region.right and evidence.region.y == rows.region.y
        assert "question 2  1.000 → 0.000" in ui.text
        await ui.pilot.resize_terminal(100, 30)
        await ui.settled()
        assert evidence.region.y > rows.region.bottom - 1 and "question 2" not in ui.text


async def test_the_tagged_answer_under_the_cursor_can_be_read(tagged_folder: Path) -> None:
    async with opened(tagged_folder, "failures", run=3, size=WIDE) as ui:
        assert "We refund the second" in ui.text
        await ui.press("tab", "j")
        assert ui.on(FailureLogScreen).answers.item is not None
        await ui.shows("Does the kettle work on 110 V?")


async def test_the_plan_under_the_cursor_stands_beside_the_list_as_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = recorded_plan(
        tmp_path, [{"id": "a", "query": "q"}], {"before": {"a": "x"}, "after": {"a": "y"}}, ""
    )
    plan.write_text(f"# [bold]\u202eevil\n{plan.read_text()}")
    async with driven(AssayApp(tmp_path / ".assay"), WIDE) as ui:
        await ui.press("s")
        assert isinstance(ui.screen, StartScreen)
        assert "[[models]]" in ui.text and "[bold]‹U+202E›evil" in ui.text
        await ui.press("G")
        assert "[[models]]" not in ui.text
