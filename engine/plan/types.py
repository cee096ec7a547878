"""The value types of a plan's tables."""

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from engine.plan import paths as paths
from engine.plan.errors import is_secret


def _printable(value: Any) -> Any:
    if isinstance(value, str) and not (value.strip() and value.isprintable()):
        raise ValueError("must be a text of one line, not empty, without control characters")
    return value


def _environment_name(value: Any) -> Any:
    if isinstance(value, str) and (is_secret(value) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value)):
        raise ValueError('must be the name of an environment variable, such as "OPENAI_API_KEY"')
    return value


Name = Annotated[str, Field(max_length=200), BeforeValidator(_printable)]
EnvironmentName = Annotated[str, BeforeValidator(_environment_name)]
File = Annotated[Path, BeforeValidator(paths.existing_file)]
FileOrFolder = Annotated[Path, BeforeValidator(paths.existing)]
Dataset = Annotated[Path, BeforeValidator(paths.dataset)]
Folder = Annotated[Path, BeforeValidator(paths.existing_folder)]
Count = Annotated[int, Field(strict=True, ge=1)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
Fraction = Annotated[float, Field(strict=True, ge=0, le=1)]
Seconds = Annotated[float, Field(strict=True, gt=0, le=86_400)]
Temperature = Annotated[float, Field(strict=True, ge=0, le=10)]
Flag = Annotated[bool, Field(strict=True)]
Url = Annotated[str, BeforeValidator(paths.server_url)]


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())
