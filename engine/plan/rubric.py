"""Rubrics: TOML files with a judge's criteria, and the built-in ones."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engine.errors import BadInput
from engine.plan.errors import bad_plan, listed, nearest, unknown_keys, validation_problems

_FOLDER = Path(__file__).parents[1] / "judges" / "rubrics"
BUILT_IN = tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))
_COMMON_SCALE = (1, 10)


class Criterion(BaseModel):
    """One thing to grade, on a scale from `min` to `max`; `levels` describes grades, keyed by the grade."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    description: str = Field(min_length=1)
    min: int = 1
    max: int = 10
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    levels: dict[int, str] = {}

    @property
    def scale(self) -> tuple[int, int]:
        return self.min, self.max

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


class Rubric(BaseModel):
    """Criteria in the order of the file; their weights need not add up to anything.

    `needs`: what an example must have to be judged by it; without that, it is not judged. `combine`: the
    total is the weighted mean of the grades, or their sum where they are parts of it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    criteria: tuple[Criterion, ...] = Field(min_length=1)
    needs: Literal["reference", "source"] | None = None
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
        return self

    @property
    def scale(self) -> tuple[int, int]:
        """The scale of the total: that of the sum; the criteria's own where they share one, else 1 to 10."""
        if self.combine == "sum":
            return sum(each.min for each in self.criteria), sum(each.max for each in self.criteria)
        scales = {criterion.scale for criterion in self.criteria}
        return scales.pop() if len(scales) == 1 else _COMMON_SCALE

    def total(self, grades: Mapping[str, float]) -> float:
        """The sum of the grades, or their mean by weight, each brought to the total's scale first."""
        if self.combine == "sum":
            return sum(grades[criterion.name] for criterion in self.criteria)
        low, high = self.scale
        weights = sum(criterion.weight for criterion in self.criteria)
        share = sum(
            criterion.weight * (grades[criterion.name] - criterion.min) / (criterion.max - criterion.min)
            for criterion in self.criteria
        )
        return low + (high - low) * share / weights


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
