"""The terminal behind a slow link: only the cells that differ from what stands there are written.

Opening a screen makes Textual draw it three to five times (laid out, styled, focused, filled), whole and
mostly the same. Each drawing is a row of pieces that begin with an absolute cursor position. The driver knows
every cell that it wrote, leaves out those that stay, and of a style writes what is new in it.

Terminals disagree on how many cells combining and joined characters take. A piece that has such is
written whole, on blanks, and what follows a gap goes to its own column: so nothing older shows through, and
columns stand in line however the terminal counts.
"""

import base64
import os
import re
import select
import signal
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import NamedTuple

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
_STYLED = re.compile(r"\x1b\[([\d;]*)m|([^\x1b]+)|(\x1b)")
_SYNC, _END_SYNC = "\x1b[?2026h", "\x1b[?2026l"
_ENDS = {"1": "22", "2": "22", "3": "23", "4": "24", "5": "25", "7": "27", "9": "29"}
_SEEN_ON_BLANKS = frozenset("479")  # underlined, reversed, struck through
_BLANKS = 9  # as many and more are erased rather than written
_PASSED = 4  # cells that stay are written again where that is shorter than to pass over them


class _Style(NamedTuple):
    """What a sequence of SGR codes comes to; colours as the codes that set them."""

    marks: frozenset[str] = frozenset()
    colour: str = "39"
    ground: str = "49"

    @property
    def of_blank(self) -> "_Style":
        """As much of it as shows on a blank."""
        return self if self.marks & _SEEN_ON_BLANKS else _Style(ground=self.ground)

    def after(self, other: "_Style") -> str:
        """The sequence that leads to this style from another."""
        ends = {_ENDS[mark] for mark in other.marks - self.marks}
        kept = {mark for mark in other.marks & self.marks if _ENDS[mark] not in ends}
        codes = [*sorted(ends), *sorted(self.marks - kept)]
        codes += [self.colour] * (self.colour != other.colour) + [self.ground] * (self.ground != other.ground)
        if self == _Style():
            codes = ["0"]
        return f"\x1b[{';'.join(codes)}m" if codes and self != other else ""


@lru_cache(maxsize=2_000)
def _style(codes: str) -> _Style | None:
    """The style after a reset and these codes; None where one of them is not known here."""
    marks, colour, ground = set(), "39", "49"
    left = codes.split(";")
    while left:
        code = left.pop(0)
        if code in ("38", "48"):
            size = {"2": 4, "5": 2}.get(left[0] if left else "", 0)
            whole, left = ";".join([code, *left[:size]]), left[size:]
            if not size:
                return None
            colour, ground = (whole, ground) if code == "38" else (colour, whole)
        elif code in _ENDS:
            marks.add(code)
        elif re.fullmatch("3[0-79]|9[0-7]", code):
            colour = code
        elif re.fullmatch("4[0-79]|10[0-7]", code):
            ground = code
        elif code not in ("", "0"):
            return None
    return _Style(frozenset(marks), colour, ground)


_Cell = tuple[str, _Style]  # of a wide character the second one has no text


def _fits(cell: _Cell, style: _Style) -> bool:
    """Whether a cell that is written in this style looks as it should."""
    return cell[1] == (style.of_blank if cell[0] == " " else style)


class Painted:
    """What stands on the terminal, by line and cell; a cell of which nothing is known is not in it.

    `erases`: what the terminal erases takes the background's colour.
    """

    def __init__(self, *, erases: bool = False) -> None:
        self._erases = erases
        self._lines: dict[int, dict[int, _Cell]] = {}
        self._cursor = ""  # the sequence that leads to where it rests
        self._whole: dict[int, dict[int, str]] = {}  # pieces of doubtful width, by line and column

    def forget(self) -> None:
        self._lines.clear()
        self._whole.clear()
        self._cursor = ""

    def needed(self, data: str) -> str:
        """As much of what Textual writes as changes something."""
        start, *placed = _PLACE.split(data)
        if not placed:
            return data
        rests, pieces = self._cursor, []
        for row, column, text in zip(placed[::3], placed[1::3], placed[2::3], strict=True):
            if drawn := text.removesuffix("\n"):
                pieces.append((int(row), int(column), drawn))
            else:
                rests = f"\x1b[{row};{column}H"
        written = start + self.changes(pieces)
        # At the top left nothing is written in: there it may rest anywhere.
        moves = rests != "\x1b[1;1H" and (written or rests != self._cursor)
        self._cursor = rests
        return written + rests if moves else written

    def changes(self, pieces: Iterable[tuple[int, int, str]]) -> str:
        """What has to be written so that each piece stands at its row and column; no style is left behind."""
        written: list[str] = []
        style = _Style()  # the terminal's, at the end of what is written
        for row, column, drawn in pieces:
            cells = None if is_width_in_doubt(drawn) else self._cells(drawn)
            whole = self._whole.setdefault(row, {})
            if cells is None and whole.get(column) == drawn:
                continue
            end = column + _width(drawn)
            over = [place for place, old in whole.items() if place < end and column < place + _width(old)]
            behind = [_behind(whole.pop(place), end - place) for place in over]
            if cells is not None:
                style = self._write(row, column, cells, style, written)
            else:
                whole[column] = drawn
                style = self._write_whole(row, column, drawn, style, written)
            # What is or was wider on the terminal than it should be has run into what stands behind it.
            if over or cells is None:
                for rest in filter(None, behind):
                    self._keep(row, end, rest)
                style = self._write_again(row, end, style, written)
        return "".join(written) + _Style().after(style)

    def _write_whole(self, row: int, column: int, drawn: str, style: _Style, written: list[str]) -> _Style:
        line = self._lines.setdefault(row, {})
        for place in range(column, column + _width(drawn)):
            line.pop(place, None)
        written.append(f"{_Style().after(style)}\x1b[{row};{column}H{_on_blanks(column, drawn)}")
        return _Style()

    def _keep(self, row: int, column: int, drawn: str) -> None:
        """Remembers what stands somewhere."""
        cells = None if is_width_in_doubt(drawn) else self._cells(drawn)
        if cells is None:
            self._whole[row][column] = drawn
        else:
            self._lines[row] |= dict(enumerate(cells, column))

    def _write_again(self, row: int, start: int, style: _Style, written: list[str]) -> _Style:
        """Writes what stands on a line from a column on, which something may have run into."""
        line = self._lines.setdefault(row, {})
        for column, cells in _runs({place: line[place] for place in sorted(line) if place >= start}):
            for place in range(column, column + len(cells)):
                del line[place]
            style = self._write(row, column, cells, style, written)
        for column, drawn in self._whole.get(row, {}).items():
            if column >= start:
                style = self._write_whole(row, column, drawn, style, written)
        return style

    def _write(self, row: int, column: int, cells: list[_Cell], style: _Style, written: list[str]) -> _Style:
        """Writes those cells of a line that differ; returns the style that they leave."""
        line = self._lines.setdefault(row, {})
        at = 0  # the cursor's column, once it is on this line
        end = column
        for place, cell in enumerate(cells, column):
            known = line.get(place)
            line[place] = cell
            if place < end or known == cell or not cell[0]:
                continue
            passed = cells[at - column : place - column]
            if not at:
                written.append(f"\x1b[{row};{place}H")
            elif len(passed) <= _PASSED and all(_fits(other, style) for other in passed):
                written += [text for text, _ in passed]
            else:
                written.append(f"\x1b[{place}G")
            if not _fits(cell, style):
                written.append(cell[1].after(style))
                style = cell[1]
            end = at = place + 1
            while end - column < len(cells) and not cells[end - column][0]:
                end = at = end + 1
            blanks = next(
                (n for n, other in enumerate(cells[place - column :]) if other != cell),
                len(cells) - place + column,
            )
            if self._erases and cell[0] == " " and blanks >= _BLANKS and not cell[1].marks:
                written.append(f"\x1b[{blanks}X")
                end, at = place + blanks, place
            else:
                written.append(cell[0])
            # Of a wide character half of which is written over, nothing stays.
            if known is not None and not known[0]:
                line.pop(place - 1, None)
            if end not in line or not line[end][0]:
                line.pop(end, None)
        return style

    def _cells(self, drawn: str) -> list[_Cell] | None:
        """The cells of a piece; None where it has sequences other than styles."""
        cells: list[_Cell] = []
        style = _Style()
        for codes, text, other in _STYLED.findall(drawn):
            if other:
                return None
            if not text:
                found = _style(codes)
                if found is None:
                    return None
                style = found
                continue
            blank = style.of_blank
            if text.isascii():
                cells += [(character, blank if character == " " else style) for character in text]
                continue
            for character in text:
                cells.append((character, blank if character == " " else style))
                if cell_len(character) == 2:
                    cells.append(("", style))
        return cells


def _width(drawn: str) -> int:
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


def _runs(cells: Mapping[int, _Cell]) -> list[tuple[int, list[_Cell]]]:
    """Cells that stand side by side, by the column of the first."""
    found: list[tuple[int, list[_Cell]]] = []
    for place, cell in cells.items():
        if found and found[-1][0] + len(found[-1][1]) == place:
            found[-1][1].append(cell)
        else:
            found.append((place, [cell]))
    return found


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


def _erases() -> bool:
    """Whether what the terminal erases takes the current background, as its terminfo entry says."""
    try:
        import curses
    except ImportError:  # some builds of Python have none
        return False
    try:
        curses.setupterm(fd=1)
    except curses.error:
        return False
    return curses.tigetflag("bce") == 1


class ThriftyDriver(LinuxDriver):
    """Textual's driver, which writes only what changes the picture."""

    _painted: Painted
    _size: os.terminal_size | None = None
    _held = ""  # the begin of an update of which nothing is written yet
    _shows = False  # whether the terminal is this app's now

    def start_application_mode(self) -> None:
        self._shows = True
        self._painted = Painted(erases=_erases())
        self.exit_event.clear()  # `close` has set it where the app comes back from a shell or an editor
        for name in ("COLUMNS", "LINES"):  # believed before the terminal, and of no resize do they tell
            os.environ.pop(name, None)
        super().start_application_mode()  # type: ignore[no-untyped-call]  # Textual leaves it untyped
        self._forget_on_resize()

    def stop_application_mode(self) -> None:
        self._shows = False
        super().stop_application_mode()

    def _sigcont_application(self, *_: object) -> None:
        """Comes back where it was suspended, or stopped without a word (`kill -STOP`).

        A process that is leaving is told to continue too when its terminal goes. Starting again then would
        leave a thread that nobody ends, and the process with it.
        """
        if self._shows:  # not at once: it may come in the middle of a write
            self._loop.call_soon_threadsafe(self._restart)
        elif self._must_signal_resume and self._auto_restart:
            self.resume_application_mode()

    def _restart(self) -> None:
        if self._shows:
            self.suspend_application_mode()
            self.resume_application_mode()

    def _forget_on_resize(self) -> None:
        """A terminal that shrank and grew back has its old size, and has lost what it showed."""
        handle = signal.getsignal(signal.SIGWINCH)

        def resized(number: int, frame: FrameType | None) -> None:
            self._size = None  # not at once: it may come in the middle of a write
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
        if data == _SYNC:
            self._held = data
        elif data == _END_SYNC and self._held:
            self._held = ""
        elif needed := self._painted.needed(data):
            super().write(self._held + needed)
            self._held = ""

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
