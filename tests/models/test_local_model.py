"""Local generation: the same answers whatever the batch, the adapter's company, or the memory."""

import json
import math
import shutil
import tomllib
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from engine.data.example import Example
from engine.models.fingerprint import ResponseCache
from engine.models.local import LocalBase, LocalModel
from engine.models.model import Response, Settings
from engine.models.prompt import Prompts
from engine.models.rows import DecodingRow, Request, Rules
from engine.phases.work import closed_after
from engine.plan.plan import Model
from engine.servers.reasoning import Reasoned, split_reasoning
from tests.models.tiny import CONTEXT, ask, make_adapter, make_model, make_tokenizer

GREEDY = Settings(max_new_tokens=12, batch_size=4)
QUESTIONS = [ask("the cat " * length + str(length)) for length in (1, 7, 3, 12, 2, 5, 9)]


def plan_model(path: Path, adapter: Path | None = None, **more: Any) -> Model:
    return Model(name="m", role="candidate", path=str(path), adapter=adapter, device="cpu", **more)


def local(
    path: Path, adapter: Path | None = None, cache: ResponseCache | None = None, **more: Any
) -> LocalModel:
    return LocalBase(str(path), device="cpu").generator(plan_model(path, adapter, **more), cache)


def answers(model: LocalModel, examples: list[Example], settings: Settings = GREEDY) -> dict[str, Response]:
    return {
        response.example_id: response for batch in model.generate(examples, settings) for response in batch
    }


def texts(model: LocalModel, examples: list[Example], settings: Settings = GREEDY) -> dict[str, str | None]:
    return {name: response.text for name, response in answers(model, examples, settings).items()}


def with_generation_config(base: Path, folder: Path, **values: Any) -> Path:
    """A copy of the base's weights whose generation config says something else."""
    for file in base.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((base / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(config | values))
    return folder


def transformers_own(base: Path, example: Example) -> list[int]:
    """The new tokens that transformers gives for this prompt alone."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(base), AutoTokenizer.from_pretrained(base)
    text = tokenizer.apply_chat_template(list(example.messages), tokenize=False, add_generation_prompt=True)
    prompt = tokenizer(text, add_special_tokens=False, return_tensors="pt")
    new = model.generate(**prompt, max_new_tokens=12, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    return list(new.tolist())


def test_greedy_answers_are_transformers_own_one_at_a_time(base: Path) -> None:
    model = local(base)
    found = answers(model, QUESTIONS)
    for example in QUESTIONS:
        new = transformers_own(base, example)
        assert found[example.id].text == model.tokenizer.decode(new, skip_special_tokens=True)
        assert found[example.id].tokens_out == len(new)
        assert found[example.id].finish_reason == ("stop" if new[-1] == 2 else "length")


def test_batches_change_no_answer(base: Path) -> None:
    model = local(base)
    single = texts(model, QUESTIONS, replace(GREEDY, slots=1))
    assert len(single) == len(QUESTIONS)
    assert texts(model, QUESTIONS, replace(GREEDY, slots=7)) == single
    assert len(set(single.values())) > 1


def test_longest_prompts_come_first(base: Path) -> None:
    batches = list(local(base).generate(QUESTIONS, replace(GREEDY, slots=1)))
    lengths = [response.tokens_in or 0 for batch in batches for response in batch]
    assert lengths == sorted(lengths, reverse=True)


def test_the_template_is_applied_once_without_a_second_bos(base: Path) -> None:
    ids = local(base).prompt(QUESTIONS[0])
    assert ids.count(1) == 1
    assert AutoTokenizer.from_pretrained(base).decode(ids) == "<s><|user|>the cat 1</s><|assistant|>"


def test_a_system_prompt_stands_before_the_question(base: Path) -> None:
    model = local(base, system="Be brief.")
    assert "<|system|>Be brief.</s><|user|>" in model.tokenizer.decode(model.prompt(QUESTIONS[0]))
    assert model.fingerprint != local(base).fingerprint


def test_a_template_without_system_role_gets_it_in_the_first_user_turn(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "tiny-base")
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    make_tokenizer(refuses + "{% for m in messages %}<|user|>{{ m.content }}{% endfor %}").save_pretrained(
        folder
    )
    model = local(folder, system="Be brief.")
    assert model.tokenizer.decode(model.prompt(QUESTIONS[0])) == "<|user|>Be brief.\n\nthe cat 1"
    assert any("no system message" in note for note in model.describe()["notes"])


def test_a_template_that_refuses_is_a_missing_answer_with_its_reason(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "tiny-base")
    make_tokenizer("{{ raise_exception('only tools here') }}").save_pretrained(folder)
    response = answers(local(folder), [QUESTIONS[0]])["the cat 1"]
    assert response.text is None
    assert "only tools here" in str(response.reason)


def test_without_a_template_the_plain_query_is_asked_and_noted(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "tiny-base")
    (folder / "chat_template.jinja").unlink()
    model = local(folder)
    assert model.tokenizer.decode(model.prompt(QUESTIONS[0])) == "<s>the cat 1"
    assert any("no chat template" in note for note in model.describe()["notes"])
    assert answers(model, QUESTIONS)["the cat 1"].text is not None


def test_every_end_token_of_the_generation_config_stops(base: Path, tmp_path: Path) -> None:
    example = QUESTIONS[0]
    tokens = transformers_own(base, example)
    ending = with_generation_config(base, tmp_path, eos_token_id=[2, tokens[3]])
    response = answers(local(ending), [example])[example.id]
    assert response.finish_reason == "stop"
    assert response.tokens_out == tokens.index(tokens[3]) + 1


def test_a_repetition_penalty_of_the_model_is_not_applied_and_noted(base: Path, tmp_path: Path) -> None:
    model = local(
        with_generation_config(base, tmp_path, repetition_penalty=5.0, do_sample=True, temperature=3.0)
    )
    assert texts(model, QUESTIONS) == texts(local(base), QUESTIONS)
    assert any("repetition_penalty 5.0" in note for note in model.describe()["notes"])


def test_rows_that_end_early_count_no_padding_and_less_time(base: Path, tmp_path: Path) -> None:
    first = transformers_own(base, QUESTIONS[0])[0]
    model = local(with_generation_config(base, tmp_path, eos_token_id=[2, first]))
    found = answers(model, QUESTIONS, replace(GREEDY, slots=len(QUESTIONS)))
    early = found["the cat 1"]
    assert (early.tokens_out, early.finish_reason) == (1, "stop")
    slowest = max(found.values(), key=lambda response: response.tokens_out or 0)
    assert slowest.tokens_out == GREEDY.max_new_tokens
    assert 0 < (early.latency_s or 0) < (slowest.latency_s or 0)


def test_a_stop_string_ends_the_text_before_it(base: Path) -> None:
    model = local(base)
    whole = texts(model, QUESTIONS)["the cat 1"]
    assert whole is not None
    stop = whole[3:5]
    response = answers(model, QUESTIONS, replace(GREEDY, stop=(stop,)))["the cat 1"]
    assert response.text == whole[: whole.index(stop)]
    assert response.finish_reason == "stop"


def test_a_prompt_beyond_the_context_is_missing_with_its_length(base: Path) -> None:
    found = answers(local(base), [ask("cat " * 200, "long"), *QUESTIONS])
    assert found["long"].text is None
    assert (
        found["long"].reason
        == f"prompt of {found['long'].tokens_in} tokens exceeds the model's context of {CONTEXT}"
    )
    assert all(found[example.id].text is not None for example in QUESTIONS)


def test_a_prompt_beyond_the_context_is_cut_where_that_is_asked_for(base: Path, tmp_path: Path) -> None:
    truncate = replace(GREEDY, overflow="truncate")
    long = ask("cat " * 100 + "dog " * 100, "long")
    with ResponseCache(tmp_path) as cache:
        for _ in range(2):
            model = local(base, cache=cache, system="Be brief.")
            found = answers(model, [long, *QUESTIONS], truncate)["long"]
            assert found.text is not None and found.tokens_in == CONTEXT - 12
            whole = len(model.prompt(long))
            assert found.reason == f"prompt of {whole} tokens cut to {CONTEXT - 12} to fit the context"
    assert found.cached
    assert any("were cut to fit" in note for note in model.describe()["notes"])
    assert texts(model, QUESTIONS, truncate) == texts(model, QUESTIONS)


def test_a_cut_prompt_keeps_the_templates_beginning_and_the_newest_tokens(base: Path) -> None:
    model = local(base, system="Be brief.")
    long = ask("cat " * 100 + "dog " * 100, "long")
    prompts = Prompts(model.tokenizer, "Be brief.")
    kept = prompts.cut(long, model.prompt(long), 60)
    assert len(kept) == 60
    text = model.tokenizer.decode(kept)
    assert text.startswith("<s><|system|>Be brief.</s><|user|>")
    assert text.endswith("dog </s><|assistant|>") and "cat" not in text


def test_a_system_prompt_takes_at_most_half_of_what_is_kept(base: Path) -> None:
    model = local(base, system="Be brief. " * 100)
    long = ask("dog " * 100, "long")
    text = model.tokenizer.decode(
        Prompts(model.tokenizer, "Be brief. " * 100).cut(long, model.prompt(long), 40)
    )
    assert text.startswith("<s><|system|>Be brief.") and text.endswith("dog </s><|assistant|>")


def test_without_a_template_a_cut_prompt_keeps_its_end(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "tiny-base")
    (folder / "chat_template.jinja").unlink()
    model = local(folder)
    response = answers(model, [ask("cat " * 200 + "dog", "long")], replace(GREEDY, overflow="truncate"))[
        "long"
    ]
    assert response.text is not None and response.tokens_in == CONTEXT - 12


@pytest.mark.parametrize(
    "template", ["{{ messages[0].content + 1 }}", "{{ messages[7]['content'].x.y }}", "{{ 1 / 0 }}"]
)
def test_a_template_that_fails_is_a_missing_answer_with_its_reason(tmp_path: Path, template: str) -> None:
    folder = make_model(tmp_path / "tiny-base")
    make_tokenizer(template).save_pretrained(folder)
    response = answers(local(folder), [QUESTIONS[0]])["the cat 1"]
    assert response.text is None and "the chat template refuses the messages" in str(response.reason)


def test_an_empty_prompt_is_a_missing_answer_with_its_reason(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "tiny-base")
    make_tokenizer("{{ messages[0].content }}").save_pretrained(folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"bos_token": None}))
    found = answers(local(folder), [ask("", "empty"), ask("the cat", "other")])
    assert found["empty"].text is None and "the prompt is empty" in str(found["empty"].reason)
    assert found["other"].text is not None


def test_an_answer_as_long_as_the_context_allows_is_given(base: Path) -> None:
    response = answers(local(base), [ask("the")], replace(GREEDY, max_new_tokens=10_000))["the"]
    assert response.text is not None and response.tokens_in is not None and response.tokens_out is not None
    assert response.finish_reason == "stop" or response.tokens_in + response.tokens_out == CONTEXT


def test_answers_stop_where_the_context_ends(base: Path) -> None:
    example = ask("the cat " * 28)
    response = answers(local(base), [example, *QUESTIONS], replace(GREEDY, max_new_tokens=200))[example.id]
    assert response.tokens_in is not None and response.tokens_out is not None
    assert response.tokens_in + response.tokens_out <= CONTEXT


def test_an_example_may_bring_its_own_length(base: Path, tmp_path: Path) -> None:
    own = [replace(QUESTIONS[0], id="short", extra={"max_new_tokens": 2}), QUESTIONS[0]]
    with ResponseCache(tmp_path) as cache:
        for _ in range(2):
            found = answers(local(base, cache=cache), own)
            assert found["short"].tokens_out == 2
            assert found["the cat 1"].tokens_out == 12
            assert str(found["the cat 1"].text).startswith(str(found["short"].text))
    assert all(response.cached for response in found.values())


@pytest.mark.parametrize("length", [0, "many", 2.5, True])
def test_a_length_that_is_none_is_a_missing_answer(base: Path, length: Any) -> None:
    wrong = replace(QUESTIONS[0], id="wrong", extra={"max_new_tokens": length})
    found = answers(local(base), [wrong, *QUESTIONS])
    assert found["wrong"].text is None and repr(length) in str(found["wrong"].reason)
    assert all(found[example.id].text is not None for example in QUESTIONS)


def test_two_models_of_one_base_may_take_turns_between_steps(
    base: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.models.local.HAND_OVER", 0.0)
    shared = LocalBase(str(base), device="cpu")
    models = [shared.generator(plan_model(base, path)) for path in (None, adapter)]
    running = [model.generate(QUESTIONS, GREEDY) for model in models]
    found: list[dict[str, str | None]] = [{}, {}]
    for _ in range(100):
        for place, batches in enumerate(running):
            found[place] |= {response.example_id: response.text for response in next(batches, [])}
    assert found == [texts(local(base), QUESTIONS), texts(local(base, adapter), QUESTIONS)]


def test_leaving_early_gives_up_the_rest_and_the_model_can_be_asked_again(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.models.local.HAND_OVER", 0.0)
    model = local(base)
    with closed_after(model.generate(QUESTIONS, GREEDY)) as batches:
        assert next(batches) == []
    assert list(batches) == []
    assert len(answers(model, QUESTIONS)) == len(QUESTIONS)


def test_sampled_answers_are_the_same_in_any_batch_and_differ_by_seed(base: Path) -> None:
    model = local(base)
    hot = Settings(max_new_tokens=8, temperature=2.0, top_p=0.9, seed=1, slots=1)
    single = texts(model, QUESTIONS, hot)
    assert texts(model, QUESTIONS, replace(hot, slots=7)) == single
    assert texts(model, QUESTIONS, replace(hot, seed=2)) != single
    assert single != texts(model, QUESTIONS, replace(GREEDY, max_new_tokens=8))
    assert any("sampled" in note for note in model.describe()["notes"])


def test_the_samples_of_an_answer_have_seeds_of_their_own(base: Path, tmp_path: Path) -> None:
    hot = Settings(max_new_tokens=8, temperature=2.0, seed=1)
    examples = [replace(QUESTIONS[0], sample=place) for place in range(4)]
    with ResponseCache(tmp_path) as cache:
        for _ in range(2):
            model = local(base, cache=cache)
            found = {one.sample: one for batch in model.generate(examples, hot) for one in batch}
            assert found[0].text == texts(local(base), QUESTIONS[:1], hot)[QUESTIONS[0].id]
            assert len({one.tokens_in for one in found.values()}) == 1
            assert len({one.text for one in found.values()}) == 4
        assert all(one.cached for one in found.values())


def test_the_templates_variables_reach_the_prompt_and_one_it_does_not_read_is_told(
    base: Path, tmp_path: Path
) -> None:
    folder = with_generation_config(base, tmp_path)
    template = "{{ messages[0].content }}{% if enable_thinking is false %} /no_think{% endif %}"
    (folder / "chat_template.jinja").write_text(template)
    plain = local(folder)
    told = local(folder, chat_template_kwargs={"enable_thinking": False, "effort": "low"})
    shown = [model.tokenizer.decode(model.prompt(ask("hi"))) for model in (plain, told)]
    assert shown == ["hi", "hi /no_think"]
    assert told.describe()["chat_template_kwargs"] == {"enable_thinking": False, "effort": "low"}
    assert "the chat template does not read effort: it has no effect" in told.describe()["notes"]
    assert plain.fingerprint == local(folder).fingerprint != told.fingerprint


def starved(model: LocalModel, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """The model runs out of memory on every batch of more than `limit` rows."""
    forward = LlamaForCausalLM.forward

    @wraps(forward)
    def hungry(self: Any, input_ids: Any, *args: Any, **kwargs: Any) -> Any:
        if len(input_ids) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, input_ids, *args, **kwargs)

    monkeypatch.setattr(LlamaForCausalLM, "forward", hungry)


def test_out_of_memory_halves_the_batch_and_loses_nothing(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = texts(local(base), QUESTIONS)
    model = local(base)
    starved(model, monkeypatch, limit=2)
    found = [r for batch in model.generate(QUESTIONS, replace(GREEDY, slots=7)) for r in batch]
    assert sorted(response.example_id for response in found) == sorted(expected)
    assert {response.example_id: response.text for response in found} == expected
    assert model.describe()["batching_figures"]["slots"] == 1
    assert any("out of memory" in note for note in model.describe()["notes"])


def test_out_of_memory_on_a_single_prompt_is_missing_with_its_reason(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Collecting garbage at each failure would take most of the time, and decides nothing here.
    monkeypatch.setattr("engine.models.batcher.free_memory", lambda: None)
    model = local(base)
    starved(model, monkeypatch, limit=0)
    found = answers(model, QUESTIONS)
    assert len(found) == len(QUESTIONS)
    assert all(
        response.text is None and "out of memory" in str(response.reason) for response in found.values()
    )


def test_an_adapter_on_a_shared_base_answers_like_one_loaded_alone(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    other = make_adapter(tmp_path / "other", base, seed=9)
    shared = LocalBase(str(base), device="cpu")
    models = {name: shared.generator(plan_model(base, path)) for name, path in
              (("base", None), ("one", adapter), ("other", other))}  # fmt: skip
    alone = {"base": texts(local(base), QUESTIONS)}
    for name, path in (("one", adapter), ("other", other)):
        alone[name] = texts(local(base, path), QUESTIONS)
    for name in ("one", "base", "other", "one", "base"):
        assert texts(models[name], QUESTIONS) == alone[name]
    assert alone["base"] != alone["one"] != alone["other"]


def test_an_adapter_answers_like_the_model_it_is_merged_into(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    merged = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter).merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    make_tokenizer().save_pretrained(tmp_path / "merged")
    assert texts(local(tmp_path / "merged"), QUESTIONS) == texts(local(base, adapter), QUESTIONS)


def test_the_probe_tells_an_adapter_from_one_without_effect(
    base: Path, adapter: Path, no_effect: Path
) -> None:
    works = local(base, adapter).probe(QUESTIONS)
    assert works.prompts == 4
    assert works.max_difference > works.mean_difference > 0
    assert local(base, no_effect).probe(QUESTIONS).max_difference == 0


def test_the_probe_of_an_adapter_that_breaks_the_model_finds_no_number(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(adapter, tmp_path / "broken")
    weights = load_file(broken / "adapter_model.safetensors")
    save_file({name: each * 1e25 for name, each in weights.items()}, broken / "adapter_model.safetensors")
    assert math.isnan(local(base, broken).probe(QUESTIONS).max_difference)


def test_a_probe_without_prompts_has_no_number(base: Path, adapter: Path) -> None:
    found = local(base, adapter).probe([])
    assert found.prompts == 0 and math.isnan(found.max_difference) and math.isnan(found.mean_difference)


def test_models_of_one_path_never_share_cached_answers(tmp_path: Path) -> None:
    folder = tmp_path / "tiny-base"
    with ResponseCache(tmp_path / "cache") as cache:
        make_model(folder, seed=1)
        first = answers(local(folder, cache=cache), QUESTIONS)
        make_model(folder, seed=2)
        second = answers(local(folder, cache=cache), QUESTIONS)
    assert not any(response.cached for response in second.values())
    assert {name: r.text for name, r in first.items()} != {name: r.text for name, r in second.items()}


def test_a_second_run_takes_its_answers_from_the_cache_without_loading(base: Path, tmp_path: Path) -> None:
    with ResponseCache(tmp_path) as cache:
        first = answers(local(base, cache=cache), QUESTIONS)
        again = local(base, cache=cache)
        second = answers(again, QUESTIONS)
        other = answers(again, QUESTIONS, replace(GREEDY, max_new_tokens=11))
    assert second == {name: replace(response, cached=True) for name, response in first.items()}
    assert not any(response.cached for response in other.values())


def test_a_cached_answer_belongs_to_the_example_that_asks(base: Path, tmp_path: Path) -> None:
    with ResponseCache(tmp_path) as cache:
        answers(local(base, cache=cache), [ask("the dog", "first")])
        found = answers(local(base, cache=cache), [ask("the dog", "second")])
    assert found["second"].cached


def test_the_description_can_be_stored_as_json(base: Path, adapter: Path) -> None:
    facts = json.loads(json.dumps(local(base, adapter).describe()))
    assert facts["parameters"] == LlamaForCausalLM.from_pretrained(base).num_parameters()
    assert facts["dtype"] == "float32"
    assert facts["adapter"]["r"] == 4
    assert facts["context"] == CONTEXT


def test_a_turn_end_that_is_no_end_token_is_told_with_the_line_to_add(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = local(base)
    tokens = transformers_own(base, QUESTIONS[0])
    end = tokens[3]
    model.tokenizer.add_special_tokens({"extra_special_tokens": [model.tokenizer.convert_ids_to_tokens(end)]})
    monkeypatch.setattr(Prompts, "turn_end", end)
    with ResponseCache(tmp_path / "cache") as cache:
        model._cache = cache
        for _ in range(2):  # generated, and from the cache
            [found] = answers(model, QUESTIONS[:1]).values()
            assert found.overran and found.tokens_out == len(tokens)
            [note] = [note for note in model.describe()["notes"] if "ends a turn" in note]
            model._notes.clear()
    line = tomllib.loads(note.partition("add ")[2].partition(" under")[0])
    [found] = answers(model, QUESTIONS[:1], replace(GREEDY, stop=tuple(line["stop"]))).values()
    assert (found.finish_reason, found.overran) == ("stop", False)
    assert found.tokens_out == tokens.index(end) + 1


def test_the_tokens_of_a_trace_are_counted_with_the_models_tokenizer(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = local(base)
    monkeypatch.setattr(
        "engine.models.rows.DecodingRow._decode", lambda row, tokens: "<r>the cat sat</r> on the mat"
    )
    [found] = answers(model, QUESTIONS[:1], replace(GREEDY, delimiters=("<r>", "</r>"))).values()
    assert found.thinking_tokens == len(model.tokenizer("the cat sat", add_special_tokens=False)["input_ids"])
    [plain] = answers(model, QUESTIONS[:1]).values()
    assert plain.thinking_tokens is None


@pytest.mark.parametrize(
    ("said", "trace", "answer"),
    [
        ("[THINK]the cat[/THINK]sat", "the cat", "sat"),
        ("<|START_THINKING|>the cat<|END_THINKING|>sat<|im_message|>", "the cat", "sat"),
        ("<|channel|>analysis<|message|>the cat<|end|><|start|>assistant<|channel|>final<|message|>sat",
         "<|channel|>analysis<|message|>the catassistant", "sat"),
        ("<|channel|>final<|message|>sat", "", "sat"),
        ("<scratch>the cat</scratch>sat", "the cat", "sat"),
        ("the cat sat", "", "the cat sat"),
    ],
)  # fmt: skip
def test_tags_that_are_special_tokens_are_no_less_a_trace(
    base: Path, said: str, trace: str, answer: str
) -> None:
    model, own = local(base), ("<scratch>", "</scratch>")
    tags = ["[THINK]", "[/THINK]", "<|channel|>", "<|message|>", "<|start|>", "<|end|>", *own]
    tags += ["<|START_THINKING|>", "<|END_THINKING|>", "<|im_message|>"]
    model.tokenizer.add_special_tokens({"extra_special_tokens": tags})
    model._prompts.delimiters = own
    ids = model.tokenizer(f"{said}</s>", add_special_tokens=False)["input_ids"]
    rules = Rules(model.tokenizer, frozenset({2}), GREEDY, None, model._marks)
    row = DecodingRow(0, Request([1], 99), rules)
    [*_, found] = [row.add(token) for token in ids]
    assert found is not None and split_reasoning(found.text, own=own) == Reasoned(trace, answer)
