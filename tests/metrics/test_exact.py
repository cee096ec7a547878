"""Contains, prefix, regular expressions, numbers and edit similarity, by hand and against plain rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.example import Example
from engine.errors import BadInput
from engine.metrics.exact import (
    NO_PATTERN,
    TOO_LONG,
    Contains,
    EditSimilarity,
    ExactMatch,
    Numeric,
    Regex,
    edit_similarity,
)
from engine.metrics.metric import Metric, Score
from engine.models.model import Response


def score(metric: Metric, answer: str | None, *references: str, **extra: object) -> list[Score]:
    example = Example("e", "q", ({"role": "user", "content": "q"},), references, extra=extra)
    return metric.score(example, Response("e", answer, 1, 1, "stop", 0.1, reason="timed out"))


@pytest.mark.parametrize(
    ("reference", "answer", "contains", "prefix"),
    [
        ("no", "I do not know", 0, 0),
        ("no", "No.", 1, 1),
        ("new york", "It is New York!", 1, 0),
        ("The Beatles", "beatles, of course", 1, 1),
        ("着火", "打印机着火了", 1, 0),
        ("Größe", "die GRÖSSE zählt", 1, 0),
        ("a", "", 0, 0),
    ],
)
def test_a_reference_is_found_as_whole_words(reference: str, answer: str, contains: int, prefix: int) -> None:
    assert [one.value for one in score(Contains(), answer, reference)] == [contains, prefix]


@pytest.mark.parametrize(
    ("reference", "answer", "value"),
    [
        ("(1, 2)", "1, 2", 1.0),
        ("(-1, 2)", "(1, 2)", 0.0),
        ("Room 5B", "room 5b", 1.0),
        ("6 ft 2 in", "6 ft. 2 in.", 1.0),
        ("5 to 10", "5  to 10.", 1.0),
        ("January 5, 2020", "january 5 2020", 1.0),
        ("5-10", "51-0", 0.0),
        ("12:30", "1:230", 0.0),
        ("52", "5²", 0.0),
    ],
)
def test_equal_texts_hold_the_same_numbers(reference: str, answer: str, value: float) -> None:
    assert score(ExactMatch(), answer, reference)[0].value == value


def test_a_pattern_comes_from_the_example_before_the_plan() -> None:
    metric = Regex(pattern=r"\bticket #\d+\b")
    assert score(metric, "see ticket #12")[0].value == 1.0
    assert score(metric, "see ticket")[0].value == 0.0
    assert score(metric, "see ticket", regex="^see")[0].value == 1.0
    assert score(Regex(), "x")[0].reason == NO_PATTERN
    assert "not a regular expression" in (score(metric, "x", regex="(")[0].reason or "")
    assert "expected a regular expression" in (score(metric, "x", regex=["("])[0].reason or "")
    with pytest.raises(BadInput, match=r"metrics\.regex\.pattern"):
        Regex(pattern="(")


def test_a_pattern_that_backtracks_for_ever_is_stopped_and_missing() -> None:
    [found] = score(Regex(pattern=r"^(a|a)*$"), "a" * 40 + "b")
    assert found.value is None
    assert "did not finish" in (found.reason or "")


@given(st.text("abcd", max_size=80), st.text("abcd", max_size=80))
def test_edit_similarity_equals_the_table(first: str, second: str) -> None:
    row = list(range(len(second) + 1))
    for place, char in enumerate(first, start=1):
        previous, row[0] = row[0], place
        for column, other in enumerate(second, start=1):
            previous, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, previous + (char != other)),
            )
    longer = max(len(first), len(second), 1)
    assert edit_similarity(first, second) == pytest.approx(1 - row[-1] / longer, abs=1e-12)


def test_edit_similarity_by_hand() -> None:
    assert edit_similarity("kitten", "sitting") == pytest.approx(1 - 3 / 7)
    assert edit_similarity("", "") == 1.0
    assert edit_similarity("", "abc") == 0.0
    assert score(EditSimilarity(), " same \n", "same", "other")[0].value == 1.0


def test_two_endless_texts_are_not_compared_by_characters() -> None:
    [found] = score(EditSimilarity(), "ab" * 500_000, "ba" * 500_000)
    assert (found.value, found.reason) == (None, TOO_LONG)


@pytest.mark.parametrize("metric", [Contains(), Numeric(), EditSimilarity()])
def test_nothing_is_scored_without_an_answer_or_a_reference(metric: Metric) -> None:
    assert {one.reason for one in score(metric, None, "a 1")} == {"timed out"}
    assert all(one.value is None and one.reason for one in score(metric, "a 1"))
