"""The product's own commands in processes of their own: what needs libraries that the app must not load."""

import asyncio
import sys
from pathlib import Path
from typing import NamedTuple


class Ended(NamedTuple):
    """How a command ended: its exit code, and what it wrote."""

    code: int
    out: str
    errors: str


async def assay(folder: Path, *words: str) -> Ended:
    """Runs `assay WORDS` on the store in `folder`. Cancelled, it ends the process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tui", *words, "--store", str(folder)),
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
    return Ended(process.returncode or 0, out.decode(errors="replace"), errors.decode(errors="replace"))
