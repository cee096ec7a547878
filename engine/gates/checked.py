"""A comparison checked against the limits of a gate, and the limit that it exceeded."""

import math
from dataclasses import dataclass
from typing import Literal

from engine.compare.comparison import Comparison
from engine.compare.ruling import Ruling
from store.records.alert import Severity


@dataclass(frozen=True, slots=True)
class DropLimits:
    """The largest drop that is allowed, and the largest without a warning; None: no limit.

    In the measure's unit, or as a share of the baseline's value when `relative`.
    """

    critical: float | None
    warning: float | None
    relative: bool

    def amount(self, value: float) -> str:
        if self.relative:
            return f"{100 * value:,.0f}%" if abs(value) >= 10 else f"{100 * value:.3g}%"
        return f"{value:.3f}".rstrip("0").rstrip(".")

    def said(self, severity: Severity) -> str:
        if self.critical is None:
            return f"The plan warns above {self.amount(self.warning or 0.0)}."
        if severity == "warning" and self.warning is not None:
            warning, critical = self.amount(self.warning), self.amount(self.critical)
            return f"The plan warns above {warning} and fails above {critical}."
        return f"The plan allows at most {self.amount(self.critical)}."


@dataclass(frozen=True, slots=True)
class CheckedComparison:
    """A comparison checked against the limits of a gate.

    `way` is what counts as a drop: "worse" by the measure's direction, "more" for a value that should not
    rise, "either" for a drift of what has no better end. Without an interval a drop is a warning, or a note
    where the plan did not ask for this limit (`asked` False). `ends` are those of the measure's
    range, None where one is open.
    """

    kind: str
    comparison: Comparison
    limits: DropLimits
    way: Literal["worse", "more", "either"] = "worse"
    asked: bool = True
    ends: tuple[float | None, float | None] = (None, None)

    @property
    def drop(self) -> float | None:
        """How much worse the candidate is, in the limits' terms; None where the two don't compare."""
        worsening = self._worsening
        if worsening is None or not self.limits.relative:
            return worsening
        baseline = abs(self.comparison.baseline_value or 0.0)
        if baseline == 0:
            return math.copysign(math.inf, worsening) if worsening else 0.0
        return worsening / baseline

    @property
    def limit(self) -> float:
        """The limit that decides, in the measure's unit."""
        limits = self.limits
        limit = limits.critical if limits.critical is not None else limits.warning or 0.0
        return limit * abs(self.comparison.baseline_value or 0.0) if limits.relative else limit

    @property
    def allowed(self) -> float | None:
        """The largest worsening within the limit, in the measure's unit; None for drifts."""
        return self.limit if self.way == "worse" and self.asked else None

    @property
    def ruling(self) -> Ruling:
        """Raises ValueError for a comparison that was not ruled on."""
        if self.comparison.ruling is None:
            raise ValueError(f"no ruling on {self.comparison.measure}")
        return self.comparison.ruling

    @property
    def _worsening(self) -> float | None:
        delta = self.comparison.delta
        if delta is None or self.way == "worse":
            return self.comparison.worsening
        return abs(delta) if self.way == "either" else delta


@dataclass(frozen=True, slots=True)
class ExceededLimit:
    """A checked comparison that dropped beyond a limit."""

    checked: CheckedComparison
    severity: Severity  # of the limit

    @property
    def ruling(self) -> Ruling:
        return self.checked.ruling
