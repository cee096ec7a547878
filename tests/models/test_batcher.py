"""Continuous batching: whatever shares the steps, every answer is the one that the prompt gets alone."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from engine.models.batcher import Batcher, BatchLimits, limits_for
from engine.models.model import Settings
from engine.models.rows import Completion, DecodingRow, Request, Rules, decode, next_tokens, processed
from engine.models.slots import Slots, shared_beginning, why_static

VOCABULARY = 300
Tokens = st.integers(min_value=6, max_value=VOCABULARY - 1)
Prompts = st.lists(st.lists(Tokens, min_size=1, max_size=40), min_size=1, max_size=9)
CHOICES = [
    Settings(temperature=0.8, top_k=5, min_p=0.05, repetition_penalty=1.3),
    Settings(temperature=1.7, top_k=40, top_p=0.8),
    Settings(repetition_penalty=0.7),
]
quick = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def model(base: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(base).eval()


@pytest.fixture(scope="module")
def tokenizer(base: Path) -> Any:
    return AutoTokenizer.from_pretrained(base)


@pytest.fixture(autouse=True, scope="module")
def no_collecting() -> Iterator[None]:
    """Collecting garbage at each failure would take most of the time, and decides nothing here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engine.models.batcher.free_memory", lambda: None)
        yield


def requests_of(prompts: list[list[int]], rooms: list[int]) -> list[Request]:
    return [Request(ids, rooms[place % len(rooms)], seed=place) for place, ids in enumerate(prompts)]


Seen = tuple[str, int, str] | None


def seen(answer: Completion | None) -> Seen:
    return (answer.text, answer.tokens, answer.finish_reason) if answer else None


def alone(model: Any, requests: list[Request], rules: Rules) -> list[Seen]:
    return [seen(decode(model, [request], rules)[0]) for request in requests]


def together(
    model: Any,
    requests: list[Request],
    rules: Rules,
    limits: BatchLimits,
    halved: Callable[[int], None] = lambda slots: None,
) -> list[Seen]:
    batcher = Batcher(requests, rules, limits, halved)
    found: dict[int, Seen] = {}
    while not batcher.done:
        for place, answer in batcher.advance(model, 0.05):
            assert place not in found
            found[place] = seen(answer)
    assert batcher.figures.rows == batcher.figures.new_tokens
    return [found[place] for place in range(len(requests))]


@quick
@given(
    prompts=Prompts,
    rooms=st.lists(st.integers(1, 20), min_size=1, max_size=9),
    ends=st.frozensets(Tokens, max_size=40),
    slots=st.integers(1, 6),
    budget=st.integers(1, 120),
)
def test_answers_are_those_of_each_prompt_alone(
    model: Any,
    tokenizer: Any,
    prompts: list[list[int]],
    rooms: list[int],
    ends: frozenset[int],
    slots: int,
    budget: int,
) -> None:
    rules = Rules(tokenizer, ends, Settings())
    requests = requests_of(prompts, rooms)
    assert together(model, requests, rules, BatchLimits(slots, budget)) == alone(model, requests, rules)


@quick
@given(
    beginning=st.lists(Tokens, min_size=10, max_size=30),
    prompts=st.lists(st.lists(Tokens, max_size=8), min_size=2, max_size=6),
    slots=st.integers(1, 4),
)
def test_a_shared_beginning_changes_no_answer(
    model: Any, tokenizer: Any, beginning: list[int], prompts: list[list[int]], slots: int
) -> None:
    rules = Rules(tokenizer, frozenset({7, 70}), Settings())
    requests = requests_of([beginning + prompt for prompt in prompts], [9, 3])
    assert together(model, requests, rules, BatchLimits(slots, 64)) == alone(model, requests, rules)


def test_a_long_prompt_that_needs_no_slot_leaves_room_for_shorter_ones(model: Any, tokenizer: Any) -> None:
    # The longest prompt ends with its first token: its group is padded for it, the slots are not.
    requests = requests_of([[6]] * 5 + [[6] * 6, [6] * 9], [1, 1, 2])
    rules = Rules(tokenizer, frozenset(), Settings())
    assert together(model, requests, rules, BatchLimits(3, 18)) == alone(model, requests, rules)


def test_a_shared_beginning_is_read_once(model: Any, tokenizer: Any) -> None:
    beginning = list(range(6, 46))
    requests = requests_of([[*beginning, 100 + place, 9] for place in range(4)], [4])
    with counted_tokens(model) as read:
        together(model, requests, Rules(tokenizer, frozenset(), Settings()), BatchLimits(2, 64))
    assert read[0] == len(beginning)
    assert max(read[1:]) == 2


@given(st.lists(st.lists(st.integers(1, 2), min_size=1, max_size=40), min_size=1, max_size=4))
def test_a_shared_beginning_leaves_every_prompt_a_token(prompts: list[list[int]]) -> None:
    beginning = shared_beginning(prompts)
    assert all(prompt[: len(beginning)] == beginning and len(prompt) > len(beginning) for prompt in prompts)


@quick
@given(prompts=Prompts, slots=st.integers(1, 5), chosen=st.sampled_from([0.7, 2.0, *CHOICES]))
def test_answers_by_any_settings_are_those_of_each_prompt_alone(
    model: Any, tokenizer: Any, prompts: list[list[int]], slots: int, chosen: float | Settings
) -> None:
    settings = chosen if isinstance(chosen, Settings) else Settings(temperature=chosen, top_p=0.9)
    rules = Rules(tokenizer, frozenset({9, 90}), settings)
    requests = requests_of(prompts, [7, 2, 12])
    assert together(model, requests, rules, BatchLimits(slots, 64)) == alone(model, requests, rules)


@pytest.mark.parametrize("chosen", CHOICES)
def test_scores_are_those_of_transformers(model: Any, tokenizer: Any, chosen: Settings) -> None:
    rows = [
        DecodingRow(place, Request(ids, 9), Rules(tokenizer, frozenset(), chosen))
        for place, ids in enumerate([[7, 8, 9, 7], [20], [30, 31]])
    ]
    rows[2].tokens += [40, 30]
    with torch.inference_mode():
        logits = torch.cat([model(torch.tensor([row.sequence])).logits[:, -1] for row in rows])
    given = {"do_sample": chosen.sampled, "repetition_penalty": chosen.repetition_penalty}
    if chosen.sampled:
        given |= {"temperature": chosen.temperature, "top_k": chosen.top_k, "top_p": chosen.top_p}
        given |= {"min_p": chosen.min_p} if chosen.min_p else {}
    theirs = model._get_logits_processor(GenerationConfig(**given), input_ids_seq_length=1, device="cpu")
    for row, own, scores in zip(rows, processed(logits, rows, chosen), logits, strict=True):
        assert torch.equal(own, theirs(torch.tensor([row.sequence]), scores[None])[0])


def test_a_repetition_penalty_is_that_of_generate(model: Any, tokenizer: Any) -> None:
    rules = Rules(tokenizer, frozenset({7}), Settings(repetition_penalty=1.5))
    requests = requests_of([[10, 11, 12], [60] * 9, [33]], [16])
    for request, found in zip(requests, together(model, requests, rules, BatchLimits(2, 64)), strict=True):
        with torch.inference_mode():
            ids = model.generate(
                torch.tensor([request.ids]), max_new_tokens=16, repetition_penalty=1.5, do_sample=False,
                eos_token_id=7, pad_token_id=0,
            )  # fmt: skip
        assert found is not None
        assert found[0] == tokenizer.decode(ids[0, len(request.ids) :], skip_special_tokens=True)


def test_stop_strings_end_rows_where_they_do_alone(model: Any, tokenizer: Any) -> None:
    requests = requests_of([[10 + place] * (3 + place) for place in range(6)], [24])
    plain = Rules(tokenizer, frozenset(), Settings())
    texts = [answer[0] for answer in alone(model, requests, plain) if answer]
    rules = Rules(tokenizer, frozenset(), Settings(stop=(texts[0][5:8], texts[3][9:11])))
    found = together(model, requests, rules, BatchLimits(3, 64))
    assert found == alone(model, requests, rules)
    for answer, text in zip(found, texts, strict=True):
        assert answer is not None and text.startswith(answer[0])
        assert not any(stop in answer[0] for stop in rules.settings.stop)
    assert sum(answer is not None and answer[2] == "stop" for answer in found) >= 2


@contextmanager
def counted_tokens(model: Any) -> Iterator[list[int]]:
    """The number of tokens per row that each pass of the model reads."""
    read: list[int] = []
    hook = model.model.layers[0].register_forward_pre_hook(lambda _, args: read.append(args[0].shape[1]))
    try:
        yield read
    finally:
        hook.remove()


@contextmanager
def out_of_memory_at(model: Any, calls: set[int]) -> Iterator[list[int]]:
    """Memory runs out in these passes, after the first layer has written; the list holds their number."""
    passes = [0]

    def fail(*args: Any) -> None:
        passes[0] += 1
        if passes[0] in calls:
            raise torch.OutOfMemoryError("CUDA out of memory")

    hook = model.model.layers[1].register_forward_pre_hook(fail)
    try:
        yield passes
    finally:
        hook.remove()


@pytest.mark.parametrize(("temperature", "stride"), [(0.0, 1), (1.5, 4)])
def test_out_of_memory_at_any_step_loses_nothing(
    model: Any, tokenizer: Any, temperature: float, stride: int
) -> None:
    rules = Rules(tokenizer, frozenset({7, 70}), Settings(temperature=temperature))
    prompts = [[*range(6, 30), *range(50 + place, 52 + 3 * place)] for place in range(6)]
    requests = requests_of(prompts, [9, 4, 12])
    expected = alone(model, requests, rules)
    with out_of_memory_at(model, set()) as passes:
        assert together(model, requests, rules, BatchLimits(4, 64)) == expected
    for step in range(1, passes[0] + 1, stride):
        halved: list[int] = []
        with out_of_memory_at(model, {step, step + 3}):
            assert together(model, requests, rules, BatchLimits(4, 64), halved.append) == expected
        assert halved[0] == 2


@settings(quick, max_examples=25)
@given(
    prompts=Prompts,
    rooms=st.lists(st.integers(1, 9), min_size=1, max_size=9),
    ends=st.frozensets(Tokens, max_size=20),
    slots=st.integers(2, 6),
    first=st.integers(1, 12),
    several=st.integers(1, 3),
    again=st.integers(2, 12),
    beginning=st.sampled_from([[], list(range(6, 26))]),
)
def test_out_of_memory_several_times_in_a_row_loses_nothing(
    model: Any,
    tokenizer: Any,
    prompts: list[list[int]],
    rooms: list[int],
    ends: frozenset[int],
    slots: int,
    first: int,
    several: int,
    again: int,
    beginning: list[int],
) -> None:
    rules = Rules(tokenizer, ends, Settings())
    requests = requests_of([beginning + prompt for prompt in prompts], rooms)
    expected = alone(model, requests, rules)
    # Fewer times than it takes to find that a prompt fits not even alone.
    several = min(several, slots.bit_length() - 1)
    with out_of_memory_at(model, {*range(first, first + several), first + several + again}):
        found = together(model, requests, rules, BatchLimits(slots, 64))
    for answer, right in zip(found, expected, strict=True):
        assert answer in (right, None)
    # The last failure may meet a row that is alone by then: that one is told, and no other is lost.
    assert sum(answer is None for answer in found) <= (1 if slots.bit_length() - 1 == several else 0)


def test_out_of_memory_while_slots_are_filled_loses_nothing(
    model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = Rules(tokenizer, frozenset(), Settings())
    requests = requests_of([[8 + place] * (place + 1) for place in range(7)], [3, 6])
    expected = alone(model, requests, rules)
    fill, calls = Slots.fill, [0]

    def hungry(self: Any, *args: Any) -> None:
        calls[0] += 1
        if calls[0] in (1, 3):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        fill(self, *args)

    monkeypatch.setattr(Slots, "fill", hungry)
    assert together(model, requests, rules, BatchLimits(4, 64)) == expected
    assert calls[0] > 3


def test_slots_that_the_system_has_no_memory_for_are_halved(model: Any, tokenizer: Any) -> None:
    rules = Rules(tokenizer, frozenset(), Settings())
    requests = requests_of([[8 + place] * (place + 1) for place in range(7)], [3, 6])
    expected = alone(model, requests, rules)
    halved: list[int] = []
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + (1 << 30), before[1]))
    try:
        found = together(model, requests, rules, BatchLimits(1 << 20, 64), halved.append)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert found == expected
    assert halved[0] == 1 << 19 and 64 < halved[-1] < 1 << 18


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_of_equal_scores_the_first_token_is_taken(dtype: torch.dtype) -> None:
    scores = torch.tensor([[0.5, 3.0, 3.0, 1.0], [-1.0, -1.0, -2.0, -1.0]], dtype=dtype)
    assert next_tokens(scores, [], Settings()).tolist() == [1, 0]


def test_only_the_prompt_that_fits_no_memory_is_left_out(model: Any, tokenizer: Any) -> None:
    rules = Rules(tokenizer, frozenset(), Settings())
    requests = requests_of([[9] * 5, [10] * 60, [11] * 7, [12] * 6], [5])
    expected = alone(model, requests, rules)
    expected[1] = None

    def hungry(_: Any, args: tuple[Any, ...]) -> None:
        if args[0].shape[1] >= 60:
            raise torch.OutOfMemoryError("CUDA out of memory")

    halved: list[int] = []
    hook = model.model.layers[1].register_forward_pre_hook(hungry)
    try:
        assert together(model, requests, rules, BatchLimits(4, 64), halved.append) == expected
    finally:
        hook.remove()
    assert halved == [2, 1]


def test_other_errors_are_not_taken_for_want_of_memory(model: Any, tokenizer: Any) -> None:
    batcher = Batcher(
        [Request([VOCABULARY + 5], 2)], Rules(tokenizer, frozenset(), Settings()), BatchLimits(2, 8), print
    )
    with pytest.raises(IndexError):
        batcher.advance(model, 1)


def test_work_is_handed_over_between_steps(model: Any, tokenizer: Any) -> None:
    requests = requests_of([[9, 10], [11]], [30])
    batcher = Batcher(requests, Rules(tokenizer, frozenset(), Settings()), BatchLimits(2, 8), print)
    lists = []
    while not batcher.done:
        lists.append(batcher.advance(model, 1e-9))
    assert len(lists) >= 29
    assert [len(finished) for finished in lists if finished] == [2]


def test_rows_with_room_for_long_answers_begin_first(model: Any, tokenizer: Any) -> None:
    requests = requests_of([[9, 10]] * 8, [2, 2, 2, 20])
    batcher = Batcher(requests, Rules(tokenizer, frozenset(), Settings()), BatchLimits(2, 8), print)
    while not batcher.done:
        batcher.advance(model, 1)
    assert batcher.figures.steps <= 19 + 4


def test_slots_follow_the_memory_and_the_wish(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    token = 2 * 32 * 2 * 4  # two layers, keys and values of 32 numbers of 4 bytes
    monkeypatch.setattr("engine.models.batcher.free_bytes", lambda device: token * 1000)
    assert limits_for(model, need=10, wanted=None).slots == 30
    assert limits_for(model, need=10, wanted=4).slots == 4
    assert limits_for(model, need=5000, wanted=None).slots == 1


def test_a_model_with_plain_attention_can_be_batched_continuously(model: Any) -> None:
    assert why_static(model) is None
