"""The speed, ETA and cost of a run."""

import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from store.read.rows import ModelRow
    from store.records import Progress

# The phases that hold a model's weights on its device.
WEIGHTS = ("generate", "perplexity", "benchmarks")

BLOCK_SECONDS = 8.0  # of a piece's working time over which one rate is measured
BLOCKS = 9  # the newest of them that count
ENOUGH = 3  # blocks from which their median is better than the mean since the start


class Recent:
    """The recent rate of each piece of work, from repeated samples of its progress.

    The rate is the median over short blocks, so that one stall or burst is one block among several. Time and
    counts are the worker's: its clock stops during a pause, and an answer from the cache is not counted as
    work.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], tuple[int, float]] = {}
        self._blocks: dict[tuple[str, str], deque[float]] = {}

    def look(self, rows: "Sequence[Progress]") -> None:
        """Records how far every piece is now."""
        for row in rows:
            piece, now = (row.phase, row.item), (row.done - row.resumed_from, row.seconds)
            before = self._last.setdefault(piece, now)
            done, seconds = now[0] - before[0], now[1] - before[1]
            if done < 0 or seconds < 0:  # begun anew
                self._blocks.pop(piece, None)
                self._last[piece] = now
            elif done > 0 and seconds >= BLOCK_SECONDS:
                self._blocks.setdefault(piece, deque(maxlen=BLOCKS)).append(done / seconds)
                self._last[piece] = now

    def rate(self, row: "Progress") -> float | None:
        """Recent units a second; None while too little was seen."""
        blocks = self._blocks.get((row.phase, row.item), ())
        return statistics.median(blocks) if len(blocks) >= ENOUGH else None


def rate(rows: "Sequence[Progress]", recent: Recent | None = None) -> float | None:
    """Units per second: the recent rate of the current piece, else the mean since this worker began.

    None before the first.
    """
    under_way = [row for row in rows if row.started is not None and row.done < row.total]
    late = [recent.rate(row) for row in under_way] if recent is not None else []
    if len(late) == 1 and late[0] is not None:
        return late[0]
    fresh = sum(row.done - row.resumed_from for row in rows)
    seconds = sum(row.seconds for row in rows)
    return fresh / seconds if seconds > 0 and fresh > 0 else None


def time_left(rows: "Sequence[Progress]", recent: Recent | None = None) -> float | None:
    """Seconds until all is done; None when it is, or while it is unknown.

    Pieces differ in speed (recorded answers are read at once, a model takes its time), so what is left goes
    at the pace of what is under way, and only without one at the pace of all. The tokens left are those of
    the unfinished answers at the model's mean length so far, and an answer under way counts as half written:
    in seconds that mean stands on both sides, so that the answers themselves can be counted.
    """
    under_way = [row for row in rows if row.done < row.total]
    begun = sum((row.busy or 0) / 2 for row in under_way if row.done > row.resumed_from)
    left = sum(row.total - row.done for row in rows)
    pace = _late(under_way, recent) or _pace(under_way, begun) or _pace(rows, 0.0)
    return max(0.0, left - begun) / pace if left > 0 and pace is not None else None


def _late(under_way: "Sequence[Progress]", recent: Recent | None) -> float | None:
    """The recent rate of the one piece that has begun; several at once share the worker's time."""
    begun = [row for row in under_way if row.done > row.resumed_from]
    return recent.rate(begun[0]) if recent is not None and len(begun) == 1 else None


def _pace(rows: "Sequence[Progress]", begun: float) -> float | None:
    """Units per second, including those in progress."""
    finished, seconds = rate(rows), sum(row.seconds for row in rows)
    return None if finished is None else finished + begun / seconds


class WholeTime(NamedTuple):
    """Seconds until a run is done, as far as known, and the phases of which that is not known."""

    seconds: float
    unknown: tuple[str, ...]


def whole_time_left(
    rows: "Sequence[Progress]", earlier: Mapping[str, float], recent: Recent | None = None
) -> WholeTime:
    """Over all phases; one that has not begun uses its pace in a previous run.

    `earlier` has units a second by phase.
    """
    seconds, unknown = 0.0, []
    for phase, found in groupby(rows, key=lambda row: row.phase):
        pieces = list(found)
        left = sum(row.total - row.done for row in pieces)
        took = time_left(pieces, recent)
        if took is None and left > 0 and phase in earlier:
            took = left / earlier[phase]
        if took is not None:
            seconds += took
        elif left > 0 or any(row.started is None for row in pieces):
            unknown.append(phase)
    return WholeTime(seconds, tuple(unknown))


def read_speed(rows: "Sequence[Progress]") -> float | None:
    """Prompt tokens a second, of the time spent reading prompts; None where that time is not known."""
    tokens, seconds = sum(row.prompt_tokens for row in rows), sum(row.prompt_seconds for row in rows)
    return tokens / seconds if tokens and seconds > 0 else None


def write_speed(rows: "Sequence[Progress]") -> float | None:
    """Answer tokens a second, of the time not spent reading prompts; None before the first."""
    tokens = sum(row.tokens for row in rows)
    seconds = sum(row.seconds - row.prompt_seconds for row in rows)
    return tokens / seconds if tokens and seconds > 0 else None


class Cost(NamedTuple):
    """The cost of a run so far; None where there was none, or it is unknown."""

    gpu_hours: float | None
    dollars: float | None


def cost(progress: "Sequence[Progress]", models: "Sequence[ModelRow]") -> Cost:
    """The cost of a run so far: GPU hours, and server charges."""
    charged = [row.cost for row in progress if row.cost is not None]
    return Cost(gpu_hours(progress, models), sum(charged) if charged else None)


def gpu_hours(progress: "Sequence[Progress]", models: "Sequence[ModelRow]") -> float | None:
    """The hours in which models held a GPU here, loading included; None where none did."""
    on_gpu = {model.name for model in models if str((model.details or {}).get("device")).startswith("cuda")}
    # A benchmark's item is "model · task".
    seconds = [
        row.seconds
        for row in progress
        if row.phase in WEIGHTS and (row.item in on_gpu or row.item.rpartition(" · ")[0] in on_gpu)
    ]
    return sum(seconds) / 3600 if seconds else None


def in_gpu_hours(hours: float) -> str:
    return f"{hours:.{2 if hours >= 0.1 else 3}f} GPU-hours"


def written(cost: Cost) -> str:
    """The cost in words, "" where there is none."""
    hours = "" if cost.gpu_hours is None else in_gpu_hours(cost.gpu_hours)
    dollars = "" if cost.dollars is None else f"${cost.dollars:,.2f}"
    return ", ".join(part for part in (hours, dollars) if part)
