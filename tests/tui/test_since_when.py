"""Since when: the screen and the command that say at which checkpoint or run an example was lost."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.conftest import Settled
from tests.tui.driver import opened
from tests.tui.history import HOSTILE, NOW, SWEEP, build_sweep
from tui.app.app import AssayApp
from tui.cli.main import command
from tui.screens.review.aside import BisectScreen
from tui.screens.review.screen import ReviewScreen
from tui.text.diff import first_change, text_of


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_sweep(tmp_path_factory.mktemp("since") / "store")


async def since_when(pilot: Pilot[int], settled: Settled) -> None:
    await settled(pilot)
    await pilot.press("p")
    await settled(pilot)


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (160, 48)], ids=["80x24", "120x36", "160x48"])
def test_thirty_checkpoints_look(
    size: tuple[int, int], snap_compare: Callable[..., bool], sweep: Path, settled: Settled
) -> None:
    app = AssayApp(sweep, run=1, screen="review", now=lambda: NOW)
    assert snap_compare(app, terminal_size=size, run_before=lambda pilot: since_when(pilot, settled))


def test_one_candidate_over_the_runs_looks(
    snap_compare: Callable[..., bool], own_store: Path, settled: Settled
) -> None:
    app = AssayApp(own_store, run=1, screen="review", now=lambda: NOW)
    assert snap_compare(app, terminal_size=(120, 36), run_before=lambda pilot: since_when(pilot, settled))


async def test_it_opens_where_it_was_lost_and_enter_leads_to_that_checkpoint(sweep: Path) -> None:
    async with opened(sweep, "review", run=1, size=(120, 36)) as ui:
        await ui.press("p")
        assert isinstance(ui.screen, BisectScreen)
        line = ui.screen.rows.item
        assert line is not None and line.is_lost and not line.attempt.right
        assert f"first lost at {line.where}" in ui.text and "by exact_match" in ui.text
        await ui.press("enter")
        assert isinstance(ui.screen, ReviewScreen)
        assert ui.screen.pair == (line.attempt.model, "base") and "t-001" in ui.text
        await ui.press("escape")
        await ui.press("g", "enter")
        assert isinstance(ui.screen, BisectScreen) and "the baseline stands beside" in ui.text


async def test_the_measure_of_the_queue_says_right_or_wrong(sweep: Path) -> None:
    async with opened(sweep, "review", run=1, size=(120, 36)) as ui:
        await ui.press("w", "a")
        await ui.press("p")
        assert "by rougeL" in ui.text


async def test_blind_mode_does_not_open_it(own_store: Path) -> None:
    async with opened(own_store, "review") as ui:
        await ui.press("B", "p")
        assert isinstance(ui.screen, ReviewScreen) and "while blind" in ui.text


async def test_a_row_of_another_run_opens_review_of_that_run(own_store: Path) -> None:
    async with opened(own_store, "review", run=1, size=(120, 36)) as ui:
        await ui.press("p")
        assert isinstance(ui.screen, BisectScreen) and "run 1" in ui.text and "run 3" in ui.text
        await ui.press("G", "enter")
        assert isinstance(ui.screen, ReviewScreen) and ui.screen.run_id == 3


@pytest.mark.parametrize("size", [(30, 8), (80, 24), (240, 70)])
async def test_hostile_answers_and_any_size_of_terminal(own_store: Path, size: tuple[int, int]) -> None:
    async with opened(own_store, "review", run=1, size=size) as ui:
        await ui.press(*"j" * 10)
        await ui.press("p")
        assert isinstance(ui.screen, BisectScreen)
        assert "\x1b" not in ui.text and "\u202e" not in ui.text and "\x07" not in ui.text


def test_the_command_says_the_same(sweep: Path, capsys: Any) -> None:
    words = ["show", "1", "--example", "t-003", "--store", str(sweep)]
    assert command(words) == 0
    shown = capsys.readouterr().out
    assert command([*words, "--json", "--candidate", SWEEP[3]]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["said"] in shown and told["measure"] == "exact_match" and told["is_sweep"]
    assert [each["step"] for each in told["attempts"]] == [100 * step for step in range(1, 31)]
    assert told["flickers"] and f"first lost at {told['lost'][0][1]}" in shown
    assert shown.count("step ") >= 30 and "WRONG" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--example", "t-999"], "run 1 has no example 't-999'"),
        (["--example", "t-001", "--candidate", HOSTILE], "run 1 has no candidate"),
        (["--candidate", SWEEP[0]], "--candidate: is about one example\n  Add --example ID."),
    ],
)
def test_what_does_not_exist_ends_with_a_sentence(
    sweep: Path, capsys: Any, words: list[str], said: str
) -> None:
    from tui.cli.main import guarded

    assert guarded(lambda: command(["show", "1", *words, "--store", str(sweep)])) == 2
    told = capsys.readouterr().err
    assert said in told and "\x1b" not in told


def test_an_excerpt_begins_shortly_before_the_first_word_that_differs() -> None:
    before = "The parcel left our house on Monday and should be with you within two days."
    found = first_change(before, before.replace("two", "nine"))
    assert text_of(found) == "…should be with you within nine days."
    assert [part.text for part in found if part.changed] == ["nine"]
    assert text_of(first_change("a", "b")) == "b"
    assert not any(part.changed for part in first_change(before, before))
    long = "word " * 200_000
    assert len(text_of(first_change(long + "x", long + "y"))) < 1_000
