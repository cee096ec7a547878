import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from store.session import opened
from tests.tui.history import build
from tests.tui.leaky import leak
from tui.sections.gather import RunSections, gather_report

Gathered = Callable[[Path, int], RunSections]


@pytest.fixture(scope="session")
def history_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a passed, a failed and an unfinished run; not to be written to."""
    return build(tmp_path_factory.mktemp("history") / "store")


@pytest.fixture
def own_store(history_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(history_store, tmp_path / "store"))


@pytest.fixture
def leaky_store(own_store: Path) -> Path:
    """Run 2 has leaks, coverage and an eval set with older versions."""
    leak(own_store)
    return own_store


@pytest.fixture
def gathered() -> Gathered:
    def read(store: Path, run_id: int) -> RunSections:
        with opened(store) as connection:
            return gather_report(connection, run_id)

    return read
