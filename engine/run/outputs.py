"""Scores answers made elsewhere: one file of queries, references and responses, no generation."""

import json
from array import array
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from engine.data.calls import with_calls
from engine.data.example import Example, normalise, query_id
from engine.data.examples import read_examples
from engine.data.reading import Record, decode_json, read_records
from engine.data.shapes import example_from
from engine.data.textfile import open_error
from engine.errors import BadInput
from engine.metrics.batch import Pair, score_all, task_of, useful_processes
from engine.metrics.classification import Classification, ClassRow, confusion, per_class
from engine.metrics.load import load_metrics
from engine.metrics.metric import Measure, Metric, Score
from engine.metrics.samples import sampled_measures, score_samples
from engine.models.model import Response, missing, without_reasoning
from engine.models.recorded import LISTS, listed
from engine.stats.intervals import Interval, RunningInterval
from store.read.query import by_key

RESPONSE = "response"
_RESPONSES = (RESPONSE, "model_response", *LISTS)
_LINES = {".jsonl", ".ndjson"}
_BLOCK = 1 << 20
_REASONS = 1000
_NOTES = 3
WAY_OUT = (
    'Each line is {"query": "…", "reference": "…", "response": "…"}; null is a response that is missing. '
    'Several samples of an answer are a list in "responses", or a line each with the same id. '
    "Other columns are named with --field: --field response=COLUMN, --field query=COLUMN."
)


@dataclass(frozen=True, slots=True)
class Output:
    """One answer with the example that it answers, and its line in the file."""

    example: Example
    response: Response
    line: int = 0


@dataclass(frozen=True, slots=True)
class MeasureScore:
    """One measure over a file: its value and interval, the number that counted and why others are missing.

    `notes` are the most frequent reasons that stand beside values, with the number of values that have them.
    """

    measure: Measure
    interval: Interval
    missing: int
    reason: str | None
    notes: tuple[tuple[str, int], ...] = ()

    def values(self) -> dict[str, Any]:
        """The documented form for programs; a missing value is None and has its reason."""
        return {
            "metric": self.measure.name,
            "value": self.interval.value,
            "low": self.interval.low,
            "high": self.interval.high,
            "n": self.interval.n,
            "missing": self.missing,
            "reason": self.reason,
            "notes": [{"reason": note, "n": count} for note, count in self.notes],
        }


def rows_as_records(rows: Iterable[Mapping[str, Any]], name: str) -> list[Record]:
    """Rows from Python as records with their numbers, from 1. Raises BadInput for what JSON cannot hold."""
    found: list[Record] = []
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping):
            raise BadInput(f"{name}:{number}: is a {type(row).__name__}, not a dict", WAY_OUT)
        try:
            found.append((number, decode_json(json.dumps(dict(row)))))
        except (TypeError, ValueError, RecursionError) as error:
            raise BadInput(f"{name}:{number}: is not what JSON can hold: {error}") from error
    return found


ROWS = "rows"  # what errors call rows that come from Python


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """The scores of rows from Python: each example's by its key, and the totals.

    A key is the same in other rows that ask the same with the same references. `settings` are each measure's.
    """

    examples: tuple[tuple[str, str, list[Score]], ...]  # key, id, scores
    totals: tuple[MeasureScore, ...]
    classes: tuple[tuple[ClassRow, list[float]], ...]
    settings: Mapping[str, Mapping[str, Any]]


def score_rows(
    rows: Iterable[Mapping[str, Any]], names: Sequence[str], settings: Mapping[str, Mapping[str, Any]]
) -> ScoredRows:
    """Scores rows of query, response and reference as `assay score` does those of a file.

    Raises BadInput naming the row, and as `load_metrics` does.
    """
    path = Path(ROWS)
    outputs = list(outputs_of(path, rows_as_records(rows, ROWS)))
    if (samples := most_samples(path, outputs)) > 1:
        outputs = list(with_samples(outputs, samples))
    scores = OutputScores(outputs, names, settings, len(outputs), samples)
    keys = _keys(outputs[::samples])
    examples = tuple((key, identity, each) for key, (identity, each) in zip(keys, scores, strict=True))
    return ScoredRows(examples, tuple(scores.totals()), tuple(scores.classes()), scores.settings())


def _keys(outputs: Iterable[Output]) -> Iterator[str]:
    seen: Counter[Hashable] = Counter()
    for output in outputs:
        example = output.example
        derived = example.id == f"{query_id(example.query)}:{output.line}"
        words = json.dumps([*_answered(replace(example, id="" if derived else example.id))])
        seen[words] += 1
        yield f"{words} {seen[words]}"


def read_outputs(
    path: Path, references: Path | None = None, fields: Mapping[str, str] | None = None
) -> Iterator[Output]:
    """The answers of a file, one at a time; with `references`, their examples are taken from there, by id,
    else by query.

    `fields` maps names of MAPPABLE, and RESPONSE, to the file's own columns. The examples of `references` are
    held in memory. A list of texts are samples of one answer. Raises BadInput naming file and line, when it
    gets there.
    """
    return outputs_of(path, read_records(path), references, fields)


def outputs_of(
    path: Path,
    records: Iterable[Record],
    references: Path | None = None,
    fields: Mapping[str, str] | None = None,
) -> Iterator[Output]:
    """As `read_outputs`, from records that were read; `path` is what errors call their source."""
    known = _Known(references) if references else None
    own = dict(fields or {})
    columns = (own.pop(RESPONSE),) if RESPONSE in own else _RESPONSES
    line = 0
    for line, record in records:
        column = next((name for name in columns if name in record), None)
        if column is None:
            raise BadInput(f"{path}:{line}: has no {columns[0]!r}", WAY_OUT)
        found = record[column]
        if column in LISTS or isinstance(found, list):
            texts = listed(found, column, f"{path}:{line}")
        elif found is not None and not isinstance(found, str):
            raise BadInput(f"{path}:{line}: its {column!r} is not a text", WAY_OUT)
        else:
            texts = [with_calls(found, record)]
        rest = {key: value for key, value in record.items() if key not in (column, "tool_calls")}
        example = known.find(path, line, rest) if known else example_from(path, (line, rest), own)
        example = example if example.id else replace(example, id=f"{query_id(example.query)}:{line}")
        yield from (Output(example, recorded_response(example, record, text), line) for text in texts)
    if not line:
        raise BadInput(f"{path}: holds no response", WAY_OUT)


def most_samples(path: Path, outputs: Iterable[Output]) -> int:
    """The largest number of answers to one example.

    Raises BadInput where a line repeats an example and fewer than half of the examples have several answers.
    """
    found: dict[Hashable, list[Output]] = {}
    for output in outputs:
        found.setdefault(_answered(output.example), []).append(output)
    several = [each for each in found.values() if len(each) > 1]
    again = next(
        ((one, two) for each in several for one, two in pairwise(each) if one.line != two.line), None
    )
    if again and 2 * len(several) < len(found):
        one, two = again
        raise BadInput(
            f'{path}:{two.line}: answers "{two.example.id}" again after line {one.line}, and only '
            f"{len(several):,} of {len(found):,} examples have more than one answer",
            "Keep one answer for each example, or give each example its samples.",
        )
    return max(map(len, found.values()), default=1)


def rows_differ(path: Path, fields: Mapping[str, str] | None = None) -> bool:
    """Whether each row of a file answers an example of its own, as far as ids tell without reading the rest.

    A row without an id has one of its own. Raises BadInput as `read_outputs` does.
    """
    own = fields or {}
    columns = [own["id"]] if "id" in own else ["id", "question_id"]
    answers = [own[RESPONSE]] if RESPONSE in own else _RESPONSES
    lists = False

    def ids() -> Iterator[Hashable]:
        nonlocal lists
        for line, record in read_records(path):
            lists |= any(isinstance(record.get(name), list) for name in answers)
            yield next((str(record[name]) for name in columns if record.get(name) is not None), line)

    hashes = array("q", map(hash, ids()))
    return len(np.unique(hashes)) == len(hashes) and not lists


def with_samples(outputs: Iterable[Output], samples: int) -> Iterator[Output]:
    """The outputs with the samples of each answer side by side, and those that it lacks as missing."""
    together = by_key((_answered(output.example), output) for output in outputs)
    for found in together.values():
        example = found[0].example
        lacking = missing(example, f"there are only {len(found)} of {samples} samples")
        found += [Output(example, lacking)] * (samples - len(found))
        yield from (
            replace(output, response=replace(output.response, sample=place))
            for place, output in enumerate(found)
        )


def _answered(example: Example) -> tuple[Any, ...]:
    """What tells one example from others. Several may have an id that names their kind alone."""
    nested = (example.messages, example.turns, example.tools, example.calls, example.schema)
    return (
        *(example.id, example.query, example.references, example.label, example.tests),
        json.dumps(nested, sort_keys=True, default=str),
    )


def count_outputs(path: Path) -> int | None:
    """How many lines a file of JSON lines has; None for other files, which would have to be read for that."""
    if path.suffix.lower() not in _LINES or not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            if file.read(1) == b"[":
                return None
            file.seek(0)
            return sum(block.count(b"\n") for block in iter(lambda: file.read(_BLOCK), b""))
    except OSError as error:
        raise open_error(path, error) from error


class OutputScores:
    """The scores of a file's answers one by one, in the file's order, and then the totals.

    Memory does not grow with the file, except for some bytes per task where a task's samples are scored
    together (pass@k; see `score_all`). `count` is the number of answers, if known: many are scored on
    all processors. Of several `samples` of each answer, as `with_samples` has them, the scores are those of
    the example, as in a run. Raises BadInput as `load_metrics` does.
    """

    def __init__(
        self,
        outputs: Iterable[Output],
        names: Sequence[str],
        settings: Mapping[str, Mapping[str, Any]],
        count: int | None = None,
        samples: int = 1,
        pass_k: Sequence[int] = (),
    ) -> None:
        if wrong := [k for k in pass_k if not 1 <= k <= samples]:
            raise BadInput(f"--pass-k {wrong[0]}: the file has up to {samples} answers to an example")
        self._names, self._settings = names, settings
        self.samples = samples
        self._pass_k = pass_k
        self._metrics = metrics = list(load_metrics(names, settings).values())
        self._processes = useful_processes(metrics, count)
        self._totals = {
            measure.name: _Total(measure, task_of(metric))
            for metric in metrics
            for measure in metric.measures
        } | {
            measure.name: _Total(measure, None)
            for metric in metrics
            for measure in sampled_measures(metric, samples, pass_k)
        }
        self._outputs = outputs
        classifiers: list[Any] = [metric for metric in metrics if isinstance(metric, Classification)]
        self._labels: tuple[str, ...] = classifiers[0].labels if classifiers else ()
        self._classified: Counter[tuple[float, ...]] = Counter()

    def __iter__(self) -> Iterator[tuple[str, list[Score]]]:
        """Each example's id and scores, by all measures; to be run through once."""
        waiting: deque[Output] = deque()

        def pairs() -> Iterator[Pair]:
            for output in self._outputs:
                waiting.append(output)
                yield output.example, output.response

        scored = (
            (waiting.popleft(), scores)
            for scores in score_all(self._names, self._settings, pairs(), self._processes)
        )
        for example, scores in self._by_example(scored):
            for score in scores:
                self._totals[score.measure].add(example, score)
                if self._labels and score.measure == "macro_f1" and score.parts:
                    self._classified[score.parts] += 1
            yield example.id, scores

    def _by_example(
        self, scored: Iterator[tuple[Output, list[Score]]]
    ) -> Iterator[tuple[Example, list[Score]]]:
        if self.samples == 1:
            yield from ((output.example, scores) for output, scores in scored)
            return
        for _, group in groupby(scored, key=lambda each: _answered(each[0].example)):
            found = list(group)
            responses = [output.response for output, _ in found]
            together = [
                score_samples(
                    metric, self.samples, self._pass_k, responses, [_of(metric, s) for _, s in found]
                )
                for metric in self._metrics
            ]
            yield found[0][0].example, [score for scores in together for score in scores]

    def totals(self) -> list[MeasureScore]:
        """Every measure over all answers, with its 95 % interval; to be asked for when they have come."""
        return [total.result() for total in self._totals.values()]

    def settings(self) -> dict[str, Mapping[str, Any]]:
        """The settings behind each measure."""
        metrics = zip(dict.fromkeys(self._names), self._metrics, strict=True)
        return {
            measure.name: self._settings.get(name, {})
            for name, metric in metrics
            for measure in (*metric.measures, *sampled_measures(metric, self.samples, self._pass_k))
        }

    def classes(self) -> list[tuple[ClassRow, list[float]]]:
        """A classifier's line for each label, with its examples by answer, those without a label last."""
        if not self._classified:
            return []
        parts, counts = (
            np.array(list(self._classified)),
            np.array(list(self._classified.values()), dtype=float),
        )
        rows = per_class(parts, self._labels, counts)
        return list(zip(rows, confusion(parts, counts), strict=True))


def _of(metric: Metric, scores: Sequence[Score]) -> list[Score]:
    own = {measure.name for measure in metric.measures}
    return [score for score in scores if score.measure in own]


class _Total:
    """One measure, summed as its scores arrive; the samples of one task are resampled together."""

    def __init__(self, measure: Measure, task: Callable[[Example], Hashable | None] | None) -> None:
        self._measure = measure
        self._task = task
        self._value = RunningInterval(measure.combine, ends=(measure.low, measure.high))
        self._tasks: dict[Hashable, list[float]] = {}
        self._n = 0
        self._missing = 0
        self._reasons: Counter[str | None] = Counter()
        self._notes: Counter[str | None] = Counter()

    def add(self, example: Example, score: Score) -> None:
        parts = score.additive()
        if parts is None:
            self._missing += 1
            _count(self._reasons, score.reason)
            return
        if score.reason:
            _count(self._notes, score.reason.partition("; ")[0])
        self._n += 1
        task = self._task(example) if self._task else None
        if task is None:
            self._value.add(parts)
        else:
            sums = self._tasks.setdefault(hash(task), [0.0] * len(parts))
            sums[:] = [total + part for total, part in zip(sums, parts, strict=True)]

    def result(self) -> MeasureScore:
        for sums in self._tasks.values():
            self._value.add(sums)
        self._tasks.clear()
        interval = replace(self._value.interval(), n=self._n)
        if not self._measure.independent:
            interval = replace(interval, low=None, high=None)
        reason = self._reasons.most_common(1)[0][0] if self._missing else None
        notes = tuple((str(note), count) for note, count in self._notes.most_common(_NOTES))
        return MeasureScore(self._measure, interval, self._missing, reason, notes)


def _count(counter: Counter[str | None], reason: str | None) -> None:
    # Reasons may quote the answers and so differ each time; the commonest is among the first ones.
    if reason in counter or len(counter) < _REASONS:
        counter[reason] += 1


def recorded_response(example: Example, record: Mapping[str, Any], text: str | None) -> Response:
    """An answer made elsewhere, without its reasoning trace."""
    tokens, latency = record.get("tokens_out"), record.get("latency_s")
    response = Response(
        example_id=example.id,
        text=text,
        tokens_in=None,
        tokens_out=tokens if isinstance(tokens, int) else None,
        finish_reason=None,
        latency_s=float(latency) if isinstance(latency, int | float) else None,
        reason="the recorded response is null" if text is None else None,
    )
    return without_reasoning(response)


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
