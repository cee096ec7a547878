"""What changed between two trainings, in words: "lr 2e-4 → 1e-4, epochs 3 → 5".

Works on the flat values that `engine.plan.training_config` reads. axolotl, LLaMA-Factory and TRL name the
same thing differently; here it has one name, so that a change of tool alone is no change.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

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
    "seed": ("seed",),
}
_TOLD = {alias: name for name, aliases in _NAMES.items() for alias in aliases}
_ORDER = {name: place for place, name in enumerate(_NAMES)}
_WHERE = (
    "output_dir",
    "run_name",
    "logging_dir",
    "logging_steps",
    "report_to",
    "hub_model_id",
    "wandb_",
    "save_",
)
_UNSET = "not set"
MOST = 6  # changes that a sentence names


@dataclass(frozen=True, slots=True)
class TrainingChange:
    """One setting of a training that is another than before; None: it was not set."""

    name: str
    before: Value
    after: Value

    @property
    def said(self) -> str:
        return f"{self.name} {_written(self.before)} → {_written(self.after)}"


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
    """How a candidate's training differs from an earlier one's; `reason` says why that is not known."""

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


def _named(values: Mapping[str, Value]) -> dict[str, Value]:
    """The values under their common names; lists and tables keep what stands behind the name."""
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


def _written(value: Value) -> str:
    if value is None:
        return _UNSET
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return _number(value)
    return str(value)


def _number(value: float) -> str:
    """As people write it in a config: 0.0002 is 2e-4, 3.0 is 3."""
    if not math.isfinite(value) or (abs(value) >= 0.001 and abs(value) < 1e6) or value == 0:
        return f"{value:g}"
    mantissa, _, exponent = f"{value:e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}"
