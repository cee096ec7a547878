"""Adapters of every kind on one loaded base: each answers as it does alone, and none changes the base."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine.errors import BadInput
from engine.models.folder import adapter_notes, check_adapter
from engine.models.local import LocalBase, LocalModel
from engine.models.model import Settings
from engine.plan.plan import Model
from tests.models.tiny import ask, make_adapter, make_model, make_tokenizer

SAMPLE = Path(__file__).parents[2] / "samples/models/base"
QUESTIONS = [ask(f"What is {number} plus 2?") for number in range(5)]
TARGETS = ["q_proj", "v_proj", "down_proj"]
KINDS: dict[str, Any] = {
    "lora": LoraConfig(r=4, target_modules=TARGETS),
    "rslora": LoraConfig(r=8, use_rslora=True, target_modules=TARGETS),
    "dora": LoraConfig(r=4, use_dora=True, target_modules=TARGETS),
    "ia3": IA3Config(target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]),
}


def random_adapter(folder: Path, base: Path, config: Any, seed: int) -> Path:
    """An adapter of that kind whose every part is random, so that it changes the answers."""
    torch.manual_seed(seed)
    peft = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    for name, weight in peft.named_parameters():
        if weight.requires_grad:
            start = float(weight.detach().abs().mean()) if "magnitude" in name else 0.0
            torch.nn.init.normal_(weight, mean=start, std=1.5 if "ia3" in name else 0.3)
    peft.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("kinds")
    return {
        kind: random_adapter(folder / kind, SAMPLE, config, seed)
        for seed, (kind, config) in enumerate(KINDS.items())
    }


def on(base: LocalBase, adapter: Path | None = None) -> LocalModel:
    return base.generator(
        Model(name="m", role="candidate", path=base.path, adapter=adapter, device="cpu", dtype="float32")
    )


def texts(model: LocalModel) -> list[str | None]:
    found = {
        response.example_id: response.text
        for batch in model.generate(QUESTIONS, Settings(max_new_tokens=8))
        for response in batch
    }
    return [found[example.id] for example in QUESTIONS]


def loaded(path: Path) -> LocalBase:
    return LocalBase(str(path), dtype="float32", device="cpu")


def test_adapters_of_all_kinds_take_turns_on_one_loaded_base(
    adapters: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = {kind: texts(on(loaded(SAMPLE), adapter)) for kind, adapter in adapters.items()}
    alone["base"] = texts(on(loaded(SAMPLE)))
    loads: list[str] = []
    own = LocalBase._load
    monkeypatch.setattr(LocalBase, "_load", lambda base: (loads.append(base.path), own(base))[1])
    shared = loaded(SAMPLE)
    order = ["lora", "base", "ia3", "dora", "base", "ia3", "rslora", "lora"]
    for kind in order:
        assert texts(on(shared, adapters.get(kind))) == alone[kind], kind
    assert len(loads) == 1
    assert len({tuple(found) for found in alone.values()}) == len(alone)


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_of_any_kind_answers_like_the_model_it_is_merged_into(
    adapters: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    whole = AutoModelForCausalLM.from_pretrained(SAMPLE, dtype=torch.float32)
    PeftModel.from_pretrained(whole, adapters[kind]).merge_and_unload().save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(SAMPLE).save_pretrained(tmp_path)
    assert texts(on(loaded(tmp_path))) == texts(on(loaded(SAMPLE), adapters[kind]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_probe_sees_every_kind(adapters: dict[str, Path], kind: str) -> None:
    assert on(loaded(SAMPLE), adapters[kind]).probe(QUESTIONS).max_difference > 0


def test_the_facts_tell_the_kinds_apart(adapters: dict[str, Path]) -> None:
    base = loaded(SAMPLE)
    facts = {kind: on(base, adapter).describe()["adapter"] for kind, adapter in adapters.items()}
    assert facts["ia3"]["peft_type"] == "IA3"
    assert facts["dora"]["use_dora"] and facts["rslora"]["use_rslora"]


def test_an_adapter_that_alters_the_base_is_refused_and_the_base_is_whole_again(
    base: Path, tmp_path: Path
) -> None:
    # PiSSA takes the largest directions of the weights away from the base when it is attached.
    pissa = LoraConfig(r=4, init_lora_weights="pissa", target_modules=["q_proj"])
    altering = random_adapter(tmp_path / "pissa", base, pissa, seed=0)
    shared = loaded(base)
    before = texts(on(shared))
    with pytest.raises(BadInput, match="changes the base's own weights"):
        texts(on(shared, altering))
    assert texts(on(shared)) == before


def edited(adapter: Path, folder: Path, **config: Any) -> Path:
    """A copy of an adapter that says other things of itself."""
    folder.mkdir()
    for file in adapter.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    own = json.loads((adapter / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(own | config))
    return folder


def test_an_adapter_that_trained_the_bases_biases_is_refused(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    trained = edited(adapter, tmp_path / "biased", bias="all")
    weights = load_file(trained / "adapter_model.safetensors")
    weights["base_model.model.model.layers.0.self_attn.q_proj.base_layer.bias"] = torch.ones(32)
    save_file(weights, trained / "adapter_model.safetensors")
    with pytest.raises(BadInput, match="trained the base's own biases"):
        check_adapter(str(base), trained)


def test_an_adapter_with_a_resized_vocabulary_is_refused_with_the_way_out(base: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(310)
    config = LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"])
    get_peft_model(model, config).save_pretrained(tmp_path)
    with pytest.raises(BadInput, match=r"(?s)\[310, 32\].*\[300, 32\].*vocabulary was resized.*Merge"):
        check_adapter(str(base), tmp_path)


def test_an_adapters_own_tokenizer_of_another_size_is_labelled(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    brings = edited(adapter, tmp_path / "brings")
    tokenizer = make_tokenizer("{{ messages[0].content }}")
    own = len(tokenizer)
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(brings)
    notes = on(loaded(base), brings).describe()["notes"]
    assert f"the adapter's own tokenizer has {own + 1} tokens, the base's {own}" in notes
    assert any("own chat template" in note for note in notes)


def test_a_chat_template_without_a_tokenizer_is_labelled(base: Path, adapter: Path, tmp_path: Path) -> None:
    brings = edited(adapter, tmp_path / "brings")
    (brings / "chat_template.jinja").write_text("{{ messages[0].content }}")
    assert any("but no tokenizer" in note for note in on(loaded(base), brings).describe()["notes"])


def test_an_adapter_of_another_revision_is_labelled(base: Path, adapter: Path, tmp_path: Path) -> None:
    here, other = "a" * 40, "b" * 40
    snapshot = tmp_path / "models--x--tiny-base/snapshots" / here
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to(base / "model.safetensors")
    (snapshot / "config.json").symlink_to(base / "config.json")
    named = "x/tiny-base"
    same = edited(adapter, tmp_path / "same", revision=here, base_model_name_or_path=named)
    assert adapter_notes(snapshot, same) == []
    moved = edited(adapter, tmp_path / "other", revision=other, base_model_name_or_path=named)
    [note] = adapter_notes(snapshot, moved)
    assert "revision bbbbbbbbbbbb" in note and "aaaaaaaaaaaa" in note
    [note] = adapter_notes(base, edited(adapter, tmp_path / "branch", revision="v2"))
    assert "unknown" in note


def test_an_adapter_that_names_no_base_is_labelled(base: Path, adapter: Path, tmp_path: Path) -> None:
    nameless = edited(adapter, tmp_path / "nameless", base_model_name_or_path=None)
    assert any("names no base" in note for note in on(loaded(base), nameless).describe()["notes"])


def test_the_snapshots_commit_is_in_the_facts(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "models--x--tiny/snapshots" / ("c" * 40))
    assert on(loaded(folder)).describe()["commit"] == "c" * 40
    assert on(loaded(SAMPLE)).describe()["commit"] is None


def test_adapters_without_effect_still_share_the_base(base: Path, tmp_path: Path) -> None:
    zero = make_adapter(tmp_path / "zero", base, zero=True)
    shared = loaded(base)
    assert texts(on(shared, zero)) == texts(on(shared))
