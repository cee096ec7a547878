"""The state of one prompt while its answer is generated: the next token, where it stops, and why."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import TemperatureLogitsWarper, TopPLogitsWarper

from engine.models.model import Settings


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt: its token ids, how many tokens may follow, and the seed when answers are sampled."""

    ids: list[int]
    room: int
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """One finished row: text without special tokens, tokens generated (end token included), seconds taken."""

    text: str
    tokens: int
    finish_reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides the tokens of a row besides the model: the tokenizer, the end tokens, the settings."""

    tokenizer: Any
    ends: frozenset[int]
    settings: Settings


class DecodingRow:
    """A request and the tokens that the model has answered so far.

    All of a row's state is here and on the host, so a row can be begun again from `sequence` at any moment
    and ends in the same answer. A row is finished at any of the end tokens, at a stop string, or when its
    room is used up; its seconds count from `start` to that token.
    """

    __slots__ = ("_rules", "_started", "place", "request", "tokens")

    def __init__(self, place: int, request: Request, rules: Rules) -> None:
        self.place = place
        self.request = request
        self.tokens: list[int] = []
        self._rules = rules
        self._started: float | None = None

    @property
    def sequence(self) -> list[int]:
        """Everything that the model has to have read before the row's next token."""
        return self.request.ids + self.tokens

    @property
    def position(self) -> int:
        """Where the newest token stands, counted from the prompt's first."""
        return len(self.request.ids) + len(self.tokens) - 1

    @property
    def need(self) -> int:
        """How many tokens the prompt and its answer take together at most."""
        return len(self.request.ids) + self.request.room

    def start(self) -> None:
        """Starts the row's clock; a row that is begun again keeps its first start."""
        if self._started is None:
            self._started = time.perf_counter()

    def draw(self) -> float:
        """The random number in [0, 1) for the next token: the same whenever and however often it is asked."""
        return random.Random(f"{self.request.seed}:{len(self.tokens)}").random()

    def add(self, token: int) -> Completion | None:
        """Appends a token; the answer once it ends the row."""
        self.tokens.append(token)
        ended = token in self._rules.ends
        used_up = len(self.tokens) >= self.request.room
        if not (ended or used_up or self._may_have_stopped()):
            return None
        text = self._decode(self.tokens)
        found = [place for stop in self._rules.settings.stop if (place := text.find(stop)) >= 0]
        if found:
            return self._answer(text[: min(found)], "stop")
        if ended or used_up:
            return self._answer(text, "stop" if ended else "length")
        return None

    def _may_have_stopped(self) -> bool:
        """Looks at the last tokens only: reading the whole text at every token would take quadratic time."""
        stops = self._rules.settings.stop
        if not stops:
            return False
        # A token gives at least a byte; the others make up for what a tokenizer drops at a text's start.
        reach = max(len(stop.encode("utf-8")) for stop in stops) + 4
        tail = self._decode(self.tokens[-reach:])
        return any(stop in tail for stop in stops)

    def _decode(self, tokens: list[int]) -> str:
        return str(self._rules.tokenizer.decode(tokens, skip_special_tokens=True))

    def _answer(self, text: str, reason: str) -> Completion:
        started = self._started if self._started is not None else time.perf_counter()
        return Completion(text, len(self.tokens), reason, time.perf_counter() - started)


def next_tokens(logits: Any, rows: Sequence[DecodingRow], settings: Settings) -> Any:
    """The next token of each row [rows] from its logits [rows, vocabulary].

    A sampled token depends on the row's seed and its place in the answer alone, so that an answer is the
    same in any batch, and the same again when a row is begun anew.
    """
    if not settings.sampled:
        return logits.argmax(-1)
    scores = TemperatureLogitsWarper(settings.temperature)(None, logits.float())
    if settings.top_p < 1:
        scores = TopPLogitsWarper(settings.top_p)(None, scores)
    cumulative = scores.softmax(-1, dtype=torch.float64).cumsum(-1)
    draws = torch.tensor([[row.draw()] for row in rows], dtype=torch.float64, device=logits.device)
    chosen = torch.searchsorted(cumulative, draws * cumulative[:, -1:], right=True)
    return chosen.clamp(max=logits.shape[-1] - 1).squeeze(-1)
