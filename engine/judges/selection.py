"""Which questions a plan's judges are put: who plays whom, on which examples, at which turns."""

import hashlib
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from engine.data.example import Example
from engine.judges.judge import ORDERS, WHOLE

if TYPE_CHECKING:
    from engine.plan.plan import Judge, Model, Plan


def turns_of(example: Example) -> range:
    """The turns of an example that are judged beside the whole: none where it has only one."""
    return range(1, len(example.turns) + 1) if len(example.turns) > 1 else range(0)


def asked_turns(settings: "Judge", turns: int) -> range:
    """What is asked about a conversation of so many turns: the whole (0) and each, or the turns alone."""
    return range(1 if turns and settings.by_turn else WHOLE, 1 + turns)


def matches(plan: "Plan") -> list[tuple["Model", "Model"]]:
    """Every candidate against every baseline; with `all_pairs` also against the candidates before it."""
    found = [(candidate, baseline) for candidate in plan.candidates for baseline in plan.baselines]
    if plan.judging.all_pairs:
        found += [(later, earlier) for earlier, later in combinations(plan.candidates, 2)]
    return found


def calls_on(plan: "Plan", settings: "Judge", example: Example) -> int:
    """How many questions one example comes to, over all models or matches."""
    asked = len(asked_turns(settings, len(turns_of(example))))
    if settings.kind == "pointwise":
        return len(plan.models) * asked
    return len(ORDERS) * len(matches(plan)) * asked


def selected(plan: "Plan", settings: "Judge", examples: Sequence[Example]) -> list[Example]:
    """The examples that a judge sees, in their order: all, or the seeded sample that the plan allows.

    Which examples are in a sample follows from the plan's seed and their ids, so that all judges see the
    same ones, and a larger sample holds the smaller one.
    """
    if settings.sample is None and settings.max_calls is None:
        return list(examples)
    kept: set[str] = set()
    left = settings.max_calls
    for example in drawn(plan.data.seed, examples)[: settings.sample]:
        if left is not None:
            left -= calls_on(plan, settings, example)
            if left < 0:
                break
        kept.add(example.id)
    return [example for example in examples if example.id in kept]


def drawn(seed: int, examples: Sequence[Example]) -> list[Example]:
    """The examples in an order drawn by the seed and their ids: the same whatever order they come in."""
    return sorted(examples, key=lambda example: _lot(seed, example.id))


def _lot(seed: int, example_id: str) -> bytes:
    return hashlib.blake2b(f"{seed}\0{example_id}".encode("utf-8", "replace"), digest_size=8).digest()
