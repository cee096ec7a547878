import math

import pytest
from rich.cells import cell_len

from tui.text.output import Column, as_json, number, table

NAMES = [Column("name"), Column("value", True), Column("more", True)]


def test_numbers_stand_to_the_right_and_texts_to_the_left() -> None:
    lines = list(table(NAMES, [["a", "1.5", "2"], ["long name", "10", "3"]], 80))
    assert lines == [
        "name       value  more",
        "a            1.5     2",
        "long name     10     3",
    ]


def test_a_long_text_is_cut_so_that_the_line_fits() -> None:
    (_, line) = table(NAMES, [["a very long name of a model", "1", "2"]], 34)
    assert cell_len(line) <= 34
    assert "…" in line and line.endswith("2")


def test_columns_that_do_not_fit_go_on_below_beside_the_first_one() -> None:
    columns = [Column("measure"), *(Column(f"model {n}", True) for n in range(6))]
    lines = list(table(columns, [["rouge1", *("0.500 [0.400, 0.600]",) * 6]], 80))
    assert all(cell_len(line) <= 80 for line in lines)
    assert sum(line.startswith("rouge1") for line in lines) == 2
    assert sum(line.count("0.500") for line in lines) == 6


def test_width_counts_cells_not_characters() -> None:
    lines = list(table([Column("query"), Column("n", True)], [["包裹到了", "1"], ["ab", "2"]], 80))
    assert {cell_len(line) for line in lines} == {cell_len("包裹到了") + 3}


def test_control_characters_and_line_feeds_of_data_are_pictures() -> None:
    (_, line) = table([Column("text")], [["\x1b[31mred\nblue\u202e"]], 80)
    assert line == "␛[31mred⏎blue‹U+202E›"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.12345, "0.123"),
        (-0.0001, "0.000"),
        (12.345, "12.35"),
        (123456.7, "123.5k"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_numbers_have_the_digits_that_matter(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_json_holds_no_nan_and_no_raw_control_character() -> None:
    text = as_json({"value": math.nan, "list": [math.inf, 1.0], "text": "\x1b\x7f\u202e\ud800"})
    assert text.isascii() and "\x7f" not in text and "\x1b" not in text
    assert '"value": null' in text and "NaN" not in text and "Infinity" not in text
