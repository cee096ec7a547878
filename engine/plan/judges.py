"""What a plan may say about its judges."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from engine.plan import paths as paths
from engine.plan.errors import listed
from engine.plan.rubric import BUILT_IN
from engine.plan.types import (
    Count,
    EnvironmentName,
    File,
    FileOrFolder,
    Flag,
    Name,
    Seconds,
    Seed,
    Table,
    Temperature,
    Url,
)


def _rubric(value: Any, info: ValidationInfo) -> Any:
    """A built-in rubric's name as it stands, else the file of one."""
    if isinstance(value, str) and value in BUILT_IN:
        return value
    try:
        return paths.existing_file(value, info)
    except ValueError as error:
        raise ValueError(f"{error}; a built-in rubric is one of {listed(BUILT_IN)}") from None


class Judge(Table):
    """Who grades: a model on an OpenAI-compatible server or (`local`) on this machine, or the embedded rule.

    `kind`: pairs of responses in both orders, or each response alone ("pointwise"), on a `scale` or by a
    rubric. `rubric` is a file or a built-in one's name, `prompt` a user template or a folder of templates.
    `sample` is the most examples that this judge sees, `max_calls` the most questions that it is put: seeded
    samples both. `stop_early` ends judging when the verdict on the gate is settled. `format`: what kind of
    model is asked ("chat": any that follows instructions). `constant_probe`: on how many examples an empty
    boast is put up as a candidate, to see whether the judge falls for it. `batch`: by the provider's batch
    API, at half the price and within a day (without the cache: as usual).
    """

    name: Name
    kind: Literal["pairwise", "pointwise"] = "pairwise"
    server: Url | None = None
    local: Annotated[str, BeforeValidator(paths.model_path)] | None = None
    model: Name | None = None
    api_key_env: EnvironmentName | None = None
    format: Literal["chat", "prometheus", "judgelm", "mt-bench"] = "chat"
    scale: Literal["1-10", "1-5"] = "1-10"
    rubric: Annotated[Path | str, BeforeValidator(_rubric)] | None = None
    prompt: FileOrFolder | None = None
    use_references: Flag = True
    sample: Count | None = None
    max_calls: Count | None = None
    stop_early: Flag = False
    constant_probe: Count | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    batch: Flag = False
    concurrency: Count = 8
    max_tokens: Count = 1024
    timeout_s: Seconds = 60.0
    retries: Annotated[int, Field(strict=True, ge=0, le=20)] = 4
    seed: Seed = 0
    temperature: Temperature = 0.0
    embedded: Flag = False

    @model_validator(mode="before")
    @classmethod
    def _reference_needs_no_server(cls, table: Any) -> Any:
        if (
            isinstance(table, dict)
            and table.get("name") == "reference"
            and not {"server", "local"} & table.keys()
        ):
            return {**table, "embedded": True}
        return table

    @property
    def by_turn(self) -> bool:
        """Whether conversations are judged turn by turn alone, and count with the mean of their turns."""
        return self.format == "mt-bench"

    @property
    def grades(self) -> tuple[int, int]:
        """The lowest and the highest score of a pointwise judge without a rubric."""
        return (1, 5) if self.scale == "1-5" else (1, 10)


class Judging(Table):
    """What concerns all judges of a run together.

    `max_cost`: US dollars, at which the run pauses; `prices` a file of prices instead of the one that comes
    along. `all_pairs`: candidates play each other too, not the baselines alone. `cascade`: names of judges of
    pairs, the cheapest first; each next one sees only what the one before is not sure of. `panel`: whether
    several judges also speak as one (None: when there are several of a kind).
    """

    max_cost: Annotated[float, Field(strict=True, gt=0)] | None = None
    prices: File | None = None
    all_pairs: Flag = False
    cascade: tuple[Name, ...] = ()
    panel: Flag | None = None
