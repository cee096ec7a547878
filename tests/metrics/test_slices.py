"""Slices: features of prompts, values with n and interval, and the significantly worse ones first."""

import pytest

from engine.examples import Example
from engine.metrics.metric import Measure
from engine.metrics.slices import compare_slices, features, slice_ids, slice_values

ACCURACY = Measure("accuracy", "higher", 0.0, 1.0, "share", frozenset(), "1", "test", "test")
LATENCY = Measure("latency_s", "lower", 0.0, None, "s", frozenset(), "1", "test", "test")
LENGTH = Measure("response_words", "none", 0.0, None, "words", frozenset(), "1", "test", "test")


def example(query: str, name: str = "e", category: str | None = None) -> Example:
    return Example(name, query, ({"role": "user", "content": query},), category=category)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("Hi there", {"very short prompt"}),
        ("Please tell me why the printer won't start", {"negation"}),
        ("Warum ist der Drucker nicht an und das Papier nicht da", {"negation", "not English"}),
        ("Please summarise this text and then translate the result", {"several instructions"}),
        ("Do this for me today please:\n- one thing\n- another thing", {"several instructions"}),
        ("Explain to me what this program does\n```\nx = 1\n```", {"code", "numbers"}),
        ("def add(a, b):\n    return a + b", {"code"}),
        ("What is 3 times 4 please tell me", {"numbers"}),
        ("Принтер на втором этаже работает хорошо", {"not English"}),
        ("Kindly describe the printer in plain words", set()),
    ],
)
def test_features_of_a_prompt(query: str, expected: set[str]) -> None:
    assert {
        name for name in features(example(query)) if not name.startswith(("prompt of", "category"))
    } == expected


def test_every_prompt_has_one_length_and_its_category() -> None:
    assert features(example("a b c d e", category="billing"))[:2] == (
        "category: billing",
        "prompt of up to 25 words",
    )
    assert "prompt of over 400 words" in features(example("word " * 500))
    assert "prompt of over 400 words" in features(example("word " * 500_000))
    assert features(example("\ud800 \x00 ?"))


def parts(values: dict[str, float]) -> dict[str, tuple[float, float]]:
    return {key: (value, 1.0) for key, value in values.items()}


def members() -> dict[str, list[str]]:
    return {
        "broken": [f"b{place}" for place in range(20)],
        "fixed": [f"f{place}" for place in range(20)],
        "same": [f"s{place}" for place in range(20)],
        "tiny": ["t0", "t1"],
    }


def sides() -> tuple[dict[str, tuple[float, float]], dict[str, tuple[float, float]]]:
    ids = [key for names in members().values() for key in names]
    candidate = {key: float(key[0] in "fs") for key in ids}
    baseline = {key: float(key[0] in "bst") for key in ids}
    return parts(candidate), parts(baseline)


def test_the_significantly_worse_come_first_and_the_better_last() -> None:
    ours, theirs = sides()
    found = compare_slices(members(), ("new", ours), ("old", theirs), ACCURACY)
    assert [(item.name, item.standing) for item in found] == [
        ("broken", "worse"), ("same", "unsettled"), ("fixed", "better"),
    ]  # fmt: skip
    worst = found[0].comparison
    assert (worst.candidate, worst.baseline, worst.n, worst.delta) == ("new", "old", 20, -1.0)
    assert worst.low is not None and worst.high is not None


def test_p_values_are_corrected_for_the_number_of_slices() -> None:
    ours, theirs = sides()
    found = {item.name: item for item in compare_slices(members(), ("a", ours), ("b", theirs), ACCURACY)}
    assert found["broken"].p == pytest.approx(3 * (found["broken"].comparison.p or 0))


def test_lower_is_better_turns_the_order_and_no_direction_settles_nothing() -> None:
    ours, theirs = sides()
    lower = compare_slices(members(), ("a", ours), ("b", theirs), LATENCY)
    assert [item.name for item in lower] == ["fixed", "same", "broken"]
    undirected = compare_slices(members(), ("a", ours), ("b", theirs), LENGTH)
    assert {item.standing for item in undirected} == {"unsettled"}


def test_examples_that_one_model_has_no_value_for_are_left_out() -> None:
    ours, theirs = sides()
    del ours["b0"]
    found = compare_slices(members(), ("a", ours), ("b", theirs), ACCURACY, smallest=2)
    assert {item.name: item.comparison.n for item in found}["broken"] == 19
    assert "tiny" in {item.name for item in found}


def test_values_of_one_model_by_slice() -> None:
    ours, _ = sides()
    values = slice_values({**members(), "empty": ["nobody"]}, ACCURACY, ours)
    assert values["fixed"].value == 1.0 and values["broken"].n == 20
    assert values["broken"].value == 0.0 and "empty" not in values


def test_examples_are_gathered_by_feature() -> None:
    found = slice_ids([example("Hi", "a"), example("Hello there", "b", "greeting")])
    assert found["very short prompt"] == ["a", "b"]
    assert found["category: greeting"] == ["b"]
