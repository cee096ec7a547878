"""The small files that a plan names beside its data and models: schemas, corpora, own metrics, task files.

Their hashes are kept with a run, so that a rerun can tell which of them are others now.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.data.manifest import file_hash
from engine.plan.plan import Plan

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
