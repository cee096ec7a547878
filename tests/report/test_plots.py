import re
from itertools import pairwise

import pytest

from tui.report import plots
from tui.report.plots import Bar, BeforeAfter, PlotPlace, Reading
from tui.widgets import pictures

NARROW = 320  # pixels of a picture on a telephone
LETTER = 7.5  # pixels, more than a letter of 12 px takes


def places(drawn: str) -> list[float]:
    return [float(place) for place in re.findall(r'\b(?:x|x1|x2|width)="(-?[\d.]+)%"', drawn)]


def said(drawn: str) -> list[str]:
    return re.findall(r'<div class="said"><span[^>]*>(.*?)</span>', drawn)


def test_a_missing_value_is_drawn_as_missing_with_its_reason() -> None:
    missing = Reading("a against b", None, reason="no <references>")
    for drawn in (plots.forest([missing], "rougeL"), plots.rates([missing], "judge")):
        assert said(drawn) == ["= missing: no &lt;references&gt;"]
        assert 'class="missing"' in drawn and "<path" not in drawn
    step = plots.dumbbells([BeforeAfter("task", None, None, reason="no data")], "before and after")
    assert 'class="missing"' in step and "missing: no data" in said(step)[0]
    bars = plots.bars([Bar("leaked", None, 10, "no training data")], "leaks")
    assert said(bars) == ["○ missing: no training data"] and 'class="worse' not in bars
    strip = plots.strip([PlotPlace("a", None, reason="no score")], "slices", "")
    assert "a: missing, no score" in strip and "<rect" not in strip


def test_a_benchmark_known_on_one_side_alone_has_no_line_between() -> None:
    drawn = plots.dumbbells([BeforeAfter("task", 0.8, None, reason="it crashed")], "before and after")
    assert "range" not in drawn and "0.800 → – missing: it crashed" in said(drawn)[0]


def test_a_trend_breaks_where_runs_do_not_compare_or_have_no_value() -> None:
    values = [
        PlotPlace("run 1", 0.5),
        PlotPlace("run 2", 0.6),
        PlotPlace("run 3", None),
        PlotPlace("run 4", 0.6),
    ]
    joined = plots.sparkline([*values, PlotPlace("run 5", 0.7)], "rougeL", "")
    assert joined.count('class="range even"') == 2
    apart = plots.sparkline([*values, PlotPlace("run 5", 0.7, joined=False)], "rougeL", "")
    assert apart.count('class="range even"') == 1
    assert "run 3: missing, not recorded" in joined


def test_what_a_change_means_does_not_rest_on_colour() -> None:
    readings = [
        Reading("up", 0.2, 0.1, 0.3, "better", "better"),
        Reading("down", -0.2, -0.3, -0.1, "worse", "worse"),
        Reading("level", 0.0, -0.1, 0.1, "even", "no clear change"),
    ]
    drawn = plots.forest(readings, "rougeL")
    assert [words[0] for words in said(drawn)] == ["▲", "▼", "="]
    assert len(set(re.findall(r'<path d="([^"]+)"', drawn))) == 3
    up, down = (plots.strip([PlotPlace("a", 0.3, upward=way)], "slices", "") for way in (True, False))
    tops = [float(re.search(r'<rect[^>]* y="([\d.]+)"', strip)[1]) for strip in (up, down)]  # type: ignore[index]  # it is there
    assert tops[0] < 24 <= tops[1]


@pytest.mark.parametrize("values", [[1e-9, 2e-9], [-3.0, 1e6], [0.5, 0.5], [0.0], [-0.02, 0.31], [None]])
def test_marks_stay_inside_and_numbers_of_the_axis_apart(values: list[float | None]) -> None:
    readings = [Reading(str(place), value, value, value) for place, value in enumerate(values)]
    drawn = plots.forest(readings, "a measure")
    assert all(0 <= place <= 100 for place in places(drawn))
    texts = re.findall(r'<text x="([\d.]+)%" y="12" text-anchor="(\w+)">(.*?)</text>', drawn)
    spans = []
    for x, anchor, text in texts:
        width, at = len(text) * LETTER, float(x) / 100 * NARROW
        left = at - {"start": 0, "middle": width / 2, "end": width}[anchor]
        spans.append((left, left + width))
    spans.sort()
    assert spans[0][0] >= 0 and spans[-1][1] <= NARROW
    assert all(first[1] <= second[0] for first, second in pairwise(spans))


def test_text_of_models_and_data_stays_text() -> None:
    hostile = '</title><script>alert(1)</script>" onload="x \x1b[31m'
    reading = Reading(hostile, 0.1, 0.0, 0.2, "better", hostile)
    drawn = plots.forest([reading], hostile) + plots.strip([PlotPlace(hostile, 0.1)], hostile, hostile)
    drawn += plots.sparkline([PlotPlace(hostile, 0.1), PlotPlace(hostile, 0.2)], hostile, hostile)
    assert "<script" not in drawn and 'onload="' not in drawn and "\x1b" not in drawn


def test_a_scale_holds_all_values_with_ends_that_are_round() -> None:
    found = plots.scale([0.12, -0.03], 0.0)
    assert (round(found.low, 9), round(found.high, 9)) == (-0.05, 0.15)
    assert plots.Scale(0.0, 1.0).at(2.0) == plots.Scale(0.0, 1.0).at(1.0) < 100


def test_a_forest_plot_has_a_line_at_the_limit_of_the_gate_that_its_scale_holds() -> None:
    readings = [Reading("a", 0.02, 0.0, 0.04, limits=(-0.1,)), Reading("b", None, reason="no data")]
    drawn = plots.forest(readings, "rougeL")
    of = plots.difference_scale(readings)
    assert of.low <= -0.1
    assert f'class="wanted" x1="{of.at(-0.1):.2f}%"' in drawn and drawn.count('class="wanted"') == 1


def test_a_histogram_draws_the_bins_of_the_terminal_and_a_line_at_the_median() -> None:
    found = pictures.histogram({"base": [0.0, 0.05, 1.0], "tuned <b>": [1.0]}, 0.0, 1.0)
    assert found is not None
    drawn = plots.histogram(found, "rougeL")
    assert drawn.count("<rect") == 3 and drawn.count('class="wanted"') == 2
    assert "0.000 to 0.100: 2 of 3" in drawn and "median 0.050, n 3" in drawn and "tuned &lt;b&gt;" in drawn
    heights = sorted(float(size) for size in re.findall(r'<rect[^>]* height="([\d.]+)"', drawn))
    assert heights == [pytest.approx(44 / 3, abs=0.1), pytest.approx(88 / 3, abs=0.1), 44.0]
    assert all(0 <= place <= 100 for place in places(drawn))


def test_values_of_another_scale_are_bars_from_its_low_end() -> None:
    drawn = plots.rates([Reading("score 3", 3.0)], "judge", of=pictures.Scale(1.0, 5.0))
    left, width = re.search(r'x="([\d.]+)%" width="([\d.]+)%"', drawn).groups()  # type: ignore[union-attr]
    assert (float(left), float(width)) == (2.0, 48.0)
