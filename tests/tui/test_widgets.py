from typing import Any

from textual.app import App, ComposeResult
from textual.content import Content
from textual.geometry import Region

from tui.text.gate import fit
from tui.widgets.lines import Pane
from tui.widgets.rows import Columns, FlexColumn, Rows


class Spying(Pane):
    """A pane that notes which regions it asked to be repainted."""

    def __init__(self, lines: list[Content]) -> None:
        self.repainted: list[Region] = []
        super().__init__(lines, focusable=True)

    def refresh(self, *regions: Region, **options: Any) -> "Spying":
        self.repainted += regions
        return super().refresh(*regions, **options)


class ListApp(App[None]):
    def __init__(self, count: int) -> None:
        super().__init__()
        self.drawn = 0
        self.count = count
        self.heard: list[str] = []

    def compose(self) -> ComposeResult:
        yield Rows(self._draw)

    def _draw(self, item: int, width: int) -> Content:
        self.drawn += 1
        return Content(f"row {item}")

    def on_mount(self) -> None:
        self.rows.show(range(self.count))
        self.rows.focus()

    @property
    def rows(self) -> "Rows[int]":
        return self.query_one(Rows)

    def on_rows_opened(self, event: Rows.Opened) -> None:
        self.heard.append(f"opened {event.rows.item}")

    def on_rows_near_end(self, event: Rows.NearEnd) -> None:
        self.heard.append("near end")


async def test_only_the_cells_that_changed_are_repainted() -> None:
    pane = Spying([Content("alpha 1 omega"), Content("same")])

    class PaneApp(App[None]):
        def compose(self) -> ComposeResult:
            yield pane

    async with PaneApp().run_test(size=(40, 5)) as pilot:
        await pilot.pause()
        pane.repainted.clear()
        pane.show([Content("alpha 2 omega"), Content("same")])
        assert pane.repainted == [Region(6, 0, 1, 1)]
        await pilot.pause()
        pane.repainted.clear()
        pane.show([Content("alpha 2 omega"), Content("same")])
        assert pane.repainted == []


async def test_of_a_line_that_changed_its_styles_what_follows_them_is_left() -> None:
    pane = Spying([Content.styled("one", "bold") + Content("  two  three")])

    class PaneApp(App[None]):
        def compose(self) -> ComposeResult:
            yield pane

    async with PaneApp().run_test(size=(40, 5)) as pilot:
        await pilot.pause()
        pane.repainted.clear()
        pane.show([Content("one  ") + Content.styled("two", "bold") + Content("  three")])
        assert pane.repainted == [Region(0, 0, 8, 1)]
        await pilot.pause()
        pane.repainted.clear()
        pane.show([Content("one  ") + Content.styled("twenty", "bold") + Content("  three")])
        assert pane.repainted == [Region(5, 0, 13, 1)]  # what follows has moved


async def test_wide_characters_are_repainted_whole() -> None:
    pane = Spying([Content("包裹 a"), Content("x")])

    class PaneApp(App[None]):
        def compose(self) -> ComposeResult:
            yield pane

    async with PaneApp().run_test(size=(40, 5)) as pilot:
        await pilot.pause()
        pane.repainted.clear()
        pane.show([Content("包到 a"), Content("x")])
        assert pane.repainted == [Region(2, 0, 2, 1)]


async def test_a_list_of_a_million_rows_draws_only_what_is_visible() -> None:
    app = ListApp(1_000_000)
    async with app.run_test(size=(40, 20)) as pilot:
        await pilot.pause()
        app.drawn = 0
        await pilot.press("j")
        assert app.rows.item == 1
        assert app.drawn <= 3 * 20
        await pilot.press("G")
        assert app.rows.item == 999_999
        assert "near end" in app.heard
        await pilot.press("g", "ctrl+d", "enter")
        assert app.heard[-1] == "opened 10"


async def test_the_cursor_stays_on_its_item_when_rows_come_in_above() -> None:
    app = ListApp(5)
    async with app.run_test(size=(40, 20)) as pilot:
        await pilot.press("j", "j")
        app.rows.show([9, 8, 0, 1, 2, 3], key=lambda item: item)
        assert app.rows.item == 2


async def test_the_cursor_is_always_visible() -> None:
    app = ListApp(100)
    async with app.run_test(size=(40, 10)) as pilot:
        for key in ("j",) * 25 + ("k",) * 20 + ("ctrl+d",) * 7:
            await pilot.press(key)
            assert app.rows.top <= app.rows.cursor < app.rows.top + 10
        await pilot.resize_terminal(40, 4)
        await pilot.pause()
        assert app.rows.top <= app.rows.cursor < app.rows.top + 4


async def test_an_empty_list_says_so_and_opens_nothing() -> None:
    app = ListApp(0)
    async with app.run_test(size=(40, 10)) as pilot:
        await pilot.press("j", "G", "enter")
        assert app.rows.item is None
        assert app.rows.line(0).plain == "  nothing here"
        assert app.heard == []


def test_columns_share_what_is_left_and_leave_out_what_does_not_fit() -> None:
    columns = Columns(
        FlexColumn("a", 4, grow=1), FlexColumn("b", 4, drop=1), FlexColumn("c", 4, align="right")
    )
    assert columns.row(["one", "two", "3"], 20).plain == "one       two      3"
    assert columns.row(["one", "two", "3"], 12).plain == "one        3"
    assert columns.heading(20).cell_length == 20


def test_cells_of_a_row_go_through_the_gate() -> None:
    columns = Columns(FlexColumn("a", 10))
    assert columns.row(["\x1b[2J[/b]"], 10).plain == fit("␛[2J[/b]", 10).plain
