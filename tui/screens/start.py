"""Start: the plans at hand, the likeliest under the cursor; or a new one from the files here."""

import asyncio
import os
from pathlib import Path
from typing import NamedTuple

from textual import work
from textual.app import ComposeResult
from textual.content import Content
from textual.events import Resize, ScreenResume

from tui.app.starting import PlanFile, found_plans, is_empty
from tui.keys import bindings
from tui.screens.base import AssayScreen
from tui.text.gate import age, join, plain
from tui.widgets.lines import Line
from tui.widgets.rows import Rows
from tui.widgets.table import Column, Columns

COLUMNS = Columns(
    Column("plan", 14, grow=1),
    Column("file", 20, grow=2),
    Column("compares", 27),
    Column("age", 4, align="right"),
)


class Choice(NamedTuple):
    """A plan to start, or another way to one."""

    plan: PlanFile | None
    words: str = ""


MAKE = Choice(None, "Make a plan for the models and data in this folder")
PATH = Choice(None, "Give the path of a plan")


class StartScreen(AssayScreen):
    NAME = "Start"
    FOOTER = ("move.open", "start.make", "start.path")
    BINDINGS = bindings("start.make", "start.path")

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__()
        self._folder = folder or Path.cwd()

    def compose(self) -> ComposeResult:
        yield from self.framed(Line(id="heading"), Rows(self._row, empty="looking for plans …", id="choices"))

    def title_line(self) -> Content:
        return join([self.NAME, plain(str(self._folder), "$muted")], "  ")

    def on_resize(self, event: Resize) -> None:
        super().on_resize(event)
        self.query_one("#heading", Line).set(join(["  ", COLUMNS.heading(self.size.width - 2)]))

    def on_screen_resume(self, event: ScreenResume) -> None:
        super().on_screen_resume(event)
        self._look()

    @work(group="look", exclusive=True)
    async def _look(self) -> None:
        plans, empty = await asyncio.to_thread(_looked, self._folder)
        samples = [Choice(plan) for plan in plans if plan.bundled]
        choices = [Choice(plan) for plan in plans if not plan.bundled]
        # Of an empty folder no plan can be made: the sample is the way to the first run.
        choices += [*samples, MAKE] if empty else [MAKE, *samples]
        for rows in self.query("#choices").results(Rows):  # none while the screen is being left
            rows.show([*choices, PATH])

    def _row(self, choice: Choice, width: int) -> Content:
        plan = choice.plan
        if plan is None:
            return Content(choice.words)
        place = "bundled sample" if plan.bundled else os.path.relpath(plan.path, self._folder)
        counts = f"{_counted(plan.candidates, 'candidate')}, {_counted(plan.baselines, 'baseline')}"
        ago = "" if plan.bundled else age(self.assay.now() - plan.changed).removesuffix(" ago")
        return COLUMNS.row([plan.name, place, counts, ago], width)

    def on_rows_opened(self, event: "Rows.Opened") -> None:
        choice = event.rows.item
        if choice is None:
            return
        if choice.plan is not None:
            self._check(choice.plan.path)
        elif choice is MAKE:
            self.action_make()
        else:
            self.action_path()

    def action_make(self) -> None:
        from tui.screens.wizard import WizardScreen

        self.app.push_screen(WizardScreen(self._folder))

    def action_path(self) -> None:
        if not self.query("#choices"):  # a key typed ahead comes before the screen's parts do
            self.call_after_refresh(self.action_path)
            return
        self.ask("Plan file", lambda text: self._check(Path(text.strip())) if text.strip() else None)

    def _check(self, plan: Path) -> None:
        from tui.screens.check import CheckScreen

        self.app.push_screen(CheckScreen(plan))


def _looked(folder: Path) -> tuple[list[PlanFile], bool]:
    """The plans at hand, and whether the folder is empty."""
    return found_plans(folder), is_empty(folder)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
