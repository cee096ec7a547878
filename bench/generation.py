"""Tokens a second of greedy answers from one model, by every way at hand, with the answers compared.

    python -m bench.generation [--model tiny] [--dtype float32] [--rounds 3] [--threads 1] [--prompts N]
                               [--without WAY] [--vllm PROGRAM]

A random Llama answers prompts of widely mixed lengths; end tokens spread over the vocabulary give answers of
widely mixed lengths. "tiny" has half a million parameters, "135m" the shape of SmolLM2-135M, "1b" that of
Llama 3.2 1B. The ways run one after another in each round, in one process but for vLLM: with `--vllm` a run's
own server answers too, from the saved model. It has started and answered two prompts before, and what its
processes take of the processor is not known here.
Ratios are given three times: the median over the rounds of the ratio within a round, by the clock and by CPU
time, and from each way's fastest round, which a machine shared with others disturbs least. "useful rows" is
the share of the rows computed in decode steps that gave a token of an answer.
"""

import argparse
import copy
import logging
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    pipeline,
)
from transformers.utils import logging as transformers_logging

from engine.models.batcher import MOST_TOKENS, MOST_TOKENS_ELSEWHERE, Batcher, BatchLimits, Figures
from engine.models.model import Settings
from engine.models.rows import DecodingRow, Request, Rules, decode, in_batches
from engine.models.served import completion, question
from engine.plan.plan import Compute
from engine.servers.engines import Holding, installed
from engine.servers.started import StartedServer
from engine.servers.wire import Reply

VOCABULARY = 512
ENDS = frozenset(range(2, 10))
SERVED = "vLLM, served"


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's dimensions, and the prompts and answers that go with them, in tokens."""

    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_heads: int
    spread: float  # of the random weights
    ends: int
    shortest: int
    longest: int
    answer: int
    prompts: int
    tied: bool = True
    skew: float = 1.0  # of the prompts' lengths: above 1, most are near the shortest


SHAPES = {
    "tiny": Shape(VOCABULARY, 96, 256, 4, 3, 3, 0.2, len(ENDS), 8, 256, 192, 200, tied=False),
    "135m": Shape(49_152, 576, 1536, 30, 9, 3, 0.05, 177, 36, 429, 128, 100, skew=3.0),
    "1b": Shape(128_256, 2048, 8192, 16, 32, 8, 0.03, 256, 36, 1024, 256, 512),
}


class Taken(NamedTuple):
    """Seconds of one round of one way: by the clock, and of the processor."""

    wall: float
    processor: float


Answers = dict[int, str]
Way = Callable[[], tuple[Answers, float | None]]


def make_tokenizer(vocabulary: int = VOCABULARY, ends: frozenset[int] = ENDS) -> Any:
    """One word per token, so that a text of n words is a prompt of exactly n tokens."""
    words = ["<pad>", "<unk>", *(f"w{place}" for place in range(2, vocabulary))]
    for end in ends:
        words[end] = f"<end{end}>"
    first, *others = sorted(ends)
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token=words[first],
        extra_special_tokens=[words[end] for end in others],
        padding_side="left",
    )


def make_model(shape: Shape, ends: frozenset[int], dtype: str = "float32", device: str = "cpu") -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        max_position_embeddings=2048,
        initializer_range=shape.spread,
        tie_word_embeddings=shape.tied,
        pad_token_id=0,
        eos_token_id=sorted(ends),
    )
    with torch.device(device):
        model = LlamaForCausalLM(config).to(getattr(torch, dtype)).eval()
    model.generation_config = GenerationConfig(
        max_new_tokens=shape.answer, do_sample=False, eos_token_id=sorted(ends), pad_token_id=0
    )
    return model


class Bench:
    """The model, the prompts, and the ways to answer them."""

    def __init__(self, shape: Shape, prompts: int, dtype: str = "float32", device: str = "cpu") -> None:
        chance = random.Random(0)
        self.shape = shape
        self.ends = frozenset(range(2, 2 + shape.ends))
        self.tokenizer = make_tokenizer(shape.vocabulary, self.ends)
        self.model = make_model(shape, self.ends, dtype, device)
        reach = shape.longest / shape.shortest
        lengths = [int(shape.shortest * reach ** chance.random() ** shape.skew) for _ in range(prompts)]
        first = 2 + shape.ends
        self.prompts = [
            [chance.randrange(first, shape.vocabulary) for _ in range(length)] for length in lengths
        ]
        self.texts = [" ".join(f"w{token}" for token in prompt) for prompt in self.prompts]
        self.requests = [Request(prompt, shape.answer) for prompt in self.prompts]
        self.rules = Rules(self.tokenizer, self.ends, Settings(max_new_tokens=shape.answer))
        self.tokens: dict[int, int] = {}  # generated for each prompt, the end token included
        self.figures = Figures()  # of the last slots

    def one_at_a_time(self) -> tuple[Answers, None]:
        answers: Answers = {}
        with torch.inference_mode():
            for place, prompt in enumerate(self.prompts):
                ids = torch.tensor([prompt], device=self.model.device)
                out = self.model.generate(ids, attention_mask=torch.ones_like(ids))[0, len(prompt) :]
                answers[place] = self.text(out.tolist())
                self.tokens[place] = len(out)
        return answers, None

    def pipeline_of(self, size: int) -> Way:
        def run() -> tuple[Answers, None]:
            generator = pipeline(
                "text-generation", model=self.model, tokenizer=self.tokenizer, batch_size=size
            )
            found = generator(self.texts, return_full_text=False)
            return {place: one[0]["generated_text"].strip() for place, one in enumerate(found)}, None

        return run

    def lm_eval_of(self, size: int) -> Way:
        def run() -> tuple[Answers, None]:
            from lm_eval.api.instance import Instance
            from lm_eval.models.huggingface import HFLM

            harness = HFLM(pretrained=self.model, tokenizer=self.tokenizer, batch_size=size)
            settings = {"until": [], "max_gen_toks": self.shape.answer, "do_sample": False}
            asked = [
                Instance("generate_until", {}, (text, dict(settings)), place)
                for place, text in enumerate(self.texts)
            ]
            found = harness.generate_until(asked, disable_tqdm=True)
            return {place: text.strip() for place, text in enumerate(found)}, None

        return run

    def static_of(self, size: int) -> Way:
        def run() -> tuple[Answers, float]:
            order = sorted(range(len(self.requests)), key=lambda place: -len(self.prompts[place]))
            answers: Answers = {}
            computed = useful = 0

            def answer(batch: Sequence[int]) -> list[tuple[int, Any]]:
                given = decode(self.model, [self.requests[place] for place in batch], self.rules)
                return list(zip(batch, given, strict=True))

            for batch in in_batches(order, size, answer, lambda place: (place, None), print):
                answers |= {place: answer.text for place, answer in batch}
                steps = [answer.tokens for _, answer in batch]
                computed, useful = computed + max(steps) * len(steps), useful + sum(steps)
            return answers, useful / computed

        return run

    def transformers_continuous(self) -> tuple[Answers, None]:
        """On a copy, since it changes the model's attention."""
        found = copy.deepcopy(self.model).generate_batch(
            self.prompts, generation_config=self.model.generation_config, progress_bar=False
        )
        by_prompt = {tuple(one.prompt_ids): self.text(one.generated_tokens) for one in found.values()}
        return {place: by_prompt.get(tuple(prompt), "") for place, prompt in enumerate(self.prompts)}, None

    def slots_of(self, slots: int, between: Callable[[], None] = lambda: None) -> Way:
        def run() -> tuple[Answers, float]:
            tokens = MOST_TOKENS.get(self.model.device.type, MOST_TOKENS_ELSEWHERE)
            batcher = Batcher(self.requests, self.rules, BatchLimits(slots, tokens), print)
            answers: Answers = {}
            useful = 0
            while not batcher.done:
                for place, answer in batcher.advance(self.model, 0.25):
                    assert answer is not None
                    answers[place], self.tokens[place] = answer.text, answer.tokens
                    # Each answer's first token comes from its prompt's pass, not from a step.
                    useful += answer.tokens - 1
                between()
            self.figures = batcher.figures
            return answers, useful / batcher.figures.rows

        return run

    def served_of(self, server: StartedServer) -> Way:
        def run() -> tuple[Answers, None]:
            answers: Answers = {}
            for batch in server.ask("base", [question(request, self.rules) for request in self.requests]):
                for place, reply in batch:
                    assert isinstance(reply, Reply), reply.reason
                    row = DecodingRow(place, self.requests[place], self.rules)
                    answer = completion(server.engine, reply, row)
                    assert answer is not None, reply.finish_reason
                    answers[place] = answer.text
                    self.tokens.setdefault(place, answer.tokens)
            return answers, None

        return run

    def text(self, tokens: list[int]) -> str:
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True))


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--model", choices=SHAPES, default="tiny")
    arguments.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--prompts", type=int)
    arguments.add_argument("--without", action="append", default=[], help="a way to leave out, by its name")
    arguments.add_argument("--vllm", type=Path, metavar="PROGRAM", help="the vllm that answers too")
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    quiet()

    shape = SHAPES[options.model]
    bench = Bench(shape, options.prompts or shape.prompts, options.dtype)
    ways: dict[str, Way] = {
        "one at a time": bench.one_at_a_time,
        "pipeline, one at a time": bench.pipeline_of(1),
        "pipeline, batch 8": bench.pipeline_of(8),
        "lm-eval hf, batch 8": bench.lm_eval_of(8),
        "lm-eval hf, batch 64": bench.lm_eval_of(64),
        "sorted static, batch 8": bench.static_of(8),
        "sorted static, batch 16": bench.static_of(16),
        "sorted static, batch 32": bench.static_of(32),
        "transformers continuous": bench.transformers_continuous,
        "slots, 16": bench.slots_of(16),
        "slots, 32": bench.slots_of(32),
        "slots, 64": bench.slots_of(64),
        "slots, 128": bench.slots_of(128),
    }
    for name in options.without:
        del ways[name]
    with torch.inference_mode():
        bench.model(torch.tensor([bench.prompts[0]]))  # warms up the kernels
    with ExitStack() as servers:
        if options.vllm:
            ways[SERVED] = servers.enter_context(served_by_vllm(bench, options.vllm, options.threads))
        print_table(bench, *timed(ways, options.rounds))


@contextmanager
def served_by_vllm(bench: Bench, program: Path, threads: int | None = None) -> Iterator[Way]:
    """The way by a server of the bench's model, which has started and answered two prompts."""
    engine, device = installed("vllm", Compute(vllm=program)), bench.model.device.type
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # for the server; torch here has its number already
    with TemporaryDirectory() as folder:
        for part in (bench.model, bench.tokenizer):
            part.save_pretrained(folder)
        held = Holding(
            base=Path(folder),
            adapters=(),
            rank=0,
            modules=(),
            dtype=str(bench.model.dtype).removeprefix("torch."),
            length=bench.shape.longest + bench.shape.answer + 1,
            device="cpu" if device == "cpu" else None,
            # Of a GPU the bench's own model keeps its part.
            options={} if device == "cpu" else {"gpu_memory_utilization": 0.7},
        )
        with closing(StartedServer(engine, held)) as server:
            for _ in server.ask("base", [question(request, bench.rules) for request in bench.requests[:2]]):
                pass
            yield bench.served_of(server)


def quiet() -> None:
    """Leaves the table alone on the screen."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.disable(logging.WARNING)


def timed(
    ways: dict[str, Way], rounds: int
) -> tuple[dict[str, list[Taken]], dict[str, tuple[Answers, float | None]]]:
    """Each way's times, and its answers in the last round."""
    taken: dict[str, list[Taken]] = {name: [] for name in ways}
    last: dict[str, tuple[Answers, float | None]] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            began = Taken(time.perf_counter(), time.process_time())
            last[name] = way()
            taken[name].append(Taken(time.perf_counter() - began.wall, time.process_time() - began.processor))
            print(f"{name}: {taken[name][-1].wall:.1f} s", file=sys.stderr, flush=True)
    return taken, last


def spread(lengths: Sequence[int]) -> str:
    return (
        f"{min(lengths)}–{max(lengths)} tokens (mean {statistics.mean(lengths):.0f}, {sum(lengths):,} in all)"
    )


def print_table(
    bench: Bench, taken: dict[str, list[Taken]], last: dict[str, tuple[Answers, float | None]]
) -> None:
    """Compares all ways with the first one."""
    first = next(iter(taken))
    right, _ = last[first]
    tokens = list(bench.tokens.values())
    prompts = [len(prompt) for prompt in bench.prompts]
    print(
        f"{bench.model.num_parameters():,} parameters, {len(prompts)} prompts of {spread(prompts)}, "
        f"answers of {spread(tokens)}\n"
    )
    print(
        f"| way | tokens/s | x {first} | x, CPU time | x, fastest rounds (clock, CPU) "
        "| differing answers | useful rows |"
    )
    print("|---|---|---|---|---|---|---|")
    alone = taken[first]
    for name, own in taken.items():
        answers, useful = last[name]
        rate = sum(tokens) / statistics.median(round_.wall for round_ in own)
        wall, processor = (ratios(alone, own, kind) for kind in range(2))
        told = [f"{figure:.2f}" for figure in processor] if SERVED not in (first, name) else ["", ""]
        fastest = f"{wall[1]:.2f}, {told[1]}".removesuffix(", ")
        figures = f"{rate:,.0f} | {wall[0]:.2f} | {told[0]} | {fastest}"
        differing = sum(answers[place] != text for place, text in right.items())
        share = "" if useful is None else f"{useful:.1%}"
        print(f"| {name} | {figures} | {differing} | {share} |")


def ratios(alone: Sequence[Taken], own: Sequence[Taken], kind: int) -> tuple[float, float]:
    """How many times faster than the first way: the median of the rounds, and by the fastest rounds."""
    each = [one[kind] / other[kind] for one, other in zip(alone, own, strict=True)]
    return statistics.median(each), min(one[kind] for one in alone) / min(other[kind] for other in own)


if __name__ == "__main__":
    main()
