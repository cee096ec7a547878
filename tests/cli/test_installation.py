"""`assay --version`, `assay doctor --install` and `assay demo`: what a newcomer asks first."""

import json
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from engine.models import vitals
from engine.preflight import install
from engine.preflight.install import EXTRAS, disk, install_findings
from tests.cli.conftest import Assay
from tui.cli.main import command, guarded

ROOT = Path(__file__).parents[2]
TERMINAL = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}


def found(store: Path, environment: dict[str, str] | None = None) -> dict[str, tuple[str, str, str]]:
    return {
        one.subject: (one.level, one.message, one.hint)
        for one in install_findings(store, TERMINAL if environment is None else environment)
    }


def test_the_version_is_that_of_the_installed_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(lambda: command(["--version"])) == 0
    assert capsys.readouterr().out == f"assay {version('assay')}\n"


def test_every_part_is_listed_in_the_order_in_which_it_is_met(tmp_path: Path) -> None:
    order = ("assay", "python", "torch", "gpu", "packages", "samples", "terminal", "tmux", "store")
    told = found(tmp_path)
    assert tuple(name for name in told if name in order) == order
    assert {f"[{name}]" for name in EXTRAS} >= {name for name in told if name[0] == "["}


def test_the_report_is_for_people_and_for_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = guarded(lambda: command(["doctor", "--install", "--store", str(tmp_path)]))
    said = capsys.readouterr().out
    assert "samples: general, quickstart in " in said
    assert guarded(lambda: command(["doctor", "--install", "--json", "--store", str(tmp_path)])) == code
    values = json.loads(capsys.readouterr().out)
    assert values["healthy"] is (code == 0)
    assert {one["level"] for one in values["findings"]} <= {"ok", "warning", "error"}


def test_it_repairs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(lambda: command(["doctor", "--install", "--repair"])) == 2
    assert "--install examines" in capsys.readouterr().err


def test_each_extra_says_what_it_is_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert sorted(EXTRAS) == sorted(set(project["optional-dependencies"]) - set(install.DEVELOPMENT))
    page = (ROOT / "docs/install.md").read_text()
    assert [name for name in EXTRAS if f"`{name}`" not in page.partition("| extra |")[2]] == []


def test_an_extra_that_lacks_is_no_fault_and_has_its_line() -> None:
    wanted = [Requirement('nothing-of-that-name>=1; extra == "gguf"')]
    lacking = install._extra("gguf", wanted)
    assert (lacking.level, lacking.message) == (
        "ok",
        "not installed; reads GGUF files. Install: pip install 'assay[gguf]'",
    )


def test_a_package_that_is_missing_or_of_another_version_is_an_error() -> None:
    wanted = [Requirement("nothing-of-that-name>=1"), Requirement("textual<1"), Requirement("rich")]
    missing, old, good = install._packages(wanted)
    assert (missing.level, missing.message) == ("error", "is missing")
    assert missing.hint == "Install: pip install 'nothing-of-that-name>=1'"
    assert (old.level, old.message) == ("error", f"is {version('textual')}; assay needs <1")
    assert good.message.startswith("1 of 3 there")


def test_a_torch_that_cannot_be_loaded_is_told_and_the_rest_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    told = found(tmp_path)
    assert told["torch"][0] == "error" and "no local model runs" in told["torch"][1]
    assert "--torch-backend=auto" in told["torch"][2]
    assert told["terminal"][0] == "ok"


def test_a_gpu_that_torch_leaves_idle_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("torch uses the GPU of this machine")
    monkeypatch.setattr(vitals.Sensors, "gpus", ["NVIDIA H200"])
    monkeypatch.setattr(vitals.Sensors, "driver", "580.65")
    assert found(tmp_path)["gpu"][:2] == (
        "warning",
        "NVIDIA H200, driver 580.65; the installed torch does not use it",
    )


def test_a_terminal_without_a_cursor_is_a_warning(tmp_path: Path) -> None:
    assert found(tmp_path, {"TERM": "dumb"})["terminal"][0] == "warning"
    assert found(tmp_path, {})["terminal"][0] == "warning"


def test_a_store_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert disk(tmp_path / "file" / "store").level == "error"
    assert disk(tmp_path / "not" / "yet", needed=0).level in ("ok", "warning")


@pytest.mark.parametrize(("candidate", "fails"), [("wrong", True), ("right", False)])
def test_the_demo_is_a_success_where_gates_fail_as_they_should(
    candidate: str,
    fails: bool,
    plan: Callable[..., Path],
    assay: Assay,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan(candidate=candidate, gates="min_win_rate = 0.55").rename(tmp_path / "quickstart.toml")
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples/plans").symlink_to(tmp_path)
    monkeypatch.setattr("engine.plan.SAMPLES", tmp_path / "samples")
    done = assay("demo", "--store", tmp_path / "store")
    assert done.code == 0, done.err
    assert ("broken on purpose" in done.out) is fails


def test_a_demo_that_could_not_finish_is_none(assay: Assay, tmp_path: Path) -> None:
    (tmp_path / "store").touch()
    assert assay("demo", "--store", tmp_path / "store").code == 2
