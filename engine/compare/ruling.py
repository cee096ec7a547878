"""The one rule on what a comparison says: better, worse or inconclusive, and how many examples it needs.

A candidate's comparisons are ruled on in families, each corrected for multiple looks (Holm 1979):

- "checked": those that a gate checks, over all baselines, benchmarks and the reference run;
- "robustness": what perturbations cost it and what they leave, over all baselines;
- "own form": what perturbations cost one model against its own plain form, baseline or candidate;
- "unchecked": all its others;
- "slices": its slices on the measures that the gate on slices checks, over all baselines, and apart from
  them those on its other measures;
- "disparities": those of one model on the measures that their gate checks, over pairs of groups, and apart
  from them those on its other measures;
- its win rates over all judges and baselines, whose intervals are Bonferroni's (`rule_on_rate`);
- "folds": all its comparisons over a plan's folds, which no gate checks.

So measures that nobody asked about do not dilute what a gate checks. The run's last phase stores each
ruling with its comparison. Screens, reports and alerts print the stored one. A limit adds severity, never
another test: "no worse" reads the interval against the limit, at Holm's step among the comparisons with one.

Standard library only: screens and reports use it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from engine.stats.family import (
    DETECTABLE,
    FEWEST,
    LEVEL,
    among,
    beyond,
    examples_needed,
    holm,
    sign_test,
    widened,
)

Standing = Literal[
    "better", "worse", "more", "less", "no worse", "inconclusive", "at the floor", "not tested", "missing"
]
DECIDED = ("better", "worse", "more", "less")
_ROUNDING = 1e-9


class Compared(Protocol):
    """A difference (candidate minus baseline) with its 95 % interval and p-value over n examples."""

    @property
    def direction(self) -> str: ...
    @property
    def baseline_value(self) -> float | None: ...
    @property
    def delta(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def p(self) -> float | None: ...
    @property
    def n(self) -> int: ...
    @property
    def smallest_detectable(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class BoundedComparison:
    """A comparison to rule on, with what is known of its measure.

    `ends` are those of the measure's range (None = open). `allowed` is the largest worsening within the
    plan's limit, in the measure's unit.
    """

    comparison: Compared
    ends: tuple[float | None, float | None] = (None, None)
    allowed: float | None = None

    @property
    def reach(self) -> float | None:
        """The largest difference that the ends allow."""
        least, most = self.ends
        return None if least is None or most is None else most - least

    @property
    def p_beyond(self) -> float | None:
        """p, on the two-sided scale, of the worsening being beyond `allowed`; None where nothing is asked."""
        compared = self.comparison
        if compared.direction == "none" or self.allowed is None or compared.n < FEWEST or self.is_at_floor:
            return None
        if compared.delta is None or compared.low is None or compared.high is None:
            return None
        is_rise = compared.direction == "lower"
        half = compared.high - compared.delta if is_rise else compared.delta - compared.low
        return beyond(self.allowed + _ROUNDING - (compared.delta if is_rise else -compared.delta), half)

    @property
    def is_at_floor(self) -> bool:
        """Whether the baseline's value is the worst possible, so that nothing can be lost."""
        worst = {"higher": self.ends[0], "lower": self.ends[1]}.get(self.comparison.direction)
        return worst is not None and self.comparison.baseline_value == worst


def ends_of_benchmark(*values: float | None) -> tuple[float | None, float | None]:
    """The ends of a benchmark score's range: 0 and 1 where its values are shares, else open."""
    are_shares = all(value is None or 0 <= value <= 1 for value in values)
    return (0.0, 1.0) if are_shares else (None, None)


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a comparison says.

    - better, worse; more or less of a measure without a better end: p and the interval rule chance out.
    - no worse: the interval holds no worsening beyond the plan's limit, and that is ruled out among all
      comparisons of the family with a limit (Holm).
    - at the floor: the baseline's value is the worst possible, so that nothing can be lost, and nothing was
      gained. Of a gain that may be chance, forgetting alone says so (`engine.compare.forgetting`).
    - inconclusive: chance can't be ruled out.
    - not tested: there is a difference and no interval. missing: there is no difference.

    `p` and the interval are corrected over the `size` comparisons of the `family`; None where not tested. Of
    an undecided one with a limit the interval is at the wider of the two steps that it was looked at with.
    About `needed` examples would decide it; None where it is decided, or too little is known.
    """

    standing: Standing
    family: str
    size: int
    p: float | None = None
    low: float | None = None
    high: float | None = None
    needed: int | None = None

    @property
    def is_decided(self) -> bool:
        """Whether chance is ruled out."""
        return self.standing in DECIDED

    def stored(self) -> dict[str, Any]:
        """By its column names in the store."""
        return {
            "standing": self.standing,
            "family": self.family,
            "family_size": self.size,
            "p_corrected": self.p,
            "low_corrected": self.low,
            "high_corrected": self.high,
            "needed": self.needed,
        }


def rule(family: str, asked: Sequence[BoundedComparison]) -> list[Ruling]:
    """The rulings on all comparisons of one family, in the order given."""
    p = [item.comparison.p for item in asked]
    looks = zip(_looks(p), _looks([item.p_beyond for item in asked]), strict=True)
    size = len(p) - p.count(None)
    return [_ruling(item, family, size, *look) for item, look in zip(asked, looks, strict=True)]


Look = tuple[float, int] | None  # a p-value corrected by Holm, and the comparisons that its step corrects for


def _looks(p: Sequence[float | None]) -> list[Look]:
    known = [one for one in p if one is not None]
    found = iter(zip(holm(known), among(known), strict=True))
    return [None if one is None else next(found) for one in p]


EVEN = 0.5  # the win rate of two models that are as good


class Rate(Protocol):
    """A win rate with its plain 95 % interval, and how many of the candidate's are looked at together."""

    @property
    def wins(self) -> int: ...
    @property
    def losses(self) -> int: ...
    @property
    def win_rate(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def looks(self) -> int: ...


def rule_on_rate(rate: Rate) -> Standing:
    """Better or worse where the interval and the exact sign test of wins and losses, both corrected for all
    win rates of the candidate, leave 0.5 out.
    """
    if rate.win_rate is None:
        return "missing"
    if rate.low is None or rate.high is None:
        return "not tested"
    low, high = widened(rate.win_rate, rate.low, rate.high, rate.looks)
    if sign_test(rate.wins, rate.losses) * rate.looks > LEVEL:
        return "inconclusive"
    return "better" if low > EVEN else "worse" if high < EVEN else "inconclusive"


def _ruling(item: BoundedComparison, family: str, size: int, look: Look, beyond_limit: Look) -> Ruling:
    compared = item.comparison
    if compared.delta is None:
        return Ruling("missing", family, size)
    at_floor = item.is_at_floor and not compared.delta
    if look is None or compared.low is None or compared.high is None:
        return Ruling("at the floor" if at_floor else "not tested", family, size, look[0] if look else None)
    p, count = look
    low, high = _widened(item, count)
    if p <= LEVEL and (low > 0 or high < 0):
        return Ruling(_side(compared.direction, low > 0), family, size, p, low, high)
    standing: Standing = "at the floor" if at_floor else "inconclusive"
    if beyond_limit is not None:
        low, high = _widened(item, max(count, beyond_limit[1]))
        worst = high if compared.direction == "lower" else -low
        if beyond_limit[0] <= LEVEL and worst <= (item.allowed or 0.0) + _ROUNDING:
            standing = "no worse"
    error = (compared.smallest_detectable or 0.0) / DETECTABLE
    needed = None if at_floor else examples_needed(error, compared.delta, compared.n, count)
    return Ruling(standing, family, size, p, low, high, needed)


def _widened(item: BoundedComparison, count: int) -> tuple[float, float]:
    compared = item.comparison
    assert compared.delta is not None and compared.low is not None and compared.high is not None
    low, high = widened(compared.delta, compared.low, compared.high, count)
    return (low, high) if item.reach is None else (max(low, -item.reach), min(high, item.reach))


def _side(direction: str, rose: bool) -> Standing:
    if direction == "none":
        return "more" if rose else "less"
    return "better" if rose == (direction == "higher") else "worse"
