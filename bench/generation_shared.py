"""Three models of a plan on one base (bare, with a system prompt, with an adapter), against one at a time.

    python -m bench.generation_shared [--rounds 3] [--threads 1] [--hidden 256] [--layers 6] [--prompts 64]

Everything goes through LocalModel, as in a run, on a random Llama in fp32 on the CPU. Printed are the memory
of three against one, the time of three against each on a base of its own, the time to the first response
against the time to load, and the share of a decode step that passes outside the model's forward.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from bench.generation import VOCABULARY, make_tokenizer
from engine.data.example import Example
from engine.models.local import LocalBase, LocalModel
from engine.models.model import Settings
from engine.plan.plan import Model

SETTINGS = Settings(max_new_tokens=64, slots=32)
# A first answer of one token: what there is to wait for besides loading.
FIRST = Settings(max_new_tokens=1)


def make_files(folder: Path, hidden: int, layers: int) -> tuple[Path, Path]:
    """A base and an adapter on it, as folders."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        max_position_embeddings=1024,
        initializer_range=0.2,
        pad_token_id=0,
        eos_token_id=2,
    )
    base, adapter = folder / "base", folder / "adapter"
    model = LlamaForCausalLM(config)
    model.save_pretrained(base)
    make_tokenizer().save_pretrained(base)
    lora = LoraConfig(r=16, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    peft = get_peft_model(LlamaForCausalLM.from_pretrained(base), lora)
    peft.save_pretrained(adapter)
    return base, adapter


def models_of(base: Path, adapter: Path) -> list[Model]:
    system = " ".join(f"w{20 + place}" for place in range(32))
    return [
        Model(name="base", role="baseline", path=str(base), device="cpu"),
        Model(name="prompted", role="baseline", path=str(base), device="cpu", system=system),
        Model(name="adapter", role="candidate", path=str(base), device="cpu", adapter=adapter),
    ]


def make_examples(count: int) -> list[Example]:
    chance = random.Random(0)
    queries = [
        " ".join(f"w{chance.randrange(10, VOCABULARY)}" for _ in range(int(2 ** chance.uniform(3, 7))))
        for _ in range(count)
    ]
    return [
        Example(str(place), query, ({"role": "user", "content": query},))
        for place, query in enumerate(queries)
    ]


def answer(model: LocalModel, examples: Sequence[Example]) -> tuple[float, int]:
    """Seconds of the processor, and tokens, of all answers."""
    began = time.process_time()
    tokens = sum(
        response.tokens_out or 0 for batch in model.generate(examples, SETTINGS) for response in batch
    )
    return time.process_time() - began, tokens


def tensors_of(base: LocalBase) -> int:
    """Bytes of the weights that are loaded, adapters among them."""
    return sum(weight.numel() * weight.element_size() for weight in base.model.parameters())


def shared_and_apart(models: Sequence[Model], examples: Sequence[Example]) -> tuple[float, float]:
    """One round: time of three on one base against each on its own, and bytes of weights likewise."""
    together = LocalBase(str(models[0].path), device="cpu")
    spent = [answer(together.generator(model), examples) for model in models]
    memory = tensors_of(together)
    together.close()
    rates, single = [], 0
    for model in models:
        base = LocalBase(str(model.path), device="cpu")
        rates.append(answer(base.generator(model), examples))
        single = single or tensors_of(base)
        base.close()
    # Seconds for the same number of tokens: the answers are the same, so these are all of them.
    assert [tokens for _, tokens in spent] == [tokens for _, tokens in rates]
    return sum(seconds for seconds, _ in spent) / sum(seconds for seconds, _ in rates), memory / single


def first_response(model: Model, examples: Sequence[Example]) -> tuple[float, float]:
    """Seconds to load the weights, and seconds from nothing to the first response."""
    base = LocalBase(str(model.path), device="cpu")
    began = time.perf_counter()
    assert base.model is not None
    loaded = time.perf_counter() - began
    base.close()
    base = LocalBase(str(model.path), device="cpu")
    began = time.perf_counter()
    next(base.generator(model).generate(examples[:1], FIRST))
    first = time.perf_counter() - began
    base.close()
    return loaded, first


@contextmanager
def timed_steps(model: Any) -> Iterator[list[float]]:
    """The seconds that the model's forward takes at each step of one token a row."""
    spent: list[float] = []

    def begin(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        if "bands" in kwargs:
            spent.append(-time.perf_counter())

    def end(module: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        if "bands" in kwargs:
            spent[-1] += time.perf_counter()

    hooks = [
        model.register_forward_pre_hook(begin, with_kwargs=True),
        model.register_forward_hook(end, with_kwargs=True),
    ]
    try:
        yield spent
    finally:
        for hook in hooks:
            hook.remove()


def host_share(model: Model, examples: Sequence[Example]) -> float:
    """The share of the decode steps' time that passes outside the model's forward."""
    base = LocalBase(str(model.path), device="cpu")
    one = base.generator(model)
    # The trial of the model's capability steps too; done before, it is not counted.
    answer(one, examples[:2])
    with timed_steps(base.model) as spent:
        answer(one, examples)
    # The first step is that of the trial, which is made for each call.
    inside = sum(spent[1:])
    return 1 - inside / float(one.describe()["batching_figures"]["new_seconds"])


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--hidden", type=int, default=256)
    arguments.add_argument("--layers", type=int, default=6)
    arguments.add_argument("--prompts", type=int, default=64)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    examples = make_examples(options.prompts)
    with tempfile.TemporaryDirectory() as folder:
        models = models_of(*make_files(Path(folder), options.hidden, options.layers))
        rounds = [shared_and_apart(models, examples) for _ in range(options.rounds)]
        starts = [first_response(models[0], examples) for _ in range(options.rounds)]
        host = statistics.median(host_share(models[0], examples) for _ in range(options.rounds))
    loaded, first = (statistics.median(column) for column in zip(*starts, strict=True))
    print(
        f"three models on one base, time: {statistics.median(time for time, _ in rounds):.2f}x of each alone"
    )
    print(f"three models on one base, weights: {rounds[0][1]:.3f}x of one")
    print(f"first response: {first:.2f} s, {first / loaded:.2f}x of the {loaded:.2f} s that loading takes")
    print(f"decode steps: {host:.1%} of their time outside the model's forward")


if __name__ == "__main__":
    main()
