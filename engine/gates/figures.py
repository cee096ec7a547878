"""How alerts, decisions, screens and reports write figures. Standard library only."""

import math

MISSING = "–"
LARGE = 10_000
_SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def number(value: float | None, sign: bool = False) -> str:
    """Three decimals near one, fewer for larger values; a dash for a missing value."""
    if value is None or not math.isfinite(value):
        return MISSING
    size = abs(value)
    if size >= LARGE:
        return f"{'+' if sign and value > 0 else ''}{magnitude(value)}"
    decimals = 3 if size < 10 else 2 if size < 100 else 1 if size < 1000 else 0
    # Adding 0 turns the -0.0 that rounding leaves into 0.0.
    return f"{round(value, decimals) + 0.0:{'+' if sign else ''}.{decimals}f}"


def relative(share: float | None) -> str:
    """A relative difference in per cent, with its sign."""
    if share is None or not math.isfinite(share):
        return MISSING
    return f"{100 * share:+,.0f}%" if abs(share) >= 1 else f"{100 * share:+.1f}%"


def magnitude(value: float) -> str:
    """A large number in few cells; cut short, it would be another number."""
    scale, unit = next(((scale, unit) for scale, unit in _SCALES if abs(value) >= scale), (1.0, ""))
    return f"{value / scale:.1f}{unit}"


def interval(low: float | None, high: float | None, sign: bool = False) -> str:
    return "" if low is None or high is None else f"[{number(low, sign)}, {number(high, sign)}]"


def percent(value: float | None) -> str:
    """A share from 0 to 1 as per cent, with the decimal that keeps 99.6 from reading as 100."""
    if value is None:
        return MISSING
    return f"{value:.0%}" if value in (0.0, 1.0) else f"{value:.1%}"


def probability(p: float | None) -> str:
    """A p-value; one that three decimals would show as 0 is no 0."""
    return MISSING if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def counted(count: int, noun: str) -> str:
    """A count with its word: 1 example, 1,204 examples."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def size(count: int | None) -> str:
    """A number of bytes in binary units: 812 MiB, 1.5 GiB."""
    if count is None:
        return MISSING
    value, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if value >= 100 or unit == "B" else f"{value:.1f} {unit}"
