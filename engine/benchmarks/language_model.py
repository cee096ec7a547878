"""A loaded model as lm-eval sees it: counts what is answered, and survives running out of memory."""

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lm_eval.api.model import CacheHook
from lm_eval.models.huggingface import HFLM

from engine.generate.batches import free_memory, out_of_memory

if TYPE_CHECKING:
    from engine.generate.local import LocalModel

Progress = Callable[[int, int], None]


class CountingModel(HFLM):  # type: ignore[misc]  # lm-eval is untyped here
    """lm-eval's own transformers model around weights that are loaded already.

    `progress` is told how many of the requests so far are answered. Out of memory halves the batch size and
    asks the current requests again.
    """

    batch_size_per_gpu: int

    def __init__(
        self, active: Any, model: "LocalModel", batch_size: int, progress: Progress | None = None
    ) -> None:
        # lm-eval sets a pad token and a padding side on the tokenizer it is given.
        tokenizer = copy.deepcopy(model.tokenizer)
        super().__init__(pretrained=active, tokenizer=tokenizer, batch_size=batch_size)
        self._local = model
        self._count = _Count(progress)
        self.set_cache_hook(self._count)

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> Any:
        return self._halving(super().loglikelihood, requests)

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> Any:
        return self._halving(super().loglikelihood_rolling, requests)

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> Any:
        return self._halving(super().generate_until, requests)

    def _halving(self, ask: Callable[..., Any], requests: list[Any]) -> Any:
        answered = self._count.start(len(requests))
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

    def __init__(self, progress: Progress | None) -> None:
        super().__init__(None)
        self._progress = progress
        self._total = 0
        self.done = 0

    def start(self, requests: int) -> int:
        """Takes on more requests; returns how many were answered before them."""
        self._total += requests
        return self.done

    def add_partial(self, attr: str, req: Any, res: Any) -> None:
        self.done += 1
        if self._progress:
            self._progress(self.done, self._total)
