import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadInput
from engine.plan.plan import read_plan
from engine.plan.training_config import (
    TrainingConfig,
    read_training_config,
    retrained,
    said,
    training_changes,
)
from engine.preflight.check import check
from store import records
from tests.engine.runs import carry_out, queue, recorded_plan

AXOLOTL = """\
base_model: meta-llama/Llama-3.1-8B
adapter: lora
lora_r: 16
lora_alpha: 32
lora_target_modules: [q_proj, v_proj]
learning_rate: 2e-4   # which YAML 1.1 takes for text
num_epochs: 3
micro_batch_size: 2
datasets:
  - path: train.jsonl
    type: alpaca
special_tokens:
  pad_token: "<|end_of_text|>"
"""
LLAMA_FACTORY = """\
model_name_or_path: meta-llama/Llama-3.1-8B
finetuning_type: lora
lora_rank: 16
lora_alpha: 32
lora_target: v_proj,q_proj
learning_rate: 1.0e-4
num_train_epochs: 5.0
per_device_train_batch_size: 2
"""
TRL = {
    "model_name_or_path": "meta-llama/Llama-3.1-8B", "lora_r": 64, "lora_alpha": 32, "learning_rate": 0.0002,
    "num_train_epochs": 3, "per_device_train_batch_size": 2, "lora_target_modules": ["v_proj", "q_proj"],
}  # fmt: skip


def read(folder: Path, text: str, name: str = "config.yaml") -> TrainingConfig:
    file = folder / name
    file.write_text(text)
    return read_training_config(file)


def test_settings_stand_flat_under_their_own_names(tmp_path: Path) -> None:
    values = read(tmp_path, AXOLOTL).values
    assert values["learning_rate"] == 0.0002 and values["num_epochs"] == 3
    assert values["lora_target_modules"] == "q_proj, v_proj"
    assert values["datasets.0.path"] == "train.jsonl"
    assert values["special_tokens.pad_token"] == "<|end_of_text|>"


def test_the_same_setting_of_another_tool_is_no_change(tmp_path: Path) -> None:
    axolotl = read(tmp_path, AXOLOTL).values
    factory, trl = read(tmp_path, LLAMA_FACTORY).values, read(tmp_path, json.dumps(TRL), "trl.json").values
    changes = training_changes(axolotl, factory)
    assert [change.said for change in changes[:2]] == ["lr 2e-4 → 1e-4", "epochs 3 → 5"]
    assert {change.name.split(".")[0] for change in changes[2:]} == {"data", "special_tokens"}
    assert [change.said for change in training_changes(axolotl, trl) if change.after is not None] == [
        "rank 16 → 64"
    ]


def test_a_change_is_told_in_one_line_the_weightiest_first() -> None:
    before = {"weight_decay": 0.0, "learning_rate": 2e-4, "num_epochs": 3, "bf16": True, "output_dir": "a"}
    after = {"weight_decay": 0.01, "learning_rate": 1e-4, "num_epochs": 5, "bf16": False, "output_dir": "b"}
    assert said(training_changes(before, after)) == (
        "lr 2e-4 → 1e-4, epochs 3 → 5, weight decay 0 → 0.01, bf16 yes → no"
    )
    assert said(training_changes(before, before)) == "nothing"
    many = {f"setting_{n}": n for n in range(9)}
    assert said(training_changes({}, many)).endswith("setting_5 not set → 5 and 3 more")


def test_what_is_not_known_is_said() -> None:
    details = {"training": {"file": "a.yaml", "sha256": "0", "values": {"lora_r": 8}}}
    assert retrained("good", None, details).said == (
        "not known: no training_config was given in the earlier run"
    )
    assert "in either run" in retrained("good", {}, None).said
    assert retrained("good", details, details).said == "nothing"


def test_the_hash_is_that_of_the_settings_and_not_of_the_file(tmp_path: Path) -> None:
    written = read(tmp_path, "lora_r: 16\nlearning_rate: 2e-4\n")
    reordered = read(tmp_path, "# tuned\nlearning_rate: 0.0002\n\nlora_r: 16\nhub_token: hf_other\n")
    assert written.sha256 == reordered.sha256
    assert written.sha256 != read(tmp_path, "lora_r: 8\nlearning_rate: 2e-4\n").sha256


def test_keys_for_services_are_dropped_and_tokens_of_the_vocabulary_kept(tmp_path: Path) -> None:
    text = """\
        hub_token: abc
        wandb_api_key: def
        api_key: ghi
        env: {HF_TOKEN: jkl, password: mno}
        note: "uses hf_abcdefghijklmnop1234"
        remote: "https://me:secret@host/data"
        push_to_hub_token: pqr
        pad_token: "<pad>"
        tokens: ["<a>", "<b>"]
        use_auth_token: true
        lora_r: 8
    """
    assert read(tmp_path, "\n".join(map(str.strip, text.splitlines()))).values == {
        "pad_token": "<pad>", "tokens": "<a>, <b>", "use_auth_token": True, "lora_r": 8
    }  # fmt: skip


def test_anchors_and_merges_count_as_the_tools_read_them(tmp_path: Path) -> None:
    values = read(tmp_path, "a: &a {r: 1, s: 2}\nb: {<<: *a, s: 3}\nc: {<<: [*a, {t: 4}]}\n").values
    assert values == {"a.r": 1, "a.s": 2, "b.r": 1, "b.s": 3, "c.r": 1, "c.s": 2, "c.t": 4}


BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (BOMB, "expands to more than 5,000 values"),
        ("a: &a\n  b: *a\n", "nested too deeply"),
        ("a: " + "[" * 20_000, "nested too deeply"),
        ('{"a":' * 20_000, "nested too deeply"),
        ("- 1\n- 2\n", "not a table of settings"),
        ("", "not a table of settings"),
        ("hub_token: abc\n", "holds no settings"),
        ("a: 1\n\tb: 2\n", "config.yaml:2: is not YAML"),
        ('{"a": 1,\n "b" 2}', "config.yaml:2: is not JSON"),
        ("a: \x00", "is not YAML"),
        ("a: 1\n" * 100_000, "too large"),
    ],
    ids=[
        "bomb", "loop", "deep-yaml", "deep-json", "list", "empty", "only-keys", "bad-yaml", "bad-json", "nul",
        "large",
    ],
)  # fmt: skip
def test_what_is_no_training_config_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(BadInput) as raised:
        read(tmp_path, text)
    assert complaint in str(raised.value) and "axolotl" in str(raised.value)


def test_a_tag_makes_no_object_and_odd_values_stay_text(tmp_path: Path) -> None:
    text = "a: !!python/object/apply:os.system ['true']\nb: .inf\nc: 2001-99-99\nd: 1:30\ne: 1_000\n"
    assert read(tmp_path, text).values == {
        "a": "true", "b": ".inf", "c": "2001-99-99", "d": "1:30", "e": 1000
    }  # fmt: skip


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00bad")
    with pytest.raises(BadInput, match="not UTF-8"):
        read_training_config(tmp_path / "c.yaml")


def plan_with(folder: Path, config: str) -> Path:
    (folder / "axolotl.yaml").write_text(config)
    examples = [{"id": f"e{n}", "query": f"{n}?", "reference": str(n)} for n in range(4)]
    answers = {name: {f"e{n}": str(n) for n in range(4)} for name in ("before", "after")}
    rest = 'training_config = "axolotl.yaml"\n[metrics]\nuse = ["exact_match"]\n'
    return recorded_plan(folder, examples, answers, rest)


def test_the_run_keeps_what_a_candidate_was_trained_with(tmp_path: Path) -> None:
    plan = plan_with(tmp_path, AXOLOTL + "hub_token: abc\n")
    recorder = carry_out(tmp_path / "store", queue(tmp_path / "store", plan))
    details: dict[str, Any] = {
        row.name: row.details for row in recorder.rows(records.StoredModel, run_id=recorder.run_id)
    }
    training = details["after"]["training"]
    assert training["file"] == "axolotl.yaml" and len(training["sha256"]) == 64
    assert training["values"]["lora_r"] == 16 and "hub_token" not in training["values"]
    assert "fingerprint" in details["after"]  # beside what its generator tells
    assert "training" not in details["before"]


def test_the_preflight_reads_it_too(tmp_path: Path) -> None:
    def found(config: str) -> tuple[str, str]:
        plan = read_plan(plan_with(tmp_path, config))
        findings = [item for item in check(plan, tmp_path / "store") if "axolotl.yaml" in item.message]
        return findings[0].level, findings[0].message

    assert found(AXOLOTL) == ("ok", "its training config axolotl.yaml has 11 settings")
    assert found("- 1\n")[0] == "error"
