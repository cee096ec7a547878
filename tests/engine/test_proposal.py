"""Plans made of what a folder holds."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.plan.plan import Plan, parse_plan
from engine.propose.discover import look
from engine.propose.proposal import Proposal, from_json, plan_text
from engine.propose.propose import propose
from tests.engine.runs import lines

SAMPLES = Path(__file__).parents[2] / "samples"
HOSTILE = 'a"b\\c\n\x1b]2;x\x07[b]\u202e#= '


def proposed(folder: Path) -> tuple[Proposal, Plan]:
    """What is proposed for a folder, and the plan that its text is."""
    proposal = propose(look(folder), folder)
    assert proposal.lacking == []
    return proposal, parse_plan(plan_text(proposal), folder)


def pairs(count: int, reference: str = "the answer to it is {}") -> Iterator[dict[str, Any]]:
    return (
        {"id": f"e{n}", "query": f"question {n}?", "reference": reference.format(n)} for n in range(count)
    )


def answers(count: int) -> Iterator[dict[str, Any]]:
    return ({"id": f"e{n}", "response": f"it is {n}"} for n in range(count))


def model(folder: Path, **config: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], **config}))
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def adapter(folder: Path, base: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    return folder


def test_the_samples_make_the_plan_that_was_written_for_them() -> None:
    proposal, plan = proposed(SAMPLES)
    assert {model.name for model in plan.baselines} == {"base", "prompted"}
    assert {model.name for model in plan.candidates} == {"good", "overfit", "no-effect"}
    assert plan.data.examples == SAMPLES / "eval/domain.jsonl"
    assert plan.data.train == SAMPLES / "train/tickets.jsonl"
    assert plan.metrics.settings["classification"] == {
        "labels": ["account", "billing", "delivery", "technical"],
        "field": "category",
    }
    assert Path(plan.metrics.settings["format"]["schema"]) == SAMPLES / "eval/ticket.schema.json"
    assert plan.benchmarks is not None and len(plan.benchmarks.tasks) == 4
    assert from_json(json.loads(json.dumps(proposal.as_json()))) == from_json(proposal.as_json())


def test_answers_made_elsewhere_are_models_and_the_older_ones_the_baseline(tmp_path: Path) -> None:
    lines(tmp_path / "questions.jsonl", pairs(6))
    lines(tmp_path / "outputs-v1.jsonl", answers(6))
    lines(tmp_path / "outputs-v2.jsonl", answers(6))
    proposal, plan = proposed(tmp_path)
    assert [(model.name, model.role) for model in plan.models] == [
        ("outputs-v1", "baseline"),
        ("outputs-v2", "candidate"),
    ]
    assert "perplexity" not in plan.metrics.use and "efficiency" not in plan.metrics.use
    assert any("outputs-v1.jsonl" in words for words in proposal.assumed)
    assert any("questions.jsonl" in words for words in proposal.assumed)


def test_recorded_files_with_several_answers_to_an_example_make_a_plan_that_counts_them_all(
    tmp_path: Path,
) -> None:
    lines(tmp_path / "questions.jsonl", pairs(6))
    lines(tmp_path / "outputs-v1.jsonl", [*answers(6), *answers(6), *answers(4)])
    listed = ({"id": row["id"], "responses": [row["response"], None]} for row in answers(6))
    lines(tmp_path / "outputs-v2.jsonl", listed)
    proposal, plan = proposed(tmp_path)
    assert [(model.name, model.role) for model in plan.models] == [
        ("outputs-v1", "baseline"),
        ("outputs-v2", "candidate"),
    ]
    assert (plan.generation.samples, plan.generation.temperature) == (3, 0.0)
    assert from_json(json.loads(json.dumps(proposal.as_json()))).samples == 3
    adapter(tmp_path / "tuned", model(tmp_path / "base").name)
    _, plan = proposed(tmp_path)
    assert plan.generation.samples == 3 and plan.generation.temperature, "greedy samples are all the same"


@pytest.mark.parametrize(
    ("record", "used", "unused"),
    [
        (
            {"reference": "one two three four five six"},
            {"rouge", "bleu", "token_f1"},
            {"contains", "numeric"},
        ),
        ({"reference": "Paris"}, {"exact_match", "contains"}, {"rouge", "classification"}),
        ({"reference": "12"}, {"numeric", "exact_match"}, {"rouge", "token_f1"}),
        ({"tests": ["assert f(1) == 1"]}, {"code"}, {"rouge", "exact_match"}),
        ({"schema": {"type": "object"}}, {"format"}, {"rouge"}),
        ({"reference": '{"a": 1}'}, {"json_fields", "exact_match"}, {"contains"}),
        (
            {"tools": '[{"name": "f"}]', "answers": '[{"name": "f", "arguments": {}}]'},
            {"tool_calls"},
            {"rouge"},
        ),
        ({}, {"length"}, {"rouge", "exact_match"}),
    ],
    ids=["answers", "names", "numbers", "code", "schema", "json", "tools", "bare"],
)
def test_the_metrics_fit_the_data(
    tmp_path: Path, record: dict[str, Any], used: set[str], unused: set[str]
) -> None:
    lines(tmp_path / "eval.jsonl", ({"id": f"e{n}", "query": f"q{n}", **record} for n in range(8)))
    for name in ("before", "after"):
        lines(tmp_path / f"{name}.jsonl", answers(8))
    _, plan = proposed(tmp_path)
    assert used <= set(plan.metrics.use)
    assert not unused & set(plan.metrics.use)
    assert bool(plan.judges) == ("reference" in record)


def test_labels_mean_classification_and_every_label_is_named(tmp_path: Path) -> None:
    rows = ({"id": f"e{n}", "query": f"q{n}", "label": "yes" if n % 2 else "no"} for n in range(8))
    lines(tmp_path / "eval.jsonl", rows)
    for name in ("before", "after"):
        lines(tmp_path / f"{name}.jsonl", answers(8))
    _, plan = proposed(tmp_path)
    assert plan.metrics.settings["classification"] == {"labels": ["no", "yes"]}


def test_a_training_config_says_what_was_trained_on_and_whose_it_is(tmp_path: Path) -> None:
    model(tmp_path / "models/base")
    adapter(tmp_path / "runs/v3", "models/base")
    lines(tmp_path / "b.jsonl", pairs(40))
    lines(tmp_path / "a.jsonl", pairs(40))
    (tmp_path / "axolotl.yaml").write_text(
        "base_model: models/base\nadapter: lora\ndatasets:\n  - path: b.jsonl\n    type: alpaca\n"
        "output_dir: ./runs/v3\nlearning_rate: 2e-4\n"
    )
    _, plan = proposed(tmp_path)
    assert plan.data.train == tmp_path / "b.jsonl" and plan.data.examples == tmp_path / "a.jsonl"
    assert plan.candidates[0].training_config == tmp_path / "axolotl.yaml"
    assert plan.candidates[0].path == str(tmp_path / "models/base")


def test_of_one_training_the_last_checkpoint_is_meant(tmp_path: Path) -> None:
    model(tmp_path / "base")
    lines(tmp_path / "test.jsonl", pairs(5))
    for step in (9, 100, 20):
        adapter(tmp_path / f"out/checkpoint-{step}", "/home/somebody/base")
    proposal, plan = proposed(tmp_path)
    assert [model.name for model in plan.candidates] == ["out-checkpoint-100"]
    more = proposal
    for item in proposal.items:
        if item.kind == "candidate" and not item.on:
            more = more.toggled(item.key)
    assert len(parse_plan(plan_text(more), tmp_path).candidates) == 3


def test_a_base_that_is_not_here_is_taken_from_the_hub_or_told_missing(tmp_path: Path) -> None:
    lines(tmp_path / "test.jsonl", pairs(5))
    adapter(tmp_path / "lora", "meta-llama/Llama-3.1-8B")
    adapter(tmp_path / "lost", "/home/somebody/elsewhere/base")
    proposal, plan = proposed(tmp_path)
    assert plan.baselines[0].path == "meta-llama/Llama-3.1-8B"
    assert [str(model.adapter) for model in plan.candidates] == [str(tmp_path / "lora")]
    assert any("lost is left out" in words for words in proposal.assumed)


def test_a_full_checkpoints_base_is_the_one_that_its_config_names(tmp_path: Path) -> None:
    model(tmp_path / "runs/checkpoint-30")
    lines(tmp_path / "test.jsonl", pairs(5))
    (tmp_path / "sft.yaml").write_text("model_name_or_path: org/base\noutput_dir: runs\nstage: sft\n")
    _, plan = proposed(tmp_path)
    assert plan.baselines[0].path == "org/base" and plan.candidates[0].adapter is None
    assert plan.candidates[0].training_config == tmp_path / "sft.yaml"


def test_without_evaluation_data_a_split_of_the_training_data_is_asked(tmp_path: Path) -> None:
    lines(tmp_path / "train.jsonl", pairs(40))
    for name in ("before", "after"):
        lines(tmp_path / f"{name}.jsonl", answers(8))
    proposal, plan = proposed(tmp_path)
    assert plan.data.split == "test"
    assert any("no other eval data" in words for words in proposal.assumed)


def test_other_examples_bring_along_what_fits_them(tmp_path: Path) -> None:
    lines(tmp_path / "eval-long.jsonl", pairs(9, "a long answer of many words {}"))
    lines(tmp_path / "eval-numbers.jsonl", pairs(5, "{}"))
    for name in ("before", "after"):
        lines(tmp_path / f"{name}.jsonl", answers(5))
    proposal, plan = proposed(tmp_path)
    assert plan.data.examples.name == "eval-long.jsonl" and "rouge" in plan.metrics.use
    other = next(item for item in proposal.items if item.name == "eval-numbers.jsonl")
    plan = parse_plan(plan_text(proposal.toggled(other.key)), tmp_path)
    assert plan.data.examples.name == "eval-numbers.jsonl"
    assert "numeric" in plan.metrics.use and "rouge" not in plan.metrics.use


def test_what_is_left_out_stays_in_the_file_as_a_comment(tmp_path: Path) -> None:
    lines(tmp_path / "eval.jsonl", pairs(5))
    for name in ("before", "after", "later"):
        lines(tmp_path / f"{name}.jsonl", answers(5))
    proposal, _ = proposed(tmp_path)
    dropped = next(item for item in proposal.items if item.name == "later")
    judge = next(item for item in proposal.items if item.kind == "judge")
    text = plan_text(proposal.toggled(dropped.key).toggled(judge.key))
    plan = parse_plan(text, tmp_path)
    assert [model.name for model in plan.candidates] == ["after"] and plan.judges == ()
    assert '# outputs = "later.jsonl"' in text
    whole = text.replace("# [[models]]", "[[models]]").replace('# name = "later', 'name = "later')
    whole = whole.replace("# role", "role").replace("# outputs", "outputs")
    assert len(parse_plan(whole, tmp_path).candidates) == 2


def test_names_are_given_by_people_and_refused_where_no_plan_takes_them(tmp_path: Path) -> None:
    lines(tmp_path / "eval.jsonl", pairs(5))
    for name in ("before", "after"):
        lines(tmp_path / f"{name}.jsonl", answers(5))
    proposal, _ = proposed(tmp_path)
    key = next(item.key for item in proposal.items if item.kind == "candidate")
    plan = parse_plan(plan_text(proposal.renamed(key, 'my "own" name')), tmp_path)
    assert plan.candidates[0].name == 'my "own" name'
    for refused in ("", "before", "two\nlines", "x" * 300):
        with pytest.raises(ValueError):
            proposal.renamed(key, refused)


def test_hostile_file_names_make_a_plan_or_are_left_out(tmp_path: Path) -> None:
    lines(tmp_path / f"eval {HOSTILE}.jsonl", pairs(5))
    lines(tmp_path / f"before {HOSTILE}.jsonl", answers(5))
    lines(tmp_path / "~after.jsonl", answers(5))
    lines(tmp_path / "hf:later.jsonl", answers(5))
    model(tmp_path / f"base {HOSTILE}")
    adapter(tmp_path / HOSTILE, f"base {HOSTILE}")
    bad = bytes(tmp_path) + b"/eval-\xff.jsonl"
    with open(bad, "w") as file:  # noqa: PTH123 - a Path cannot be made of these bytes
        file.write("{}")
    proposal, plan = proposed(tmp_path)
    text = plan_text(proposal)
    assert plan.data.examples == tmp_path / f"eval {HOSTILE}.jsonl"
    assert len(plan.models) == 5
    assert "\x1b" not in text and "\u202e" not in text
    assert any("not UTF-8" in words for words in proposal.left_out)


def test_an_empty_folder_lacks_everything_and_is_told_what(tmp_path: Path) -> None:
    (tmp_path / "broken.jsonl").write_text("{")
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    proposal = propose(look(tmp_path), tmp_path)
    assert [words.split(":")[0] for words in proposal.lacking] == [
        "examples",
        "a baseline",
        "a candidate",
    ]
    assert len(proposal.left_out) == 2
