"""How fast a run's work goes and how long it will still take."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from store.rows import ProgressRow


def rate(rows: "Sequence[ProgressRow]") -> float | None:
    """Units a second since this worker began; None before the first."""
    fresh = sum(row.done - row.resumed_from for row in rows)
    seconds = sum(row.seconds for row in rows)
    return fresh / seconds if seconds > 0 and fresh > 0 else None


def time_left(rows: "Sequence[ProgressRow]") -> float | None:
    """Seconds until all is done; None when it is, or while nothing is known.

    Pieces differ in speed (recorded answers are read at once, a model takes its time), so what is left goes
    at the pace of what is under way, and only without one at the pace of all.
    """
    left = sum(row.total - row.done for row in rows)
    pace = rate([row for row in rows if row.done < row.total]) or rate(rows)
    return left / pace if left > 0 and pace is not None else None
