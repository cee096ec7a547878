from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from store import records
from tests.tui.conftest import Settled
from tests.tui.decided import GOOD, told
from tests.tui.driver import driven, opened
from tests.tui.history import HOSTILE, NOW
from tui.app.app import AssayApp
from tui.screens.compare.samples import SamplesScreen
from tui.screens.compare.screen import CompareScreen
from tui.screens.compare.slices import SlicesScreen
from tui.screens.decision import DecisionScreen
from tui.screens.judges import JudgesScreen
from tui.screens.live.screen import LiveScreen
from tui.screens.review.screen import ReviewScreen
from tui.screens.splits.screen import SplitsScreen

SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=["80x24", "120x36"])


def decision(store: Path, run: int = 2) -> AssayApp:
    return AssayApp(store, run=run, screen="decision", now=lambda: NOW)


@SIZES
def test_the_decision_looks(
    size: tuple[int, int], snap_compare: Callable[..., bool], store_folder: Path, settled: Settled
) -> None:
    assert snap_compare(decision(store_folder), terminal_size=size, run_before=settled)


@SIZES
def test_a_candidate_that_forgot_looks(
    size: tuple[int, int], snap_compare: Callable[..., bool], store_folder: Path, settled: Settled
) -> None:
    async def forgot(pilot: Pilot[int]) -> None:
        await settled(pilot)
        await pilot.press("j", "tab", "j", "j")
        await settled(pilot)

    assert snap_compare(decision(store_folder), terminal_size=size, run_before=forgot)


async def test_three_keys_lead_from_the_runs_to_the_worst_failure(store_folder: Path) -> None:
    async with opened(store_folder, "runs") as ui:
        await ui.press("j", "enter")
        assert isinstance(ui.screen, DecisionScreen)
        await ui.press("w")
        assert isinstance(ui.screen, ReviewScreen)
        assert "good" in ui.text and "rougeL" in ui.text


async def test_the_worst_of_a_candidate_that_forgot_are_the_questions_it_lost(store_folder: Path) -> None:
    app = decision(store_folder)
    async with driven(app) as ui:
        await ui.press("j", "enter")
        assert isinstance(ui.screen, SamplesScreen)
        assert "arithmetic" in ui.text and "overfit" in ui.text
        await ui.tap("escape")
        assert isinstance(ui.screen, DecisionScreen)


EVIDENCE: list[tuple[int, type, str]] = [
    (0, CompareScreen, "overfit against base"),
    (1, CompareScreen, "overfit against prompted"),
    (2, SamplesScreen, "arithmetic"),
    (3, SlicesScreen, "overfit against base"),
    (6, SplitsScreen, "leak"),
    (7, JudgesScreen, "reference"),
]


async def test_enter_on_a_question_leads_to_its_evidence(store_folder: Path) -> None:
    app = decision(store_folder)
    async with driven(app, (100, 30)) as ui:
        await ui.tap("j", "tab")
        for downs, screen, shown in EVIDENCE:
            await ui.press("g", *"j" * downs, "enter")
            assert isinstance(ui.screen, screen)
            assert shown in ui.text.lower()
            await ui.press("escape")


async def test_the_selected_candidates_reasons_and_answers_stand_below(store_folder: Path) -> None:
    app = decision(store_folder)
    async with driven(app, (120, 36)) as ui:
        assert "1 not shown to beat a good prompt" in ui.text
        await ui.press("right_square_bracket")
        await ui.shows("1 forgot skills of base: arithmetic · acc 0.820 → 0.200")
        await ui.press("left_square_bracket", "left_square_bracket")
        await ui.shows("1 the adapter has no effect: the logits change by at most 0.000 over 4 prompts")


async def test_a_run_that_goes_on_opens_live_and_h_tells_why_nothing_is_settled(
    store_folder: Path, settled: Settled
) -> None:
    async with opened(store_folder, run=None) as ui:
        await ui.press("enter")
        assert isinstance(ui.screen, LiveScreen)
        await ui.press("H")
        assert isinstance(ui.screen, DecisionScreen)
        assert "? inconclusive" in ui.text and "the run is running" in ui.text


async def test_changes_lead_to_the_decision_on_the_run_before(tmp_path: Path) -> None:
    for _ in range(2):
        run_id = told(tmp_path, GOOD, name="tickets")
    app = decision(tmp_path, run_id)
    async with driven(app, (100, 40)) as ui:
        assert "+ ship" in ui.text
        await ui.press("tab", "G", "enter")
        assert "tickets #1" in ui.text


async def test_hostile_names_and_notes_are_shown_as_what_they_are(tmp_path: Path) -> None:
    from tests.tui.decided import alert

    first = alert("critical", "format", HOSTILE, candidate="tuned", acknowledged=1.0, acknowledged_by=HOSTILE)
    run_id = told(tmp_path, GOOD, (first | {"note": HOSTILE},), passed=False, name=HOSTILE)
    app = decision(tmp_path, run_id)
    async with driven(app) as ui:
        assert "accepted by" in ui.text
        assert not set("\x1b\x07\x9b\u202e") & set(ui.text)


async def test_a_run_without_candidates_says_so(tmp_path: Path) -> None:
    from store.write import create_run

    row = {
        "name": "empty",
        "created": 1.0,
        "plan": "",
        "plan_hash": "0",
        "plan_folder": "/",
        "plan_file": "p",
    }
    app = decision(tmp_path, create_run(tmp_path, records.Run(**row)))
    async with driven(app) as ui:
        assert "no candidate to decide on" in ui.text
        await ui.press("w", "tab", "enter", "right_square_bracket")
        assert isinstance(ui.screen, DecisionScreen)
