"""Conversations: each question is asked with the answers before it, and nothing half done is given out."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from engine.data.example import Example
from engine.errors import BadInput
from engine.models.fingerprint import ResponseCache
from engine.models.local import LocalBase
from engine.models.model import Response, Settings, without_reasoning
from engine.models.prompt import converse
from engine.models.recorded import RecordedModel
from engine.plan.plan import Model
from tests.models.tiny import ask

BASE = Path(__file__).parents[2] / "samples/models/base"
SETTINGS = Settings(max_new_tokens=12)


def talk(name: str, *questions: str) -> Example:
    return replace(ask(questions[0]), id=name, turns=questions if len(questions) > 1 else ())


class Echo:
    """Answers with what it was asked, message by message; refuses questions with "no" in them."""

    def __init__(self) -> None:
        self.rounds: list[int] = []

    def generate(self, examples: Sequence[Example], settings: Settings) -> Iterator[list[Response]]:
        self.rounds.append(len(examples))
        for example in reversed(examples):
            text = None if "no" in example.query else "|".join(m["content"] for m in example.messages)
            reason = "refused" if text is None else None
            finish = "length" if example.query == "long" else "stop"
            yield [Response(example.id, text, 2, 3, finish, 0.5, reason=reason)]


def answered(examples: list[Example], model: Echo) -> dict[str, Response]:
    batches = converse(model, examples, SETTINGS)  # type: ignore[arg-type]  # the part of a generator in use
    return {response.example_id: response for batch in batches for response in batch}


def test_each_question_is_asked_with_the_answers_before_it() -> None:
    model = Echo()
    found = answered([talk("a", "one", "two", "three"), talk("b", "single"), talk("c", "un", "deux")], model)
    assert found["a"].turns == ("one", "one|one|two", "one|one|two|one|one|two|three")
    assert found["a"].text == found["a"].turns[-1]
    assert (found["a"].tokens_in, found["a"].tokens_out, found["a"].latency_s) == (6, 9, 1.5)
    assert (found["b"].text, found["b"].turns, found["b"].tokens_in) == ("single", (), 2)
    assert found["c"].turns == ("un", "un|un|deux")
    assert model.rounds == [3, 2, 1]


def test_a_conversation_with_a_turn_that_was_cut_was_cut() -> None:
    found = answered([talk("a", "one", "long", "three"), talk("b", "one", "two")], Echo())
    assert (found["a"].finish_reason, found["b"].finish_reason) == ("length", "stop")


def test_a_turn_without_an_answer_ends_its_conversation_with_the_reason() -> None:
    model = Echo()
    found = answered([talk("a", "one", "no", "three"), talk("b", "x", "y", "z")], model)
    assert (found["a"].text, found["a"].turns, found["a"].reason) == (None, (), "turn 2 of 3: refused")
    assert found["a"].tokens_out == 6
    assert len(found["b"].turns) == 3


def test_a_conversation_is_given_out_only_when_it_is_whole() -> None:
    batches = converse(Echo(), [talk("a", "one", "two")], SETTINGS)  # type: ignore[arg-type]
    assert next(batches) == []
    assert [response.example_id for response in next(batches)] == ["a"]


def test_an_interrupted_conversation_finds_its_finished_turns_in_the_cache(tmp_path: Path) -> None:
    spec = Model(name="base", role="baseline", path=str(BASE))
    example = talk("a", "What is 2 plus 2?", "And 3 plus 4?")
    with ResponseCache(tmp_path / "cache") as cache:
        base = LocalBase(str(BASE), "float32", "cpu")
        first = [r for batch in base.generator(spec, cache).generate([example], SETTINGS) for r in batch]
        again = [r for batch in converse(base.generator(spec, cache), [example], SETTINGS) for r in batch]
        assert again[0].turns[0] == first[0].text and not again[0].cached
        third = [r for batch in converse(base.generator(spec, cache), [example], SETTINGS) for r in batch]
        assert third[0].cached and third[0].turns == again[0].turns


def recorded(tmp_path: Path, line: str) -> RecordedModel:
    file = tmp_path / "said.jsonl"
    file.write_text(line + "\n")
    return RecordedModel(Model(name="said", role="baseline", outputs=file))


def test_recorded_conversations_give_an_answer_for_each_turn(tmp_path: Path) -> None:
    model = recorded(tmp_path, '{"id": "a", "turns": ["first", "second"]}')
    (batch,) = model.generate([talk("a", "one", "two")], SETTINGS)
    assert (batch[0].text, batch[0].turns) == ("second", ("first", "second"))
    (batch,) = model.generate([talk("a", "one", "two", "three")], SETTINGS)
    assert batch[0].text is None and "2 recorded answers to a conversation of 3 turns" in str(batch[0].reason)
    single = recorded(tmp_path, '{"id": "a", "response": "first"}')
    (batch,) = single.generate([talk("a", "one", "two")], SETTINGS)
    assert batch[0].text is None


@pytest.mark.parametrize(
    ("ends", "together"),
    [
        (("length", "stop"), "length"),
        (("stop", "length"), "length"),
        ((None, "length"), "length"),
        ((None, "stop"), None),
        (("stop", None), None),
        (("stop", "stop"), "stop"),
    ],
)
def test_a_conversation_is_cut_where_any_turn_was(ends: tuple[str | None, ...], together: str | None) -> None:
    class Ending(Echo):
        def generate(self, examples: Sequence[Example], settings: Settings) -> Iterator[list[Response]]:
            for batch in super().generate(examples, settings):
                yield [replace(each, finish_reason=next(reasons)) for each in batch]

    reasons = iter(ends)
    [found] = [r for batch in converse(Ending(), [talk("a", "one", "two")], SETTINGS) for r in batch]  # type: ignore[arg-type]
    assert found.finish_reason == together


@pytest.mark.parametrize("turns", ['"text"', "[]", "[1]", "null, null"])
def test_recorded_turns_that_are_no_texts_are_refused_with_their_line(tmp_path: Path, turns: str) -> None:
    with pytest.raises(BadInput, match=r"said\.jsonl:1"):
        recorded(tmp_path, f'{{"id": "a", "turns": {turns}}}')


def test_a_trace_is_no_part_of_what_was_said_before_and_its_tokens_are_summed() -> None:
    class Thinking(Echo):
        def generate(self, examples: Sequence[Example], settings: Settings) -> Iterator[list[Response]]:
            for batch in super().generate(examples, settings):
                yield [
                    replace(each, text=f"<think>{each.example_id}</think>{each.text}", thinking_tokens=2)
                    for each in batch
                ]

    asked = [talk("a", "one", "two")]
    [found] = [r for batch in converse(Thinking(), asked, SETTINGS, without_reasoning) for r in batch]  # type: ignore[arg-type]
    assert found.turns == ("one", "one|one|two")
    assert (found.thinking, found.thinking_tokens, found.tokens_out) == ("a\n\na", 4, 6)
