"""A loaded model as lm-eval sees it, and the hash of everything a benchmark's numbers depend on."""

import copy
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import lm_eval
from lm_eval.api.model import CacheHook
from lm_eval.models.huggingface import HFLM

from engine.models.batches import free_memory, out_of_memory

if TYPE_CHECKING:
    from engine.models.local import LocalModel

Progress = Callable[[int, int], None]
_AUTO, _AUTO_ELSEWHERE = {"cuda": 128}, 16  # requests at a time to begin with


class CountingModel(HFLM):  # type: ignore[misc]  # lm-eval is untyped here
    """lm-eval's own transformers model around weights that are loaded already.

    `begin` is called before the first request and says how many there are; `progress` is told how many are
    answered, of how many. Out of memory halves the batch size and asks the current requests again. "auto"
    starts from a large batch: lm-eval asks the longest requests first, so that one too large shows at once.
    """

    batch_size_per_gpu: int

    def __init__(
        self,
        active: Any,
        model: "LocalModel",
        batch_size: int | Literal["auto"],
        begin: Callable[[], int],
        progress: Progress,
    ) -> None:
        # lm-eval sets a pad token and a padding side on the tokenizer it is given.
        tokenizer = copy.deepcopy(model.tokenizer)
        size = _AUTO.get(active.device.type, _AUTO_ELSEWHERE) if batch_size == "auto" else batch_size
        super().__init__(pretrained=active, tokenizer=tokenizer, batch_size=size)
        self._local = model
        self._count = _Count(begin, progress)
        self.set_cache_hook(self._count)

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> Any:
        return self._halving(super().loglikelihood, requests)

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> Any:
        return self._halving(super().loglikelihood_rolling, requests)

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> Any:
        return self._halving(super().generate_until, requests)

    def _halving(self, ask: Callable[..., Any], requests: list[Any]) -> Any:
        answered = self._count.start()
        while True:
            try:
                return ask(requests, disable_tqdm=True)
            except RuntimeError as error:
                if not out_of_memory(error) or self.batch_size_per_gpu == 1:
                    raise
            # After the handler: the error's frames hold the very tensors that must go.
            free_memory()
            self._count.done = answered
            self.batch_size_per_gpu = max(1, self.batch_size_per_gpu // 2)
            self._local.note_halved(self.batch_size_per_gpu)


class _Count(CacheHook):  # type: ignore[misc]  # lm-eval is untyped here
    """lm-eval tells its cache of every answered request; this one keeps only their number."""

    def __init__(self, begin: Callable[[], int], progress: Progress) -> None:
        super().__init__(None)
        self._begin = begin
        self._progress = progress
        self._total: int | None = None
        self.done = 0

    def start(self) -> int:
        """Takes on requests of one kind; returns how many of others were answered before them."""
        if self._total is None:
            self._total = self._begin()
            self._progress(0, self._total)
        return self.done

    def add_partial(self, attr: str, req: Any, res: Any) -> None:
        self.done += 1
        self._progress(self.done, self._total or 0)


# Raised when the same requests would be scored in another way here.
_SCORING = "1"
# Where a task's data lies; what it holds is hashed request by request.
_PLACES = {"dataset_kwargs", "dataset_path", "dataset_name", "custom_dataset"}


def identity(fingerprint: str, loaded: Mapping[str, Any]) -> str:
    """A hash over weights, tasks and every request, for tasks whose requests lm-eval has built.

    `fingerprint` is the model's: weights, adapter, tokenizer, template and dtype by content. The requests are
    the finished prompts, so that shots, limit, chat template and data are in them; the tasks' configurations
    tell how the answers are filtered and scored.
    """
    hashed = hashlib.sha256()
    head = [_SCORING, lm_eval.__version__, fingerprint, [_group(group) for group in _groups(loaded)]]
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
