"""Slices: the features of prompts, and the examples that share one."""

import pytest

from engine.data.example import Example
from engine.metrics.slices import equal_opportunities, features, largest, slice_ids


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


def test_examples_are_gathered_by_feature() -> None:
    found = slice_ids([example("Hi", "a"), example("Hello there", "b", "greeting")])
    assert found["very short prompt"] == ["a", "b"]
    assert found["category: greeting"] == ["b"]


def test_the_largest_slices_are_kept_in_their_order() -> None:
    members = {"small": ["a"], "large": ["a", "b", "c"], "middle": ["a", "b"]}
    assert list(largest(members, 2)) == ["large", "middle"]
    assert largest(members) == members


def about(name: str, group: str, term: str | None, label: str | None) -> Example:
    extra = {} if term is None else {"term": term}
    return Example(name, name, ({"role": "user", "content": name},), label=label, group=group, extra=extra)


def test_equal_opportunity_is_over_the_prompts_of_one_label() -> None:
    paired = [
        about("a", "1", "men", "yes"), about("b", "1", "women", "yes"), about("c", "2", "men", "no"),
        about("d", "2", "women", "no"), about("e", "3", "men", "yes"), about("f", "3", "women", "no"),
        about("g", "4", None, "yes"),
    ]  # fmt: skip
    found = equal_opportunities(paired)
    # A swap that changes the right answer compares nothing, and a prompt about nobody is in no group.
    assert found == {"true_positive_rate:yes": ["a", "b"], "true_positive_rate:no": ["c", "d"]}
    assert equal_opportunities(paired[:2]) == {}
