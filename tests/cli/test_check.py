import hashlib
import http.server
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.plan.plan import read_plan
from engine.preflight.check import check
from engine.preflight.estimate import gain
from store.read.live import SpeedRow
from tests.cli.conftest import Assay
from tests.judges.scripted import kept_port
from tests.servers.fake_vllm import VERSION, installed_in

SAMPLES = Path(__file__).parents[2] / "samples"
Write = Callable[..., Path]


class Models(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = 401 if self.headers.get("Authorization") == "Bearer wrong" else 200
        body = json.dumps({"data": [{"id": "served"}]}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Models)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{listening.server_address[1]}/v1"
    listening.shutdown()
    thread.join()
    listening.server_close()


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nothing listens."""
    with kept_port() as port:
        yield f"http://127.0.0.1:{port}/v1"


def judge(server: str, model: str = "served", key: str = "") -> str:
    named = f'api_key_env = "{key}"' if key else ""
    return f'[[judges]]\nname = "gpt"\nkind = "pairwise"\nserver = "{server}"\nmodel = "{model}"\n{named}'


def test_a_plan_that_can_run_has_no_errors(assay: Assay, plan: Write, tmp_path: Path) -> None:
    done = assay("check", plan(), "--store", tmp_path / "store")
    assert done.code == 0 and "can run" in done.out
    assert "not a language model" in done.out
    assert not (tmp_path / "store").exists()


def test_all_that_is_wrong_is_said_at_once(assay: Assay, plan: Write, nobody: str, tmp_path: Path) -> None:
    file = plan(more=f'format = {{ schema = "schema.json" }}\n{judge(nobody)}')
    (tmp_path / "schema.json").write_text('{"type": "nonsense"}')
    (tmp_path / "eval.jsonl").write_text('{"query": "q", "reference": "r"}\n{broken\n')
    (tmp_path / "right.jsonl").write_text('{"id": "e0"}\n')
    done = assay("check", file, "--store", tmp_path / "store")
    assert done.code == 2
    for words in ("eval.jsonl:2", "right.jsonl:1", "cannot be reached", "metrics.format", "4 errors"):
        assert words in done.out, words


def test_a_judge_is_asked_for_its_model_and_key(
    plan: Write, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(more: str, gates: str = "") -> tuple[str, str]:
        findings = check(read_plan(plan(gates=gates, more=more)), tmp_path / "store")
        finding = next(finding for finding in findings if finding.subject == "judge gpt")
        return finding.level, finding.message + finding.hint

    assert found(judge(server))[0] == "ok"
    level, message = found(judge(server, model="other"))
    assert level == "warning" and "served" in message
    level, message = found(judge(server, key="ASSAY_TEST_KEY"))
    assert level == "warning" and "will not be asked" in message and "ASSAY_TEST_KEY is not set" in message
    level, message = found(judge(server, key="ASSAY_TEST_KEY"), "min_win_rate = 0.5")
    assert level == "error" and "ASSAY_TEST_KEY is not set" in message
    monkeypatch.setenv("ASSAY_TEST_KEY", "wrong")
    level, message = found(judge(server, key="ASSAY_TEST_KEY"))
    assert level == "error" and "refuses" in message and "wrong" not in message


def test_examples_without_references_are_a_warning_where_they_are_needed(plan: Write, tmp_path: Path) -> None:
    file = plan()
    (tmp_path / "eval.jsonl").write_text(
        '{"id": "e0", "query": "q"}\n{"id": "e1", "query": "r", "answer": "s"}\n'
    )
    warnings = [f for f in check(read_plan(file), tmp_path / "store") if f.level == "warning"]
    assert {finding.subject for finding in warnings} == {"metrics", "judge reference"}
    assert all("1 of 2" in finding.message for finding in warnings)


def test_an_adapter_of_another_base_is_an_error(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    adapter = SAMPLES / "models" / "adapters" / "good"
    (tmp_path / "eval.jsonl").write_text('{"query": "q", "reference": "r"}\n')
    base = tmp_path / "another"
    base.mkdir()
    for file in (SAMPLES / "models" / "base").iterdir():
        (base / file.name).write_bytes(file.read_bytes())
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"_name_or_path": "another"}))
    plan.write_text(
        f"""name = "p"
[data]
examples = "eval.jsonl"
[[models]]
name = "base"
role = "baseline"
path = "another"
[[models]]
name = "tuned"
role = "candidate"
path = "another"
adapter = "{adapter}"
"""
    )
    findings = {f.subject: f for f in check(read_plan(plan), tmp_path / "store")}
    assert findings["model base"].level == "ok"
    assert findings["model tuned"].level == "error" and "another" in findings["model tuned"].message


def a_model(tmp_path: Path, name: str = "model", **config: object) -> Path:
    """A copy of the sample model with another configuration."""
    folder = tmp_path / name
    shutil.copytree(SAMPLES / "models" / "base", folder)
    known = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(known | config))
    return folder


def local_plan(tmp_path: Path, path: object, more: str = "") -> Path:
    file = tmp_path / "local.toml"
    (tmp_path / "eval.jsonl").write_text(
        '{"query": "q", "reference": "r"}\n{"query": "s", "reference": "t"}\n'
    )
    models = "".join(
        f'[[models]]\nname = "{name}"\nrole = "{role}"\npath = "{path}"\n{more}'
        for name, role in (("before", "baseline"), ("after", "candidate"))
    )
    generation = "[generation]\nmax_new_tokens = 4\n"
    file.write_text(f'name = "p"\n[data]\nexamples = "eval.jsonl"\n{models}{generation}')
    return file


def about(file: Path, subject: str = "model after") -> tuple[str, str]:
    findings = [f for f in check(read_plan(file), file.parent / "store") if f.subject == subject]
    return findings[0].level, f"{findings[0].message} {findings[0].hint}"


def test_a_hub_id_that_is_not_here_names_the_command_that_fetches_it(
    tmp_path: Path, server: str, nobody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    file = local_plan(tmp_path, "someone/some-model")
    monkeypatch.setenv("HF_ENDPOINT", nobody.removesuffix("/v1"))
    level, said = about(file)
    assert level == "error" and "cannot be reached" in said and "hf download someone/some-model" in said
    monkeypatch.setenv("HF_ENDPOINT", server.removesuffix("/v1"))
    level, said = about(file)
    assert level == "warning" and "the run will download it" in said
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    level, said = about(file)
    assert level == "error" and "HF_HUB_OFFLINE is set" in said


def test_code_that_a_model_brings_is_named_and_never_run_unasked(tmp_path: Path) -> None:
    code = {"auto_map": {"AutoModelForCausalLM": "modeling_own.OwnModel"}}
    folder = a_model(tmp_path, model_type="own_kind", **code)
    (folder / "modeling_own.py").write_text("raise SystemExit('run')")
    level, said = about(local_plan(tmp_path, folder))
    assert level == "error" and "modeling_own.py" in said and "trust_remote_code = true" in said
    level, said = about(local_plan(tmp_path, folder, "trust_remote_code = true\n"))
    digest = hashlib.sha256((folder / "modeling_own.py").read_bytes()).hexdigest()
    assert level == "warning" and f"modeling_own.py, SHA-256 {digest}" in said
    known = a_model(tmp_path, "known", **code)
    assert about(local_plan(tmp_path, known))[0] == "ok"


@pytest.fixture
def marking(tmp_path: Path) -> tuple[str, Path]:
    """Python that leaves a mark when it is imported, and where."""
    mark = tmp_path / "imported"
    return f"from pathlib import Path\nPath({str(mark)!r}).touch()\ndef polite(*_): return 1\n", mark


def test_own_metrics_are_named_with_their_hash_and_run_only_when_allowed(
    assay: Assay, plan: Write, tmp_path: Path, marking: tuple[str, Path]
) -> None:
    file, (code, mark) = plan(more='"mine.py:polite" = {}\n'), marking
    (file.parent / "mine.py").write_text(code)
    done = assay("check", file, "--json", "--store", tmp_path / "store")
    assert done.code == 0 and not mark.exists()
    [found] = [item for item in done.json["findings"] if item["subject"] == "metrics.mine.py:polite"]
    assert found["level"] == "warning" and hashlib.sha256(code.encode()).hexdigest() in found["message"]
    assert assay("check", file, "--allow-code", "--store", tmp_path / "store").code == 0
    assert mark.exists()


def test_an_own_measure_that_cuts_a_sweep_is_not_loaded_to_look_for_it(
    tmp_path: Path, marking: tuple[str, Path]
) -> None:
    code, mark = marking
    (tmp_path / "mine.py").write_text(code)
    models = SAMPLES / "models"
    file = local_plan(tmp_path, models / "base")
    swept = f'path = "{models / "base"}"\nsweep = "{models / "adapters"}/*"\n[generation]'
    rest = '[metrics]\nuse = ["mine.py:polite"]\n[sweep]\nby = "polite"\nkeep = 1\n'
    head, _, tail = file.read_text().rpartition(f'path = "{models / "base"}"\n[generation]')
    file.write_text(head + swept + tail + rest)
    level, said = about(file, "sweep")
    assert level == "warning" and "--allow-code" in said and not mark.exists()


def test_functions_of_task_files_are_named_and_not_run(
    assay: Assay, plan: Write, tmp_path: Path, marking: tuple[str, Path]
) -> None:
    tasks, (code, mark) = tmp_path / "tasks", marking
    (tasks / "sub").mkdir(parents=True)
    for name in ("utils.py", "sub/deep.py"):
        (tasks / name).write_text(code)
    (tasks / "base.yaml").write_text("process_docs: !function utils.polite\n")
    (tasks / "data.jsonl").write_text('{"q": "a"}\n')
    (tasks / "mine.yaml").write_text(
        "task: mine\ninclude: base.yaml\ndataset_path: json\n"
        "dataset_kwargs: {data_files: {test: data.jsonl}}\ntest_split: test\noutput_type: generate_until\n"
        "doc_to_text: !<!function> os.system\ndoc_to_target: !function sub.deep.polite\n"
    )
    file = plan(more=f'[benchmarks]\ntasks = ["mine"]\ninclude = "{tasks}"\n')
    done = assay("check", file, "--json", "--store", tmp_path / "store")
    said = " ".join(item["message"] for item in done.json["findings"] if item["subject"] == "benchmarks")
    digest = hashlib.sha256(code.encode()).hexdigest()
    assert f"utils.polite of the task files will run: {tasks / 'utils.py'}, SHA-256 {digest}" in said
    assert f"{tasks / 'sub/deep.py'}, SHA-256 {digest}" in said
    assert "os.system of the task files will run: it is an installed package's" in said
    assert not mark.exists()


def test_measuring_with_code_that_a_model_brings_asks_for_leave(assay: Assay, tmp_path: Path) -> None:
    folder = a_model(tmp_path, model_type="own_kind", auto_map={"AutoModelForCausalLM": "m.Own"})
    file = local_plan(tmp_path, folder, "trust_remote_code = true\n")
    done = assay("check", file, "--measure", "--store", tmp_path / "store")
    assert done.code == 2 and "--allow-code" in done.err


def test_pickled_weights_are_an_error_with_the_way_to_safetensors(tmp_path: Path) -> None:
    folder = a_model(tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    level, said = about(local_plan(tmp_path, folder))
    assert level == "error" and "pickle" in said and "safetensors" in said


def test_a_kind_of_model_that_only_a_newer_transformers_knows_is_an_error(tmp_path: Path) -> None:
    folder = a_model(tmp_path, model_type="of-tomorrow", transformers_version="99.1.0")
    level, said = about(local_plan(tmp_path, folder))
    assert level == "error" and "knows no model type 'of-tomorrow'" in said and "99.1.0" in said
    shared = a_model(tmp_path, "shared", model_type="qwen2_5_vl_text")
    assert about(local_plan(tmp_path, shared))[0] == "ok"


def test_measuring_asks_a_few_prompts_and_says_how_long_all_take(assay: Assay, tmp_path: Path) -> None:
    done = assay(
        "check",
        local_plan(tmp_path, SAMPLES / "models" / "base"),
        "--measure",
        "--json",
        "--store",
        tmp_path / "s",
    )
    found = {entry["subject"]: entry for entry in done.json["findings"]}
    assert done.code == 0 and done.json["can_run"]
    assert "tokens a second: at most" in found["time of before"]["message"]
    assert "for all 2" in found["time of after"]["message"]
    assert "time" not in found
    assert "room for 128 slots" in found["memory"]["message"]


def test_what_is_wrong_is_in_the_json_too(assay: Assay, tmp_path: Path) -> None:
    folder = a_model(tmp_path)
    (folder / "tokenizer.json").unlink()
    done = assay("check", local_plan(tmp_path, folder), "--json", "--measure", "--store", tmp_path / "s")
    assert done.code == 2 and not done.json["can_run"]
    assert [entry["level"] for entry in done.json["findings"] if entry["subject"] == "model after"] == [
        "error"
    ]


def test_a_second_check_knows_the_time_of_the_first_run(assay: Assay, tmp_path: Path) -> None:
    file = local_plan(tmp_path, SAMPLES / "models" / "base")
    store = tmp_path / "store"
    assert about(file, "time")[1].startswith("unknown")
    assert assay("run", file, "--quiet", "--store", store).code in (0, 1)
    level, said = about(file, "time")
    assert level == "ok" and "at the pace of run 1" in said


def test_checking_loads_no_torch(plan: Write, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from engine.preflight.check import check\nfrom engine.plan.plan import read_plan\n"
        f"check(read_plan(Path({str(plan())!r})), Path({str(tmp_path)!r}))\n"
        "print([name for name in ('torch', 'transformers', 'lm_eval', 'sqlalchemy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


SKIPS = "{% for m in messages %}{% if m.role == 'user' %}<|user|>{{ m.content }}{% endif %}{% endfor %}"


def test_the_prompts_are_proved_before_the_run_and_shown(assay: Assay, tmp_path: Path) -> None:
    folder = a_model(tmp_path)
    (folder / "chat_template.jinja").write_text(
        "{% if messages[-1].content.endswith('s') %}{{ raise_exception('not s') }}{% endif %}" + SKIPS
    )
    file = local_plan(tmp_path, folder, 'system = "Be \\u001b[2J brief."\n')
    done = assay("check", file, "--show-prompt", "--store", tmp_path / "store")
    assert done.code == 0
    said = " ".join(done.out.split())
    assert "prompts of before: the chat template leaves the system text out" in said
    assert "1 of the first 50 examples cannot be asked" in said and "not s" in said
    assert "First prompt of before, " in done.out and "\n<|user|> q\n" in done.out
    found = assay("check", file, "--show-prompt", "--json", "--store", tmp_path / "store").json
    assert [item["text"] for item in found["prompts"]] == ["<|user|> q"] * 2
    assert {e["level"] for e in found["findings"] if e["subject"] == "prompts of before"} == {"warning"}
    assert "prompts" not in assay("check", file, "--json", "--store", tmp_path / "store").json


def test_special_tokens_are_visible_and_a_model_with_errors_has_no_prompt(
    assay: Assay, tmp_path: Path
) -> None:
    done = assay(
        "check", local_plan(tmp_path, SAMPLES / "models" / "base"), "--show-prompt", "--store", tmp_path
    )
    assert "<s><|user|>" in done.out and "<|assistant|>" in done.out
    broken = a_model(tmp_path)
    (broken / "model.safetensors").write_bytes(b"cut off")
    done = assay("check", local_plan(tmp_path, broken), "--show-prompt", "--store", tmp_path)
    assert done.code == 2 and "First prompt of before\nnone\n(" in done.out


def test_a_served_models_messages_are_shown(assay: Assay, plan: Write, server: str, tmp_path: Path) -> None:
    more = f'[[models]]\nname = "served"\nrole = "candidate"\nmodel = "served"\nserver = "{server}"\n'
    file = plan(more=f'{more}system = "Hi."\n')
    done = assay("check", file, "--show-prompt", "--store", tmp_path / "store")
    assert "First prompt of served\nsystem: Hi." in done.out
    assert "the server applies its own chat template" in " ".join(done.out.split())


def vllm_plan(folder: Path, program: Path | None, engine: str = "vllm") -> Path:
    file = local_plan(folder, SAMPLES / "models" / "base")
    named = f'\n[compute]\nvllm = "{program}"\n' if program else "\n"
    file.write_text(file.read_text() + f'engine = "{engine}"\n' + named)
    return file


def test_vllm_that_is_not_here_is_an_error_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    level, said = about(vllm_plan(tmp_path, None), "engine")
    assert level == "error" and "there is no vllm on PATH" in said


def test_vllm_says_which_models_it_answers_for_and_how_much_faster_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = installed_in(tmp_path / "environment")
    level, said = about(vllm_plan(tmp_path, program), "engine")
    assert level == "ok" and said.startswith(f"vLLM {VERSION} answers for ")
    monkeypatch.setenv("PATH", str(program.parent))
    level, said = about(vllm_plan(tmp_path, None, "transformers"), "engine")
    assert level == "ok" and said.startswith(f"vLLM {VERSION} is here, and can answer for ")
    model = read_plan(vllm_plan(tmp_path, program)).models[0]
    ran_on = {"devices": ["cpu"]}
    facts = {"path": model.path, "adapter": None, "quantize": None, "device_map": None, "device": "cpu"}
    past = [
        SpeedRow(9, 100, 10.0, {**facts, "engine": f"vllm {VERSION}"}, ran_on),
        SpeedRow(8, 100, 25.0, facts, ran_on),
    ]
    assert gain("vllm", [model], past) == (
        f"about 2.5 times as fast as transformers for {model.name}, by run 9 against run 8"
    )
    assert gain("vllm", [model], past[:1]) is None


def test_a_model_that_an_engine_leaves_to_transformers_is_named_with_the_engine_and_the_reason(
    tmp_path: Path,
) -> None:
    file = vllm_plan(tmp_path, installed_in(tmp_path / "environment"))
    file.write_text(file.read_text().replace('role = "candidate"', 'role = "candidate"\nquantize = "int8"'))
    said = {f.subject: f.message for f in check(read_plan(file), tmp_path) if "transformers" in f.message}
    why = 'transformers answers, and not vLLM: quantize = "int8" is bitsandbytes\' in transformers'
    assert said == {"model after": why}


def test_a_model_that_a_run_downloads_is_no_error_of_the_engine(tmp_path: Path) -> None:
    program = installed_in(tmp_path / "environment")
    file = vllm_plan(tmp_path, program)
    file.write_text(file.read_text().replace(str(SAMPLES / "models" / "base"), "someone/some-model"))
    level, said = about(file, "engine")
    assert level == "warning" and "someone/some-model" in said
