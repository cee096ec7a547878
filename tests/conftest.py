"""One thread for each process, compiled code kept, stores in memory if there is room, longest files first."""

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import pytest

# Before torch is imported, here and in the processes that tests start. Several threads for each of the
# processes that share two cores only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Where Python is told to keep no compiled code, each process that a test starts compiles all of Assay, and
# each test process all tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

LONGEST = ("e2e", "docs", "cluster", "benchmarks", "cli")  # folders
MEMORY = "/dev/shm"
FOLDERS, OWNER = "assay-tests-", "owner"  # each holds a file that its session keeps locked


def pytest_configure(config: pytest.Config) -> None:
    _work_in_memory(config)
    # xdist would begin with the files of most tests; those that take longest have few, and one core would
    # wait at the end for the other.
    config.option.loadscopereorder = False


def _work_in_memory(config: pytest.Config) -> None:
    """On the disk every commit of a store waits. The files go at the end; --basetemp DIR keeps them."""
    place = "PYTEST_DEBUG_TEMPROOT"  # of this session alone, and of the processes that xdist starts for it
    if place in os.environ or config.option.basetemp:
        return
    with suppress(OSError):
        remove_abandoned(Path(MEMORY))
        if shutil.disk_usage(MEMORY).free > 4 << 30:
            root = tempfile.mkdtemp(prefix=FOLDERS, dir=MEMORY)
            lock = own(Path(root))
            os.environ[place] = root
            config.add_cleanup(lambda: (shutil.rmtree(root, ignore_errors=True), lock.close()))


def own(folder: Path) -> IO[bytes]:
    """Marks a folder as in use for as long as the file that it returns is open."""
    lock = (folder / f"{OWNER}-new").open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX)
    (folder / f"{OWNER}-new").rename(folder / OWNER)  # nobody sees it unlocked
    return lock


def remove_abandoned(memory: Path) -> None:
    """Removes the folders of sessions that were killed: nobody holds their locks."""
    for lock in memory.glob(f"{FOLDERS}*/{OWNER}"):
        with suppress(OSError), lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.parent.name not in LONGEST)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that stays away is given up after a part of a second, in place of half an hour."""
    monkeypatch.setattr("engine.servers.control.PATIENCE", 200.0)  # 0.4 s where the backoff is 0.001 s


@pytest.fixture(autouse=True)
def _own_purse() -> Iterator[None]:
    """A process has one purse, since a worker executes one run; here each test has its own."""
    yield
    if costs := sys.modules.get("engine.servers.costs"):
        costs._current = None
