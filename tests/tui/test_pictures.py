"""Pictures of stored numbers: their exact geometry, and where the screens draw them."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.engine.runs import carry_out, queue, recorded_plan
from tests.tui.conftest import Settled
from tests.tui.driver import Driver, opened
from tests.tui.history import NOW
from tui.app.app import AssayApp
from tui.app.terminal import ascii_only
from tui.screens.compare.data import Entry, FamilyHeading, MeasureLine, name_of
from tui.screens.compare.screen import CompareScreen
from tui.screens.review.screen import ReviewScreen
from tui.widgets import pictures
from tui.widgets.pictures import DrawnDelta, HeatRow, LabelAnswers, Scale

LABELS = ("billing", "shipping", "account")
SIZES = [(80, 24), (120, 36), (160, 48)]


# Geometry


def test_a_forest_plot_puts_every_end_into_its_cell() -> None:
    of = Scale(-0.5, 0.5)
    line = pictures.forest(DrawnDelta(-0.2, -0.35, 0.04, [-0.05]), of, 20, "").plain
    assert line == "   ├──●──◇│         "
    assert [of.cell(value, 20) for value in (-0.35, -0.2, -0.05, 0.0, 0.04)] == [3, 6, 9, 10, 10]


def test_of_one_cell_the_value_is_seen_before_the_limit_and_that_before_zero() -> None:
    of = Scale(-1.0, 1.0)
    assert pictures.forest(DrawnDelta(0.0, None, None, [0.0]), of, 11, "").plain.strip() == "●"
    assert pictures.forest(DrawnDelta(None, None, None, [0.0]), of, 11, "").plain.strip() == "◇"
    assert pictures.forest(DrawnDelta(None, None, None), of, 11, "").plain == "     │     "
    assert "◇" not in pictures.forest(DrawnDelta(0.1, 0.0, 0.2, [-3.0]), of, 11, "").plain, "beyond the scale"


def test_a_scale_of_its_own_keeps_zero_in_the_same_cell() -> None:
    shared = pictures.forest_scale([DrawnDelta(-0.2, -0.3, 0.1), DrawnDelta(0.05, None, None)])
    assert shared.low <= -0.3 and shared.high >= 0.1
    for item in (
        DrawnDelta(212.0, 180.0, 244.0),
        DrawnDelta(-3.1, -4.0, -2.2, [1.0]),
        DrawnDelta(0.0, 0.0, 0.0),
    ):
        own = pictures.around_zero(item, shared)
        assert own.cell(0.0, 40) == shared.cell(0.0, 40)
        assert all(own.low <= end <= own.high for end in item.ends)


@pytest.mark.parametrize("values", [[0.4], [-0.4], [0.0], [], [1e-9], [-12.0, 1e6]])
def test_a_forest_scale_has_room_on_both_sides_of_zero(values: list[float]) -> None:
    of = pictures.forest_scale([DrawnDelta(value, value, value) for value in values])
    assert of.low < 0 < of.high and all(of.low <= value <= of.high for value in values)
    assert len(pictures.axis(of, 30)) == 30


def test_shades_tell_apart_without_colour_and_in_ascii() -> None:
    shares = (None, 0.0, 0.01, 0.3, 0.6, 0.76, 1.0)
    assert [pictures.shade(share) for share in shares] == [0, 0, 1, 2, 3, 4, 4]
    assert len({ascii_only(shade) for shade in pictures.SHADES}) == 5


def test_a_histogram_has_the_same_bins_for_both_models_and_the_last_holds_its_end() -> None:
    found = pictures.histogram({"a": [0.0, 0.1, 0.95, 1.0], "b": [0.55]}, 0.0, 1.0)
    assert found is not None and found.edges[0] == 0.0 and found.edges[-1] == 1.0
    assert found.counts == {"a": (1, 1, 0, 0, 0, 0, 0, 0, 0, 2), "b": (0, 0, 0, 0, 0, 1, 0, 0, 0, 0)}
    assert found.medians == {"a": pytest.approx(0.525), "b": 0.55}
    lines = [line.plain for line in pictures.histogram_lines(found, 78)]
    assert len(lines) == 11 and max(map(len, lines)) <= 78
    assert lines[0].split() == ["a", "n", "4", "median", "0.525", "b", "n", "1", "median", "0.550"]
    assert lines[6].count("◆") == 2 and sum(line.count("◆") for line in lines) == 2
    assert pictures.histogram({"a": [], "b": []}) is None


def test_a_histogram_of_an_open_measure_is_over_what_there_is() -> None:
    found = pictures.histogram({"a": [12.0, 30.0], "b": []}, 0.0, None)
    assert found is not None and found.edges[0] <= 12.0 and found.edges[-1] >= 30.0
    assert sum(found.counts["a"]) == 2 and "b" not in found.medians
    same = pictures.histogram({"a": [3.0, 3.0]})
    assert same is not None and sum(same.counts["a"]) == 2


def test_a_confusion_table_shades_by_the_share_of_its_row() -> None:
    rows = [
        LabelAnswers("billing", [6, 1, 0, 1]),
        LabelAnswers("shipping", [0, 2, 2, 0]),
        LabelAnswers("account", [0, 0, 0, 0]),
    ]
    lines = [line.plain for line in pictures.confusion(rows, "not found", 78)]
    assert re.split(r"\s{2,}", lines[1].strip()) == ["billing", "6 ██", "1 ░░", "·", "1 ░░"]
    assert re.split(r"\s{2,}", lines[2].strip()) == ["shipping", "·", "2 ▓▓", "2 ▓▓", "·"]
    assert lines[3].split() == ["account", "·", "·", "·", "·"], "no example: no share"


def test_of_many_labels_those_with_most_mistakes_show_and_the_rest_is_summed() -> None:
    def row(place: int) -> LabelAnswers:
        counts = [0.0] * 31
        counts[place], counts[(place + 1) % 30] = 10 - place % 10, place % 10
        return LabelAnswers(f"label {place:02}", counts)

    rows = [row(place) for place in range(30)]
    names, shown = pictures.mostly_mistaken(rows, 5)
    assert names == ["label 08", "label 09", "label 19", "label 29", pictures.REST]
    assert len(shown) == 5 and all(len(each.counts) == 6 for each in shown)
    assert sum(sum(each.counts) for each in shown) == sum(sum(each.counts) for each in rows)
    lines = pictures.confusion(rows, "not found", 78)
    assert max(line.cell_length for line in lines) <= 78


def row(name: str, measure: str, delta: float | None, standing: str = "inconclusive", **more: Any) -> HeatRow:
    worsening = more.get("worsening", None if delta is None else -delta)
    return HeatRow(name, measure, delta, worsening, standing, more.get("reason"))


def test_a_heat_map_marks_what_is_settled_and_shades_by_the_largest_of_its_measure() -> None:
    found = pictures.heat_map(
        [
            row("long", "rougeL", 0.1),
            row("short", "rougeL", -0.4, "worse"),
            row("short", "seconds", 12.5, "worse", worsening=12.5),
            row("long", "seconds", None, "missing", reason="too few"),
        ]
    )
    assert found.slices == ("short", "long") and found.measures == ("rougeL", "seconds")
    drawn = {key: pictures.heat_cell(cell).plain for key, cell in found.cells.items()}
    assert drawn == {
        ("long", "rougeL"): "▒▒+0.10 ", ("short", "rougeL"): "██−0.40▼",
        ("short", "seconds"): "██+12.5▼", ("long", "seconds"): "·",
    }  # fmt: skip
    assert all(len(text) <= pictures.HEAT for text in drawn.values())
    assert len(pictures.heat_cell(pictures.HeatCell(row("a", "b", -123456.0), 1.0)).plain) <= pictures.HEAT


# On the screens


def go_to(ui: Driver, name: str, after: int = 0) -> None:
    def named(entry: Entry) -> str:
        return "" if isinstance(entry, FamilyHeading) else name_of(entry)

    table = ui.on(CompareScreen).table
    table.go_to([named(entry) for entry in table.items].index(name, after))


@pytest.fixture(scope="module")
def classified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a classifier that learned to call everything billing, of which one answer names no label."""
    folder = tmp_path_factory.mktemp("classified")
    rows = [
        {"id": f"e{n:02}", "query": f"Ticket {n}", "label": LABELS[n % 3], "category": LABELS[n % 3]}
        for n in range(30)
    ]
    before = {row["id"]: LABELS[(n + (n % 5 == 0)) % 3] for n, row in enumerate(rows)}
    after = {row["id"]: "billing" if n < 20 else row["label"] for n, row in enumerate(rows)}
    after["e29"] = "I do not know"
    named = 'classification = { labels = ["billing", "shipping", "account"] }'
    more = f'[metrics]\nuse = ["classification", "length"]\n{named}\n[gates]\nmax_metric_drop = 0.1'
    plan = recorded_plan(folder, rows, {"before": before, "after": after}, more)
    carry_out(folder / "store", queue(folder / "store", plan)).set_run(status="finished", started=NOW - 9)
    return folder / "store"


async def test_compare_draws_deltas_with_the_limit_of_the_plans_gate(classified: Path) -> None:
    async with opened(classified, "compare", run=1, size=(120, 36)) as ui:
        go_to(ui, "accuracy")
        await ui.press("f")
        await ui.shows("◇")
        line = next(line for line in ui.lines if "accuracy" in line)
        assert re.search(r"├─+●─+┤?", line) and "= inconclusive" in line
        assert "the gate trips beyond −0.100" in ui.text
        words = next(line for line in ui.lines if "response_words" in line)
        assert "●" in words
        await ui.press("k")
        assert "◇ limit of the gate" in ui.text or "drawn from" in ui.text
        await ui.press("f")
        assert "◇" not in ui.text and "min. detectable" in ui.text


async def test_a_classifier_shows_who_was_taken_for_whom_and_a_measure_how_it_spreads(
    classified: Path,
) -> None:
    async with opened(classified, "compare", run=1, size=(120, 48)) as ui:
        go_to(ui, "accuracy")
        await ui.press("p")
        assert "after: examples by label (down) and answer (across)" in ui.text
        shipping = next(line for line in ui.lines if line.strip().startswith("shipping"))
        assert re.split(r"\s{2,}", shipping.strip()) == ["shipping", "·", "7 ▓▓", "3 ▒▒", "·"]
        go_to(ui, "response_words")
        await ui.shows("before n 30 median 1.000", "after n 30 median")
        await ui.press("g")
        assert "measures have pictures: values, answers by label, or reliability" in ui.text


async def test_benchmarks_spread_too_and_what_has_no_values_says_so(store_folder: Path) -> None:
    async with opened(store_folder, "compare", run=2, size=(120, 40)) as ui:
        go_to(ui, "arithmetic · acc", 5)
        await ui.press("p")
        await ui.shows("base n ", "good n ")
        line = next(
            e
            for e in ui.on(CompareScreen).table.items
            if isinstance(e, MeasureLine) and e.kind == "disparity"
        )
        go_to(ui, line.name)
        await ui.shows("has no value for single examples here")


async def test_slices_have_a_map_whose_cells_lead_to_the_answers(store_folder: Path) -> None:
    async with opened(store_folder, "compare", run=2) as ui:
        await ui.press("s", "m")
        shipping = next(line for line in ui.lines if "shipping" in line)
        assert shipping.count("−0.31▼") == 2
        assert "settled: ▼ worse" in ui.text and "−0.310 [−0.410..−0.210]" in ui.text
        await ui.press("a")
        assert "m leads back" in ui.text
        await ui.press("enter")
        assert isinstance(ui.screen, ReviewScreen) and "shipping" in ui.text
        await ui.press("escape", "m")
        assert "▼" not in ui.text and "− worse" in ui.text


async def test_pictures_of_a_run_without_numbers_say_so(store_folder: Path) -> None:
    async with opened(store_folder, "compare", run=1) as ui:
        await ui.press("s", "m")
        assert "no slices were computed" in ui.text


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("keys", ["f", "j j p", "s m"], ids=["forest", "picture", "map"])
def test_pictures_look(
    snap_compare: Any, classified: Path, settled: Settled, size: tuple[int, int], keys: str
) -> None:
    async def draw(pilot: Any) -> None:
        await settled(pilot)
        await pilot.press("j")
        for key in keys.split():
            await pilot.press(key)
            await settled(pilot)

    app = AssayApp(classified, run=1, screen="compare", now=lambda: NOW)
    assert snap_compare(app, terminal_size=size, run_before=draw)
