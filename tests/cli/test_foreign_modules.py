"""Files of a user's that are named like modules of ours are never imported in their place."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.run import launch

FOREIGN = "from pathlib import Path\nPath({mark!r}).touch()\nraise SystemExit(9)\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with modules of the user's, each of which leaves a mark when it is imported."""
    folder = tmp_path / "work"
    for name in ("engine.py", "store/__init__.py", "queue.py", "pydantic.py", "torch.py"):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(FOREIGN.format(mark=str(tmp_path / "imported")))
    return folder


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("start", [("-m", "assay"), ("-P", "-m", "assay")], ids=["-m", "-P -m"])
def test_a_run_started_there_finishes(
    start: tuple[str, ...], folder: Path, plan: Callable[..., Path], tmp_path: Path
) -> None:
    done = run(folder, *start, "run", str(plan()), "--quiet", "--store", str(tmp_path / "store"))
    log = launch.log_file(tmp_path / "store", 1)
    assert done.returncode == 0, done.stderr + (log.read_text() if log.exists() else "")
    assert not (tmp_path / "imported").exists()


def test_a_module_from_elsewhere_is_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    done = run(folder, "-m", "assay", "runs", PYTHONPATH=str(folder))
    assert done.returncode == 3
    assert done.stderr.startswith("assay: the module `engine` comes from ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "imported").exists()


def test_the_worker_refuses_a_store_from_elsewhere(folder: Path, tmp_path: Path) -> None:
    (folder / "engine.py").unlink()
    done = run(folder, "-P", "-m", "engine.run", "--store", str(tmp_path), "1", PYTHONPATH=str(folder))
    assert done.returncode == 3
    assert done.stderr.startswith("assay: the module `store` comes from ")
    assert done.stderr.count("\n") == 1
