"""The environment of a run: code, packages, hardware and the hashes of the files that its plan names.

It is enough to repeat the run and contains no secrets. A run resumes on other hardware only on request,
since its numbers may differ there.
"""

import hashlib
import importlib.metadata
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.data.versions import file_hash
from engine.errors import CannotRun
from engine.models import cores
from engine.models.vitals import Sensors
from engine.phases.work import Work
from engine.plan.plan import Plan
from store import records

_TASK_FILES = (".yaml", ".yml", ".py", ".json", ".jsonl", ".jinja", ".txt", ".csv")


def named_files(plan: Plan) -> dict[str, str]:
    """SHA-256 by path, in hex; of a folder of benchmark tasks one over all of its task files."""
    found = {str(file): file_hash(file) for file in dict.fromkeys(_files(plan.metrics.model_dump()))}
    include = plan.benchmarks.include if plan.benchmarks else None
    if include is not None:
        found[str(include)] = _folder_hash(include)
    return found


def _files(value: Any) -> Iterator[Path]:
    """The files that a table of the plan names by an absolute path, at any depth."""
    if isinstance(value, dict):
        for item in value.values():
            yield from _files(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _files(item)
    elif isinstance(value, str | Path) and str(value).startswith("/") and len(str(value)) < 1000:
        # An own metric stands as file.py:name.
        file = Path(str(value).partition(".py:")[0] + ".py" if ".py:" in str(value) else value)
        if file.is_file():
            yield file


def _folder_hash(folder: Path) -> str:
    whole = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.suffix in _TASK_FILES and file.is_file():
            whole.update(f"{file.relative_to(folder)} {file_hash(file)}\n".encode())
    return whole.hexdigest()


_LIBRARIES = (
    "assay", "torch", "transformers", "peft", "lm-eval", "openai", "rouge-score", "nltk", "numpy", "scipy",
)  # fmt: skip


def describe(plan: Plan) -> dict[str, Any]:
    """Library versions, machine, devices, the plan's git commit, and hashes of the small files it names."""
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        **_devices(plan),
        "git_commit": git_commit(plan.folder),
        "training_configs": {
            model.name: file_hash(model.training_config) for model in plan.models if model.training_config
        },
        "files": named_files(plan),
    }


def _devices(plan: Plan) -> dict[str, Any]:
    """As PyTorch sees them; where it loads no model, as the driver does: PyTorch takes seconds to import."""
    if not any(model.kind == "local" for model in plan.models):
        return {"devices": Sensors().gpus or ["cpu"]}
    import torch

    devices = [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
    threads = torch.get_num_threads()
    return {
        "devices": devices or ["cpu"],
        "threads": threads if cores.are_set() or plan.generation.deterministic else f"up to {threads}",
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


class OtherHardware(CannotRun):
    """The machine is not the one that the run began on."""


OPTION = "other_hardware"
_EARLIER = "earlier_devices"


def hold_to_hardware(work: Work) -> dict[str, Any]:
    """The environment to record with the run: that of its beginning, or this one with the earlier devices.

    Raises OtherHardware on other devices than before, unless the run may continue there; the permission is
    for once. A dtype of "auto" stays what it came to where the run began.
    """
    before = work.recorder.run().environment
    if before is None:
        return describe(work.plan)
    environment = dict(before)
    if any(model.kind == "local" for model in work.plan.models):
        environment = _checked(work, before)
    if _EARLIER in environment:
        work.plan = _at_the_first_dtype(work)
    return environment


def _checked(work: Work, before: dict[str, Any]) -> dict[str, Any]:
    now = describe(work.plan)
    if set(before["devices"]) == set(now["devices"]):
        return before
    moved = f"began on {_names(before)}; this is {_names(now)}"
    if not work.options.pop(OPTION, False):
        raise OtherHardware(
            f"the run {moved}: numbers may differ",
            f"resume it there, or continue here with `assay resume {work.recorder.run_id} --other-hardware`",
        )
    work.recorder.set_run(options=work.options)
    work.recorder.event("warning", "run", f"continues on other hardware, as requested: it {moved}")
    return now | {_EARLIER: [*before.get(_EARLIER, []), before["devices"]]}


def _names(environment: dict[str, Any]) -> str:
    return ", ".join(dict.fromkeys(environment["devices"]))


def _at_the_first_dtype(work: Work) -> Plan:
    """The plan with "auto" replaced by the dtype of stored answers: two dtypes would be two models."""
    rows = work.recorder.rows(records.StoredModel, run_id=work.recorder.run_id)
    known = {row.name: (row.details or {}).get("dtype") for row in rows}
    autos = [model.name for model in work.plan.models if model.kind == "local" and model.dtype == "auto"]
    first = next((known[name] for name in autos if known.get(name)), None)
    if first is None:
        return work.plan
    models = tuple(
        model.model_copy(update={"dtype": first}) if model.name in autos else model
        for model in work.plan.models
    )
    return work.plan.model_copy(update={"models": models})
