"""Scoring many responses: in order, in bounded memory, on as many processes as are asked for."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from multiprocessing import get_context
from typing import Any

from engine.examples import Example
from engine.generate.model import Response
from engine.metrics.metric import Metric, Score, load_metric, score_pairs

Pair = tuple[Example, Response]
Settings = Mapping[str, Mapping[str, Any]]
CHUNK = 200

_metrics: list[Metric] = []


def score_all(
    names: Sequence[str], settings: Settings, pairs: Iterable[Pair], processes: int = 1
) -> Iterator[list[Score]]:
    """Each pair's scores by all the metrics, in the order of the pairs, which are taken as they are needed.

    With several processes, chunks of pairs are scored beside one another; each process loads the metrics
    once, which takes some seconds, so they pay from some ten thousand pairs on. Raises BadInput as
    `load_metric` does.
    """
    metrics = _load(names, settings)
    if processes == 1:
        waiting = iter(pairs)
        while chunk := list(islice(waiting, CHUNK)):
            yield from _scores(metrics, chunk)
        return
    with get_context("spawn").Pool(processes, _prepare, (list(names), dict(settings))) as pool:
        waiting = iter(pairs)
        # One round at a time: a pool's own imap would read all pairs before the first is scored.
        while chunks := [chunk for _ in range(4 * processes) if (chunk := list(islice(waiting, CHUNK)))]:
            for scores in pool.imap(_score_chunk, chunks):
                yield from scores


def _load(names: Sequence[str], settings: Settings) -> list[Metric]:
    return [load_metric(name, settings.get(name, {})) for name in names]


def _scores(metrics: Sequence[Metric], pairs: Sequence[Pair]) -> list[list[Score]]:
    by_metric = [score_pairs(metric, pairs) for metric in metrics]
    return [[score for scores in row for score in scores] for row in zip(*by_metric, strict=True)]


def _prepare(names: Sequence[str], settings: Settings) -> None:
    _metrics[:] = _load(names, settings)


def _score_chunk(pairs: list[Pair]) -> list[list[Score]]:
    return _scores(_metrics, pairs)
