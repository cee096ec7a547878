"""What a person has in hand stays in hand: the candidate, the baseline, the judge and the example."""

from pathlib import Path

import pytest

from tests.tui.driver import driven, opened
from tests.tui.history import NOW
from tui.app.app import AssayApp
from tui.screens.compare.screen import CompareScreen
from tui.screens.compare.slices import SlicesScreen
from tui.screens.decision import DecisionScreen
from tui.screens.review.screen import ReviewScreen
from tui.screens.runs import RunsScreen


@pytest.mark.parametrize("name", ["good", "overfit"])
async def test_every_screen_is_about_the_candidate_that_was_taken_in_decision(
    own_store: Path, name: str
) -> None:
    async with opened(own_store, "decision", run=2, size=(120, 36)) as ui:
        screen = ui.screen
        assert isinstance(screen, DecisionScreen)
        names = [verdict.candidate for verdict in screen.candidates.items]
        screen.candidates.go_to(names.index(name))
        await ui.settled()
        for key in ("C", "V", "J", "A", "K", "S", "E", "L", "H"):
            await ui.press(key)
            assert name in ui.head, key
        assert isinstance(ui.screen, DecisionScreen)
        assert ui.screen.candidates.item is not None and ui.screen.candidates.item.candidate == name


async def test_what_another_screen_takes_is_in_hand_when_esc_leads_back(own_store: Path) -> None:
    async with opened(own_store, "decision", run=2, size=(120, 36)) as ui:
        screen = ui.screen
        assert isinstance(screen, DecisionScreen) and screen.candidates.item is not None
        before = screen.candidates.item.candidate
        await ui.press("C", "right_square_bracket")
        assert isinstance(ui.screen, CompareScreen)
        taken, against = ui.screen.pair
        assert taken != before
        await ui.press("s")
        assert isinstance(ui.screen, SlicesScreen) and ui.screen.pair == (taken, against)
        await ui.press("left_square_bracket", "right_curly_bracket")
        other = ui.screen.pair
        assert other[0] == before and other[1] != against
        await ui.press("escape")
        assert isinstance(ui.screen, CompareScreen) and ui.screen.pair == other
        assert all(name in ui.body[0] for name in other)
        await ui.press("H")
        assert ui.screen.hand.candidate == before  # type: ignore[attr-defined]


async def test_review_goes_on_at_the_same_example_with_the_candidate_in_hand(own_store: Path) -> None:
    async with opened(own_store, "review", run=2, size=(120, 36)) as ui:
        await ui.press("j", "j")
        assert isinstance(ui.screen, ReviewScreen) and ui.screen._review is not None
        place, candidate = ui.screen._review.place, ui.screen._review.candidate.name
        await ui.press("C", "right_square_bracket", "V")
        assert isinstance(ui.screen, ReviewScreen) and ui.screen._review is not None
        assert ui.screen._review.place == place
        assert ui.screen._review.candidate.name != candidate


async def test_review_stays_with_the_pair_it_was_left_at_until_another_is_taken(own_store: Path) -> None:
    async with opened(own_store, "review", run=2, size=(120, 36)) as ui:
        await ui.press("right_square_bracket", "j")
        assert isinstance(ui.screen, ReviewScreen)
        left = ui.screen.pair
        await ui.press("R")
    async with opened(own_store, "compare", run=2, size=(120, 36)) as ui:
        assert isinstance(ui.screen, CompareScreen) and ui.screen.pair != left
        await ui.press("V")
        assert isinstance(ui.screen, ReviewScreen) and ui.screen.pair == left


async def test_an_example_of_one_run_is_in_no_other_run_s_hand(
    own_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(own_store, "failures", run=2, size=(120, 36)) as ui:
        monkeypatch.setattr(type(ui.screen), "example_at_cursor", 7)
        ui.app.go("decision", 1)
        assert ui.app.in_hand(1).example_id is None


async def test_a_run_without_the_model_in_hand_shows_its_own_and_the_first_keeps_it(own_store: Path) -> None:
    async with opened(own_store, "compare", run=2, size=(120, 36)) as ui:
        await ui.press("right_square_bracket")
        assert isinstance(ui.screen, CompareScreen)
        taken = ui.screen.pair
        await ui.press("R")
        assert isinstance(ui.screen, RunsScreen)
        ui.app.go("compare", 1)
        await ui.settled()
        assert isinstance(ui.screen, CompareScreen) and ui.screen.pair[0] in ui.head
        ui.app.go("compare", 2)
        await ui.settled()
        assert isinstance(ui.screen, CompareScreen) and ui.screen.pair == taken


async def test_a_key_that_comes_before_the_runs_are_read_acts_once_they_are(own_store: Path) -> None:
    app = AssayApp(own_store, now=lambda: NOW)
    async with driven(app, settle=False) as ui:
        app.go("decision")
        await ui.until(lambda: isinstance(ui.screen, DecisionScreen))
