import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from store import database
from store.read import evidence, history
from store.reviewing import annotate
from tests.tui import judged
from tests.tui.conftest import Settled
from tests.tui.driver import opened, text_of
from tests.tui.history import NOW
from tui.app.app import AssayApp
from tui.app.settings import AppSettings
from tui.screens import agreement
from tui.screens.agreement import AgreementScreen
from tui.screens.agreement import settled as gate_said
from tui.screens.choosing import CommandResult, run_command
from tui.screens.review.screen import ReviewScreen

PLAN = "[gates]\nmin_win_rate = 0.55\n"


@pytest.fixture(scope="module")
def judged_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A judged run of which two people said what they prefer, and one tagged failures."""
    folder = judged.build(tmp_path_factory.mktemp("people") / "store")
    connection = history.attach(database.connect(folder))
    connection.execute("UPDATE run SET plan = ?", (PLAN,))
    connection.execute("UPDATE example SET category = 'ship' || char(27) || '[2Jping' WHERE position % 2")
    for place, value in enumerate(["right", "left", "right", "tie", "both_bad", "left", "left", "right"]):
        label(connection, place, value, queue="random")
        label(connection, place, "left" if place == 5 else "right", "bob")
        for criterion, rating in (("tone", "3"), ("task", "1")):
            label(connection, place, rating, kind="rating", criterion=criterion)
    connection.close()
    return folder


def label(connection: sqlite3.Connection, place: int, value: str, person: str = "ann", **more: Any) -> None:
    """Annotates an example of the run: a preference for base (left) or tuned, or a rating of tuned."""
    ids = {model.name: model.id for model in history.models(connection, 1)}
    kind = more.pop("kind", "preference")
    sides: dict[str, Any] = {"left_id": ids["tuned"]}
    if kind == "preference":
        sides = {"left_id": ids["base"], "right_id": ids["tuned"]}
    example = evidence.run_examples(connection, 1)[place].id
    annotate(connection, 1, example, kind, value, annotator=person, **sides, **more)


@pytest.fixture
def store(judged_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(judged_folder, tmp_path / "store"))


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
def test_agreement_look(
    snap_compare: Any, judged_folder: Path, settled: Settled, size: tuple[int, int]
) -> None:
    app = AssayApp(judged_folder, run=1, screen="agreement", now=lambda: NOW)
    assert snap_compare(app, terminal_size=size, run_before=settled)


async def test_each_match_shows_its_figures_its_three_win_rates_and_the_misread_criterion(
    judged_folder: Path,
) -> None:
    async with opened(judged_folder, "agreement", run=1, size=(120, 40)) as ui:
        shown = ui.text
        for word in ("gpt-4o", "judge and people", "ann and bob", "Krippendorff's alpha", "the judge alone"):
            assert word in shown
        assert "people alone" in shown and "Not corrected: 8 random labels are too few" in shown
        assert "grader misreads “task” most" in shown and "ship␛[2Jping" in shown and "\x1b" not in shown
        await ui.press("right_square_bracket")
        assert "strict" in ui.text and "2 of 3" in ui.text


async def test_enter_on_the_table_opens_the_answers_that_people_and_judge_see_differently(
    judged_folder: Path,
) -> None:
    async with opened(judged_folder, "agreement", run=1, size=(120, 40)) as ui:
        await ui.tap("enter")
        assert isinstance(ui.screen, AgreementScreen)
        table = ui.screen.table
        assert ui.app.focused is table
        same = next(place for place, row in enumerate(table.items) if not row.differ)
        table.go_to(same)
        await ui.press("enter")
        assert "agree on all of these" in ui.text
        table.go_to(next(place for place, row in enumerate(table.items) if row.differ))
        await ui.press("enter")
        assert isinstance(ui.screen, ReviewScreen)


async def test_the_answers_opened_are_those_that_people_see_differently_from_that_judge(
    judged_folder: Path,
) -> None:
    async with opened(judged_folder, "agreement", run=1, size=(120, 40)) as ui:
        await ui.tap("right_square_bracket", "enter")
        assert isinstance(ui.screen, AgreementScreen)
        table = ui.screen.table
        table.go_to(next(place for place, row in enumerate(table.items) if row.differ))
        await ui.press("enter")
        assert isinstance(ui.screen, ReviewScreen) and ui.screen._review is not None
        shown = {item.position: item.outcome for item in ui.screen._review.items}
        assert shown == {place: judged.SAID["strict"][place] for place in shown} and len(shown) > 1
        assert shown != {place: judged.SAID["gpt-4o"][place] for place in shown}
        assert "human · by strict" in ui.text
        verdict = next(line for line in ui.lines if line.startswith(" verdict"))
        assert "of strict" in verdict


async def test_a_new_label_changes_the_figures_and_the_same_are_not_worked_out_twice(
    store: Path, settled: Settled, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, ...]] = []

    async def counted(*words: str, store: Path | None = None) -> CommandResult:
        ran.append(words)
        return await run_command(*words, store=store)

    monkeypatch.setattr(agreement, "run_command", counted)
    async with opened(store, "agreement", run=1, size=(120, 40), settings=AppSettings(read_only=True)) as ui:
        await ui.press("R", "K")
        assert pairs(ui.app) == 8 and len(ran) == 1
        assert "--keep-alerts" in ran[0], "opened for reading alone"
        connection = database.connect(store)
        label(connection, 9, "left")
        connection.close()
        ui.screen.reload()  # type: ignore[attr-defined]  # what the look at the store does
        await ui.settled()
        assert pairs(ui.app) == 9 and len(ran) == 2


def pairs(app: AssayApp) -> int:
    line = next(line for line in text_of(app).splitlines() if line.strip().startswith("pairs"))
    return int(line.split()[1])


async def test_where_nobody_labelled_yet_it_says_how(store_folder: Path) -> None:
    async with opened(store_folder, "agreement") as ui:
        assert "l opens Review on the queue “random”" in ui.text
        await ui.press("l")
        assert isinstance(ui.screen, ReviewScreen)


def match(**corrected: Any) -> dict[str, Any]:
    found = {
        "value": 0.6,
        "low": 0.5,
        "high": 0.7,
        "labelled": 40,
        "unlabelled": 160,
        "reason": None,
    } | corrected
    return {"corrected_win_rate": found, "min_win_rate": 0.55, "labels_to_settle": 130}


def test_the_gate_is_met_missed_or_needs_so_many_more_labels() -> None:
    assert gate_said(match()) == (
        "Inconclusive at the gate of 55%: needs about 90 more random labels (130 in all)."
    )
    assert "more than the 100 examples here" in gate_said(match(unlabelled=60))
    assert gate_said(match(low=0.56)).startswith("The gate of 55% is met")
    assert gate_said(match(high=0.54)).startswith("The gate of 55% is missed")
    assert "labels on all examples" in gate_said(match() | {"labels_to_settle": None})
    assert gate_said(match(value=None, reason="too few")) == "Not corrected: too few."
    assert gate_said(match() | {"min_win_rate": None}) == ""


async def test_a_judges_confidence_and_a_raters_scores_are_drawn_against_people(store: Path) -> None:
    connection = database.connect(store)
    connection.execute(
        "UPDATE judgment SET confidence = NULL WHERE judge_id = (SELECT id FROM judge WHERE name = 'strict')"
    )
    connection.close()
    async with opened(store, "agreement", run=1, size=(120, 40)) as ui:
        await ui.press("p")
        line = next(line for line in ui.lines if "80% to 90%" in line)
        assert "n 6" in line and "50.0% [19, 81]" in line and "◆" in line
        assert "people's mean rating by its score" in ui.text
        score = next(line for line in ui.lines if "score 3" in line)
        assert "n 7" in score and "3.00" in score
        await ui.press("right_square_bracket")
        assert "the judge's confidence is needed" in ui.text
        await ui.press("p")
        assert "kappa" in ui.text and "score 3" not in ui.text


async def test_a_picture_before_any_label_says_what_is_needed(tmp_path: Path) -> None:
    folder = judged.build(tmp_path / "store")
    async with opened(folder, "agreement", run=1) as ui:
        await ui.press("p")
        assert "people's labels are needed first" in ui.text
