"""Tokens a second of greedy answers from one model, by every way at hand, with the answers compared.

    python -m bench.generation [--rounds 3] [--threads 1] [--prompts 200] [--without WAY]

A random Llama of half a million parameters answers prompts of widely mixed lengths; eight end tokens give
answers of widely mixed lengths. All ways run in one process, one after another in each round, in fp32.
Ratios are given three times: the median over the rounds of the ratio within a round, by the clock and by CPU
time, and from each way's fastest round, which a machine shared with others disturbs least. "useful rows" is
the share of the rows computed in decode steps that gave a token of an answer.
"""

import argparse
import copy
import logging
import random
import statistics
import time
from collections.abc import Callable, Sequence
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

from engine.models.batcher import MOST_TOKENS_ELSEWHERE, Batcher, BatchLimits
from engine.models.model import Settings
from engine.models.rows import Request, Rules, decode, in_batches

VOCABULARY = 512
LONGEST_ANSWER = 192
ENDS = frozenset(range(2, 10))


class Taken(NamedTuple):
    """Seconds of one round of one way: by the clock, and of the processor."""

    wall: float
    processor: float


Answers = dict[int, str]
Way = Callable[[], tuple[Answers, float | None]]


def make_tokenizer() -> Any:
    """One word per token, so that a text of n words is a prompt of exactly n tokens."""
    words = ["<pad>", "<unk>", *(f"<end{end}>" for end in sorted(ENDS))]
    words += [f"w{place}" for place in range(len(words), VOCABULARY)]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="<end2>",
        extra_special_tokens=words[3 : 2 + len(ENDS)],
        padding_side="left",
    )


def make_model() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=3,
        max_position_embeddings=1024,
        initializer_range=0.2,
        pad_token_id=0,
        eos_token_id=sorted(ENDS),
    )
    model = LlamaForCausalLM(config).eval()
    model.generation_config = GenerationConfig(
        max_new_tokens=LONGEST_ANSWER, do_sample=False, eos_token_id=sorted(ENDS), pad_token_id=0
    )
    return model


class Bench:
    """The model, the prompts, and the ways to answer them."""

    def __init__(self, prompts: int) -> None:
        self.tokenizer = make_tokenizer()
        self.model = make_model()
        chance = random.Random(0)
        lengths = [int(2 ** chance.uniform(3, 8)) for _ in range(prompts)]
        self.prompts = [[chance.randrange(10, VOCABULARY) for _ in range(length)] for length in lengths]
        self.texts = [" ".join(f"w{token}" for token in prompt) for prompt in self.prompts]
        self.requests = [Request(prompt, LONGEST_ANSWER) for prompt in self.prompts]
        self.rules = Rules(self.tokenizer, ENDS, Settings(max_new_tokens=LONGEST_ANSWER))
        self.tokens: dict[int, int] = {}  # generated for each prompt, the end token included

    def one_at_a_time(self) -> tuple[Answers, None]:
        answers: Answers = {}
        with torch.inference_mode():
            for place, prompt in enumerate(self.prompts):
                ids = torch.tensor([prompt])
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
            settings = {"until": [], "max_gen_toks": LONGEST_ANSWER, "do_sample": False}
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

    def slots_of(self, slots: int) -> Way:
        def run() -> tuple[Answers, float]:
            batcher = Batcher(self.requests, self.rules, BatchLimits(slots, MOST_TOKENS_ELSEWHERE), print)
            answers: Answers = {}
            useful = 0
            while not batcher.done:
                for place, answer in batcher.advance(self.model, 0.25):
                    assert answer is not None
                    answers[place] = answer.text
                    # Each answer's first token comes from its prompt's pass, not from a step.
                    useful += answer.tokens - 1
            return answers, useful / batcher.figures.rows

        return run

    def text(self, tokens: list[int]) -> str:
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True))


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--prompts", type=int, default=200)
    arguments.add_argument("--without", action="append", default=[], help="a way to leave out, by its name")
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    transformers_logging.set_verbosity_error()
    logging.disable(logging.WARNING)

    bench = Bench(options.prompts)
    ways: dict[str, Way] = {
        "one at a time": bench.one_at_a_time,
        "pipeline, batch 8": bench.pipeline_of(8),
        "lm-eval hf, batch 8": bench.lm_eval_of(8),
        "lm-eval hf, batch 64": bench.lm_eval_of(64),
        "sorted static, batch 32": bench.static_of(32),
        "transformers continuous": bench.transformers_continuous,
        "slots, 16": bench.slots_of(16),
        "slots, 32": bench.slots_of(32),
        "slots, 64": bench.slots_of(64),
    }
    for name in options.without:
        del ways[name]
    taken: dict[str, list[Taken]] = {name: [] for name in ways}
    last: dict[str, tuple[Answers, float | None]] = {}
    bench.slots_of(16)()  # warms up the kernels
    for _ in range(options.rounds):
        for name, way in ways.items():
            began = Taken(time.perf_counter(), time.process_time())
            last[name] = way()
            taken[name].append(Taken(time.perf_counter() - began.wall, time.process_time() - began.processor))
    print_table(bench, taken, last)


def spread(lengths: Sequence[int]) -> str:
    return f"{min(lengths)}–{max(lengths)} (mean {statistics.mean(lengths):.0f})"


def print_table(
    bench: Bench, taken: dict[str, list[Taken]], last: dict[str, tuple[Answers, float | None]]
) -> None:
    right, _ = last["one at a time"]
    tokens = list(bench.tokens.values())
    prompts = [len(prompt) for prompt in bench.prompts]
    print(
        f"{bench.model.num_parameters():,} parameters, {len(prompts)} prompts of {spread(prompts)} tokens, "
        f"answers of {spread(tokens)}\n"
    )
    print(
        "| way | tokens/s | x one at a time | x, CPU time | x, fastest rounds (clock, CPU) "
        "| differing answers | useful rows |"
    )
    print("|---|---|---|---|---|---|---|")
    alone = taken["one at a time"]
    for name, own in taken.items():
        answers, useful = last[name]
        rate = sum(tokens) / statistics.median(round_.wall for round_ in own)
        wall, processor = (ratios(alone, own, kind) for kind in range(2))
        figures = f"{rate:,.0f} | {wall[0]:.2f} | {processor[0]:.2f} | {wall[1]:.2f}, {processor[1]:.2f}"
        differing = sum(answers[place] != text for place, text in right.items())
        share = "" if useful is None else f"{useful:.1%}"
        print(f"| {name} | {figures} | {differing} | {share} |")


def ratios(alone: Sequence[Taken], own: Sequence[Taken], kind: int) -> tuple[float, float]:
    """How many times faster than one at a time: the median of the rounds, and by the fastest rounds."""
    each = [one[kind] / other[kind] for one, other in zip(alone, own, strict=True)]
    return statistics.median(each), min(one[kind] for one in alone) / min(other[kind] for other in own)


if __name__ == "__main__":
    main()
