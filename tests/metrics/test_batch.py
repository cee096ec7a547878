"""Scoring many: the same scores in the same order, on one process or several, taken as they are needed."""

import os
import signal
import subprocess
import sys
from collections.abc import Hashable, Iterator, Sequence
from itertools import islice

import pytest

from engine.data.example import Example
from engine.errors import BadInput, CannotRun
from engine.metrics import batch
from engine.metrics.batch import (
    CHUNK,
    SCATTERED,
    Pair,
    Scorers,
    score_all,
    useful_processes,
)
from engine.metrics.load import load_metric
from engine.metrics.metric import Measure, Score, fraction
from engine.models.model import Response

ROUGE = ["rouge1", "rouge2", "rougeL", "rougeLsum"]


def pairs(count: int) -> Iterator[Pair]:
    for place in range(count):
        name = f"e{place}"
        example = Example(name, "q", ({"role": "user", "content": "q"},), (f"answer {place} is right",))
        yield example, Response(name, f"answer {place % 7}", 1, 1, "stop", 0.1)


def test_processes_give_the_same_scores_in_the_same_order() -> None:
    count = 2 * CHUNK + 3
    names, settings = ["rouge", "edit_similarity"], {"rouge": {}}
    alone = list(score_all(names, settings, pairs(count)))
    assert list(score_all(names, settings, pairs(count), processes=2)) == alone
    assert [score.measure for score in alone[0]] == [*ROUGE, "edit_similarity"]


def test_pairs_are_taken_as_they_are_needed() -> None:
    taken = 0

    def endless() -> Iterator[Pair]:
        nonlocal taken
        for pair in pairs(10**9):
            taken += 1
            yield pair

    scores = score_all(["contains"], {}, endless(), processes=2)
    assert len(list(islice(scores, 10))) == 10
    scores.close()
    assert taken <= 8 * CHUNK


def test_a_wrong_setting_is_refused_before_any_process_starts() -> None:
    with pytest.raises(BadInput):
        next(score_all(["rouge"], {"rouge": {"stem": True}}, pairs(1), processes=2))


class Together:
    """How many samples of its task a pair is scored with; queries that start with "-" are of no task."""

    measures: tuple[Measure, ...] = (fraction("together", "samples scored at once", "rule"),)

    def task(self, example: Example) -> Hashable | None:
        return None if example.query.startswith("-") else example.query

    def score(self, example: Example, response: Response) -> list[Score]:
        return self.score_many([(example, response)])[0]

    def score_many(self, pairs: Sequence[Pair]) -> list[list[Score]]:
        queries = [example.query for example, _ in pairs]
        return [[Score("together", float(queries.count(query)))] for query in queries]


def asked(queries: Sequence[str]) -> list[Pair]:
    return [
        (
            Example(f"e{place}", query, (), tests=("assert f()",)),
            Response(f"e{place}", "x", 1, 1, "stop", 0.1),
        )
        for place, query in enumerate(queries)
    ]


def together(queries: Sequence[str]) -> list[float | str | None]:
    rows = list(score_all(["together"], {}, asked(queries)))
    return [row[0].reason if row[0].value is None else row[0].value for row in rows]


@pytest.fixture
def chunks_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "CHUNK", 3)
    known = {"together": Together(), "length": load_metric("length", {})}
    monkeypatch.setattr(batch, "load_metrics", lambda names, settings: known)


@pytest.mark.usefixtures("chunks_of_three")
def test_samples_of_one_task_are_never_parted() -> None:
    assert together(["a", "a", "b", "b", "b", "b", "b", "c"]) == [2, 2, 5, 5, 5, 5, 5, 1]
    assert together(["a"] * 7) == [7] * 7
    assert together(["-", "-", "a", "a", "a", "-"]) == [1 + 1, 1 + 1, 3, 3, 3, 1]


@pytest.mark.usefixtures("chunks_of_three")
def test_samples_that_stand_apart_are_missing_once_their_task_is_scored() -> None:
    queries = ["a", "b", "a", "b", "c", "a", "a", "d"]
    assert together(queries) == [2, 1, 2, SCATTERED, 1, SCATTERED, SCATTERED, 1]
    others = list(score_all(["together", "length"], {}, asked(queries)))
    assert all(row[1].value == 1.0 for row in others)


def test_pass_at_k_counts_all_adjacent_samples_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "CHUNK", 2)
    tasks = ["one", "two", "two", "two", "three", "three", "one", "one"]
    pairs = [
        (Example(f"e{place}", task, (), tests=("assert f() == 1",)),
         Response(f"e{place}", f"def f(): return {place % 2}", 1, 1, "stop", 0.1))
        for place, task in enumerate(tasks)
    ]  # fmt: skip
    for processes in (1, 2):
        rows = list(score_all(["code"], {"code": {"k": [1, 2]}}, pairs, processes))
        assert [row[1].value for row in rows] == pytest.approx([None, 1, 1, 1, 1, 1, None, None])
        assert rows[0][1].reason == "the task has 1 samples, and pass@2 needs 2"
        assert rows[6][0].reason == rows[7][1].reason == SCATTERED
        if processes == 1:
            expected = rows
    assert rows == expected


def test_a_process_that_scores_does_not_pay_for_what_nltk_takes_along() -> None:
    code = (
        "import sys; from engine.metrics.load import load_metrics; "
        "load_metrics(['rouge', 'bleu', 'chrf', 'meteor'], {}); "
        "print({'sklearn', 'pandas', 'scipy', 'torch'} & set(sys.modules)); import scipy.stats"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


class Killed:
    """Ends the process that it scores in."""

    measures: tuple[Measure, ...] = (fraction("killed", "never there", "rule"),)

    def score(self, example: Example, response: Response) -> list[Score]:
        os.kill(os.getpid(), signal.SIGKILL)
        return []


def test_a_process_that_was_killed_is_said_and_waited_for_by_nobody() -> None:
    scorers = Scorers([f"{__file__}:Killed"], {}, processes=2)
    with scorers, pytest.raises(CannotRun, match="was killed"):
        list(scorers.score([f"{__file__}:Killed"], pairs(3)))


def test_processes_are_for_many_answers_and_for_metrics_that_run_no_model() -> None:
    rouge, code = load_metric("rouge", {}), load_metric("code", {})
    processors = len(os.sched_getaffinity(0))
    assert useful_processes([rouge], 1_000_000) == processors
    assert useful_processes([rouge], 100) == useful_processes([rouge], None) == 1
    assert useful_processes([rouge, code], 1_000_000) == 1
