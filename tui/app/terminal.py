"""The terminal behind a slow link: what already stands on a line is not written to it again.

Opening a screen makes Textual draw it three to five times (laid out, styled, focused, filled), whole and
mostly the same. Each drawing is a row of pieces that begin with an absolute cursor position, so one that
equals the last one written to its line, at the same column, can be left out.

Terminals disagree on how many cells combining and joined characters take. A piece that has such is
written on blanks, and what follows a gap goes to its own column: so nothing older shows through, and columns
stand in line however the terminal counts.
"""

import base64
import os
import re
import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType

from rich.cells import cell_len, split_text
from textual.drivers.linux_driver import LinuxDriver

from tui.text.gate import is_width_in_doubt

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


_ALIKE = {
    "…": "~", "–": "-", "—": "-", "−": "-", "·": ".", "×": "x", "±": "~", "≤": "<", "≥": ">", "≈": "~",
    "≠": "!", "▸": ">", "▾": "v",
    "“": '"', "”": '"', "‘": "'", "’": "'", "→": ">", "←": "<", "↑": "^", "↓": "v", "⏎": "$", "⏐": "|",
    "›": ">", "‹": "<", "✓": "+", "✗": "x", "▶": ">", "‖": "=", "○": "o", "●": "*", "█": "#", "░": ".",
    "▒": ":", "▓": "%", "□": "_", "■": "#", "␉": ">", "␡": "?", "°": "o", "²": "2", "√": "V", "Δ": "D",
    "▲": "^", "▼": "v", "◆": "*", "◇": "o", "•": "*", "└": "+", "├": "+", "┌": "+", "┐": "+", "┘": "+",
    "┤": "+", "┬": "+", "┴": "+", "┼": "+", "─": "-", "━": "=", "│": "|", "┃": "|", "╌": "~", "╎": "|",
}  # fmt: skip
_STEPS = "▁▂▃▄▅▆▇"  # of spark lines: from low to high


def ascii_only(text: str) -> str:
    """The text with every character that is not ASCII replaced, without a change to its width in cells."""
    return text if text.isascii() else "".join(map(_ascii, text))


def _ascii(character: str) -> str:
    if character.isascii():
        return character
    if character in _STEPS:
        return "_.:-=+*"[_STEPS.index(character)]
    if "\u2400" <= character <= "\u241f":  # pictures of control characters
        return "?"
    return _ALIKE.get(character) or "?" * cell_len(character)


_PLACE = re.compile(r"\x1b\[(\d+);(\d+)H")
_STYLE = re.compile(r"(\x1b\[[\d;]*m)")
_STYLE_OR_GAP = re.compile(r"(\x1b\[[\d;]*m| {2,})")


def _on_blanks(column: int, drawn: str) -> str:
    """A piece for `column` that looks the same on every terminal: blanks first, each gap's end placed."""
    if not is_width_in_doubt(drawn):
        return drawn
    pieces, cells = [], 0
    for part in _STYLE_OR_GAP.split(drawn):
        cells += 0 if part.startswith("\x1b") else cell_len(part)
        pieces.append(f"{part}\x1b[{column + cells}G" if part.startswith("  ") else part)
    # Behind the first style, so that the blanks take its background.
    pieces.insert(2 if drawn.startswith("\x1b") else 0, f"\x1b[{cells}X")
    return "".join(pieces)


def _cells(drawn: str) -> int:
    return cell_len(_STYLE.sub("", drawn))


def _behind(drawn: str, cells: int) -> str:
    """What a piece has behind its first `cells` cells; "" where it ends there or before."""
    style = ""
    parts = _STYLE.split(drawn)
    for place, part in enumerate(parts):
        if part.startswith("\x1b"):
            style = part
        elif cells < (width := cell_len(part)):
            return "".join([style, split_text(part, cells)[1], *parts[place + 1 :]])
        else:
            cells -= width
    return ""


class Painted:
    """What was written to each line: the last piece and what is known to stand behind it."""

    def __init__(self) -> None:
        self._lines: dict[str, tuple[int, str]] = {}  # from which column on, and what

    def forget(self) -> None:
        self._lines.clear()

    def needed(self, data: str) -> str:
        """The data without the pieces that stand on their lines already."""
        start, *placed = _PLACE.split(data)
        if not placed:
            return data
        kept = [start]
        rows, columns, texts = placed[::3], placed[1::3], placed[2::3]
        for row, column, text in zip(rows, columns, texts, strict=True):
            drawn = text.removesuffix("\n")
            if drawn:
                kept += self._line(row, int(column), drawn)
            else:  # where the cursor rests
                kept.append(f"\x1b[{row};{column}H")
        return "".join(kept)

    def _line(self, row: str, column: int, drawn: str) -> Iterator[str]:
        start, shown = self._lines.get(row, (0, ""))
        if start == column and shown.startswith(drawn):
            return
        end = column + _cells(drawn)
        behind = _behind(shown, end - start) if 0 < start <= end else ""
        self._lines[row] = (column, drawn + behind)
        yield f"\x1b[{row};{column}H{_on_blanks(column, drawn)}"
        # What is or was wider on the terminal than it should be has run into what stands behind it.
        if behind and is_width_in_doubt(drawn + shown):
            yield f"\x1b[{row};{end}H{_on_blanks(end, behind)}"


class ThriftyDriver(LinuxDriver):
    """Textual's driver, which remembers what it has written."""

    _painted: Painted
    _size: os.terminal_size | None = None

    def start_application_mode(self) -> None:
        self._painted = Painted()
        self.exit_event.clear()  # `close` has set it where the app comes back from a shell or an editor
        super().start_application_mode()  # type: ignore[no-untyped-call]  # Textual leaves it untyped
        self._forget_on_resize()

    def _forget_on_resize(self) -> None:
        """A terminal that shrank and grew back has its old size, and has lost what it showed."""
        handle = signal.getsignal(signal.SIGWINCH)

        def resized(number: int, frame: FrameType | None) -> None:
            self._painted.forget()
            if callable(handle):
                handle(number, frame)

        signal.signal(signal.SIGWINCH, resized)

    def close(self) -> None:
        # Otherwise the thread that reads a terminal which is gone keeps the process, and a core, busy.
        self.exit_event.set()
        super().close()

    @property
    def is_hung_up(self) -> bool:
        """Whether the terminal is gone; not every process is told by SIGHUP."""
        poll = select.poll()
        poll.register(self.fileno, 0)
        return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))

    def write(self, data: str) -> None:
        self._notice_resize()
        if needed := self._painted.needed(data):
            super().write(needed)

    def redraw(self) -> None:
        """Clears the screen, so that all that is drawn next is written."""
        self._painted.forget()
        super().write("\x1b[2J")

    def report_mouse(self, on: bool) -> None:
        """Has the terminal report its mouse, or keep it for its own selecting."""
        if on:
            self._mouse = True
            self._enable_mouse_support()
        else:
            self._disable_mouse_support()
            self._mouse = False

    def _notice_resize(self) -> None:
        """A terminal that was resized may have moved or dropped what it showed."""
        with suppress(OSError):
            size = os.get_terminal_size(self.fileno)
            if size != self._size:
                self._size = size
                self._painted.forget()


class AsciiDriver(ThriftyDriver):
    """The same for a terminal, or a font, that has nothing but ASCII."""

    def write(self, data: str) -> None:
        super().write(ascii_only(data))
