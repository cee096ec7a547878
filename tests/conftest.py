"""One thread for each test process, stores in memory where there is room, and the longest files first."""

import os
import shutil
from contextlib import suppress

import pytest

# Before torch is imported, here and in the processes that tests start. Several threads for each of the
# processes that share two cores only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

MEMORY = "/dev/shm"
with suppress(OSError):
    # The disk would make every commit of a store wait, thousands of times.
    if shutil.disk_usage(MEMORY).free > 4 << 30 and os.access(MEMORY, os.W_OK):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", MEMORY)

LONGEST = ("e2e", "docs", "cluster", "benchmarks", "cli")  # folders


def pytest_configure(config: pytest.Config) -> None:
    # xdist would begin with the files of most tests; those that take longest have few, and one core would
    # wait at the end for the other.
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.parent.name not in LONGEST)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that stays away is given up after a part of a second, in place of half an hour."""
    monkeypatch.setattr("engine.servers.control.PATIENCE", 200.0)  # 0.4 s where the backoff is 0.001 s
