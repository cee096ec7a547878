"""Model and adapter folders and GGUF files, read without torch: location, completeness, and fit."""

import json
import os
import re
import struct
from collections.abc import Collection, Iterable
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from engine.errors import BadInput, install
from engine.models.gguf_file import check_gguf, is_gguf, read_header
from engine.plan.paths import HUB_ID, read_adapter_config, read_json
from engine.plan.plan import Model

Shape = tuple[int, ...]

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "tekken.json")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")

_SHARD = re.compile(r"-\d{5}-of-\d{5}\.safetensors$")
_SNAPSHOT = re.compile(r"/models--[^/]+/snapshots/([0-9a-f]{40})$")
_HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.py", "*.tiktoken"]
_TO_SAFETENSORS = (
    "Weights in pickle files can run code when they are loaded. Save them as safetensors: "
    'AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained("NEW_FOLDER"), with its tokenizer.'
)
ADAPTER_WEIGHTS = "adapter_model.safetensors"
_ADAPTER_TO_SAFETENSORS = (
    "A pickle can run code when it is loaded. If you trust it, convert it in its folder: python -c '"
    'import torch, safetensors.torch as s; w = torch.load("adapter_model.bin", weights_only=True); '
    f's.save_file({{k: v.contiguous() for k, v in w.items()}}, "{ADAPTER_WEIGHTS}")\''
)


def find_model(path: str, download: bool = False, revision: str | None = None) -> Path:
    """The folder of a model named by folder or hub id, or its GGUF file; with `download`, a hub id may be
    fetched, at a `revision` (branch, tag or commit).

    Raises BadInput when there is no such folder, or the hub id is not on this machine and cannot be had.
    """
    place = Path(path).expanduser()
    if place.is_dir() or (place.exists() and is_gguf(place)):
        if revision is not None:
            raise BadInput(f"{path}: is on this machine; a revision is chosen among those on the hub.", _HERE)
        return place
    if place.exists():
        raise BadInput(f"{path}: is a file; a model is a folder, a hub id or a GGUF file.")
    if not HUB_ID.fullmatch(path):
        raise BadInput(
            f"{path}: no such model folder.", "Give the folder that save_pretrained() wrote, or a hub id."
        )
    return _hub_snapshot(path, download, revision)


_HERE = "Remove its revision from the plan, or name its hub id."


def base_of(model: Model, download: bool = False) -> Path:
    """The folder or file of one of the plan's models; see `find_model`."""
    return find_model(str(model.path), download, model.revision)


def adapter_of(model: Model, download: bool = False) -> Path | None:
    """The folder of a model's adapter, which may be on the hub as a base may; None without one."""
    adapter, revision = model.adapter, model.adapter_revision
    if adapter is None or (revision is None and (adapter.is_absolute() or adapter.is_dir())):
        return adapter
    return find_model(adapter.as_posix(), download, revision)


def _hub_snapshot(name: str, download: bool, revision: str | None) -> Path:
    from httpx2 import HTTPError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    at = f" at revision {revision!r}" if revision else ""
    fetch = f"hf download {name}" + (f" --revision {revision}" if revision else "")
    try:
        return Path(
            snapshot_download(
                name,
                revision=revision,
                allow_patterns=_HUB_FILES,
                local_files_only=not download,
                endpoint=os.environ.get("HF_ENDPOINT"),
            )
        )
    except GatedRepoError as error:
        raise BadInput(
            f"{name}: the hub gives this model only to accounts that accepted its terms.",
            "Accept them on its page and log in with `hf auth login` or HF_TOKEN, or name a local folder.",
        ) from error
    except RevisionNotFoundError as error:
        raise BadInput(
            f"{name}: has no revision {revision!r} on the hub.", "Name a branch, a tag or a commit of it."
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise BadInput(
            f"{name}: is neither a folder here nor a model on the hub.",
            "Check the spelling; a private model needs `hf auth login`, or HF_TOKEN in the environment.",
        ) from error
    except (OSError, HTTPError) as error:
        raise BadInput(
            f"{name}: is neither a folder here nor in the hub cache of this machine{at}"
            + (", and the hub cannot be reached." if download else "."),
            f"Download it on a machine with network access (`{fetch}`), or name a local folder.",
        ) from error


def snapshot_commit(folder: Path) -> str | None:
    """The commit of a model that lies in the hub's cache; None for any other folder."""
    found = _SNAPSHOT.search(folder.absolute().as_posix())
    return found[1] if found else None


def check_model_folder(path: str) -> Path:
    """The folder of a model that looks complete: configuration, tokenizer, readable safetensors weights; or
    a whole GGUF file.

    Raises BadInput with the missing or broken part, and the fix. Reads headers, not weights.
    """
    folder = find_model(path)
    if is_gguf(folder):
        check_gguf(folder)
        return folder
    if not (folder / "config.json").is_file():
        if files := sorted(file.name for file in folder.glob("*.gguf")):
            raise BadInput(
                f"{folder}: is not a model folder: it has no config.json.",
                f"To use its GGUF file, name that: {folder / files[0]}",
            )
        if (folder / "adapter_config.json").is_file():
            raise BadInput(
                f"{folder}: is an adapter, not a model.",
                f'Put its base model under `path`, and `adapter = "{folder.name}"` beside it.',
            )
        raise BadInput(
            f"{folder}: is not a model folder: it has no config.json.",
            "Give the folder that save_pretrained() wrote.",
        )
    if (folder / "adapter_config.json").is_file():
        raise BadInput(
            f"{folder}: holds a model and an adapter; transformers would load the adapter with its own base.",
            "Move adapter_config.json and adapter_model.* to a folder of their own.",
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
    """The safetensors files of a model folder, in order of name, or its GGUF file. An adapter has one; others
    beside it are not read.

    Raises BadInput when there are none, only pickles, or one that the index names is missing.
    """
    if is_gguf(folder):
        return [folder]
    if (folder / "adapter_config.json").is_file():
        return [_adapter_file(folder)]
    files = sorted(folder.glob("*.safetensors"))
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        held = read_json(index).get("weight_map")
        if not isinstance(held, dict) or not all(isinstance(name, str) for name in held.values()):
            raise BadInput(f"{index}: has no `weight_map` of files.", "Copy the file again.")
        named = {folder / name for name in held.values()}
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
    if all(_SHARD.search(file.name) for file in files):
        raise BadInput(f"{folder}: lacks {index.name}, which names its shards.", "Copy the folder again.")
    return files


def unfinished(checkpoint: Path) -> str | None:
    """Why the folder is no whole adapter or model yet, or never will be; None for one that can be loaded."""
    try:
        if (checkpoint / "adapter_config.json").is_file():
            read_adapter_config(checkpoint)
            weight_shapes(checkpoint)
        else:
            check_model_folder(str(checkpoint))
    except BadInput as error:
        return error.message
    except OSError as error:
        return f"{checkpoint}: cannot be read: {error.strerror}"
    return None


def _adapter_file(folder: Path) -> Path:
    file = folder / ADAPTER_WEIGHTS
    if file.is_file():
        return file
    if (folder / "adapter_model.bin").is_file():
        raise BadInput(
            f"{folder}: has its weights only as pickle (adapter_model.bin).", _ADAPTER_TO_SAFETENSORS
        )
    raise BadInput(
        f"{folder}: has no {ADAPTER_WEIGHTS}.", "Give the folder that PEFT's save_pretrained() wrote."
    )


def weight_shapes(folder: Path) -> dict[str, tuple[str, Shape]]:
    """Each tensor's dtype (safetensors' name of it, as "BF16", or ggml's) and shape, from the headers of the
    files.

    Raises BadInput for a file that is cut off or is no safetensors file.
    """
    if is_gguf(folder):
        return read_header(folder).tensors
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
            if start == b"version ":
                raise BadInput(
                    f"{file}: is only a Git LFS pointer to the weights.", "Fetch them: git lfs pull"
                )
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


def read_config(model: Path) -> dict[str, Any]:
    """The configuration of a model: its config.json, or what its GGUF file has of one."""
    return read_header(model).config if is_gguf(model) else read_json(model / "config.json")


# What bitsandbytes makes of a model in full when it is loaded; "nf4" as QLoRA trains on it (Dettmers et al.
# 2023): its scales are quantised too.
QUANTIZE: dict[str, dict[str, Any]] = {
    "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
    "int8": {"load_in_8bit": True},
}


def quantisation(folder: Path, quantize: str | None = None) -> dict[str, Any] | None:
    """The `quantization_config` of a model with its `quant_method`: its own, or what a plan's `quantize`
    makes of it; None for a model in full.
    """
    if quantize is not None:
        return {"quant_method": "bitsandbytes", **QUANTIZE[quantize]}
    if is_gguf(folder):
        return read_header(folder).quantisation
    config = read_json(folder / "config.json")
    found = config.get("quantization_config") or (config.get("text_config") or {}).get("quantization_config")
    if not isinstance(found, dict):
        return None
    # Checkpoints of bitsandbytes' first years do not name it.
    bits = any(found.get(name) for name in ("load_in_4bit", "load_in_8bit"))
    return {"quant_method": "bitsandbytes" if bits else None, **found}


def quantised_as(found: dict[str, Any]) -> str:
    """A quantisation in a few words: "bitsandbytes nf4", "gptq 4 bits", "gguf Q4_K"."""
    bits = found.get("bits")
    kinds = (
        found.get("type"),
        found.get("bnb_4bit_quant_type", "fp4") if found.get("load_in_4bit") else None,
        "int8" if found.get("load_in_8bit") else None,
        f"{bits} bits" if type(bits) is int else None,
    )
    return " ".join(str(word) for word in (found["quant_method"], *kinds) if word)


def check_quantised(folder: Path, quantize: str | None = None) -> None:
    """Passes for a model in full, and for a quantised one that can be read here, or quantised as asked.

    Raises BadInput naming the packages to install, or the kind that is not known: transformers would load
    such weights as if they were not quantised.
    """
    if is_gguf(folder):
        return
    found = quantisation(folder)
    if quantize is not None:
        if found is not None:
            raise BadInput(
                f"{folder}: is quantised as it is: {quantised_as(found)}.",
                f'Remove quantize = "{quantize}" to use it so, or name the model in full.',
            )
        if not _installed("bitsandbytes"):
            raise BadInput(
                f'{folder}: quantize = "{quantize}" needs bitsandbytes.',
                install("quantized"),
            )
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
# What quantised copies of a model are called beside its own name: they have the same layers and shapes.
_QUANTISED_NAME = re.compile(r"(?:[-_.](?:unsloth|bnb|gptq|awq|[48]-?bits?|int[48]|nf4|fp4|fp8))+$")
# The module and the part that an adapter's tensor is of, in most kinds.
_PARTS = re.compile(
    r"(.+?)\.((?:lora|ia3|hada|lokr|vera|oft|boft|hra|randlora|trainable_tokens|ln_tuning)_.+)$"
)
# What wraps a model while it is trained, and gets into the names of its tensors: torch.compile,
# DistributedDataParallel, FSDP, Lightning, checkpointed activations, and a text model's place in one that
# also sees.
_WRAPPERS = {
    "_orig_mod", "module", "_fsdp_wrapped_module", "_forward_module", "_checkpoint_wrapped_module",
    "language_model",
}  # fmt: skip
# What PEFT puts between a part and its tensor while the adapter is in memory: the adapter's name there.
_IN_MEMORY = re.compile(r"\b(lora_(?:embedding_)?[AB]|lora_magnitude_vector)\.(?!(?:weight|bias)$)\w+")
_PEFT = "base_model.model."
# Where a quantised base keeps the values of a weight.
_WEIGHTS = (".weight", ".qweight", ".weight_packed")
_HEADS = ("lm_head", "embed_out")
_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight")
_FLOATS = {"F64", "F32", "F16", "BF16"}
_NOT_THIS_BASE = "Name the base that the adapter was trained on under `path`, or another adapter."
SAVE_IT = "Save the adapter again with PEFT, whole and under the names that its layers have in the base."
MERGE_IT = "Merge it into its base, and name the result under `path`."

Shapes = dict[str, tuple[str, Shape]]


def check_adapter(base: str, adapter: Path, folder: Path | None = None) -> None:
    """Passes when the adapter fits the base model: recorded name, shapes, vocabulary, and every tensor.

    `folder` is where the base was found, where that is known.

    Raises BadInput naming both sides of what does not fit, or the first tensor that would not be loaded.
    """
    config = read_adapter_config(adapter)
    folder = folder or find_model(base)
    recorded = str(config.get("base_model_name_or_path") or "")
    if recorded and _base_name(recorded) not in map(_base_name, _base_names(base, folder)):
        raise BadInput(
            f"{adapter}: was trained on {recorded!r}, but the plan's base is {base!r}.",
            f"{_NOT_THIS_BASE} If that folder is the same model under another name, write its name as "
            "base_model_name_or_path in adapter_config.json.",
        )
    _known_keys(config, adapter)
    for key in ("r", "lora_alpha") if config["peft_type"] == "LORA" else ():
        if type(config.get(key, 1)) not in (int, float):
            raise BadInput(
                f"{adapter / 'adapter_config.json'}: {key}: found {config[key]!r}, expected a number.",
                "Copy the file again.",
            )
    own = weight_shapes(adapter)
    biases = [name for name in own if name.endswith(".bias") and "lora_" not in name]
    if biases and config.get("bias") not in (None, "none"):
        raise BadInput(
            f"{adapter}: trained the base's own biases ({biases[0]}), which other models use too.",
            MERGE_IT,
        )
    _Fit(adapter, config, own, base, weight_shapes(folder)).check()


def adapter_notes(folder: Path, adapter: Path, quantize: str | None = None) -> list[str]:
    """Notes on an adapter's fit to the base in `folder`, where it cannot be verified."""
    config = read_adapter_config(adapter)
    notes = []
    recorded = str(config.get("base_model_name_or_path") or "")
    here = _base_names("", folder)
    if not recorded:
        notes.append("the adapter names no base: only its shapes were checked")
    elif _last(recorded) != _base_name(recorded) and _last(recorded) not in map(_last, here):
        kind = "nf4" if re.search("bnb|4-?bit|nf4|unsloth", _last(recorded)) else None
        kind = "int8" if re.search("8-?bit|int8", _last(recorded)) else kind
        in_full = quantize is None and quantisation(folder) is None
        notes.append(
            f"the adapter was trained on the quantised copy {recorded!r}: its shapes fit this base"
            + (f'; quantize = "{kind}" evaluates it on such a base' if kind and in_full else "")
        )
    elif _is_path(recorded) and not _is_folder(recorded, folder):
        notes.append(
            f"the adapter's base was in another place, {recorded!r}: its name and shapes fit this base"
        )
    if unknown := sorted(config.keys() - _known_keys(config, adapter)):
        notes.append(
            f"PEFT {config.get('peft_version') or 'of another version'} saved the adapter; PEFT "
            f"{version('peft')} does not know and ignores {', '.join(unknown)}"
        )
    own, base = weight_shapes(adapter), weight_shapes(folder)
    kept = {part for name in base for part in name.split(".")}
    if odd := [name for name in own if _canonical(name, kept) != name]:
        notes.append(
            f"{len(odd)} tensors of the adapter have other names than PEFT gives them, such as {odd[0]}: "
            "they are loaded under those of the base's layers"
        )
    if unseen := _Fit(adapter, config, own, "", base).unseen:
        notes.append(
            f"{len(unseen)} tensors of the adapter are of layers that the base's files name otherwise, such "
            f"as {unseen[0]}: they are checked when they are loaded"
        )
    revision, commit = config.get("revision"), snapshot_commit(folder)
    if revision and commit and _COMMIT.fullmatch(revision) and revision != commit:
        notes.append(f"the adapter's base was at revision {revision[:12]}, this one is at {commit[:12]}")
    elif revision and revision not in (commit, "main"):
        notes.append(f"the adapter's base was at revision {revision!r}; this base's revision is unknown")
    if any(adapter.glob("chat_template*")) and not any((adapter / name).is_file() for name in TOKENIZERS):
        notes.append("the adapter has a chat template but no tokenizer: the base's template is used")
    return notes


def _last(name: str) -> str:
    snapshot = _ADAPTER_SNAPSHOT.search(name)
    return (snapshot[1] if snapshot else re.split(r"[/\\]", name.rstrip("/\\"))[-1]).casefold()


def _base_name(name: str) -> str:
    """The last part of a model's name or path, on any system, without what its quantised copies add."""
    return _QUANTISED_NAME.sub("", _last(name))


def _is_path(name: str) -> bool:
    return "\\" in name or name.startswith((".", "/", "~")) or name.rstrip("/").count("/") > 1


def _is_folder(name: str, folder: Path) -> bool:
    try:
        return folder.samefile(name)
    except (OSError, ValueError):
        return False


def _base_names(base: str, folder: Path) -> list[str]:
    """The base's possible names: from the plan, its folder, and the name that it was saved from."""
    saved_from = str(read_config(folder).get("_name_or_path") or "")
    return [name for name in (base, str(folder), str(folder.resolve()), saved_from) if name]


def _known_keys(config: dict[str, Any], adapter: Path) -> set[str]:
    """The keys that the installed PEFT reads for this kind of adapter, from its source: importing it takes
    seconds. Raises BadInput for a kind that it does not know.
    """
    found, kind = find_spec("peft"), str(config["peft_type"]).casefold()
    assert found is not None and found.origin is not None
    tuners = Path(found.origin).parent / "tuners"
    if kind not in {path.name for path in tuners.iterdir()} or not config["peft_type"].isupper():
        raise BadInput(
            f"{adapter}: is of the kind {config['peft_type']}, which PEFT {version('peft')} does not know.",
            "Install a newer peft, or merge the adapter where it was trained.",
        )
    inherited = {"adalora": ["lora/config.py"], "loha": ["lycoris_utils.py"], "lokr": ["lycoris_utils.py"]}
    files = [tuners.parent / "config.py", tuners / kind / "config.py"]
    files += [tuners / file for file in inherited.get(kind, [])]
    return {key for file in files for key in re.findall(r"^    (\w+):", file.read_text("utf-8"), re.M)}


def peft_names(tensors: Iterable[str], modules: Iterable[str]) -> dict[str, str]:
    """The names of an adapter's tensors as PEFT reads them on a model with these modules, by those in its
    file: what wrappers added is taken away where a module of the model has the name without it.
    """
    real = {_unwrapped(module): module for module in modules if module}
    names = {}
    for tensor in tensors:
        parts = _canonical(tensor).removeprefix(_PEFT).split(".")
        ends = (end for end in range(len(parts), 0, -1) if ".".join(parts[:end]) in real)
        if (end := next(ends, 0)) and parts[0] != "base_model":
            names[tensor] = _PEFT + ".".join([real[".".join(parts[:end])], *parts[end:]])
        else:
            names[tensor] = tensor
    return names


def _unwrapped(name: str, kept: Collection[str] = ()) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS or part in kept)


def _canonical(tensor: str, kept: Collection[str] = ()) -> str:
    """A tensor's name as PEFT writes it, without what wrappers add; `kept` are parts of the base's names."""
    name = _unwrapped(tensor, kept)
    if name.startswith("base_model.") and not name.startswith(_PEFT):
        return name  # what all layers share, in kinds that have such a thing
    while name.startswith(_PEFT):
        name = name.removeprefix(_PEFT)
    return _PEFT + _IN_MEMORY.sub(r"\1", name)


_FLIPPED = (".c_attn", ".c_proj", ".c_fc", ".q_attn")  # of GPT-2 and its kin
_PAIRS = (("lora_A", "lora_embedding_A"), ("lora_B", "lora_embedding_B"))
# Keys of an adapter's configuration that take only some of the layers that target_modules name.
_NARROWING = ("exclude_modules", "layers_to_transform", "layers_pattern", "layer_replication")


class _Fit:
    """An adapter's tensors beside those of the base's files, by module."""

    def __init__(
        self, adapter: Path, config: dict[str, Any], own: Shapes, base_name: str, base: Shapes
    ) -> None:
        self._adapter, self._config, self._own = adapter, config, own
        self._base_name, self._base = base_name, base
        self._weights = {  # of each module of the base
            _unwrapped(name.removesuffix(suffix)): name
            for suffix in reversed(_WEIGHTS)
            for name in base
            if name.endswith(suffix)
        }
        self._leaves = {module.rpartition(".")[2] for module in self._weights}
        self._above = {
            module[: dot.start()] for module in self._weights for dot in re.finditer(r"\.", module)
        }
        self._outer: set[str] = set()  # leading parts that the adapter names and the base's files do not
        self.parts: dict[str, dict[str, str]] = {}  # the adapter's tensors by module and part
        self.lost: list[str] = []
        self.unseen: list[str] = []
        for tensor in own:
            self._place(tensor)

    def check(self) -> None:
        if not self._own:
            self._refuse("holds no tensors.")
        if not self.parts and not self.unseen and self.lost:
            self._refuse(f"changes no layer that the base {self._base_name!r} has.", _NOT_THIS_BASE)
        if self.lost:
            self._refuse(
                f"changes {self.lost[0]}, which the base {self._base_name!r} lacks: {len(self.lost)} of its "
                f"{len(self._own)} tensors would not be loaded.",
                f"{_NOT_THIS_BASE} {SAVE_IT}",
            )
        if len(self._outer) > 1:
            first, second, *_ = sorted(self._outer)
            self._refuse(f"names the same layers under both {first} and {second}.")
        for module, parts in self.parts.items():
            self._check_shapes(module, parts)
        self._check_absent()

    def _refuse(self, message: str, hint: str = SAVE_IT) -> NoReturn:
        raise BadInput(f"{self._adapter}: {message}", hint)

    def _place(self, tensor: str) -> None:
        name = _canonical(tensor)
        if not name.startswith(_PEFT):
            return
        module, part = self._split(name.removeprefix(_PEFT))
        if self._weight(module) is not None:
            own = self.parts.setdefault(module, {})
            if part in own:
                self._refuse(f"holds {part or 'the weight'} of {module} twice: {own[part]} and {tensor}.")
            own[part] = tensor
            return
        # Some models fuse layers when they are loaded, or name a block otherwise. It lies in a block
        # of the base's files, under a name of its own. Anything else that they lack, the model lacks.
        block, leaf = module.rsplit(".", 2)[0], module.rpartition(".")[2]
        fused = part and block in self._above and leaf not in self._leaves
        (self.unseen if fused else self.lost).append(tensor)

    def _split(self, name: str) -> tuple[str, str]:
        """The module that a tensor belongs to, and its part ("" for a whole replaced weight)."""
        name = name.replace(".base_layer", "").removesuffix(".weight")
        if found := _PARTS.match(name):
            return found[1].removesuffix(".token_adapter"), found[2]
        parts = name.split(".")
        ends = (end for end in range(len(parts), 0, -1) if ".".join(parts[:end]) in self._weights)
        end = next(ends, len(parts))
        return ".".join(parts[:end]), ".".join(parts[end:])

    def _weight(self, module: str) -> str | None:
        """The base's tensor for a module; checkpoints may leave out leading parts ("model.", "transformer.").

        A head that they leave out is tied to the embeddings.
        """
        parts = module.split(".")
        for start in range(len(parts)):
            if (inner := ".".join(parts[start:])) in self._weights:
                self._outer |= {".".join(parts[:start])} if start else set()
                return self._weights[inner]
        if parts[-1] in _HEADS:
            return next((name for name in self._base if name.endswith(_EMBEDDINGS)), None)
        return None

    def _check_shapes(self, module: str, parts: dict[str, str]) -> None:
        weight = self._weight(module)
        assert weight is not None
        dtype, base = self._base[weight]
        checked = dtype in _FLOATS and not self._config.get("use_qalora")
        flipped = bool(self._config.get("fan_in_fan_out")) or module.endswith(_FLIPPED)
        for part, tensor in parts.items():
            kind, shape = self._own[tensor]
            if part.startswith("lora_") and not kind.startswith(("F", "BF")):
                self._refuse(f"{tensor} holds {kind}, which no training of it gives.")
            if checked and not _fits(part, shape, base, flipped):
                hint = _NOT_THIS_BASE
                if part == "" and shape[1:] == base[1:]:
                    hint = f"Its vocabulary was resized. {MERGE_IT}"
                self._refuse(
                    f"{tensor} has shape {list(shape)}, which does not fit {weight} {list(base)} of the base "
                    f"{self._base_name!r}.",
                    hint,
                )
        a, b = (next((parts[name] for name in names if name in parts), None) for names in _PAIRS)
        if (a is None) != (b is None):
            self._refuse(f"has no {'lora_A' if a is None else 'lora_B'} for {module}.")
        if a is None or b is None:
            return
        first, second = self._own[a][1], self._own[b][1]
        r = self._config.get("r")
        written = r if type(r) is int and not self._config.get("rank_pattern") else first[0]
        if str(self._config["peft_type"]).upper() == "LORA" and {first[0], second[-1]} != {written}:
            self._refuse(
                f"{a} has rank {first[0]} and {b} {second[-1]}, and adapter_config.json says r = {r}.",
                "Copy both files again from one folder that PEFT's save_pretrained() wrote.",
            )

    def _check_absent(self) -> None:
        """Refuses an adapter without tensors for a layer, or a kind of them, that its configuration names."""
        config = self._config
        for name in config.get("modules_to_save") or []:
            if not any("" in parts and module.endswith(name) for module, parts in self.parts.items()):
                self._refuse(f"its modules_to_save name {name}, and it has no weights for that.")
        for module, parts in self.parts.items() if config.get("use_dora") else ():
            if "lora_A" in parts and not any(part.startswith("lora_magnitude") for part in parts):
                self._refuse(f"is a DoRA adapter without lora_magnitude_vector for {module}.")
        saved = tuple(config.get("modules_to_save") or ())
        targets = config.get("target_modules")
        if not isinstance(targets, list) or any(config.get(key) for key in _NARROWING):
            targets = []
        ends = tuple(f".{target}" for target in targets)
        like = {_without_numbers(module): module for module in self.parts}
        blocks = {module.rsplit(".", 2)[0] for module in like}
        outer = f"{min(self._outer)}." if self._outer else ""
        for inner in self._weights:
            module = inner if _without_numbers(inner) in like else outer + inner
            near = like.get(_without_numbers(module))
            if near and module not in self.parts and (f".{module}".endswith(ends) or module.endswith(saved)):
                self._refuse(f"changes {near} and has none for {module}, which its configuration names too.")
            block = _without_numbers(module).rsplit(".", 2)[0]
            if near is None and block in blocks and not self.unseen and f".{module}".endswith(ends):
                self._refuse(f"has no weights for {module}, which its configuration names.")


def _without_numbers(name: str) -> str:
    return re.sub(r"\.\d+(?=\.)", ".*", name)


def _fits(part: str, shape: Shape, base: Shape, flipped: bool) -> bool:
    """Whether one adapter tensor fits its base weight [out, in], or, where it may be flipped, [in, out]."""
    if part == "":
        return shape == base
    if part == "lora_A":
        return len(shape) > 1 and shape[1] in (base[:2] if flipped else base[1:2])
    if part == "lora_B":
        return shape[0] in (base[:2] if flipped else base[:1])
    if part == "lora_embedding_A":
        return shape[-1] == base[0]
    if part == "lora_embedding_B":
        return shape[0] == base[-1]
    if part in ("lora_magnitude_vector", "ia3_l"):
        return max(shape) in base
    return True
