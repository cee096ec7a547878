"""Quantised checkpoints: what their configuration says, and the packages that they cannot be read without."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from engine.errors import BadInput
from engine.models.folder import read_json

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
            f"{folder}: is quantised by {kind!r}, which cannot be read here.",
            f"Known are {', '.join(PACKAGES)}; or serve the model, and name the server.",
        )
    if absent := [package for package in PACKAGES[kind] if not _installed(package)]:
        raise BadInput(
            f"{folder}: is quantised by {kind}, which needs {' and '.join(absent)}.",
            f"Install: pip install {' '.join(absent)}",
        )


def _installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True
