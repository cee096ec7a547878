"""Files of a user's that are named like modules of ours are never imported in their place."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from assay.__main__ import FLOORS, written_over
from engine.run import launch

ROOT = Path(__file__).parents[2]
# As the console script does where another folder stands before ours on the path.
START = f"import sys; sys.path.append({str(ROOT)!r}); from assay.__main__ import main; main()"
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


def installed(folder: Path, package: str, *files: str) -> Path:
    """A folder of packages, in which that one has installed those files."""
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("theirs = True\n")
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "RECORD").write_text("".join(f"{name},sha256=x,14\n" for name in files))
    return folder


@pytest.mark.parametrize("name", FLOORS)
def test_a_package_that_stands_before_ours_is_named(name: str, tmp_path: Path) -> None:
    other = installed(tmp_path / "packages\x1b[31m", "motor", f"{name}/__init__.py", f"{name}/pistons.py")
    done = run(tmp_path, "-P", "-c", START, PYTHONPATH=str(other))
    assert done.returncode == 3
    assert done.stderr.startswith(f"assay: the module `{name}` comes from ")
    assert ", which the package motor installed, not from " in done.stderr
    assert "; uninstall motor here or take its folder out of PYTHONPATH" in done.stderr
    assert done.stderr.count("\n") == 1 and "\x1b" not in done.stderr


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A folder of packages with Assay in it, as a wheel is installed."""
    folder = tmp_path / "site-packages"
    ours = {
        "engine/__init__.py": "",
        "engine/errors.py": "ours = True, and longer\n",
        "samples/plan.toml": "x",
    }
    for name, text in ours.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "assay-0.1.0.dist-info").mkdir()
    (folder / "assay-0.1.0.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: assay\nVersion: 0.1.0\n"
    )
    record = [f"{name},sha256=x,{len(text)}\n" for name, text in ours.items()]
    (folder / "assay-0.1.0.dist-info/RECORD").write_text(
        "".join([*record, "assay-0.1.0.dist-info/RECORD,,\n"])
    )
    return folder


def test_files_as_they_were_installed_are_ours(wheel: Path) -> None:
    installed(wheel, "motor", "motor/__init__.py")
    assert written_over(wheel) is None


def test_a_folder_of_sources_has_no_list_to_hold_them_against(tmp_path: Path) -> None:
    assert written_over(tmp_path) is None


def test_a_package_that_wrote_over_our_files_is_named(wheel: Path) -> None:
    installed(wheel, "motor", "engine/__init__.py", "engine/errors.py")
    assert written_over(wheel) == (
        f"{wheel / 'engine/__init__.py'} is a file of the package motor, which wrote over Assay's; "
        "uninstall motor, then install assay again with --force-reinstall --no-deps"
    )


def test_a_file_that_a_person_changed_is_theirs(wheel: Path) -> None:
    (wheel / "engine/errors.py").write_text("mine = True\n")
    assert written_over(wheel) is None


def test_a_file_that_went_with_another_package_is_missed(wheel: Path) -> None:
    (wheel / "engine/errors.py").unlink()
    assert written_over(wheel) == (
        f"{wheel / 'engine/errors.py'} is missing; install assay again with --force-reinstall --no-deps"
    )


def test_the_worker_refuses_a_store_from_elsewhere(folder: Path, tmp_path: Path) -> None:
    (folder / "engine.py").unlink()
    done = run(folder, "-P", "-m", "engine.run", "--store", str(tmp_path), "1", PYTHONPATH=str(folder))
    assert done.returncode == 3
    assert done.stderr.startswith("assay: the module `store` comes from ")
    assert done.stderr.count("\n") == 1
