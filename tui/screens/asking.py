"""Asking the command line, in a process of its own: what needs libraries that have no place in the app."""

import asyncio
import json
import sys
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """How a command ended: its exit code, what it printed, what it complained of."""

    code: int
    out: str
    errors: str

    @property
    def complaint(self) -> str:
        """What it complained of, for a screen that says itself who does."""
        return self.errors.strip().removeprefix("assay: ") or f"it ended with exit code {self.code}"

    @property
    def table(self) -> dict[str, Any] | None:
        """The JSON object that it printed; None where it printed something else."""
        try:
            value = json.loads(self.out)
        except ValueError:
            return None
        return value if isinstance(value, dict) else None


async def ask_command(*words: str) -> Answer:
    """Runs `assay WORDS` to its end; it ends with whoever waits for it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tui", *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, errors = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        raise
    return Answer(process.returncode or 0, out.decode(errors="replace"), errors.decode(errors="replace"))
