"""The Judges screen: what each judge says of the same pairs, and how far to believe it."""

from pathlib import Path
from typing import Any

import pytest

from engine.formats.importing import import_run
from store import database, records
from store.read import history
from store.read.judging import disputes, judges, judging
from tests.formats import files
from tests.tui.conftest import Settled
from tests.tui.driver import opened
from tests.tui.history import NOW
from tests.tui.judged import build
from tui.app.app import AssayApp
from tui.screens import RUN_SCREENS
from tui.screens.judges import JudgesScreen, about, disputed
from tui.screens.review.screen import ReviewScreen


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("judged") / "store")


def read(folder: Path) -> history.Connection:
    return history.attach(database.connect(folder))


async def test_judges_stand_side_by_side_on_one_match(judged: Path) -> None:
    async with opened(judged, "runs", run=1) as ui:
        await ui.press("J")
        assert isinstance(ui.screen, JudgesScreen)
        lines = ui.body
        assert "tuned against base" in lines[0]
        gpt, strict, panel, grader = lines[2:6]
        assert (
            "gpt-4o" in gpt and "75% [55, 95]" in gpt and "!42%" in gpt and "!71%" in gpt and "$0.24" in gpt
        )
        assert "unknown" in strict and "!40%" in strict
        assert "panel" in panel and "–" in panel
        assert "pointwise" in grader and "3.90 [3.70, 4.10]" in grader
        shown = ui.text
        assert "! both orders agree on 42% [32, 52] of 12 pairs" in shown
        assert "! the answer shown first wins 71.0%" in shown


async def test_from_a_dispute_to_both_answers_and_back(judged: Path) -> None:
    async with opened(judged, "judges", run=1) as ui:
        assert "Where it and another judge disagree most (4)" in ui.text
        await ui.press("enter", "enter")
        assert isinstance(ui.screen, ReviewScreen)
        assert "e01" in ui.text
        await ui.tap("escape", "escape")
        assert isinstance(ui.screen, JudgesScreen)
        assert ui.screen.focused is ui.screen.table


def test_everything_known_is_said_the_doubts_first(judged: Path) -> None:
    found = judging(read(judged), 1)
    said = [line.plain for line in about(found.judges[0], found, "tuned", "base", 120)]
    doubts = [line for line in said if line.startswith("! ")]
    assert said[1 : 1 + len(doubts)] == doubts
    everything = "\n".join(said)
    for words in (
        "LC win rate 65% [45, 85], not 75%", "longer answers win 80% [70, 90] of 10",
        "answers with more Markdown: none to measure",
        "a constant, empty answer wins 30% [20, 40] of 10 against base",
        "same model family as tuned", "12 of 36 calls saved by stopping when settled",
        "turn 1 alone: 75%", "turn 2 alone: 25%",
        "with strict: kappa 0.41 [0.31, 0.51], same verdict on 58% of 12",
        "Ranking (Bradley-Terry", "●", "1,040 [1010, 1070]",
    ):  # fmt: skip
        assert words in everything, words
    panel = "\n".join(line.plain for line in about(found.judges[2], found, "tuned", "base", 120))
    assert "! between its judges: Krippendorff's alpha 0.39" in panel
    assert "all its judges agree on 58%" in panel and "both orders" not in panel
    grader = "\n".join(line.plain for line in about(found.judges[3], found, "tuned", "base", 120))
    assert "rubric" in grader and "tone, task" in grader
    assert "3 of 36 calls failed: 3 × no JSON in the answer" in grader


def test_disputes_are_the_widest_gaps_of_judges_of_one_kind(judged: Path) -> None:
    connection = read(judged)
    known = judges(connection, 1)
    rows = disputes(connection, known)
    assert [(row.example, row.gap) for row in rows] == [("e01", 1), ("e04", 1), ("e07", 0.5), ("e09", 0.5)]
    strict = next(judge for judge in known if judge.name == "strict")
    assert all(row.one == "strict" for row in disputed(strict, rows))
    assert disputed(known[2], rows) == rows  # a panel: what its parts see differently
    assert disputed(known[3], rows) == []


async def test_review_shows_reasons_in_both_orders_and_every_score(judged: Path) -> None:
    async with opened(judged, "review", run=1, size=(120, 60)) as ui:
        shown = ui.text
        assert "tuned shown first: prefers tuned, 83% sure" in shown
        assert "base shown first: prefers tuned, 83% sure" in shown
        assert "verdict of panel" in shown and "panel (not a language model)" not in shown
        assert "\x1b" not in shown and "‹U+202E›" in shown
        await ui.tap("D", "D")
        assert "score by grader" in ui.text and "3.5 (tone 3, task 4)" in ui.text


async def test_a_run_without_judges_says_so(tmp_path: Path) -> None:
    from store.write import Recorder, create_run

    row = {"name": "bare", "plan": "", "plan_hash": "0", "plan_folder": "/", "plan_file": "p.toml"}
    recorder = Recorder(tmp_path / "store", create_run(tmp_path / "store", records.Run(**row)))
    recorder.close()
    async with opened(tmp_path / "store", "judges", run=1) as ui:
        assert "this run has no judges" in ui.text
        await ui.press("c", "b", "enter", "j", "tab", "tab", "tab")
        assert isinstance(ui.screen, JudgesScreen)


@pytest.mark.parametrize("kind", ["mt-bench", "alpaca-eval", "judgelm", "prometheus"])
async def test_every_screen_opens_on_an_imported_run(kind: str, tmp_path: Path) -> None:
    source = {
        "mt-bench": lambda: files.mt_bench(tmp_path / "mt"),
        "alpaca-eval": lambda: files.alpaca_eval(tmp_path / "a.json", [1.0, 1.9, 2.0, None]),
        "judgelm": lambda: files.judgelm(tmp_path / "j.jsonl"),
        "prometheus": lambda: files.prometheus(tmp_path / "p.jsonl"),
    }[kind]()
    store = tmp_path / "store"
    run_id = import_run(kind, source, store)
    for screen in RUN_SCREENS:
        async with opened(store, screen, run=run_id) as ui:
            said = "one measure over the runs" if screen == "trends" else f"imported from {kind}"
            assert said in ui.text, screen


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
def test_how_judges_look(judged: Path, settled: Settled, snap_compare: Any, size: tuple[int, int]) -> None:
    app = AssayApp(judged, run=1, screen="judges", now=lambda: NOW)
    assert snap_compare(app, terminal_size=size, run_before=settled)
