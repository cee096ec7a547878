"""Perplexity of plain text files: how well a model still predicts a domain, or language in general."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import BadInput
from engine.textfile import read_text

if TYPE_CHECKING:
    from engine.generate.likelihood import Text
    from engine.generate.local import LocalModel

WINDOW = 2048  # tokens, for models that name no context, or a longer one


@dataclass(frozen=True, slots=True)
class CorpusNll:
    """The negative log-likelihood of one file under one model: `nll` in nats over `tokens` predicted ones.

    `bytes` is the UTF-8 length of the whole text. `nll` None means missing, and `reason` says why.
    """

    name: str
    nll: float | None
    tokens: int
    bytes: int
    reason: str | None = None

    @property
    def perplexity(self) -> float | None:
        """exp(nll / tokens); None where that is no number."""
        if self.nll is None or self.nll / self.tokens >= 700:
            return None
        return math.exp(self.nll / self.tokens)

    @property
    def bits_per_byte(self) -> float | None:
        """Comparable between tokenizers, unlike perplexity."""
        return None if self.nll is None else self.nll / math.log(2) / self.bytes


def read_corpus(path: Path) -> str:
    """The text of a file. Raises BadInput for one that cannot be read or holds nothing."""
    text = read_text(path)
    if not text.strip():
        raise BadInput(f"{path}: holds no text")
    return text


def corpus_nll(
    model: "LocalModel", corpora: Sequence[tuple[str, str]], batch_tokens: int = 8192
) -> Iterator[CorpusNll]:
    """The likelihood of each (name, text), read in windows of the context that overlap by half.

    Every token but the first is predicted once, with at least half a window before it where there is that
    much; the first is context. No chat template, no added tokens. A batch holds about `batch_tokens`; out of
    memory halves it.
    """
    from engine.generate.batches import in_batches
    from engine.generate.likelihood import Text, text_nll

    window = min(model.base.context or WINDOW, WINDOW)

    def measure(batch: Sequence[Text]) -> list[float]:
        with model.active() as active:
            return text_nll(active, batch, window)

    for name, text in corpora:
        size = len(text.encode("utf-8", "replace"))
        ids = model.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        if len(ids) < 2:
            yield CorpusNll(name, None, 0, size, "the text has fewer than two tokens")
            continue
        if reason := model.unknown_token(ids):
            yield CorpusNll(name, None, 0, size, reason)
            continue
        pieces = list(windows(name, ids, window))
        at_once = max(1, batch_tokens // window)
        sums = in_batches(pieces, at_once, measure, lambda _: math.nan, model.note_halved)
        total = math.fsum(value for batch in sums for value in batch)
        if math.isfinite(total):
            yield CorpusNll(name, total, len(ids) - 1, size)
        else:
            yield CorpusNll(name, None, 0, size, "a window does not fit into memory, or is no finite number")


def windows(name: str, ids: Sequence[int], window: int) -> "Iterator[Text]":
    """A long text as windows that each predict what the ones before did not, from half a window on."""
    from engine.generate.likelihood import Text

    done = 1
    while done < len(ids):
        end = min(len(ids), max(window, done + window // 2))
        yield Text(name, list(ids[max(0, end - window) : end]), end - done, 0)
        done = end
