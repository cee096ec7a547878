"""Every screen of a run, at three sizes, with a few candidates and with thirty."""

from pathlib import Path
from typing import Any

import pytest

from tests.tui.driver import opened
from tests.tui.history import build_sweep
from tui.keys import REGISTRY
from tui.screens import NAMES

SIZES = [(80, 24), (120, 36), (160, 48)]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_sweep(tmp_path_factory.mktemp("sweep") / "store")


async def frames(store: Path, run: int, size: tuple[int, int]) -> str:
    """What stands on each screen, one below the other."""
    shown = []
    async with opened(store, "decision", run=run, size=size) as ui:
        for name in NAMES:
            await ui.press(REGISTRY[f"go.{name}"].keys)
            assert len(ui.lines) == size[1]
            shown += [f"== {name}", *(line.rstrip() for line in ui.lines)]
    return "\n".join(shown)


@pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x36", "160x48"])
async def test_screens_of_a_run(store_folder: Path, snapshot: Any, size: tuple[int, int]) -> None:
    assert await frames(store_folder, 2, size) == snapshot


@pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x36", "160x48"])
async def test_screens_of_a_sweep(sweep: Path, snapshot: Any, size: tuple[int, int]) -> None:
    assert await frames(sweep, 1, size) == snapshot


@pytest.mark.parametrize("size", [(60, 15), (30, 8)], ids=["60x15", "30x8"])
async def test_the_smallest_terminals_have_a_title_and_the_way_out(
    store_folder: Path, size: tuple[int, int]
) -> None:
    shown = await frames(store_folder, 2, size)
    assert shown.count("assay") >= len(NAMES) and shown.count("quit") >= len(NAMES) - 1
