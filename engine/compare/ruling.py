"""The one rule on what a comparison says: better, worse or inconclusive, and how many examples it needs.

A candidate's comparisons are ruled on in families, each corrected for multiple looks (Holm 1979):

- "checked": those that a gate checks, over all baselines, benchmarks and the reference run;
- "unchecked": all its others;
- "slices": all its slices, over all measures and baselines, as they are shown together;
- "disparities": all those of one model, over measures and pairs of groups;
- its win rates over all judges and baselines, whose intervals are Bonferroni's (`rule_on_rate`);
- "folds": all its comparisons over a plan's folds, which no gate checks.

So measures that nobody asked about do not dilute what a gate checks. The run's last phase stores each
ruling with its comparison. Screens, reports and alerts print the stored one. A limit adds severity, never
another test: "no worse" reads the same interval against the limit.

Standard library only: screens and reports use it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from engine.stats.family import DETECTABLE, FEWEST, LEVEL, among, examples_needed, holm, sign_test, widened

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
    def is_at_floor(self) -> bool:
        """Whether the baseline's value is the worst possible, so that nothing can be lost."""
        worst = {"higher": self.ends[0], "lower": self.ends[1]}.get(self.comparison.direction)
        return worst is not None and self.comparison.baseline_value == worst


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a comparison says.

    - better, worse; more or less of a measure without a better end: p and the interval rule chance out.
    - no worse: the interval holds no worsening beyond the plan's limit.
    - at the floor: the baseline's value is the worst possible, so that nothing can be lost.
    - inconclusive: chance can't be ruled out.
    - not tested: there is a difference and no interval. missing: there is no difference.

    `p` and the interval are corrected over the `size` comparisons of the `family`; None where not tested.
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
    tested = [place for place, item in enumerate(asked) if item.comparison.p is not None]
    p = [item.comparison.p for item in asked if item.comparison.p is not None]
    looks = dict(zip(tested, zip(holm(p), among(p), strict=True), strict=True))
    return [_ruling(item, family, len(p), looks.get(place)) for place, item in enumerate(asked)]


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


def _ruling(item: BoundedComparison, family: str, size: int, look: tuple[float, int] | None) -> Ruling:
    compared = item.comparison
    if compared.delta is None:
        return Ruling("missing", family, size)
    if look is None or compared.low is None or compared.high is None:
        at_floor = item.is_at_floor and not compared.delta
        return Ruling("at the floor" if at_floor else "not tested", family, size, look[0] if look else None)
    p, count = look
    low, high = widened(compared.delta, compared.low, compared.high, count)
    if item.reach is not None:
        low, high = max(low, -item.reach), min(high, item.reach)
    standing = _standing(item, p, low, high)
    needed = None
    if standing in ("inconclusive", "no worse"):
        error = (compared.smallest_detectable or 0.0) / DETECTABLE
        needed = examples_needed(error, compared.delta, compared.n, count)
    return Ruling(standing, family, size, p, low, high, needed)


def _standing(item: BoundedComparison, p: float, low: float, high: float) -> Standing:
    direction = item.comparison.direction
    if p <= LEVEL and (low > 0 or high < 0):
        if direction == "none":
            return "more" if low > 0 else "less"
        return "better" if (low > 0) == (direction == "higher") else "worse"
    if item.is_at_floor:
        return "at the floor"
    worst = high if direction == "lower" else -low
    if direction != "none" and item.allowed is not None and item.comparison.n >= FEWEST:
        return "no worse" if worst <= item.allowed + _ROUNDING else "inconclusive"
    return "inconclusive"
