"""What may belong to a question and is in no prompt is said by the preview, the check and the run."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.data.examples import read_examples
from engine.data.unused import unused_columns
from engine.plan.plan import read_plan
from engine.preflight.check import check
from tui.cli.main import command

LONG = "It was raining when the ship came in. " * 10


def told(tmp_path: Path, *records: Any, **fields: str) -> list[tuple[str, int, str]]:
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    found = unused_columns(read_examples(path, fields), fields)
    return [(column.column, column.rows, column.kind) for column in found]


@pytest.mark.parametrize(
    ("record", "column", "kind"),
    [
        ({"query": "Q", "document": "Ships."}, "document", "context"),
        ({"query": "Q", "story": "Ships."}, "story", "context"),
        ({"question": "Q", "ctx_a": "Ships."}, "ctx_a", "context"),
        ({"question": "Q", "sourceText": LONG}, "sourceText", "context"),
        ({"question": "Q", "distractors": ["a", "b"]}, "distractors", "choices"),
        ({"question": "Q", "options": {"temperature": "0.1"}}, "options", "choices"),
        ({"question": "Q", "option_a": "Iron", "answer": "A"}, "option_a", "choices"),
        ({"query": "Q", "history": "A fracture in 2019."}, "history", "history"),
        ({"query": "Q", "dialogue": [["a", "b"]]}, "dialogue", "history"),
        ({"query": "Q", "tools": "a hammer"}, "tools", "tools"),
        ({"query": "Q", "function": [{"name": "f"}]}, "function", "tools"),
        ({"query": "Q", "image": "cat.png"}, "image", "context"),
        ({"messages": [{"role": "user", "content": "Q"}], "context": "Ships."}, "context", "context"),
        ({"query": "Q", "input": "Ships."}, "input", "context"),
    ],
)
def test_columns_that_may_belong_to_the_question(tmp_path: Path, record: Any, column: str, kind: str) -> None:
    record.pop("answer", None)
    assert told(tmp_path, record) == [(column, 1, kind)]


@pytest.mark.parametrize(
    "record",
    [
        {"query": "Q", "answer": "A", "category": "c", "id": 1, "group": "g", "label": "l", "system": "S"},
        {"query": "Q", "document": "", "options": None, "history": [], "tools": "[]"},
        {"query": "Q", "explanation": LONG, "reasoning": LONG, "url": LONG, "metadata": LONG},
        {"query": "Q", "checks": {"sentences": 3}, "max_new_tokens": 5, "source": LONG, "kwargs": [{"x": 1}]},
        {"query": f"{LONG}\n\nWho came?", "document": LONG},
        {"query": "Q", "context": LONG},
        {"question": "Q", "choices": ["a", "b"], "answer": 1, "subject": "ships"},
        {"prompt": "Q", "chosen": "A", "rejected": LONG, "score_chosen": 5},
        {"instruction": "Q", "input": "I", "output": "O", "history": [["q", "a"]]},
        {"title": "Ships", "context": "C", "question": "Q", "answers": {"text": ["x"], "answer_start": [0]}},
    ],
)  # fmt: skip
def test_columns_that_do_not(tmp_path: Path, record: Any) -> None:
    assert told(tmp_path, record) == []


def test_what_the_plan_maps_or_templates_is_not_told(tmp_path: Path) -> None:
    rows = [
        {"ask": "Q", "document": "Ships."},
        {"ask": "R", "document": "Boats."},
        {"ask": "S", "document": ""},
    ]
    assert told(tmp_path, *rows, query="ask") == [("document", 2, "context")]
    assert told(tmp_path, *rows, query="ask", context="document") == []
    assert told(tmp_path, *rows, template="{{ ask }}") == []


def plan(tmp_path: Path, data: str = "") -> Path:
    record = {"id": "1", "question": "Who came?", "article": "A ship came.", "answer": "A ship"}
    (tmp_path / "eval.jsonl").write_text(json.dumps(record) + "\n")
    (tmp_path / "answers.jsonl").write_text('{"id": "1", "response": "A ship"}\n')
    models = "".join(
        f'[[models]]\nname = "{name}"\nrole = "{role}"\noutputs = "answers.jsonl"\n'
        for name, role in (("a", "baseline"), ("b", "candidate"))
    )
    path = tmp_path / "plan.toml"
    path.write_text(f'name = "p"\n[data]\nexamples = "eval.jsonl"\n{data}\n{models}')
    return path


MAPPED = '[data] fields = { context = "article" } (--field context=article)'


def test_the_check_names_the_column_and_how_to_map_it(tmp_path: Path) -> None:
    findings = check(read_plan(plan(tmp_path)), tmp_path / "store")
    [found] = [finding for finding in findings if finding.level == "warning" and "article" in finding.message]
    assert found.subject == "data.examples" and 'column "article" is not in the prompt' in found.message
    assert MAPPED in found.hint and "[data] template = '{{ article }} …'" in found.hint
    for data in ('fields = { context = "article" }', "template = '{{ article }} {{ question }}'"):
        findings = check(read_plan(plan(tmp_path, data)), tmp_path / "store")
        assert not [finding for finding in findings if "is not in the prompt" in finding.message]


def test_the_run_says_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, store = plan(tmp_path), str(tmp_path / "store")
    command(["--store", store, "run", str(path)])
    assert 'column "article" is not in the prompt of 1 example' in " ".join(capsys.readouterr().err.split())


def test_the_preview_says_it_in_words_and_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan(tmp_path)
    data = str(tmp_path / "eval.jsonl")
    assert command(["preview", data]) == 0
    assert f"belong to the question: use {MAPPED}" in " ".join(capsys.readouterr().out.split())
    assert command(["preview", data, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(each["column"], each["rows"]) for each in found["unused"]] == [("article", 1)]
    assert command(["preview", data, "--field", "context=article", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (
        found["unused"] == []
        and found["columns"]["context"] == {"article": 1}
        and "article" not in found["kept"]
    )
    assert command(["preview", data, "--template", "{{ article }} {{ question }}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["first"][0]["query"] == "A ship came. Who came?"
