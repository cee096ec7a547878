import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.tui.driver import Quiet, settle
from tests.tui.history import build
from tests.tui.leaky import leak

Settled = Callable[[Pilot[int]], Awaitable[None]]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is done when the app has nothing more to do, not after a length of time."""
    quiet = Quiet()
    monkeypatch.setattr(
        "asyncio.BaseEventLoop.run_in_executor", lambda loop, *work: quiet.run_in_executor(loop, *work)
    )
    for module in ("app", "pilot"):
        monkeypatch.setattr(f"textual.{module}.wait_for_idle", quiet.wait)


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


@pytest.fixture
def settled() -> Settled:
    """For `run_before` of a picture: waits until the screen has come to rest."""
    return settle
