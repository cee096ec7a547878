"""What `bench.house` measures, on code that is written for it."""

from pathlib import Path

import pytest

from bench.house import House, survey


@pytest.fixture
def house(tmp_path: Path) -> House:
    code = {
        "tui/__init__.py": "",
        "tui/app.py": "from engine import worker\n\nclass App: ...\n\nclass _Own: ...\n",
        "engine/__init__.py": "",
        "engine/worker.py": "def later():\n    from engine.phase import Phase\n",
        "engine/phase.py": "import engine.worker\n\nclass Phase: ...\n\nclass App: ...\n\nclass _Own: ...\n",
        "store/__init__.py": (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from store.rows import Row\n"
        ),
        "store/rows.py": "import store\n\nclass Row: ...\n",
    }
    for name, text in code.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return survey(tmp_path)


def test_an_import_inside_a_function_closes_a_circle(house: House) -> None:
    assert ["engine.phase", "engine.worker"] in house.circles


def test_an_import_for_type_checkers_closes_none(house: House) -> None:
    assert len(house.circles) == 1


def test_a_public_class_name_in_two_files_is_told(house: House) -> None:
    assert house.doubled == {"App": ("tui.app", "engine.phase")}


def test_a_file_with_one_importer_beside_it_is_told(house: House) -> None:
    assert house.lone == ["engine.phase"]
