"""One prompt's generation, token by token: the next token, the end, and its reason.

For models whose cache does not fit slots; see `batcher` for all others.
"""

import gc
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from engine.models.model import Settings

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_batches(
    items: Sequence[Item],
    size: int,
    run: Callable[[Sequence[Item]], list[Result]],
    too_large: Callable[[Item], Result],
    halved: Callable[[int], None],
) -> Iterator[list[Result]]:
    """Runs items in batches of `size`, in order, and yields each batch's results as it is finished.

    Out of memory halves the size for the rest and repeats that batch only: what was finished is kept.
    `halved` gets the new size. An item that does not fit even alone gets `too_large(item)`.
    """
    start = 0
    while start < len(items):
        batch = items[start : start + size]
        results = attempt(batch, run)
        if results is not None:
            start += len(batch)
            yield results
        elif len(batch) > 1:
            size = len(batch) // 2
            halved(size)
        else:
            start += 1
            yield [too_large(batch[0])]


def attempt(batch: Sequence[Item], run: Callable[[Sequence[Item]], list[Result]]) -> list[Result] | None:
    """The batch's results; None, with the memory free again, where they fit no memory."""
    try:
        return run(batch)
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
    # After the handler: the error's frames hold the very tensors that must go.
    free_memory()
    return None


def out_of_memory(error: BaseException) -> bool:
    """Whether the error is a GPU's or the CPU allocator's "no memory left"."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def free_memory() -> None:
    """Gives freed tensors' memory back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt: its token ids, how many tokens may follow, and the seed when answers are sampled."""

    ids: list[int]
    room: int
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """One finished row: its text, tokens generated (end token included), seconds taken.

    `overran`: it went on after the token that ends a turn in the chat template.
    """

    text: str
    tokens: int
    finish_reason: str
    seconds: float
    overran: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides the tokens of a row besides the model: the tokenizer, the end tokens, the settings.

    `turn_end`: the token with which the chat template ends a turn, where there is one.
    `marks` are the special tokens that stay in its text.
    """

    tokenizer: Any
    ends: frozenset[int]
    settings: Settings
    turn_end: int | None = None
    marks: frozenset[int] = frozenset()


class DecodingRow:
    """A request and the tokens that the model has answered so far.

    All of a row's state is here and on the host, so a row can be begun again from `sequence` at any moment
    and ends in the same answer. A row is finished at any of the end tokens, at a stop string, or when its
    room is used up; its seconds count from `start` to that token.
    """

    __slots__ = ("_rules", "_started", "place", "request", "tokens")

    def __init__(self, place: int, request: Request, rules: Rules) -> None:
        self.place = place
        self.request = request
        self.tokens: list[int] = []
        self._rules = rules
        self._started: float | None = None

    @property
    def sequence(self) -> list[int]:
        """Everything that the model has to have read before the row's next token."""
        return self.request.ids + self.tokens

    @property
    def position(self) -> int:
        """The position of the newest token, counted from the prompt's first."""
        return len(self.request.ids) + len(self.tokens) - 1

    @property
    def need(self) -> int:
        """How many tokens the prompt and its answer take together at most."""
        return len(self.request.ids) + self.request.room

    def start(self) -> None:
        """Starts the row's clock; a row that is begun again keeps its first start."""
        if self._started is None:
            self._started = time.perf_counter()

    def started(self, ago: float) -> None:
        """Sets the row's clock to so many seconds ago, where its tokens came all at once."""
        self._started = time.perf_counter() - ago

    def draw(self) -> float:
        """The random number in [0, 1) for the next token: the same whenever and however often it is asked."""
        return random.Random(f"{self.request.seed}:{len(self.tokens)}").random()

    def add(self, token: int) -> Completion | None:
        """Appends a token; the answer once it ends the row."""
        self.tokens.append(token)
        ended = token in self._rules.ends
        used_up = len(self.tokens) >= self.request.room
        if not (ended or used_up or self._may_have_stopped()):
            return None
        text = self._decode(self.tokens)
        found = [place for stop in self._rules.settings.stop if (place := text.find(stop)) >= 0]
        if found:
            return self._answer(text[: min(found)], "stop")
        if ended or used_up:
            return self._answer(text, "stop" if ended else "length")
        return None

    def end(self, reason: str) -> Completion:
        """The answer of a row that ends here for a reason of somebody else's."""
        return self._answer(self._decode(self.tokens), reason)

    def _may_have_stopped(self) -> bool:
        """Looks at the last tokens only: reading the whole text at every token would take quadratic time."""
        stops = self._rules.settings.stop
        if not stops:
            return False
        # A token gives at least a byte; the others make up for what a tokenizer drops at a text's start.
        reach = max(len(stop.encode("utf-8")) for stop in stops) + 4
        tail = self._decode(self.tokens[-reach:])
        return any(stop in tail for stop in stops)

    def _decode(self, tokens: list[int]) -> str:
        decode, marks = self._rules.tokenizer.decode, self._rules.marks
        if marks.isdisjoint(tokens):
            return str(decode(tokens, skip_special_tokens=True))
        runs = groupby(tokens, marks.__contains__)
        return "".join(decode(list(run), skip_special_tokens=not marked) for marked, run in runs)

    def _answer(self, text: str, reason: str) -> Completion:
        started = self._started if self._started is not None else time.perf_counter()
        overran = self._rules.turn_end in self.tokens[:-1]
        return Completion(text, len(self.tokens), reason, time.perf_counter() - started, overran)


def next_tokens(logits: Any, rows: Sequence[DecodingRow], settings: Settings) -> Any:
    """The next token of each row [rows] from its logits [rows, vocabulary].

    A sampled token depends on the row's seed and its place in the answer alone, so that an answer is the
    same in any batch, and the same again when a row is begun anew.
    """
    scores = processed(logits, rows, settings)
    if not settings.sampled:
        return _highest(scores)
    cumulative = scores.softmax(-1, dtype=torch.float64).cumsum(-1)
    draws = torch.tensor([[row.draw()] for row in rows], dtype=torch.float64, device=logits.device)
    chosen = torch.searchsorted(cumulative, draws * cumulative[:, -1:], right=True)
    return chosen.clamp(max=logits.shape[-1] - 1).squeeze(-1)


def _highest(scores: Any) -> Any:
    """The token with each row's highest score, the first of equals [rows]."""
    if scores.device.type != "cpu":
        return scores.argmax(-1)
    wide = scores if scores.element_size() >= 4 else scores.float()
    # numpy takes a tenth of torch's time here.
    return torch.from_numpy(wide.numpy().argmax(-1))


def is_spread(model: Any) -> bool:
    """Whether the model's layers are on several devices, or on the disk until they are used."""
    places = set(map(str, (getattr(model, "hf_device_map", None) or {}).values()))
    return len(places) > 1 or "disk" in places


def entrance(model: Any) -> torch.device:
    """The device for a model's inputs: weights that wait on the processor or disk have none of their own."""
    if not is_spread(model):
        return torch.device(model.device)
    places = [place for place in model.hf_device_map.values() if place not in ("cpu", "disk")]
    return torch.device(places[0] if places else "cpu")


def processed(logits: Any, rows: Sequence[DecodingRow], settings: Settings) -> Any:
    """The scores of all tokens [rows, vocabulary], by transformers' own processors in `generate`'s order."""
    processors = LogitsProcessorList()
    if settings.repetition_penalty != 1:
        processors.append(RepetitionPenaltyLogitsProcessor(settings.repetition_penalty))
    if settings.sampled:
        processors.append(TemperatureLogitsWarper(settings.temperature))
        if settings.top_k:
            processors.append(TopKLogitsWarper(settings.top_k))
        if settings.top_p < 1:
            processors.append(TopPLogitsWarper(settings.top_p))
        if settings.min_p:
            processors.append(MinPLogitsWarper(settings.min_p))
    if not processors:
        return logits
    read = _read(rows, logits) if settings.repetition_penalty != 1 else None
    return processors(read, logits.float())


def _read(rows: Sequence[DecodingRow], like: Any) -> Any:
    """The tokens of each row, prompt and answer [rows, longest]; a shorter row repeats its first token."""
    longest = max(len(row.sequence) for row in rows)
    ids = [row.sequence + row.request.ids[:1] * (longest - len(row.sequence)) for row in rows]
    return torch.tensor(ids, device=like.device)


def decode(model: Any, requests: Sequence[Request], rules: Rules) -> list[Completion]:
    """Answers the requests in one batch, padded on the left under a real attention mask.

    A row's seconds count from the batch's start.
    """
    width = max(len(request.ids) for request in requests)
    pad = _pad_token(rules)
    ids = [[pad] * (width - len(request.ids)) + request.ids for request in requests]
    mask = [[0] * (width - len(request.ids)) + [1] * len(request.ids) for request in requests]
    rows = [DecodingRow(place, request, rules) for place, request in enumerate(requests)]
    watch = _Watch(rows)
    chosen = rules.settings.sampled or rules.settings.repetition_penalty != 1
    processors = LogitsProcessorList([_ChosenTokens(rows, rules.settings)] if chosen else [])
    config = GenerationConfig(
        max_new_tokens=max(request.room for request in requests),
        do_sample=False,
        eos_token_id=sorted(rules.ends) or None,
        pad_token_id=pad,
    )
    with torch.inference_mode(), _bare_generation_config(model):
        model.generate(
            torch.tensor(ids, device=entrance(model)),
            attention_mask=torch.tensor(mask, device=entrance(model)),
            generation_config=config,
            logits_processor=processors,
            stopping_criteria=StoppingCriteriaList([watch]),
        )
    return watch.answers()


def _pad_token(rules: Rules) -> int:
    """Any token will do, since the mask hides it; the tokenizer's own where it has one."""
    own = rules.tokenizer.pad_token_id
    return int(own if own is not None else min(rules.ends, default=0))


@contextmanager
def _bare_generation_config(model: Any) -> Iterator[None]:
    # `generate` fills every value that we leave open from the model's own configuration: a repetition
    # penalty or sampling there would quietly change what "greedy" means.
    own = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own


class _Watch(StoppingCriteria):  # type: ignore[misc]  # transformers is untyped here
    """Tracks each row's new tokens, and says which rows are finished."""

    def __init__(self, rows: list[DecodingRow]) -> None:
        self._rows = rows
        self._finished: list[Completion | None] = [None] * len(rows)
        for row in rows:
            row.start()

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        for place, token in enumerate(input_ids[:, -1].tolist()):
            if self._finished[place] is None:
                self._finished[place] = self._rows[place].add(token)
        return torch.tensor([answer is not None for answer in self._finished], device=input_ids.device)

    def answers(self) -> list[Completion]:
        """Every row's answer; `generate` has returned, so every row is finished."""
        return [answer for answer in self._finished if answer is not None]


class _ChosenTokens(LogitsProcessor):  # type: ignore[misc]  # transformers is untyped here
    """Leaves only the token that is next for the row possible. Greedy decoding then takes it."""

    def __init__(self, rows: list[DecodingRow], settings: Settings) -> None:
        self._rows = rows
        self._settings = settings

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        chosen = next_tokens(scores, self._rows, self._settings)[:, None]
        return torch.full_like(scores, float("-inf")).scatter(-1, chosen, 0.0)
