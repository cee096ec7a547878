"""Model and adapter folders, read without torch: their location, completeness, and fit."""

import json
import re
import struct
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from engine.errors import BadInput
from engine.plan.model_files import read_adapter_config, read_json

Shape = tuple[int, ...]

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "tekken.json")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_SNAPSHOT = re.compile(r"/models--[^/]+/snapshots/([0-9a-f]{40})$")
_HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.py", "*.tiktoken"]
_TO_SAFETENSORS = (
    "Weights in pickle files can run code when they are loaded. Save them as safetensors: "
    'AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained("NEW_FOLDER"), with its tokenizer.'
)


def find_model(path: str, download: bool = False) -> Path:
    """The folder of a model named by folder or hub id; with `download`, a hub id may be fetched.

    Raises BadInput when there is no such folder, or the hub id is not on this machine and cannot be had.
    """
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise BadInput(f"{path}: is a file; a model is a folder or a hub id.")
    if not _HUB_ID.fullmatch(path):
        raise BadInput(
            f"{path}: no such model folder.", "Give the folder that save_pretrained() wrote, or a hub id."
        )
    return _hub_snapshot(path, download)


def _hub_snapshot(name: str, download: bool) -> Path:
    from httpx2 import HTTPError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=_HUB_FILES, local_files_only=not download))
    except GatedRepoError as error:
        raise BadInput(
            f"{name}: the hub gives this model only to accounts that accepted its terms.",
            "Accept them on its page and log in with `hf auth login`, or name a local folder.",
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise BadInput(
            f"{name}: is neither a folder here nor a model on the hub.",
            "Check the spelling; a private model needs `hf auth login`.",
        ) from error
    except (OSError, HTTPError) as error:
        raise BadInput(
            f"{name}: is neither a folder here nor in the hub cache of this machine"
            + (", and the hub cannot be reached." if download else "."),
            f"Download it on a machine with network access (`hf download {name}`), or name a local folder.",
        ) from error


def snapshot_commit(folder: Path) -> str | None:
    """The commit of a model that lies in the hub's cache; None for any other folder."""
    found = _SNAPSHOT.search(folder.absolute().as_posix())
    return found[1] if found else None


def check_model_folder(path: str) -> Path:
    """The folder of a model that looks complete: configuration, tokenizer, readable safetensors weights.

    Raises BadInput with the missing or broken part, and the fix. Reads headers, not weights.
    """
    folder = find_model(path)
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            raise BadInput(
                f"{folder}: is an adapter, not a model.",
                f'Put its base model under `path`, and `adapter = "{folder.name}"` beside it.',
            )
        raise BadInput(
            f"{folder}: is not a model folder: it has no config.json.",
            "Give the folder that save_pretrained() wrote.",
        )
    read_json(folder / "config.json")
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise BadInput(
            f"{folder}: has no tokenizer ({', '.join(TOKENIZERS[:2])}, …).",
            "Save it beside the weights: AutoTokenizer.from_pretrained(BASE).save_pretrained(FOLDER).",
        )
    weight_shapes(folder)
    return folder


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model or adapter folder, in order of name.

    Raises BadInput when there are none, only pickles, or one that the index names is missing.
    """
    files = sorted(folder.glob("*.safetensors"))
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        named = {folder / name for name in read_json(index).get("weight_map", {}).values()}
        if absent := sorted(file.name for file in named if not file.is_file()):
            raise BadInput(
                f"{folder}: lacks {', '.join(absent)}, which its index names.", "Copy the folder again."
            )
        return sorted(named)
    if not files:
        pickles = sorted(file.name for pattern in PICKLES for file in folder.glob(pattern))
        if pickles:
            raise BadInput(f"{folder}: has its weights only as pickle ({pickles[0]}).", _TO_SAFETENSORS)
        raise BadInput(
            f"{folder}: has no weights (*.safetensors).", "Give the folder that save_pretrained() wrote."
        )
    return files


def weight_shapes(folder: Path) -> dict[str, tuple[str, Shape]]:
    """Each tensor's dtype (safetensors' name of it, as "BF16") and shape, from the headers of the files.

    Raises BadInput for a file that is cut off or is no safetensors file.
    """
    shapes: dict[str, tuple[str, Shape]] = {}
    for file in weight_files(folder):
        shapes.update(_header_shapes(file))
    return shapes


def _header_shapes(file: Path) -> dict[str, tuple[str, Shape]]:
    broken = BadInput(f"{file}: is corrupt or truncated.", "Copy or download the file again.")
    try:
        with file.open("rb") as source:
            size = file.stat().st_size
            start = source.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
            if length + 8 > size:
                raise broken
            header = json.loads(source.read(length))
        header.pop("__metadata__", None)
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        shapes = {name: (entry["dtype"], tuple(entry["shape"])) for name, entry in header.items()}
    except OSError as error:
        raise BadInput(f"{file}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise broken from error
    if 8 + length + end != size:
        raise broken
    return shapes


# The packages that transformers reads each kind with; those without one it reads by itself.
PACKAGES: dict[str, tuple[str, ...]] = {
    "aqlm": ("aqlm",),
    "auto-round": ("auto-round",),
    "awq": ("gptqmodel",),
    "bitnet": (),
    "bitsandbytes": ("bitsandbytes",),
    "compressed-tensors": ("compressed-tensors",),
    "eetq": ("kernels",),
    "fbgemm_fp8": ("fbgemm-gpu",),
    "fouroversix": ("fouroversix",),
    "fp8": (),
    "fp_quant": ("fp-quant",),
    "gemma": (),
    "gptq": ("optimum", "gptqmodel"),
    "higgs": ("flute-kernel",),
    "hqq": ("hqq",),
    "metal": (),
    "mxfp4": (),
    "mxfp8": (),
    "nvfp4": (),
    "quanto": ("optimum-quanto",),
    "quark": ("amd-quark",),
    "sinq": ("sinq",),
    "spqr": ("spqr-quant",),
    "torchao": ("torchao",),
    "vptq": ("vptq",),
}


def quantisation(folder: Path) -> dict[str, Any] | None:
    """The `quantization_config` of a model folder with its `quant_method`; None for a model in full."""
    config = read_json(folder / "config.json")
    found = config.get("quantization_config") or (config.get("text_config") or {}).get("quantization_config")
    if not isinstance(found, dict):
        return None
    # Checkpoints of bitsandbytes' first years do not name it.
    bits = any(found.get(name) for name in ("load_in_4bit", "load_in_8bit"))
    return {"quant_method": "bitsandbytes" if bits else None, **found}


def check_quantised(folder: Path) -> None:
    """Passes for a model in full, and for a quantised one that can be read here.

    Raises BadInput naming the packages to install, or the kind that is not known: transformers would load
    such weights as if they were not quantised.
    """
    found = quantisation(folder)
    if found is None:
        return
    kind = found["quant_method"]
    if kind not in PACKAGES:
        raise BadInput(
            f"{folder}: is quantised with {kind!r}, which is not supported.",
            f"Supported: {', '.join(PACKAGES)}; or serve the model, and name the server.",
        )
    if absent := [package for package in PACKAGES[kind] if not _installed(package)]:
        raise BadInput(
            f"{folder}: is quantised with {kind}, which needs {' and '.join(absent)}.",
            f"Install: pip install {' '.join(absent)}",
        )


def _installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


_COMMIT = re.compile("[0-9a-f]{40}")
_ADAPTER_SNAPSHOT = re.compile(r"models--(?:.+--)?([^/]+)/snapshots/[^/]+/?$")
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
            f"{adapter}: trained the base's own biases ({biases[0]}), which other models use too.",
            MERGE_IT,
        )
    _check_shapes(adapter, shapes, base, weight_shapes(folder))


def adapter_notes(folder: Path, adapter: Path) -> list[str]:
    """Notes on an adapter's fit to the base in `folder`, where it cannot be verified."""
    config = read_adapter_config(adapter)
    notes = []
    if not config.get("base_model_name_or_path"):
        notes.append("the adapter names no base: only its shapes were checked")
    revision, commit = config.get("revision"), snapshot_commit(folder)
    if revision and commit and _COMMIT.fullmatch(revision) and revision != commit:
        notes.append(f"the adapter's base was at revision {revision[:12]}, this one is at {commit[:12]}")
    elif revision and revision not in (commit, "main"):
        notes.append(f"the adapter's base was at revision {revision!r}; this base's revision is unknown")
    if any(adapter.glob("chat_template*")) and not any((adapter / name).is_file() for name in TOKENIZERS):
        notes.append("the adapter has a chat template but no tokenizer: the base's template is used")
    return notes


def _last_component(name: str) -> str:
    snapshot = _ADAPTER_SNAPSHOT.search(name)
    return (snapshot[1] if snapshot else name.rstrip("/").rsplit("/", 1)[-1]).casefold()


def _base_names(base: str, folder: Path) -> set[str]:
    """The base's possible names: from the plan, its folder, and the name that it was saved from."""
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
