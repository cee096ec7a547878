"""The product's own commands in processes of their own: what needs libraries that the app must not load."""

import asyncio
import sys
from pathlib import Path
from typing import Any, NamedTuple


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
