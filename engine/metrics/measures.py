"""Short forms for what most metrics have in common."""

from collections.abc import Callable, Iterable

import numpy as np

from engine.data.example import Example
from engine.metrics.metric import NO_REFERENCE, Measure, Sums, mean, no_text
from engine.models.model import Response


def fraction(
    name: str,
    meaning: str,
    source: str,
    *,
    needs: Iterable[str] = (),
    unit: str = "share",
    version: str = "1",
    combine: Callable[[Sums], Sums] = mean,
) -> Measure:
    """A measure from 0 to 1 where higher is better."""
    return Measure(name, "higher", 0.0, 1.0, unit, frozenset(needs), version, source, meaning, combine)


def gap(example: Example, response: Response) -> str:
    """Why a response can't be set against a reference, where the example has none or the response no text."""
    return no_text(response) if example.references else NO_REFERENCE


def combine_f1(sums: Sums) -> Sums:
    """Micro F1 of summed parts [..., (found rightly, found, wanted)]; 1 where nothing was wanted or found."""
    right, found, wanted = sums[..., 0], sums[..., 1], sums[..., 2]
    total = found + wanted
    scores: Sums = np.where(total == 0, 1.0, 2 * right / np.where(total == 0, 1.0, total))
    return scores
