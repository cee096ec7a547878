"""Log-likelihood of known texts under a causal language model: in windows, batched by a token budget."""

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from engine.models.fingerprint import digest
from engine.models.rows import attempt, entrance

if TYPE_CHECKING:
    from engine.models.local import LocalModel

BUDGET = 8192  # tokens of a batch, padding included
# A batch of more than a few rows ends where padding would take up more than a quarter of it.
_FEW, _FILLED = 8, 0.75


@dataclass(frozen=True, slots=True)
class Text:
    """Tokens of which the last `predicted` are to be predicted; at least one before them is context.

    `bytes` is the length of the predicted part's text. `beginning` stands at the start of every window that
    does not hold the text's own start: see `prompt.beginning`. `ending` are tokens after the text, such as
    an end token: they are predicted too, and counted apart.
    """

    example_id: str
    ids: list[int]
    predicted: int
    bytes: int
    beginning: Sequence[int] = ()
    ending: Sequence[int] = ()


Surprise = tuple[float, float]  # nats over a text's predicted tokens, and over its ending


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of one text, by its place among the texts, whose last tokens are predicted."""

    text: int
    ids: list[int]
    predicted: int
    ending: int = 0  # tokens after the predicted ones, which are counted apart


# Raised when the same text would be measured in another way.
_MEASURED = 1


def known_likelihoods(
    model: "LocalModel", texts: Sequence[Text], context: int | None, budget: int
) -> Iterator[tuple[int, Surprise | None, bool]]:
    """As `likelihoods` of a model; what its cache holds comes first, and is marked so."""
    known, keys, left = model.likelihoods, {}, []
    for place, text in enumerate(texts):
        if known is None:
            left.append(place)
            continue
        measured = (text.ids, text.predicted, list(text.beginning), list(text.ending), context)
        keys[place] = digest(["likelihood", _MEASURED, model.fingerprint, *measured])
        match known.get(keys[place]):
            case [float(nll), float(end)]:
                yield place, (nll, end), True
            case _:
                left.append(place)

    asked = [texts[place] for place in left]
    for index, found in likelihoods(model.window_nll, asked, context, budget, model.note_halved):
        if known is not None and found is not None and all(map(math.isfinite, found)):
            known.put(keys[left[index]], list(found))
        yield left[index], found, False


def likelihoods(
    run: Callable[[Sequence[Window]], list[Surprise]],
    texts: Sequence[Text],
    context: int | None,
    budget: int,
    halved: Callable[[int], None],
) -> Iterator[tuple[int, Surprise | None]]:
    """Each text's place and negative log-likelihood in nats, as it is finished.

    `run` measures one batch: see `window_nll`. Texts beyond the context are read in windows that overlap by
    half. Windows alike in length share a batch, the longest first, of at most `budget` tokens; out of memory
    halves the budget, which `halved` is told. None is a text of which a window fits no memory even alone.
    """
    windows = [window for place, text in enumerate(texts) for window in _windows(place, text, context)]
    windows.sort(key=lambda window: len(window.ids), reverse=True)
    left = [0] * len(texts)
    for window in windows:
        left[window.text] += 1
    sums: list[Surprise | None] = [(0.0, 0.0)] * len(texts)
    start = 0
    while start < len(windows):
        width = len(windows[start].ids)
        batch = _batch(windows, start, budget)
        results = attempt(batch, run)
        if results is None and len(batch) > 1:
            budget = len(batch) * width // 2
            halved(len(batch) // 2)
            continue
        start += len(batch)
        nothing: list[Surprise | None] = [None] * len(batch)
        for window, total in zip(batch, results or nothing, strict=True):
            before = sums[window.text]
            sums[window.text] = (
                None if before is None or total is None else (before[0] + total[0], before[1] + total[1])
            )
            left[window.text] -= 1
            if not left[window.text]:
                yield window.text, sums[window.text]


def _batch(windows: Sequence[Window], start: int, budget: int) -> Sequence[Window]:
    """The next windows that share a batch: as many as the budget takes without being mostly padding."""
    width = len(windows[start].ids)
    end, tokens = start, 0
    while end < len(windows) and (end == start or (end - start + 1) * width <= budget):
        tokens += len(windows[end].ids)
        end += 1
        if end - start > _FEW and tokens < _FILLED * (end - start) * width:
            break
    return windows[start:end]


def _windows(place: int, text: Text, context: int | None) -> list[Window]:
    """The text's windows; an ending joins the last one where it fits, and changes none of the others."""
    windows = _parts(place, text, context)
    if not text.ending:
        return windows
    last, ending = windows[-1], list(text.ending)
    if context is None or len(last.ids) + len(ending) <= context:
        return [*windows[:-1], Window(place, last.ids + ending, last.predicted, len(ending))]
    ids = [*text.beginning, *[*text.ids, *ending][len(text.beginning) - context :]]
    return [*windows, Window(place, ids, 0, len(ending))]


def _parts(place: int, text: Text, context: int | None) -> list[Window]:
    """The text as one window, or as windows of the context's length that each add half of it."""
    length = len(text.ids)
    if context is None or length <= context:
        return [Window(place, text.ids, text.predicted)]
    windows = []
    done = length - text.predicted
    while done < length:
        end = min(length, max(context, done + context // 2))
        start = max(0, end - context)
        ids = text.ids[start:end]
        if start and text.beginning:
            ids = [*text.beginning, *ids[len(text.beginning) :]]
        windows.append(Window(place, ids, end - done))
        done = end
    return windows


def window_nll(model: Any, windows: Sequence[Window]) -> list[Surprise]:
    """One forward pass over right-padded rows: in a causal model padding after a row cannot touch it."""
    width = max(len(window.ids) for window in windows)
    rows = [window.ids + [0] * (width - len(window.ids)) for window in windows]
    mask = [[1] * len(window.ids) + [0] * (width - len(window.ids)) for window in windows]
    # Only these last positions predict anything: the logits of the others would fill the memory for nothing.
    first = min(len(window.ids) - window.predicted - window.ending - 1 for window in windows)
    keep = {"logits_to_keep": width - first} if _keeps_logits(model) else {}
    with torch.inference_mode():
        logits = model(
            torch.tensor(rows, device=entrance(model)),
            attention_mask=torch.tensor(mask, device=entrance(model)),
            use_cache=False,
            **keep,
        ).logits
        skipped = width - logits.shape[1]
        sums = [_row_nll(row, window, skipped) for row, window in zip(logits, windows, strict=True)]
        # One transfer for the batch: each would wait for the device.
        return [(nll, end) for nll, end in torch.stack(sums).tolist()]


def _row_nll(logits: Any, window: Window, skipped: int) -> Any:
    start = len(window.ids) - window.predicted - window.ending
    targets = torch.tensor(window.ids[start:], device=logits.device)
    predictions = logits[start - 1 - skipped : len(window.ids) - 1 - skipped]
    predictions = predictions if predictions.dtype == torch.float64 else predictions.float()
    losses = torch.nn.functional.cross_entropy(predictions, targets, reduction="none")
    parts = losses[: window.predicted], losses[window.predicted :]
    return torch.stack([part.sum(dtype=torch.float64) for part in parts])


def _keeps_logits(model: Any) -> bool:
    return "logits_to_keep" in inspect.signature(model.forward).parameters
