"""The Splits screen: sizes, leaks, and who used the test split."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from store import database
from store.annotations import record_look
from store.rows import LeakRow, SplitUseRow
from tests.tui.history import EVAL_SET, NOW
from tui.app import AssayApp
from tui.screens.review import ReviewScreen
from tui.screens.splits_lines import leak_summary, ledger, sizes

Settled = Callable[[Pilot[int]], Awaitable[None]]


def text_of(app: AssayApp) -> str:
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


async def test_it_shows_sizes_leaks_with_both_sides_and_the_ledger(own_store: Path, settled: Settled) -> None:
    connection = database.connect(own_store)
    record_look(connection, EVAL_SET, "test", "maria", "final check", run_id=2)
    connection.close()
    app = AssayApp(own_store, run=2, screen="splits", now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        shown = text_of(app)
        assert "12 in tickets.jsonl" in shown and "1,600 in train.jsonl" in shown
        assert "shipping" in shown and "81%" in shown
        assert "! 1 of 12 stands in the training data" in shown
        assert "line 412" in shown and "My parcel has not moved for nine days." in shown
        assert "used once" in shown and "maria" in shown and "final check" in shown
        await pilot.press("enter")
        await settled(pilot)
        assert isinstance(app.screen, ReviewScreen)
        assert "t-003" in text_of(app) and "1/1" in text_of(app)


def test_without_training_data_nothing_is_claimed_about_leaks() -> None:
    summary = {"evaluation": {"total": 3, "by_split": {"test": 3}, "by_category": {"a": 3}}, "training": None}
    assert "not searched for" in leak_summary(summary, []).plain
    lines = [line.plain for line in sizes(summary, 78)]
    assert "no training data" in lines[0]
    assert all(line.count("%") <= 1 for line in lines)


def test_a_clean_run_says_so() -> None:
    summary = {"evaluation": {"total": 3}, "training": {"total": 9}}
    assert leak_summary(summary, []).plain.startswith("+ no example")


def test_answers_alone_are_told_apart_from_whole_examples() -> None:
    summary = {"evaluation": {"total": 9}, "training": {"total": 9}, "selected": 9}
    leaks = [
        LeakRow(example, "identical", 1.0, 4, field, "text", "query")
        for example, field in (("a", "query"), ("a", "reference"), ("b", "reference"), ("c", "both"))
    ]
    said = leak_summary(summary, leaks).plain
    assert "2 of 9 stand in the training data" in said and "1 of 9 stands by their answer alone" in said
    assert "answer alone" in leak_summary(summary, leaks[2:3]).plain


def test_a_run_that_has_not_read_its_data_says_so() -> None:
    assert "not read yet" in sizes(None, 78)[0].plain


def test_the_ledger_has_the_newest_first_and_survives_hostile_reasons() -> None:
    uses = [SplitUseRow(None, "test", "eve", "\x1b]52;c;aGk=\x07[/b]", NOW - 60)]
    lines = [line.plain for line in ledger(uses, NOW, 200)]
    assert "\x1b" not in lines[1] and "\x07" not in lines[1] and "[/b]" in lines[1]


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
def test_how_it_looks(store_folder: Path, settled: Settled, snap_compare: Any, size: tuple[int, int]) -> None:
    app = AssayApp(store_folder, run=2, screen="splits", now=lambda: NOW)
    assert snap_compare(app, terminal_size=size, run_before=settled)
