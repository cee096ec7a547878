"""Scores of a file's answers: as they come, with totals that say what is missing and why."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from engine.data.example import Example
from engine.errors import BadInput
from engine.metrics.batch import CHUNK
from engine.metrics.metric import mean
from engine.models.model import Response
from engine.run.outputs import Output, OutputScores, count_outputs, read_outputs
from engine.stats.intervals import bootstrap_interval


def outputs(count: int) -> Iterator[Output]:
    for place in range(count):
        name = f"e{place}"
        example = Example(name, "q", ({"role": "user", "content": "q"},), (f"answer {place % 3}",))
        text = None if place % 5 == 4 else f"answer {place % 2}"
        reason = f"lost: {'often' if place % 2 else place}" if text is None else None
        yield Output(example, Response(name, text, 1, 10, "stop", 0.5, reason=reason))


def test_scores_come_in_the_files_order_with_totals_at_the_end() -> None:
    scores = OutputScores(outputs(2 * CHUNK + 7), ["exact_match", "length"], {})
    rows = list(scores)
    assert [identity for identity, _ in rows] == [f"e{place}" for place in range(2 * CHUNK + 7)]
    values = [each[0].value for _, each in rows]
    exact, words, _ = scores.totals()
    counted = [value for value in values if value is not None]
    parts = [(value, 1.0) for value in counted]
    assert exact.interval == bootstrap_interval(np.array(parts), mean)
    assert (exact.missing, exact.reason) == (len(values) - len(counted), "lost: often")
    assert words.measure.name == "response_words" and words.interval.value == 2.0


def test_no_more_is_read_than_is_being_scored() -> None:
    read = 0

    def counted() -> Iterator[Output]:
        nonlocal read
        for output in outputs(10**9):
            read += 1
            yield output

    assert len(list(islice(OutputScores(counted(), ["exact_match"], {}), CHUNK + 1))) == CHUNK + 1
    assert read == 2 * CHUNK


def test_values_that_hang_together_get_no_interval() -> None:
    scores = OutputScores(outputs(20), ["efficiency"], {})
    list(scores)
    for total in scores.totals():
        assert total.interval.value is not None and total.interval.n == 16
        assert total.interval.low is total.interval.high is None


def programs(samples: int) -> Iterator[Output]:
    for task in range(6):
        for sample in range(samples):
            name = f"{task}-{sample}"
            example = Example(name, f"task {task}", (), tests=("assert f() < 2",))
            yield Output(example, Response(name, f"def f(): return {task}", 1, 1, "stop", 0.1))


def test_more_samples_of_the_same_tasks_make_nobody_surer() -> None:
    found = []
    for samples in (1, 3):
        scores = OutputScores(programs(samples), ["code"], {})
        list(scores)
        found.append(scores.totals()[0].interval)
    once, thrice = found
    assert once.value == thrice.value == pytest.approx(2 / 6)
    assert (once.low, once.high) == pytest.approx((thrice.low, thrice.high))
    assert (once.n, thrice.n) == (6, 18)


def test_metrics_that_share_a_measures_name_are_refused(tmp_path: Path) -> None:
    own = tmp_path / "mine.py"
    own.write_text("def exact_match(example, response): return 1")
    with pytest.raises(BadInput, match=r'"exact_match" and ".*mine.py:exact_match" both give a measure'):
        OutputScores(outputs(1), ["exact_match", f"{own}:exact_match"], {})


def test_lines_are_counted_where_that_is_quick(tmp_path: Path) -> None:
    file = tmp_path / "said.jsonl"
    file.write_text('{"query": "q", "response": "a"}\n' * 3)
    assert count_outputs(file) == 3 == len(list(read_outputs(file)))
    file.write_text('[{"query": "q", "response": "a"}]')
    assert count_outputs(file) is None and len(list(read_outputs(file))) == 1
    assert count_outputs(tmp_path / "said.csv") is None
    assert count_outputs(tmp_path / "absent.jsonl") is None
