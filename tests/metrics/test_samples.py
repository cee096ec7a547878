"""Several samples of one answer: one score for the example, pass@k, pass^k, the majority, the spread."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from engine.metrics.classification import Classification
from engine.metrics.code import Code
from engine.metrics.exact import ExactMatch
from engine.metrics.metric import Metric, Score
from engine.metrics.overlap import Bleu
from engine.metrics.samples import (
    majority,
    pass_at_k,
    pass_hat_k,
    sampled_measures,
    score_samples,
    spread,
)
from engine.metrics.tool_calls import ToolCalls
from engine.models.model import Response
from tests.models.tiny import ask


def answer(text: str | None, sample: int = 0) -> Response:
    return Response("e", text, None, None, None, None, reason=None if text else "cut off", sample=sample)


def scored(metric: Metric, reference: str, texts: list[str | None], *ks: int) -> dict[str, Score]:
    from dataclasses import replace

    example = replace(ask("?", "e"), references=(reference,), label=reference)
    responses = [answer(text, place) for place, text in enumerate(texts)]
    scores = [metric.score(example, response) for response in responses]
    return {score.measure: score for score in score_samples(metric, len(texts), ks, responses, scores)}


def test_the_estimators_are_the_share_of_all_draws_of_k_samples() -> None:
    for n in range(1, 7):
        for passed in range(n + 1):
            for k in range(1, n + 1):
                draws = list(combinations([place < passed for place in range(n)], k))
                assert pass_at_k(n, passed, k) == pytest.approx(sum(map(any, draws)) / len(draws))
                assert pass_hat_k(n, passed, k) == pytest.approx(sum(map(all, draws)) / len(draws))


@pytest.mark.parametrize(("n", "passed", "k"), [(3, 1, 4), (3, 4, 1), (3, 1, 0)])
def test_fewer_samples_than_k_have_no_estimate(n: int, passed: int, k: int) -> None:
    for estimate in (pass_at_k, pass_hat_k):
        with pytest.raises(ValueError, match="samples"):
            estimate(n, passed, k)


def test_an_example_counts_with_the_mean_of_its_samples() -> None:
    found = scored(ExactMatch(), "Paris", ["Paris", "Rome", "Paris", "Oslo"], 2)
    own = found["exact_match"]
    assert (own.value, own.samples, own.additive()) == (0.5, (1.0, 0.0, 1.0, 0.0), (0.5, 1.0))
    assert found["pass@2:exact_match"].value == pytest.approx(1 - 1 / 6)
    assert found["pass^2:exact_match"].value == pytest.approx(1 / 6)
    assert found["maj@4:exact_match"].value == 1.0


def test_samples_without_an_answer_are_counted_and_are_no_failures() -> None:
    found = scored(ExactMatch(), "Paris", ["Paris", None, "Rome", None], 2, 4)
    own = found["exact_match"]
    assert (own.value, own.samples, own.reason) == (0.5, (1.0, None, 0.0, None), "2 of 4 samples: cut off")
    assert found["pass@2:exact_match"].value == 1.0
    assert found["pass@4:exact_match"].value is None
    assert found["pass@4:exact_match"].reason == (
        "2 samples have a value, and pass@4 needs 4; 2 of 4 samples: cut off"
    )
    nothing = scored(ExactMatch(), "Paris", [None, None])
    assert {score.value for score in nothing.values()} == {None}
    assert nothing["exact_match"].reason == "cut off"


def test_the_majority_is_of_final_answers_and_a_tie_counts_with_its_mean() -> None:
    assert majority(["So 4.", "The answer is 4", "5", None, "I do not know what this is about"]) == [[0, 1]]
    assert majority(["a", "b", "A", "B", "c"]) == [[0, 2], [1, 3]]
    assert majority(["答案是42", "所以42", "42。", "41", "41"]) == [[0, 1, 2]]
    assert majority(
        ["1/2", "The answer is 0.5", r"\boxed{\frac{1}{2}}", "so 50% of all of them are left"]
    ) == [[0, 1, 2, 3]]
    assert majority(['{"name": "x", "n": 1}', '{"name": "y", "n": 1}']) == [[0], [1]]
    assert majority([None, "this is some longer free text"]) == []
    tied = scored(ExactMatch(), "4", ["4", "5", "4", "5"])["maj@4:exact_match"]
    assert (tied.value, tied.reason) == (0.5, "2 answers tie with 2 of 4 samples each: their mean counts")
    free = scored(ExactMatch(), "4", ["nobody can say that for sure now", "it rather depends on the weather"])
    assert free["maj@2:exact_match"].value is None


@pytest.mark.parametrize(
    "texts",
    [
        ["0.5", "1/2", r"\frac12", r"$\frac{1}{2}$", "50%", "½", "The answer is 0.50."],
        ["1,000", "1000", "1000.0", "1 000"],
        ["(1, 2)", "(1,2)", r"\left(1, 2\right)", "$(1,2)$"],
        ["x = 3", "3", "$x=3$", r"\boxed{3}", "three", "So 3."],
        [r"3\pi", "3π", r"$3\pi$", r"3 \pi"],
        [r"\sqrt2", r"\sqrt{2}", "√2"],
        ["5 cm", "5cm", r"5\text{ cm}", r"5\,\mathrm{cm}", "5 centimeters"],
        ["42", "42 apples", "42 apples left"],
        ["$5", "5 dollars", "USD 5", r"\$5", "5"],
        ["A", "(A)", "A.", "**A**", "a)"],
        ["C++", "C++."],
        ["(1/2, 3)", "(0.5,3)"],
        ["2.5", "2½", "5/2", r"2\frac12", "two and a half"],
        ["yes", "Yes!", "**yes**"],
        [r"\frac{\pi}{2}", r"\pi/2", "π/2"],
        ["5 km/h", "5 km/h."],
        ["2x+1", "2x + 1", "2*x + 1"],
        ["1e3", "1000", "1,000"],
        ["-3", "−3", "x = -3", "minus 3"],
        ["10^6", "1000000", "1 million"],
        ["3/4", "0.75", "75%", "three quarters"],
        ["25 cm^2", "25 cm²", r"25 \text{ cm}^2"],
        ["5:30", "5:30"],
        ["-x", "-x"],
        ["x^2", "x**2", "x^{2}"],
        ["(-1, 2)", "(-1,2)"],
        ["3.0 m", "3 meters"],
        ["y = 5", "5", "y=5", r"\boxed{y = 5}"],
        ["o = 5", "5", r"$e = 5$"],
        [".5", "0.5", "**.5**", r"\boxed{.5}", "The answer is .5."],
        [r"\boxed{y = 3 \cdot 4 = 12}", "12"],
        ["1. 5", "5"],
        ["2) 5", "5"],
        ["1010₂", "1010", "1010_2", "(1010)₂"],
        ["H₂O", "H2O"],
    ],
)
def test_equal_answers_vote_together_however_they_are_written(texts: list[str]) -> None:
    assert majority(texts) == [[*range(len(texts))]]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"3\pi", "3"),
        (r"\sqrt2", "2"),
        ("x=3", "3y"),
        ("5 cm", "5 kg"),
        ("[1, 2)", "(1, 2]"),
        ("x > 3", "x < 3"),
        ("A+", "A"),
        ("C++", "C"),
        ("C#", "C"),
        ("-5, 3", "5, 3"),
        ("$5", "€5"),
        ("3 - 4i", "3 + 4i"),
        ("at least 4", "4"),
        ("not 4", "4"),
        ("5%", "5"),
        ("-x", "x"),
        ("x=3, y=4", "4"),
        ("x = 2 or x = 3", "3"),
        ("3", "-3"),
        ("1/2", "1/3"),
        ("2x", "2"),
        ("5 apples", "5 pears"),
        ("5 min", "5 m"),
        ("12:30", "1230"),
        ("1.5", "15"),
        ("x^2", "x^3"),
        ("x²", "x2"),
        ("5²", "52"),
        ("2½", "21/2"),
        ("no one", "one"),
        ("5 or 6", "6"),
        ("5-10", "510"),
        ("more than 5", "5"),
        ("5+", "5"),
        (r"\frac{1}{2}", "12"),
        ("12345678901234567890", "12345678901234567891"),
        ("(1, 2)", "(2, 1)"),
        ("3 m", "3 km"),
        ("(1,000, 5)", "(1000.5)"),
        ("20%", "20"),
        ("3 hours", "3 days"),
        ("log 2", "2"),
        (r"5 \text{ or } 6", "5"),
        ("10^2", "102"),
        ("B-52", "52"),
        ("Option 1 and 2", "2"),
        ("5*3", "3"),
        ("5·3", "3"),
        ("5 × 3", "3"),
        ("y = 5 y x = 3", "3"),
        (".75", "75"),
        ("-.5", ".5"),
        ("...5", ".5"),
        (r"\boxed{1. 5}", "1.5"),
        ("25. Dezember", "24. Dezember"),
    ],
)
def test_different_answers_vote_apart(one: str, other: str) -> None:
    assert majority([one, other]) == [[0], [1]]


def test_an_answer_without_its_unit_votes_with_the_only_unit_there_is() -> None:
    assert majority(["5 cm", "5", "5 cm", "6"]) == [[0, 1, 2]]
    assert majority(["5 cm", "5", "5 kg", "5"]) == [[1, 3]]


def test_only_verdicts_have_a_pass_at_k_and_programs_and_calls_no_majority() -> None:
    def names(metric: Any) -> list[str]:
        return [measure.name for measure in sampled_measures(metric, 4, ())]

    assert names(ExactMatch()) == ["pass@4:exact_match", "pass^4:exact_match", "maj@4:exact_match"]
    assert names(Bleu()) == []
    assert names(Code(k=[1, 4])) == ["pass@4:pass_at_1", "pass^4:pass_at_1"]
    assert names(ToolCalls()) == ["pass@4:tool_match", "pass^4:tool_match"]
    assert sampled_measures(ExactMatch(), 1, ()) == []
    assert len(sampled_measures(ExactMatch(), 4, (2, 2))) == 3


def test_statistics_of_a_whole_set_have_an_example_count_once() -> None:
    one, other = (scored(Bleu(), "the cat sat on the mat", [text])["bleu_corpus"] for text in
                  ("the cat sat on a mat", "a dog"))  # fmt: skip
    both = scored(Bleu(), "the cat sat on the mat", ["the cat sat on a mat", "a dog"])["bleu_corpus"]
    assert both.parts == pytest.approx(np.mean([one.parts, other.parts], axis=0))


def test_the_shares_of_a_task_add_up() -> None:
    scores = [[Score("pass_at_1", value, None, (value / 2, 1 / 2))] for value in (1.0, 0.0)]
    (own, *_) = score_samples(Code(), 2, (), [answer("a"), answer("b")], scores)
    assert own.parts == (0.5, 1.0)


def test_the_tests_of_a_task_count_once_however_many_samples_ran() -> None:
    lacking = Score("pass_at_1", None, "no tests")
    ran = [Score("tests_passed", 1.0, None, (4.0, 4.0)), Score("tests_passed", 0.5, None, (2.0, 4.0))]
    scores = [[lacking, each] for each in (*ran, Score("tests_passed", None, "too slow"))]
    found = score_samples(Code(), 3, (), [answer("a")] * 3, scores)
    assert next(one for one in found if one.measure == "tests_passed").parts == (3.0, 4.0)


def test_a_classifiers_table_counts_an_example_once_whatever_its_samples_say() -> None:
    from engine.metrics.classification import confusion, per_class

    metric = Classification(["bad", "good"])
    parts = [
        scored(metric, label, texts)["macro_f1"].parts
        for label, texts in (("good", ["good", "bad", "good", "what"]), ("bad", ["bad"] * 4))
    ]
    assert confusion(np.array(parts)) == [[1, 0, 0], [0.25, 0.5, 0.25]]
    bad, good = per_class(np.array(parts), metric.labels)
    assert (bad.recall, good.recall, bad.support, good.support) == (1.0, 0.5, 1, 1)
    assert bad.precision == pytest.approx(1 / 1.25)


def test_the_spread_is_within_examples() -> None:
    assert spread([[0.0, 1.0], [5.0, 5.0], [3.0, None]]) == pytest.approx(0.5)
    assert spread([[1.0, None]]) is None
