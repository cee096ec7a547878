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
    """Seconds until a run is done, as far as known, and the phases of which that is not known.

    `spent` is the working time of what is done; None where a part of it was done at an unknown pace.
    """

    seconds: float
    unknown: tuple[str, ...]
    spent: float | None = None

    @property
    def share(self) -> float | None:
        """How much of the working time has passed, 0 to 1, at most; None while nothing is known of it."""
        whole = self.seconds + (self.spent or 0.0)
        return None if self.spent is None or not whole else self.spent / whole


def whole_time_left(
    rows: "Sequence[Progress]", earlier: Mapping[str, float], recent: Recent | None = None
) -> WholeTime:
    """Over all phases; one that has not begun uses its pace in a previous run.

    `earlier` has units a second by phase.
    """
    seconds, unknown, spent = 0.0, [], []
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
        spent += [_spent(row, rate(pieces) or earlier.get(phase)) for row in pieces if row.done]
    known = [took for took in spent if took is not None]
    return WholeTime(seconds, tuple(unknown), sum(known) if len(known) == len(spent) else None)


def _spent(row: "Progress", pace: float | None) -> float | None:
    """The seconds that all that is done of a piece takes; what an earlier worker did, at this one's pace."""
    if not row.resumed_from:
        return row.seconds
    pace = rate([row]) or pace
    return None if pace is None else row.done / pace


def coarse(seconds: float) -> float:
    """As exact as an estimate is, so that it does not change with every look."""
    step = 5 if seconds < 60 else 10 if seconds < 600 else 60 if seconds < 3_600 else 300
    return max(step, round(seconds / step) * step)


def in_brief(whole: WholeTime) -> str:
    """How far a run is and the time left, in at most eleven cells: "43% 12m". "" while nothing is known.

    Phases of unknown length make the share an upper bound and the time a lower one: "<43% >12m".
    """
    share = whole.share
    if share is None or (whole.unknown and not whole.seconds):
        return ""
    below, above = ("<", ">") if whole.unknown else ("", "")
    left = f" {above}{_shortly(coarse(whole.seconds))}" if whole.seconds else ""
    return f"{below}{min(99, int(100 * share))}%{left}"


def _shortly(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 60 or minutes < 60:
        return f"{seconds:.0f}s" if seconds < 60 else f"{minutes}m"
    hours = minutes // 60
    return f"{hours}h{minutes % 60:02}m" if hours < 10 else f"{hours}h" if hours < 100 else f"{hours // 24}d"


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
