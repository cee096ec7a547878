"""What if: limits move with the arrows, the decision follows, and the plan is written after a look at it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from engine.plan.plan import Gates
from tests.engine.runs import queue, work_here
from tests.engine.test_what_if import plan
from tests.tui.conftest import Settled
from tests.tui.driver import Driver, opened
from tests.tui.history import NOW, build_sweep
from tui.app.app import AssayApp
from tui.app.settings import AppSettings
from tui.screens.decision import DecisionScreen
from tui.screens.what_if import COLUMNS, WhatIfScreen

GATES = "[gates]  # what must hold\nmax_metric_drop = 0.3 # of the range\nwarn_metric_drop = 0.2\n"


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two candidates, one as good as the base and one with broken forms; not to be written."""
    folder = tmp_path_factory.mktemp("gated")
    work_here(folder / "store", queue(folder / "store", plan(folder / "plan", GATES)))
    return folder


@pytest.fixture
def own(gated: Path, tmp_path: Path) -> Path:
    """Its store, and its plan where the store says that it is."""
    file = gated / "plan" / "plan.toml"
    shutil.copy(file, tmp_path / "kept.toml")
    shutil.copytree(gated / "store", tmp_path / "store")
    return tmp_path


def word(ui: Driver, candidate: str) -> str:
    """What stands beside the candidate's name below the gates."""
    line = next(line for line in ui.body if line.strip().startswith(candidate))
    return line.strip().removeprefix(candidate).strip()


async def go_to(ui: Driver, gate: str) -> None:
    screen = ui.on(WhatIfScreen)
    screen.gates.go_to([each["name"] for each in screen.gates.items].index(gate))
    await ui.settled()


async def test_arrows_move_a_limit_and_the_decision_follows_at_once(gated: Path) -> None:
    async with opened(gated / "store", "decision", run=1) as ui:
        await ui.press("i")
        assert word(ui, "better").startswith("? inconclusive")
        await go_to(ui, "min_format_compliance")
        await ui.press("right")
        assert "0.9" in ui.text and "− better: format_compliance" in ui.text
        assert word(ui, "better").startswith("− don't ship    was inconclusive: only")
        await ui.press(*["left"] * 9)
        assert "0.81" in ui.text and word(ui, "better").startswith("? inconclusive")
        await ui.press("u")
        assert ui.on(WhatIfScreen)._limits == {}
        await ui.press("escape")
        assert isinstance(ui.screen, DecisionScreen)


async def test_each_figure_says_its_side_of_the_limit_how_sure_and_what_would_settle_it(gated: Path) -> None:
    async with opened(gated / "store", "decision", run=1, size=(160, 48)) as ui:
        await ui.press("i")
        await go_to(ui, "min_win_rate")
        assert "smallest win rate: off" in ui.text
        await ui.press("o")
        assert "− worse: wins against base by reference 49.2% [41.7%, 57.5%]; needs about" in ui.text
        await ui.press("o")
        assert "smallest win rate: off" in ui.text
        await go_to(ui, "max_metric_drop")
        assert "+ worse: exact_match against base 0.783 → 0.767, [" in ui.text and "], p 1.000" in ui.text
        await ui.press("o")
        assert "max_metric_drop is always on" in ui.text


@pytest.mark.parametrize("width", [80, 120])
def test_no_gates_name_is_cut(width: int) -> None:
    for gate in Gates.model_fields:
        assert gate in COLUMNS.row(["0.05", gate, "off", "", ""], width - 2).plain


async def test_limits_go_no_further_than_they_can(gated: Path) -> None:
    async with opened(gated / "store", "decision", run=1) as ui:
        await ui.press("i")
        await go_to(ui, "max_leakage")
        await ui.press(*["left"] * 12)
        assert ui.on(WhatIfScreen)._limits == {"max_leakage": 0.0}
        await ui.press(*["right"] * 10)
        assert ui.on(WhatIfScreen)._limits == {}


async def test_the_plan_is_written_after_a_look_at_the_difference(gated: Path, own: Path) -> None:
    file = gated / "plan" / "plan.toml"
    before = file.read_text()
    try:
        async with opened(own / "store", "decision", run=1) as ui:
            await ui.press("i")
            await go_to(ui, "max_metric_drop")
            await ui.press("s")
            assert "no limit differs" in ui.text
            await ui.press("left", "s")
            assert "-max_metric_drop = 0.3 # of the range" in ui.text
            assert "+max_metric_drop = 0.29 # of the range" in ui.text
            await ui.press("n")
            assert file.read_text() == before and "+max_metric_drop" not in ui.text
            await ui.press("s", "y")
            assert f"wrote {file}"[:40] in ui.text
        assert file.read_text() == before.replace("0.3 # of", "0.29 # of")
    finally:
        file.write_text(before)


async def test_read_only_writes_no_plan(gated: Path) -> None:
    settings = AppSettings(read_only=True)
    async with opened(gated / "store", "decision", run=1, settings=settings) as ui:
        await ui.press("i", "down", "left", "s")
        assert "opened for reading alone" in ui.text


async def test_a_run_that_is_not_over_says_why_there_is_nothing_to_move(store_folder: Path) -> None:
    async with opened(store_folder, "decision", run=3) as ui:
        await ui.press("i")
        assert "its gates are checked when it has finished" in ui.text
        await ui.press("right", "o", "u", "s", "escape")
        assert isinstance(ui.screen, DecisionScreen)


SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 36), (160, 48)], ids=["80x24", "120x36", "160x48"])


@SIZES
def test_what_if_looks(
    size: tuple[int, int], snap_compare: Callable[..., bool], gated: Path, settled: Settled
) -> None:
    async def moved(pilot: Pilot[int]) -> None:
        await settled(pilot)
        await pilot.press("i")
        await settled(pilot)
        await pilot.press("right")
        await settled(pilot)

    app = AssayApp(gated / "store", run=1, screen="decision", now=lambda: NOW)
    assert snap_compare(app, terminal_size=size, run_before=moved)


@SIZES
def test_thirty_candidates_look(
    size: tuple[int, int], snap_compare: Callable[..., bool], tmp_path: Path, settled: Settled
) -> None:
    async def moved(pilot: Pilot[int]) -> None:
        await settled(pilot)
        await pilot.press("i")
        await settled(pilot)
        await pilot.press("down", "down", *["right"] * 3)
        await settled(pilot)

    app = AssayApp(build_sweep(tmp_path), run=1, screen="decision", now=lambda: NOW)
    assert snap_compare(app, terminal_size=size, run_before=moved)
