"""One batch of prompts to one batch of answers: transformers' `generate`, watched row by row."""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from engine.generate.model import Settings


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt: its token ids, how many tokens may follow, and the seed when answers are sampled."""

    ids: list[int]
    room: int
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """One finished row: text without special tokens, tokens generated (end token included), seconds taken."""

    text: str
    tokens: int
    finish_reason: str
    seconds: float


def decode(
    model: Any, tokenizer: Any, requests: Sequence[Request], settings: Settings, ends: frozenset[int]
) -> list[Answer]:
    """Answers the requests in one batch, padded on the left under a real attention mask.

    A row is finished at any of the end tokens, at a stop string, or when its room is used up; its seconds
    count from the batch's start to that step.
    """
    width = max(len(request.ids) for request in requests)
    pad = _pad_token(tokenizer, ends)
    rows = [[pad] * (width - len(request.ids)) + request.ids for request in requests]
    mask = [[0] * (width - len(request.ids)) + [1] * len(request.ids) for request in requests]
    watch = _Watch(tokenizer, width, requests, settings.stop, ends)
    processors = LogitsProcessorList([_SeededSampling(requests, settings)] if settings.sampled else [])
    config = GenerationConfig(
        max_new_tokens=max(request.room for request in requests),
        do_sample=False,
        eos_token_id=sorted(ends) or None,
        pad_token_id=pad,
    )
    with torch.inference_mode(), _bare_generation_config(model):
        model.generate(
            torch.tensor(rows, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            generation_config=config,
            logits_processor=processors,
            stopping_criteria=StoppingCriteriaList([watch]),
        )
    return watch.answers()


def _pad_token(tokenizer: Any, ends: frozenset[int]) -> int:
    """Any token will do, since the mask hides it; the tokenizer's own where it has one."""
    return int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(ends, default=0))


@contextmanager
def _bare_generation_config(model: Any) -> Iterator[None]:
    # `generate` fills every value that we leave open from the model's own configuration: a repetition
    # penalty or sampling there would quietly change what "greedy" means.
    own = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own


class _Watch(StoppingCriteria):  # type: ignore[misc]  # transformers is untyped here
    """Follows each row's new tokens, and says which rows are finished, why and when."""

    def __init__(
        self,
        tokenizer: Any,
        prompt_width: int,
        requests: Sequence[Request],
        stop: tuple[str, ...],
        ends: frozenset[int],
    ) -> None:
        self._tokenizer = tokenizer
        self._width = prompt_width
        self._requests = requests
        self._stop = stop
        self._ends = ends
        self._tokens: list[list[int]] = [[] for _ in requests]
        self._finished: list[Answer | None] = [None] * len(requests)
        self._start = time.perf_counter()

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        newest = input_ids[:, -1].tolist()
        now = time.perf_counter() - self._start
        for row, token in enumerate(newest):
            if self._finished[row] is None:
                self._tokens[row].append(token)
                self._finished[row] = self._ending(row, now)
        return torch.tensor([answer is not None for answer in self._finished], device=input_ids.device)

    def answers(self) -> list[Answer]:
        """Every row's answer; `generate` has returned, so every row is finished."""
        return [answer for answer in self._finished if answer is not None]

    def _ending(self, row: int, now: float) -> Answer | None:
        tokens = self._tokens[row]
        ended = tokens[-1] in self._ends
        used_up = len(tokens) >= self._requests[row].room
        if not (ended or used_up or self._stop):
            return None
        text = self._tokenizer.decode(tokens, skip_special_tokens=True)
        stopped = min((place for stop in self._stop if (place := text.find(stop)) >= 0), default=None)
        if stopped is not None:
            return Answer(text[:stopped], len(tokens), "stop", now)
        if ended or used_up:
            return Answer(text, len(tokens), "stop" if ended else "length", now)
        return None


class _SeededSampling(LogitsProcessor):  # type: ignore[misc]  # transformers is untyped here
    """Draws each row's token from its own seeded stream, so that a row's answer is the same in any batch.

    It leaves only the drawn token possible, and greedy decoding then takes it.
    """

    def __init__(self, requests: Sequence[Request], settings: Settings) -> None:
        self._streams = [random.Random(request.seed) for request in requests]
        self._warpers = [TemperatureLogitsWarper(settings.temperature)]
        if settings.top_p < 1:
            self._warpers.append(TopPLogitsWarper(settings.top_p))

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        for warper in self._warpers:
            scores = warper(input_ids, scores)
        cumulative = scores.softmax(-1, dtype=torch.float64).cumsum(-1)
        draws = torch.tensor([[stream.random()] for stream in self._streams], dtype=torch.float64)
        places = draws.to(cumulative.device) * cumulative[:, -1:]
        chosen = torch.searchsorted(cumulative, places, right=True).clamp(max=scores.shape[-1] - 1)
        return torch.full_like(scores, float("-inf")).scatter(-1, chosen, 0.0)
