"""Scores many responses in order, in bounded memory, on several processes."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from typing import Any

from engine.data.example import Example
from engine.errors import CannotRun
from engine.metrics.load import load_metrics
from engine.metrics.metric import Metric, Score, missing, score_pairs
from engine.models.model import Response

Pair = tuple[Example, Response]
Settings = Mapping[str, Mapping[str, Any]]
CHUNK = 200
AHEAD = 3  # chunks waiting for each process: enough to keep it busy
WORTH_PROCESSES = 4000  # pairs from which on more processes pay for their start
SCATTERED = "other samples of this task were scored before; put the samples of one task next to one another"

_metrics: dict[str, Metric] = {}  # of one of the processes


@dataclass(slots=True)
class _Chunk:
    """Pairs scored together; `late` are the places of those whose task was scored in an earlier chunk."""

    pairs: list[Pair] = field(default_factory=list)
    late: set[int] = field(default_factory=set)


def score_all(
    names: Sequence[str], settings: Settings, pairs: Iterable[Pair], processes: int = 1
) -> Iterator[list[Score]]:
    """Each pair's scores by all the metrics, in the order of the pairs, which are read as needed.

    For a metric that needs all samples of a task at once (pass@k), the samples of one task must be next to
    each other: they are then scored together, however many they are; of samples that follow later the
    scores are missing, with that reason. Raises BadInput as `load_metrics` does.
    """
    with Scorers(names, settings, processes) as scorers:
        yield from scorers.score(names, pairs)


def useful_processes(metrics: Iterable[Metric], pairs: int | None) -> int:
    """The useful number of processes for so many pairs (None: unknown): 1, or the number of processors.

    Metrics that have `score_many` run models or programs, which use the machine as it is.
    """
    if any(hasattr(metric, "score_many") for metric in metrics) or (pairs or 0) < WORTH_PROCESSES:
        return 1
    return len(os.sched_getaffinity(0))


class Scorers:
    """Metrics loaded here and, with several `processes`, in each of them, to score in parallel.

    Each process loads the metrics once, which takes about half a second. Use it as a context; its
    end stops the processes.
    """

    def __init__(self, names: Sequence[str], settings: Settings, processes: int = 1) -> None:
        self._metrics = load_metrics(names, settings)
        self._ahead = AHEAD * processes
        self._pool: ProcessPoolExecutor | None = None
        if processes > 1:
            given = (tuple(names), dict(settings))
            self._pool = ProcessPoolExecutor(processes, get_context("spawn"), prepare, given)

    def __enter__(self) -> "Scorers":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def score(self, names: Sequence[str], pairs: Iterable[Pair]) -> Iterator[list[Score]]:
        """Each pair's scores by these of the metrics; see `score_all`.

        Raises CannotRun when a process was killed, as the kernel does for want of memory.
        """
        chunks = _chunks([self._metrics[name] for name in names], pairs)
        if self._pool is None:
            for chunk in chunks:
                yield from _scores([self._metrics[name] for name in names], chunk)
            return
        waiting: deque[Future[list[list[Score]]]] = deque()
        try:
            # A pool's own map would read all pairs before the first is scored.
            for chunk in chunks:
                waiting.append(self._pool.submit(_score_chunk, tuple(names), chunk))
                if len(waiting) >= self._ahead:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except BrokenProcessPool as error:
            raise CannotRun(
                "a process that scored answers was killed",
                "memory may have run out: close other programs, or score fewer answers at a time",
            ) from error


def _chunks(metrics: Sequence[Metric], pairs: Iterable[Pair]) -> Iterator[_Chunk]:
    """Chunks of CHUNK pairs, longer only where a cut would part the samples of one task."""
    same_task = [of for metric in metrics if (of := task_of(metric))]
    chunk_of: dict[int, int] = {}  # by the tasks' hashes, since tasks may be long texts
    number = 0
    chunk = _Chunk()
    last = None
    for pair in pairs:
        task = hash(found) if any(found := tuple(of(pair[0]) for of in same_task)) else None
        if len(chunk.pairs) >= CHUNK and task != last:
            yield chunk
            number, chunk = number + 1, _Chunk()
        if task is not None and chunk_of.setdefault(task, number) != number:
            chunk.late.add(len(chunk.pairs))
        chunk.pairs.append(pair)
        last = task
        if len(chunk.pairs) >= CHUNK and task is None:
            yield chunk
            number, chunk = number + 1, _Chunk()
    if chunk.pairs:
        yield chunk


def task_of(metric: Metric) -> Callable[[Example], Hashable | None] | None:
    """The metric's function that names the task of a sample, if it has one."""
    return getattr(metric, "task", None)


def _scores(metrics: Sequence[Metric], chunk: _Chunk) -> list[list[Score]]:
    by_metric = [_by(metric, chunk) for metric in metrics]
    return [[score for scores in row for score in scores] for row in zip(*by_metric, strict=True)]


def _by(metric: Metric, chunk: _Chunk) -> list[list[Score]]:
    if not chunk.late or task_of(metric) is None:
        return score_pairs(metric, chunk.pairs)
    timely = [pair for place, pair in enumerate(chunk.pairs) if place not in chunk.late]
    scored = iter(score_pairs(metric, timely))
    return [
        missing(metric.measures, SCATTERED) if place in chunk.late else next(scored)
        for place in range(len(chunk.pairs))
    ]


def prepare(names: Sequence[str] = (), settings: Settings | None = None) -> None:
    """Makes a process of a pool ready: with these metrics, deaf to interrupts, and ended with its parent."""
    # Only the parent handles an interrupt, and a process must not outlive a killed parent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _metrics.update(load_metrics(names, settings or {}))


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _score_chunk(names: Sequence[str], chunk: _Chunk) -> list[list[Score]]:
    return _scores([_metrics[name] for name in names], chunk)
