"""A win rate as a band on one line: its interval from 0 to 100 %, with 50 % and the gate marked."""

from functools import lru_cache

from textual.content import Content

from tui.text.gate import join

HALF = "│"
GATE = "◆"
_EMPTY, _INSIDE, _VALUE = "─", "▒", "█"


def band(
    value: float | None, low: float | None, high: float | None, cells: int, gate: float | None = None
) -> Content:
    """Exactly `cells` wide. All are shares from 0 to 1; a missing value leaves the scale and its marks.

    Of what falls on one cell the value is seen before the gate, the gate before 50 %, and that before the
    interval.
    """
    drawn = [(_EMPTY, "$rule")] * cells
    if low is not None and high is not None:
        for place in range(_cell(low, cells), _cell(high, cells) + 1):
            drawn[place] = (_INSIDE, "$good")
    drawn[_cell(0.5, cells)] = (HALF, "$muted")
    if gate is not None:
        drawn[_cell(gate, cells)] = (GATE, "$warn")
    if value is not None:
        drawn[_cell(value, cells)] = (_VALUE, "bold")
    return join([Content.styled(glyph, style) for glyph, style in drawn])


@lru_cache(maxsize=8)
def gate_of(plan: str) -> float | None:
    """The win rate that a plan asks for; None where it asks for none."""
    import tomllib  # after the first frame

    try:
        found = tomllib.loads(plan).get("gates", {}).get("min_win_rate")
    except tomllib.TOMLDecodeError:  # published results bring whatever they were made with
        return None
    return float(found) if isinstance(found, int | float) else None


def key(gate: float | None) -> Content:
    """What the marks of a band mean."""
    said = f"{HALF} 50 %" if gate is None else f"{HALF} 50 %  {GATE} gate {100 * gate:g} %"
    return Content.styled(said, "$muted")


def _cell(share: float, cells: int) -> int:
    return max(0, min(cells - 1, int(share * cells)))
