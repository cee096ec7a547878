import http.server
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.check import check, weight_bytes
from engine.plan import read_plan
from tests.cli.conftest import Assay

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
def nobody() -> str:
    """An address where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


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
    def found(more: str) -> tuple[str, str]:
        findings = check(read_plan(plan(more=more)), tmp_path / "store")
        (finding,) = [finding for finding in findings if finding.subject == "judge gpt"]
        return finding.level, finding.message + finding.hint

    assert found(judge(server))[0] == "ok"
    level, message = found(judge(server, model="other"))
    assert level == "warning" and "served" in message
    level, message = found(judge(server, key="ASSAY_TEST_KEY"))
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


def test_weights_are_counted_at_the_dtype_of_the_plan() -> None:
    base = SAMPLES / "models" / "base"
    single = weight_bytes(base, "float32")
    assert single == 2 * weight_bytes(base, "bfloat16")
    assert weight_bytes(base, "auto") in (single, single // 2)


def test_checking_loads_no_torch(plan: Write, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from engine.check import check\nfrom engine.plan import read_plan\n"
        f"check(read_plan(Path({str(plan())!r})), Path({str(tmp_path)!r}))\n"
        "print([name for name in ('torch', 'transformers', 'lm_eval') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
