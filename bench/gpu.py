"""What the transformers engine makes of a GPU, on a random Llama of a billion parameters, in some minutes.

    python -m bench.gpu [--model 1b] [--prompts N] [--vllm PROGRAM]

bfloat16 and fused attention: Assay's slots, sorted static batches, lm-eval's hf model, and vLLM where it is
installed, one after another, once each after a warm-up. "of the roofline" is the time in which the device
could read, at the bandwidth that a copy of a large tensor has, all that the decode steps read (the weights at
each step, and every row's keys and values), as a share of the time that they took. The memory is the largest
that torch had reserved, or the process's where there is no GPU. At last the base and two adapters answer the
prompts, and the time of all three is compared with three times the base's without adapters.

Without a GPU the model is "tiny" and in 32 bits, so that the script itself can be tried.
"""

import argparse
import resource
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model

from bench.generation import SERVED, SHAPES, Bench, Way, print_table, quiet, served_by_vllm, timed
from engine.models.batcher import MOST_SLOTS, MOST_SLOTS_ELSEWHERE
from engine.models.rows import free_memory

SLOTS = "slots"
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


def with_adapters(bench: Bench, way: Way) -> float:
    """Seconds of the base and of two adapters on it, as a multiple of three times the base's alone."""
    alone = statistics.median(seconds(way) for _ in range(3))
    lora = LoraConfig(r=16, target_modules=TARGETS, init_lora_weights=False)
    peft = get_peft_model(bench.model, lora, adapter_name="one")
    peft.add_adapter("two", lora)
    peft.eval()
    with peft.disable_adapter():
        spent = seconds(way)
    for adapter in ("one", "two"):
        peft.set_adapter(adapter)
        spent += seconds(way)
    return spent / (3 * alone)


def seconds(way: Callable[[], object]) -> float:
    began = time.perf_counter()
    way()
    return time.perf_counter() - began


def main(given: list[str] | None = None) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--model", choices=SHAPES, default="1b" if device == "cuda" else "tiny")
    arguments.add_argument("--prompts", type=int)
    arguments.add_argument("--vllm", type=Path, metavar="PROGRAM", default=shutil.which("vllm"))
    options = arguments.parse_args(given)
    quiet()

    shape = SHAPES[options.model]
    dtype = "bfloat16" if device == "cuda" else "float32"
    bench = Bench(shape, options.prompts or shape.prompts, dtype, device)
    slots = bench.slots_of(MOST_SLOTS.get(device, MOST_SLOTS_ELSEWHERE))
    slots()  # warms up the kernels
    speed = bandwidth(device)
    figures: list[tuple[Decoding, str]] = []

    def measured() -> tuple[dict[int, str], float | None]:
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        found = slots()
        figures.append((decoding(bench), peak_memory(device)))
        return found

    ways: dict[str, Way] = {
        SLOTS: measured,
        "sorted static, batch 32": bench.static_of(32),
        "lm-eval hf, batch 32": bench.lm_eval_of(32),
    }
    taken, last = timed(ways, 1)
    if options.vllm:
        free_memory()  # of the device, which the server takes its part of
        with served_by_vllm(bench, options.vllm) as way:
            more, answered = timed({SERVED: way}, 1)
        taken, last = taken | more, last | answered
    print_table(bench, taken, last)
    decoded, memory = figures[-1]
    print(f"\ndecoding: {decoded.share(speed):.1%} of the roofline at {speed / 1e9:,.0f} GB/s")
    print(f"peak memory of slots: {memory}")
    print(f"base and two adapters: {with_adapters(bench, slots):.2f}x of three times the base alone")


if __name__ == "__main__":
    main()
