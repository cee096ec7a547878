"""Log-likelihood of known texts under a causal language model, in batches and in windows."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Text:
    """Tokens of which the last `predicted` are to be predicted; at least one before them is context.

    `bytes` is the length of the predicted part's text.
    """

    example_id: str
    ids: list[int]
    predicted: int
    bytes: int


@dataclass(frozen=True, slots=True)
class _Window:
    text: int
    ids: list[int]
    predicted: int


def text_nll(model: Any, texts: Sequence[Text], context: int | None) -> list[float]:
    """Each text's negative log-likelihood in nats, summed over its predicted tokens.

    Texts longer than the model's context are read in windows; at most `len(texts)` windows run at a time.
    """
    windows = [window for place, text in enumerate(texts) for window in _windows(place, text, context)]
    windows.sort(key=lambda window: len(window.ids), reverse=True)
    sums = [0.0] * len(texts)
    for start in range(0, len(windows), len(texts)):
        batch = windows[start : start + len(texts)]
        for window, total in zip(batch, _window_nll(model, batch), strict=True):
            sums[window.text] += total
    return sums


def _windows(place: int, text: Text, context: int | None) -> list[_Window]:
    """The text as one window, or as windows of the context's length that each add half of it."""
    length = len(text.ids)
    if context is None or length <= context:
        return [_Window(place, text.ids, text.predicted)]
    windows = []
    done = length - text.predicted
    while done < length:
        end = min(length, max(context, done + context // 2))
        windows.append(_Window(place, text.ids[max(0, end - context) : end], end - done))
        done = end
    return windows


def _window_nll(model: Any, windows: Sequence[_Window]) -> list[float]:
    """One forward pass over right-padded rows: in a causal model padding after a row cannot touch it."""
    width = max(len(window.ids) for window in windows)
    rows = [window.ids + [0] * (width - len(window.ids)) for window in windows]
    mask = [[1] * len(window.ids) + [0] * (width - len(window.ids)) for window in windows]
    # Only these last positions predict anything: the logits of the others would fill the memory for nothing.
    first = min(len(window.ids) - window.predicted - 1 for window in windows)
    keep = {"logits_to_keep": width - first} if _keeps_logits(model) else {}
    with torch.inference_mode():
        logits = model(
            torch.tensor(rows, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            use_cache=False,
            **keep,
        ).logits
        skipped = width - logits.shape[1]
        return [_row_nll(row, window, skipped) for row, window in zip(logits, windows, strict=True)]


def _row_nll(logits: Any, window: _Window, skipped: int) -> float:
    start = len(window.ids) - window.predicted
    targets = torch.tensor(window.ids[start:], device=logits.device)
    predictions = logits[start - 1 - skipped : len(window.ids) - 1 - skipped].float()
    losses = torch.nn.functional.cross_entropy(predictions, targets, reduction="none")
    return float(losses.sum(dtype=torch.float64))


def _keeps_logits(model: Any) -> bool:
    return "logits_to_keep" in inspect.signature(model.forward).parameters
