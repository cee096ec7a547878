"""Rubrics: TOML files with a judge's criteria, and the built-in ones."""

import tomllib
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from engine.errors import BadInput
from engine.plan.errors import bad_plan, listed, nearest, unknown_keys, validation_problems

_FOLDER = Path(__file__).parents[1] / "judges" / "rubrics"
BUILT_IN = tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))
_COMMON_SCALE = (1, 10)
_PRODUCT_SCALE = (0, 1)
Better = Literal["higher", "lower", "none"]


class _Keys(BaseModel):
    """`better` is the end of the scale that a higher quality is at."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    better: Better = "higher"

    @model_serializer(mode="wrap")
    def _what_is_asked(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Judges are known by a hash of this. Which end is better decides no grade, nor does what is not set.
        return {
            key: value
            for key, value in handler(self).items()
            if key != "better" and (key, value) != ("requires", None)
        }


class Criterion(_Keys):
    """One thing to grade, on a scale from `min` to `max`; `levels` describes grades, keyed by the grade.

    `requires`: the end of the scale at which the rubric's total counts in full; at the other end it is 0.
    """

    name: str = Field(min_length=1)
    description: str = Field(min_length=1)
    min: int = 1
    max: int = 10
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    levels: dict[int, str] = {}
    requires: Literal["min", "max"] | None = None

    @property
    def scale(self) -> tuple[int, int]:
        return self.min, self.max

    def share(self, grade: float) -> float:
        """How far up the scale a grade is, 0 to 1."""
        return (grade - self.min) / (self.max - self.min)

    @model_validator(mode="after")
    def _scale(self) -> Self:
        if self.min >= self.max:
            raise ValueError(f"min is {self.min}; allowed: less than max, which is {self.max}")
        outside = [str(level) for level in self.levels if not self.min <= level <= self.max]
        if outside:
            raise ValueError(
                f"levels has {', '.join(outside)}; allowed: grades from {self.min} to {self.max}"
            )
        return self


class Rubric(_Keys):
    """Criteria in the order of the file; their weights need not add up to anything.

    `needs`: what an example must have to be judged by it; without that, it is not judged: a reference, a
    source, a label that says harmful, or right answers beside wrong ones. `combine`: the total is the
    weighted mean of the grades, or their sum where they are parts of it. Where criteria are required, the
    total is 0 to 1: their shares times the mean of the others'.
    """

    criteria: tuple[Criterion, ...] = Field(min_length=1)
    needs: Literal["reference", "source", "harmful", "answers"] | None = None
    combine: Literal["mean", "sum"] = "mean"

    @model_validator(mode="after")
    def _unique(self) -> Self:
        names = [criterion.name for criterion in self.criteria]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two criteria are named {', '.join(twice)}; each needs a name of its own")
        if self.combine == "sum" and any(criterion.weight != 1 for criterion in self.criteria):
            raise ValueError(
                'weight does not apply with combine = "sum"; the largest grade of each part tells'
            )
        if self.combine == "sum" and self._required:
            raise ValueError('requires does not apply with combine = "sum", whose parts are added up')
        if len(self._required) == len(self.criteria):
            raise ValueError("every criterion has requires; one at least must be without it")
        return self

    @property
    def _required(self) -> list[Criterion]:
        return [criterion for criterion in self.criteria if criterion.requires]

    @property
    def compares(self) -> bool:
        """Whether the better of two responses follows from it."""
        return self.better == "higher" and not self._required

    @property
    def directions(self) -> dict[str, Better]:
        """Where the better end is, if not the higher: by criterion, and of the total by the name ""."""
        named = {"": self.better, **{each.name: each.better for each in self.criteria}}
        return {name: better for name, better in named.items() if better != "higher"}

    @property
    def scale(self) -> tuple[int, int]:
        """The scale of the total: that of the sum; the criteria's own where they share one, else 1 to 10."""
        if self.combine == "sum":
            return sum(each.min for each in self.criteria), sum(each.max for each in self.criteria)
        if self._required:
            return _PRODUCT_SCALE
        scales = {criterion.scale for criterion in self.criteria}
        return scales.pop() if len(scales) == 1 else _COMMON_SCALE

    def total(self, grades: Mapping[str, float]) -> float:
        """The sum of the grades, or their mean by weight, each brought to the total's scale first.

        With required criteria: the mean of the others, times how far each required one is met.
        """
        if self.combine == "sum":
            return sum(grades[criterion.name] for criterion in self.criteria)
        low, high = self.scale
        required = [
            share if each.requires == "max" else 1 - share
            for each in self._required
            for share in [each.share(grades[each.name])]
        ]
        others = [each for each in self.criteria if not each.requires]
        weights = sum(each.weight for each in others)
        share = sum(each.weight * each.share(grades[each.name]) for each in others)
        return low + (high - low) * prod(required) * share / weights


def find_rubric(name: str | Path) -> Rubric:
    """The rubric in a file, or the built-in one of that name. Raises BadInput when there is none."""
    if isinstance(name, Path):
        return read_rubric(name)
    if name not in BUILT_IN:
        hint = f"allowed: the path of a TOML file, or {listed(BUILT_IN)}"
        raise BadInput(f"there is no rubric {name!r}{nearest(name, BUILT_IN)}", hint)
    return read_rubric(_FOLDER / f"{name}.toml")


def read_rubric(path: Path) -> Rubric:
    """The rubric in a TOML file. Raises BadInput, naming file and key, when it is not one."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path}: the rubric cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: the rubric is not TOML: {error}") from error
    problems = unknown_keys(raw, {"": Rubric.model_fields, "criteria": Criterion.model_fields})
    try:
        rubric = Rubric.model_validate(raw)
    except ValidationError as error:
        raise bad_plan(str(path), problems + validation_problems(raw, error)) from None
    return rubric
