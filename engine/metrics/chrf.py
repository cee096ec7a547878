"""chrF: runs of one to six characters that a response shares with its references."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.data.example import Example
from engine.metrics.measures import fraction, gap
from engine.metrics.metric import Score, Sums, missing
from engine.models.model import Response

NO_CHARACTERS = "no reference of the example has a character in it"
# As `sacrebleu.CHRF().get_signature()` writes it; its figures are percentages, these are fractions.
SIGNATURE = "case:mixed|eff:yes|nc:6|nw:0|space:no"
_ORDER = 6
_BETA_SQUARED = 4

Codes = NDArray[np.int64]


def chrf_parts(reference: str, response: str) -> tuple[float, ...]:
    """What chrF sums over a set: for each order, n-grams of the response, of the reference, and shared.

    Counted by rank instead of by text, which needs a fraction of the memory on long responses.
    """
    wanted, given, kinds = _ranked(_codes(reference), _codes(response))
    first, second, letters = wanted, given, kinds
    parts: list[float] = []
    for order in range(1, _ORDER + 1):
        if order > 1:
            first, second, kinds = _ranked(
                first[:-1] * letters + wanted[order - 1 :], second[:-1] * letters + given[order - 1 :]
            )
        shared = np.minimum(np.bincount(first, minlength=kinds), np.bincount(second, minlength=kinds)).sum()
        parts += (len(second) if len(first) else 0, len(first), int(shared))
    return tuple(map(float, parts))


def combine_chrf(sums: Sums) -> Sums:
    """chrF2 of summed parts [..., 18], from 0 to 1, over the orders that both sides have n-grams of."""
    given, wanted, shared = sums[..., 0::3], sums[..., 1::3], sums[..., 2::3]
    counted = (given > 0) & (wanted > 0)
    orders = np.maximum(counted.sum(axis=-1), 1)
    precision = (np.where(counted, shared, 0) / np.where(counted, given, 1)).sum(axis=-1) / orders
    recall = (np.where(counted, shared, 0) / np.where(counted, wanted, 1)).sum(axis=-1) / orders
    weight = _BETA_SQUARED * precision + recall
    scores: Sums = (1 + _BETA_SQUARED) * precision * recall / np.where(weight == 0, 1, weight)
    return scores


class ChrF:
    """chrF2 of single responses and of the whole set; of several references the best one."""

    measures = (
        fraction(
            "chrf_sentence",
            "runs of one to six characters shared with a reference, averaged over responses",
            f"Popović 2015; sacrebleu sentence_chrf / 100, {SIGNATURE}",
            needs=["references"],
            unit="chrF2",
        ),
        fraction(
            "chrf_corpus",
            "runs of one to six characters shared with a reference, counted over the whole set",
            f"Popović 2015; sacrebleu corpus_chrf / 100, {SIGNATURE}",
            needs=["references"],
            unit="chrF2",
            combine=combine_chrf,
        ),
    )

    def score(self, example: Example, response: Response) -> list[Score]:
        if response.text is None or not example.references:
            return missing(self.measures, gap(example, response))
        references = [text for text in example.references if text.strip()]
        if not references:
            return missing(self.measures, NO_CHARACTERS)
        parts = _best([chrf_parts(reference, response.text) for reference in references])
        value = float(combine_chrf(np.array(parts)))
        return [Score("chrf_sentence", value), Score("chrf_corpus", value, parts=parts)]


def _best(candidates: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    if len(candidates) == 1:
        return candidates[0]
    return candidates[int(np.argmax(combine_chrf(np.array(candidates))))]


def _ranked(first: Codes, second: Codes) -> tuple[Codes, Codes, int]:
    """Both arrays with each number replaced by its rank among all, and how many ranks there are."""
    kinds, ranks = np.unique(np.concatenate((first, second)), return_inverse=True)
    return ranks[: len(first)], ranks[len(first) :], len(kinds)


def _codes(text: str) -> Codes:
    """Code points without white space; halves of surrogate pairs stand for themselves."""
    packed = "".join(text.split()).encode("utf-32-le", "surrogatepass")
    return np.frombuffer(packed, dtype=np.uint32).astype(np.int64)
