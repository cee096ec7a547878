"""Taking examples out of an eval set and putting them back, from Splits and from Review."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.pilot import Pilot

from engine.data.example import query_id
from store import database
from store.people import excluded
from tests.tui.driver import driven, opened
from tests.tui.leaky import open_splits, rest

Settled = Callable[[Pilot[int]], Awaitable[None]]


async def test_x_takes_an_example_out_and_puts_it_back(leaky: Path) -> None:
    connection = database.connect(leaky)
    app = open_splits(leaky)
    async with driven(app, (120, 36)) as ui:
        await ui.press("x")
        shown = ui.text
        assert "t-003 excluded: the next run is on a new version without it" in shown
        assert "× excluded from the next run" in shown and "× 1 excluded" in shown
        (row,) = excluded(connection).values()
        assert (row.example, row.query_hash) == ("t-003", query_id("My parcel has not moved for nine days."))
        assert row.reason == "leaked: identical, training line 412"
        await ui.press("x")
        assert "t-003 is back" in ui.text
    assert not excluded(connection)
    connection.close()


async def test_u_puts_the_last_one_back(leaky: Path) -> None:
    connection = database.connect(leaky)
    app = open_splits(leaky)
    async with driven(app) as ui:
        await ui.press("x", "j", "x", "u")
        assert "t-001 is back" in ui.text
        assert [example for example, _ in excluded(connection)] == ["t-003"]
        await ui.press("u", "u")
        assert "nothing that could be restored" in ui.text
    connection.close()


async def test_versions_list_what_is_out_and_x_there_puts_it_back(leaky: Path, settled: Settled) -> None:
    app = open_splits(leaky)
    async with driven(app) as ui:
        await ui.press("x", "5")
        shown = ui.text
        assert "next run" in shown and "11  −1 excluded" in shown and "× t-003" in shown
        await ui.tap("G")
        await rest(ui.pilot, settled, "leaked: identical, training line 412")
        await ui.press("x")
        assert "× t-003" not in ui.text and "next run " not in ui.body[5]


async def test_x_where_there_is_no_example_says_what_it_is_for(leaky: Path) -> None:
    app = open_splits(leaky)
    async with driven(app) as ui:
        await ui.press("2", "x")
        assert "x excludes a leaked example" in ui.text


async def test_review_excludes_the_example_that_it_shows(leaky: Path) -> None:
    connection = database.connect(leaky)
    async with opened(leaky, "review") as ui:
        await ui.press("x")
        assert "t-001 excluded: the next run is on a new version without it" in ui.text
        assert [example for example, _ in excluded(connection)] == ["t-001"]
        await ui.press("x")
        assert "t-001 is back" in ui.text
    assert not excluded(connection)
    connection.close()
