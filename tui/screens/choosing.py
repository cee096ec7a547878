"""Choosing what a screen shows: words that filter its rows, and the candidate and baseline it compares."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tui.screens.base import AssayScreen


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
        *("-P", "-m", "tui", *words, *(() if store is None else ("--store", str(store)))),
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
            self.FILTER, self._filter, value=before, changed=self._filter, left=lambda: self._filter(before)
        )

    def _filter(self, text: str) -> None:
        if text != self._search:
            self._search = text
            self.filtered()

    def back(self) -> bool:
        found = bool(self._search)
        if found:
            self._filter("")
        return found


class PairScreen(AssayScreen):
    """A screen about one candidate and one baseline, each "" where the run has none."""

    _candidate = ""
    _baseline = ""

    def names(self, role: str) -> list[str]:
        """The models to choose from as "candidate" or "baseline"."""
        raise NotImplementedError

    def paired(self) -> None:
        """Shows the pair."""
        self.redraw()

    def keep_pair(self) -> None:
        """Keeps the models that are still there; the first ones replace the others."""
        candidates, baselines = self.names("candidate"), self.names("baseline")
        self._candidate = _kept(candidates, self._candidate)
        self._baseline = _kept(baselines, self._baseline)

    def action_candidate(self, step: int) -> None:
        self._candidate = neighbour(self.names("candidate"), self._candidate, step)
        self.paired()

    def action_baseline(self, step: int) -> None:
        self._baseline = neighbour(self.names("baseline"), self._baseline, step)
        self.paired()


def _kept(names: Sequence[str], name: str) -> str:
    return name if name in names else next(iter(names), "")


def neighbour(names: Sequence[str], name: str, step: int) -> str:
    """The name `step` places further on, round the end; the same where it is not among them."""
    return names[(names.index(name) + step) % len(names)] if name in names else name
