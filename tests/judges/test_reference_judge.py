"""The embedded judge that goes by the reference."""

import pytest

from engine.judges.answers import verdict
from engine.judges.load import load_judge
from engine.judges.reference import ReferenceJudge
from engine.plan.plan import Judge
from tests.judges.scripted import calls_for, pair

PARIS = ("The capital is Paris.",)


@pytest.mark.parametrize(
    ("candidate", "baseline", "expected"),
    [
        ("the capital is PARIS", "The capital of it is Paris.", "win"),
        ("Paris is the capital", "The capital is Paris.", "loss"),
        ("The capital is London.", "No idea.", "win"),
        ("No idea.", "No idea.", "tie"),
        ("Lyon", "Nice", "tie"),
        ("", "The capital", "loss"),
        ("The capital is Paris!", "capital is Paris", "tie"),
    ],
)
def test_the_response_closer_to_the_reference_wins_in_both_orders(
    candidate: str, baseline: str, expected: str
) -> None:
    calls = calls_for([pair(candidate=candidate, baseline=baseline, references=PARIS)])
    first, second = ReferenceJudge().judge(calls)
    assert verdict(first.winner, second.winner) == expected
    assert (first.winner, first.candidate_score, first.baseline_score) == (
        second.winner,
        second.candidate_score,
        second.baseline_score,
    )
    assert first.candidate_score is not None
    assert 1 <= first.candidate_score <= 10


def test_the_best_of_several_references_counts() -> None:
    judged = pair(candidate="4", baseline="The answer is 5", references=("The answer is four", "4"))
    (judgment, _) = ReferenceJudge().judge(calls_for([judged]))
    assert judgment.winner == "candidate"
    assert judgment.candidate_score == 10


def test_without_a_reference_the_judgment_failed_even_for_equal_texts() -> None:
    judgments = list(ReferenceJudge().judge(calls_for([pair(candidate="x", baseline="x")])))
    assert [judgment.winner for judgment in judgments] == [None, None]
    assert {judgment.failure for judgment in judgments} == {"the example has no reference"}


def test_it_is_what_a_plan_without_a_server_gets_and_says_what_it_is() -> None:
    judge = load_judge(Judge(name="reference", embedded=True), None)
    assert not judge.is_language_model
    assert "not a language model" in judge.describe()["note"]
