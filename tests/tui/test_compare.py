"""The Compare screen on the demo store: what it says of deltas, and where its lines lead."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from store.read.rows import ComparisonRow, ModelRow, ModelScoreRow, WinRateRow
from store.records import StoredMetric
from tests.rulings import ruled_row
from tests.tui.driver import opened
from tests.tui.history import NOW
from tui.app.app import AssayApp
from tui.screens.compare.data import Entry, FamilyHeading, JudgeLine, MeasureLine, Numbers, entries, groups
from tui.screens.compare.lines import brief, draw, explained, interval, meaning, value, won
from tui.screens.compare.samples import SamplesScreen
from tui.screens.compare.screen import CompareScreen
from tui.screens.review.screen import ReviewScreen
from tui.widgets.rows import Rows

Settled = Callable[[Pilot[int]], Awaitable[None]]


def table_of(app: AssayApp) -> Rows[Entry]:
    assert isinstance(app.screen, CompareScreen)
    return app.screen.table


def named(entry: Entry | None) -> str:
    return entry.name if isinstance(entry, FamilyHeading | MeasureLine) else ""


def comparison(**values: Any) -> ComparisonRow:
    row: dict[str, Any] = {
        "candidate": "good", "baseline": "base", "kind": "metric", "measure": "rougeL", "direction": "higher",
        "candidate_value": 0.6, "baseline_value": 0.5, "delta": 0.1, "low": 0.05, "high": 0.15, "p": 0.01,
        "n": 200, "smallest_detectable": 0.03, "reason": None,
    }  # fmt: skip
    return ruled_row(row | values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "+ better"),
        ({"delta": -0.1, "low": -0.15, "high": -0.05}, "− worse"),
        ({"direction": "lower"}, "− worse"),
        ({"direction": "lower", "delta": -0.1, "low": -0.15, "high": -0.05}, "+ better"),
        ({"direction": "none"}, "↑ more"),
        ({"low": -0.01}, "= inconclusive"),
        ({"low": 0.0}, "= inconclusive"),
        ({"delta": None, "low": None, "high": None}, "not compared"),
        ({"low": None, "high": None}, "– not tested"),
    ],
)
def test_a_change_is_said_in_sign_and_word_by_its_direction(values: dict[str, Any], said: str) -> None:
    assert meaning(comparison(**values)).plain == said


def test_values_have_as_many_decimals_as_their_size_needs() -> None:
    assert [value(found) for found in (0.12345, 12.345, 212.04, None)] == ["0.123", "12.35", "212.0", "–"]
    assert interval(-0.05, 0.123, sign=True) == "−0.050..+0.123"
    assert interval(None, None) == "–"


def test_a_win_rate_whose_interval_holds_one_half_is_open() -> None:
    row = WinRateRow(
        judge="j", is_language_model=True, candidate="good", baseline="base", wins=5, losses=4, ties=3,
        failed=1, win_rate=0.54, low=0.4, high=0.7, position_bias=0.5,
    )  # fmt: skip
    assert won(row).plain == "= inconclusive"


def test_what_is_missing_is_a_dash_with_its_reason_and_never_a_zero() -> None:
    models = [
        ModelRow(1, "base", "baseline", "local", None, None, None, None),
        ModelRow(2, "good", "candidate", "local", None, None, None, True),
    ]
    metric = StoredMetric(
        run_id=1,
        measure="perplexity",
        position=0,
        direction="lower",
        unit="",
        version="1",
        source="",
        meaning="how surprising",
    )
    scores = [
        ModelScoreRow(model="base", measure="perplexity", value=3.1, low=3.0, high=3.2, n=12, missing=0),
        ModelScoreRow(model="good", measure="perplexity", n=0, missing=12, reason="no weights at hand"),
    ]
    row = comparison(
        measure="perplexity", delta=None, low=None, high=None, p=None, n=0, reason="needs weights"
    )
    numbers = Numbers(models, [metric], scores, [row], [], [])
    title, line = entries(groups(numbers, "good", "base"), ["perplexity"])
    assert isinstance(title, FamilyHeading) and isinstance(line, MeasureLine)
    drawn = draw(line, ("base", "good"), 118).plain
    assert "3.100" in drawn and "–" in drawn and "0.000" not in drawn
    said = "\n".join(content.plain for content in [*brief(line, 118), *explained(line, 118)])
    assert "not compared: needs weights" in said
    assert "good none: no weights at hand" in said
    assert "12 missing: no weights at hand" in said


async def test_the_table_shows_values_deltas_verdicts_and_benchmarks(store_folder: Path) -> None:
    async with opened(store_folder, "compare", size=(160, 48)) as ui:
        await ui.press("c")
        shown = ui.text
    assert "overfit against base" in shown
    assert "gate failed" in shown
    assert "not a language model" in shown
    assert "arithmetic · acc" in shown and "− worse" in shown
    assert "+0.783" in shown and "<0.001" in shown
    assert "min. detectable" in shown


async def test_benchmarks_of_a_baseline_with_shared_weights_are_compared_with_those_weights(
    store_folder: Path,
) -> None:
    async with opened(store_folder, "compare") as ui:
        await ui.press("b")
        assert "good against prompted" in ui.text
        await ui.press("slash", *"arith", "enter")
        benchmark = next(entry for entry in table_of(ui.app).items if isinstance(entry, MeasureLine))
        assert [cell.model for cell in benchmark.cells[:2]] == ["base", "good"]
        assert "▾ benchmarks vs" in ui.text


async def test_enter_leads_to_the_worst_examples_the_losses_and_the_questions(store_folder: Path) -> None:
    async with opened(store_folder, "compare") as ui:
        table = table_of(ui.app)
        table.go_to(next(place for place, entry in enumerate(table.items) if named(entry) == "exact_match"))
        await ui.press("enter")
        assert isinstance(ui.screen, ReviewScreen)
        assert "worst exact_match first" in ui.text
        await ui.press("escape", "z", "z")
        table.go_to(next(place for place, entry in enumerate(table.items) if isinstance(entry, JudgeLine)))
        await ui.press("enter")
        assert isinstance(ui.screen, ReviewScreen) and "losses" in ui.text
        await ui.press("escape")
        place = [named(entry) for entry in table.items].index("copying · acc", table.cursor)
        table.go_to(place)
        await ui.press("enter")
        assert isinstance(ui.screen, SamplesScreen)


async def test_a_filter_keeps_what_it_names_and_esc_takes_it_off(store_folder: Path) -> None:
    async with opened(store_folder, "compare") as ui:
        await ui.press("slash", *"arith", "enter")
        assert "arithmetic" in ui.text and "perplexity" not in ui.text
        await ui.tap("escape")
        assert isinstance(ui.screen, CompareScreen)
        assert "perplexity" in ui.text


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
def test_how_it_looks(store_folder: Path, settled: Settled, snap_compare: Any, size: tuple[int, int]) -> None:
    async def before(pilot: Pilot[int]) -> None:
        await settled(pilot)
        await pilot.press("c")
        await settled(pilot)

    app = AssayApp(store_folder, run=2, screen="compare", now=lambda: NOW)
    assert snap_compare(app, terminal_size=size, run_before=before)
