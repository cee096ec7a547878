"""What a run ran on: enough to repeat it, and nothing secret."""

import importlib.metadata
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from engine.plan.files import named_files
from engine.plan.plan import Plan

_LIBRARIES = (
    "assay",
    "torch",
    "transformers",
    "peft",
    "lm-eval",
    "openai",
    "rouge-score",
    "nltk",
    "numpy",
    "scipy",
)


def describe(plan: Plan) -> dict[str, Any]:
    """Library versions, machine, devices, the plan's git commit, and hashes of the small files it names."""
    import torch

    devices = [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        "devices": devices or ["cpu"],
        "threads": torch.get_num_threads(),
        "git_commit": git_commit(plan.folder),
        "training_configs": {
            model.name: file_hash(model.training_config) for model in plan.models if model.training_config
        },
        "files": named_files(plan),
    }


def git_commit(folder: Path) -> str | None:
    """The commit checked out where the plan lies, with "+" behind it when files differ; None outside git."""
    if shutil.which("git") is None:
        return None
    found = subprocess.run(
        ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    if found.returncode != 0:
        return None
    changed = subprocess.run(
        ["git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no"],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() + ("+" if changed.stdout.strip() else "")


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content, 64 hex digits."""
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()
