"""Candidates against baselines."""

from dataclasses import dataclass
from typing import Annotated

from store.records.columns import KEY, Record, Refers


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredComparison(Record):
    """Candidate against baseline on one measure, paired on the examples both have."""

    candidate_id: Annotated[int, KEY, Refers("model", "CASCADE")]
    baseline_id: Annotated[int, KEY, Refers("model")]
    kind: Annotated[str, KEY]  # metric benchmark
    measure: Annotated[str, KEY]
    direction: str
    candidate_value: float | None = None
    baseline_value: float | None = None
    delta: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    n: int = 0
    smallest_detectable: float | None = None
    reason: str | None = None
    # What the comparison says: the ruling of engine.compare.ruling.
    standing: str
    family: str
    family_size: int
    p_corrected: float | None = None
    low_corrected: float | None = None
    high_corrected: float | None = None
    needed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceComparison(Record):
    """Candidate against baseline on one measure over one slice."""

    candidate_id: Annotated[int, KEY, Refers("model", "CASCADE")]
    baseline_id: Annotated[int, KEY, Refers("model")]
    measure: Annotated[str, KEY]
    slice: Annotated[str, KEY]
    direction: str
    candidate_value: float | None = None
    baseline_value: float | None = None
    delta: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None  # corrected over the family
    n: int = 0
    reason: str | None = None
    # What the comparison says: the ruling of engine.compare.ruling.
    standing: str
    family: str
    family_size: int
    low_corrected: float | None = None
    high_corrected: float | None = None
    needed: int | None = None
