"""Continuous batching: every step computes only unfinished rows.

A fixed number of slots holds rows of different lengths; the next prompt takes a finished row's slot at once.
Prompts are prefilled in groups, so that refilling a slot costs a copy and no forward pass. The free memory
of the device limits rows and tokens.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import psutil
import torch

from engine.models.model import Load
from engine.models.packed import PackedLayers
from engine.models.rows import (
    Completion,
    DecodingRow,
    Request,
    Rules,
    free_memory,
    next_tokens,
    out_of_memory,
)
from engine.models.slots import Slots, bands_of, prefill, shared_beginning, side_by_side

# A step reads all weights, so more rows share that; with more than these it gains little and takes memory.
MOST_SLOTS = {"cuda": 256}
MOST_SLOTS_ELSEWHERE = 128
# About what fills the device in one pass of prompts; more only takes memory, and pads prompts more.
MOST_TOKENS = {"cuda": 8192}
MOST_TOKENS_ELSEWHERE = 512
# The share of the free memory that keys and values may take; the rest is for activations and for others.
SHARE = 0.6


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """The maximum rows per step, and the maximum tokens per prefill."""

    slots: int
    tokens: int

    def halved(self) -> "BatchLimits":
        return BatchLimits(max(1, self.slots // 2), max(1, self.tokens // 2))


def limits_for(model: Any, need: int, wanted: int | None) -> BatchLimits:
    """Limits for a model whose rows need up to that many tokens each.

    A prefilled group waits beside the slots, so memory is counted for twice the rows of the slots at most.
    `wanted` is what the plan asks for at most; None leaves it to the device.
    """
    with torch.inference_mode():
        _, cache = prefill(model, [[0]])
    rows = int(SHARE * free_bytes(model.device)) // (_bytes_per_token(cache) * need)
    kind = model.device.type
    most = MOST_SLOTS.get(kind, MOST_SLOTS_ELSEWHERE)
    slots = max(1, min(rows // 2, most if wanted is None else wanted))
    return BatchLimits(slots, MOST_TOKENS.get(kind, MOST_TOKENS_ELSEWHERE))


def free_bytes(device: torch.device) -> int:
    """Memory that can be had on the device: what is free, and what torch keeps unused."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + unused)
    return int(psutil.virtual_memory().available)


def _bytes_per_token(cache: Any) -> int:
    """The memory that one token of one row takes in a filled cache, over all layers."""
    parts = [part for layer in cache.layers for part in (layer.keys, layer.values)]
    return sum(part.shape[1] * part.shape[3] * part.element_size() for part in parts)


# The most positions of a prefill that may be padding, as a share of its tokens: of one that fills at most
# half of its budget, whose fixed costs weigh more, and of a larger one.
_PADDING, _PADDING_OF_LARGE = 0.25, 0.05
# Rows whose attention is computed together, up to the longest of them. On a GPU each call has its cost.
BAND = {"cuda": 64}
BAND_ELSEWHERE = 8

# Prompts for which copies of the weights pay; fewer are answered before they are made.
PACKED_FROM = 16

Finished = tuple[int, Completion | None]


@dataclass(slots=True)
class Figures:
    """The batcher's work so far: tokens and seconds of prefill and of decoding, and its steps."""

    prompt_tokens: int = 0
    prompt_seconds: float = 0.0
    new_tokens: int = 0
    new_seconds: float = 0.0
    steps: int = 0
    rows: int = 0
    slots: int = 0


class Batcher:
    """Answers requests over a model whose cache can be kept in slots.

    Every unfinished row is in exactly one place: waiting, read ahead, or in a slot. `_rows` are the slots in
    use; None among them is a slot whose row has just finished, and there is none when a step is computed.
    The device's state can be dropped at any moment, since each row knows its own tokens: this is how
    running out of memory loses nothing.
    """

    def __init__(
        self, requests: Sequence[Request], rules: Rules, limits: BatchLimits, halved: Callable[[int], None]
    ) -> None:
        self.figures = Figures(slots=limits.slots)
        self._settings = rules.settings
        self._given = self._limits = limits
        self._many = len(requests) >= PACKED_FROM
        self._packed: PackedLayers | None = None
        self._halved = halved
        self._waiting = deque(
            _in_order(
                [DecodingRow(place, request, rules) for place, request in enumerate(requests)], limits.slots
            )
        )
        self._beginning = shared_beginning([request.ids for request in requests])
        self._finished: list[Finished] = []
        self._ahead: list[tuple[int, DecodingRow]] = []
        self._rows: list[DecodingRow | None] = []
        self._shared: Any = None
        self._source: Any = None
        self._slots: Any = None
        self._tokens: Any = None
        self._positions: Any = None
        self._band = BAND_ELSEWHERE

    @property
    def done(self) -> bool:
        """Whether every request has been given out, finished."""
        return not (self._waiting or self._ahead or self._rows or self._finished)

    def advance(self, model: Any, seconds: float) -> list[Finished]:
        """Works for about that long, a step at least, and gives what was finished: places and answers.

        Between two calls nothing is running. The answer is None for a prompt that fits no memory, not even
        alone; out of memory otherwise halves the limits, tells `halved`, and goes on with the same rows.
        """
        until = time.perf_counter() + seconds
        with torch.inference_mode(), self._packed_layers(model):
            while self._waiting or self._ahead or self._rows:
                if not self._attempt(model):
                    self._shrink()
                if time.perf_counter() >= until:
                    break
        finished, self._finished = self._finished, []
        return finished

    def _packed_layers(self, model: Any) -> AbstractContextManager[None]:
        if not self._many:
            return nullcontext()
        if self._packed is None:
            self._packed = PackedLayers(model, self._limits.slots)
        return self._packed.used()

    def _attempt(self, model: Any) -> bool:
        try:
            self._work(model)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            return False
        return True

    def _work(self, model: Any) -> None:
        """One piece of work: rows put into free slots, a group of prompts read for them, or a step."""
        free = self._limits.slots - sum(row is not None for row in self._rows)
        if free and self._ahead:
            self._arrange(self._ahead[:free])
            del self._ahead[:free]
        elif free and self._waiting:
            self._read_group(model)
        else:
            if None in self._rows:
                self._arrange([])
            if self._rows:
                self._step(model)

    def _read_group(self, model: Any) -> None:
        """Prefills the next prompts of like length, and chooses the first token of each."""
        began = time.perf_counter()
        rows = self._next_group()
        for row in rows:
            row.start()
        self._source = None
        if self._shared is None and self._beginning:
            _, self._shared = prefill(model, [self._beginning])
        logits, cache = prefill(model, [row.sequence for row in rows], self._shared)
        tokens = next_tokens(logits, rows, self._settings).tolist()
        self._source = cache
        for place, (row, token) in enumerate(zip(rows, tokens, strict=True)):
            self._waiting.popleft()
            if not self._ended(row, token):
                self._ahead.append((place, row))
        self.figures.prompt_tokens += sum(len(row.request.ids) for row in rows)
        self.figures.prompt_seconds += time.perf_counter() - began

    def _next_group(self) -> list[DecodingRow]:
        """The first waiting rows: at most as many as slots, within the token budget, with little padding."""
        rows: list[DecodingRow] = []
        longest = total = 0
        for row in self._waiting:
            length = len(row.request.ids) + len(row.tokens) - len(self._beginning)
            longest, total = max(longest, length), total + length
            padded = longest * (len(rows) + 1)
            share = _PADDING if 2 * padded <= self._limits.tokens else _PADDING_OF_LARGE
            if rows and (padded > self._limits.tokens or padded > total * (1 + share)):
                break
            rows.append(row)
            if len(rows) == self._limits.slots:
                break
        return rows

    def _arrange(self, ahead: list[tuple[int, DecodingRow]]) -> None:
        """Copies prefilled rows into slots, and closes the gaps: rows of similar length are neighbours."""
        if ahead and (self._slots is None or self._limits.slots == 1):
            self._allocate([row for _, row in ahead])
        order = side_by_side(self._rows, [row for _, row in ahead], self._band)
        place_of = {row: place for place, row in enumerate(order)}
        moved = {
            place: place_of[row]
            for place, row in enumerate(self._rows)
            if row is not None and place_of[row] != place
        }
        if moved:
            length = max(order[place].position for place in moved.values())
            self._slots.move(list(moved), list(moved.values()), length)
        if ahead:
            self._slots.fill([place_of[row] for _, row in ahead], self._source, [place for place, _ in ahead])
        self._rows = list(order)
        self._tokens[: len(order)] = torch.tensor([row.tokens[-1] for row in order])
        self._positions[: len(order)] = torch.tensor([row.position for row in order])

    def _allocate(self, rows: list[DecodingRow]) -> None:
        """Makes the slots, of the size that the largest row to come needs; a lone slot fits its row."""
        if self._limits.slots > 1:
            rows = [*(row for _, row in self._ahead), *self._waiting]
        self._slots = None
        self._slots = Slots(self._source, self._limits.slots, max(row.need for row in rows))
        device = self._source.layers[0].keys.device
        self._band = BAND.get(device.type, BAND_ELSEWHERE)
        self._tokens = torch.zeros(self._limits.slots, dtype=torch.long, device=device)
        self._positions = torch.zeros_like(self._tokens)

    def _step(self, model: Any) -> None:
        """One token for every row."""
        began = time.perf_counter()
        rows = [row for row in self._rows if row is not None]
        tokens, positions = self._tokens[: len(rows)], self._positions[: len(rows)]
        logits = self._slots.step(model, tokens, positions, bands_of(rows, self._band))
        chosen = next_tokens(logits, rows, self._settings)
        host = chosen.tolist()
        tokens.copy_(chosen)
        positions.add_(1)
        for place, (row, token) in enumerate(zip(rows, host, strict=True)):
            if self._ended(row, token):
                self._rows[place] = None
        self.figures.steps += 1
        self.figures.rows += len(rows)
        self.figures.new_tokens += len(rows)
        self.figures.new_seconds += time.perf_counter() - began

    def _ended(self, row: DecodingRow, token: int) -> bool:
        answer = row.add(token)
        if answer is not None:
            self._finished.append((row.place, answer))
        return answer is not None

    def _shrink(self) -> None:
        """Drops what the device holds, and goes on with half; with one row alone, without that row."""
        rows = [row for row in self._rows if row is not None] + [row for _, row in self._ahead]
        self._drop()
        self._waiting.extendleft(reversed(rows))
        if self._limits.slots == 1:
            # Only the first row was at work, so it is the one that does not fit; the others may fit together.
            self._finished.append((self._waiting.popleft().place, None))
            self._limits = self._given
        else:
            self._limits = self._limits.halved()
            self._halved(self._limits.slots)
        self.figures.slots = self._limits.slots
        free_memory()

    def _drop(self) -> None:
        """Nothing on the device any more; the host keeps every row."""
        self._ahead, self._rows = [], []
        self._shared = self._source = self._slots = self._tokens = self._positions = None


def _in_order(rows: list[DecodingRow], slots: int) -> list[DecodingRow]:
    """Those with room for the longest answers first, so that none is left alone at the end; then, within as
    many as fit the slots, the longest prompts, so that like lengths are read together.
    """
    rows = sorted(rows, key=lambda row: (row.request.room, len(row.request.ids)), reverse=True)
    chunks = (rows[start : start + slots] for start in range(0, len(rows), slots))
    return [row for chunk in chunks for row in sorted(chunk, key=lambda row: -len(row.request.ids))]


class BatcherTotals:
    """Reads a batcher's figures from time to time. `load` is None until the first ones."""

    def __init__(self) -> None:
        self.load: Load | None = None
        self._seen = Figures()

    def begin(self) -> None:
        """To be called before a new batcher, which counts from zero."""
        self._seen = Figures()

    def read(self, now: Figures, finished: int) -> None:
        """Adds what happened since the last reading, in which as many answers were finished.

        An answer's first token comes with its prompt, not with a step; it is counted when the answer is
        finished, so that in the end the tokens are those of all answers.
        """
        seen, self._seen = self._seen, replace(now)
        before = self.load or Load(0, 0)
        steps = now.steps - seen.steps
        self.load = Load(
            slots=now.slots,
            busy=round((now.rows - seen.rows) / steps) if steps else before.busy,
            prompt_tokens=before.prompt_tokens + now.prompt_tokens - seen.prompt_tokens,
            prompt_seconds=before.prompt_seconds + now.prompt_seconds - seen.prompt_seconds,
            tokens=before.tokens + now.new_tokens - seen.new_tokens + finished,
        )
