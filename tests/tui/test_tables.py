"""Every table: sorted by any column, with a mark for where one is in it, narrowed by words."""

import json
import re
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from textual.content import Content

from store.read.query import Word, matches, read_words
from tests.tui.driver import Driver, opened
from tui.screens.decision import DecisionScreen
from tui.screens.runs import PAGE, RunsScreen
from tui.widgets.rows import Columns, FlexColumn, Rows, Sorting

NAMED = Columns(
    FlexColumn("name", 8, key=lambda item: item[0]),
    FlexColumn("note", 8),
    FlexColumn("value", 8, align="right", key=lambda item: item[1]),
)


def test_text_begins_with_a_and_numbers_with_the_largest_what_is_missing_comes_last() -> None:
    items = [("beta", 1.0), ("Alpha", None), ("gamma", 3.0), ("", float("nan"))]
    assert [name for name, _ in NAMED.sorted(items, Sorting(0))] == ["Alpha", "beta", "gamma", ""]
    assert [value for _, value in NAMED.sorted(items, Sorting(2))][:2] == [3.0, 1.0]
    assert [value for _, value in NAMED.sorted(items, Sorting(2, backwards=True))][:2] == [1.0, 3.0]
    assert [name for name, _ in NAMED.sorted(items, Sorting(2))][2:] == ["Alpha", ""]


@given(st.lists(st.tuples(st.text(max_size=3), st.none() | st.integers(0, 3))), st.booleans())
def test_sorting_loses_no_row_and_keeps_the_order_of_equal_ones(
    items: list[tuple[str, int | None]], backwards: bool
) -> None:
    found = NAMED.sorted(list(enumerate(value for _, value in items)), Sorting(2, backwards))
    assert sorted(place for place, _ in found) == list(range(len(items)))
    for value in {value for _, value in items}:
        places = [place for place, other in found if other == value]
        assert places == sorted(places)


def test_the_heading_says_which_way_it_is_sorted() -> None:
    assert NAMED.heading(40, Sorting(0)).plain.split() == ["name▲", "note", "value"]
    assert NAMED.heading(40, Sorting(2)).plain.split() == ["name", "note", "▼value"]
    assert NAMED.heading(40, Sorting(2, backwards=True)).plain.split() == ["name", "note", "▲value"]


def ids(ui: Driver) -> list[int]:
    return [row.id for row in ui.on(RunsScreen).rows.items]


async def test_o_sorts_by_the_next_column_and_capital_o_the_other_way(store_folder: Path) -> None:
    async with opened(store_folder, run=None, size=(120, 30)) as ui:
        assert ids(ui) == [3, 2, 1]
        await ui.press("o", "O")
        assert ids(ui) == [1, 2, 3] and "▲run" in ui.text
        await ui.press("o")
        assert "name▲" in ui.text
        names = [row.name for row in ui.on(RunsScreen).rows.items]
        assert names == sorted(names)
        await ui.press(*"oooooo")
        assert ids(ui) == [3, 2, 1] and "▲" not in ui.text


async def test_the_cursor_stays_on_its_row_when_the_order_changes(store_folder: Path) -> None:
    async with opened(store_folder, run=None, size=(120, 30)) as ui:
        await ui.press("g")
        here = ui.on(RunsScreen).rows.item
        await ui.press("o", "O")
        assert ui.on(RunsScreen).rows.item is here and ui.on(RunsScreen).rows.cursor == 2


async def test_a_click_on_a_head_sorts_and_another_turns_it_round(store_folder: Path) -> None:
    async with opened(store_folder, run=None, size=(120, 30)) as ui:
        heading = next(place for place, line in enumerate(ui.lines) if "open alerts" in line)
        x = ui.lines[heading].index("name")
        for sign in ("name▲", "name▼"):
            await ui.pilot.click(offset=(x, heading))
            await ui.settled()
            assert sign in ui.lines[heading]


async def test_a_list_that_runs_off_the_screen_has_a_scroll_bar(sweep: Path) -> None:
    async with opened(sweep, "decision", run=1) as ui:
        rows = ui.on(DecisionScreen).candidates
        assert len(rows.items) == 30

        def bar() -> list[bool]:
            return ["┃" in rows.line(y).plain for y in range(rows.size.height)]

        await ui.press("g")
        assert bar()[0] and not bar()[-1]
        await ui.press("G")
        assert bar()[-1] and not bar()[0]
        await ui.press("slash", *"step-0100", "enter")
        assert len(rows.items) == 1 and not any(bar())


async def test_the_candidates_of_a_sweep_are_narrowed_by_words(sweep: Path) -> None:
    async with opened(sweep, "decision", run=1) as ui:
        await ui.press("slash", *"candidate:step-02 !2900", "enter")
        shown = [verdict.candidate for verdict in ui.on(DecisionScreen).candidates.items]
        assert shown and all("step-02" in name and "2900" not in name for name in shown)
        await ui.press("escape")
        assert len(ui.on(DecisionScreen).candidates.items) == 30


def test_words_fields_and_what_must_be_absent() -> None:
    row = {"model": "base", "text": "a tie: two words"}
    assert read_words('Model:base x "two words" !tie http://y model:', row) == (
        Word("model", "base"),
        Word("", "x"),
        Word("", "two words"),
        Word("", "tie", True),
        Word("", "http://y"),
    )
    kept = ("", "BASE", "words two", 'model:base "two words"', "!base2", "!model:words", "tie:")
    assert all(matches(words, row) for words in kept)
    for words in ("base2", "model:words", "!tie", "base !model:base", '"words two"'):
        assert not matches(words, row), words


@given(st.text(max_size=30))
def test_whatever_is_typed_finds_what_has_its_words_and_in_quotes_what_has_it_as_it_stands(text: str) -> None:
    words = read_words(text, ["model"])
    row = " ".join(word.text for word in words if not word.is_out)
    unwanted = [word.text for word in words if word.is_out and word.text.casefold() in row.casefold()]
    assert matches(text, {"model": row}) == (not unwanted)
    quoted = text.replace('"', "")
    assert matches(f'"{quoted}"', {"model": f"a {quoted} b"})
    assert matches(f'!"{quoted}"', {"model": f"a {quoted} b"}) == (not quoted)


async def test_two_marked_runs_are_compared(store_folder: Path) -> None:
    async with opened(store_folder, run=None, size=(120, 30)) as ui:
        await ui.press("G", "space")
        assert "#1 marked" in ui.head and "*#1" in ui.text
        await ui.press("k", "space")
        assert "#1 and #2 marked: C compares them" in ui.head
        await ui.press("C")
        await ui.shows("Run 2 against run 1", "rougeL")


async def test_a_run_is_reported_exported_and_accepted(own_store: Path, tmp_path: Path) -> None:
    async with opened(own_store, "decision", size=(120, 30)) as ui:
        written = tmp_path / "written.md"
        await ui.press("W", *["ctrl+u"], *str(written), "enter")
        await ui.until(written.exists)
        await ui.shows("is written")
        assert "tickets-v2" in written.read_text()
        await ui.press("X", "ctrl+u", *str(tmp_path / "rows"), "enter")
        await ui.shows("run 2 is in")
        lines = (tmp_path / "rows" / "runs.jsonl").read_text().splitlines()
        assert [json.loads(line)["run"] for line in lines] == [2]
        await ui.press("Y", "y")
        await ui.shows("is accepted")


async def test_what_cannot_be_done_says_why(store_folder: Path, tmp_path: Path) -> None:
    async with opened(store_folder, run=None, size=(120, 30)) as ui:
        await ui.press("W", "ctrl+u", *"report.pdf", "enter")
        assert re.search(r"a report ends in \.html, \.md, \.json, \.xml", ui.text)
        await ui.press("I", *"lm-eval 'x", "enter")
        assert "a quotation mark is not closed" in ui.text
        await ui.press("I", *f"lm-eval {tmp_path / 'none'}", "enter")
        await ui.shows("`assay import` did not work", "none")


def test_rows_that_fit_have_no_bar() -> None:
    rows: Rows[Any] = Rows(lambda item, width: Content(str(item)))
    rows.show([1])
    assert rows._bar(0) == ""


async def test_rows_stay_sorted_by_a_column_of_that_name_and_by_no_other(sweep: Path) -> None:
    async with opened(sweep, "compare", run=1, size=(160, 48)) as ui:
        await ui.press("s", "a")
        table = ui.screen.query_one("#table", Rows)
        assert table.columns is not None
        last = table.columns.sortable[-1]
        table._sort(Sorting(last))
        await ui.press("a")
        assert table.by is None  # the last column has no name to be known by
        measured = next(p for p in table.columns.sortable if table.columns.title(p) == "delta")
        table._sort(Sorting(measured))
        await ui.press("a")
        assert table.by is not None and table.columns.title(table.by.column) == "delta"


async def test_a_filter_leaves_all_runs_in_a_sorted_list(many_runs: Path) -> None:
    async with opened(many_runs, run=None, size=(120, 30)) as ui:
        await ui.press("o", "O")
        assert ids(ui)[0] == 1
        await ui.press("slash", *"tickets", "enter")
        assert ids(ui)[0] == 1 and len(ids(ui)) > PAGE
        await ui.press("escape")
        assert ids(ui)[0] == 1 and len(ids(ui)) > PAGE
