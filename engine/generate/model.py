"""What a generator is, what it is asked with, and what it answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from engine.examples import Example


@dataclass(frozen=True, slots=True)
class Settings:
    """How answers are generated. A temperature of 0 is greedy decoding; `seed` matters above it only.

    `slots` is the most rows at a time where rows are batched continuously, None as many as memory allows;
    `batch_size` is the size of the batches elsewhere.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    batch_size: int = 16
    slots: int | None = None

    @property
    def sampled(self) -> bool:
        return self.temperature > 0


@dataclass(frozen=True, slots=True)
class Response:
    """What one model answered to one example.

    `text` is None when there is no answer, and `reason` then says why; an empty text is an answer.
    `tokens_out` counts the tokens that the model generated, its end token included and padding never.
    `finish_reason` is "stop" (end token or stop string) or "length" (no room for more).
    `latency_s`: seconds from the start of the prompt (its batch, or its request) until this answer was
    complete. A cached response keeps the figures of the time when it was generated.
    """

    example_id: str
    text: str | None
    tokens_in: int | None
    tokens_out: int | None
    finish_reason: str | None
    latency_s: float | None
    cached: bool = False
    reason: str | None = None


class Generator(Protocol):
    """One model of a plan, ready to answer."""

    name: str

    @property
    def fingerprint(self) -> str:
        """A hash of the content that decides the answers; equal only for models that answer alike."""

    def describe(self) -> dict[str, Any]:
        """Facts to keep with a run, as JSON values; `notes` lists what readers of the results should know."""

    def generate(self, examples: Sequence[Example], settings: Settings) -> Iterator[list[Response]]:
        """One response for every example, in lists as they are finished, in any order.

        A list may be empty: it is a moment at which the caller can stop.

        Raises CannotRun when the model cannot be reached or loaded any more.
        """

    def close(self) -> None:
        """Frees what the model holds."""


def missing(example: Example, reason: str, tokens_in: int | None = None) -> Response:
    """The response of an example that got no answer."""
    return Response(example.id, None, tokens_in, None, None, None, reason=reason)


def conversation(example: Example, system: str | None) -> list[dict[str, str]]:
    """The example's messages under the model's system prompt.

    An example's own system message is part of its question: it follows the model's in one system turn,
    since most templates take only one.
    """
    messages = [dict(message) for message in example.messages]
    if not system:
        return messages
    own = [message["content"] for message in messages if message["role"] == "system"]
    turns = [message for message in messages if message["role"] != "system"]
    return [{"role": "system", "content": "\n\n".join([system, *own])}, *turns]
