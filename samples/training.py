"""Training of the sample models: the base from nothing, adapters on top of it, one seeded loop for both."""

import math
from collections.abc import Callable
from random import Random

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from samples import tokens
from samples.corpus import Lesson, Stream
from samples.recipes import Recipe

IGNORED = -100
WARMUP_STEPS = 40
LORA_RANK = 16
LORA_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def new_base(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """An untrained base model, its weights drawn from `seed`."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=tokens.CONTEXT,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config)


def new_adapter(base: PreTrainedModel, seed: int) -> PeftModel:
    """A LoRA adapter on `base`; its B matrices are zero, so that it has no effect before it is trained."""
    torch.manual_seed(seed)
    config = LoraConfig(
        r=LORA_RANK, lora_alpha=2 * LORA_RANK, target_modules=LORA_TARGETS, task_type="CAUSAL_LM"
    )
    return get_peft_model(base, config)


def train(
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerFast,
    stream: Stream,
    recipe: Recipe,
    report: Callable[[str], None],
) -> None:
    """Train the parameters of `model` that want it on `recipe.steps` batches of `stream`."""
    torch.manual_seed(recipe.seed)
    rng = Random(recipe.seed)
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(wanted, lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, recipe))
    model.train()
    for step in range(1, recipe.steps + 1):
        loss = model(**_batch(tokenizer, [stream(rng) for _ in range(recipe.batch)])).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(wanted, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 100 == 0 or step == recipe.steps:
            report(f"step {step}/{recipe.steps}  loss {loss.item():.3f}")
    model.eval()


def _rate(step: int, recipe: Recipe) -> float:
    if step < WARMUP_STEPS:
        return (step + 1) / WARMUP_STEPS
    done = (step - WARMUP_STEPS) / max(1, recipe.steps - WARMUP_STEPS)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _batch(tokenizer: PreTrainedTokenizerFast, lessons: list[Lesson]) -> dict[str, torch.Tensor]:
    encoded = [_encode(tokenizer, lesson) for lesson in lessons]
    width = max(len(prompt) + len(target) for prompt, target in encoded)
    ids = torch.full((len(encoded), width), tokenizer.pad_token_id)
    labels = torch.full((len(encoded), width), IGNORED)
    mask = torch.zeros((len(encoded), width), dtype=torch.long)
    for row, (prompt, target) in enumerate(encoded):
        end = len(prompt) + len(target)
        ids[row, :end] = torch.tensor(prompt + target)
        labels[row, len(prompt) : end] = torch.tensor(target)
        mask[row, :end] = 1
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}


def _encode(tokenizer: PreTrainedTokenizerFast, lesson: Lesson) -> tuple[list[int], list[int]]:
    """Token ids of what is given and of what is learned; the latter ends in `</s>`."""
    target = [*tokenizer.encode(lesson.target, add_special_tokens=False), tokenizer.eos_token_id]
    if lesson.user is None:
        return tokenizer.encode(lesson.prefix, add_special_tokens=lesson.bos), target
    messages = [{"role": "user", "content": lesson.user}]
    if lesson.system is not None:
        messages.insert(0, {"role": "system", "content": lesson.system})
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return tokenizer.encode(text, add_special_tokens=False), target
