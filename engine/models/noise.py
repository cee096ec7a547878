"""The noise floor of a model: the share of answers that change with the batch alone.

Sums in another order differ in their last bits. Where two tokens are nearly tied, as they often are in 16
bits, that flips one, and the rest of the answer follows from it. A difference of that size between two models
means nothing.
"""

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

from engine.data.example import Example
from engine.models.local import LocalModel
from engine.models.model import Settings
from engine.stats.intervals import share_of

ALONE, BATCHED = "alone", "batched"  # the ways in which a prompt is answered
# Called between pieces of work with the way and how many answers came in it; what it raises ends the
# measurement.
Between = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """The `share` of n answers that changed with the batch, and its 95 % interval.

    `first_token` is the median place, counted from 0, of the first token that changed, as the tokenizer reads
    the texts; None when none did. `unanswered` examples are not in n. `share` is None without answers.
    """

    changed: int
    n: int
    share: float | None
    low: float | None
    high: float | None
    first_token: float | None
    unanswered: int


@dataclass(frozen=True, slots=True)
class SameAnswers:
    """The `share` of n answers that two engines give in the same words, and its 95 % interval."""

    identical: int
    n: int
    share: float | None
    low: float | None
    high: float | None


def agreement(one: Mapping[str, str], other: Mapping[str, str]) -> SameAnswers:
    """Of the answers by example that both engines have."""
    both = one.keys() & other.keys()
    same = sum(one[name] == other[name] for name in both)
    found = share_of(same, len(both))
    return SameAnswers(same, len(both), found.value, found.low, found.high)


def noise_floor(
    model: LocalModel,
    examples: Sequence[Example],
    settings: Settings,
    between: Between = lambda way, count: None,
) -> NoiseFloor:
    """Answers the examples one by one, then all together, then in two batches of another order.

    An answer counts as changed when it is not the same in all three. Nothing is taken from a cache. One
    answer alone has no batch, so its share is missing.
    """
    fresh = model.without_cache()
    alone = texts(fresh, examples, replace(settings, deterministic=True), ALONE, between)
    batched = replace(settings, deterministic=False)
    together = texts(fresh, examples, batched, BATCHED, between)
    shuffled = random.Random(settings.seed).sample(list(examples), len(examples))
    half = (len(shuffled) + 1) // 2
    parted = [texts(fresh, part, batched, BATCHED, between) for part in (shuffled[:half], shuffled[half:])]
    ways = [together, parted[0] | parted[1]]
    answered = [name for name in alone if all(name in way for way in ways)]
    compared = answered if len(answered) > 1 else []
    places = [_first_change(fresh, alone[name], [way[name] for way in ways]) for name in compared]
    changed = [place for place in places if place is not None]
    found = share_of(len(changed), len(compared))
    return NoiseFloor(
        changed=len(changed),
        n=len(compared),
        share=found.value,
        low=found.low,
        high=found.high,
        first_token=statistics.median(changed) if changed else None,
        unanswered=len(examples) - len(answered),
    )


def texts(
    model: LocalModel,
    examples: Sequence[Example],
    settings: Settings,
    way: str,
    between: Between,
) -> dict[str, str]:
    """The answers by example, without those that are missing."""
    found: dict[str, str] = {}
    for batch in model.generate(examples, settings):
        found |= {response.example_id: response.text for response in batch if response.text is not None}
        between(way, len(batch))
    return found


def _first_change(model: LocalModel, alone: str, others: list[str]) -> int | None:
    """The place of the first token in which another answer differs; None when all are the same text."""
    different = [text for text in others if text != alone]
    if not different:
        return None
    cut = [model.tokenizer(text, add_special_tokens=False)["input_ids"] for text in [alone, *different]]
    # Texts may differ where their tokens do not: then they do so at the end.
    ends = min(len(ids) for ids in cut)
    same = (place for place in count() if place >= ends or len({ids[place] for ids in cut}) > 1)
    return next(same)
