"""lm-eval tasks: found by name, checked before a run, with the data sets that they need."""

import difflib
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from engine.data.files import hub_silence
from engine.errors import BadInput

LOCAL_BUILDERS = {"json", "csv", "parquet", "text", "arrow"}


class TaskProblem(NamedTuple):
    """A task's problem, and its fix."""

    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set on the hub as `datasets.load_dataset` is asked for it."""

    path: str
    config: str | None
    settings: tuple[tuple[str, str], ...]  # other arguments, as Python source


def missing_on_hub(configs: Mapping[str, Mapping[str, Any]]) -> list[TaskProblem]:
    """The hub's data sets that tasks (name to configuration) need, are not here, and cannot be fetched."""
    needed: dict[str, dict[DataSet, list[str]]] = defaultdict(lambda: defaultdict(list))
    for task, config in configs.items():
        found = _on_hub(config)
        if found is not None and not _is_prepared(found):
            needed[found.path][found].append(task)
    if not needed:
        return []
    why = hub_silence("", "HF_DATASETS_OFFLINE")
    return [_missing(path, wanted, why) for path, wanted in needed.items()] if why else []


def missing_files(task: str, config: Mapping[str, Any], folder: Path) -> list[TaskProblem]:
    """The local data files of a task that are not there; relative ones lie beside the task's file."""
    if config.get("dataset_path") not in LOCAL_BUILDERS:
        return []
    files = beside((config.get("dataset_kwargs") or {}).get("data_files"), folder)
    return [
        TaskProblem(f"Task {task!r}: no such data file: {file}", f"put it into {folder}")
        for file in _files(files)
        if "://" not in file and "*" not in file and not Path(file).exists()
    ]


def beside(files: Any, folder: Path) -> Any:
    """The data files with each relative path that exists beside the task's file made absolute."""
    if isinstance(files, dict):
        return {split: beside(value, folder) for split, value in files.items()}
    if isinstance(files, list):
        return [beside(value, folder) for value in files]
    if isinstance(files, str) and "://" not in files and not Path(files).is_absolute():
        near = folder / files
        return str(near) if near.exists() or any(folder.glob(files)) else files
    return files


def _on_hub(config: Mapping[str, Any]) -> DataSet | None:
    path = config.get("dataset_path")
    if not isinstance(path, str) or path in LOCAL_BUILDERS or Path(path).exists():
        return None
    name = config.get("dataset_name")
    settings = (config.get("dataset_kwargs") or {}).items()
    others = tuple((str(key), repr(value)) for key, value in settings if key != "trust_remote_code")
    return DataSet(path, None if name is None else str(name), others)


def _missing(path: str, wanted: Mapping[DataSet, list[str]], why: str) -> TaskProblem:
    tasks = [task for own in wanted.values() for task in own]
    named = f"{tasks[0]} needs" if len(tasks) == 1 else f"{tasks[0]} and {len(tasks) - 1} other tasks need"
    return TaskProblem(
        f"The data set {path!r}, which {named}, is not on this machine, and the hub is out of reach: {why}.",
        f"Download it on a machine with network access, with the same HF_HOME: {_command(list(wanted))}",
    )


def _command(wanted: list[DataSet]) -> str:
    """A shell command that fetches data sets of one path as lm-eval does."""
    configs = [data.config for data in wanted]
    if len(wanted) > 1 and all(configs) and len({data.settings for data in wanted}) == 1:
        calls = f"[{_call(wanted[0], 'name')} for name in {configs!r}]"
    else:
        calls = "; ".join(_call(data, repr(data.config)) for data in wanted)
    source = f"import datasets; {calls}".replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'python -c "{source}"'


def _call(data: DataSet, config: str) -> str:
    arguments = [repr(data.path), *([config] if data.config else [])]
    arguments += [f"{key}={value}" for key, value in data.settings]
    return f"datasets.load_dataset({', '.join(arguments)})"


def _is_prepared(data: DataSet) -> bool:
    """Whether `datasets` has the data in the form that it reads without asking the hub."""
    from datasets import config
    from datasets.naming import camelcase_to_snakecase

    *namespace, name = data.path.split("/")
    folder = Path(config.HF_DATASETS_CACHE) / "___".join([*namespace, camelcase_to_snakecase(name)])
    # A configuration with data files of its own has a hash behind its name.
    names = [data.config, f"{data.config}-*"] if data.config else ["*"]
    return any(path.is_dir() for pattern in names for path in folder.glob(f"{pattern}/*/*"))


def _files(files: Any) -> Iterator[str]:
    if isinstance(files, str):
        yield files
    elif isinstance(files, dict | list):
        inner: Iterable[Any] = files.values() if isinstance(files, dict) else files
        for value in inner:
            yield from _files(value)


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
        _sandbox_templates()

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


def _sandbox_templates() -> None:
    """lm-eval renders the templates of task files unsandboxed: one could run any Python."""
    from jinja2.sandbox import SandboxedEnvironment
    from lm_eval import utils

    if not isinstance(utils.env, SandboxedEnvironment):
        own = SandboxedEnvironment(undefined=utils.env.undefined, keep_trailing_newline=True)
        own.filters |= utils.env.filters
        utils.env = own


def _is_here(name: str, manager: Any) -> bool:
    """Whether a task is known with all that is in it."""
    entry = manager.task_index.get(name)
    return entry is not None and all(_is_here(member, manager) for member in _members(entry) or ())


def load_task(name: str, shots: int | None, manager: Any) -> Any:
    """The task or group as lm-eval's `evaluate` takes it, set up and seeded as its `simple_evaluate` does.

    `shots` replaces the number of worked examples in the prompt, except for tasks with a fixed number of 0.
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


def check_tasks(tasks: Sequence[str], include: Path | None) -> list[TaskProblem]:
    """The problems of a plan's tasks: unknown names, and data that is neither here nor downloadable."""
    problems: list[TaskProblem] = []
    configs: dict[str, dict[str, Any]] = {}
    with task_manager(include, tasks) as manager:
        for name in tasks:
            if name not in manager.task_index:
                problems.append(TaskProblem(_unknown(name, manager.all_tasks), _LIST_THEM))
            for leaf in members(name, manager):
                entry = manager.task_index[leaf]
                configs[leaf] = _config(entry)
                if entry.yaml_path:
                    problems += missing_files(leaf, configs[leaf], Path(entry.yaml_path).parent)
    return [*problems, *missing_on_hub(configs)]


def own_functions(tasks: Sequence[str], include: Path) -> dict[str, Path | None]:
    """The functions (`module.name`) that the tasks' files tell lm-eval to import, and where each comes from.

    None is an installed module's. lm-eval's own task files, which it installs, are left out.
    """
    import lm_eval
    import yaml

    installed = Path(lm_eval.__file__).parent
    found: dict[str, Path | None] = {}

    def read(file: Path, seen: set[Path]) -> None:
        if file in seen or file.is_relative_to(installed) or not file.is_file():
            return
        seen.add(file)
        for key, node in _nodes(yaml.compose(file.read_text("utf-8"), yaml.SafeLoader)):
            if node.tag == "!function":
                place = (file.parent / f"{node.value.rpartition('.')[0].replace('.', '/')}.py").resolve()
                found[node.value] = place if place.exists() else None
            elif key == "include" and isinstance(node.value, str):
                read((file.parent / node.value).resolve(), seen)

    with task_manager(include, tasks) as manager:
        seen: set[Path] = set()
        for entry in _entries(tasks, manager):
            if entry.yaml_path:
                read(Path(entry.yaml_path).resolve(), seen)
    return found


def _nodes(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every node of a YAML file, with the key that it or the list around it stands under."""
    if node is None:
        return
    yield key, node
    if isinstance(node.value, list):
        for item in node.value:
            if isinstance(item, tuple):
                yield from _nodes(item[1], str(item[0].value))
            else:
                yield from _nodes(item, key)


def _entries(tasks: Iterable[str], manager: Any) -> Iterator[Any]:
    """The tasks, groups and tags of those names, and all that is in them."""
    for name in tasks:
        if (entry := manager.task_index.get(name)) is not None:
            yield entry
            yield from _entries(_members(entry) or (), manager)


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
