"""lm-evaluation-harness tasks on a loaded model, through its Python API, one task at a time.

lm-eval's own response cache is never used: it is keyed on the request alone, so that a second model would be
given the first one's answers.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.benchmarks.tasks import check_tasks, require_tasks, task_manager
from engine.errors import CannotRun
from engine.generate.fingerprint import digest
from engine.plan import Benchmarks

if TYPE_CHECKING:
    from engine.generate.local import LocalModel

__all__ = ["BenchmarkSample", "BenchmarkScore", "TaskResult", "check_tasks", "run_tasks"]

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

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class BenchmarkScore:
    """One metric of one task: lm-eval's "acc,none" is the metric "acc" after the filter "none".

    `task` is a single task, or the group that a plan named. `n` is how many documents counted.
    """

    task: str
    metric: str
    filter: str
    value: float | None
    stderr: float | None
    n: int
    version: str
    shots: int
    higher_is_better: bool


@dataclass(frozen=True, slots=True)
class BenchmarkSample:
    """One metric of one document, with the hashes that pair it with the same document of another run."""

    task: str
    metric: str
    filter: str
    doc_id: int
    doc_hash: str
    prompt_hash: str
    target_hash: str
    value: float
    question: str
    target: str
    answer: str


@dataclass(frozen=True, slots=True)
class TaskResult:
    """A finished task. Equal `task_hash`es mean that two runs asked the same documents in the same way."""

    task: str
    scores: tuple[BenchmarkScore, ...]
    samples: tuple[BenchmarkSample, ...]
    task_hash: str
    seconds: float


def run_tasks(
    model: "LocalModel", settings: Benchmarks, tasks: Sequence[str], progress: Progress | None = None
) -> Iterator[TaskResult]:
    """Runs the tasks on the model, in order, and yields each when it is finished.

    `progress` is told how many requests of the current task are answered, of how many. A task that fails does
    not stop the others. Raises BadInput for unknown tasks, and CannotRun at the end when some failed.
    """
    failed: list[str] = []
    with _quiet(), task_manager(settings.include, tasks) as manager:
        require_tasks(tasks, manager)
        for task in tasks:
            result = _run(model, settings, task, manager, progress)
            if isinstance(result, TaskResult):
                yield result
            else:
                failed.append(f"{task}: {result}")
    if failed:
        raise CannotRun(
            f"model {model.name!r}: {len(failed)} of {len(tasks)} benchmark tasks failed\n  "
            + "\n  ".join(failed),
            "The other tasks are kept. Correct the task's file or data, then resume.",
        )


def _run(
    model: "LocalModel", settings: Benchmarks, task: str, manager: Any, progress: Progress | None
) -> TaskResult | str:
    """The task's result, or why it has none: task files and their data are other people's code."""
    from datasets.exceptions import DatasetsError
    from jinja2 import TemplateError
    from lm_eval import evaluate

    from engine.benchmarks.language_model import CountingModel
    from engine.benchmarks.tasks import load_task

    start = time.monotonic()
    try:
        with model.active() as active:
            # What `simple_evaluate` does, without its four seconds of listing installed packages.
            found = evaluate(
                CountingModel(active, model, settings.batch_size, progress),
                load_task(task, settings.shots, manager),
                limit=settings.limit,
                bootstrap_iters=BOOTSTRAP_DRAWS,
                apply_chat_template=settings.apply_chat_template and bool(model.tokenizer.chat_template),
                fewshot_as_multiturn=True,
                log_samples=True,
            )
    except (*_TASK_ERRORS, DatasetsError, TemplateError) as error:
        logging.getLogger(__name__).warning("benchmark task %s failed", task, exc_info=error)
        return " ".join(f"{type(error).__name__}: {error}".split())
    samples = tuple(_samples(found["samples"]))
    hashes = sorted({(s.task, s.doc_hash, s.prompt_hash, s.target_hash) for s in samples})
    seconds = time.monotonic() - start
    return TaskResult(task, tuple(_scores(found)), samples, digest(hashes)[:16], seconds)


def _scores(found: dict[str, Any]) -> Iterator[BenchmarkScore]:
    for task, values in (found["results"] | found.get("groups", {})).items():
        for key, value in values.items():
            metric, comma, filter_name = key.partition(",")
            if not comma or metric.endswith("_stderr"):
                continue
            yield BenchmarkScore(
                task=task,
                metric=metric,
                filter=filter_name,
                value=_number(value),
                stderr=_number(values.get(f"{metric}_stderr,{filter_name}")),
                n=_count(found, task),
                version=str(found["versions"].get(task, "")),
                shots=int(found["n-shot"].get(task) or 0),
                higher_is_better=bool((found["higher_is_better"].get(task) or {}).get(metric, True)),
            )


def _count(found: dict[str, Any], task: str) -> int:
    """How many documents a task, or all tasks of a group, asked."""
    if task in found["n-samples"]:
        return int(found["n-samples"][task]["effective"])
    return sum(_count(found, member) for member in found["group_subtasks"].get(task, []))


def _samples(by_task: dict[str, list[dict[str, Any]]]) -> Iterator[BenchmarkSample]:
    for task, lines in by_task.items():
        for line in lines:
            for metric in line["metrics"]:
                value = _number(line[metric])
                # Corpus metrics such as BLEU keep a pair of texts for each document, not a number.
                if value is not None:
                    yield BenchmarkSample(
                        task=task,
                        metric=metric,
                        filter=line["filter"],
                        doc_id=int(line["doc_id"]),
                        doc_hash=line["doc_hash"],
                        prompt_hash=line["prompt_hash"],
                        target_hash=line["target_hash"],
                        value=value,
                        question=str(line["arguments"][0][0]),
                        target=_target(line),
                        answer=_answer(line),
                    )


def _target(line: dict[str, Any]) -> str:
    """The right answer's text; tasks with choices keep its place among them."""
    target, arguments = line["target"], line["arguments"]
    if _is_choice(line) and isinstance(target, int) and 0 <= target < len(arguments):
        return str(arguments[target][1]).strip()
    return str(target)


def _answer(line: dict[str, Any]) -> str:
    """What the model said, or the choice that it found likeliest."""
    responses = line["filtered_resps"]
    if _is_choice(line):
        likeliest = max(range(len(responses)), key=lambda place: responses[place][0])
        return str(line["arguments"][likeliest][1]).strip()
    first = responses[0] if isinstance(responses, list) and responses else responses
    return str(first)


def _is_choice(line: dict[str, Any]) -> bool:
    """Whether the document was answered by the log-likelihoods of several continuations."""
    responses = line["filtered_resps"]
    pairs = all(isinstance(response, tuple | list) and len(response) == 2 for response in responses)
    return pairs and len(responses) > 1 and len(responses) == len(line["arguments"])


def _number(value: Any) -> float | None:
    """The value as a number; lm-eval writes "N/A" for a standard error that it does not have."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return None if number != number else number


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
