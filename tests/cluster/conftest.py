"""A Ray cluster on this machine, and the numbers of a sweep that was run without it."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.cluster import connect
from tests.cluster.runs import create, finish, numbers_of
from tests.engine.checkpoints import make_checkpoints, write_sweep

CHECKPOINTS = 8
RAY = '[compute]\nengine = "ray"\nworkers = 2\n'


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster that the runs of this process join."""
    handler = signal.getsignal(signal.SIGTERM)
    connect("local")
    assert signal.getsignal(signal.SIGTERM) is handler, "a worker is paused by SIGTERM"
    yield
    import ray

    ray.shutdown()


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plan's checkpoints under `outputs`."""
    folder = tmp_path_factory.mktemp("sweep")
    make_checkpoints(folder / "outputs", CHECKPOINTS)
    return folder


@pytest.fixture(scope="module")
def local_numbers(checkpoints: Path) -> dict[str, Any]:
    recorder = create(write_sweep(checkpoints), checkpoints / "local")
    finish(recorder)
    numbers = numbers_of(recorder)
    recorder.close()
    return numbers
