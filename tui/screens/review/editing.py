"""Editing a text in the person's own editor, without ever losing what was written there."""

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.app import SuspendNotSupported

if TYPE_CHECKING:
    from textual.app import App

DEFAULT = "vi"


@dataclass(frozen=True, slots=True)
class Edited:
    """What came of it: a text, or None with the reason. `kept` holds what was written, for the person."""

    text: str | None
    reason: str
    kept: Path | None

    def discard(self) -> None:
        """Removes what was kept, once the text is safe."""
        if self.kept is not None:
            _remove(self.kept)


def editor() -> str:
    return os.environ.get("VISUAL") or os.environ.get("EDITOR") or DEFAULT


def edit(text: str, name: str, command: str | None = None) -> Edited:
    """Opens the text in an editor and waits for it; the terminal must be free for that.

    The file is readable for nobody else. It is removed when nothing was changed in it; else it is the
    caller's to remove, by `Edited.discard`, once the text is safe.
    """
    command = command or editor()
    before = text.encode("utf-8", "replace")
    try:
        file = Path(tempfile.mkdtemp(prefix="assay-")) / name
        file.touch(0o600)
        file.write_bytes(before)
    except OSError as error:
        return Edited(None, f"no file for the editor can be written: {error.strerror}", None)
    failure = _run(command, file)
    try:
        after = file.read_bytes()
    except OSError as error:
        return Edited(None, failure or f"what was written cannot be read: {error.strerror}", None)
    if failure is None and not after.strip():
        failure = "nothing was written, nothing is recorded"
        after = before
    if after.rstrip(b"\r\n") == before.rstrip(b"\r\n"):
        _remove(file)
        return Edited(None, failure or "nothing was changed, nothing is recorded", None)
    if failure is None:
        try:
            # An editor ends the last line; the answer had no such end.
            found = after.decode("utf-8")
            return Edited(found if text.endswith("\n") else found.rstrip("\r\n"), "", file)
        except UnicodeDecodeError:
            failure = "what was written is not UTF-8"
    return Edited(None, failure, file)


def _remove(file: Path) -> None:
    """Removes the file, with the backups and swap files that editors leave beside it."""
    shutil.rmtree(file.parent, ignore_errors=True)


def _run(command: str, file: Path) -> str | None:
    """Why the editor did not do it; None when it did."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        return f"$EDITOR cannot be understood: {error}"
    if not words:
        return "$EDITOR names no program"
    # Ctrl-C is the editor's own while it has the terminal; a handler, unlike ignoring, is not inherited.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        code = subprocess.run([*words, str(file)], check=False).returncode
    except OSError as error:
        return f"the editor {words[0]} cannot be started: {error.strerror}; set $EDITOR"
    finally:
        signal.signal(signal.SIGINT, before)
    return None if code == 0 else f"the editor ended with {code}, nothing is recorded"


def edited(app: "App[Any]", text: str) -> Edited:
    """What came of editing the text; the app comes back when the editor is left."""
    try:
        with app.suspend():
            return edit(text, "answer.txt")
    except SuspendNotSupported:
        return Edited(None, "this terminal cannot be lent to an editor", None)
