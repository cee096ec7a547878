"""Scoring many: the same scores in the same order, on one process or several, taken as they are needed."""

from collections.abc import Iterator
from itertools import islice

import pytest

from engine.errors import BadInput
from engine.examples import Example
from engine.generate.model import Response
from engine.metrics.batch import CHUNK, Pair, score_all

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
        next(score_all(["rouge"], {"rouge": {"stemmer": True}}, pairs(1), processes=2))
