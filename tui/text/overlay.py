"""Marks laid over a text by place: code, invisible characters. They cut its segments; they alter nothing."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tui.text.diff import Segment


class Mark(NamedTuple):
    """A stretch of a text and its style; `shown` stands in its place where it has no look of its own."""

    start: int
    end: int
    style: str
    shown: str | None = None


def overlaid(parts: Iterable[Sequence[Segment]], marks: Sequence[Mark]) -> list[tuple[Segment, ...]]:
    """The parts of one text, in order, cut where marks begin and end. A changed piece keeps its own look.

    `marks` are in order and do not overlap; their places count from the first part's first character.
    """
    found: list[tuple[Segment, ...]] = []
    place = at = 0
    for segments in parts:
        cut: list[Segment] = []
        for text, changed, style in segments:
            start, end = place, place + len(text)
            while at < len(marks) and marks[at].start < end:
                mark = marks[at]
                begin, stop = max(start, mark.start), min(end, mark.end)
                cut.append(Segment(text[start - place : begin - place], changed, style))
                shown = text[begin - place : stop - place] if mark.shown is None else mark.shown
                cut.append(Segment(shown, changed, "" if changed else mark.style))
                start = stop
                if mark.end > end:
                    break
                at += 1
            cut.append(Segment(text[start - place :], changed, style))
            place = end
        found.append(tuple(segment for segment in cut if segment.text))
    return found
