"""The output of commands: tables fitted to the terminal for people, JSON for programs.

Standard output has only results; errors and progress go to standard error. Text of models and data
reaches a terminal only through `printable`.
"""

import json
import math
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len

from engine.gates.figures import MISSING
from engine.gates.figures import interval as interval
from engine.gates.figures import number as number
from tui.text.gate import cut, printable

GAP = "  "
NARROWEST = 10  # cells that a shortened column of text keeps, and two thirds of its width


@dataclass(frozen=True, slots=True)
class Column:
    """A column's heading; numbers are right-aligned and never cut, texts are left-aligned and may be."""

    title: str
    number: bool = False


_held: list[str] | None = None  # lines that `held` collects


def out(text: str = "") -> None:
    if _held is not None:
        _held.extend(text.split("\n"))
    else:
        sys.stdout.write(text + "\n")


@contextmanager
def held() -> Iterator[list[str]]:
    """Collects the lines of standard output instead of printing them."""
    global _held
    before, _held = _held, []
    try:
        yield _held
    finally:
        _held = before


@dataclass
class Manner:
    """How much a command line asked to be told."""

    quiet: bool = False  # only results and errors
    verbose: bool = False
    debug: bool = False


asked = Manner()


def remark(text: str) -> None:
    """What a person may like to know, on standard error; nothing with --quiet."""
    if not asked.quiet:
        err(text)


def detail(text: str) -> None:
    """What is told with --verbose alone, on standard error."""
    if asked.verbose:
        err(printable(text))


def err(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def width() -> int:
    """The cells that a line may take: the terminal's, or 100 when the output is no terminal."""
    return shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else 100


SCREEN = (24, 48)  # the fewest and the most lines of what fits on one screen


def height() -> int:
    """The lines that fit on one screen, above the next prompt."""
    least, most = SCREEN
    lines = shutil.get_terminal_size((100, most)).lines if sys.stdout.isatty() else most
    return min(max(lines, least), most) - 1


LOG_EVERY_S = 60.0  # between lines of progress in a log, where nothing else is due


def redraws() -> bool:
    """Whether progress is drawn in place on standard error; a log, a CI's too, gets whole lines."""
    plain = os.environ.get("TERM") == "dumb" or os.environ.get("NO_COLOR")
    return sys.stderr.isatty() and not plain and os.environ.get("CI", "").lower() in ("", "0", "false")


def strong(text: str) -> str:
    """Bold on a terminal that may have it; never the only carrier of a meaning."""
    if not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[1m{text}\x1b[0m"


def heading(text: str) -> None:
    out()
    out(strong(printable(text)))


def paragraph(text: str, indent: str = "", first: str | None = None) -> None:
    """Text wrapped to the terminal; `first` replaces the indent of the first line."""
    lead = indent if first is None else first
    lines = textwrap.wrap(
        printable(text),
        max(width() - 1, 40),
        initial_indent=lead,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,  # a path is copied whole
    )
    out("\n".join(lines))


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], total: int | None = None) -> None:
    for line in table(columns, rows, total or width()):
        out(line)


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], total: int) -> Iterator[str]:
    """Aligned lines of at most `total` cells.

    Columns of text are shortened where that is enough; else the table goes on below in further blocks, which
    repeat the first column.
    """
    cells = [[printable(cell.replace("\n", "⏎")) for cell in row] for row in rows]
    wanted = [
        max([cell_len(column.title), *(cell_len(row[place]) for row in cells)])
        for place, column in enumerate(columns)
    ]
    widths = _shrunk(columns, wanted, total)
    for place, block in enumerate(_blocks(widths, total)):
        if place:
            yield ""
        for line in ([column.title for column in columns], *cells):
            texts = [_aligned(line[place], widths[place], columns[place].number) for place in block]
            yield GAP.join(texts).rstrip()


def _shrunk(columns: Sequence[Column], wanted: list[int], total: int) -> list[int]:
    """Widths that fit into one block where shorter texts can do that; else the wanted ones, for several."""
    widths = list(wanted)
    least = [max(NARROWEST, cells * 2 // 3) for cells in wanted]
    while sum(widths) + len(GAP) * (len(widths) - 1) > total:
        texts = [
            place
            for place, column in enumerate(columns)
            if not column.number and widths[place] > least[place]
        ]
        if not texts:
            return [min(cells, total // 2) for cells in wanted]
        widths[max(texts, key=lambda place: widths[place])] -= 1
    return widths


def _blocks(widths: Sequence[int], total: int) -> list[list[int]]:
    blocks: list[list[int]] = [[0]]
    used = widths[0]
    for place in range(1, len(widths)):
        if len(blocks[-1]) > 1 and used + len(GAP) + widths[place] > total:
            blocks.append([0])
            used = widths[0]
        blocks[-1].append(place)
        used += len(GAP) + widths[place]
    return blocks


def _aligned(text: str, cells: int, number: bool) -> str:
    shown = cut(text, cells)
    blank = " " * (cells - cell_len(shown))
    return blank + shown if number else shown + blank


def moment(seconds: float | None) -> str:
    """A time for people: UTC, to the minute."""
    return MISSING if seconds is None else time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))


def iso(seconds: float | None) -> str | None:
    """A time for programs: ISO 8601 in UTC."""
    return None if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def finite(value: Any) -> Any:
    """The value with every number that JSON cannot hold made null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def as_json(value: Any, indent: int | None = 2) -> str:
    """JSON in ASCII: no text in it can steer a terminal, and lone surrogates stay what they are."""
    return json.dumps(finite(value), indent=indent, allow_nan=False).replace("\x7f", "\\u007f")


def print_json(value: Any) -> None:
    out(as_json(value))
