"""Conversations of several turns: each question is asked once the answers before it are there."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from engine.data.example import Example
from engine.models.model import Generator, Response, Settings

Number = TypeVar("Number", int, float)


def converse(
    generator: Generator, examples: Sequence[Example], settings: Settings
) -> Iterator[list[Response]]:
    """Answers the examples, those with several `turns` turn by turn with their own answers in between.

    All conversations go on together, round by round, so that their questions share batches. A conversation
    is given out when its last turn is answered, with the tokens and seconds of all its turns together and the
    last one's finish reason; where a turn gets no answer, the conversation has none, and the reason names the
    turn. The example's first question is in its `messages`; `turns` repeats it before the others.
    """
    under_way = {example.id: _Conversation(example) for example in examples}
    waiting = list(examples)
    while waiting:
        again: list[Example] = []
        for batch in generator.generate(waiting, settings):
            finished = []
            for response in batch:
                conversation = under_way[response.example_id]
                conversation.add(response)
                if conversation.over:
                    finished.append(conversation.response())
                else:
                    again.append(conversation.next_question())
            yield finished
        waiting = again


class _Conversation:
    """One example's questions and the answers so far."""

    def __init__(self, example: Example) -> None:
        self._example = example
        self._questions = example.turns[1:]
        self._responses: list[Response] = []

    @property
    def over(self) -> bool:
        return self._responses[-1].text is None or len(self._responses) > len(self._questions)

    def add(self, response: Response) -> None:
        self._responses.append(response)

    def next_question(self) -> Example:
        """The conversation up to its next question, as an example of its own."""
        messages = list(self._example.messages)
        for response, question in zip(self._responses, self._questions, strict=False):
            messages.append({"role": "assistant", "content": response.text or ""})
            messages.append({"role": "user", "content": question})
        query = messages[-1]["content"]
        return replace(self._example, query=query, messages=tuple(messages))

    def response(self) -> Response:
        last = self._responses[-1]
        if not self._questions:
            return last
        total = replace(
            last,
            tokens_in=_sum([response.tokens_in for response in self._responses]),
            tokens_out=_sum([response.tokens_out for response in self._responses]),
            latency_s=_sum([response.latency_s for response in self._responses]),
            reason=next((response.reason for response in self._responses if response.reason), None),
            cached=all(response.cached for response in self._responses),
        )
        if last.text is None:
            turn = f"turn {len(self._responses)} of {len(self._questions) + 1}"
            return replace(total, reason=f"{turn}: {last.reason}")
        return replace(total, turns=tuple(response.text or "" for response in self._responses))


def _sum(values: list[Number | None]) -> Number | None:
    """The sum; None where a part is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
