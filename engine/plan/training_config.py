"""Training configs of axolotl, LLaMA-Factory and TRL (YAML or JSON), and the changes between two of them.

The files come from anywhere. They are read with a cap on their size, no object is ever made of a YAML tag,
aliases are walked under a cap on how much they may unfold to, and keys and tokens for services are dropped.
The tools name the same setting differently; here it has one name, so that another tool is not a change.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.data.textfile import open_error
from engine.errors import BadInput, is_secret

Value = str | int | float | bool | None

# The first of a group is how it is told; the others are what the three tools call it.
_NAMES = {
    "lr": ("learning_rate",),
    "epochs": ("num_epochs", "num_train_epochs"),
    "steps": ("max_steps",),
    "rank": ("lora_r", "lora_rank", "r", "peft_config.r"),
    "alpha": ("lora_alpha", "peft_config.lora_alpha"),
    "dropout": ("lora_dropout", "peft_config.lora_dropout"),
    "target modules": ("lora_target_modules", "lora_target", "target_modules", "peft_config.target_modules"),
    "batch size": ("micro_batch_size", "per_device_train_batch_size", "batch_size"),
    "accumulation": ("gradient_accumulation_steps",),
    "base model": ("base_model", "model_name_or_path", "model_name"),
    "data": ("datasets", "dataset", "dataset_name"),
    "length": ("sequence_len", "cutoff_len", "max_length", "max_seq_length"),
    "optimizer": ("optimizer", "optim"),
    "scheduler": ("lr_scheduler", "lr_scheduler_type"),
    "warmup steps": ("warmup_steps",),
    "warmup": ("warmup_ratio",),
    "weight decay": ("weight_decay",),
    "clipping": ("max_grad_norm",),
    "method": ("adapter", "finetuning_type"),
    "stage": ("stage", "rl"),
    "beta": ("dpo_beta", "rl_beta", "pref_beta", "beta"),
    "packing": ("sample_packing", "packing"),
    "NEFTune": ("neftune_noise_alpha", "neftune_alpha"),
    "seed": ("seed",),
}
_TOLD = {alias: name for name, aliases in _NAMES.items() for alias in aliases}
_ORDER = {name: place for place, name in enumerate(_NAMES)}
_WHERE = (
    "output_dir", "run_name", "logging_dir", "logging_steps", "report_to", "hub_model_id", "wandb_",
    "save_",
)  # fmt: skip
_UNSET = "not set"
MOST = 6  # changes that a sentence names


@dataclass(frozen=True, slots=True)
class TrainingChange:
    """One changed training setting; None: it was not set."""

    name: str
    before: Value
    after: Value

    @property
    def said(self) -> str:
        return f"{self.name} {written(self.before)} → {written(self.after)}"


def training_changes(before: Mapping[str, Value], after: Mapping[str, Value]) -> list[TrainingChange]:
    """The settings that differ, the weightiest first; where it writes and logs to is left out."""
    old, new = _named(before), _named(after)
    names = sorted(
        old.keys() | new.keys(), key=lambda name: (_ORDER.get(name.split(".")[0], len(_ORDER)), name)
    )
    found = (TrainingChange(name, old.get(name), new.get(name)) for name in names)
    return [change for change in found if not _same(change.before, change.after)]


def said(changes: Iterable[TrainingChange]) -> str:
    """The changes as one line; "nothing" without any."""
    found = list(changes)
    more = f" and {len(found) - MOST} more" if len(found) > MOST else ""
    return (", ".join(change.said for change in found[:MOST]) + more) or "nothing"


@dataclass(frozen=True, slots=True)
class Retrained:
    """How a candidate's training differs from a previous one's; `reason` says why that is unknown."""

    candidate: str
    changes: tuple[TrainingChange, ...] = ()
    reason: str | None = None

    @property
    def said(self) -> str:
        return f"not known: {self.reason}" if self.reason else said(self.changes)


def retrained(candidate: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Retrained:
    """Out of two models' details, as the store keeps them."""
    old, new = (before or {}).get("training"), (after or {}).get("training")
    if not old or not new:
        whose = "either run" if not old and not new else "the later run" if old else "the earlier run"
        return Retrained(candidate, reason=f"no training_config was given in {whose}")
    return Retrained(candidate, tuple(training_changes(old["values"], new["values"])))


def setting(details: Mapping[str, Any] | None, name: str) -> Value:
    """A training setting by its common name ("lr") of a model's details; None where none was recorded.

    An adapter tells its own rank.
    """
    known = details or {}
    if name == "rank" and (known.get("adapter") or {}).get("r") is not None:
        return _finite(known["adapter"]["r"])
    return _named((known.get("training") or {}).get("values") or {}).get(name)


def trained_with(details: Mapping[str, Any] | None) -> str:
    """What is known of a training that decides how much it forgets: "rank 64, 5 epochs"; "" for nothing."""
    known = {name: setting(details, name) for name in ("rank", "epochs", "lr", "NEFTune")}
    said = [f"{name} {written(known[name])}" for name in ("rank", "lr") if known[name] is not None]
    if known["epochs"] is not None:
        said.insert(
            min(len(said), 1), f"{written(known['epochs'])} epoch{'' if known['epochs'] == 1 else 's'}"
        )
    values = _named(((details or {}).get("training") or {}).get("values") or {})
    sets = {name.split(".")[1] for name in values if name.startswith("data.")}
    listed = values.get("data")
    count = len(sets) or (len(listed.split(",")) if isinstance(listed, str) and listed else 0)
    if count == 1:
        said.append("one data set, no replay named")
    if values and not known["NEFTune"]:
        said.append("no NEFTune")
    return ", ".join(said)


def written(value: Value) -> str:
    """A setting as people write it in a config: 0.0002 is 2e-4."""
    if value is None:
        return _UNSET
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _number(value) if isinstance(value, float) else str(value)


def _named(values: Mapping[str, Value]) -> dict[str, Value]:
    """The values under their common names; lists and tables keep the rest of the name."""
    found: dict[str, Value] = {}
    for key, value in values.items():
        if key.rpartition(".")[2].startswith(_WHERE):
            continue
        name = _TOLD.get(key)
        if name is None:
            first, dot, rest = key.partition(".")
            name = f"{_TOLD[first]}{dot}{rest}" if first in _TOLD else key
        found.setdefault(name, _modules(value) if name == "target modules" else value)
    return found


def _modules(value: Value) -> Value:
    """Names of modules in one order, however the tool lists them."""
    return ", ".join(sorted(part.strip() for part in value.split(","))) if isinstance(value, str) else value


def _same(before: Value, after: Value) -> bool:
    if isinstance(before, int | float) and isinstance(after, int | float):
        return math.isclose(before, after, rel_tol=1e-12) and isinstance(before, bool) == isinstance(
            after, bool
        )
    return before == after


def _number(value: float) -> str:
    """3.0 is 3."""
    if not math.isfinite(value) or (abs(value) >= 0.001 and abs(value) < 1e6) or value == 0:
        return f"{value:g}"
    mantissa, _, exponent = f"{value:e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}"


MAX_BYTES = 256 << 10
MAX_VALUES = 5_000  # after unfolding; a training config has some dozens
MAX_DEPTH = 30
MAX_TEXT = 2_000  # characters of one value
_WAY_OUT = "name the config that the training was started with: YAML or JSON of axolotl, LLaMA-Factory or TRL"
_SECRET_KEY = re.compile(
    r"(?:^|[_.-])(?:(?:api|access|private|secret|auth|wandb|comet|ssh)_?key|secrets?|passw(?:or)?d|credentials?"
    r"|authorization|headers?|token)(?:$|\.)",
    re.IGNORECASE,
)
# Tokens of a vocabulary, which are no secrets.
_VOCABULARY = re.compile(
    r"(?:^|[_.])(?:pad|eos|bos|unk|sep|cls|mask|image|video|audio|special|stop|end|start|boundary|think\w*)_token$",
    re.IGNORECASE,
)
_LOGIN = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
_MERGE = "<<"
_YAML = "tag:yaml.org,2002:"
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """A training's settings; `sha256` is that of the values, so that neither order nor comments count."""

    file: str
    sha256: str
    values: dict[str, Value]

    def as_details(self) -> dict[str, Any]:
        """As the store keeps it with the model."""
        return {"file": self.file, "sha256": self.sha256, "values": self.values}


def read_training_config(path: Path) -> TrainingConfig:
    """Raises BadInput, naming the file and where there is one the line, for what is no training config."""
    text = _text(path)
    root = _parse_json(path, text) if _is_json(path, text) else _parse_yaml(path, text)
    values = {key: value for key, value in _flat(path, root) if not _is_private(key, value)}
    if not values:
        raise BadInput(f"{path}: holds no settings", _WAY_OUT)
    written = json.dumps(values, sort_keys=True, ensure_ascii=True)
    return TrainingConfig(path.name, hashlib.sha256(written.encode()).hexdigest(), values)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise open_error(path, error) from error
    if len(raw) > MAX_BYTES:
        raise BadInput(
            f"{path}: is larger than {MAX_BYTES >> 10} KiB, too large for a training config", _WAY_OUT
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: is not UTF-8 text (byte {error.start + 1})", _WAY_OUT) from error


def _is_json(path: Path, text: str) -> bool:
    return path.suffix == ".json" or text.lstrip()[:1] == "{"


def _parse_json(path: Path, text: str) -> Any:
    try:
        return _settings(path, json.loads(text, parse_int=_json_int))
    except json.JSONDecodeError as error:
        raise BadInput(f"{path}:{error.lineno}: is not JSON: {error.msg}", _WAY_OUT) from error
    except RecursionError as error:
        raise _too_deep(path) from error


def _json_int(text: str) -> int | str:
    return int(text) if len(text) <= 30 else text[:30]


def _parse_yaml(path: Path, text: str) -> Any:
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise BadInput(f"{path}{line}: is not YAML: {error.problem or error.context}", _WAY_OUT) from error
    except yaml.YAMLError as error:
        raise BadInput(f"{path}: is not YAML: {_first_line(error)}", _WAY_OUT) from error
    except RecursionError as error:
        raise _too_deep(path) from error
    return _settings(path, node)


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0]


def _settings(path: Path, root: Any) -> Any:
    """The top of the file. Raises BadInput where it is no table."""
    if isinstance(root, dict) or getattr(root, "id", "") == "mapping":
        return root
    raise BadInput(f"{path}: is not a table of settings", _WAY_OUT)


def _too_deep(path: Path) -> BadInput:
    return BadInput(f"{path}: is nested too deeply to be a training config", _WAY_OUT)


def _flat(path: Path, root: Any) -> Iterator[tuple[str, Value]]:
    """Every setting under its dotted key; a list of plain values is one, its parts joined by commas.

    Of a repeated key the last counts, as with the tools' own readers; a value from a YAML merge (`<<`)
    counts where the table itself has none. Raises BadInput for what unfolds to too much.
    """
    found: dict[str, Value] = {}
    todo: list[tuple[str, Any, int, bool]] = [("", root, 0, False)]
    seen = 0
    while todo:
        key, value, depth, merges = todo.pop()
        items = _items(value)
        seen += 1
        if items is not None and _is_list(value) and not merges and not any(map(_holds_more, items)):
            seen += len(items)
            found.setdefault(key, ", ".join(_joined(_scalar(item)) for _, item in items)[:MAX_TEXT])
        elif items is None:
            found.setdefault(key, _scalar(value))
        else:
            # Merges are looked at last, and the last of two alike first: setdefault then keeps the right one.
            for name, item in sorted(items, key=lambda pair: pair[0] != _MERGE):
                merged = name == _MERGE or (merges and _is_list(value))
                todo.append((key if merged else _under(key, name), item, depth + 1, merged))
        if seen + len(todo) > MAX_VALUES:
            raise BadInput(f"{path}: expands to more than {MAX_VALUES:,} values", _WAY_OUT)
        if depth > MAX_DEPTH:
            raise _too_deep(path)
    yield from sorted(found.items())


def _under(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _joined(value: Value) -> str:
    return "" if value is None else str(value)


def _holds_more(item: tuple[str, Any]) -> bool:
    return _items(item[1]) is not None


def _is_list(value: Any) -> bool:
    return isinstance(value, list) or getattr(value, "id", "") == "sequence"


def _items(value: Any) -> list[tuple[str, Any]] | None:
    """The items of a table or a list, JSON's or YAML's; None for a plain value."""
    if isinstance(value, dict):
        return [(str(name)[:MAX_TEXT], item) for name, item in value.items()]
    if isinstance(value, list):
        return [(str(place), item) for place, item in enumerate(value)]
    kind = getattr(value, "id", "")
    if kind == "mapping":
        return [(_name(name), item) for name, item in value.value]
    if kind == "sequence":
        return [(str(place), item) for place, item in enumerate(value.value)]
    return None


def _name(node: Any) -> str:
    return str(node.value)[:MAX_TEXT] if node.id == "scalar" else "?"


def _scalar(value: Any) -> Value:
    """A plain value: numbers as numbers, also those that YAML 1.1 takes for text (2e-4)."""
    if getattr(value, "id", "") == "scalar":
        return _yaml_scalar(str(value.value), value.tag.removeprefix(_YAML))
    if isinstance(value, str):
        return _plain_text(value)
    return _finite(value)


def _yaml_scalar(text: str, tag: str) -> Value:
    if tag == "null":
        return None
    if tag == "bool":
        return text.lower() in ("yes", "true", "on")
    return _plain_text(text.replace("_", "") if tag in ("int", "float") else text)


def _plain_text(text: str) -> Value:
    short = text.strip()
    if len(short) <= 30 and _NUMBER.fullmatch(short):
        return int(short) if short.lstrip("+-").isdecimal() else _finite(float(short))
    return text[:MAX_TEXT]


def _finite(value: Any) -> Value:
    """JSON's numbers as they are; what no JSON holds as the word for it."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)[:MAX_TEXT]


def _is_private(key: str, value: Value) -> bool:
    """Whether it is a key or token for a service, by its name or by its look."""
    if isinstance(value, str) and (is_secret(value) or _LOGIN.search(value)):
        return True
    if _VOCABULARY.search(key) or isinstance(value, bool) or value is None:
        return False
    return _SECRET_KEY.search(key) is not None
