"""What a plan is said to need, against what it turns out to need."""

import json
import struct
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import pytest

from engine.data.examples import read_examples
from engine.plan.errors import in_units, in_words
from engine.plan.plan import Model, Plan, parse_plan
from engine.preflight import estimate
from engine.preflight.estimate import (
    Device,
    Need,
    device_of,
    disk_bytes,
    gpu_need,
    local_judge,
    memory,
    need_of,
    time_needed,
    weight_bytes,
)
from store.read.live import SpeedRow
from tests.models.tiny import ask

ROOT = Path(__file__).parents[2]
BASE = ROOT / "samples/models/base"
GOOD = ROOT / "samples/models/adapters/good"
CPU = Device("cpu", "this machine", 16 << 30, 8 << 30)
GPU = Device("cuda", "GPU 0", 80 << 30, 79 << 30)

# The shape of Llama 3.1 70B, in eight tensors of the right total.
LARGE = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 80,
    "hidden_size": 8192,
    "num_attention_heads": 64, "num_key_value_heads": 8, "intermediate_size": 28672, "vocab_size": 128256,
    "max_position_embeddings": 131072,
}  # fmt: skip


def large_model(folder: Path, parameters: int = 70_000_000_000) -> Path:
    """A model folder as large as that, of which the disk holds only the header."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LARGE))
    (folder / "tokenizer.json").write_text("{}")
    rows = parameters // 8 // 8192
    tensors = {
        f"layer.{n}": {
            "dtype": "BF16",
            "shape": [rows, 8192],
            "data_offsets": [n * rows * 16384, (n + 1) * rows * 16384],
        }
        for n in range(8)
    }
    header = json.dumps(tensors).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + 8 * rows * 16384)
    return folder


def plan_of(path: Path, more: str = "", tokens: int = 256) -> Plan:
    text = 'name = "p"\n[data]\nexamples = "samples/eval/domain.jsonl"\n'
    for name, role in (("base", "baseline"), ("tuned", "candidate")):
        text += f'[[models]]\nname = "{name}"\nrole = "{role}"\npath = "{path}"\n'
    return parse_plan(f"{text}{more}\n[generation]\nmax_new_tokens = {tokens}\n", ROOT)


def spec(**more: Any) -> Model:
    return Model.model_validate({"name": "m", "role": "baseline", "path": str(BASE)} | more)


def test_weights_are_counted_at_the_dtype_that_they_are_loaded_with() -> None:
    assert weight_bytes(BASE, "float32") == 2 * weight_bytes(BASE, "bfloat16")
    config = json.loads((BASE / "config.json").read_text())
    assert weight_bytes(BASE, "float32") > 4 * config["vocab_size"] * config["hidden_size"]


def test_a_quantised_model_is_counted_as_it_is_stored(tmp_path: Path) -> None:
    folder = large_model(tmp_path / "model", 8_000_000)
    full = weight_bytes(folder, "float32")
    (folder / "config.json").write_text(
        json.dumps(LARGE | {"quantization_config": {"quant_method": "gptq", "bits": 4}})
    )
    assert weight_bytes(folder, "float32") == full // 2  # its tensors stay BF16


def test_the_keys_and_values_of_a_token_are_those_that_the_model_makes() -> None:
    from engine.models.local import LocalBase
    from engine.models.slots import prefill

    base = LocalBase(str(BASE), "float32", "cpu")
    _, cache = prefill(base.model, [[5, 6, 7]])
    made = sum(part.nbytes for layer in cache.layers for part in (layer.keys, layer.values))
    assert 3 * (need_of([spec()], CPU, 100).token or 0) == made


def test_adapters_share_one_base_and_rows_end_at_the_context() -> None:
    alone = need_of([spec()], CPU, 300)
    both = need_of([spec(), spec(adapter=GOOD), spec(adapter=GOOD, name="again")], CPU, 300)
    assert both.weights == alone.weights and alone.adapters == 0
    assert both.adapters == weight_bytes(GOOD, "float32")
    assert need_of([spec()], CPU, 9_000).row == 512
    assert need_of([spec()], GPU, 300).weights == alone.weights // 2


def test_the_room_for_answers_is_counted_as_the_batcher_takes_it() -> None:
    from engine.models import batcher

    assert (estimate.SLOTS, estimate.SLOTS_ELSEWHERE) == (batcher.MOST_SLOTS, batcher.MOST_SLOTS_ELSEWHERE)
    assert (estimate.PREFILL, estimate.PREFILL_ELSEWHERE) == (
        batcher.MOST_TOKENS,
        batcher.MOST_TOKENS_ELSEWHERE,
    )
    config = json.loads((BASE / "config.json").read_text())
    copy = 4 * config["vocab_size"] * config["hidden_size"]  # of the output layer, beside it
    in_16_bits = need_of([spec(dtype="bfloat16")], CPU, 100).activations
    prefill = in_16_bits - 8 * batcher.MOST_SLOTS_ELSEWHERE * config["vocab_size"]
    assert need_of([spec()], CPU, 100).activations == in_16_bits + prefill + copy


def test_slots_follow_the_memory_that_is_left() -> None:
    need = Need(weights=1 << 30, adapters=0, token=1 << 20, row=1000, activations=0)
    assert need.slots(GPU) == int(0.6 * (77 << 30)) // (1000 << 20) // 2
    assert need.slots(replace(GPU, free=3 << 30)) == 1
    assert replace(need, token=100).slots(GPU) == 256
    assert replace(need, token=None).slots(GPU) is None


@pytest.mark.parametrize(
    ("device", "level", "words"),
    [
        (GPU, "error", "vllm serve {path} --tensor-parallel-size 2"),
        (replace(GPU, total=24 << 30), "error", "--tensor-parallel-size 8"),
        (replace(GPU, total=200 << 30, free=20 << 30), "warning", "free some of that memory"),
        (replace(GPU, total=200 << 30, free=199 << 30), "ok", ""),
        (replace(CPU, total=16 << 30), "error", "serve the model there"),
    ],
)
def test_a_model_larger_than_its_device_is_sent_to_a_server(
    device: Device, level: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = large_model(tmp_path / "large")
    monkeypatch.setattr(estimate, "device_of", lambda name: device)
    (found,) = memory(plan_of(folder), [])
    assert found.level == level
    assert words.format(path=folder) in found.hint
    assert in_units(weight_bytes(folder, "bfloat16" if device.kind == "cuda" else "float32")) in found.message


@pytest.mark.parametrize(
    ("gpus", "lines", "level", "said"),
    [
        (2, "", "ok", "66.0 GiB on GPU 0, 64.4 GiB on GPU 1"),
        (1, "", "warning", "79.0 GiB on GPU 0, 8.0 GiB on this machine, 43.4 GiB on the disk"),
        (
            2,
            'max_memory = { 0 = "60GiB", 1 = "60 GB" }',
            "warning",
            "60.0 GiB on GPU 0, 55.9 GiB on GPU 1, 14.5",
        ),
        (1, 'quantize = "nf4"', "ok", "34.6 GiB on GPU 0"),
    ],
)
def test_a_model_over_several_devices_is_told_what_lies_where(
    gpus: int, lines: str, level: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = large_model(tmp_path / "large")
    cards = [replace(GPU, name=f"GPU {n}", free=(66 if gpus == 2 else 79) << 30) for n in range(gpus)]
    monkeypatch.setattr(estimate, "devices", lambda: [*cards, CPU])
    found, _ = memory(plan_of(folder, f'device_map = "auto"\n{lines}'), [])
    assert found.level == level and said in found.message, found.message


def test_a_row_is_the_longest_prompt_with_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "device_of", lambda name: CPU)
    examples = read_examples(ROOT / "samples/eval/domain.jsonl")
    (short,) = memory(plan_of(BASE, tokens=10), examples)
    (long,) = memory(plan_of(BASE, tokens=210), examples)
    rows = [int(found.message.split("rows of up to ")[1].split(",")[0]) for found in (short, long)]
    assert rows[1] - rows[0] == 200 and rows[0] > 20


def test_a_conversation_is_answered_at_every_turn_and_an_example_may_ask_for_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(estimate, "device_of", lambda name: CPU)

    def row(**example: Any) -> int:
        (found,) = memory(plan_of(BASE, tokens=10), [replace(ask("q", "1"), **example)])
        return int(found.message.split("rows of up to ")[1].split(",")[0])

    assert row(extra={"max_new_tokens": 70}) - row() == 60
    assert row(turns=("q", "", "")) - row(turns=("q",)) == 20


def test_the_likelihood_of_a_long_text_takes_its_log_probabilities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "device_of", lambda name: GPU)
    model = large_model(tmp_path / "model", 8_000_000)
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"text": "a" * 6000}) + "\n")
    short = [replace(ask("q", "1"), references=("r",))]
    plain, corpus, reference = (
        plan_of(model, f"[metrics]\n{more}")
        for more in (
            'use = ["length"]',
            f'use = ["length"]\ncorpora = {{ long = "{tmp_path}/corpus.jsonl" }}',
            'use = ["perplexity"]',
        )
    )
    least, logits = int(gpu_need(plain, short) or 0), 2000 * LARGE["vocab_size"] * 10
    row = 257 * (need_of([spec(path=str(model))], GPU, 257).token or 0)
    assert gpu_need(corpus, short) == least - row + logits
    assert gpu_need(reference, [replace(short[0], references=("a" * 6000,))]) == least - row + logits
    assert gpu_need(reference, short) == least


def test_this_machine_is_a_device() -> None:
    device = device_of("cpu")
    assert device.kind == "cpu" and 0 < device.free <= device.total


def test_the_disk_is_asked_for_all_that_a_run_writes() -> None:
    examples = read_examples(ROOT / "samples/eval/domain.jsonl")
    small, large = (disk_bytes(plan_of(BASE, tokens=n), examples) for n in (100, 200))
    assert large - small == len(examples) * 2 * 2 * 400
    several = disk_bytes(with_samples(plan_of(BASE, tokens=100), 3), examples)
    assert several - small == len(examples) * 2 * 2 * 2 * (400 + 500)


def with_samples(plan: Plan, samples: int) -> Plan:
    generation = plan.generation.model_copy(update={"samples": samples})
    return plan.model_copy(update={"generation": generation})


def past(run: int, answers: int, seconds: float, **details: Any) -> SpeedRow:
    known = {"path": str(BASE), "device": "cpu", "adapter": None} | details
    return SpeedRow(run, answers, seconds, known, {"devices": ["cpu"]})


def test_the_time_is_that_of_the_newest_run_of_the_same_models_here() -> None:
    plan = plan_of(BASE, f'adapter = "{GOOD}"')
    adapter = {"path": str(GOOD)}
    rows = [past(9, 10, 5.0), past(7, 10, 20.0, adapter=adapter), past(3, 10, 90.0)]
    found = time_needed(plan, 100, rows)
    assert found is not None and found.message.startswith("about 4 min for the answers to 100 examples")
    assert "runs 7, 9" in found.message
    found = time_needed(with_samples(plan, 3), 100, rows)
    assert found is not None and found.message.startswith("about 12 min for the answers to 100 examples")
    found = time_needed(plan, 100, rows[:1])
    assert found is not None and "50 s" in found.message and "not counting tuned" in found.message
    elsewhere = [replace(row, environment={"devices": ["NVIDIA H200"]}) for row in rows]
    found = time_needed(plan, 100, elsewhere)
    assert found is not None and "unknown" in found.message


def test_sizes_and_times_are_said_in_the_unit_that_fits() -> None:
    assert [in_units(n) for n in (5, 2048, 300 << 20, 3 << 29, 5 << 40)] == [
        "5 B", "2.0 KiB", "300 MiB", "1.5 GiB", "5.0 TiB",
    ]  # fmt: skip
    assert [in_words(n) for n in (0.4, 48.2, 720, 12600)] == ["0.4 s", "48 s", "12 min", "3.5 h"]


def test_the_header_of_the_large_model_is_all_that_is_read(tmp_path: Path) -> None:
    folder = large_model(tmp_path / "large")
    assert (folder / "model.safetensors").stat().st_blocks * 512 < 1 << 20
    assert prod((8, 8192, 70_000_000_000 // 8 // 8192)) * 2 == weight_bytes(folder, "bfloat16")


def test_a_judge_on_this_machine_has_its_calls_time_and_memory(tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_text('{"id": "1", "query": "q", "response": "r"}\n')
    models = "".join(
        f'[[models]]\nname = "{name}"\nrole = "{role}"\noutputs = "e.jsonl"\n'
        for name, role in (("a", "baseline"), ("b", "candidate"))
    )
    judge = f'[[judges]]\nname = "small"\nlocal = "{BASE}"\n'
    plan = parse_plan(f'name = "p"\n[data]\nexamples = "e.jsonl"\n{models}{judge}', tmp_path)
    examples = read_examples(plan.data.examples) * 50
    (spec,) = plan.judges
    found = local_judge(plan, spec, examples, examples, [])
    assert (found.subject, found.level) == ("judge small", "ok")
    assert found.message.startswith("100 calls, ") and "has not judged here before" in found.message
    assert "weights" in found.message and "free on" in found.message
    past = [SpeedRow(3, 20, 10.0, {"server": None, "model": str(BASE)}, None)]
    assert "about 50 s at the pace of run 3" in local_judge(plan, spec, examples, examples, past).message
    rater = spec.model_copy(update={"kind": "pointwise", "repeat": 3})
    found = local_judge(plan, rater, examples, examples, past)  # 2 answers to 50 examples, 3 times each
    assert found.message.startswith("300 calls, ") and "about 2 min at the pace" in found.message
    asked_often = [SpeedRow(3, 20, 10.0, {"server": None, "model": str(BASE), "repeat": 3}, None)]
    assert "about 50 s at the pace" in local_judge(plan, rater, examples, examples, asked_often).message
    assert "about 17 s at the pace" in local_judge(plan, spec, examples, examples, asked_often).message
