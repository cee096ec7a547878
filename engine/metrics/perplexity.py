"""How surprised a model is by the references: perplexity, and bits per byte, comparable between tokenizers.

Source: Hugging Face's "Perplexity of fixed-length models" for the strided window; bits per byte as in The
Pile (Gao et al., 2020). Only local weights can be measured.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.data.example import Example
from engine.metrics.metric import Measure, Score, Sums, mean, missing
from engine.models.model import Response

if TYPE_CHECKING:
    from engine.models.local import LocalModel

NEEDS_WEIGHTS = "perplexity needs the model's weights on this machine"


def _exponential_of_mean(sums: Sums) -> Sums:
    perplexity: Sums = np.exp(mean(sums))
    return perplexity


PERPLEXITY = Measure(
    name="perplexity",
    direction="lower",
    low=1.0,
    high=None,
    unit="",
    needs=frozenset({"references", "weights"}),
    version="1",
    source="exp of the mean negative log-likelihood per predicted token",
    meaning="how many tokens the model wavers between, on average, at each token of the reference",
    combine=_exponential_of_mean,
)
BITS_PER_BYTE = Measure(
    name="bits_per_byte",
    direction="lower",
    low=0.0,
    high=None,
    unit="bits/byte",
    needs=frozenset({"references", "weights"}),
    version="1",
    source="The Pile (Gao et al., 2020)",
    meaning="bits that the model needs per UTF-8 byte of the reference; comparable between tokenizers",
)
MEASURES = (PERPLEXITY, BITS_PER_BYTE)


@dataclass(frozen=True, slots=True)
class Nll:
    """The negative log-likelihood of one reference under one model.

    `nll` in nats, summed over the `tokens` that were predicted; `bytes` is the UTF-8 length of their text.
    `nll` None means it could not be computed, and `reason` says why.
    """

    example_id: str
    nll: float | None
    tokens: int
    bytes: int
    reason: str | None = None


class Perplexity:
    """The measures of a reference's likelihood. Responses alone give none: see `conditional_nll`."""

    measures = MEASURES

    def score(self, example: Example, response: Response) -> list[Score]:
        return missing_scores(NEEDS_WEIGHTS)


def missing_scores(reason: str) -> list[Score]:
    """Both measures missing, for one reason."""
    return missing(MEASURES, reason)


def scores_from_nll(nll: Nll) -> list[Score]:
    """Both measures of one reference, with the parts from which a whole set's value is made.

    A set's perplexity is exp(Σ nll / Σ predicted tokens): weighted by predicted tokens, not a mean of means.
    """
    if nll.nll is None:
        return missing_scores(nll.reason or "the likelihood could not be computed")
    bits = nll.nll / math.log(2)
    per_token = nll.nll / nll.tokens
    # Beyond this a float has no exponential; the parts still carry the value into the set's.
    value = math.exp(per_token) if per_token < 700 else None
    perplexity = Score("perplexity", value, parts=(nll.nll, float(nll.tokens)))
    if value is None:
        perplexity = Score("perplexity", None, "the perplexity is too large for a number")
    return [perplexity, Score("bits_per_byte", bits / nll.bytes, parts=(bits, float(nll.bytes)))]


def conditional_nll(
    model: "LocalModel", items: Sequence[tuple[Example, str]], batch_tokens: int | None = None
) -> Iterator[Nll]:
    """The likelihood of each reference as the model's answer to its example's prompt, longest first.

    Every token of the reference is predicted, the first one from the prompt; no end token is added. A text
    beyond the context is read in windows that overlap by half, each token predicted once. A batch holds at
    most `batch_tokens`, padding included; out of memory halves that.
    """
    from engine.models.likelihood import BUDGET, Text, likelihoods, window_nll
    from engine.models.prompt import PromptError

    texts: list[Text] = []
    for example, reference in items:
        try:
            prompt = model.prompt(example)
        except PromptError as error:
            yield Nll(example.id, None, 0, 0, str(error))
            continue
        ids = model.tokenizer(reference, add_special_tokens=False, verbose=False)["input_ids"]
        if not ids:
            yield Nll(example.id, None, 0, 0, "the reference is empty")
            continue
        if reason := model.unknown_token([*prompt, *ids]):
            yield Nll(example.id, None, 0, 0, reason)
            continue
        texts.append(Text(example.id, [*prompt, *ids], len(ids), len(reference.encode("utf-8"))))

    def measure(batch: Sequence[Any]) -> list[float]:
        with model.active() as active:
            return window_nll(active, batch)

    measured = likelihoods(measure, texts, model.base.context, batch_tokens or BUDGET, model.note_halved)
    for place, total in measured:
        yield _nll(texts[place], total)


def _nll(text: Any, total: float | None) -> Nll:
    if total is None:
        return Nll(text.example_id, None, 0, 0, f"out of memory with a text of {len(text.ids)} tokens")
    if not math.isfinite(total):
        return Nll(text.example_id, None, 0, 0, "the model's log-probabilities are not finite numbers")
    return Nll(text.example_id, total, text.predicted, text.bytes)
