"""A new plan: what the folder holds as parts of one, each in or out, and written to a file."""

import asyncio
from pathlib import Path

from textual import work
from textual.app import ComposeResult
from textual.content import Content
from textual.events import Resize

from engine.propose.proposal import MODELS, Item, Proposal, from_json
from tui.keys import bindings, written
from tui.screens.asking import ask_command
from tui.screens.base import AssayScreen
from tui.text.gate import join, plain, wrap
from tui.widgets.lines import Line, Pane
from tui.widgets.rows import Rows
from tui.widgets.table import Column, Columns

COLUMNS = Columns(
    Column("in", 3),
    Column("part", 9),
    Column("name", 16, grow=1),
    Column("what", 30, grow=3),
)
NOTE_LINES = 7


class WizardScreen(AssayScreen):
    NAME = "New plan"
    FOOTER = ("plan.toggle", "plan.rename", "plan.write")
    BINDINGS = bindings("plan.toggle", "plan.rename", "plan.write")
    DEFAULT_CSS = f"""
    WizardScreen #notes {{ height: {NOTE_LINES}; padding: 0 1; border-top: solid $rule; }}
    WizardScreen #notes.alone {{ height: 1fr; padding: 1; border-top: none; }}
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._proposal: Proposal | None = None
        self._complaint = ""

    def compose(self) -> ComposeResult:
        yield from self.framed(
            Line(id="heading"),
            Rows(_row, empty="looking at the files here …", id="parts"),
            Pane(focusable=True, id="notes"),
        )

    @property
    def rows(self) -> "Rows[Item]":
        return self.query_one("#parts", Rows)

    @property
    def _at_cursor(self) -> Item | None:
        return self.rows.item if self._proposal is not None else None

    def title_line(self) -> Content:
        return join([self.NAME, plain(f"from {self._folder}", "$muted")], "  ")

    def on_mount(self) -> None:
        super().on_mount()
        self._look()

    def on_resize(self, event: Resize) -> None:
        super().on_resize(event)
        self.query_one("#heading", Line).set(join(["  ", COLUMNS.heading(self.size.width - 2)]))
        self._show_notes()

    @work(group="look", exclusive=True)
    async def _look(self) -> None:
        answer = await ask_command("plan", str(self._folder), "--json")
        if answer.table is None:
            self._complaint = answer.complaint
        else:
            self._proposal = from_json(answer.table)
        self._show()

    def _show(self) -> None:
        items = self._proposal.items if self._proposal is not None else ()
        self.rows.show(items, key=lambda item: item.key)
        for part in (self.rows, self.query_one("#heading")):
            part.display = bool(items)
        self.query_one("#notes").set_class(not items, "alone")
        self._show_notes()

    def _show_notes(self) -> None:
        found = self._proposal
        notes = [("!", "$bad", self._complaint)] if self._complaint else []
        if found is not None:
            notes += [("lacks", "$bad", words) for words in found.lacking]
            notes += [("assumed", "$warn", words) for words in found.assumed]
            notes += [("no use", "$muted", words) for words in found.left_out]
            if not found.lacking:
                notes.insert(
                    0, (written("plan.write"), "$key", "writes the plan, with what is out as comments")
                )
        width = self.size.width - 2
        lines = [
            join([Content.styled(f"{word if place == 0 else '':>7}", style), line], "  ")
            for word, style, text in notes
            for place, line in enumerate(wrap(plain(text.replace("\n", " ")), width - 9))
        ]
        self.query_one("#notes", Pane).show(lines)

    def action_turn(self) -> None:
        item = self._at_cursor
        if self._proposal is not None and item is not None:
            self._proposal = self._proposal.toggled(item.key)
            self._show()

    def on_rows_opened(self, event: "Rows.Opened") -> None:
        self.action_rename()

    def action_rename(self) -> None:
        item = self._at_cursor
        if item is None:
            return
        if item.kind not in MODELS:
            self.say("only models have names of their own", error=True)
            return
        self.ask(f"Name of {item.where}", lambda name: self._rename(item.key, name.strip()), value=item.name)

    def _rename(self, key: str, name: str) -> None:
        if self._proposal is None:
            return
        try:
            self._proposal = self._proposal.renamed(key, name)
        except ValueError as error:
            self.say(str(error), error=True)
            return
        self._show()

    def action_write(self) -> None:
        if self._proposal is None:
            return
        if self._proposal.lacking:
            self.say(f"there is not {self._proposal.lacking[0]}", error=True)
            return
        self.ask("Write to", self._write_to, value=_free_name(self._folder))

    def _write_to(self, name: str) -> None:
        name = name.strip()
        if not name or Path(name).name != name:
            self.say("the plan stands in this folder: give a file name alone", error=True)
            return
        file = self._folder / (name if name.endswith(".toml") else f"{name}.toml")
        if file.exists():
            self.confirm(f"{file.name} is there already: write over it?", lambda: self._write_over(file))
        else:
            self._put(file)

    def _write_over(self, file: Path) -> None:
        self._put(file)

    @work(group="put", exclusive=True)
    async def _put(self, file: Path) -> None:
        from engine.propose.text import plan_text
        from tui.screens.check import CheckScreen

        if self._proposal is None:
            return
        try:
            await asyncio.to_thread(file.write_text, plan_text(self._proposal), encoding="utf-8")
        except (OSError, ValueError) as error:
            self.say(f"{file.name} cannot be written: {error}", error=True)
            return
        self.app.push_screen(CheckScreen(file))


def _row(item: Item, width: int) -> Content:
    mark = "[x]" if item.on else "[ ]"
    row = COLUMNS.row([mark, item.kind, item.name, item.what], width)
    return row if item.on else row.stylize("$muted")


def _free_name(folder: Path) -> str:
    names = ("plan.toml", *(f"plan-{number}.toml" for number in range(2, 100)))
    return next((name for name in names if not (folder / name).exists()), "plan.toml")
