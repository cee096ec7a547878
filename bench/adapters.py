"""Rows of several LoRA adapters in one batch, against one adapter after another, on the same weights.

    python -m bench.adapters [--rounds 3] [--threads 1] [--hidden 96] [--layers 4] [--device cpu]

Both ways answer the same prompts with the same adapters in one run, in fp32, and the answers are compared. A
batch of several adapters is peft's `adapter_names`. All answers have one length, so that only the cost of a
step differs: at "full slots" every adapter has a prompt for each slot, with "few prompts" it takes all
adapters together to fill them. The ratio is the median over the rounds of the ratio within a round; above 1
the mixed batch is the faster.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

VOCABULARY = 512
PROMPT, ANSWER = 48, 64
SLOTS = 32
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

Row = tuple[str, list[int]]  # an adapter and a prompt for it


def make_model(hidden: int, layers: int, adapters: int, device: str) -> Any:
    """A random Llama with that many random LoRA adapters of rank 16 on every linear layer."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=max(1, hidden // 32),
        max_position_embeddings=PROMPT + ANSWER,
        initializer_range=0.2,
    )
    lora = LoraConfig(r=16, target_modules=TARGETS, init_lora_weights=False)
    model = get_peft_model(LlamaForCausalLM(config), lora, adapter_name="adapter_0")
    for place in range(1, adapters):
        model.add_adapter(f"adapter_{place}", lora)
    return model.eval().to(device)


def answer(model: Any, rows: Sequence[Row], **mixed: list[str]) -> list[list[int]]:
    """The greedy answers of one batch; `adapter_names` in `mixed` says whose each row is."""
    cache = DynamicCache(config=model.config)
    tokens = torch.tensor([prompt for _, prompt in rows], device=model.device)
    chosen = []
    with torch.inference_mode():
        for _ in range(ANSWER):
            logits = model(
                input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1, **mixed
            ).logits
            tokens = logits.argmax(-1)
            chosen.append(tokens)
    answers: list[list[int]] = torch.cat(chosen, dim=1).tolist()
    return answers


def one_after_another(model: Any, work: Sequence[Row]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for adapter in dict.fromkeys(adapter for adapter, _ in work):
        model.set_adapter(adapter)
        places = [place for place, (own, _) in enumerate(work) if own == adapter]
        for start in range(0, len(places), SLOTS):
            batch = places[start : start + SLOTS]
            found |= dict(zip(batch, answer(model, [work[place] for place in batch]), strict=True))
    return found


def mixed(model: Any, work: Sequence[Row]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for start in range(0, len(work), SLOTS):
        rows = work[start : start + SLOTS]
        answers = answer(model, rows, adapter_names=[adapter for adapter, _ in rows])
        found |= dict(enumerate(answers, start))
    return found


def make_work(adapters: int, prompts: int) -> list[Row]:
    """That many prompts for each adapter, the adapters by turns."""
    chance = torch.Generator().manual_seed(1)
    texts = torch.randint(VOCABULARY, (adapters * prompts, PROMPT), generator=chance).tolist()
    return [(f"adapter_{place % adapters}", text) for place, text in enumerate(texts)]


def timed(way: Any, model: Any, work: Sequence[Row]) -> tuple[float, dict[int, list[int]]]:
    began = time.perf_counter()
    found = way(model, work)
    return time.perf_counter() - began, found


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--hidden", type=int, default=96)
    arguments.add_argument("--layers", type=int, default=4)
    arguments.add_argument("--device", default="cpu")
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)

    print(f"hidden {options.hidden}, {options.layers} layers, {SLOTS} slots, answers of {ANSWER} tokens\n")
    print("| adapters | prompts of each | one after another, tokens/s | mixed, tokens/s | x | differing |")
    print("|---|---|---|---|---|---|")
    for adapters in (2, 4, 8):
        model = make_model(options.hidden, options.layers, adapters, options.device)
        for name, prompts in (("full slots", SLOTS), ("few prompts", SLOTS // adapters)):
            work = make_work(adapters, prompts)
            mixed(model, work[:SLOTS])  # warms up the kernels
            rounds = [
                (timed(one_after_another, model, work), timed(mixed, model, work))
                for _ in range(options.rounds)
            ]
            ratio = statistics.median(apart[0] / together[0] for apart, together in rounds)
            tokens = len(work) * ANSWER
            rates = [tokens / statistics.median(one[side][0] for one in rounds) for side in (0, 1)]
            (_, right), (_, found) = rounds[-1]
            differing = sum(found[place] != right[place] for place in right)
            figures = f"{rates[0]:,.0f} | {rates[1]:,.0f} | {ratio:.2f} | {differing} of {len(work)}"
            print(f"| {adapters} | {name}, {prompts} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
