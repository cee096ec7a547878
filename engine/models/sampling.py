"""From logits to the next token of each row: greedy, or drawn with the row's own random number."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import TemperatureLogitsWarper, TopPLogitsWarper

from engine.models.model import Settings
from engine.models.rows import Row


def next_tokens(logits: Any, rows: Sequence[Row], settings: Settings) -> Any:
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
