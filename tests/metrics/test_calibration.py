"""Probabilities of answers: which answers there are, and what their probabilities come to."""

import math

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from engine.data.choices import labels_listed
from engine.data.example import Example
from engine.metrics.calibration import (
    IN_JSON,
    NO_CHOICES,
    NO_RIGHT,
    RECORDED,
    AnswerCalibration,
    AnswerSet,
    answers_to,
    forecast,
    probabilities,
)
from engine.models.model import Response
from engine.servers.wire import read_reply


def example(query: str, *references: str, label: str | None = None) -> Example:
    return Example("e", query, ({"role": "user", "content": query},), references=references, label=label)


def test_the_brier_score_is_scikit_learns_over_several_classes() -> None:
    rng = np.random.default_rng(0)
    likelihoods, right = rng.normal(size=(50, 4)).tolist(), rng.integers(0, 4, 50).tolist()
    ours = [forecast(row, place).brier for row, place in zip(likelihoods, right, strict=True)]
    shares = np.array([probabilities(row) for row in likelihoods])
    theirs = brier_score_loss(right, shares, labels=[0, 1, 2, 3], scale_by_half=False)
    assert np.mean(ours) == pytest.approx(theirs)


def test_the_likeliest_answer_has_the_confidence() -> None:
    found = forecast([math.log(0.1), math.log(0.6), math.log(0.1)], correct=1)
    assert (found.confidence, found.right) == (pytest.approx(0.75), 1.0)
    assert found.brier == pytest.approx(0.25**2 + 2 * 0.125**2)
    assert forecast([-2_000.0, -1_000.0], correct=0).brier == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("question", "letters"),
    [
        ("Which?\n\nA. red\nB. green\nC. blue", "ABC"),
        ("Which? (A) red (B) green", "AB"),
        ("Which?\n(A) red\n(B) green", "AB"),
        ("First: A) x B) y\nAnswer: A\nThen: A) u B) v C) w", "ABC"),
        ("I take vitamin A. It helps.\nB. is a letter", ""),
        ("What is the capital of France?", ""),
        ("A. alone", ""),
    ],
)
def test_choices_are_the_letters_that_a_question_lists(question: str, letters: str) -> None:
    assert "".join(labels_listed(question)) == letters


def test_labels_of_the_plan_come_before_choices_and_gaps_have_their_reason() -> None:
    asked = "Which?\nA. red\nB. green"
    assert answers_to(example(asked, "B", "green")) == AnswerSet(("A", "B"), 1)
    assert answers_to(example("Nice!", label="Good"), ["bad", "good"]) == AnswerSet(("bad", "good"), 1)
    assert answers_to(example("Nice!", label="good"), ["bad", "good"], "verdict") == IN_JSON
    assert answers_to(example(asked, "green")) == NO_RIGHT
    assert answers_to(example("Which?", "B")) == NO_CHOICES
    told = AnswerCalibration().score(example(asked, "B"), Response("e", "B", 1, 1, "stop", 0.1))
    assert [(score.value, score.reason) for score in told] == [(None, RECORDED)] * 3


@pytest.mark.parametrize(
    ("logprobs", "found"),
    [
        ('{"content": [{"top_logprobs": [{"token": "A", "logprob": -0.5}, {"token": "B", "logprob": -1}]}]}',
         {"A": -0.5, "B": -1.0}),
        ('{"top_logprobs": [{" A": -0.5, " B": -9999}]}', {" A": -0.5}),
        ('{"content": [{"top_logprobs": []}]}', None),
        ('{"content": [{"top_logprobs": [{"token": "A", "logprob": NaN}]}]}', None),
        ('{"content": [{"top_logprobs": [{"token": "A", "logprob": "x"}]}]}', None),
        ('{"content": 7}', None),
        ("[]", None),
        ("null", None),
    ],
)  # fmt: skip
def test_first_tokens_are_read_as_the_api_has_them_and_nothing_else(
    logprobs: str, found: dict[str, float] | None
) -> None:
    message = '{"message": {"role": "assistant", "content": "A"}'
    reply = read_reply(f'{{"choices": [{message}, "logprobs": {logprobs}}}]}}'.encode(), 0.1)
    assert reply.first_token == found
