"""Scoring answers made elsewhere: one file of queries, references and responses, no generation."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import BadInput
from engine.example import Example, normalise, query_id
from engine.examples import read_examples
from engine.generate.model import Response
from engine.metrics.metric import Measure, Metric, Score, load_metric
from engine.reading import read_records
from engine.shapes import example_from
from engine.stats.intervals import Interval, bootstrap_interval

RESPONSE = "response"
WAY_OUT = (
    'Each line is {"query": "…", "reference": "…", "response": "…"}; null is a response that is missing.'
)


@dataclass(frozen=True, slots=True)
class Output:
    """One answer with the example that it answers."""

    example: Example
    response: Response


@dataclass(frozen=True, slots=True)
class MeasureScore:
    """One measure over a file: its value and interval, how many counted and why others are missing."""

    measure: Measure
    interval: Interval
    missing: int
    reason: str | None


def read_outputs(path: Path, references: Path | None = None) -> list[Output]:
    """The answers of a file; with `references`, their examples are taken from there, by id, else by query.

    Raises BadInput naming file and line.
    """
    known = _Known(references) if references else None
    outputs: list[Output] = []
    for line, record in read_records(path):
        if RESPONSE not in record:
            raise BadInput(f"{path}:{line}: has no {RESPONSE!r}", WAY_OUT)
        text = record[RESPONSE]
        if text is not None and not isinstance(text, str):
            raise BadInput(f"{path}:{line}: its {RESPONSE!r} is not a text", WAY_OUT)
        rest = {key: value for key, value in record.items() if key != RESPONSE}
        example = known.find(path, line, rest) if known else example_from(path, (line, rest), {})
        example = example if example.id else replace(example, id=f"{query_id(example.query)}:{line}")
        outputs.append(Output(example, _response(example, record, text)))
    if not outputs:
        raise BadInput(f"{path}: holds no response", WAY_OUT)
    return outputs


def score_outputs(
    outputs: Sequence[Output], names: Sequence[str], settings: Mapping[str, Mapping[str, Any]]
) -> tuple[list[MeasureScore], list[tuple[str, Score]]]:
    """Every measure over the file with its 95 % interval, and each example's scores as (id, score)."""
    totals: list[MeasureScore] = []
    each: list[tuple[str, Score]] = []
    for name in names:
        metric = load_metric(name, settings.get(name, {}))
        scored = [(output.example.id, metric.score(output.example, output.response)) for output in outputs]
        each += [(identity, score) for identity, scores in scored for score in scores]
        totals += _totals(metric, [score for _, scores in scored for score in scores])
    return totals, each


def _totals(metric: Metric, scores: list[Score]) -> list[MeasureScore]:
    found = []
    for measure in metric.measures:
        own = [score for score in scores if score.measure == measure.name]
        parts = [part for score in own if (part := score.additive()) is not None]
        reasons = Counter(score.reason for score in own if score.value is None)
        interval = (
            bootstrap_interval(np.array(parts), measure.combine) if parts else Interval(None, None, None, 0)
        )
        reason = reasons.most_common(1)[0][0] if reasons else None
        found.append(MeasureScore(measure, interval, len(own) - len(parts), reason))
    return found


def _response(example: Example, record: Mapping[str, Any], text: str | None) -> Response:
    tokens, latency = record.get("tokens_out"), record.get("latency_s")
    return Response(
        example_id=example.id,
        text=text,
        tokens_in=None,
        tokens_out=tokens if isinstance(tokens, int) else None,
        finish_reason=None,
        latency_s=float(latency) if isinstance(latency, int | float) else None,
        reason="the recorded response is null" if text is None else None,
    )


class _Known:
    """The examples of a reference file, by id and by query."""

    def __init__(self, path: Path) -> None:
        self._path = path
        examples = read_examples(path)
        self._by_id = {example.id: example for example in examples}
        self._by_query = {normalise(example.query): example for example in examples}

    def find(self, path: Path, line: int, record: Mapping[str, Any]) -> Example:
        identity, query = record.get("id"), record.get("query")
        found = self._by_id.get(str(identity)) if identity is not None else None
        if found is None and isinstance(query, str):
            found = self._by_query.get(normalise(query))
        if found is None:
            raise BadInput(
                f"{path}:{line}: answers no example of {self._path}", 'Give its "id", or the same "query".'
            )
        return found
