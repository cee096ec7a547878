"""How fast a run's work goes, how long it will still take, and what it costs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from store.rows import ModelRow, ProgressRow

# The phases that hold a model's weights on its device.
WEIGHTS = ("generate", "perplexity", "benchmarks")


def rate(rows: "Sequence[ProgressRow]") -> float | None:
    """Units a second since this worker began; None before the first."""
    fresh = sum(row.done - row.resumed_from for row in rows)
    seconds = sum(row.seconds for row in rows)
    return fresh / seconds if seconds > 0 and fresh > 0 else None


def time_left(rows: "Sequence[ProgressRow]") -> float | None:
    """Seconds until all is done; None when it is, or while nothing is known.

    Pieces differ in speed (recorded answers are read at once, a model takes its time), so what is left goes
    at the pace of what is under way, and only without one at the pace of all. The tokens left are those of
    the unfinished answers at the model's mean length so far, and an answer under way counts as half written:
    in seconds that mean stands on both sides, so that the answers themselves can be counted.
    """
    under_way = [row for row in rows if row.done < row.total]
    begun = sum((row.busy or 0) / 2 for row in under_way if row.done > row.resumed_from)
    left = sum(row.total - row.done for row in rows)
    pace = _pace(under_way, begun) or _pace(rows, 0.0)
    return max(0.0, left - begun) / pace if left > 0 and pace is not None else None


def _pace(rows: "Sequence[ProgressRow]", begun: float) -> float | None:
    """Units a second, with those that are under way."""
    finished, seconds = rate(rows), sum(row.seconds for row in rows)
    return None if finished is None else finished + begun / seconds


def read_speed(rows: "Sequence[ProgressRow]") -> float | None:
    """Prompt tokens a second, of the time spent reading prompts; None where that time is not known."""
    tokens, seconds = sum(row.prompt_tokens for row in rows), sum(row.prompt_seconds for row in rows)
    return tokens / seconds if tokens and seconds > 0 else None


def write_speed(rows: "Sequence[ProgressRow]") -> float | None:
    """Answer tokens a second, of the time not spent reading prompts; None before the first."""
    tokens = sum(row.tokens for row in rows)
    seconds = sum(row.seconds - row.prompt_seconds for row in rows)
    return tokens / seconds if tokens and seconds > 0 else None


class Cost(NamedTuple):
    """What a run has cost so far; None where it used none, or none is known."""

    gpu_hours: float | None
    dollars: float | None


def cost(progress: "Sequence[ProgressRow]", models: "Sequence[ModelRow]") -> Cost:
    """What a run has cost so far: GPU hours, and what servers charged."""
    charged = [row.cost for row in progress if row.cost is not None]
    return Cost(gpu_hours(progress, models), sum(charged) if charged else None)


def gpu_hours(progress: "Sequence[ProgressRow]", models: "Sequence[ModelRow]") -> float | None:
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
