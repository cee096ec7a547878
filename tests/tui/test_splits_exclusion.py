"""Taking examples out of an eval set and putting them back, from Splits and from Review."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.pilot import Pilot

from engine.data.example import query_id
from store import database
from store.exclusions import excluded
from tests.tui.conftest import text_of
from tests.tui.history import NOW
from tests.tui.leaky import open_splits, rest
from tui.app.app import AssayApp

Settled = Callable[[Pilot[int]], Awaitable[None]]


async def test_x_takes_an_example_out_and_puts_it_back(leaky: Path, settled: Settled) -> None:
    connection = database.connect(leaky)
    app = open_splits(leaky)
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        await pilot.press("x")
        await settled(pilot)
        shown = text_of(app)
        assert "t-003 excluded: the next run is on a new version without it" in shown
        assert "× excluded from the next run" in shown and "× 1 excluded" in shown
        (row,) = excluded(connection).values()
        assert (row.example, row.query_hash) == ("t-003", query_id("My parcel has not moved for nine days."))
        assert row.reason == "leaked: identical, training line 412"
        await pilot.press("x")
        await settled(pilot)
        assert "t-003 is back" in text_of(app)
    assert not excluded(connection)
    connection.close()


async def test_u_puts_the_last_one_back(leaky: Path, settled: Settled) -> None:
    connection = database.connect(leaky)
    app = open_splits(leaky)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("x", "j", "x", "u")
        await settled(pilot)
        assert "t-001 is back" in text_of(app)
        assert [example for example, _ in excluded(connection)] == ["t-003"]
        await pilot.press("u", "u")
        await settled(pilot)
        assert "nothing that could be put back" in text_of(app)
    connection.close()


async def test_versions_list_what_is_out_and_x_there_puts_it_back(leaky: Path, settled: Settled) -> None:
    app = open_splits(leaky)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("x", "5")
        await settled(pilot)
        shown = text_of(app)
        assert "next run" in shown and "11  −1 excluded" in shown and "× t-003" in shown
        await pilot.press("G")
        await rest(pilot, settled, "leaked: identical, training line 412")
        await pilot.press("x")
        await settled(pilot)
        assert "× t-003" not in text_of(app) and "next run " not in text_of(app).split("\n")[6]


async def test_x_where_there_is_no_example_says_what_it_is_for(leaky: Path, settled: Settled) -> None:
    app = open_splits(leaky)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("2", "x")
        await settled(pilot)
        assert "x takes out a leaked example" in text_of(app)


async def test_review_excludes_the_example_that_it_shows(leaky: Path, settled: Settled) -> None:
    connection = database.connect(leaky)
    app = AssayApp(leaky, run=2, screen="review", now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("x")
        await settled(pilot)
        assert "t-001 excluded: the next run is on a new version without it" in text_of(app)
        assert [example for example, _ in excluded(connection)] == ["t-001"]
        await pilot.press("x")
        await settled(pilot)
        assert "t-001 is back" in text_of(app)
    assert not excluded(connection)
    connection.close()
