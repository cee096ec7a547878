"""Evaluation examples are found in training data, with their place; stock answers are no leak."""

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.data.example import Example
from engine.data.examples import read_examples
from engine.data.leakage import EXCERPT_LENGTH, Leak, find_leaks, read_training
from engine.errors import BadInput

REFUND = "Your money comes back within five working days."


def written(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return path


def leaks(tmp_path: Path, evaluation: list[object], train: list[object]) -> list[Leak]:
    examples = read_examples(written(tmp_path / "eval.jsonl", *evaluation))
    return find_leaks(read_training(written(tmp_path / "train.jsonl", *train)), examples)


def test_the_same_question_is_found_whatever_its_case_and_shape(tmp_path: Path) -> None:
    found = leaks(
        tmp_path,
        [{"id": "a", "query": "Where is  my order?", "reference": "On its way"}],
        [
            {"instruction": "Something else", "output": "x"},
            {
                "conversations": [
                    {"from": "human", "value": "where is my ORDER?"},
                    {"from": "gpt", "value": "no"},
                ]
            },
        ],
    )
    assert found == [
        Leak("a", "identical", 1.0, 2, "query", "where is my ORDER?", "where is my ORDER?\n\nno")
    ]


def test_question_and_answer_together_go_before_the_question_alone(tmp_path: Path) -> None:
    [leak] = leaks(
        tmp_path,
        [{"id": "a", "query": "How much?", "reference": "Ten"}],
        [{"query": "how much?", "answer": "Eleven"}, {"query": "how much?", "answer": "ten"}],
    )
    assert (leak.field, leak.train_line) == ("both", 2)


def test_a_distinctive_answer_is_found_under_another_question(tmp_path: Path) -> None:
    [leak] = leaks(
        tmp_path,
        [{"id": "a", "query": "When is my refund due?", "reference": REFUND}],
        [{"prompt": "Tell me of refunds", "completion": REFUND.upper()}],
    )
    assert (leak.field, leak.train_line, leak.excerpt) == ("reference", 1, REFUND.upper())


def test_short_and_stock_answers_alone_are_no_leak(tmp_path: Path) -> None:
    assert not leaks(
        tmp_path,
        [
            {"query": "Is it open?", "reference": "yes"},
            {"query": "When is my refund due?", "reference": REFUND},
        ],
        [
            {"query": "Is it late?", "reference": "yes"},
            {"query": "I want my money", "reference": REFUND},
            {"query": "Refund now", "reference": REFUND},
        ],
    )


def test_an_answer_shared_by_several_evaluation_questions_alone_is_no_leak(tmp_path: Path) -> None:
    evaluation: list[object] = [{"query": f"Question {n}", "reference": REFUND} for n in range(3)]
    assert not leaks(tmp_path, evaluation, [{"query": "I want my money", "reference": REFUND}])


def test_a_later_turn_of_a_training_conversation_counts(tmp_path: Path) -> None:
    turns = [("user", "Hello"), ("assistant", "Hi"), ("user", "Where is my order?"), ("assistant", "Here")]
    train = {"messages": [{"role": role, "content": text} for role, text in turns]}
    [leak] = leaks(tmp_path, [{"id": "a", "query": "Where is my order?"}], [train])
    assert leak.field == "query"


def test_the_last_turn_alone_does_not_make_two_conversations_one(tmp_path: Path) -> None:
    def conversation(first: str) -> dict[str, object]:
        turns = [("user", first), ("assistant", "Shall I go on?"), ("user", "Yes")]
        return {"messages": [{"role": role, "content": text} for role, text in turns]}

    assert not leaks(tmp_path, [conversation("Tell me of Rome")], [conversation("Tell me of Oslo")])
    assert leaks(tmp_path, [conversation("Tell me of Rome")], [conversation("tell me of rome")])


def test_excerpts_are_short(tmp_path: Path) -> None:
    [leak] = leaks(tmp_path, [{"query": "long " * 500}], [{"query": "long " * 500, "answer": "x"}])
    assert len(leak.excerpt) == EXCERPT_LENGTH


def test_training_files_may_repeat_ids_and_lack_answers(tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl", {"id": "1", "query": "a"}, {"id": "1", "query": "b"}, {"text": "c"})
    assert [(e.id == "1", e.query, e.line) for e in read_training(path)] == [
        (True, "a", 1),
        (True, "b", 2),
        (False, "c", 3),
    ]


def test_a_mapped_column_applies_where_the_training_file_has_it(tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl", {"ticket": "a", "query": "no"}, {"instruction": "b", "output": "c"})
    assert [e.query for e in read_training(path, {"query": "ticket"})] == ["a", "b"]


def test_a_broken_training_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"query": "a"}\n{"query": \n')
    with pytest.raises(BadInput, match=r"t\.jsonl:2: "):
        list(read_training(path))


def test_memory_does_not_grow_with_the_training_data() -> None:
    evaluation = [Example(id="a", query="needle", messages=({"role": "user", "content": "needle"},))]

    def rows(count: int) -> Iterator[Example]:
        for n in range(count):
            text = f"straw {n} " * 20
            yield Example(
                id=str(n), query=text, messages=({"role": "user", "content": text},), references=(text,)
            )

    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            assert not find_leaks(rows(count), evaluation)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(9_000) < 1.1 * peak(3_000)
