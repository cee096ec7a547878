import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.tui.driver import Quiet, settle
from tests.tui.history import build, build_sweep
from tests.tui.leaky import leak
from tui.screens.runs import PAGE

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


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of thirty checkpoints; not to be written to."""
    return build_sweep(tmp_path_factory.mktemp("sweep") / "store")


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


@pytest.fixture
def many_runs(own_store: Path) -> Path:
    """The demo store with more runs than two pages of Runs hold."""
    with sqlite3.connect(own_store / "assay.db") as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(run)") if row[1] != "id"]
        names = ", ".join(columns)
        for _ in range(2 * PAGE):
            connection.execute(f"INSERT INTO run ({names}) SELECT {names} FROM run WHERE id = 1")
    connection.close()
    return own_store
