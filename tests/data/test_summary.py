"""Sizes of the data by split and category."""

import json

from engine.data.example import Example, query_id
from engine.data.split import NO_CATEGORY, split_of, summarise


def asked(query: str, category: str | None, references: tuple[str, ...] = ()) -> Example:
    messages = ({"role": "user", "content": query},)
    return Example(query_id(query), query, messages, references=references, category=category)


def test_every_example_is_counted_once_by_split_and_category() -> None:
    examples = [
        asked(f"q{n}", ["billing", "shipping", None][n % 3], ("a",) if n % 2 else ()) for n in range(300)
    ]
    sizes = summarise(examples).evaluation
    assert (sizes.total, sizes.with_references) == (300, 150)
    assert sizes.by_category == {NO_CATEGORY: 100, "billing": 100, "shipping": 100}
    assert sum(sizes.by_split.values()) == 300
    billed = [e for e in examples if e.category == "billing" and split_of(e) == "test"]
    assert sizes.by_both["billing"]["test"] == len(billed)


def test_the_training_set_is_counted_from_a_stream_and_absent_without_one() -> None:
    examples = [asked("q", "billing")]
    assert summarise(examples).as_dict()["training"] is None
    summary = summarise(examples, iter([asked("r", None), asked("s", None)])).as_dict()
    assert summary["training"]["total"] == 2
    assert json.loads(json.dumps(summary)) == summary
