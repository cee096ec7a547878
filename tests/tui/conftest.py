import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.tui.history import build
from tests.tui.leaky import leak
from tui.app.app import AssayApp

Settled = Callable[[Pilot[int]], Awaitable[None]]


def text_of(app: AssayApp) -> str:
    """What stands on the screen, line by line."""
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


@pytest.fixture(scope="session")
def store_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo store; not to be written to."""
    return build(tmp_path_factory.mktemp("history") / "store")


@pytest.fixture
def own_store(store_folder: Path, tmp_path: Path) -> Path:
    """A copy of the demo store for a test that writes."""
    return Path(shutil.copytree(store_folder, tmp_path / "store"))


@pytest.fixture(scope="session")
def leaky_folder(store_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo store with leaks, coverage and versions in run 2; not to be written to."""
    folder = Path(shutil.copytree(store_folder, tmp_path_factory.mktemp("leaky") / "store"))
    leak(folder)
    return folder


@pytest.fixture
def leaky(leaky_folder: Path, tmp_path: Path) -> Path:
    """A copy of it for a test that writes."""
    return Path(shutil.copytree(leaky_folder, tmp_path / "leaky"))


async def settle(pilot: Pilot[int]) -> None:
    """Waits until the screen in front has read the store, drawn what it read, and nothing more comes."""
    app = pilot.app
    assert isinstance(app, AssayApp)
    frames: list[str] = []
    while len(frames) < 4 or frames[-1] != frames[-2]:
        await pilot.pause()
        await app.workers.wait_for_complete()
        frames.append(text_of(app))
        assert len(frames) < 100, "the screen never comes to rest"


@pytest.fixture
def settled() -> Settled:
    return settle
