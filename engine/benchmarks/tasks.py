"""lm-eval tasks: found by name, checked before a run, and loaded with local data where their file lies."""

import difflib
import os
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from engine.errors import BadInput

_LOCAL_BUILDERS = {"json", "csv", "parquet", "text", "arrow"}


@contextmanager
def task_manager(include: Path | None, tasks: Sequence[str]) -> Iterator[Any]:
    """An lm-eval TaskManager that knows the tasks in `include`, and lm-eval's own where they are needed.

    Relative data files of a local task are looked for beside its YAML file, and only then where lm-eval
    looks, in the working directory. What `datasets` makes of them goes to a temporary folder.
    """
    from lm_eval.tasks import TaskManager
    from lm_eval.tasks._factory import TaskFactory

    with TemporaryDirectory(prefix="assay-datasets-") as cache:

        class LocalDataFactory(TaskFactory):  # type: ignore[misc]  # lm-eval is untyped here
            # lm-eval offers no public place between reading a task's file and loading its data.
            def _load_full_config(self, entry: Any, overrides: dict[str, Any] | None = None) -> Any:
                config = super()._load_full_config(entry, overrides)
                if config.get("dataset_path") in _LOCAL_BUILDERS and entry.yaml_path:
                    settings = config.get("dataset_kwargs") or {}
                    files = _beside(settings.get("data_files"), Path(entry.yaml_path).parent)
                    config["dataset_kwargs"] = {"cache_dir": cache, **settings, "data_files": files}
                return config

        folder = str(include.resolve()) if include else None
        manager = TaskManager(include_path=folder, include_defaults=False)
        # Reading lm-eval's own ten thousand task files takes seconds.
        if not all(_is_single(manager.task_index.get(name)) for name in tasks):
            manager = TaskManager(include_path=folder)
        manager._factory = LocalDataFactory(meta=None)
        yield manager


def _is_single(entry: Any) -> bool:
    return entry is not None and entry.kind.name == "TASK"


def load_task(name: str, shots: int | None, manager: Any) -> Any:
    """The task or group as lm-eval's `evaluate` takes it, set up and seeded as its `simple_evaluate` does.

    `shots` replaces the number of worked examples in the prompt, but for tasks that are fixed to none.
    """
    import numpy as np
    from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED
    from lm_eval.utils import set_torch_seed

    random.seed(DEFAULT_RANDOM_SEED)
    np.random.seed(DEFAULT_OTHER_SEED)
    set_torch_seed(DEFAULT_OTHER_SEED)
    loaded = manager.load([name])
    for task in loaded["tasks"].values():
        own = task.get_config("num_fewshot")
        if shots is not None and own != 0:
            task.set_config(key="num_fewshot", value=shots)
        elif own is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=DEFAULT_OTHER_SEED)
    return loaded


def check_tasks(tasks: Sequence[str], include: Path | None) -> list[str]:
    """What is wrong with the tasks of a plan, one sentence each: unknown names, data that is not at hand."""
    problems: list[str] = []
    with task_manager(include, tasks) as manager:
        for name in tasks:
            if name not in manager.task_index:
                problems.append(_unknown(name, manager.all_tasks))
            else:
                for leaf in _leaves(name, manager):
                    problems.extend(_missing_data(leaf, manager))
    return problems


def require_tasks(tasks: Sequence[str], manager: Any) -> None:
    """Raises BadInput naming every task that lm-eval does not know."""
    if unknown := [_unknown(name, manager.all_tasks) for name in tasks if name not in manager.task_index]:
        raise BadInput("\n".join(unknown), "List them with `lm-eval ls tasks`; local ones go into `include`.")


def _unknown(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3)
    return f"Unknown benchmark task {name!r}." + (f" Nearest: {', '.join(close)}." if close else "")


def _leaves(name: str, manager: Any) -> Iterator[str]:
    """The single tasks of a task, group or tag, by name."""
    entry = manager.task_index.get(name)
    members = _config(entry).get("task") if entry else None
    if isinstance(members, list):
        for member in members:
            inner = member if isinstance(member, str) else member.get("task") or member.get("group")
            if isinstance(inner, str):
                yield from _leaves(inner, manager)
    elif entry:
        yield name


def _config(entry: Any) -> dict[str, Any]:
    from lm_eval.tasks._yaml_loader import load_yaml

    if entry.yaml_path is None:
        return dict(entry.cfg or {})
    return dict(load_yaml(entry.yaml_path, resolve_func=False))


def _missing_data(name: str, manager: Any) -> list[str]:
    entry = manager.task_index[name]
    config = _config(entry)
    source = config.get("dataset_path")
    if not isinstance(source, str) or Path(source).exists():
        return []
    if source in _LOCAL_BUILDERS:
        files = _beside((config.get("dataset_kwargs") or {}).get("data_files"), Path(entry.yaml_path).parent)
        return [f"Task {name!r}: no such data file: {file}" for file in _files(files) if _is_absent(file)]
    if _offline() and not _in_hub_cache(source):
        return [
            f"Task {name!r}: its data set {source!r} is not on this machine, and the hub is switched off."
        ]
    return []


def _beside(files: Any, folder: Path) -> Any:
    """The data files with each relative path that exists beside the task's file made absolute."""
    if isinstance(files, dict):
        return {split: _beside(value, folder) for split, value in files.items()}
    if isinstance(files, list):
        return [_beside(value, folder) for value in files]
    if isinstance(files, str) and "://" not in files and not Path(files).is_absolute():
        beside = folder / files
        return str(beside) if beside.exists() or any(folder.glob(files)) else files
    return files


def _files(files: Any) -> Iterator[str]:
    if isinstance(files, str):
        yield files
    elif isinstance(files, dict | list):
        for value in files.values() if isinstance(files, dict) else files:
            yield from _files(value)


def _is_absent(file: str) -> bool:
    return "://" not in file and "*" not in file and not Path(file).exists()


def _offline() -> bool:
    on = {"1", "true", "yes", "on"}
    return any(os.environ.get(name, "").lower() in on for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"))


def _in_hub_cache(source: str) -> bool:
    from datasets import config
    from huggingface_hub.constants import HF_HUB_CACHE

    hub = Path(HF_HUB_CACHE) / f"datasets--{source.replace('/', '--')}"
    return hub.is_dir() or (Path(config.HF_DATASETS_CACHE) / source.replace("/", "___")).is_dir()
