"""Whether an adapter belongs to a base: by recorded name and by shapes, from headers alone."""

import re
from pathlib import Path

from engine.errors import BadInput
from engine.models.folder import TOKENIZERS, Shape, find_model, snapshot_commit, weight_shapes
from engine.plan.model_files import read_adapter_config, read_json

_COMMIT = re.compile("[0-9a-f]{40}")
_SNAPSHOT = re.compile(r"models--(?:.+--)?([^/]+)/snapshots/[^/]+/?$")
# What adapters call their tensors, besides whole replaced weights.
_PARTS = r"lora_\w+(?:\.bias)?|ia3_l|(?:hada|lokr|vera|oft|boft|hra|randlora)_\w+"
# Where a quantised base keeps the values of a weight.
_WEIGHTS = (".weight", ".qweight", ".weight_packed")
_FLOATS = {"F64", "F32", "F16", "BF16"}
_NOT_THIS_BASE = "Name the base that the adapter was trained on under `path`, or another adapter."
MERGE_IT = "Merge it into its base, and name the result under `path`."

Shapes = dict[str, tuple[str, Shape]]


def check_adapter(base: str, adapter: Path) -> None:
    """Passes when the adapter fits the base model: recorded name, tensor shapes, vocabulary.

    Raises BadInput naming both sides of what does not fit.
    """
    config = read_adapter_config(adapter)
    folder = find_model(base)
    recorded = str(config.get("base_model_name_or_path") or "")
    names = _base_names(base, folder)
    if recorded and _last_component(recorded) not in names:
        raise BadInput(
            f"{adapter}: was trained on {recorded!r}, but the plan's base is {base!r}.",
            f"{_NOT_THIS_BASE} If that folder is the same model under another name, write its name as "
            "base_model_name_or_path in adapter_config.json.",
        )
    shapes = weight_shapes(adapter)
    biases = [name for name in shapes if name.endswith(".bias") and "lora_" not in name]
    if biases and config.get("bias") not in (None, "none"):
        raise BadInput(
            f"{adapter}: trained the base's own biases ({biases[0]}), which other models answer with too.",
            MERGE_IT,
        )
    _check_shapes(adapter, shapes, base, weight_shapes(folder))


def adapter_notes(folder: Path, adapter: Path) -> list[str]:
    """What readers should know of an adapter's fit to the base in `folder`, where it cannot be told."""
    config = read_adapter_config(adapter)
    notes = []
    if not config.get("base_model_name_or_path"):
        notes.append("the adapter names no base: it was held to the shapes alone")
    revision, commit = config.get("revision"), snapshot_commit(folder)
    if revision and commit and _COMMIT.fullmatch(revision) and revision != commit:
        notes.append(f"the adapter's base was at revision {revision[:12]}, this one is at {commit[:12]}")
    elif revision and revision not in (commit, "main"):
        notes.append(f"the adapter's base was at revision {revision!r}; whether this one is, is not known")
    if any(adapter.glob("chat_template*")) and not any((adapter / name).is_file() for name in TOKENIZERS):
        notes.append("the adapter brings a chat template without a tokenizer: asked with the base's own")
    return notes


def _last_component(name: str) -> str:
    snapshot = _SNAPSHOT.search(name)
    return (snapshot[1] if snapshot else name.rstrip("/").rsplit("/", 1)[-1]).casefold()


def _base_names(base: str, folder: Path) -> set[str]:
    """What the base may be called: by the plan, by its folder, and by the name that it was saved from."""
    saved_from = str(read_json(folder / "config.json").get("_name_or_path") or "")
    names = {base, str(folder), str(folder.resolve()), saved_from}
    return {_last_component(name) for name in names if name}


def _check_shapes(adapter: Path, own: Shapes, base_name: str, base: Shapes) -> None:
    kinds = {_without_numbers(name) for name in base}
    found = 0
    for tensor, (_, shape) in own.items():
        module, part = _split(tensor)
        weight = _base_tensor(module, base)
        if weight is None:
            # A layer of a known kind that the base has too few of; unknown kinds are named otherwise in the
            # checkpoint than in the running model, and cannot be judged here.
            if any(kind.endswith(_without_numbers(f"{module}.weight")) for kind in kinds):
                raise BadInput(
                    f"{adapter}: changes {module}, which the base {base_name!r} lacks.", _NOT_THIS_BASE
                )
            continue
        found += 1
        dtype, base_shape = base[weight]
        if dtype in _FLOATS and not _fits(part, shape, base_shape):
            hint = _NOT_THIS_BASE
            if part == "" and shape[1:] == base_shape[1:]:
                hint = f"Its vocabulary was resized. {MERGE_IT}"
            raise BadInput(
                f"{adapter}: {tensor} has shape {list(shape)}, which does not fit {weight} "
                f"{list(base_shape)} of the base {base_name!r}.",
                hint,
            )
    if not found:
        raise BadInput(f"{adapter}: changes no layer that the base {base_name!r} has.", _NOT_THIS_BASE)


def _split(tensor: str) -> tuple[str, str]:
    """The module that an adapter tensor belongs to, and its part ("" for a whole replaced weight)."""
    name = tensor.removeprefix("base_model.model.")
    match = re.match(rf"(.*?)\.({_PARTS})(?:\.weight)?$", name)
    if match:
        return match[1], match[2]
    return name.removesuffix(".weight"), ""


def _base_tensor(module: str, base: Shapes) -> str | None:
    """The base's tensor for a module; checkpoints may leave out leading parts ("model.", "transformer.")."""
    parts = module.split(".")
    for start in range(len(parts)):
        for suffix in _WEIGHTS:
            name = ".".join(parts[start:]) + suffix
            if name in base:
                return name
    return None


def _without_numbers(name: str) -> str:
    return re.sub(r"\.\d+(?=\.)", ".*", name)


def _fits(part: str, shape: Shape, base: Shape) -> bool:
    """Whether one adapter tensor fits its base weight [out, in] (or [in, out], as GPT-2 keeps it)."""
    if part == "":
        return shape == base
    if part == "lora_A":
        return shape[-1] in base[:2]
    if part == "lora_B":
        return shape[0] in base[:2]
    if part == "lora_embedding_A":
        return shape[-1] == base[0]
    if part == "lora_embedding_B":
        return shape[0] == base[-1]
    if part in ("lora_magnitude_vector", "ia3_l"):
        return max(shape) in base
    return True
