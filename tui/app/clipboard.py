"""Copying over SSH: to the terminal's clipboard, to tmux's buffer, and always to a file.

OSC 52 has the terminal on the other end of the link take the text; it goes there as base64, so that nothing
in it can act on the terminal. tmux takes it by its own command. Neither says whether it worked: hence the
file.
"""

import base64
import os
import subprocess
from pathlib import Path

MOST_BYTES = 74_000  # of base64: more, and terminals drop all of it
TMUX_SECONDS = 2.0
FILE = "copied.txt"


def sequence(text: str) -> str | None:
    """What makes a terminal take the text; None for one that is too long for that."""
    coded = base64.b64encode(text.encode("utf-8", "replace")).decode()
    return f"\x1b]52;c;{coded}\x07" if len(coded) <= MOST_BYTES else None


def to_file(text: str, folder: Path) -> Path:
    """Keeps the text in the folder, readable by its owner alone. Raises OSError when it cannot be written."""
    file = folder / FILE
    # A new file each time: another's, or a link in its place, is never written through.
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        opened.write(text.encode("utf-8", "replace"))
    return file


def to_tmux(text: str) -> bool:
    """Puts the text into tmux's buffer, and through it on to the terminal; whether tmux took it."""
    if "TMUX" not in os.environ:
        return False
    try:
        found = subprocess.run(
            ["tmux", "load-buffer", "-w", "-"],
            input=text.encode("utf-8", "replace"),
            capture_output=True,
            timeout=TMUX_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return found.returncode == 0
