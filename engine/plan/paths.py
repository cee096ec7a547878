"""The paths in a plan: relative to the plan's file, and existing when the plan is read.

Each function is a pydantic validator. A table built in code, without a Context, keeps its paths as given.
"""

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from engine.data.files import is_dataset, is_hub
from engine.data.textfile import read_text
from engine.errors import BadInput, is_secret
from engine.plan.errors import found

# These replace or lengthen the input instead of changing layers, so they cannot share a base with others.
_PROMPT_LEARNING = {
    "PROMPT_TUNING",
    "MULTITASK_PROMPT_TUNING",
    "P_TUNING",
    "PREFIX_TUNING",
    "ADAPTION_PROMPT",
    "CARTRIDGE",
    "CPT",
    "XLORA",
}


_SAYS_LITTLE = re.compile(
    r"checkpoint-?\d*|final|last|best|outputs?|out|adapters?|lora|peft|models?|merged", re.IGNORECASE
)


def says_little(name: str) -> bool:
    """Whether a folder is called what any training run's would be: the one above it tells whose it is."""
    return _SAYS_LITTLE.fullmatch(name) is not None


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file; BadInput when it cannot be read or holds something else."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BadInput(f"{file}: is not valid JSON: {error}", "Copy the file again.") from error
    if not isinstance(value, dict):
        raise BadInput(f"{file}: holds no JSON object.", "Copy the file again.")
    return value


def read_adapter_config(adapter: Path) -> dict[str, Any]:
    """The adapter's configuration. Raises BadInput when the folder is no adapter that can be attached."""
    if not adapter.is_dir():
        raise BadInput(
            f"{adapter}: no such adapter folder.", "Give the folder that PEFT's save_pretrained() wrote."
        )
    file = adapter / "adapter_config.json"
    if not file.is_file():
        other = " It is a full model: name it under `path`." if (adapter / "config.json").is_file() else ""
        if inner := sorted(file.parent.name for file in adapter.glob("*/adapter_config.json")):
            other = (
                f" It has adapters in it: name one of {', '.join(inner[:5])}, or all of them with `sweep`."
            )
        raise BadInput(
            f"{adapter}: is not an adapter: it has no adapter_config.json.{other}",
            "Give the folder that PEFT's save_pretrained() wrote.",
        )
    config = read_json(file)
    kind = str(config.get("peft_type") or "").upper()
    if not kind:
        raise BadInput(f"{file}: names no `peft_type`.", "Save the adapter again with PEFT.")
    if kind in _PROMPT_LEARNING:
        raise BadInput(
            f"{adapter}: adapters of the kind {kind} cannot share a base with other models.",
            "Serve it, and name the server in the plan.",
        )
    return config


HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_TEXT_FILES = (".md", ".txt", ".jinja", ".j2")


@dataclass(frozen=True, slots=True)
class Context:
    """Where a plan's relative paths start."""

    folder: Path


def _absolute(value: str, info: ValidationInfo) -> Path | None:
    """The path that a text names, or None where nothing is to be resolved."""
    if not isinstance(info.context, Context):
        return None
    if not value.strip() or "\0" in value:
        raise ValueError("must name a file or folder")
    try:
        return info.context.folder / Path(value).expanduser()
    except RuntimeError as error:
        raise ValueError(f'"{value}": there is no such home folder') from error


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def existing(value: Any, info: ValidationInfo) -> Any:
    """A file or folder that is there."""
    path = _absolute(value, info) if isinstance(value, str) else None
    if path is None:
        return value
    if not _is_there(path):
        raise ValueError(f"no such file: {path}{_neighbour(path)}")
    return path


def dataset(value: Any, info: ValidationInfo) -> Any:
    """A file or folder that is there, one split of a folder, or a data set of the hub."""
    if not isinstance(value, str) or not isinstance(info.context, Context):
        return value
    if is_hub(Path(value)):
        return Path(value)
    path = _absolute(value, info)
    return path if path is not None and is_dataset(path) else existing(value, info)


def existing_file(value: Any, info: ValidationInfo) -> Any:
    """A file that is there."""
    path = existing(value, info)
    if isinstance(info.context, Context) and isinstance(path, Path) and path.is_dir():
        raise ValueError(f"is a folder, where a file was expected: {path}")
    return path


def existing_folder(value: Any, info: ValidationInfo) -> Any:
    """A folder that is there."""
    path = _absolute(value, info) if isinstance(value, str) else None
    if path is None:
        return value
    if not _is_there(path):
        raise ValueError(f"no such folder: {path}{_neighbour(path)}")
    if not path.is_dir():
        raise ValueError(f"is a file, where a folder was expected: {path}")
    return path


def own_folder(value: Any, info: ValidationInfo) -> Any:
    """A folder to write into, which need not be there yet."""
    path = _absolute(value, info) if isinstance(value, str) else None
    if path is not None and _is_there(path) and not path.is_dir():
        raise ValueError(f"is a file, where a folder was expected: {path}")
    return value if path is None else path


def adapter_path(value: Any, info: ValidationInfo) -> Any:
    """An adapter's folder, or a hub id ("organisation/name") as it stands: the one relative path."""
    path = _absolute(value, info) if isinstance(value, str) else None
    # A first part that is a folder here is a misspelt path.
    if path is not None and value.count("/") == 1 and HUB_ID.fullmatch(value) and not _is_there(path.parent):
        return Path(value)
    return existing_folder(value, info)


def model_path(value: Any, info: ValidationInfo) -> Any:
    """A model's folder or GGUF file as an absolute path, or a hub id ("name" or "organisation/name")."""
    path = _absolute(value, info) if isinstance(value, str) else None
    if path is None:
        return value
    if _is_there(path):
        return _model_folder(path)
    if value.startswith((".", "~", "/")) or value.count("/") > 1:
        raise ValueError(f"no such folder: {path}{_neighbour(path)}")
    if not HUB_ID.fullmatch(value):
        raise ValueError(
            f'"{value}" is neither a folder that exists nor a hub id such as "organisation/name"'
        )
    if value.casefold().endswith(".gguf"):
        raise ValueError(f"no such file: {path}{_neighbour(path)}")
    return value


def _model_folder(path: Path) -> str:
    if not path.is_dir():
        if path.suffix.casefold() == ".gguf":
            return str(path)
        raise ValueError(f"is a file, where a model's folder or GGUF file was expected: {path}")
    if not (path / "config.json").is_file():
        if (path / "adapter_config.json").is_file():
            raise ValueError(
                f"is an adapter: name its base model in path, and this folder in adapter: {path}"
            )
        raise ValueError(
            f"is not a model: there is no config.json in {path}; give the folder that save_pretrained() wrote"
        )
    return str(path)


def text_or_file(value: Any, info: ValidationInfo) -> Any:
    """A text as it stands, or the content of the file that it names."""
    # A prompt of several lines, or longer than any file name, is no path.
    if not isinstance(value, str) or "\n" in value or len(value) > 1000:
        return value
    path = _absolute(value, info)
    if path is None:
        return value
    if _is_there(path) and path.is_file():
        try:
            return read_text(path).strip("\n")
        except BadInput as error:
            raise ValueError(error.message) from error
    if value.lower().endswith(_TEXT_FILES):
        raise ValueError(f"no such file: {path}{_neighbour(path)}")
    return value


def metric_name(value: Any, info: ValidationInfo) -> Any:
    """A metric's name; the file in one such as "my_metrics.py:polite" is there, and made absolute."""
    path, colon, attribute = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not colon or not path.endswith(".py"):
        return value
    file = existing_file(path, info)
    if not isinstance(file, Path) or not isinstance(info.context, Context):
        return value
    if not file.resolve().is_relative_to(info.context.folder.resolve()):
        raise ValueError(
            f"is outside the plan's folder, from which alone its code is run; copy it there: {file}"
        )
    return f"{file}:{attribute}"


def metric_settings(value: Any, info: ValidationInfo) -> Any:
    """Metric settings with the paths in `schema` and `model` made absolute; a schema may also be a table."""
    if not isinstance(value, dict) or not isinstance(info.context, Context):
        return value
    problems: list[str] = []
    settings = {}
    for name, table in value.items():
        try:
            metric = metric_name(name, info)
        except ValueError:  # said once, where `use` names it
            continue
        settings[metric] = table
        for key, resolve in (("schema", existing_file), ("model", model_path)):
            if isinstance(table, dict) and isinstance(table.get(key), str):
                try:
                    settings[metric] = {**settings[metric], key: str(resolve(table[key], info))}
                except ValueError as error:
                    problems.append(f"{metric}.{key}: {error}")
    if problems:
        raise ValueError("; ".join(problems))
    return settings


_SECRET_NAME = re.compile(r"key|token|secret|sig|pass|pwd|auth|cred|code", re.IGNORECASE)


def server_url(value: Any) -> Any:
    """The address of an OpenAI-compatible server, without a password or a key in it."""
    if not isinstance(value, str):
        return value
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"is not an address: {error}") from error
    if "@" in value:
        raise ValueError("must not hold a user or password: a plan is stored with every run; use api_key_env")
    plain = unquote(value)
    if is_secret(plain) or any(map(_SECRET_NAME.search, re.findall(r"[?&;#]([^=&;#]+)", plain))):
        raise ValueError("must not hold a key: a plan is stored with every run; use api_key_env")
    if parts.scheme not in {"http", "https"} or not host or re.search(r"\s", value):
        raise ValueError(f'found {found(value)}; allowed: an address such as "http://localhost:8000/v1"')
    return value


def _neighbour(path: Path) -> str:
    """The nearest name beside the first part of the path that is missing, as a question, or nothing."""
    parent = path.parent
    while not _is_there(parent):
        path, parent = parent, parent.parent
    if not parent.is_dir():
        return f" ({parent} is a file)"
    close = difflib.get_close_matches(path.name, _names(parent), n=1)
    return f' (did you mean "{close[0]}"?)' if close else ""


def _names(folder: Path) -> Iterable[str]:
    try:
        return [item.name for item in folder.iterdir()]
    except OSError:
        return []


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
File = Annotated[Path, BeforeValidator(existing_file)]
FileOrFolder = Annotated[Path, BeforeValidator(existing)]
Dataset = Annotated[Path, BeforeValidator(dataset)]
Folder = Annotated[Path, BeforeValidator(existing_folder)]
Adapter = Annotated[Path, BeforeValidator(adapter_path)]
Count = Annotated[int, Field(strict=True, ge=1)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
Fraction = Annotated[float, Field(strict=True, ge=0, le=1)]
Seconds = Annotated[float, Field(strict=True, gt=0, le=86_400)]
Temperature = Annotated[float, Field(strict=True, ge=0, le=10)]
Flag = Annotated[bool, Field(strict=True)]
Url = Annotated[str, BeforeValidator(server_url)]


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())
