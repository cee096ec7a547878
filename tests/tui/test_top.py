"""The top of the screens: tabs where there is room, the run, and the decision on the candidate in hand."""

from pathlib import Path

import pytest

from engine.decision.decision import card_line, decide
from store.session import opened as opened_store
from tests.tui.decided import GOOD, alert, benchmark, compared, told
from tests.tui.driver import opened
from tests.tui.history import build_sweep
from tui.app.settings import rebind
from tui.keys import REGISTRY
from tui.screens.base import RunScreen, tabs

CARD = "INCONCLUSIVE good"
FIGURES = "wins 82% [60–100] · forgot 0/3, 3 open · 1 leaked"


def card(folder: Path, run_id: int) -> str:
    with opened_store(folder) as connection:
        return card_line(decide(connection, run_id)[0])


def test_the_card_has_the_word_wins_forgetting_and_leaks(tmp_path: Path) -> None:
    run = told(tmp_path, GOOD, win_rate={"win_rate": 0.775, "low": 0.72, "high": 0.83})
    assert card(tmp_path, run) == "SHIP tuned · wins 78% [72–83] · forgot 0/1 · 0 leaked"


def test_without_a_judge_the_first_primary_measure_speaks(tmp_path: Path) -> None:
    assert "tuned · exact_match 0.400 → 0.800 · forgot 0/1" in card(tmp_path, told(tmp_path, GOOD))


def test_a_failed_gate_is_told_in_capitals(tmp_path: Path) -> None:
    rows = [compared("exact_match", 0.4), benchmark(-0.2)]
    lost = alert("critical", "benchmark_drop", "it fell")
    assert card(tmp_path, told(tmp_path, rows, (lost,), passed=False)).startswith("DON'T SHIP tuned · ")
    assert "forgot 1/1" in card(tmp_path, told(tmp_path, rows, (lost,), passed=False))


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        ({"win_rate": 1.0, "low": 0.98, "high": 1.0}, "wins 100% [98–100]"),
        ({"win_rate": 0.996, "low": 0.98, "high": 0.999}, "wins 99.6% [98–99.9]"),
        ({"win_rate": 0.004, "low": 0.0, "high": 0.02}, "wins 0.4% [0–2]"),
        ({"win_rate": 0.6, "low": None, "high": None}, "wins 60% ·"),
        ({"win_rate": None, "low": None, "high": None, "reason": "all failed"}, "exact_match 0.400 → 0.800"),
    ],
)
def test_a_share_never_reads_as_all_or_nothing_unless_it_is(
    tmp_path: Path, rate: dict[str, object], said: str
) -> None:
    assert said in card(tmp_path, told(tmp_path, GOOD, win_rate=rate))


def test_what_was_not_looked_for_is_said_and_never_0(tmp_path: Path) -> None:
    run = told(tmp_path, [compared("exact_match", 0.4)], data_summary={"selected": 200})
    assert "forgetting not measured · leaks not searched" in card(tmp_path, run)
    alone = told(tmp_path, [], baselines=())
    assert "nothing compared · forgetting not measured" in card(tmp_path, alone)


def test_of_a_run_that_is_not_over_the_card_says_how_it_stands(tmp_path: Path) -> None:
    run = told(tmp_path, GOOD, status="paused")
    assert card(tmp_path, run) == "INCONCLUSIVE tuned · the run is paused"


@pytest.mark.parametrize("screen", ["decision", "compare", "review", "splits", "judges", "alerts", "live"])
async def test_the_card_stands_on_every_screen_of_the_run(store_folder: Path, screen: str) -> None:
    async with opened(store_folder, screen) as ui:
        assert CARD in ui.head and FIGURES in ui.head
    async with opened(store_folder, screen, size=(120, 36)) as ui:
        assert f"{CARD} against base · {FIGURES}" in ui.head


async def test_a_card_that_comes_while_the_screen_is_taken_down_is_left(store_folder: Path) -> None:
    async with opened(store_folder, "decision", size=(120, 36)) as ui:
        screen = ui.on(RunScreen)
        await screen.query("#tabs").remove()
        screen._read_cards()
        await ui.app.workers.wait_for_complete()


async def test_beside_the_name_of_a_screen_without_a_tab_whole_figures_are_left_out(
    store_folder: Path,
) -> None:
    async with opened(store_folder, "compare", size=(120, 36)) as ui:
        await ui.press("s")
        assert "Slices" in ui.head and FIGURES in ui.head


async def test_the_card_is_about_the_candidate_in_hand(store_folder: Path) -> None:
    async with opened(store_folder, "compare") as ui:
        await ui.press("c")
        assert "DON'T SHIP overfit" in ui.head and "forgot 3/3" in ui.head
        await ui.press("A")
        assert "DON'T SHIP overfit" in ui.head


async def test_where_there_is_no_room_the_card_and_the_tabs_are_left_out(store_folder: Path) -> None:
    for size in ((30, 8), (120, 10)):
        async with opened(store_folder, "compare", size=size) as ui:
            assert ui.head.count("\n") == 0 and "wins" not in ui.head and "assay" in ui.head
    async with opened(store_folder, "compare", size=(46, 15)) as ui:
        assert "INCONCLUSIVE good · wins 82% [60–100]" in ui.head and "forgot" not in ui.head


async def test_the_names_of_thirty_checkpoints_stay_apart_on_the_card(tmp_path: Path) -> None:
    async with opened(build_sweep(tmp_path), "decision", run=1, size=(120, 36)) as ui:
        await ui.press("g")
        assert "DON'T SHIP …step-2900 · wins 95%" in ui.head
        await ui.press("j")
        assert "DON'T SHIP …step-2300 · wins 91%" in ui.head


async def test_tabs_name_the_screens_with_their_keys_and_mark_the_one_in_front(store_folder: Path) -> None:
    async with opened(store_folder, "compare", size=(120, 36)) as ui:
        assert " ".join(ui.lines[0].split()).startswith("R Runs H Decision L Live [C Compare] Z Map")
        assert "T Trends" in ui.lines[0]
        await ui.press("A")
        assert "[A Alerts]" in ui.lines[0] and "[C" not in ui.lines[0]
    async with opened(store_folder, "compare", size=(99, 36)) as ui:
        assert "Compare ^o" in ui.lines[0] and "R Runs" not in ui.text


@pytest.mark.parametrize("current", ["runs", "trends"])
def test_tabs_that_find_no_room_give_way_to_the_current_one(current: str) -> None:
    for room in range(30, 130):
        shown = tabs(current, room)
        assert shown.cell_length <= room
        assert {"runs": "[R Runs]", "trends": "[T Trends]"}[current] in shown.plain
        assert ("…" in shown.plain) == (
            "Splits" not in shown.plain or "Alerts" not in shown.plain or ("Trends" not in shown.plain)
        )


def test_tabs_have_the_keys_that_a_person_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, action in REGISTRY.items():
        monkeypatch.setitem(REGISTRY, name, action)
    rebind({"go.compare": "f5"})
    assert "f5 Compare" in tabs("runs", 200).plain


@pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=["80x24", "120x36"])
async def test_blind_reviewing_hides_the_decision_on_every_screen_that_it_opens(
    store_folder: Path, size: tuple[int, int]
) -> None:
    async with opened(store_folder, "review", size=size) as ui:
        assert "INCONCLUSIVE" in ui.text
        await ui.press("B")
        assert "INCONCLUSIVE" not in ui.text and "wins" not in ui.text
        await ui.press("g")
        assert "Guidelines" in ui.text and "INCONCLUSIVE" not in ui.text and "gate failed" not in ui.text
        await ui.press("escape", "P")
        assert "INCONCLUSIVE" not in ui.text and "gate failed" not in ui.text
        await ui.press("escape", "B")
        assert "INCONCLUSIVE" in ui.text
