"""The page on the architecture names what is there, and the code keeps the shape that it describes."""

import re
from pathlib import Path

import pytest

from bench.house import LIMITS, entries, survey

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text()


def test_every_path_on_the_page_is_there() -> None:
    named = re.findall(r"`((?:tui|engine|store|tests|bench)/[\w./]*)`", PAGE)
    assert len(named) > 40
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_statement_on_security_names_a_test_that_is_there() -> None:
    rows = [row for row in (ROOT / "docs/security.md").read_text().splitlines() if row.startswith("| ")]
    statements = [row for row in rows if not row.startswith("| statement")]
    assert len(statements) > 10
    for row in statements:
        tests = re.findall(r"`(tests/[\w./]+)`", row)
        assert tests and all((ROOT / test).is_file() for test in tests), row


@pytest.mark.parametrize("floor", ["tui", "engine", "store"])
def test_every_room_is_on_the_page(floor: str) -> None:
    rooms = {
        f"{folder.relative_to(ROOT)}/"
        for folder in (ROOT / floor).iterdir()
        if (folder / "__init__.py").exists()
    }
    assert {room for room in rooms if f"| `{room}` |" not in PAGE} == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert survey().circles == []


def test_a_class_name_means_one_thing() -> None:
    assert survey().doubled == {}


def test_no_folder_holds_more_than_a_newcomer_can_survey() -> None:
    assert {folder: entries(folder) for folder in LIMITS if entries(folder) > LIMITS[folder]} == {}
