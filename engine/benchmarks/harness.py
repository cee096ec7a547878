"""lm-evaluation-harness tasks on a loaded model, through its Python API, one task at a time.

lm-eval's own response cache is never used: it is keyed on the request alone, so that a second model would be
given the first one's answers.
"""

import logging
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from engine.benchmarks.results import (
    BenchmarkSample,
    BenchmarkScore,
    KnownTask,
    TaskResult,
    hash_of_lines,
    leaves,
    members_of,
    samples_of,
    scores_of,
    task_hash,
)
from engine.benchmarks.tasks import check_tasks, members, require_tasks, task_manager
from engine.errors import CannotRun
from engine.plan.plan import Benchmarks

if TYPE_CHECKING:
    from engine.models.local import LocalModel

__all__ = ["BenchmarkSample", "BenchmarkScore", "KnownTask", "TaskResult", "check_tasks", "run_tasks"]

# Means have an exact standard error; lm-eval's 100,000 draws for the few others take minutes.
BOOTSTRAP_DRAWS = 1000

# What code and data of a task may raise; anything else is not the task's doing and stops the run.
_TASK_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)

Progress = Callable[[str, int, int], None]


class _Known(Exception):
    """Leaves lm-eval's `evaluate` before the model is asked what it was asked before."""


def run_tasks(
    model: "LocalModel",
    settings: Benchmarks,
    tasks: Sequence[str],
    progress: Progress | None = None,
    known: Collection[str] = (),
) -> Iterator[TaskResult | KnownTask]:
    """Runs the tasks on the model, in order, and yields each when it is finished.

    `progress` is told the current task, how many of its requests are answered, and of how many. A task whose
    identity is among the `known` ones is not run. A task that fails does not stop the others. Raises BadInput
    for unknown tasks, and CannotRun at the end when some failed.
    """
    failed: list[str] = []
    covered: set[str] = set()  # members of groups that were finished before
    with _quiet(), task_manager(settings.include, tasks) as manager:
        require_tasks(tasks, manager)
        for task in (name for name in tasks if name not in covered):
            result = _run(model, settings, task, manager, progress, known)
            if isinstance(result, str):
                failed.append(f"{task}: {result}")
            else:
                covered.update(members(task, manager))
                yield result
    if failed:
        raise CannotRun(
            f"model {model.name!r}: {len(failed)} of {len(tasks)} benchmark tasks failed\n  "
            + "\n  ".join(failed),
            "The other tasks are kept. Correct the task's file or data, then resume.",
        )


def _run(
    model: "LocalModel",
    settings: Benchmarks,
    task: str,
    manager: Any,
    progress: Progress | None,
    known: Collection[str],
) -> TaskResult | KnownTask | str:
    """The task's result, or why it has none: task files and their data are other people's code."""
    from datasets.exceptions import DatasetsError
    from jinja2 import TemplateError
    from lm_eval import evaluate

    from engine.benchmarks.language_model import CountingModel, identity
    from engine.benchmarks.tasks import load_task

    start = time.monotonic()
    identified = ""

    def begin() -> int:
        """How many requests there are, once lm-eval has built them all."""
        nonlocal identified
        identified = identity(model.fingerprint, loaded)
        if identified in known:
            raise _Known
        built = (request for own in loaded["tasks"].values() for request in own.instances)
        return sum(request.repeats for request in built)

    def report(done: int, total: int) -> None:
        if progress:
            progress(task, done, total)

    try:
        loaded = load_task(task, settings.shots, manager)
        with model.active() as active:
            # What `simple_evaluate` does, without its four seconds of listing installed packages.
            found = evaluate(
                CountingModel(active, model, settings.batch_size, begin, report),
                loaded,
                limit=settings.limit,
                bootstrap_iters=BOOTSTRAP_DRAWS,
                apply_chat_template=settings.apply_chat_template and bool(model.tokenizer.chat_template),
                fewshot_as_multiturn=True,
                log_samples=True,
            )
    except _Known:
        return KnownTask(task, identified)
    except (*_TASK_ERRORS, DatasetsError, TemplateError) as error:
        logging.getLogger(__name__).warning("benchmark task %s failed", task, exc_info=error)
        return " ".join(f"{type(error).__name__}: {error}".split())
    return _result(task, found, identified, time.monotonic() - start)


def _result(task: str, found: dict[str, Any], identified: str, seconds: float) -> TaskResult:
    hashes = {name: hash_of_lines(lines) for name, lines in found["samples"].items()}
    groups = members_of(found)
    if task not in groups and task not in hashes:
        groups[task] = tuple(hashes)  # a tag: lm-eval aggregates nothing under its name
    samples = [sample for name, lines in found["samples"].items() for sample in samples_of(name, lines)]
    return TaskResult(
        task=task,
        scores=tuple(scores_of(found, hashes)),
        samples=tuple(samples),
        task_hash=task_hash(task, hashes, groups) or "",
        seconds=seconds,
        identity=identified,
        members={name: leaves(name, groups) for name in groups},
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps lm-eval's and datasets' own progress out of the log, and its resampling in this process."""
    import datasets

    logger = logging.getLogger("lm_eval")
    level, pool = logger.level, os.environ.get("DISABLE_MULTIPROC")
    bars = datasets.are_progress_bars_disabled()
    logger.setLevel(logging.ERROR)
    os.environ["DISABLE_MULTIPROC"] = "1"
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(level)
        if pool is None:
            del os.environ["DISABLE_MULTIPROC"]
        if not bars:
            datasets.enable_progress_bars()
