import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from store import database, reviewing
from store.read import answers as alike
from store.read import evidence, history, labels
from store.reviewing import annotate, undo
from tests.tui.conftest import Settled
from tests.tui.driver import opened
from tests.tui.history import NOW
from tui.app.app import AssayApp
from tui.app.settings import AppSettings
from tui.screens.failures import FailureLogScreen, bars, lasting
from tui.screens.review.screen import ReviewScreen

# By run: the tags given, each with the places of the examples.
TAGGED: dict[int, dict[str, tuple[int, ...]]] = {
    1: {"negation": (0, 1), "too short": (4,)},
    2: {"negation": (0, 3, 7), "[/b] red\x1b[31m": (2,)},
    3: {"negation": (0,)},
}


@pytest.fixture(scope="module")
def tagged_folder(store_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo store with failures tagged in all of its runs; not to be written to."""
    folder = Path(shutil.copytree(store_folder, tmp_path_factory.mktemp("tagged") / "store"))
    connection = history.attach(database.connect(folder))
    for run_id, tags in TAGGED.items():
        ids = {model.name: model.id for model in history.models(connection, run_id)}
        examples = [example.id for example in evidence.run_examples(connection, run_id)]
        for tag, places in tags.items():
            name = reviewing.make_tag(connection, tag, "ann")
            for place in places:
                annotate(
                    connection, run_id, examples[place], "tag", name, annotator="ann",
                    left_id=ids["base"], right_id=ids["good"],
                )  # fmt: skip
    connection.close()
    return folder


@pytest.fixture
def tagged(tagged_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tagged_folder, tmp_path / "tagged"))


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
def test_failure_log_look(
    snap_compare: Any, tagged_folder: Path, settled: Settled, size: tuple[int, int]
) -> None:
    app = AssayApp(tagged_folder, run=3, screen="failures", now=lambda: NOW)
    assert snap_compare(app, terminal_size=size, run_before=settled)


def test_answers_are_counted_by_run_and_a_run_that_nobody_tagged_is_left_out(tagged: Path) -> None:
    connection = history.attach(database.connect(tagged))
    counted = [(run.run_id, run.answers.get("negation", 0)) for run in labels.by_run(connection)]
    assert counted == [(1, 2), (2, 3), (3, 1)]
    assert [run.run_id for run in labels.by_run(connection, limit=2)] == [2, 3]
    undo(connection, 3, "ann")
    reviewing.merge_tags(connection, "too short", "negation")
    assert [run.answers.get("negation", 0) for run in labels.by_run(connection)] == [3, 3]


def test_a_failure_persists_is_new_or_has_gone() -> None:
    assert bars([2, 0, 4], 4) == "▅▁█"
    assert lasting([1, 0, 2]).plain == "persists: 2 of 3 runs"
    assert lasting([0, 0, 2]).plain == "new"
    assert lasting([3, 1, 0]).plain == "not in the newest one"
    assert lasting([3, 0, 0]).plain == "not in the newest 2"
    assert lasting([0, 0]).plain == "" and lasting([4]).plain == ""


def test_examples_alike_share_rare_words_with_tagged_ones_and_are_not_tagged(tagged: Path) -> None:
    connection = history.attach(database.connect(tagged))
    found = alike.alike(connection, 3, "negation")
    assert (found[0].example, found[0].same_category) == ("t-003", True) and "my" in found[0].words
    tagged_ones = {"t-001", "t-002", "t-004", "t-008"}
    assert all(row.words and row.example not in tagged_ones for row in found)
    assert alike.alike(connection, 3, "no such tag") == []


async def test_from_a_tag_to_its_answers_to_review_and_back(tagged_folder: Path) -> None:
    async with opened(tagged_folder, "failures", run=3, size=(120, 36)) as ui:
        shown = ui.text
        assert "persists: 3 of 3 runs" in shown and "red␛[31m" in shown and "\x1b" not in shown
        await ui.press("enter", "enter")
        assert isinstance(ui.screen, ReviewScreen) and ui.screen.run_id == 3
        assert "t-001" in ui.text
        await ui.press("escape", "escape", "s")
        assert "Untagged, similar to “negation”" in ui.text
        await ui.tap("escape", "escape")
        assert isinstance(ui.screen, FailureLogScreen) and ui.app.focused is ui.screen.tags


async def test_a_tags_examples_become_an_eval_set_where_the_person_says(tagged: Path) -> None:
    async with opened(tagged, "failures", size=(120, 36)) as ui:
        await ui.press("e", "enter")
        file = tagged / "exports" / "negation-run-2.jsonl"
        assert "3 records in" in ui.text
        assert [json.loads(line)["id"] for line in file.read_text().splitlines()] == [
            "t-001",
            "t-004",
            "t-008",
        ]
        await ui.press("e", "enter")
        assert "exists. Write over it?" in ui.text
        await ui.press("n", "e", "ctrl+u", *"/proc/none/x", "enter")
        assert "/proc/none/x cannot be written" in ui.text


async def test_reading_alone_writes_no_eval_set(tagged_folder: Path) -> None:
    async with opened(tagged_folder, "failures", settings=AppSettings(read_only=True)) as ui:
        await ui.press("e")
        assert "opened with --read-only" in ui.text


async def test_without_tags_it_says_how_to_make_one(store_folder: Path) -> None:
    async with opened(store_folder, "failures") as ui:
        await ui.press("E", "enter", "s")
        assert "nothing is tagged yet: f in Review tags a failure" in ui.text
        await ui.press("e")
        assert "no failure tags yet: f in Review tags an answer" in ui.text
        assert "no tagged answer to write" in ui.text
