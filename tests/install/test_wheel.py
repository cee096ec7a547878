"""The wheel holds all that Assay needs, and works from an empty folder in an environment of its own."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = ("assay", "tui", "engine", "store")
MOST_BYTES = 12 << 20


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built here, without an index: the tools that build it are in the environment."""
    folder = tmp_path_factory.mktemp("dist")
    words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as parts:
        return set(parts.namelist())


def test_every_file_of_the_product_is_in_it(names: set[str]) -> None:
    files = {
        str(file.relative_to(ROOT))
        for floor in FLOORS
        for file in (ROOT / floor).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert len(files) > 300
    assert files - names == set()


def test_the_samples_are_in_it_without_the_programs_that_made_them(names: set[str]) -> None:
    folders = (place for place in (ROOT / "samples").iterdir() if place.is_dir() and place.name[0] != "_")
    files = {str(file.relative_to(ROOT)) for place in folders for file in place.rglob("*") if file.is_file()}
    assert len(files) > 20
    assert {name.removeprefix("engine/") for name in names if name.startswith("engine/samples/")} == files


def test_it_takes_no_other_name_and_little_space(wheel: Path, names: set[str]) -> None:
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(FLOORS)
    assert wheel.stat().st_size < MOST_BYTES


def test_its_metadata_names_the_licence_and_no_build_of_torch(wheel: Path, names: set[str]) -> None:
    info = next(name for name in names if name.endswith(".dist-info/METADATA"))
    with zipfile.ZipFile(wheel) as parts:
        data = message_from_string(parts.read(info).decode())
    assert data["License-Expression"] == "Apache-2.0" and data["License-File"] == "LICENSE"
    required = [words for words in data.get_all("Requires-Dist") or () if "extra ==" not in words]
    torch = [words for words in required if words.startswith("torch")]
    assert len(torch) == 1 and not any(mark in torch[0] for mark in ("+", "@", "==", ";"))
    assert not any("nvidia-cu" in words or "://" in words for words in required)


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands of an environment that has the wheel, and what it needs from this one."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, symlinks=True)
    python = place / "bin/python"
    words = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index"]
    done = subprocess.run([*words, "--quiet", str(wheel)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    own = next(place.glob("lib/python*/site-packages"))
    here = [sysconfig.get_path("purelib"), *(path for path in sys.path if path.endswith("site-packages"))]
    (own / "needed.pth").write_text("\n".join(dict.fromkeys(here)) + "\n")
    return place / "bin"


def run(commands: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "ASSAY_STORE")
    }
    return subprocess.run(
        [str(commands / words[0]), *words[1:]],
        cwd=folder,
        env=environment | {"TERM": "xterm-256color"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.dist
def test_it_starts_in_an_empty_folder_and_finds_all_it_needs(installed: Path, tmp_path: Path) -> None:
    said = run(installed, tmp_path, "assay", "--version")
    assert said.stdout.startswith("assay ") and said.returncode == 0, said.stderr
    told = json.loads(run(installed, tmp_path, "assay", "doctor", "--install", "--json").stdout)
    place = {one["subject"]: one["message"] for one in told["findings"]}
    assert told["healthy"], told
    assert str(installed.parent) in place["assay"] and "general, quickstart" in place["samples"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.dist
def test_start_shows_the_samples(installed: Path, tmp_path: Path) -> None:
    code = "from pathlib import Path; from tui.screens.start import found_plans as f; print(f(Path()))"
    said = run(installed, tmp_path, "python", "-c", code)
    assert "name='quickstart'" in said.stdout and "bundled=True" in said.stdout, said.stderr


@pytest.mark.dist
def test_the_demo_ends_in_a_decision_that_the_workbench_finds(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "assay", "demo")
    assert done.returncode == 0, done.stderr
    assert "broken on purpose" in done.stdout and "\r" not in done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == [".assay"]
    told = run(installed, tmp_path, "assay", "show", "last", "--decision")
    assert "1 ship · 2 don't; best: good" in told.stdout


@pytest.mark.dist
def test_a_package_that_writes_over_it_is_named_at_start(installed: Path, tmp_path: Path) -> None:
    place = next(installed.parent.glob("lib/python*/site-packages"))
    ours = place / "engine/errors.py"
    text = ours.read_text()
    info = place / "motor-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: motor\nVersion: 1.0\n")
    (info / "RECORD").write_text("engine/errors.py,sha256=x,4\n")
    ours.write_text("x=1\n")
    try:
        done = run(installed, tmp_path, "assay", "runs")
    finally:
        ours.write_text(text)
    assert done.returncode == 3 and done.stdout == ""
    assert "is a file of the package motor, which wrote over Assay's" in done.stderr
    assert done.stderr.count("\n") == 1
