"""lm-evaluation-harness tasks on a loaded model, through its Python API, one task at a time.

lm-eval's own response cache is never used: it is keyed on the request alone, so that a second model would be
given the first one's answers.
"""

import copy
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import lm_eval
import torch
from lm_eval.api.model import CacheHook
from lm_eval.models.huggingface import HFLM

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
from engine.models.prompt import with_pinned_date
from engine.models.rows import entrance, free_memory, out_of_memory
from engine.plan.plan import Benchmarks

if TYPE_CHECKING:
    from engine.models.local import LocalModel
    from engine.models.served import ServedModel


TaskProgress = Callable[[int, int], None]
_AT_ONCE = 256  # requests handed to a server together
_AUTO, _AUTO_ELSEWHERE = {"cuda": 128}, 16  # requests at a time to begin with


class CountingModel(HFLM):  # type: ignore[misc]  # lm-eval is untyped here
    """lm-eval's own transformers model around weights that are loaded already.

    `begin` is called with the number of requests before the first one; `progress` with the numbers of
    answered and of all requests. Out of memory halves the batch size and repeats the current requests. "auto"
    starts from a large batch: lm-eval asks the longest requests first, so that one too large shows at once.
    """

    batch_size_per_gpu: int

    def __init__(
        self,
        active: Any,
        model: "LocalModel",
        batch_size: int | Literal["auto"],
        begin: Callable[[], int],
        progress: TaskProgress,
    ) -> None:
        # lm-eval sets a pad token and a padding side on the tokenizer it is given.
        tokenizer = copy.deepcopy(model.tokenizer)
        if isinstance(tokenizer.chat_template, str):
            tokenizer.chat_template = with_pinned_date(tokenizer.chat_template)
        size = _AUTO.get(entrance(active).type, _AUTO_ELSEWHERE) if batch_size == "auto" else batch_size
        told = dict(model.template_variables)
        super().__init__(pretrained=active, tokenizer=tokenizer, batch_size=size, chat_template_args=told)
        self._device = entrance(active)
        self._local = model
        self._count = _Count(begin, progress)
        self.set_cache_hook(self._count)
        self._cut = 0

    @property
    def note(self) -> str | None:
        """How many texts were cut, which lm-eval does without a word."""
        if not self._cut:
            return None
        count = f"{self._cut:,} of {self._count.total:,} texts"
        return f"{count} were cut at their beginning to fit {self._local.bound} of {self.max_length} tokens"

    def _loglikelihood_tokens(
        self,
        requests: list[tuple[Any, list[int], list[int]]],
        disable_tqdm: bool = False,
        override_bs: int | None = None,
    ) -> list[tuple[float, bool]]:
        most = self.max_length
        longest = max((len(continued) for _, _, continued in requests), default=0)
        if longest > most:
            raise ValueError(f"an answer of {longest} tokens exceeds {self._local.bound} of {most}")
        self._cut += sum(len(context) + len(continued) > most + 1 for _, context, continued in requests)
        return self._likelihoods(requests)

    def _likelihoods(self, requests: list[tuple[Any, list[int], list[int]]]) -> list[tuple[float, bool]]:
        found: list[tuple[float, bool]] = super()._loglikelihood_tokens(requests, disable_tqdm=True)
        return found

    def tok_batch_encode(
        self,
        strings: list[str],
        padding_side: str = "left",
        left_truncate_len: int | None = None,
        truncation: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        ids, shown = super().tok_batch_encode(strings, padding_side, None, truncation)
        if left_truncate_len:
            self._cut += int((shown.sum(dim=1) > left_truncate_len).sum())
            ids, shown = ids[:, -left_truncate_len:], shown[:, -left_truncate_len:]
        return ids, shown

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> Any:
        return self._halving(super().loglikelihood, requests)

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> Any:
        return self._halving(super().loglikelihood_rolling, requests)

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> Any:
        return self._halving(super().generate_until, requests)

    def _halving(self, ask: Callable[..., Any], requests: list[Any]) -> Any:
        answered, cut = self._count.start(), self._cut
        while True:
            try:
                return ask(requests, disable_tqdm=True)
            except RuntimeError as error:
                if not out_of_memory(error) or self.batch_size_per_gpu == 1:
                    raise
            # After the handler: the error's frames hold the very tensors that must go.
            free_memory()
            self._count.done, self._cut = answered, cut
            self.batch_size_per_gpu = max(1, self.batch_size_per_gpu // 2)
            self._local.note_halved(self.batch_size_per_gpu)


class ServedCountingModel(CountingModel):
    """The same with weights in a server of the run's own, which is asked with lm-eval's own tokens."""

    def __init__(self, model: "ServedModel", begin: Callable[[], int], progress: TaskProgress) -> None:
        super().__init__(model.base.shape, model, _AT_ONCE, begin, progress)
        self._device = torch.device("cpu")
        self._served = model
        longest = self.max_length if model.context is None else min(self.max_length, model.context)
        # lm-eval's texts are a token longer than what the model reads: the last one is only predicted.
        self._max_length = longest if model.server.engine.foretells else longest - 1

    def _likelihoods(self, requests: list[tuple[Any, list[int], list[int]]]) -> list[tuple[float, bool]]:
        texts = [(context + continued)[-self.max_length - 1 :] for _, context, continued in requests]
        found: dict[int, tuple[float, bool]] = {}
        for place, told in self._served.logprobs(texts):
            key, _, continued = requests[place]
            last = told[-len(continued) :]
            found[place] = sum(value for value, _ in last), all(rank == 1 for _, rank in last)
            if key is not None:
                self.cache_hook.add_partial("loglikelihood", key, found[place])
        return [found[place] for place in range(len(requests))]

    def _model_generate(
        self, context: Any, max_length: int, stop: list[str], attention_mask: Any, **settings: Any
    ) -> Any:
        drawn = settings.pop("do_sample", None) or settings.get("temperature", 0) > 0
        known: dict[str, Any] = {
            name: settings[name] for name in ("top_p", "top_k", "min_p") if drawn and name in settings
        }
        ends = self._served.base.generation_config.eos_token_id
        how: dict[str, Any] = {
            "max_tokens": max_length - context.shape[1],
            "temperature": settings.get("temperature", 1.0) if drawn else 0,
            **known,
            "repetition_penalty": settings.get("repetition_penalty", 1.0),
            "stop": stop,
            "stop_token_ids": [self.eot_token_id, *(ends if isinstance(ends, list) else [ends] * bool(ends))],
        }
        rows = zip(context.tolist(), attention_mask.tolist(), strict=True)
        prompts = [[token for token, shown in zip(*row, strict=True) if shown] for row in rows]
        answers = self._served.continued(prompts, how)
        width, pad = max(map(len, answers)), self.tokenizer.pad_token_id
        padded = torch.tensor([tokens + [pad] * (width - len(tokens)) for tokens in answers])
        return torch.cat([context, padded], dim=1)


@contextmanager
def _asked(
    model: "LocalModel", settings: Benchmarks, begin: Callable[[], int], report: TaskProgress
) -> Iterator[CountingModel]:
    """What lm-eval is to ask."""
    from engine.models.served import ServedModel

    if isinstance(model, ServedModel):
        yield ServedCountingModel(model, begin, report)
        return
    with model.active() as active:
        yield CountingModel(active, model, settings.batch_size, begin, report)


class _Count(CacheHook):  # type: ignore[misc]  # lm-eval is untyped here
    """lm-eval tells its cache of every answered request; this one keeps only their number."""

    def __init__(self, begin: Callable[[], int], progress: TaskProgress) -> None:
        super().__init__(None)
        self._begin = begin
        self._progress = progress
        self.total: int | None = None
        self.done = 0

    def start(self) -> int:
        """Takes on requests of one kind; returns how many of others were answered before them."""
        if self.total is None:
            self.total = self._begin()
            self._progress(0, self.total)
        return self.done

    def add_partial(self, attr: str, req: Any, res: Any) -> None:
        self.done += 1
        self._progress(self.done, self.total or 0)


# Raised when the same requests would be scored in another way here.
_SCORING = "2"
# Where a task's data lies; what it holds is hashed request by request.
_PLACES = {"dataset_kwargs", "dataset_path", "dataset_name", "custom_dataset"}


def identity(fingerprint: str, loaded: Mapping[str, Any], limit: int | None = None) -> str:
    """A hash over weights, tasks and every request, for tasks whose requests lm-eval has built.

    `fingerprint` is the model's: weights, adapter, tokenizer, template and dtype by content; `limit` is the
    plan's, of the tokens of a text, where it is below the model's context. The requests are the finished
    prompts, so that shots, chat template and data are in them, and how many; the tasks' configurations tell
    how the answers are filtered and scored.
    """
    hashed = hashlib.sha256()
    groups = [_group(group) for group in _groups(loaded)]
    head = [_SCORING, lm_eval.__version__, fingerprint, limit, groups]
    for part in _parts(head, loaded["tasks"]):
        hashed.update(json.dumps(part, default=str, sort_keys=True).encode())
    return hashed.hexdigest()


def _parts(head: list[Any], tasks: Mapping[str, Any]) -> Iterable[Any]:
    yield head
    for name, task in sorted(tasks.items()):
        config = {key: value for key, value in task.dump_config().items() if key not in _PLACES}
        metadata = config.pop("metadata", None) or {}
        config |= {key: value for key, value in metadata.items() if key != "config_source"}
        yield [name, str(task.VERSION), type(task).__qualname__, config]
        before = None
        for request in task.instances:
            document = None if request.doc_id == before else request.doc
            before = request.doc_id
            yield [request.request_type, request.doc_id, request.repeats, request.args, document]


def _groups(loaded: Mapping[str, Any]) -> list[Any]:
    return sorted((loaded.get("groups") or {}).values(), key=lambda group: str(group.name))


def _group(group: Any) -> list[Any]:
    return [group.name, sorted(group.child_names), str(group.aggregate_metric_list)]


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
    """Leaves lm-eval's `evaluate` before the model is asked the same questions again."""


def run_tasks(
    model: "LocalModel",
    settings: Benchmarks,
    tasks: Sequence[str],
    progress: Progress | None = None,
    known: Collection[str] = (),
) -> Iterator[TaskResult | KnownTask]:
    """Runs the tasks on the model, in order, and yields each when it is finished.

    `progress` gets the current task, and the numbers of its answered and of all requests. A task whose
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
            "The other tasks are saved. Correct the task's file or data, then resume.",
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

    from engine.benchmarks.tasks import load_task

    start = time.monotonic()
    identified = ""

    def begin() -> int:
        """How many requests there are, once lm-eval has built them all."""
        nonlocal identified
        limit = None if model.context == model.base.context else model.context
        identified = identity(model.fingerprint, loaded, limit)
        if identified in known:
            raise _Known
        built = (request for own in loaded["tasks"].values() for request in own.instances)
        return sum(request.repeats for request in built)

    def report(done: int, total: int) -> None:
        if progress:
            progress(task, done, total)

    try:
        loaded = load_task(task, settings.shots, manager)
        with _asked(model, settings, begin, report) as asked:
            # What `simple_evaluate` does, without its four seconds of listing installed packages.
            found = evaluate(
                asked,
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
    return _result(task, found, identified, time.monotonic() - start, asked.note)


def _result(
    task: str, found: dict[str, Any], identified: str, seconds: float, note: str | None
) -> TaskResult:
    hashes = {name: hash_of_lines(lines) for name, lines in found["samples"].items()}
    groups = members_of(found)
    if task not in groups and task not in hashes:
        groups[task] = tuple(hashes)  # a tag: lm-eval aggregates nothing under its name
    samples = [sample for name, lines in found["samples"].items() for sample in samples_of(name, lines)]
    return TaskResult(
        task=task,
        scores=tuple(replace(score, reason=score.reason or note) for score in scores_of(found, hashes)),
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
