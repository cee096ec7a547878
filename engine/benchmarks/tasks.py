"""lm-eval tasks: found by name, checked before a run, and loaded with local data where their file lies."""

import difflib
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from engine.benchmarks.data_sets import LOCAL_BUILDERS, Problem, beside, missing_files, missing_on_hub
from engine.errors import BadInput

_LIST_THEM = "List them with `lm-eval ls tasks`; local ones go into `include`."


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
                if config.get("dataset_path") in LOCAL_BUILDERS and entry.yaml_path:
                    settings = config.get("dataset_kwargs") or {}
                    files = beside(settings.get("data_files"), Path(entry.yaml_path).parent)
                    config["dataset_kwargs"] = {"cache_dir": cache, **settings, "data_files": files}
                return config

        folder = str(include.resolve()) if include else None
        manager = TaskManager(include_path=folder, include_defaults=False)
        # Reading lm-eval's own ten thousand task files takes seconds.
        if not all(_is_here(name, manager) for name in tasks):
            manager = TaskManager(include_path=folder)
        manager._factory = LocalDataFactory(meta=None)
        yield manager


def _is_here(name: str, manager: Any) -> bool:
    """Whether a task is known with all that is in it."""
    entry = manager.task_index.get(name)
    return entry is not None and all(_is_here(member, manager) for member in _members(entry) or ())


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


def check_tasks(tasks: Sequence[str], include: Path | None) -> list[Problem]:
    """What is wrong with the tasks of a plan: unknown names, data that is neither here nor to be had."""
    problems: list[Problem] = []
    configs: dict[str, dict[str, Any]] = {}
    with task_manager(include, tasks) as manager:
        for name in tasks:
            if name not in manager.task_index:
                problems.append(Problem(_unknown(name, manager.all_tasks), _LIST_THEM))
            for leaf in members(name, manager):
                entry = manager.task_index[leaf]
                configs[leaf] = _config(entry)
                if entry.yaml_path:
                    problems += missing_files(leaf, configs[leaf], Path(entry.yaml_path).parent)
    return [*problems, *missing_on_hub(configs)]


def require_tasks(tasks: Sequence[str], manager: Any) -> None:
    """Raises BadInput naming every task that lm-eval does not know."""
    if unknown := [_unknown(name, manager.all_tasks) for name in tasks if name not in manager.task_index]:
        raise BadInput("\n".join(unknown), _LIST_THEM)


def _unknown(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3)
    return f"Unknown benchmark task {name!r}." + (f" Nearest: {', '.join(close)}." if close else "")


def members(name: str, manager: Any) -> Iterator[str]:
    """The single tasks in a group or tag, or the task itself, by name; what is not known is left out."""
    entry = manager.task_index.get(name)
    if entry is None:
        return
    named = _members(entry)
    if named is None:
        yield name
    for member in named or ():
        yield from members(member, manager)


def _members(entry: Any) -> list[str] | None:
    """The names in a group or tag; None for a single task."""
    if entry.kind.name == "TAG":
        return sorted(entry.tags)
    named = _config(entry).get("task")
    if not isinstance(named, list):
        return None
    names = [item if isinstance(item, str) else item.get("task") or item.get("group") for item in named]
    return [name for name in names if isinstance(name, str)]


def _config(entry: Any) -> dict[str, Any]:
    from lm_eval.tasks._yaml_loader import load_yaml

    if entry.yaml_path is None:
        return dict(entry.cfg or {})
    return dict(load_yaml(entry.yaml_path, resolve_func=False))
