"""What the sample models can do: greedy answers to the eval sets, and how many of them are right."""

import json
from dataclasses import dataclass

import jsonschema
import torch
from transformers import PreTrainedTokenizerFast

from samples import make_data, tickets

BATCH = 50
MAX_NEW_TOKENS = 80

Example = dict[str, object]


@dataclass(frozen=True)
class Scores:
    """Shares (0 to 1) of an eval set's examples."""

    general: float
    """General: the answer is exactly the reference."""
    skills: dict[str, float]
    """General, by skill."""
    valid: float
    """Domain: the answer meets the JSON schema."""
    right_label: float
    """Domain: it does, and the category is right."""
    exact: float
    """Domain: the answer is exactly the reference."""


def measure(model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast, limit: int | None = None) -> Scores:
    """Score `model` on the first `limit` examples of both eval sets."""
    general, domain = make_data.general_examples()[:limit], make_data.domain_examples()[:limit]
    right = _matches(general, answers(model, tokenizer, general))
    by_skill: dict[str, list[bool]] = {}
    for example, hit in zip(general, right, strict=True):
        by_skill.setdefault(str(example["category"]), []).append(hit)
    written = answers(model, tokenizer, domain)
    objects = [_valid(text) for text in written]
    labels = [
        found is not None and found["category"] == example["label"]
        for found, example in zip(objects, domain, strict=True)
    ]
    return Scores(
        general=_share(right),
        skills={skill: _share(hits) for skill, hits in by_skill.items()},
        valid=_share([found is not None for found in objects]),
        right_label=_share(labels),
        exact=_share(_matches(domain, written)),
    )


def answers(model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast, examples: list[Example]) -> list[str]:
    """Greedy answers in the chat template, left-padded batches, in the order of `examples`."""
    found: list[str] = []
    for start in range(0, len(examples), BATCH):
        prompts = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": example["query"]}], tokenize=False, add_generation_prompt=True
            )
            for example in examples[start : start + BATCH]
        ]
        batch = tokenizer(
            prompts, add_special_tokens=False, padding=True, padding_side="left", return_tensors="pt"
        )
        with torch.inference_mode():
            output = model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                do_sample=False,
                max_new_tokens=MAX_NEW_TOKENS,
            )
        new_tokens = output[:, batch["input_ids"].shape[1] :]
        found += tokenizer.batch_decode(new_tokens, skip_special_tokens=True)
    return found


def _matches(examples: list[Example], texts: list[str]) -> list[bool]:
    return [[text] == example["references"] for text, example in zip(texts, examples, strict=True)]


def _valid(text: str) -> dict[str, object] | None:
    try:
        found = json.loads(text)
        jsonschema.validate(found, tickets.json_schema())
    except (json.JSONDecodeError, jsonschema.ValidationError):
        return None
    return dict(found)


def _share(hits: list[bool]) -> float:
    return sum(hits) / len(hits)
