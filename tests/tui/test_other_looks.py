"""How the screens look that open from others (help, failed calls, samples, events), and a large sweep."""

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.conftest import Settled
from tests.tui.driver import opened
from tests.tui.history import NOW
from tui.app.app import AssayApp

SIZES = [(80, 24), (120, 36)]


def after(settled: Settled, keys: list[str]) -> Any:
    """Presses the keys, each on a screen at rest."""

    async def press(pilot: Pilot[int]) -> None:
        await settled(pilot)
        for key in keys:
            await pilot.press(key)
            await settled(pilot)

    return press


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("screen", "keys"),
    [
        ("live", ["e"]),
        ("live", ["f"]),
        ("alerts", ["enter"]),
        ("review", ["question_mark"]),
    ],
    ids=["events", "failures", "samples", "help"],
)
def test_what_opens_from_a_run(
    own_store: Path, settled: Settled, snap_compare: Any, screen: str, keys: list[str], size: tuple[int, int]
) -> None:
    app = AssayApp(own_store, run=2, screen=screen, now=lambda: NOW)
    assert snap_compare(app, terminal_size=size, run_before=after(settled, keys))


@pytest.mark.parametrize("screen", ["runs", "decision", "compare", "live"])
def test_thirty_checkpoints_of_one_name(
    sweep: Path, settled: Settled, snap_compare: Any, screen: str
) -> None:
    app = AssayApp(sweep, run=1, screen=screen, now=lambda: NOW)
    assert snap_compare(app, terminal_size=(120, 36), run_before=settled)


@pytest.mark.parametrize(
    ("screen", "keys", "steps"),
    [
        ("runs", [], [2900]),
        ("decision", [], [100, 1200, 2200]),
        ("compare", ["c", "c"], [300]),
        ("live", [], [100, 200]),
        ("alerts", [], [2100, 2200, 2300]),
    ],
)
async def test_the_narrowest_line_tells_checkpoints_apart(
    sweep: Path, screen: str, keys: list[str], steps: list[int]
) -> None:
    async with opened(sweep, screen, run=1) as ui:
        await ui.press(*keys)
        below = "\n".join(ui.lines[1:])
        assert all(f"{step:04}" in below for step in steps), ui.text
