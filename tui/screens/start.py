"""Starting a run: the plans at hand, a new one from the files here, and the check before the start."""

import asyncio
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from textual import work
from textual.app import ComposeResult
from textual.content import Content
from textual.events import ScreenResume

from engine.plan import SAMPLES
from engine.propose.proposal import MODELS, Proposal, ProposalItem, from_json, plan_text
from tui.keys import bindings, written
from tui.screens.base import AssayScreen, beside
from tui.screens.choosing import run_command
from tui.text.gate import join, plain, short_age, wrap
from tui.widgets.lines import Line, Pane
from tui.widgets.rows import Columns, FlexColumn, Rows

MOST_BYTES = 256 << 10
MOST_FILES = 500  # of a folder, that are looked at


class PlanFile(NamedTuple):
    """A plan by its looks: a file with examples and models. Whether it can run, `assay check` says."""

    path: Path
    name: str
    baselines: int
    candidates: int
    changed: float
    bundled: bool


def found_plans(folder: Path, samples: Path = SAMPLES / "plans") -> list[PlanFile]:
    """The likeliest first: plan.toml, then the newest; the bundled ones at the end."""
    here = {path.resolve(): path for path in _files(folder)}
    plans = [plan for path in here.values() if (plan := _look(path, False))]
    plans.sort(key=lambda plan: (plan.path.parent != folder or plan.path.name != "plan.toml", -plan.changed))
    bundled = sorted(path for path in _toml(samples) if path.resolve() not in here)
    # Of the samples the one that shows most stands first: it compares the most candidates.
    shown = sorted(
        (plan for path in bundled if (plan := _look(path, True))), key=lambda plan: -plan.candidates
    )
    return plans + shown


def is_empty(folder: Path) -> bool:
    """Whether it holds nothing but hidden files."""
    return all(place.name.startswith(".") for place in _inside(folder))


def _files(folder: Path) -> Iterator[Path]:
    yield from _toml(folder)
    for place in _inside(folder):
        if not place.name.startswith(".") and place.is_dir():
            yield from _toml(place)


def _toml(folder: Path) -> Iterator[Path]:
    return (path for path in _inside(folder) if path.suffix == ".toml" and path.is_file())


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())[:MOST_FILES]
    except OSError:
        return []


def _look(path: Path, bundled: bool) -> PlanFile | None:
    """The plan in a file; None where it holds none."""
    try:
        stat = path.stat()
        if stat.st_size > MOST_BYTES:
            return None
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    data, models = table.get("data"), table.get("models")
    if not isinstance(data, dict) or "examples" not in data or not isinstance(models, list):
        return None
    name = table.get("name")
    return PlanFile(
        path,
        name if isinstance(name, str) else path.stem,
        _count(models, "baseline"),
        _count(models, "candidate"),
        stat.st_mtime,
        bundled,
    )


def _count(models: list[Any], role: str) -> int:
    return sum(isinstance(model, dict) and model.get("role") == role for model in models)


PLANS = Columns(
    FlexColumn("plan", 14, grow=1),
    FlexColumn("file", 20, grow=2),
    FlexColumn("compares", 27),
    FlexColumn("age", 4, align="right"),
)


class StartOption(NamedTuple):
    """A plan to start, or another way to one."""

    plan: PlanFile | None
    words: str = ""


MAKE = StartOption(None, "Make a plan for the models and data in this folder")
PATH = StartOption(None, "Enter the path of a plan")


class StartScreen(AssayScreen):
    NAME = "Start"
    FOOTER = ("move.open", "start.make", "start.path")
    BINDINGS = bindings("start.make", "start.path")
    DEFAULT_CSS = "StartScreen #text { padding: 0 1; }"

    def __init__(self) -> None:
        super().__init__()
        self._folder = Path.cwd()

    def compose(self) -> ComposeResult:
        rows = Rows(self._row, empty="looking for plans …", columns=PLANS, id="choices")
        yield from self.framed(beside(rows, Pane(focusable=True, id="text"), wide_only=True))

    def title_line(self) -> Content:
        return plain(str(self._folder), "$muted")

    def on_screen_resume(self, event: ScreenResume) -> None:
        super().on_screen_resume(event)
        self._look()

    @work(group="look", exclusive=True)
    async def _look(self) -> None:
        plans, empty = await asyncio.to_thread(_looked, self._folder)
        samples = [StartOption(plan) for plan in plans if plan.bundled]
        choices = [StartOption(plan) for plan in plans if not plan.bundled]
        # Of an empty folder no plan can be made: the sample is the way to the first run.
        choices += [*samples, MAKE] if empty else [MAKE, *samples]
        for rows in self.query("#choices").results(Rows):  # none while the screen is being left
            rows.show([*choices, PATH])
            self.redraw()

    def on_rows_moved(self, event: "Rows.Moved") -> None:
        self.redraw()

    def redraw(self) -> None:
        """The plan under the cursor, as it stands in its file."""
        if not self.is_wide or not self.query("#text"):
            return
        choice: StartOption | None = self.query_one("#choices", Rows).item
        text = _text_of(choice.plan.path) if choice is not None and choice.plan is not None else ""
        self.query_one("#text", Pane).show(wrap(plain(text), self.beside_cells), keep_place=False)

    def _row(self, choice: StartOption, width: int) -> Content:
        plan = choice.plan
        if plan is None:
            return Content(choice.words)
        place = "bundled sample" if plan.bundled else os.path.relpath(plan.path, self._folder)
        counts = f"{_counted(plan.candidates, 'candidate')}, {_counted(plan.baselines, 'baseline')}"
        ago = "" if plan.bundled else short_age(self.assay.now() - plan.changed)
        return PLANS.row([plan.name, place, counts, ago], width)

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
        self.app.push_screen(WizardScreen(self._folder))

    def action_path(self) -> None:
        if not self.query("#choices"):  # a key typed ahead comes before the screen's parts do
            self.call_after_refresh(self.action_path)
            return
        self.ask("Plan file", lambda text: self._check(Path(text.strip())) if text.strip() else None)

    def _check(self, plan: Path) -> None:
        self.app.push_screen(CheckScreen(plan))


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")[:MOST_BYTES]
    except OSError as error:
        return f"{file} cannot be read: {error.strerror}"


def _looked(folder: Path) -> tuple[list[PlanFile], bool]:
    """The plans at hand, and whether the folder is empty."""
    return found_plans(folder), is_empty(folder)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


PARTS = Columns(
    FlexColumn("in", 3),
    FlexColumn("part", 9),
    FlexColumn("name", 16, grow=1),
    FlexColumn("what", 30, grow=3),
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
        rows = Rows(_part_row, empty="looking at the files here …", columns=PARTS, id="parts")
        yield from self.framed(beside(rows, Pane(focusable=True, id="notes")))

    @property
    def rows(self) -> "Rows[ProposalItem]":
        return self.query_one("#parts", Rows)

    @property
    def _at_cursor(self) -> ProposalItem | None:
        return self.rows.item if self._proposal is not None else None

    def title_line(self) -> Content:
        return plain(f"from {self._folder}", "$muted")

    def on_mount(self) -> None:
        super().on_mount()
        self._look()

    def redraw(self) -> None:
        self._show_notes()

    @work(group="look", exclusive=True)
    async def _look(self) -> None:
        answer = await run_command("plan", str(self._folder), "--json")
        if answer.table is None:
            self._complaint = answer.complaint
        else:
            self._proposal = from_json(answer.table)
        self._show()

    def _show(self) -> None:
        items = self._proposal.items if self._proposal is not None else ()
        self.rows.show(items, key=lambda item: item.key)
        self.rows.display = bool(items)
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
                    0, (written("plan.write"), "$key", "writes the plan; parts left out become comments")
                )
        width = self.beside_cells if self.rows.display else self.size.width - 2
        lines = [
            join([Content.styled(f"{word if place == 0 else '':>7}", style), line], "  ")
            for word, style, text in notes
            for place, line in enumerate(wrap(plain(text.replace("\n", " ")), width - 9))
        ]
        if self.is_wide and found is not None and not found.lacking:
            lines += [Content(""), *wrap(plain(plan_text(found)), width)]
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
            self.say(f"missing: {self._proposal.lacking[0]}", error=True)
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
        from engine.data.textfile import write_text
        from engine.errors import AssayError

        if self._proposal is None:
            return
        try:
            await asyncio.to_thread(write_text, file, plan_text(self._proposal))
        except (AssayError, ValueError) as error:
            self.say(str(error), error=True)
            return
        self.app.push_screen(CheckScreen(file))


def _part_row(item: ProposalItem, width: int) -> Content:
    mark = "[x]" if item.on else "[ ]"
    row = PARTS.row([mark, item.kind, item.name, item.what], width)
    return row if item.on else row.stylize("$muted")


def _free_name(folder: Path) -> str:
    names = ("plan.toml", *(f"plan-{number}.toml" for number in range(2, 100)))
    return next((name for name in names if not (folder / name).exists()), "plan.toml")


MARKS = {
    "error": Content.styled("✗ error  ", "$bad"),
    "warning": Content.styled("~ warning", "$warn"),
    "ok": Content.styled("✓ ok     ", "$good"),
}
INDENT = 11


class CheckScreen(AssayScreen):
    """Asked to start before the check is done, it starts as soon as that finds nothing wrong."""

    NAME = "Check"
    FOOTER = ("check.start", "check.again", "check.prompts")
    BINDINGS = bindings("check.start", "check.again", "check.prompts")
    DEFAULT_CSS = """
    CheckScreen #verdict { padding: 0 1; margin: 1 0; }
    CheckScreen .sides Pane { padding: 0 1; }
    """

    def __init__(self, plan: Path) -> None:
        super().__init__()
        self._plan = plan
        self._findings: list[dict[str, Any]] = []
        self._prompts: list[dict[str, Any]] = []
        self._shows_prompts = False
        self._complaint = ""
        self._can_run: bool | None = None
        self._wanted = False

    def compose(self) -> ComposeResult:
        panes = beside(Pane(focusable=True, id="findings"), Pane(focusable=True, id="prompts"))
        yield from self.framed(Line(id="verdict"), panes)

    def title_line(self) -> Content:
        return plain(str(self._plan), "bold")

    def on_mount(self) -> None:
        super().on_mount()
        self.action_again()

    def action_again(self) -> None:
        """Checks anew: the plan may have been edited in between."""
        self._can_run, self._findings, self._complaint = None, [], ""
        self._prompts, self._shows_prompts = [], False
        self.redraw()
        self._check()

    def action_prompts(self) -> None:
        if not self._prompts and self._can_run is not None:
            self.say("the check made no prompt")
            return
        self._shows_prompts = not self._shows_prompts
        if self.is_wide and self._prompts:
            self.set_focus(self.query_one("#prompts"))
        self.redraw()

    def on_screen_resume(self, event: ScreenResume) -> None:
        super().on_screen_resume(event)
        self.redraw()  # a start may have failed meanwhile

    def action_start(self) -> None:
        if self._can_run is False:
            self.say(f"fix the plan first; {written('check.again')} checks it again", error=True)
            return
        if self._can_run:
            self.assay.control.start(str(self._plan))
        self._wanted = self._can_run is None
        self.redraw()

    @work(group="check", exclusive=True)
    async def _check(self) -> None:
        asked = ("check", str(self._plan), "--show-prompt", "--json")
        answer = await run_command(*asked, store=self.assay.store.folder)
        found = answer.table
        self._findings = found["findings"] if found is not None else []
        self._prompts = found["prompts"] if found is not None else []
        self._complaint = answer.complaint if found is None else ""
        self._can_run = answer.code == 0
        if self._can_run and self._wanted and self.is_current:
            self.action_start()
        self._wanted = False
        self.redraw()

    def redraw(self) -> None:
        if not self.query("#findings"):  # a key typed ahead comes before the screen's parts do
            return
        self.query_one("#verdict", Line).set(self._verdict())
        pane = self.query_one("#prompts", Pane)
        pane.display = self.is_wide and bool(self._prompts)
        width = self.list_cells if pane.display else self.size.width - 2
        lines = wrap(plain(self._complaint), width) if self._complaint else []
        prompts = [line for shown in self._prompts for line in _prompt_lines(shown, self.beside_cells)]
        pane.show(prompts)
        if self._shows_prompts and not pane.display:
            lines = prompts
        else:
            for finding in sorted(self._findings, key=lambda finding: list(MARKS).index(finding["level"])):
                lines += _finding_lines(finding, width)
        self.query_one("#findings", Pane).show(lines)

    def _verdict(self) -> Content:
        if self._can_run is None:
            then = ", then starting it" if self._wanted else ""
            return Content.styled(f"checking the plan{then} …", "$muted")
        if self.assay.control.is_starting(str(self._plan)):
            return Content.styled("starting the run …", "$muted")
        if not self._can_run:
            return Content.styled("✗ this plan cannot run yet", "$bad")
        warnings = sum(finding["level"] == "warning" for finding in self._findings)
        said = f", with {warnings} warning{'' if warnings == 1 else 's'}" if warnings else ""
        key = Content.styled(written("check.start"), "$key")
        return join([Content.styled(f"✓ this plan can run{said}", "$good"), "  ", key, " starts it"])


def _prompt_lines(shown: dict[str, Any], width: int) -> list[Content]:
    tokens = f", {shown['tokens']:,} tokens" if shown["tokens"] else ""
    text = (shown["text"] or "none") + (f"\n({shown['reason']})" if shown["reason"] else "")
    title = plain(f"First prompt of {shown['model']}{tokens}", "$heading")
    return [title, *wrap(plain(text), width), Content("")]


def _finding_lines(finding: dict[str, Any], width: int) -> list[Content]:
    text = wrap(plain(f"{finding['subject']}: {finding['message']}"), width - INDENT)
    lines = [
        join([MARKS[finding["level"]] if place == 0 else " " * 9, line], "  ")
        for place, line in enumerate(text)
    ]
    if finding["hint"] and finding["level"] != "ok":
        lines += [
            join([" " * INDENT, line]) for line in wrap(plain(finding["hint"], "$muted"), width - INDENT)
        ]
    return lines
