"""A model that runs here: its prompts, its answers, and the proof that its adapter does something."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any

from engine.data.example import Example
from engine.models.adapter import check_adapter
from engine.models.base import Identity, LocalBase, Probe, probe_adapter
from engine.models.batcher import Batcher, Gauge, limits_for
from engine.models.batches import in_batches
from engine.models.cache import ResponseCache, response_key
from engine.models.decode import decode
from engine.models.fingerprint import FileHashes
from engine.models.model import Load, Response, Settings, missing
from engine.models.prompt import PromptError, Prompts
from engine.models.rows import Answer, Request, Rules
from engine.models.slots import why_static
from engine.plan.plan import Model

__all__ = ["LocalBase", "LocalModel", "Probe"]

PROBE_PROMPTS = 4
# Seconds between two hand-overs of what was finished: the most that a kill loses beside the rows at work,
# and how soon a run can be paused.
HAND_OVER = 0.25


@dataclass(frozen=True, slots=True)
class _Pending:
    example: Example
    request: Request
    key: str | None
    reason: str | None


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
        self._plan = model
        self._system = model.system
        self._cache = cache
        self._identity = Identity(base, model, FileHashes(cache.folder if cache else None))
        self._notes: list[str] = []
        self._gauge = Gauge()
        self._batching: dict[str, Any] = {"batching": None, "batching_reason": None, "batching_figures": None}

    @property
    def tokenizer(self) -> Any:
        """The adapter's own tokenizer where its folder has one, since it was trained with that."""
        return self._identity.tokenizer

    @cached_property
    def _prompts(self) -> Prompts:
        return Prompts(self.tokenizer, self._system)

    @property
    def fingerprint(self) -> str:
        """A hash of all that decides the answers, by content; see `Identity`."""
        return self._identity.fingerprint

    def describe(self) -> dict[str, Any]:
        """Facts for the run, read without loading the weights.

        `batching` is "continuous" or "static" (None before anything was generated), `batching_reason` why it
        is static, and `batching_figures` what the continuous batcher did.
        """
        return {
            **self._identity.facts(),
            **self._batching,
            "notes": [*self._prompts.notes, *self._identity.notes, *self._notes],
        }

    def prompt(self, example: Example) -> list[int]:
        """The exact token ids that the model is asked with. Raises PromptError when there can be none."""
        return self._prompts.ids(example)

    def active(self) -> AbstractContextManager[Any]:
        """The transformers model as this model answers: its adapter on, or every adapter off."""
        return self.base.active(self.adapter)

    def generate(self, examples: Sequence[Example], settings: Settings) -> Iterator[list[Response]]:
        """Answers the examples: cached and impossible ones at once, then the others as they are finished.

        An example's own `max_new_tokens` takes the place of the settings'. A prompt beyond the context that
        is not to be cut, or one that fits no memory, gets a response without text and a reason.
        """
        if settings.deterministic:
            self._note("each prompt was answered alone (deterministic)")
            settings = replace(settings, slots=1, batch_size=1)
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
        if not pending:
            return
        with self.active() as model:
            self._note_ignored_generation_config(model)
            rules = Rules(self.tokenizer, self._ends(model), settings)
            reason = why_static(model)
        self._batching["batching"] = "static" if reason else "continuous"
        self._batching["batching_reason"] = reason
        answer = self._static if reason else self._continuous
        for group in [[item] for item in pending] if settings.deterministic else [pending]:
            yield from answer(group, rules)

    def _continuous(self, pending: Sequence[_Pending], rules: Rules) -> Iterator[list[Response]]:
        """Hands over what was finished several times a second, also when nothing was."""
        need = max(len(item.request.ids) + item.request.room for item in pending)
        with self.active() as model:
            limits = limits_for(model, need, rules.settings.slots)
        batcher = Batcher([item.request for item in pending], rules, limits, self.note_halved)
        self._batching["batching_figures"] = None
        self._gauge.begin()
        while not batcher.done:
            # The adapter is switched on for each stretch of work: between two, others may use the base.
            with self.active() as model:
                finished = batcher.advance(model, HAND_OVER)
            self._batching["batching_figures"] = asdict(batcher.figures)
            self._gauge.read(batcher.figures, len(finished))
            yield [self._response(pending[place], answer) for place, answer in finished]

    def _static(self, pending: Sequence[_Pending], rules: Rules) -> Iterator[list[Response]]:
        """Batches of like length, longest prompt first."""

        def answer(batch: Sequence[_Pending]) -> list[Response]:
            with self.active() as model:
                answers = decode(model, [item.request for item in batch], rules)
            return [self._response(item, answer) for item, answer in zip(batch, answers, strict=True)]

        yield from in_batches(
            sorted(pending, key=lambda item: len(item.request.ids), reverse=True),
            rules.settings.batch_size,
            answer,
            lambda item: self._response(item, None),
            self.note_halved,
        )

    def without_cache(self) -> "LocalModel":
        """The same model, which answers anew whatever is remembered."""
        return self.base.generator(self._plan)

    def note_halved(self, size: int) -> None:
        """Keeps for the run that memory ran out, and with which batch size it went on."""
        self._note(f"out of memory on {self.base.device}: went on with batches of {size}")

    def probe(self, examples: Sequence[Example]) -> Probe:
        """Compares the logits with the adapter on and off, over the first prompts that can be asked."""
        if self.adapter is None:
            raise ValueError(f"{self.name} has no adapter to probe")
        return probe_adapter(self.base, self.adapter, list(islice(self._askable(examples), PROBE_PROMPTS)))

    def _askable(self, examples: Sequence[Example]) -> Iterator[list[int]]:
        for example in examples:
            try:
                ids = self.prompt(example)
            except PromptError:
                continue
            if not self._impossible(ids):
                yield ids

    def load(self) -> Load | None:
        """What the continuous batcher is at; None before it, and where batches are static."""
        return self._gauge.load

    def close(self) -> None:
        """Nothing of its own to free: the base holds the weights, and `LocalBase.close` frees them."""

    def _prepare(self, example: Example, settings: Settings) -> Response | _Pending:
        try:
            ids = self.prompt(example)
        except PromptError as error:
            return missing(example, str(error))
        room = example.extra.get("max_new_tokens", settings.max_new_tokens)
        if type(room) is not int or room < 1:
            return missing(
                example, f"its max_new_tokens is {room!r}, not a number of tokens from 1", len(ids)
            )
        whole = len(ids)
        ids = self._fitted(example, ids, room, settings)
        if reason := self._impossible(ids):
            return missing(example, reason, len(ids))
        reason = (
            None if whole == len(ids) else f"prompt of {whole} tokens cut to {len(ids)} to fit the context"
        )
        seed = _example_seed(settings.seed, example.id)
        key = None
        if self._cache:
            key = response_key(self.fingerprint, ids, replace(settings, max_new_tokens=room), seed)
            if hit := self._cache.get(key):
                return replace(hit, example_id=example.id, reason=reason)
        context = self.base.context
        room = room if context is None else min(room, context - len(ids))
        return _Pending(example, Request(ids, room, seed), key, reason)

    def _fitted(self, example: Example, ids: list[int], room: int, settings: Settings) -> list[int]:
        """The prompt; one that fills the context is cut where that is asked for.

        It then leaves room for the answer, at most half of the context.
        """
        context = self.base.context
        if settings.overflow == "refuse" or context is None or len(ids) < context:
            return ids
        self._note('prompts that fill the context were cut to fit (overflow = "truncate")')
        return self._prompts.cut(example, ids, context - min(room, context // 2))

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

    def _response(self, item: _Pending, answer: Answer | None) -> Response:
        """An answer for the run, kept in the cache; None is a prompt that fits no memory."""
        length = len(item.request.ids)
        if answer is None:
            reason = f"out of memory on {self.base.device} with a prompt of {length} tokens"
            return missing(item.example, reason, length)
        response = Response(
            item.example.id,
            answer.text,
            tokens_in=length,
            tokens_out=answer.tokens,
            finish_reason=answer.finish_reason,
            latency_s=answer.seconds,
        )
        if self._cache and item.key:
            self._cache.put(item.key, response)
        return replace(response, reason=item.reason)

    def _ends(self, model: Any) -> frozenset[int]:
        """Every end token of the generation config, and the tokenizer's, which an adapter may change."""
        configured = model.generation_config.eos_token_id
        ends = configured if isinstance(configured, list) else [configured]
        return frozenset(int(end) for end in [*ends, self.tokenizer.eos_token_id] if end is not None)

    def _note_ignored_generation_config(self, model: Any) -> None:
        penalty = model.generation_config.repetition_penalty
        if penalty not in (None, 1.0):
            self._note(f"the model's generation config asks for repetition_penalty {penalty}: not applied")

    def _note(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(note)


def _example_seed(seed: int, example_id: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}\0{example_id}".encode()).digest()[:8], "big")
