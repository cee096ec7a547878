"""Tag sequences by seqeval's two rules: its documented examples, and cases worked out by hand."""

import numpy as np
import pytest

from engine.data.example import Example
from engine.metrics.extraction import NO_TAGS, Tags, read_tags, spans, strict_spans
from engine.metrics.metric import Score
from engine.models.model import Response


def score(reference: str, answer: str) -> list[Score]:
    example = Example("e", "q", ({"role": "user", "content": "q"},), (reference,))
    return Tags().score(example, Response("e", answer, 1, 1, "stop", 0.1))


def total(pairs: list[tuple[str, str]]) -> list[float]:
    rows = [score(*pair) for pair in pairs]
    return [
        float(measure.combine(np.array([row[place].additive() for row in rows]).sum(axis=0)))
        for place, measure in enumerate(Tags.measures)
    ]


def test_seqevals_documented_example() -> None:
    # seqeval's README: f1_score 0.50, accuracy_score 0.80.
    pairs = [
        ("O O O B-MISC I-MISC I-MISC O", "O O B-MISC I-MISC I-MISC I-MISC O"),
        ("B-PER I-PER O", "B-PER I-PER O"),
    ]
    assert total(pairs) == pytest.approx([0.5, 0.5, 0.8])


def test_seqevals_documented_difference_of_its_modes() -> None:
    # seqeval's README: B-NP I-NP O against I-NP I-NP O is 1 by default and 0 in strict mode with IOB2.
    assert [one.value for one in score("B-NP I-NP O", "I-NP I-NP O")[:2]] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("tags", "default", "strict"),
    [
        ("O O", set(), set()),
        ("B-A I-A O", {("A", 0, 1)}, {("A", 0, 1)}),
        ("B-A B-A", {("A", 0, 0), ("A", 1, 1)}, {("A", 0, 0), ("A", 1, 1)}),
        ("B-A I-B", {("A", 0, 0), ("B", 1, 1)}, {("A", 0, 0)}),
        ("I-A O I-A", {("A", 0, 0), ("A", 2, 2)}, set()),
        ("B-A I-A", {("A", 0, 1)}, {("A", 0, 1)}),
        ("B-A E-A E-A", {("A", 0, 1), ("A", 2, 2)}, {("A", 0, 0)}),
        ("S-A I-A", {("A", 0, 0), ("A", 1, 1)}, set()),
        ("B-A-X I-A-X", {("A-X", 0, 1)}, {("A-X", 0, 1)}),
    ],
)
def test_spans_by_hand(
    tags: str, default: set[tuple[str, int, int]], strict: set[tuple[str, int, int]]
) -> None:
    assert spans(tags.split()) == default
    assert strict_spans(tags.split()) == strict


def test_tags_are_read_as_json_or_as_words() -> None:
    assert read_tags('```json\n["B-A", "O"]\n```') == ["B-A", "O"]
    assert read_tags("B-A, I-A, O") == ["B-A", "I-A", "O"]
    assert read_tags("I think it is B-A") is None
    assert read_tags('{"a": 1}') is None


def test_sequences_of_another_length_are_cut_or_filled_and_say_so() -> None:
    f1, _, accuracy = score("B-A O B-A", "B-A")
    assert (f1.value, f1.reason) == (pytest.approx(2 / 3), "1 tags for 3 tokens")
    assert accuracy.value == pytest.approx(1 / 3)
    assert score("B-A O", "B-A O B-A B-A")[0].value == 1.0


def test_what_is_no_sequence_finds_nothing_and_a_broken_reference_is_missing() -> None:
    assert [one.value for one in score("B-A O", "no idea")] == [0.0, 0.0, 0.0]
    assert {one.reason for one in score("some text", "O")} == {NO_TAGS}
