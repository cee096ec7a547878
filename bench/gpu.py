"""What the transformers engine makes of a GPU, on a random Llama of a billion parameters, within six minutes.

    python -m bench.gpu [--model 1b] [--prompts N] [--vllm PROGRAM] [--within SECONDS]

bfloat16 and fused attention: Assay's slots, vLLM where it is installed, a base with two adapters, lm-eval's
hf model, and sorted static batches, one after another. Each part is told as it ends; of one that fails, or
takes longer than it may, the reason is told, and the others go on.
"of the roofline" is the time in which the device could read, at the bandwidth that a copy of a large tensor
has, all that the decode steps read (the weights at each step, and every row's keys and values), as a share of
the time that they took. The memory is the largest that torch had reserved, or the process's where there is no
GPU. The base and two adapters answer a quarter of the prompts, and the time that a token takes is compared
with that of the base without adapters.

Without a GPU the model is "tiny" and in 32 bits, so that the script itself can be tried.
"""

import argparse
import copy
import resource
import shutil
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model

from bench.generation import (
    SERVED,
    SHAPES,
    Answers,
    Bench,
    Taken,
    Way,
    print_table,
    quiet,
    served_by_vllm,
    timed,
)
from engine.models.batcher import MOST_SLOTS, MOST_SLOTS_ELSEWHERE
from engine.models.rows import free_memory

SLOTS, ADAPTERS = "slots", "base and two adapters"
HARNESS, STATIC = "lm-eval hf, batch 32", "sorted static, batch 32"
WITHIN = 310.0  # seconds for all parts: with the imports before them, the whole ends within six minutes
# Seconds that a part may take, in the order of the parts: what matters most comes first.
LIMITS = {SLOTS: 70.0, SERVED: 140.0, ADAPTERS: 40.0, HARNESS: 100.0, STATIC: 60.0}
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj"]
COPIED = 256 * 2**20  # bytes


@dataclass(frozen=True, slots=True)
class Decoding:
    """The decode steps of a run with slots: bytes that they had to read, and the seconds that they took."""

    read: int
    seconds: float

    def share(self, bandwidth: float) -> float:
        """The share of the seconds that reading at this bandwidth, in bytes a second, would take."""
        return self.read / bandwidth / self.seconds


def bandwidth(device: str) -> float:
    """Bytes a second that a copy of a large tensor reads and writes, in the fastest of five."""
    source = torch.ones(COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    taken = []
    for _ in range(5):
        synchronize(device)
        began = time.perf_counter()
        target.copy_(source)
        synchronize(device)
        taken.append(time.perf_counter() - began)
    return 2 * COPIED / min(taken)


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def decoding(bench: Bench) -> Decoding:
    """What the bench's last run with slots read: the weights at every step, and each row's tokens so far."""
    shape, model = bench.shape, bench.model
    size = model.dtype.itemsize
    unread = 0 if shape.tied else shape.vocabulary * shape.hidden  # of the embeddings a step reads few rows
    weights = (model.num_parameters() - unread) * size
    token = 2 * shape.layers * shape.key_heads * (shape.hidden // shape.heads) * size
    # An answer's first token comes with its prompt; each later step reads one token more.
    read = sum(
        (len(bench.prompts[place]) + step) * token
        for place, tokens in bench.tokens.items()
        for step in range(1, tokens)
    )
    return Decoding(bench.figures.steps * weights + read, bench.figures.new_seconds)


def peak_memory(device: str) -> str:
    if device == "cuda":
        return f"{torch.cuda.max_memory_reserved() / 2**30:.2f} GiB of the GPU"
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB of the process"


def quarter(bench: Bench) -> Bench:
    """The bench with every fourth of its prompts, and a count of tokens of its own."""
    found = copy.copy(bench)
    found.prompts, found.texts, found.requests = bench.prompts[::4], bench.texts[::4], bench.requests[::4]
    found.tokens = {}
    return found


def with_adapters(bench: Bench, way: Way) -> float:
    """The seconds that a token of the base and of two adapters takes, as a multiple of the base's alone.

    By token: a random adapter's answers have other lengths.
    """

    def run() -> tuple[float, int]:
        bench.tokens.clear()
        began = time.perf_counter()
        way()
        return time.perf_counter() - began, sum(bench.tokens.values())

    alone = statistics.median(taken / tokens for taken, tokens in (run() for _ in range(3)))
    lora = LoraConfig(r=16, target_modules=TARGETS, init_lora_weights=False)
    peft = get_peft_model(bench.model, lora, adapter_name="one")
    peft.add_adapter("two", lora)
    peft.eval()
    try:
        with peft.disable_adapter():
            runs = [run()]
        for adapter in ("one", "two"):
            peft.set_adapter(adapter)
            runs.append(run())
    finally:
        peft.unload()
    return sum(taken for taken, _ in runs) / sum(tokens for _, tokens in runs) / alone


class TooLong(Exception):
    """A part has taken all the time that it has."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises TooLong in what is done here once so many seconds have passed."""

    def end(_number: int, _frame: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Measuring:
    """The parts on one bench, and what the ways among them took and answered."""

    def __init__(self, bench: Bench, vllm: Path | None) -> None:
        self.bench = bench
        self.taken: dict[str, list[Taken]] = {}
        self.last: dict[str, tuple[Answers, float | None]] = {}
        self.failed: list[str] = []
        self._vllm = vllm
        self._device = bench.model.device.type
        self._part = quarter(bench)
        most = MOST_SLOTS.get(self._device, MOST_SLOTS_ELSEWHERE)
        self._slots, self._few = bench.slots_of(most), self._part.slots_of(most)

    @property
    def parts(self) -> dict[str, Callable[[], str]]:
        return {
            SLOTS: self._with_slots,
            **({SERVED: self._with_vllm} if self._vllm else {}),
            ADAPTERS: lambda: f"{with_adapters(self._part, self._few):.2f}x of the base alone, by token",
            HARNESS: lambda: self._answered(HARNESS, self.bench.lm_eval_of(32)),
            STATIC: lambda: self._answered(STATIC, self.bench.static_of(32)),
        }

    def tell(self, name: str, part: Callable[[], str], seconds: float) -> None:
        """Prints what a part found; where it found nothing, why."""
        try:
            with limited(seconds):
                said = part()
        except TooLong:
            said = f"not measured: {max(0.0, seconds):.0f} s were not enough"
        except Exception as error:  # the other parts are measured whatever is wrong with this one
            self.failed.append(name)
            said = f"not measured: {type(error).__name__}: {error}"
        print(f"{name}: {said}", flush=True)
        free_memory()

    def _with_slots(self) -> str:
        self._few()  # warms up the kernels
        if self._device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        said = self._answered(SLOTS, self._slots)
        memory, decoded, speed = peak_memory(self._device), decoding(self.bench), bandwidth(self._device)
        share = f"{decoded.share(speed):.1%} of the roofline at {speed / 1e9:,.0f} GB/s"
        return f"{said}, decoding {share}, peak memory {memory}"

    def _with_vllm(self) -> str:
        assert self._vllm is not None
        began = time.perf_counter()
        with served_by_vllm(self.bench, self._vllm) as way:
            started = time.perf_counter() - began
            return f"{self._answered(SERVED, way)}, after a start of {started:.0f} s"

    def _answered(self, name: str, way: Way) -> str:
        taken, last = timed({name: way}, 1)
        self.taken |= taken
        self.last |= last
        wall = taken[name][0].wall
        return f"{sum(self.bench.tokens.values()) / wall:,.0f} tokens/s in {wall:.1f} s"


def main(given: list[str] | None = None) -> None:
    began = time.monotonic()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--model", choices=SHAPES, default="1b" if device == "cuda" else "tiny")
    arguments.add_argument("--prompts", type=int)
    arguments.add_argument("--vllm", type=Path, metavar="PROGRAM", default=shutil.which("vllm"))
    arguments.add_argument("--within", type=float, metavar="SECONDS", default=WITHIN)
    options = arguments.parse_args(given)
    quiet()

    shape = SHAPES[options.model]
    dtype = "bfloat16" if device == "cuda" else "float32"
    measuring = Measuring(Bench(shape, options.prompts or shape.prompts, dtype, device), options.vllm)
    for name, part in measuring.parts.items():
        measuring.tell(name, part, min(LIMITS[name], options.within - (time.monotonic() - began)))
    if SLOTS in measuring.taken:
        print()
        print_table(measuring.bench, measuring.taken, measuring.last)
    if measuring.failed:
        sys.exit(f"failed: {', '.join(measuring.failed)}")


if __name__ == "__main__":
    main()
