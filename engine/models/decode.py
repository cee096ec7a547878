"""One batch of prompts to one batch of answers: transformers' `generate`, watched row by row.

The path for models whose cache cannot be kept in slots; see `batcher` for all others.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from engine.models.model import Settings
from engine.models.rows import Completion, DecodingRow, Request, Rules, next_tokens


def decode(model: Any, requests: Sequence[Request], rules: Rules) -> list[Completion]:
    """Answers the requests in one batch, padded on the left under a real attention mask.

    A row's seconds count from the batch's start.
    """
    width = max(len(request.ids) for request in requests)
    pad = _pad_token(rules)
    ids = [[pad] * (width - len(request.ids)) + request.ids for request in requests]
    mask = [[0] * (width - len(request.ids)) + [1] * len(request.ids) for request in requests]
    rows = [DecodingRow(place, request, rules) for place, request in enumerate(requests)]
    watch = _Watch(rows)
    sampled = rules.settings.sampled
    processors = LogitsProcessorList([_SeededSampling(rows, rules.settings)] if sampled else [])
    config = GenerationConfig(
        max_new_tokens=max(request.room for request in requests),
        do_sample=False,
        eos_token_id=sorted(rules.ends) or None,
        pad_token_id=pad,
    )
    with torch.inference_mode(), _bare_generation_config(model):
        model.generate(
            torch.tensor(ids, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            generation_config=config,
            logits_processor=processors,
            stopping_criteria=StoppingCriteriaList([watch]),
        )
    return watch.answers()


def _pad_token(rules: Rules) -> int:
    """Any token will do, since the mask hides it; the tokenizer's own where it has one."""
    own = rules.tokenizer.pad_token_id
    return int(own if own is not None else min(rules.ends, default=0))


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
    """Follows each row's new tokens, and says which rows are finished."""

    def __init__(self, rows: list[DecodingRow]) -> None:
        self._rows = rows
        self._finished: list[Completion | None] = [None] * len(rows)
        for row in rows:
            row.start()

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        for place, token in enumerate(input_ids[:, -1].tolist()):
            if self._finished[place] is None:
                self._finished[place] = self._rows[place].add(token)
        return torch.tensor([answer is not None for answer in self._finished], device=input_ids.device)

    def answers(self) -> list[Completion]:
        """Every row's answer; `generate` has returned, so every row is finished."""
        return [answer for answer in self._finished if answer is not None]


class _SeededSampling(LogitsProcessor):  # type: ignore[misc]  # transformers is untyped here
    """Leaves only the token possible that was drawn for the row, and greedy decoding then takes it."""

    def __init__(self, rows: list[DecodingRow], settings: Settings) -> None:
        self._rows = rows
        self._settings = settings

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        chosen = next_tokens(scores, self._rows, self._settings)[:, None]
        return torch.full_like(scores, float("-inf")).scatter(-1, chosen, 0.0)
