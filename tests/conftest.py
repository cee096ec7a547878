"""One thread for each process, compiled code kept, stores in memory if there is room, longest files first.

Garbage is looked for rarely, and only among what tests made.
"""

import atexit
import fcntl
import gc
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import pytest
from hypothesis import HealthCheck, settings

# Before torch is imported, here and in the processes that tests start. Several threads for each of the
# processes that share two cores only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Where Python is told to keep no compiled code, each process that a test starts compiles all of Assay, and
# each test process all tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Where many processes share the cores, how long a draw or a test takes says nothing of it.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

gc.set_threshold(5_000, 20, 20)  # of the garbage of tests there is little, and the processes are short
atexit.register(gc.freeze)  # at its end, a process would look once more through all of its modules
_frozen = 0  # modules that the collector need not look through any more

LONGEST = ("e2e", "docs", "cluster", "benchmarks", "cli")  # folders
MEMORY = "/dev/shm"
FOLDERS, OWNER = "assay-tests-", "owner"  # each holds a file that its session keeps locked


def pytest_configure(config: pytest.Config) -> None:
    _work_in_memory(config)
    # xdist would begin with the files of most tests; those that take longest have few, and one core would
    # wait at the end for the other.
    config.option.loadscopereorder = False


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """In the process that tells others what to run, and to people what ran."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption("numprocesses", None) and reporter and reporter.verbosity <= 0:
        session.config.pluginmanager.register(_Files(reporter))


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


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What importing all test modules makes stays: nothing is looked for in it, then or later."""
    global _frozen
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        _frozen = len(sys.modules)


def pytest_runtest_teardown() -> None:
    """Each full collection would look through all that modules hold, for half a second with torch."""
    if len(sys.modules) > _frozen + 200:
        _freeze()


def pytest_unconfigure() -> None:
    """Pytest collects five times at the end, to hear of errors in finalizers; one of them sees everything."""
    _freeze()


def _freeze() -> None:
    global _frozen
    gc.collect()
    gc.freeze()
    _frozen = len(sys.modules)


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


class _Files:
    """Of tests in several processes it says which file ended, how, and how long it took: dots say nothing."""

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter
        self._running: dict[str, tuple[str, float, list[str]]] = {}  # by process: file, start, outcomes

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        return ("passed", "", "") if report.when == "call" and report.passed else None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        process = report.node.gateway.id
        file = report.nodeid.partition("::")[0]
        if self._running.get(process, ("",))[0] != file:
            self._end(process)
            self._running[process] = (file, time.monotonic() - report.duration, [])
        if report.when == "call" or report.outcome != "passed":
            self._running[process][2].append(report.outcome)

    def pytest_sessionfinish(self) -> None:
        for process in list(self._running):
            self._end(process)

    def _end(self, process: str) -> None:
        file, since, outcomes = self._running.pop(process, ("", 0.0, []))
        if file:
            counts = (f"{outcomes.count(one)} {one}" for one in dict.fromkeys(outcomes))
            self._reporter.write_line(f"{time.monotonic() - since:6.1f} s  {file}: {', '.join(counts)}")
