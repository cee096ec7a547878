"""The commands on public safety suites."""

from pathlib import Path

from engine.data.suites import SUITES
from tests.cli.conftest import Assay
from tests.data.test_suites import downloaded


def test_the_commands_add_and_list(assay: Assay, tmp_path: Path) -> None:
    shown = assay("suite", "add", "xstest", downloaded(tmp_path, "xstest"), "--store", tmp_path / "store")
    assert shown.code == 0 and "2 questions of xstest: 1 harmful, 1 harmless, licence CC-BY-4.0" in shown.out
    listed = assay("suite", "list", "--store", tmp_path / "store", "--json").json
    assert {row["name"]: row["questions"] for row in listed}["xstest"] == 2 and len(listed) == len(SUITES)
    assert assay("suite", "add", "xstest", tmp_path / "none.csv", "--store", tmp_path).code == 2
