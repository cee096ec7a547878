"""Scoring many responses: in order, in bounded memory, on as many processes as are asked for."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context
from typing import Any

from engine.examples import Example
from engine.generate.model import Response
from engine.metrics.metric import Metric, Score, load_metrics, missing, score_pairs

Pair = tuple[Example, Response]
Settings = Mapping[str, Mapping[str, Any]]
CHUNK = 200
SCATTERED = "other samples of this task were scored before; put the samples of one task next to one another"

_metrics: list[Metric] = []


@dataclass(slots=True)
class _Chunk:
    """Pairs scored together; `late` are the places of those whose task was scored in a chunk before."""

    pairs: list[Pair] = field(default_factory=list)
    late: set[int] = field(default_factory=set)


def score_all(
    names: Sequence[str], settings: Settings, pairs: Iterable[Pair], processes: int = 1
) -> Iterator[list[Score]]:
    """Each pair's scores by all the metrics, in the order of the pairs, which are taken as they are needed.

    With several processes, chunks of pairs are scored beside one another; each process loads the metrics
    once, which takes some seconds, so they pay from some ten thousand pairs on. For a metric that needs all
    samples of a task at once (pass@k), the samples of one task must stand next to one another: they are then
    scored together, however many they are; of samples that follow later the scores are missing, with that
    reason. Raises BadInput as `load_metrics` does.
    """
    metrics = list(load_metrics(names, settings).values())
    if processes == 1:
        yield from score_with(metrics, pairs)
        return
    with get_context("spawn").Pool(processes, _prepare, (list(names), dict(settings))) as pool:
        waiting = _chunks(metrics, pairs)
        # One round at a time: a pool's own imap would read all pairs before the first is scored.
        while chunks := list(islice(waiting, 4 * processes)):
            for scores in pool.imap(_score_chunk, chunks):
                yield from scores


def score_with(metrics: Sequence[Metric], pairs: Iterable[Pair]) -> Iterator[list[Score]]:
    """`score_all` in this process, by metrics that are loaded."""
    for chunk in _chunks(metrics, pairs):
        yield from _scores(metrics, chunk)


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
    """The metric's own way to tell which samples are of one task, where it has one."""
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


def _prepare(names: Sequence[str], settings: Settings) -> None:
    _metrics[:] = load_metrics(names, settings).values()


def _score_chunk(chunk: _Chunk) -> list[list[Score]]:
    return _scores(_metrics, chunk)
