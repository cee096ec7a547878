"""The slices of a run's examples on which its candidates changed, and groups of people treated unequally."""

from collections.abc import Sequence
from dataclasses import dataclass

from store.read.slices import DisparityRow, SliceRow, SliceScoreRow, worst


@dataclass(frozen=True, slots=True)
class SlicesSection:
    """`rows` begin with those that are clearly worse."""

    rows: Sequence[SliceRow]
    scores: Sequence[SliceScoreRow]
    disparities: Sequence[DisparityRow]

    @property
    def worse(self) -> int:
        return sum(row.standing == "worse" for row in self.rows)

    def worst(self, count: int) -> list[SliceRow]:
        return worst(self.rows, count)
