"""Every tensor of an adapter's file is loaded, or the adapter is refused; check says which before the run."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import (
    AdaLoraConfig,
    LoHaConfig,
    LoraConfig,
    OFTConfig,
    PromptLearningConfig,
    PromptTuningConfig,
    TrainableTokensConfig,
    VeraConfig,
    get_peft_model,
)
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, MixtralConfig, MixtralForCausalLM

from engine.errors import BadInput
from engine.models.folder import adapter_notes, check_adapter, check_model_folder
from engine.models.local import LocalBase
from engine.plan.plan import Model
from engine.preflight.check import local_findings
from tests.models.test_adapters import KINDS, SAMPLE, TARGETS, loaded, on, random_adapter, texts
from tests.models.tiny import make_model, make_tokenizer

GOOD = SAMPLE.parent / "adapters/good"
LAYER = r"model\.layers\.3\."
Tensors = dict[str, torch.Tensor]
Change = Callable[[Tensors], Tensors]


def changed(source: Path, folder: Path, change: Change | None = None, **config: Any) -> Path:
    """A copy of an adapter with other tensors, and with other things said in its configuration."""
    shutil.copytree(source, folder)
    if change:
        file = folder / "adapter_model.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in change(load_file(file)).items()}, file)
    own = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(own | config))
    return folder


def renamed(old: str, new: str) -> Change:
    return lambda tensors: {re.sub(old, new, name): tensor for name, tensor in tensors.items()}


def without(pattern: str) -> Change:
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if not re.search(pattern, name)}


def cast(dtype: torch.dtype) -> Change:
    return lambda tensors: {name: tensor.to(dtype) for name, tensor in tensors.items()}


def findings(adapter: Path, base: Path = SAMPLE) -> dict[str, list[str]]:
    """What `assay check` says of an adapter, by level."""
    model = Model(name="m", role="candidate", path=str(base), adapter=adapter)
    said: dict[str, list[str]] = {"error": [], "warning": [], "ok": []}
    try:
        for finding in local_findings("model m", model):
            said[finding.level].append(finding.message)
    except BadInput as error:
        said["error"].append(f"{error.message} {error.hint}")
    return said


def refusal(adapter: Path, base: Path = SAMPLE) -> str:
    [error] = findings(adapter, base)["error"]
    return error


@pytest.fixture(scope="module")
def shared() -> LocalBase:
    return loaded(SAMPLE)


@pytest.fixture(scope="module")
def expected(shared: LocalBase) -> dict[str, list[str | None]]:
    return {"good": texts(on(shared, GOOD)), "base": texts(on(shared))}


BROKEN: dict[str, tuple[Change, str]] = {
    "a layer renamed": (
        renamed(LAYER, "language_model.layers.3."),
        "14 of its 56 tensors would not be loaded",
    ),
    "a layer too many": (renamed(LAYER, "model.layers.9."), r"layers\.9.*base .* lacks"),
    "a layer too few": (without(LAYER), r"has none for model\.layers\.3"),
    "a kind of layer too few": (without(r"q_proj"), r"no weights for model\.layers\.0\.self_attn\.q_proj"),
    "nothing": (without(""), "holds no tensors"),
    "no lora_B": (without(r"3\.mlp\.up_proj\.lora_B"), r"no lora_B for model\.layers\.3\.mlp\.up_proj"),
    "another rank": (
        lambda found: {k: v[:8] if "lora_A" in k else v[:, :8] for k, v in found.items()},
        "rank 8 .* r = 16",
    ),
    "two ranks": (lambda found: {k: v[:8] if "lora_A" in k else v for k, v in found.items()}, "rank 8"),
    "A and B exchanged": (
        lambda found: {
            re.sub("lora_[AB]", "lora_B" if "lora_A" in k else "lora_A", k): v.T for k, v in found.items()
        },
        "does not fit",
    ),
    "the head of a classifier": (
        lambda found: {**found, "base_model.model.score.weight": torch.ones(2, 128)},
        "changes base_model.model.score.weight",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_would_load_in_part_is_refused_before_the_run(case: str, tmp_path: Path) -> None:
    change, message = BROKEN[case]
    assert re.search(message, refusal(changed(GOOD, tmp_path / "adapter", change)))


@pytest.mark.parametrize("case", BROKEN)
def test_loading_refuses_it_by_itself_and_the_base_goes_on(
    case: str, shared: LocalBase, expected: dict[str, list[str | None]], tmp_path: Path
) -> None:
    adapter = changed(GOOD, tmp_path / "adapter", BROKEN[case][0])
    with pytest.raises(BadInput, match=re.escape(str(adapter))), shared.active(adapter):
        pass
    assert texts(on(shared, GOOD)) == expected["good"]
    assert texts(on(shared)) == expected["base"]


def test_an_adapter_of_whole_numbers_is_refused(tmp_path: Path) -> None:
    assert "holds I8" in refusal(changed(GOOD, tmp_path / "adapter", cast(torch.int8)))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused_when_they_are_read(
    number: float, shared: LocalBase, tmp_path: Path
) -> None:
    def spoil(tensors: Tensors) -> Tensors:
        next(tensor for name, tensor in tensors.items() if "lora_B" in name)[0, 0] = number
        return tensors

    adapter = changed(GOOD, tmp_path / "adapter", spoil)
    with (
        pytest.raises(BadInput, match=r"lora_B\.weight holds numbers that are not finite"),
        shared.active(adapter),
    ):
        pass


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_whole_or_refused(kind: str, shared: LocalBase, tmp_path: Path) -> None:
    whole = random_adapter(tmp_path / "whole", SAMPLE, KINDS[kind], seed=1)
    assert findings(whole)["error"] == []
    half = changed(whole, tmp_path / "half", without(LAYER))
    assert "has none for model.layers.3" in refusal(half)
    with pytest.raises(BadInput, match="are not in its file"), shared.active(half):
        pass


@pytest.mark.parametrize(
    "config",
    [
        AdaLoraConfig(init_r=4, total_step=10, target_modules=TARGETS),
        VeraConfig(r=4, target_modules=["q_proj", "k_proj"]),
        LoHaConfig(r=4, target_modules=TARGETS),
        OFTConfig(target_modules=TARGETS),
        TrainableTokensConfig(token_indices=[5, 9]),
        LoraConfig(r=4, target_modules=TARGETS, trainable_token_indices=[5, 9]),
        LoraConfig(r=4, target_modules=TARGETS, lora_bias=True),
    ],
    ids=["AdaLoRA", "VeRA", "LoHa", "OFT", "tokens", "LoRA and tokens", "lora_bias"],
)
def test_what_a_kind_never_saves_is_not_missed(config: Any, shared: LocalBase, tmp_path: Path) -> None:
    get_peft_model(AutoModelForCausalLM.from_pretrained(SAMPLE), config).save_pretrained(tmp_path)
    assert findings(tmp_path)["error"] == []
    with shared.active(tmp_path):
        pass


def test_a_dora_adapter_without_its_magnitudes_is_refused(tmp_path: Path) -> None:
    whole = random_adapter(tmp_path / "whole", SAMPLE, KINDS["dora"], seed=1)
    assert "without lora_magnitude_vector" in refusal(changed(whole, tmp_path / "half", without("magnitude")))


@pytest.mark.parametrize(
    ("saved", "lost", "message"),
    [
        ("model.norm", r"model\.norm\.", r"modules_to_save name model\.norm"),
        ("input_layernorm", r"layers\.3\.input_layernorm", r"none for model\.layers\.3\.input_layernorm"),
    ],
)
def test_a_module_to_save_is_loaded_or_missed(
    saved: str,
    lost: str,
    message: str,
    shared: LocalBase,
    expected: dict[str, list[str | None]],
    tmp_path: Path,
) -> None:
    config = LoraConfig(r=4, target_modules=TARGETS, modules_to_save=[saved])
    whole = random_adapter(tmp_path / "whole", SAMPLE, config, seed=1)
    assert findings(whole)["error"] == []
    assert texts(on(shared, whole)) != expected["base"] == texts(on(shared))
    half = changed(whole, tmp_path / "half", without(lost))
    assert re.search(message, refusal(half))
    with pytest.raises(BadInput, match="norm"), shared.active(half):
        pass


@pytest.mark.parametrize(
    "config",
    [
        LoraConfig(r=4, target_modules=TARGETS, layers_to_transform=[0, 2]),
        LoraConfig(r=4, target_modules=r".*layers\.[01]\..*q_proj", rank_pattern={r"layers.0.*": 2}),
        LoraConfig(r=4, target_modules=["model.layers.1.self_attn.q_proj"]),
        LoraConfig(r=4, target_modules=TARGETS, exclude_modules=r".*layers\.2\..*"),
        LoraConfig(r=4, target_modules="all-linear"),
    ],
    ids=["layers_to_transform", "pattern", "one module", "exclude_modules", "all-linear"],
)
def test_layers_that_the_configuration_leaves_out_are_not_missed(
    config: LoraConfig, shared: LocalBase, tmp_path: Path
) -> None:
    adapter = random_adapter(tmp_path / "adapter", SAMPLE, config, seed=1)
    assert findings(adapter)["error"] == []
    with shared.active(adapter):
        pass


RENAMED: dict[str, tuple[str, str]] = {
    "torch.compile": (r"^base_model\.model\.", "base_model.model._orig_mod."),
    "torch.compile outside": ("^", "_orig_mod."),
    "DDP": ("^", "module."),
    "DDP inside": (r"^base_model\.model\.", "base_model.model.module."),
    "the prefix doubled": ("^", "base_model.model."),
    "no prefix": (r"^base_model\.model\.", ""),
    "a text model in another": (r"model\.layers", "model.language_model.layers"),
    "the same, older": (r"model\.layers", "language_model.model.layers"),
    "the adapter's name": (r"lora_([AB])\.", r"lora_\1.default."),
    "the adapter's own name": (r"lora_([AB])\.", r"lora_\1.tickets."),
    "Lightning": ("^", "_forward_module."),
    "Lightning inside": (r"^base_model\.model\.", "base_model.model._forward_module."),
}


@pytest.mark.parametrize("case", RENAMED)
def test_a_known_renaming_is_undone_and_remarked_on(
    case: str, shared: LocalBase, expected: dict[str, list[str | None]], tmp_path: Path
) -> None:
    adapter = changed(GOOD, tmp_path / "adapter", renamed(*RENAMED[case]))
    said = findings(adapter)
    assert said["error"] == []
    [remark] = said["warning"]
    assert remark.startswith("56 tensors of the adapter have other names")
    model = on(shared, adapter)
    assert texts(model) == expected["good"]
    assert remark in model.describe()["notes"]


def test_a_layer_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    def twice(tensors: Tensors) -> Tensors:
        again = renamed(LAYER, "_orig_mod.model.layers.3.")(tensors)
        return {**tensors, **{name: tensor.clone() for name, tensor in again.items()}}

    assert "twice" in refusal(changed(GOOD, tmp_path / "adapter", twice))


def test_copies_of_the_bases_embeddings_change_nothing(
    shared: LocalBase, expected: dict[str, list[str | None]], tmp_path: Path
) -> None:
    config = LoraConfig(r=4, target_modules=[*TARGETS, "embed_tokens", "lm_head"])
    adapter = random_adapter(tmp_path / "adapter", SAMPLE, config, seed=1)
    assert any("base_layer" in name for name in load_file(adapter / "adapter_model.safetensors"))
    assert findings(adapter)["error"] == []
    assert texts(on(shared, adapter)) != expected["base"] == texts(on(shared))


def test_embeddings_trained_beside_it_are_refused_wherever_they_differ(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    before = load_file(base / "model.safetensors")["model.embed_tokens.weight"]
    after = before.clone()
    after[299] += 1  # a token that no trial of the base reads
    name = "base_model.model.model.embed_tokens.weight"
    trained = changed(adapter, tmp_path / "trained", lambda tensors: {**tensors, name: after})
    tiny = loaded(base)
    with (
        pytest.raises(BadInput, match=r"changes the base's own model\.embed_tokens"),
        tiny.active(trained),
    ):
        pass
    assert tiny.model.get_input_embeddings().weight.equal(before)


@pytest.mark.parametrize("tied", [True, False])
def test_lora_on_the_head_fits_tied_and_untied_bases(tied: bool, tmp_path: Path) -> None:
    base = SAMPLE if tied else make_model(tmp_path / "tiny-base")
    config = LoraConfig(r=4, target_modules=["q_proj", "lm_head"])
    adapter = random_adapter(tmp_path / "adapter", base, config, seed=1)
    assert findings(adapter, base)["error"] == []
    model = loaded(base)
    assert texts(on(model, adapter)) != texts(on(model))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_an_adapter_of_another_dtype_is_loaded(dtype: torch.dtype, shared: LocalBase, tmp_path: Path) -> None:
    adapter = changed(GOOD, tmp_path / "adapter", cast(dtype))
    assert findings(adapter)["error"] == []
    with shared.active(adapter):
        pass


def test_keys_that_this_peft_does_not_know_are_named(tmp_path: Path) -> None:
    newer = changed(GOOD, tmp_path / "adapter", peft_version="0.99.0", an_option_of_tomorrow={"x": 1})
    said = findings(newer)
    assert said["error"] == []
    [remark] = said["warning"]
    assert remark.startswith("PEFT 0.99.0 saved") and remark.endswith("ignores an_option_of_tomorrow")
    assert findings(GOOD)["warning"] == []


@pytest.mark.parametrize("kind", sorted(kind.value for kind in PEFT_TYPE_TO_CONFIG_MAPPING))
def test_every_key_of_every_kind_is_known(kind: str, tmp_path: Path) -> None:
    config = PEFT_TYPE_TO_CONFIG_MAPPING[kind]
    own = dict.fromkeys(field.name for field in dataclasses.fields(config))
    own |= {"peft_type": kind, "base_model_name_or_path": "base", "r_of_tomorrow": 1}
    (tmp_path / "adapter_config.json").write_text(json.dumps(own))
    (tmp_path / "adapter_model.safetensors").symlink_to(GOOD / "adapter_model.safetensors")
    if issubclass(config, PromptLearningConfig) or kind in ("ADAPTION_PROMPT", "XLORA"):
        assert "cannot share a base" in refusal(tmp_path)
    else:
        [remark] = adapter_notes(SAMPLE, tmp_path)
        assert remark.endswith("ignores r_of_tomorrow")


def test_a_kind_that_this_peft_does_not_know_is_refused_with_the_way_out(tmp_path: Path) -> None:
    error = refusal(changed(GOOD, tmp_path / "adapter", peft_type="LORA_OF_TOMORROW"))
    assert "LORA_OF_TOMORROW" in error and "newer peft" in error


def test_prompt_tuning_is_refused(tmp_path: Path) -> None:
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    get_peft_model(AutoModelForCausalLM.from_pretrained(SAMPLE), config).save_pretrained(tmp_path)
    assert "cannot share a base" in refusal(tmp_path)


NAMES = {
    r"C:\Users\me\models\base": "another place",
    "/workspace/ft/models/base/": "another place",
    "../elsewhere/base": "another place",
    "someone/base-bnb-4bit": "quantised copy",
    "someone/base-unsloth-bnb-4bit": "quantised copy",
    "someone/Base-4bit": "quantised copy",
    "someone/base-AWQ": "quantised copy",
    "someone/base": "",
    "base": "",
    str(SAMPLE): "",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_base_has_other_names_elsewhere(name: str, tmp_path: Path) -> None:
    said = findings(changed(GOOD, tmp_path / "adapter", base_model_name_or_path=name))
    assert said["error"] == []
    assert [NAMES[name] in remark for remark in said["warning"]] == [True] * bool(NAMES[name])


@pytest.mark.parametrize("name", [r"C:\models\other", "someone/base-8b", "someone/database", "/x/base/other"])
def test_another_base_is_refused_under_any_name(name: str, tmp_path: Path) -> None:
    assert "was trained on" in refusal(changed(GOOD, tmp_path / "adapter", base_model_name_or_path=name))


def test_the_way_out_of_a_pickled_adapter_is_one(tmp_path: Path) -> None:
    adapter = changed(GOOD, tmp_path / "adapter")
    weights = adapter / "adapter_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    error = refusal(adapter)
    assert "adapter_model.bin" in error and "AutoModel" not in error
    code = re.search("python -c '(.*)'", error)
    assert code
    subprocess.run([sys.executable, "-c", code[1]], cwd=adapter, check=True)
    assert findings(adapter)["error"] == []


def test_other_weights_in_its_folder_are_not_its_own(tmp_path: Path) -> None:
    adapter = changed(GOOD, tmp_path / "adapter")
    save_file({"step": torch.ones(1)}, adapter / "optimizer.safetensors")
    shutil.copytree(GOOD, adapter / "checkpoint-20")
    assert findings(adapter)["error"] == []
    (adapter / "adapter_model.safetensors").rename(adapter / "adapters.safetensors")
    assert "has no adapter_model.safetensors" in refusal(adapter)


def test_a_folder_of_checkpoints_names_them(tmp_path: Path) -> None:
    for step in (9, 10):
        shutil.copytree(GOOD, tmp_path / f"checkpoint-{step}")
    assert "checkpoint-10, checkpoint-9" in refusal(tmp_path)


def test_a_model_that_also_holds_an_adapter_is_refused(tmp_path: Path) -> None:
    both = shutil.copytree(SAMPLE, tmp_path / "both")
    for file in GOOD.iterdir():
        shutil.copy(file, both)
    with pytest.raises(BadInput, match="holds a model and an adapter"):
        check_model_folder(str(both))


def test_a_truncated_adapter_is_refused(tmp_path: Path) -> None:
    weights = changed(GOOD, tmp_path / "adapter") / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert "adapter_model.safetensors: is corrupt or truncated" in refusal(weights.parent)


def test_a_pointer_of_git_lfs_says_how_to_fetch_the_weights(tmp_path: Path) -> None:
    weights = changed(GOOD, tmp_path / "adapter") / "adapter_model.safetensors"
    weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1000\n")
    assert "is only a Git LFS pointer" in (said := refusal(weights.parent)) and "git lfs pull" in said


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("r", "16", "r: found '16', expected a number"),
        ("lora_alpha", None, "lora_alpha: found None, expected a number"),
        ("lora_alpha", True, "lora_alpha: found True"),
        ("peft_type", "lora", "is of the kind lora"),
    ],
)
def test_a_configuration_that_peft_would_fail_on_is_refused_before_the_run(
    key: str, value: Any, message: str, tmp_path: Path
) -> None:
    adapter = changed(GOOD, tmp_path / "adapter", **{key: value})
    assert message in refusal(adapter)


def test_an_adapter_on_a_quantised_base_is_checked_by_names(tmp_path: Path) -> None:
    base = shutil.copytree(SAMPLE, tmp_path / "base")
    packed = {
        name.replace("proj.weight", "proj.qweight"): tensor.to(torch.int32) if "proj" in name else tensor
        for name, tensor in load_file(base / "model.safetensors").items()
    }
    save_file(packed, base / "model.safetensors", metadata={"format": "pt"})
    check_adapter(str(base), GOOD)
    half = changed(GOOD, tmp_path / "half", renamed(LAYER, "language_model.layers.3."))
    with pytest.raises(BadInput, match="14 of its 56 tensors"):
        check_adapter(str(base), half)


def test_layers_that_are_fused_on_loading_are_checked_then(tmp_path: Path) -> None:
    config = MixtralConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=4,
        max_position_embeddings=96,
    )
    MixtralForCausalLM(config).save_pretrained(tmp_path / "base")
    make_tokenizer().save_pretrained(tmp_path / "base")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "w1", "w2", "w3"])).save_pretrained(
        whole := tmp_path / "whole"
    )
    said = findings(whole, tmp_path / "base")
    assert said["error"] == []
    assert ["checked when they are loaded" in remark for remark in said["warning"]] == [True]
    base = loaded(tmp_path / "base")
    with base.active(whole):
        pass
    half = changed(whole, tmp_path / "half", without(r"layers\.1\.mlp"))
    with pytest.raises(BadInput, match="are not in its file"), base.active(half):
        pass
