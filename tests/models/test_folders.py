"""Model and adapter folders that are not what they should be: one clear message, and a way out."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.errors import BadInput
from engine.models.fingerprint import FileHashes, adapter_hash, model_hash
from engine.models.folder import PACKAGES, check_adapter, check_model_folder, quantisation, weight_shapes
from engine.models.local import LocalBase
from tests.models.tiny import make_adapter, make_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_model(tmp_path / "tiny-base")


def refusal(folder: Path) -> str:
    with pytest.raises(BadInput) as caught:
        check_model_folder(str(folder))
    assert caught.value.hint
    return str(caught.value)


def test_a_whole_model_passes(model: Path) -> None:
    assert check_model_folder(str(model)) == model


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    assert "no config.json" in refusal(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "no such model folder" in refusal(tmp_path / "nowhere")


def test_an_adapter_given_as_a_model_is_told_apart(adapter: Path) -> None:
    assert "is an adapter, not a model" in refusal(adapter)


def test_a_model_without_tokenizer_is_refused(model: Path) -> None:
    (model / "tokenizer.json").unlink()
    assert "has no tokenizer" in refusal(model)


def test_weights_cut_off_are_refused(model: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "model.safetensors: is corrupt or truncated" in refusal(model)


def test_weights_that_are_no_safetensors_are_refused(model: Path) -> None:
    (model / "model.safetensors").write_bytes(b"<html>Not found, said the server.</html>")
    assert "model.safetensors: is corrupt or truncated" in refusal(model)


def test_weights_only_as_pickle_are_refused_with_the_way_out(model: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    assert "only as pickle (pytorch_model.bin)" in refusal(model)


def test_a_missing_shard_is_named(model: Path) -> None:
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (model / "model.safetensors").rename(model / "model-00001-of-00002.safetensors")
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "lacks model-00002-of-00002.safetensors" in refusal(model)


def test_a_broken_configuration_is_named(model: Path) -> None:
    (model / "config.json").write_text("{")
    assert "config.json: is not valid JSON" in refusal(model)


def test_a_hub_id_that_is_not_on_this_machine_is_refused() -> None:
    with pytest.raises(BadInput, match="nobody/nothing: is neither a folder here nor in the hub cache"):
        check_model_folder("nobody/nothing")


def test_weights_that_lack_tensors_are_refused_instead_of_made_up(model: Path) -> None:
    weights = load_file(model / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match=r"lack 1 tensors, such as model\.layers\.1\.mlp\.up_proj\.weight"):
        _ = LocalBase(str(model), device="cpu").model


def test_an_unknown_architecture_is_refused(model: Path) -> None:
    (model / "config.json").write_text(json.dumps({"model_type": "of-tomorrow"}))
    with pytest.raises(BadInput, match="of-tomorrow"):
        _ = LocalBase(str(model), device="cpu").model


def test_a_device_that_is_not_here_is_refused(model: Path) -> None:
    with pytest.raises(BadInput, match="device 'cuda:99'"):
        LocalBase(str(model), device="cuda:99")


def configured(model: Path, **values: Any) -> Path:
    """The model with something else in its configuration."""
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | values))
    return model


def test_a_model_of_a_newer_transformers_says_so(model: Path) -> None:
    configured(model, model_type="of-tomorrow", transformers_version="99.1.0")
    with pytest.raises(BadInput, match=r"transformers 99\.1\.0 saved it, and this is"):
        _ = LocalBase(str(model), device="cpu").model


@pytest.mark.parametrize(
    ("quantised", "found"),
    [
        (
            {"quant_method": "gptq", "bits": 4},
            "(?s)needs optimum and gptqmodel.*pip install optimum gptq",
        ),
        ({"load_in_4bit": True}, "quantised with bitsandbytes, which needs bitsandbytes"),
        ({"quant_method": "of-tomorrow"}, "quantised with 'of-tomorrow', which is not supported"),
        ({"bits": 4}, "quantised with None"),
    ],
)
def test_a_quantised_model_names_what_it_needs_before_it_is_loaded(
    model: Path, quantised: dict[str, Any], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.models.folder._installed", lambda package: False)
    configured(model, quantization_config=quantised)
    with pytest.raises(BadInput, match=found):
        LocalBase(str(model), device="cpu")


def test_quantisation_inside_a_text_model_is_seen(model: Path) -> None:
    configured(model, text_config={"quantization_config": {"quant_method": "awq"}})
    with pytest.raises(BadInput, match="gptqmodel"):
        LocalBase(str(model), device="cpu")


def test_every_kind_that_transformers_reads_is_known() -> None:
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    kinds = {re.sub("_[48]bit$", "", kind) for kind in AUTO_QUANTIZATION_CONFIG_MAPPING}
    # GGUF is a file, and never in a configuration.
    assert kinds - {"gguf"} <= set(PACKAGES)


def test_quantisation_is_part_of_the_fingerprint(model: Path, tmp_path: Path) -> None:
    before = model_hash(model, FileHashes())
    configured(model, quantization_config={"quant_method": "fp8"})
    assert model_hash(model, FileHashes()) != before
    assert quantisation(model) == {"quant_method": "fp8"}


def test_an_adapter_fits_the_shapes_of_a_quantised_base(base: Path, adapter: Path, tmp_path: Path) -> None:
    quantised = make_model(tmp_path / "tiny-base")
    weights = load_file(quantised / "model.safetensors")
    packed = {
        name.replace("proj.weight", "proj.qweight"): weight.to(torch.int32) if "proj" in name else weight
        for name, weight in weights.items()
    }
    save_file(packed, quantised / "model.safetensors", metadata={"format": "pt"})
    check_adapter(str(quantised), adapter)


def test_an_adapter_on_its_own_base_passes(base: Path, adapter: Path) -> None:
    check_adapter(str(base), adapter)


def test_an_adapter_of_a_base_with_another_name_is_refused(adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"was trained on .*tiny-base.*, but the plan's base is .*other-base"):
        check_adapter(str(make_model(tmp_path / "other-base")), adapter)


@pytest.mark.parametrize(
    ("layers", "hidden", "found"), [(2, 64, "has shape"), (1, 32, "which the base .* lacks")]
)
def test_an_adapter_of_a_base_with_other_shapes_is_refused(
    adapter: Path, tmp_path: Path, layers: int, hidden: int, found: str
) -> None:
    with pytest.raises(BadInput, match=found):
        check_adapter(str(make_model(tmp_path / "tiny-base", layers=layers, hidden=hidden)), adapter)


def test_an_adapter_without_a_recorded_base_is_judged_by_its_shapes(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    for file in adapter.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": None}))
    check_adapter(str(base), tmp_path)


def test_a_folder_that_is_no_adapter_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="It is a full model"):
        check_adapter(str(base), base)
    with pytest.raises(BadInput, match="no such adapter folder"):
        check_adapter(str(base), tmp_path / "nowhere")


def test_pickled_adapters_are_refused(base: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "adapter", base)
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(BadInput, match="only as pickle"):
        check_adapter(str(base), adapter)


def test_fingerprints_follow_content_and_not_place(tmp_path: Path) -> None:
    here, there = make_model(tmp_path / "a", seed=1), make_model(tmp_path / "b", seed=1)
    other = make_model(tmp_path / "c", seed=2)
    hashes = FileHashes()
    assert model_hash(here, hashes) == model_hash(there, hashes) != model_hash(other, hashes)
    (there / "chat_template.jinja").write_text("{{ messages[0].content }}")
    assert model_hash(here, hashes) != model_hash(there, hashes)


def test_adapters_of_other_weights_have_other_fingerprints(adapter: Path, no_effect: Path) -> None:
    assert adapter_hash(adapter, FileHashes()) != adapter_hash(no_effect, FileHashes())


def test_a_remembered_hash_is_dropped_when_the_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    first = FileHashes(tmp_path / "cache").of(file)
    assert FileHashes(tmp_path / "cache").of(file) == first
    file.write_bytes(b"other")
    assert FileHashes(tmp_path / "cache").of(file) != first


def test_a_broken_memory_of_hashes_is_started_again(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    (tmp_path / "file-hashes.json").write_text("[")
    assert len(FileHashes(tmp_path).of(file)) == 64


def test_shapes_are_read_from_the_headers(model: Path) -> None:
    assert weight_shapes(model)["model.layers.0.self_attn.q_proj.weight"] == ("F32", (32, 32))


def test_checking_folders_needs_no_torch() -> None:
    program = "import sys; from engine.models import fingerprint, folder, recorded, server"
    report = "print(sorted({'torch', 'transformers', 'peft', 'openai', 'diskcache'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}; {report}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
