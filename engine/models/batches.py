"""Work in batches that survives running out of memory."""

import gc
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_batches(
    items: Sequence[Item],
    size: int,
    run: Callable[[Sequence[Item]], list[Result]],
    too_large: Callable[[Item], Result],
    halved: Callable[[int], None],
) -> Iterator[list[Result]]:
    """Runs items in batches of `size`, in order, and yields each batch's results as it is finished.

    Out of memory halves the size for the rest and repeats that batch only: what was finished is kept.
    `halved` gets the new size. An item that does not fit even alone gets `too_large(item)`.
    """
    start = 0
    while start < len(items):
        batch = items[start : start + size]
        results = _attempt(batch, run)
        if results is not None:
            start += len(batch)
            yield results
        elif len(batch) > 1:
            size = len(batch) // 2
            halved(size)
        else:
            start += 1
            yield [too_large(batch[0])]


def _attempt(batch: Sequence[Item], run: Callable[[Sequence[Item]], list[Result]]) -> list[Result] | None:
    try:
        return run(batch)
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
    # After the handler: the error's frames hold the very tensors that must go.
    free_memory()
    return None


def out_of_memory(error: BaseException) -> bool:
    """Whether the error is a GPU's or the CPU allocator's "no memory left"."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def free_memory() -> None:
    """Gives freed tensors' memory back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
