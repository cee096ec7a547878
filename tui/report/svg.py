"""Shapes of inline SVG that stretch with the page: places across are shares of its width, heights are pixels.

Words are text of the page beside a picture, so that they wrap on a phone and keep their size. Colour never
carries a meaning alone: better points up, worse points down, a missing value is an empty
frame.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor, log10

from markupsafe import Markup, escape

from tui.text.gate import printable
from tui.text.output import number

HEIGHT = 22  # pixels of one row
MIDDLE = HEIGHT // 2
_EDGE = 2.0  # per cent left free on both sides, so that no mark is cut off
_ROOM = 18.0  # per cent that a number on the axis takes
_MARKS = {
    "better": "M-6 5 L0 -6 L6 5z",
    "worse": "M-6 -5 L0 6 L6 -5z",
    "moved": "M0 -6 L6 0 L0 6 L-6 0z",
    "even": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z",
    "open": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
    "tick": "M-1 -6 L1 -6 L1 6 L-1 6z",
}


@dataclass(frozen=True, slots=True)
class Scale:
    """The values at the left and right end of a picture."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """The position of a value in per cent of the width; what is outside the scale is at the edge."""
        share = (value - self.low) / (self.high - self.low)
        return _EDGE + min(1.0, max(0.0, share)) * (100 - 2 * _EDGE)


def scale(values: Iterable[float | None], *shown: float) -> Scale:
    """A scale that holds all known values and those that must be `shown`, its ends rounded outwards."""
    known = [*(value for value in values if value is not None), *shown]
    low, high = min(known, default=0.0), max(known, default=1.0)
    if low == high:
        low, high = low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2
    step = 10.0 ** floor(log10(high - low)) / 2
    return Scale(floor(low / step + 1e-9) * step, ceil(high / step - 1e-9) * step)


def picture(shapes: Iterable[str], title: str, described: str = "", height: int = HEIGHT) -> Markup:
    """One SVG; a screen reader reads `title` and `described`."""
    words = Markup("<title>{}</title>").format(printable(title))
    if described:
        words += Markup("<desc>{}</desc>").format(printable(described))
    body = Markup("").join(Markup(shape) for shape in shapes)
    return Markup('<svg class="picture" height="{}" role="img">{}{}</svg>').format(height, words, body)


def line(first: float, second: float, style: str, y: float = MIDDLE, to: float | None = None) -> str:
    """A line between two places across; level at `y`, or down to `to`."""
    below = y if to is None else to
    return f'<line class="{style}" x1="{first:.2f}%" x2="{second:.2f}%" y1="{y:g}" y2="{below:g}"/>'


def upright(x: float, style: str, height: float = HEIGHT) -> str:
    """A line over the whole height, at a reference value."""
    return line(x, x, style, 0, height)


def block(
    first: float, second: float, style: str, top: float = 5, height: float = 12, label: str = ""
) -> str:
    """A filled piece between two places across, at least a hair wide."""
    left, width = min(first, second), max(abs(second - first), 0.3)
    sides = f'x="{left:.2f}%" width="{width:.2f}%" y="{top:.4g}" height="{height:.4g}"'
    return f'<rect class="{style}" {sides}>{_title(label)}</rect>'


def mark(x: float, shape: str, style: str, y: float = MIDDLE, label: str = "") -> str:
    """A mark of fixed size: an arrow up or down, a full or an open circle, a tick."""
    drawn = f'{_title(label)}<path d="{_MARKS[shape]}"/>'
    return f'<svg class="{style}" x="{x:.2f}%" y="{y:g}" overflow="visible">{drawn}</svg>'


def _title(label: str) -> str:
    return f"<title>{escape(printable(label))}</title>" if label else ""


def missing() -> list[str]:
    """The shape of a missing value: an empty frame over the whole width."""
    return ['<rect class="missing" x="0.5%" width="99%" y="7" height="8" rx="4"/>']


def axis(of: Scale, at: float | None = None, unit: str = "") -> Markup:
    """The numbers under a picture: both ends, and `at` where it has room between them."""
    places = [(0.0, "start", of.low), (100.0, "end", of.high)]
    if at is not None and _ROOM < (middle := of.at(at)) < 100 - _ROOM:
        places.insert(1, (middle, "middle", at))
    texts = [
        f'<text x="{x:.2f}%" y="12" text-anchor="{anchor}">{escape(_tick(value, unit))}</text>'
        for x, anchor, value in places
    ]
    return picture(texts, "axis", height=16)


def _tick(value: float, unit: str) -> str:
    written = number(value)
    trimmed = written.rstrip("0").rstrip(".") if "." in written else written
    return f"{trimmed} {unit}".strip()
