"""The JSON files of model and adapter folders, read without torch."""

import json
from pathlib import Path
from typing import Any

from engine.errors import BadInput

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
