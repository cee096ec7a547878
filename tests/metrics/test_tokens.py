"""Exact match and token F1 follow SQuAD, without its blind spots."""

import collections
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.example import Example
from engine.metrics.exact import NUMBERS_DIFFER, ExactMatch, TokenF1, token_f1
from engine.metrics.text import normalise_answer
from engine.models.model import Response

ANSWERS = st.one_of(
    st.lists(st.sampled_from(["The", "cat", "a", "sat.", "An", "on", "mat,", "cat"]), max_size=8).map(
        " ".join
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
)


def squad_normalise(text: str) -> str:
    """As in SQuAD's evaluate-v1.1.py."""
    text = "".join(char for char in text.lower() if char not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def squad_f1(prediction: str, truth: str) -> float:
    """As in SQuAD's evaluate-v1.1.py."""
    given_tokens, wanted = squad_normalise(prediction).split(), squad_normalise(truth).split()
    same = sum((collections.Counter(given_tokens) & collections.Counter(wanted)).values())
    if same == 0:
        return 0
    precision, recall = same / len(given_tokens), same / len(wanted)
    return 2 * precision * recall / (precision + recall)


def score(metric: ExactMatch | TokenF1, references: tuple[str, ...], text: str | None) -> float | None:
    example = Example("e", "q", ({"role": "user", "content": "q"},), references)
    [scored] = metric.score(example, Response("e", text, 1, 1, "stop", 0.5, reason=None))
    assert (scored.value is None) == (scored.reason is not None)
    return scored.value


@pytest.mark.parametrize(
    ("reference", "answer", "match"),
    [
        ("3.14", "314", 0.0),
        ("-5", "5", 0.0),
        ("5-10", "510", 0.0),
        ("It costs $1,234.", "it costs 1234", 1.0),
        ("1990–2000", "1990-2000", 1.0),
        ("Apollo 11", "apollo 11.", 1.0),
    ],
)
def test_a_number_whose_punctuation_is_gone_is_another_number(
    reference: str, answer: str, match: float
) -> None:
    example = Example("e", "q", ({"role": "user", "content": "q"},), (reference,))
    [found] = ExactMatch().score(example, Response("e", answer, 1, 1, "stop", 0.5))
    assert (found.value, found.reason) == (match, None if match else NUMBERS_DIFFER)


@given(ANSWERS)
def test_normalisation_equals_squad_where_squad_leaves_something(text: str) -> None:
    if squad_normalise(text):
        assert normalise_answer(text) == squad_normalise(text)
    else:
        assert bool(normalise_answer(text)) == bool(text.strip())


@given(ANSWERS, ANSWERS)
def test_token_f1_equals_squad(reference: str, answer: str) -> None:
    if squad_normalise(reference) and squad_normalise(answer):
        assert token_f1(reference, answer) == pytest.approx(squad_f1(answer, reference))


@pytest.mark.parametrize(
    ("reference", "answer", "match"),
    [
        ("The Cat", "cat.", 1.0),
        ("ﬁne", "FINE", 1.0),
        ("“Да”", "да", 1.0),
        ("a  b", "a\nb", 1.0),
        ("A", "", 0.0),
        ("A", "A.", 1.0),
        ("A", "the", 0.0),
        ("+", "-", 0.0),
        ("cat", "cats", 0.0),
    ],
)
def test_exact_match(reference: str, answer: str, match: float) -> None:
    assert score(ExactMatch(), (reference,), answer) == match


def test_one_matching_reference_is_enough() -> None:
    assert score(ExactMatch(), ("no", "yes"), "Yes!") == 1.0
    assert score(TokenF1(), ("red cat", "blue dog"), "a blue dog") == 1.0


def test_token_f1_by_hand() -> None:
    assert token_f1("the red cat sat", "red cat ran off") == pytest.approx(
        2 * (2 / 4) * (2 / 3) / (2 / 4 + 2 / 3)
    )
    assert token_f1("打印机", "打印") == pytest.approx(0.8)
    assert token_f1("cat", "") == 0.0


def test_missing_is_not_zero() -> None:
    for metric in (ExactMatch(), TokenF1()):
        assert score(metric, (), "cat") is None
        assert score(metric, ("cat",), None) is None
        assert score(metric, ("cat",), "") == 0.0
