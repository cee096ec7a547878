"""Every screen opens over a store that an earlier version made, with what that version stored."""

import shutil
from pathlib import Path

import pytest

from tests.store.test_old_stores import restored
from tests.tui.driver import opened
from tui.screens import NAMES, RUN_SCREENS, load
from tui.screens.monitor import MonitorScreen
from tui.screens.runs import RunsScreen


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return restored(tmp_path_factory.mktemp("old") / "store")


@pytest.mark.parametrize("name", NAMES)
async def test_a_screen_opens_over_an_old_store(old: Path, tmp_path: Path, name: str) -> None:
    own = Path(shutil.copytree(old, tmp_path / "store"))
    kind = load(name) if name in RUN_SCREENS else {"runs": RunsScreen, "monitor": MonitorScreen}[name]
    async with opened(own, name, run=1) as ui:
        assert isinstance(ui.screen, kind), ui.text
        assert ui.text.strip()
