"""What a look at a plan, before it runs, comes to."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning", "ok"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what it is, what was found, and the way out where it is wrong."""

    level: Level
    subject: str
    message: str
    hint: str = ""


def in_units(count: float) -> str:
    """A number of bytes in binary units: 812 MiB, 1.5 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if count >= 100 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def in_words(seconds: float) -> str:
    """A length of time: 48 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.{seconds < 10:d}f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
