"""Scores too good for chance: hints, never proofs, that a benchmark or eval set was trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

NEAR_CEILING = 0.95
JUMP = 0.05
FEWEST_BENCHMARKS = 3
GAP = 0.02
_TOLD = 5  # measures that a message names

_HINT = "this is a hint, not a proof: look at the examples and at what was trained on"


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A sign of contamination: its kind, what it is about, a message that calls it a hint, and figures."""

    kind: str  # ceiling, all_jump, original_wording
    subject: str
    message: str
    figures: dict[str, float] = field(default_factory=dict)


def near_ceiling(
    baseline: str, scores: Mapping[str, float], ceiling: float = NEAR_CEILING
) -> list[Suspicion]:
    """One for all measures from 0 to 1 on which the model before fine-tuning has `ceiling` or more.

    Either the questions are too easy to tell models apart, or the base has seen them.
    """
    high = {measure: value for measure, value in scores.items() if value >= ceiling}
    if not high:
        return []
    highest = sorted(high.items(), key=lambda item: -item[1])[:_TOLD]
    told = ", ".join(f"{value:.1%} on {measure}" for measure, value in highest)
    told += f" and as much on {len(high) - _TOLD} more" if len(high) > _TOLD else ""
    message = f"{baseline} has {told} before any fine-tuning: too easy to tell models apart, or seen before; "
    subject = next(iter(high)) if len(high) == 1 else f"{len(high)} measures"
    return [Suspicion("ceiling", subject, message + _HINT, high)]


def all_jump(candidate: str, deltas: Mapping[str, float], jump: float = JUMP) -> list[Suspicion]:
    """Every one of several benchmarks up by `jump` or more: skills seldom rise all at once.

    `deltas` are candidate minus baseline, signed so that up is better. Fewer than FEWEST_BENCHMARKS
    tell nothing.
    """
    if len(deltas) < FEWEST_BENCHMARKS or min(deltas.values()) < jump:
        return []
    least = min(deltas.values())
    return [
        Suspicion(
            "all_jump",
            candidate,
            f"{candidate} is up by {least:.1%} or more on all {len(deltas)} benchmarks at once; {_HINT}",
            dict(deltas),
        )
    ]


def prefers_original(
    model: str, original: Sequence[float], altered: Sequence[float], gap: float = GAP
) -> list[Suspicion]:
    """Lower bits per byte on the original wording than on shuffled options or paraphrases, pair by pair.

    The sign test of Min-K% style probes in its simplest form: a hint when the original is easier in at least
    three quarters of ten or more pairs, and by `gap` (relative) on average. Raises ValueError when the two
    differ in number.
    """
    if len(original) != len(altered):
        raise ValueError(f"{len(original)} original texts, {len(altered)} altered ones")
    easier = sum(one < other for one, other in zip(original, altered, strict=True))
    if len(original) < 10 or easier < 0.75 * len(original) or sum(altered) <= 0:
        return []
    relative = 1 - sum(original) / sum(altered)
    if relative < gap:
        return []
    return [
        Suspicion(
            "original_wording",
            model,
            f"{model} finds the original wording easier than the altered one in {easier} of {len(original)} "
            f"texts (bits per byte {relative:.1%} lower); {_HINT}",
            {"texts": len(original), "easier": easier, "lower_by": relative},
        )
    ]
