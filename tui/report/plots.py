"""The plots of a report: inline SVG whose places across are shares of the page's width, heights pixels.

Words are text of the page beside a picture, so that they wrap on a phone and keep their size. Colour never
carries a meaning alone: better points up, worse points down, a missing value is an empty
frame.

Colours are blue and orange; the words, the direction of a mark and the sign say the same without them. What
is missing is drawn as missing, with its reason, and never as 0.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from markupsafe import Markup, escape

from tui.text.gate import printable
from tui.text.output import interval, number
from tui.widgets.pictures import Histogram, Scale, scale

WHOLE = Scale(0.0, 1.0)
HEIGHT = 22  # pixels of one row
MIDDLE = HEIGHT // 2
_ROOM = 18.0  # per cent that a number on the axis takes
_MARKS = {
    "better": "M-6 5 L0 -6 L6 5z",
    "worse": "M-6 -5 L0 6 L6 -5z",
    "moved": "M0 -6 L6 0 L0 6 L-6 0z",
    "even": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z",
    "open": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
    "tick": "M-1 -6 L1 -6 L1 6 L-1 6z",
}


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


def upright(x: float, style: str) -> str:
    """A line over the whole height, at a reference value."""
    return line(x, x, style, 0, HEIGHT)


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


def axis(of: Scale, at: float | None = None) -> Markup:
    """The numbers under a picture: both ends, and `at` where it has room between them."""
    places = [(0.0, "start", of.low), (100.0, "end", of.high)]
    if at is not None and _ROOM < (middle := of.at(at)) < 100 - _ROOM:
        places.insert(1, (middle, "middle", at))
    texts = [
        f'<text x="{x:.2f}%" y="12" text-anchor="{anchor}">{escape(_tick(value))}</text>'
        for x, anchor, value in places
    ]
    return picture(texts, "axis", height=16)


def _tick(value: float) -> str:
    written = number(value)
    return written.rstrip("0").rstrip(".") if "." in written else written


Side = Literal["better", "worse", "moved", "even", "open"]
SIGNS = {"better": "▲", "worse": "▼", "moved": "◆", "even": "=", "open": "○"}


@dataclass(frozen=True, slots=True)
class Reading:
    """One value with its interval and its outcome in words; without a `value` there is a `reason`."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    side: Side = "even"
    said: str = ""
    reason: str | None = None
    limits: Sequence[float] = ()  # beyond which a gate trips


@dataclass(frozen=True, slots=True)
class BeforeAfter:
    """A value before and after; an error is one standard error."""

    name: str
    before: float | None
    after: float | None
    side: Side = "even"
    said: str = ""
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """A share of a whole: `count` of `total`."""

    name: str
    count: int | None
    total: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PlotPlace:
    """One place of a sequence: a run of a trend, or a slice of a strip."""

    name: str
    value: float | None
    side: Side = "even"
    reason: str | None = None
    upward: bool = True  # of a strip: on which side of the line of no difference
    joined: bool = True  # of a trend: whether it compares with the place before it


@dataclass(frozen=True, slots=True)
class PlotPoint:
    """Two figures of one thing, each with its interval; `sure`: on the line of those that none beats."""

    name: str
    x: Reading
    y: Reading
    sure: bool


def scatter(
    points: Sequence[PlotPoint],
    caption: str,
    *,
    limits: tuple[float | None, float | None] = (None, None),
    even: tuple[float, float] = (0.0, 0.0),
) -> Markup:
    """One figure against another with their intervals: full circles on the front, open ones behind it.

    `limits` and `even` are lines across and up: of the plan's gates, and where nothing has changed.
    """
    height, edge = 300, 10
    across, up = (
        scale([end for each in found for end in (each.low, each.value, each.high)], *shown)
        for found, shown in (
            ([point.x for point in points], [at for at in (limits[0], even[0]) if at is not None]),
            ([point.y for point in points], [at for at in (limits[1], even[1]) if at is not None]),
        )
    )

    def level(value: float) -> float:
        share = (value - up.low) / (up.high - up.low)
        return height - edge - share * (height - 2 * edge)

    shapes = []
    for style, x, y in (("zero", *even), ("wanted", *limits)):
        shapes += [] if x is None else [line(across.at(x), across.at(x), style, 0, height)]
        shapes += [] if y is None else [line(0, 100, style, level(y))]
    known = [(point, point.x.value, point.y.value) for point in points]
    spots = [(point, across.at(x), level(y)) for point, x, y in known if x is not None and y is not None]
    front = sorted((x, y) for point, x, y in spots if point.sure)
    shapes += [line(x1, x2, "range better", y1, y2) for (x1, y1), (x2, y2) in pairwise(front)]
    for point, x, y in spots:
        if point.x.low is not None and point.x.high is not None:
            shapes.append(line(across.at(point.x.low), across.at(point.x.high), "rule", y))
        if point.y.low is not None and point.y.high is not None:
            shapes.append(line(x, x, "rule", level(point.y.low), level(point.y.high)))
    labels = [f"{point.name}: {_difference(point.y)}; {_difference(point.x)}" for point in points]
    for (point, x, y), label in zip(spots, (labels[points.index(spot[0])] for spot in spots), strict=True):
        shape, style = ("even", "better") if point.sure else ("open", "gap")
        shapes.append(mark(x, shape, style, y, label))
    for value, y in ((up.high, 12), (up.low, height - 4)):
        shapes.append(f'<text x="0.5%" y="{y}">{escape(_tick(value))}</text>')
    drawn = picture(shapes, caption, "; ".join(labels), height)
    return Markup("<figure><figcaption>{}</figcaption>{}{}</figure>").format(
        printable(caption), drawn, axis(across)
    )


def forest(readings: Sequence[Reading], caption: str, within: Scale | None = None) -> Markup:
    """Differences with their intervals around the line of no difference."""
    of = within or difference_scale(readings)
    rows = [
        _row(
            item.name,
            missing() if item.value is None else [*_lines(item, of), *_point(item, of)],
            item.side,
            _difference(item),
        )
        for item in readings
    ]
    return _figure(caption, rows, axis(of, 0.0))


def difference_scale(readings: Iterable[Reading]) -> Scale:
    """A scale that holds 0 and all differences with their intervals."""
    return scale([end for item in readings for end in (item.low, item.value, item.high, *item.limits)], 0.0)


def _lines(item: Reading, of: Scale) -> list[str]:
    """No difference, and the limits of the gate."""
    return [upright(of.at(0), "zero"), *(upright(of.at(limit), "wanted") for limit in item.limits)]


def dumbbells(steps: Sequence[BeforeAfter], caption: str) -> Markup:
    """Values before (open circle) and after (arrow or full circle)."""
    of = scale([end for step in steps for end in (step.before, step.after)], 0.0)
    rows = [_row(step.name, _dumbbell(step, of), step.side, _change(step)) for step in steps]
    return _figure(caption, rows, axis(of))


def rates(
    readings: Sequence[Reading], caption: str, wanted: float | None = None, of: Scale = WHOLE
) -> Markup:
    """Win rates from 0 to 1, or values on another scale, as bars with intervals.

    With a line in the middle, the one that the plan wants, and those that a reading is held against.
    """
    middle = (of.low + of.high) / 2
    lines = [upright(of.at(middle), "zero")]
    lines += [] if wanted is None else [upright(of.at(wanted), "wanted")]
    rows = []
    for item in readings:
        shapes = missing()
        if item.value is not None:
            held = [upright(of.at(limit), "wanted") for limit in item.limits]
            bar = block(of.at(of.low), of.at(item.value), f"pale {item.side}")
            shapes = [bar, *lines, *held, *_point(item, of)]
        rows.append(_row(item.name, shapes, item.side, _rate(item)))
    return _figure(caption, rows, axis(of, middle))


def percentiles(rows: Sequence[tuple[str, Sequence[tuple[str, float | None]], str]], caption: str) -> Markup:
    """For each name the value of each percentile, from the least on, and why some are missing."""
    of = scale([value for _, points, _ in rows for _, value in points], 0.0)
    drawn = []
    for name, points, reason in rows:
        known = [(label, value) for label, value in points if value is not None]
        shapes = missing()
        if known:
            shapes = [line(of.at(known[0][1]), of.at(known[-1][1]), "range even")]
            shapes += [
                mark(of.at(value), "tick" if place else "even", "even", label=f"{label} {number(value)}")
                for place, (label, value) in enumerate(known)
            ]
        said = " · ".join(f"{label} {number(value)}" for label, value in points)
        drawn.append(_row(name, shapes, "even", f"{said}{': ' + reason if reason else ''}", sign=False))
    return _figure(caption, drawn, axis(of))


def histogram(found: Histogram, caption: str) -> Markup:
    """How the values of each name spread, in the same bins, with a line at the median."""
    of, height = found.scale, 48
    largest = found.largest() or 1.0
    rows = []
    for name, counts in found.counts.items():
        total, median = sum(counts), found.medians.get(name)
        shapes = [line(0, 100, "zero", height)]
        for (low, high), count in zip(pairwise(found.edges), counts, strict=True):
            size = count / total / largest * (height - 4) if total else 0.0
            label = f"{number(low)} to {number(high)}: {count:,} of {total:,}"
            if count:
                shapes.append(block(of.at(low), of.at(high), "even pale", height - size, size, label))
        if median is not None:
            shapes.append(line(of.at(median), of.at(median), "wanted", 0, height))
        said = f"median {number(median)}, n {total:,}"
        rows.append(_line(name, picture(shapes, name, said, height), _words(said)))
    return _figure(caption, rows, axis(of))


def sparkline(places: Sequence[PlotPlace], name: str, said: str) -> Markup:
    """A value from run to run, oldest first; the line breaks where a run has none, or one that does not
    compare.
    """
    of, room, height = scale([place.value for place in places]), 100 / max(len(places), 1), 40
    spots = [(room * (number_ + 0.5), _height(of, place, height)) for number_, place in enumerate(places)]
    shapes = [
        line(x1, x2, "range even", y1, y2)
        for ((x1, y1), (x2, y2)), place in zip(pairwise(spots), places[1:], strict=True)
        if y1 is not None and y2 is not None and place.joined
    ]
    for (x, y), place in zip(spots, places, strict=True):
        shape, style = ("open", "gap") if y is None else ("even", place.side)
        shapes.append(mark(x, shape, style, height - 6 if y is None else y, _label(place)))
    return _line(name, picture(shapes, name, _described(places), height), _words(said))


def strip(places: Sequence[PlotPlace], name: str, said: str) -> Markup:
    """One bar a place around the line of no difference: up for better, down for worse, as far as it goes."""
    largest = max((abs(place.value) for place in places if place.value is not None), default=0.0) or 1.0
    room, height = 100 / max(len(places), 1), 48
    middle = height / 2
    shapes = [line(0, 100, "zero", middle)]
    for number_, place in enumerate(places):
        x = room * (number_ + 0.5)
        if place.value is None:
            shapes.append(mark(x, "open", "gap", middle, _label(place)))
            continue
        size = max(abs(place.value) / largest * (middle - 2), 1)
        style = f"{place.side} {'sure' if place.side in ('better', 'worse') else 'pale'}"
        top = middle - size if place.upward else middle
        shapes.append(block(x - room * 0.4, x + room * 0.4, style, top, size, _label(place)))
    return _line(name, picture(shapes, name, _described(places), height), _words(said))


def bars(items: Sequence[Bar], caption: str) -> Markup:
    """Counts as shares of their total."""
    of = Scale(0.0, 1.0)
    rows = []
    for item in items:
        if item.count is None:
            rows.append(_row(item.name, missing(), "open", f"missing: {item.reason or 'not recorded'}"))
            continue
        share = item.count / item.total if item.total else 0.0
        shapes = [block(of.at(0), of.at(1), "ground")]
        shapes += [block(of.at(0), of.at(share), "worse sure")] if item.count else []
        rows.append(_row(item.name, shapes, "even", f"{item.count:,} of {item.total:,}", sign=False))
    return _figure(caption, rows)


def _height(of: Scale, place: PlotPlace, height: int) -> float | None:
    if place.value is None:
        return None
    return height - 6 - (place.value - of.low) / (of.high - of.low) * (height - 12)


def _label(place: PlotPlace) -> str:
    if place.value is None:
        return f"{place.name}: missing, {place.reason or 'not recorded'}"
    return f"{place.name}: {number(place.value)}"


def _described(places: Sequence[PlotPlace]) -> str:
    return "; ".join(map(_label, places))


def _point(item: Reading, of: Scale) -> list[str]:
    shapes = []
    if item.low is not None and item.high is not None:
        shapes.append(line(of.at(item.low), of.at(item.high), f"range {item.side}"))
    return [*shapes, mark(of.at(item.value or 0.0), item.side, item.side)]


def _dumbbell(step: BeforeAfter, of: Scale) -> list[str]:
    if step.before is None and step.after is None:
        return missing()
    shapes = [line(0, 100, "rule")]
    if step.before is not None and step.after is not None:
        shapes.append(line(of.at(step.before), of.at(step.after), f"range {step.side}"))
    if step.before is not None:
        shapes.append(mark(of.at(step.before), "open", "gap"))
    if step.after is not None:
        shapes.append(mark(of.at(step.after), step.side, step.side))
    return shapes


def _difference(item: Reading) -> str:
    if item.value is None:
        return f"missing: {item.reason or 'not recorded'}"
    parts = (item.said, number(item.value, sign=True), interval(item.low, item.high, True), item.reason or "")
    return " ".join(part for part in parts if part)


def _rate(item: Reading) -> str:
    if item.value is None:
        return f"missing: {item.reason or 'not recorded'}"
    return " ".join(part for part in (number(item.value), interval(item.low, item.high), item.said) if part)


def _change(step: BeforeAfter) -> str:
    if step.before is None or step.after is None:
        return f"{number(step.before)} → {number(step.after)} missing: {step.reason or 'not recorded'}"
    return f"{number(step.before)} → {number(step.after)} {step.said}".rstrip()


def _row(name: str, shapes: Iterable[str], side: Side, said: str, sign: bool = True) -> Markup:
    words = _words(f"{SIGNS[side]} {said}" if sign else said, side)
    return _line(name, picture(shapes, name, said), words)


def _words(said: str, side: Side = "even") -> Markup:
    return Markup('<span class="{}">{}</span>').format(side, printable(said))


def _line(name: str, drawn: Markup, words: Markup) -> Markup:
    return Markup('<div class="row"><div class="name">{}</div>{}<div class="said">{}</div></div>').format(
        printable(name), drawn, words
    )


def _figure(caption: str, rows: Iterable[Markup], axis: Markup | None = None) -> Markup:
    under = (
        Markup("")
        if axis is None
        else Markup('<div class="row axis"><div></div>{}<div></div></div>').format(axis)
    )
    return Markup("<figure><figcaption>{}</figcaption>{}{}</figure>").format(
        printable(caption), Markup("").join(rows), under
    )
