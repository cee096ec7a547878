"""Bases that are quantised, spread over devices, on the hub, or GGUF files."""

import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import huggingface_hub.constants
import pytest

from engine.errors import BadInput
from engine.metrics.perplexity import same_tokenizer
from engine.models import fingerprint as fingerprints
from engine.models import folder as folders
from engine.models.fingerprint import FileHashes, model_hash
from engine.models.folder import (
    QUANTIZE,
    adapter_notes,
    adapter_of,
    base_of,
    check_adapter,
    check_model_folder,
    check_quantised,
    find_model,
    quantisation,
    quantised_as,
    weight_shapes,
)
from engine.models.gguf_file import is_gguf
from engine.models.holder import Holder, base_key
from engine.models.local import LocalBase, LocalModel
from engine.models.model import Settings
from engine.plan.plan import Model
from engine.preflight.check import local_findings
from engine.preflight.estimate import weight_bytes
from tests.models.tiny import ask, make_adapter, make_gguf, make_model, make_tokenizer

# bitsandbytes works in blocks of 64.
HIDDEN = 64
ASKED = [ask("the cat sat"), ask("the dog ran on the mat and"), ask("a")]


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("wide") / "tiny-base", layers=3, hidden=HIDDEN)


@pytest.fixture(scope="module")
def trained(wide: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(tmp_path_factory.mktemp("wide") / "adapter", wide, seed=1)


def model(path: Path | str, **more: Any) -> Model:
    return Model(name="m", role="candidate", path=str(path), **({"device": "cpu"} | more))


def on(base: LocalBase, adapter: Path | None = None) -> LocalModel:
    return base.generator(model(base.path, adapter=adapter))


def texts(answering: LocalModel) -> list[str | None]:
    settings = Settings(max_new_tokens=8)
    answers = {a.example_id: a.text for batch in answering.generate(ASKED, settings) for a in batch}
    return [answers[example.id] for example in ASKED]


def as_llama_cpp(kind: str) -> Any:
    return pytest.importorskip("gguf", reason=f"gguf is not installed: no {kind} file can be written")


class TestQuantised:
    @pytest.mark.parametrize("kind", ["nf4", "int8"])
    def test_an_adapter_answers_on_its_quantised_base_which_stays_as_it_was(
        self, wide: Path, trained: Path, kind: str
    ) -> None:
        pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
        base = LocalBase(str(wide), device="cpu", quantize=kind)
        alone = texts(on(base))
        # As large in memory as the check says, which rounds up.
        said, real = weight_bytes(wide, "float32", kind), base.model.get_memory_footprint()
        assert real <= said <= 1.1 * real
        adapted = texts(on(base, trained))
        assert adapted != alone and texts(on(base)) == alone
        facts = on(base).describe()
        assert facts["quantisation"] == {"quant_method": "bitsandbytes", **QUANTIZE[kind]}
        assert on(base).fingerprint != on(LocalBase(str(wide), device="cpu")).fingerprint

    def test_answers_are_those_of_transformers(self, wide: Path) -> None:
        pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
        from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

        plain = AutoModelForCausalLM.from_pretrained(
            wide,
            device_map="cpu",
            quantization_config=BitsAndBytesConfig(
                load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True
            ),
        )
        for module in plain.modules():
            module.support_avx512bf16_for_cpu = False
        tokenizer = AutoTokenizer.from_pretrained(wide)
        for example, text in zip(
            ASKED, texts(on(LocalBase(str(wide), device="cpu", quantize="nf4"))), strict=True
        ):
            ids = tokenizer.apply_chat_template(
                list(example.messages), add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
            out = plain.generate(**ids, max_new_tokens=8, do_sample=False)[0, ids["input_ids"].shape[1] :]
            assert tokenizer.decode(out, skip_special_tokens=True) == text

    def test_what_cannot_be_quantised_says_why(
        self, wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(folders, "_installed", lambda package: package != "bitsandbytes")
        with pytest.raises(BadInput, match=r"(?s)needs bitsandbytes.*pip install 'assay\[quantized\]'"):
            check_quantised(wide, "nf4")
        carries = shutil.copytree(wide, tmp_path / "carries")
        config = json.loads((carries / "config.json").read_text())
        config["quantization_config"] = {"quant_method": "fp8"}
        (carries / "config.json").write_text(json.dumps(config))
        with pytest.raises(BadInput, match=r'(?s)is quantised as it is: fp8.*Remove quantize = "nf4"'):
            check_quantised(carries, "nf4")
        [found] = local_findings("m", model(carries))
        assert found.level == "ok" and "quantised: fp8" in found.message

    @pytest.mark.parametrize(
        ("found", "said"),
        [
            ({"quant_method": "bitsandbytes", **QUANTIZE["nf4"]}, "bitsandbytes nf4"),
            ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes int8"),
            ({"quant_method": "gptq", "bits": 4}, "gptq 4 bits"),
            ({"quant_method": "gguf", "type": "Q4_K"}, "gguf Q4_K"),
        ],
    )
    def test_it_is_said_in_words(self, found: dict[str, Any], said: str) -> None:
        assert quantised_as(found) == said

    def test_models_share_a_base_only_as_it_is_loaded(self, wide: Path) -> None:
        plain = model(wide)
        others: list[dict[str, Any]] = [
            {"quantize": "nf4"},
            {"quantize": "int8"},
            {"device": "auto", "device_map": "auto"},
            {"device": "auto", "device_map": "auto", "max_memory": {"cpu": "1GiB"}},
            {"revision": "v2"},
        ]
        keys = {base_key(plain), *(base_key(model(wide, **other)) for other in others)}
        assert len(keys) == 1 + len(others)
        assert base_key(model(wide, adapter=wide, system="Be brief.")) == base_key(plain)


class TestNamesOfBases:
    @pytest.mark.parametrize(
        ("recorded", "noted"),
        [
            (r"C:\models\tiny-base", "in another place"),
            ("/home/someone/tiny-base", "in another place"),
            ("unsloth/tiny-base-bnb-4bit", 'quantize = "nf4" evaluates it on such a base'),
            ("unsloth/tiny-base-unsloth-bnb-4bit", 'quantize = "nf4" evaluates it on such a base'),
            (r"D:\x\tiny-base-unsloth-bnb-4bit", 'quantize = "nf4" evaluates it on such a base'),
            ("someone/tiny-base-8bit", 'quantize = "int8" evaluates it on such a base'),
            ("someone/tiny-base-AWQ", "the quantised copy 'someone/tiny-base-AWQ': its shapes fit this base"),
        ],
    )
    def test_another_name_of_the_base_is_a_remark(
        self, wide: Path, trained: Path, tmp_path: Path, recorded: str, noted: str
    ) -> None:
        moved = shutil.copytree(trained, tmp_path / "moved")
        config = json.loads((moved / "adapter_config.json").read_text())
        config["base_model_name_or_path"] = recorded
        (moved / "adapter_config.json").write_text(json.dumps(config))
        check_adapter(str(wide), moved)
        [note] = adapter_notes(wide, moved)
        assert noted in note
        assert "quantize" not in " ".join(adapter_notes(wide, moved, "nf4"))


class TestSpread:
    def test_layers_on_the_disk_answer_as_the_plain_model_does(self, wide: Path, trained: Path) -> None:
        plain, spread = (
            LocalBase(str(wide), device="cpu"),
            LocalBase(str(wide), spread=True, max_memory={"cpu": "300KB"}),
        )
        assert texts(on(spread)) == texts(on(plain))
        assert "disk" in spread.model.hf_device_map.values()
        assert "cpu" in spread.model.hf_device_map.values()
        adapted = texts(on(plain, trained))
        assert texts(on(spread, trained)) == adapted != texts(on(spread))
        facts = on(spread).describe()
        assert facts["device_map"] == "auto" and on(spread).fingerprint == on(plain).fingerprint
        spread.close()

    def test_a_plan_says_how(self, wide: Path) -> None:
        holder = Holder(None)
        opened = holder.model(model(wide, device="auto", device_map="auto", max_memory={"cpu": "300KB"}))
        assert opened.base.spread
        holder.close()


SHA = "c" * 40
TOKEN = "hf_aTokenOfManyLetters123"


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub as a download needs; `private` is given only to those who have the token."""

    files: ClassVar[dict[str, Path]] = {}

    def do_GET(self) -> None:
        self._answer(True)

    def do_HEAD(self) -> None:
        self._answer(False)

    def _answer(self, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        parts = path.strip("/").split("/")
        repository = "/".join(parts[2:4] if parts[0] == "api" else parts[:2])
        revision = (
            parts[5] if parts[0] == "api" and len(parts) > 5 else parts[3] if len(parts) > 3 else "main"
        )
        folder, code = self.files.get(repository), ""
        if repository == "org/private" and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            folder, code = None, "RepoNotFound"
        elif folder is not None and revision not in ("main", "v2", SHA):
            folder, code = None, "RevisionNotFound"
        if folder is None:
            self.send_response(404)
            self.send_header("X-Error-Code", code or "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
        if parts[0] != "api":
            body = (folder / parts[-1]).read_bytes()
        elif parts[4] == "tree":
            files = [
                {"type": "file", "path": name, "size": size, "oid": name} for name, size in sizes.items()
            ]
            body = json.dumps(files).encode()
        else:
            body = json.dumps({"id": repository, "sha": SHA}).encode()
        self.send_response(200)
        self.send_header("ETag", f'"{parts[-1]}-{len(body)}"')
        self.send_header("X-Repo-Commit", SHA)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub(wide: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    Hub.files = {"org/tiny-base": wide, "org/tuned": trained, "org/private": trained}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield
        server.shutdown()


@pytest.mark.usefixtures("hub")
class TestHub:
    def test_a_base_and_an_adapter_are_taken_from_it_at_their_revisions(self) -> None:
        asked = model("org/tiny-base", revision="v2", adapter=Path("org/tuned"), adapter_revision=SHA)
        with pytest.raises(BadInput, match=r"(?s)revision 'v2'.*hf download org/tiny-base --revision v2"):
            base_of(asked)
        folder, adapter = base_of(asked, download=True), adapter_of(asked, download=True)
        assert adapter is not None and adapter.name == folder.name == SHA
        assert (base_of(asked), adapter_of(asked)) == (folder, adapter)
        [found] = [found for found in local_findings("m", asked) if found.level == "ok"]
        assert "the adapter tuned fits them" in found.message

    def test_the_run_has_the_adapters_commit_and_its_name(self) -> None:
        base = LocalBase("org/tiny-base", device="cpu")
        facts = on(base, Path("org/tuned")).describe()
        assert facts["commit"] == facts["adapter"]["commit"] == SHA
        assert facts["adapter"]["path"] == "org/tuned"

    def test_a_private_one_needs_the_token_which_is_shown_nowhere(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        asked = model("org/tiny-base", adapter=Path("org/private"))
        with pytest.raises(BadInput, match=r"(?s)nor a model on the hub.*HF_TOKEN") as refused:
            adapter_of(asked, download=True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        found = adapter_of(asked, download=True)
        assert found is not None
        with pytest.raises(BadInput) as unknown:
            find_model("org/nothing", download=True)
        said = f"{refused.value!r} {unknown.value!r} {unknown.value.__cause__!r} {capfd.readouterr()}"
        kept = [file.read_bytes() for file in (tmp_path / "hub").rglob("*") if file.is_file()]
        assert TOKEN not in said and not any(TOKEN.encode() in content for content in kept)

    def test_an_unknown_revision_is_named(self) -> None:
        with pytest.raises(BadInput, match="org/tuned: has no revision 'v9' on the hub"):
            find_model("org/tuned", download=True, revision="v9")

    def test_a_revision_of_a_folder_here_is_refused(self, wide: Path) -> None:
        with pytest.raises(BadInput, match="is on this machine; a revision is chosen"):
            find_model(str(wide), revision="v2")

    def test_an_adapter_that_is_not_here_names_the_command(
        self, monkeypatch: pytest.MonkeyPatch, wide: Path
    ) -> None:
        asked = model(wide, adapter=Path("org/tuned"), adapter_revision="v2")
        [found] = local_findings("m", asked)
        assert found.level == "warning" and "`hf download org/tuned --revision v2`" in found.hint
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        [found] = local_findings("m", asked)
        assert found.level == "error" and "HF_HUB_OFFLINE is set" in found.message


class TestGguf:
    def test_it_answers_as_the_folder_does_that_it_was_made_from(self, wide: Path, tmp_path: Path) -> None:
        as_llama_cpp("F32")
        file = make_gguf(tmp_path / "whole.gguf", wide)
        # What lies beside it is of another model.
        (tmp_path / "chat_template.jinja").write_text("another")
        (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "another"}')
        base, plain = LocalBase(str(file), device="cpu"), on(LocalBase(str(wide), device="cpu"))
        assert [on(base).prompt(example) for example in ASKED] == [plain.prompt(example) for example in ASKED]
        assert texts(on(base)) == texts(plain)
        facts, others = on(base).describe(), plain.describe()
        same = (
            "architecture",
            "parameters",
            "context",
            "vocabulary",
            "template",
            "attention",
            "quantisation",
            "tokenization",
        )
        assert {key: facts[key] for key in same} == {key: others[key] for key in same}
        assert "tokenizer" not in facts and facts["notes"] == []

    def test_other_merges_are_another_tokenizer(self, wide: Path, tmp_path: Path) -> None:
        as_llama_cpp("F32")
        shutil.copytree(wide, tmp_path / "cut")
        file = tmp_path / "cut" / "tokenizer.json"
        content = json.loads(file.read_text())
        del content["model"]["merges"][1:]
        file.write_text(json.dumps(content))
        facts = [
            on(LocalBase(str(make_gguf(tmp_path / f"{folder.name}.gguf", folder)), device="cpu")).describe()
            for folder in (wide, tmp_path / "cut")
        ]
        assert not same_tokenizer(*facts)
        assert same_tokenizer(facts[1], on(LocalBase(str(tmp_path / "cut"), device="cpu")).describe())
        assert not same_tokenizer({}, {}) and same_tokenizer({"tokenizer": "a"}, {"tokenizer": "a"})

    def test_the_quantisation_and_the_content_are_its_identity(self, wide: Path, tmp_path: Path) -> None:
        as_llama_cpp("Q8_0")
        file = make_gguf(tmp_path / "small.gguf", wide, "Q8_0", eot_token_id=4)
        copy = Path(shutil.copy(file, tmp_path / "copy.GGUF"))
        other = make_gguf(tmp_path / "other.gguf", wide, "Q4_0")
        hashes = FileHashes()
        assert model_hash(file, hashes) == model_hash(copy, hashes) != model_hash(other, hashes)
        assert quantisation(file) == {"quant_method": "gguf", "type": "Q8_0"}
        told = make_gguf(tmp_path / "told.gguf", wide, "Q4_0", file_type=15)
        assert quantisation(told) == {"quant_method": "gguf", "type": "Q4_K_M"}
        base = LocalBase(str(file), device="cpu")
        assert base.turn_ends == {4}
        assert texts(on(base)) != texts(on(LocalBase(str(other), device="cpu")))
        # Unpacked when it is loaded.
        assert weight_bytes(file, "float32") == 4 * base.model.num_parameters()
        [found] = local_findings("m", model(file))
        assert found.level == "ok" and "quantised: gguf Q8_0" in found.message

    def test_words_split_in_a_way_that_transformers_lacks_are_remarked_on(
        self, wide: Path, tmp_path: Path
    ) -> None:
        as_llama_cpp("F32")
        file = make_gguf(tmp_path / "odd.gguf", wide)
        file.write_bytes(file.read_bytes().replace(b"gpt-2", b"odd-2"))
        [note] = LocalBase(str(file), device="cpu").notes
        assert "splits texts as 'odd-2' does" in note

    def test_a_broken_or_foreign_file_is_refused_in_one_line(self, wide: Path, tmp_path: Path) -> None:
        as_llama_cpp("F32")
        whole = make_gguf(tmp_path / "whole.gguf", wide).read_bytes()
        file = tmp_path / "broken.gguf"
        for content in (
            b"",
            b"GGUF",
            whole[:-8],
            whole[:2000],
            b"JUNK" + whole[4:],
            whole[:16] + b"\xff" * 8 + whole[24:],
        ):
            file.write_bytes(content)
            with pytest.raises(BadInput, match=r"broken\.gguf: is corrupt or truncated"):
                check_model_folder(str(file))
        for changed, said in (
            (make_gguf(file, wide, type="adapter"), "holds no model: its type is 'adapter'"),
            (
                make_gguf(tmp_path / "two.gguf", wide, **{"architecture": "tomorrow"}),
                "reads no GGUF files of the kind",
            ),
        ):
            with pytest.raises(BadInput, match=said):
                check_model_folder(str(changed))
        with pytest.raises(BadInput, match=r"(?s)no config.json.*name that: .*broken.gguf"):
            check_model_folder(str(tmp_path))

    def test_without_the_package_its_extra_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("engine.models.gguf_file.find_spec", lambda name: None)
        (tmp_path / "model.gguf").write_bytes(b"GGUF")
        with pytest.raises(BadInput, match=r"(?s)the package gguf.*pip install 'assay\[gguf\]'"):
            weight_shapes(tmp_path / "model.gguf")


def test_files_are_read_once_for_all_phases_and_models_also_without_a_cache(
    wide: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = shutil.copytree(trained, tmp_path / "adapter")
    make_tokenizer().save_pretrained(own)
    digest, read = fingerprints.hashlib.file_digest, []
    monkeypatch.setattr(
        "engine.models.fingerprint.hashlib.file_digest",
        lambda source, kind: (read.append(source.name), digest(source, kind))[1],
    )
    holder = Holder(None)
    opened = [holder.model(model(wide, adapter=adapter)) for adapter in (None, own, own)]
    assert all(one.fingerprint for one in opened)
    assert len(read) == len(set(read)) > 2
    assert opened[1].tokenizer is opened[2].tokenizer is not opened[0].tokenizer
    holder.close()


def test_a_folder_that_ends_like_a_file_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "my.gguf").mkdir()
    assert not is_gguf(tmp_path / "my.gguf")
