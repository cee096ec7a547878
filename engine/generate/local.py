"""A model that runs here: its prompts, its answers, and the proof that its adapter does something."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from engine.examples import Example
from engine.generate.adapter import check_adapter, read_adapter_config
from engine.generate.base import LocalBase
from engine.generate.batches import in_batches
from engine.generate.cache import ResponseCache, response_key
from engine.generate.decode import Request, decode
from engine.generate.fingerprint import FileHashes, adapter_hash, digest, model_hash, tokenizer_hash
from engine.generate.folder import TOKENIZERS
from engine.generate.model import Response, Settings, missing
from engine.generate.prompt import PromptError, Prompts
from engine.plan import Model

__all__ = ["LocalBase", "LocalModel", "Probe"]

PROBE_PROMPTS = 4


@dataclass(frozen=True, slots=True)
class Probe:
    """How much an adapter changes the logits, over every position of a few prompts; 0 means no effect."""

    max_difference: float
    mean_difference: float
    prompts: int


@dataclass(frozen=True, slots=True)
class _Pending:
    example: Example
    request: Request
    key: str


class LocalModel:
    """One model of a plan on a shared base: the base itself, a system prompt on it, or an adapter on it.

    Weights are loaded at the first answer that the cache does not hold. Raises BadInput when the adapter
    does not fit the base.
    """

    def __init__(self, base: LocalBase, model: Model, cache: ResponseCache | None = None) -> None:
        if model.adapter:
            check_adapter(base.path, model.adapter)
        self.name = model.name
        self.base = base
        self.adapter = model.adapter
        self._system = model.system
        self._cache = cache
        self._hashes = FileHashes(cache.folder if cache else None)
        self._notes: list[str] = []

    @cached_property
    def tokenizer(self) -> Any:
        """The adapter's own tokenizer where its folder has one, since it was trained with that."""
        if self._brings_tokenizer():
            assert self.adapter is not None
            tokenizer = self.base.load_tokenizer(self.adapter)
            if tokenizer.chat_template != self.base.tokenizer.chat_template:
                self._note("asked with the adapter's own chat template, which differs from the base's")
            return tokenizer
        return self.base.tokenizer

    @cached_property
    def _prompts(self) -> Prompts:
        return Prompts(self.tokenizer, self._system)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of weights, adapter, tokenizer, template, system prompt and dtype, by content."""
        return digest(
            {
                "model": model_hash(self.base.folder, self._hashes),
                "adapter": adapter_hash(self.adapter, self._hashes) if self.adapter else None,
                "system": self._system,
                "dtype": self.base.dtype,
            }
        )

    def describe(self) -> dict[str, Any]:
        """Facts for the run, read without loading the weights."""
        template = self.tokenizer.chat_template
        tokenizer_folder = self.adapter if self._brings_tokenizer() and self.adapter else self.base.folder
        return {
            "kind": "local",
            "path": self.base.path,
            "folder": str(self.base.folder.resolve()),
            "architecture": (self.base.config.architectures or [self.base.config.model_type])[0],
            "parameters": self.base.parameters,
            "context": self.base.context,
            "dtype": self.base.dtype,
            "device": self.base.device,
            "system": self._system,
            "template": digest(template)[:12] if template else None,
            "tokenizer": tokenizer_hash(tokenizer_folder, self._hashes)[:12],
            "adapter": self._adapter_facts(),
            "fingerprint": self.fingerprint,
            "notes": [*self._prompts.notes, *self._notes],
        }

    def prompt(self, example: Example) -> list[int]:
        """The exact token ids that the model is asked with. Raises PromptError when there can be none."""
        return self._prompts.ids(example)

    def active(self) -> AbstractContextManager[Any]:
        """The transformers model as this model answers: its adapter on, or every adapter off."""
        return self.base.active(self.adapter)

    def generate(self, examples: Sequence[Example], settings: Settings) -> Iterator[list[Response]]:
        """Answers the examples, longest prompt first: cached and impossible ones at once, then each batch.

        A prompt beyond the context, or one that fits no memory, gets a response without text and a reason.
        """
        if settings.sampled:
            self._note(f"answers are sampled: temperature {settings.temperature}, seed {settings.seed}")
        ready: list[Response] = []
        pending: list[_Pending] = []
        for example in examples:
            prepared = self._prepare(example, settings)
            if isinstance(prepared, Response):
                ready.append(prepared)
            else:
                pending.append(prepared)
        if ready:
            yield ready
        pending.sort(key=lambda item: len(item.request.ids), reverse=True)
        yield from in_batches(
            pending,
            settings.batch_size,
            lambda batch: self._answer(batch, settings),
            lambda item: missing(
                item.example,
                f"out of memory on {self.base.device} with a prompt of {len(item.request.ids)} tokens",
                len(item.request.ids),
            ),
            self.note_halved,
        )

    def note_halved(self, size: int) -> None:
        """Keeps for the run that memory ran out, and with which batch size it went on."""
        self._note(f"out of memory on {self.base.device}: went on with batches of {size}")

    def probe(self, examples: Sequence[Example]) -> Probe:
        """Compares the logits with the adapter on and off, over the first prompts that can be asked."""
        if self.adapter is None:
            raise ValueError(f"{self.name} has no adapter to probe")
        largest, total, count, prompts = 0.0, 0.0, 0, 0
        for example in examples:
            if prompts == PROBE_PROMPTS:
                break
            try:
                ids = self.prompt(example)
            except PromptError:
                continue
            if self._impossible(ids):
                continue
            prompts += 1
            difference = (self._logits(ids, on=True) - self._logits(ids, on=False)).abs()
            largest = max(largest, float(difference.max()))
            total += float(difference.sum(dtype=torch.float64))
            count += difference.numel()
        return Probe(largest, total / count if count else 0.0, prompts)

    def close(self) -> None:
        """Nothing of its own to free: the base holds the weights, and `LocalBase.close` frees them."""

    def _prepare(self, example: Example, settings: Settings) -> Response | _Pending:
        try:
            ids = self.prompt(example)
        except PromptError as error:
            return missing(example, str(error))
        if reason := self._impossible(ids):
            return missing(example, reason, len(ids))
        seed = _example_seed(settings.seed, example.id)
        key = response_key(self.fingerprint, ids, settings, seed) if self._cache else ""
        if self._cache and (hit := self._cache.get(key)):
            return replace(hit, example_id=example.id)
        context = self.base.context
        room = (
            settings.max_new_tokens if context is None else min(settings.max_new_tokens, context - len(ids))
        )
        return _Pending(example, Request(ids, room, seed), key)

    def _impossible(self, ids: list[int]) -> str | None:
        """Why the model cannot be asked with these tokens."""
        context = self.base.context
        if context is not None and len(ids) >= context:
            verb = "exceeds" if len(ids) > context else "fills"
            return f"prompt of {len(ids)} tokens {verb} the model's context of {context}"
        return self.unknown_token(ids)

    def unknown_token(self, ids: list[int]) -> str | None:
        """Why the model cannot read these tokens: its tokenizer knows more of them than the model does."""
        vocabulary = self.base.vocabulary
        if vocabulary is not None and max(ids) >= vocabulary:
            return f"the tokenizer gives token {max(ids)}, the model's vocabulary ends at {vocabulary - 1}"
        return None

    def _answer(self, batch: Sequence[_Pending], settings: Settings) -> list[Response]:
        requests = [item.request for item in batch]
        with self.active() as model:
            self._note_ignored_generation_config(model)
            answers = decode(model, self.tokenizer, requests, settings, self._ends(model))
        responses = []
        for item, answer in zip(batch, answers, strict=True):
            response = Response(
                item.example.id,
                answer.text,
                tokens_in=len(item.request.ids),
                tokens_out=answer.tokens,
                finish_reason=answer.finish_reason,
                latency_s=answer.seconds,
            )
            if self._cache:
                self._cache.put(item.key, response)
            responses.append(response)
        return responses

    def _ends(self, model: Any) -> frozenset[int]:
        """Every end token of the generation config, and the tokenizer's, which an adapter may change."""
        configured = model.generation_config.eos_token_id
        ends = configured if isinstance(configured, list) else [configured]
        return frozenset(int(end) for end in [*ends, self.tokenizer.eos_token_id] if end is not None)

    def _logits(self, ids: list[int], on: bool) -> Any:
        with torch.inference_mode(), self.base.active(self.adapter if on else None) as model:
            return model(torch.tensor([ids], device=model.device)).logits.float()

    def _brings_tokenizer(self) -> bool:
        return self.adapter is not None and any((self.adapter / name).is_file() for name in TOKENIZERS)

    def _adapter_facts(self) -> dict[str, Any] | None:
        if self.adapter is None:
            return None
        config = read_adapter_config(self.adapter)
        facts = {"path": str(self.adapter), "hash": adapter_hash(self.adapter, self._hashes)[:12]}
        return facts | {
            key: config.get(key) for key in ("peft_type", "base_model_name_or_path", "r", "lora_alpha")
        }

    def _note_ignored_generation_config(self, model: Any) -> None:
        penalty = model.generation_config.repetition_penalty
        if penalty not in (None, 1.0):
            self._note(f"the model's generation config asks for repetition_penalty {penalty}: not applied")

    def _note(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(note)


def _example_seed(seed: int, example_id: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}\0{example_id}".encode()).digest()[:8], "big")
