"""Choosing what a screen shows: words that filter its rows, and the candidate and baseline it compares."""

import asyncio
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from textual.content import Content
from textual.events import ScreenResume

from tui.screens.base import AssayScreen, RunScreen
from tui.text.gate import counted, plain


class CommandResult(NamedTuple):
    """How a command ended: its exit code, and what it wrote."""

    code: int
    out: str
    errors: str

    @property
    def complaint(self) -> str:
        """What it wrote to standard error, without the program's name in front; else its exit code."""
        return self.errors.strip().removeprefix("assay: ") or f"it ended with exit code {self.code}"

    @property
    def table(self) -> dict[str, Any] | None:
        """The JSON object that it printed; None where it printed something else."""
        import json  # the first frame does without

        try:
            value = json.loads(self.out)
        except ValueError:
            return None
        return value if isinstance(value, dict) else None


async def run_command(*words: str, store: Path | None = None) -> CommandResult:
    """Runs `assay WORDS`, on the store in this folder where one is given. Cancelled, it ends the process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", "assay", *words, *(() if store is None else ("--store", str(store)))),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, errors = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    return CommandResult(
        process.returncode or 0, out.decode(errors="replace"), errors.decode(errors="replace")
    )


class ExportingScreen(RunScreen):
    """A screen that writes examples as an eval set, by `assay annotations`."""

    def ask_file(self, label: str, name: str, before: Sequence[str], after: Sequence[str]) -> None:
        """Asks where to, with a place in the store's folder to start from.

        The command is `before`, the file, `after`.
        """
        if self.assay.store.read_only:
            self.say("opened with --read-only: nothing is written", error=True)
            return
        short = re.sub(r"[^\w-]+", "-", name).strip("-")[:60] or "examples"

        def answered(text: str) -> None:
            if not text.strip():
                return
            if "\0" in "".join((text, *before, *after)):  # no command can be given it
                self.say("a name or a path with a NUL character cannot be written", error=True)
                return
            file = Path(text.strip()).expanduser().absolute()
            words = ("annotations", *before, str(file), *after)
            if file.exists():
                self.confirm(f"{file.name} exists. Write over it?", lambda: self._write_file(file, words))
            else:
                self._write_file(file, words)

        self.ask(label, answered, value=str(self._exports / f"{short}.jsonl"))

    @property
    def _exports(self) -> Path:
        return self.assay.store.folder.absolute() / "exports"

    def _write_file(self, file: Path, words: Sequence[str]) -> None:
        self.run_worker(self._written(file, words))

    async def _written(self, file: Path, words: Sequence[str]) -> None:
        if file.parent == self._exports:
            try:
                file.parent.mkdir(exist_ok=True)
            except OSError as error:
                self.say(f"{file.parent} cannot be made: {error.strerror}", error=True)
                return
        ended = await run_command(*words, "--json", store=self.assay.store.folder)
        table = ended.table
        if ended.code or table is None:
            self.say(ended.complaint.split("\n")[0], error=True)
        else:
            plan = " ".join(table["plan"].split())
            self.say(f"{counted(table['records'], 'record')} in {file.name}; in a plan: {plan}")


class FilteredScreen(AssayScreen):
    """A screen whose rows a filter narrows while it is typed.

    Escape in the filter brings back the one before it, escape on the screen removes it.
    """

    FILTER = "filter"  # what the prompt is called
    _search = ""

    def filtered(self) -> None:
        """Shows what the filter keeps."""
        self.redraw()

    def action_filter(self) -> None:
        before = self._search
        self.ask(
            self.FILTER, self.narrow, value=before, changed=self.narrow, left=lambda: self.narrow(before)
        )

    def narrow(self, text: str) -> None:
        """Shows only what has this text."""
        if text != self._search:
            self._search = text
            self.filtered()

    def back(self) -> bool:
        found = bool(self._search)
        if found:
            self.narrow("")
        return found


class PairScreen(RunScreen):
    """A screen about the candidate and the baseline in hand, with keys that take others."""

    def paired(self) -> None:
        """Shows the pair."""
        self.redraw()

    def on_screen_resume(self, event: ScreenResume) -> None:
        super().on_screen_resume(event)
        if self.run is not None:  # another screen may have taken other models in hand
            self._paired()

    def against(self, cells: int) -> Content:
        """The pair in words, each name in at most `cells`."""
        names = zip(("candidate", "baseline"), self.pair, strict=True)
        shown = [plain(self.short(name, cells) if name else f"no {role}", "bold") for role, name in names]
        return Content.styled(" against ", "$muted").join(shown)

    def action_candidate(self, step: int) -> None:
        self.hand.take(candidate=neighbour(self.names("candidate"), self.pair[0], step))
        self._paired()

    def action_baseline(self, step: int) -> None:
        self.hand.take(baseline=neighbour(self.names("baseline"), self.pair[1], step))
        self._paired()

    def _paired(self) -> None:
        self.paired()
        self.refresh_title()


def neighbour(names: Sequence[str], name: str, step: int) -> str:
    """The name `step` places further on, round the end; the same where it is not among them."""
    return names[(names.index(name) + step) % len(names)] if name in names else name
