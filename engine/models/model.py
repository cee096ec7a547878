"""The generator interface, its settings, and its responses."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from engine.data.example import Example
from engine.servers.reasoning import Delimiters, split_reasoning

GENERATION = "generation"  # in a model's details: the settings by which it was asked


@dataclass(frozen=True, slots=True)
class Settings:
    """How answers are generated. A temperature of 0 is greedy decoding; `seed`, `top_k` (0: all tokens),
    `top_p` and `min_p` matter above it only, `repetition_penalty` always: they are transformers' own.

    `slots` is the maximum number of rows in continuous batching, None as many as memory allows;
    `batch_size` is the size of the batches elsewhere. `deterministic` answers each prompt alone, so that no
    answer depends on what else is asked. `overflow` is what becomes of a prompt that fills the context: it
    is refused, or cut to fit (see `Prompts.cut`). `delimiters`: what opens and closes a reasoning trace,
    beside the usual tags.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    batch_size: int = 16
    slots: int | None = None
    deterministic: bool = False
    overflow: Literal["refuse", "truncate"] = "refuse"
    delimiters: Delimiters | None = None

    @property
    def sampled(self) -> bool:
        return self.temperature > 0

    @property
    def without_effect(self) -> str | None:
        """What is to be said of settings that greedy decoding does not look at."""
        given = {"top_k": self.top_k > 0, "top_p": self.top_p < 1, "min_p": self.min_p > 0}
        idle = [] if self.sampled else [name for name, is_given in given.items() if is_given]
        return f"temperature 0 takes the likeliest token: {', '.join(idle)} has no effect" if idle else None


@dataclass(frozen=True, slots=True)
class Response:
    """One model's answer to one example.

    `text` is None when there is no answer, and `reason` then says why; an empty text is an answer. Beside a
    text, `reason` tells what the answer suffers from: a prompt that was cut to fit the context.
    `tokens_out` counts the tokens that the model generated, its end token included and padding never.
    `finish_reason` is "stop" (end token or stop string) or "length" (no room for more): of a conversation
    "length" where any turn was cut, else None where the end of one is not known.
    `latency_s`: seconds from the start of the prompt (its batch, or its request) until this answer was
    complete. A cached response keeps the figures of the time when it was generated.
    `turns` are all answers of a conversation in order, empty where one question was asked: `text` is then the
    last of them, and tokens and latency are those of all turns together. `thinking` is the reasoning trace
    that was taken off the text, `thinking_tokens` of `tokens_out` are its: None where nobody counted them.
    `overran`: the text went on after the token with which the chat template ends a turn.
    `sample` is the example's, where it is asked several times.
    """

    example_id: str
    text: str | None
    tokens_in: int | None
    tokens_out: int | None
    finish_reason: str | None
    latency_s: float | None
    cached: bool = False
    reason: str | None = None
    turns: tuple[str, ...] = ()
    thinking: str | None = None
    thinking_tokens: int | None = None
    overran: bool = False
    sample: int = 0


UNFINISHED = "the reasoning has no end, so there is no answer"


def without_reasoning(response: Response, opened: bool = False, own: Delimiters | None = None) -> Response:
    """The response with its trace apart; no text where the trace never ends or is all there was room for.

    `opened`: the prompt ended within a trace. A conversation of which one turn has no answer has none, and
    where any turn was cut, that is one with a trace and nothing after it.
    """
    if response.text is None:
        return response
    turns = [split_reasoning(turn, opened, own) for turn in response.turns or (response.text,)]
    thinking = "\n\n".join(turn.reasoning for turn in turns if turn.reasoning) or response.thinking
    # What a server sent apart is of all turns together.
    sent = not response.turns and (response.thinking or response.thinking_tokens)
    for place, turn in enumerate(turns, 1):
        is_cut = response.finish_reason == "length" and not turn.answer.strip() and (turn.reasoning or sent)
        if is_cut or not turn.closed:
            reason = f"turn {place} of {len(turns)}: {UNFINISHED}" if response.turns else UNFINISHED
            return replace(response, text=None, turns=(), thinking=thinking, reason=reason)
    answers = tuple(turn.answer for turn in turns)
    return replace(response, text=answers[-1], turns=answers if response.turns else (), thinking=thinking)


@dataclass(frozen=True, slots=True)
class Load:
    """A generator's load: rows (or requests) that can run at once, and those that do.

    The other figures count from when it was opened: tokens and seconds of reading prompts, and tokens
    written, those of unfinished answers too.
    """

    slots: int
    busy: int
    prompt_tokens: int = 0
    prompt_seconds: float = 0.0
    tokens: int = 0


class Generator(Protocol):
    """One model of a plan, ready to answer."""

    name: str

    @property
    def fingerprint(self) -> str:
        """A hash of the content that decides the answers; equal only for models with equal answers."""

    def describe(self) -> dict[str, Any]:
        """Facts to keep with a run, as JSON values; `notes` lists what readers of the results should know."""

    def generate(self, examples: Sequence[Example], settings: Settings) -> Iterator[list[Response]]:
        """One response for every example, in lists as they are finished, in any order.

        A list may be empty: it is a moment at which the caller can stop.

        Raises CannotRun when the model cannot be reached or loaded any more.
        """

    def load(self) -> Load | None:
        """The load while it generates; None where it is unknown."""

    def close(self) -> None:
        """Frees what the model holds."""


def missing(example: Example, reason: str, tokens_in: int | None = None) -> Response:
    """The response of an example that got no answer."""
    return Response(example.id, None, tokens_in, None, None, None, reason=reason, sample=example.sample)


def sample_seed(seed: int, sample: int) -> int:
    """The seed of one sample of every answer: the first has the plan's own, the others one below 2^31.

    By a hash, so that the samples of neighbouring seeds have nothing in common.
    """
    if not sample:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed}\0sample {sample}".encode()).digest()[:4], "big") >> 1


def conversation(example: Example, system: str | None) -> list[dict[str, Any]]:
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
