"""A question made by the plan's template: bounded, and its errors name the place."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.data.examples import data_rows, read_examples
from engine.errors import BadInput
from engine.plan.plan import read_plan

RECORDS = [
    {"id": 1, "doc": "Swifts nest in towers.", "ask": "Where?", "answer": "towers", "parts": ["a", "b"]},
    {"id": 2, "doc": "Storks nest on roofs.", "ask": "Where?", "answer": "roofs", "parts": []},
]


def asked(tmp_path: Path, template: str, records: Any = RECORDS) -> list[str]:
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return [example.query for example in read_examples(path, {"template": template})]


def test_the_query_is_made_of_the_columns(tmp_path: Path) -> None:
    made = asked(
        tmp_path, "{{ doc }}\n\nQ: {{ ask }}{% for part in parts %}\n- {{ part | upper }}{% endfor %}\n"
    )
    assert made == ["Swifts nest in towers.\n\nQ: Where?\n- A\n- B", "Storks nest on roofs.\n\nQ: Where?"]
    assert asked(tmp_path, "{{ record['a b'] }}", [{"a b": "odd"}]) == ["odd"]


def test_references_history_tools_and_system_stay_what_they_are(tmp_path: Path) -> None:
    record = {"a": "Q", "answer": "A", "history": [["q", "a"]], "system": "S", "tools": [{"name": "f"}]}
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(record))
    [example] = read_examples(path, {"template": "<{{ a }}>"})
    assert [turn["content"] for turn in example.messages] == ["S", "q", "a", "<Q>"]
    assert example.references == ("A",) and len(example.tools) == 1


def test_a_column_that_a_row_lacks_is_named_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"x\.jsonl:2: template: 'doc' is undefined; the columns: id, ask"):
        asked(tmp_path, "{{ doc }}", [RECORDS[0], {"id": 2, "ask": "Where?"}])
    assert asked(tmp_path, "{{ doc | default('-') }}", [{"id": 2}]) == ["-"]


def test_training_data_without_its_columns_are_read_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text('{"query": "plain"}\n{"query": "x", "doc": "long"}\n')
    assert [row.query for row in data_rows(path, {"template": "{{ doc }}"})] == ["plain", "long"]


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ ask.__init__.__globals__ }}",
        "{% set x = parts.append('c') %}{{ ask }}",
        "{{ 'x' * 1000000000 }}",
        "{{ 9 ** 999999999 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '{:>1000000000}'.format(1) }}",
        "{{ ask.ljust(1000000000) }}",
        "{% for n in range(1000000000) %}x{% endfor %}",
        "{{ ask + 1 }}",
        "{{ ask.nothing.more }}",
    ],
)
def test_the_sandbox_holds(tmp_path: Path, template: str) -> None:
    with pytest.raises(BadInput, match=r"x\.jsonl:1: template: "):
        asked(tmp_path, template)


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{ ask", "data.template: line 1: unexpected end of template"),
        ("a\\n{% if %}", "data.template: line 2: "),
        ("{{ ask | nothing }}", "No filter named 'nothing'"),
        ("{{ ask | center(99) }}", "No filter named 'center'"),
        ("{% include 'x' %}", "line 1: include cannot be used here"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "macro cannot be used here"),
        (
            "{% for a in b %}{% for c in a %}{% for d in c %}x{% endfor %}{% endfor %}{% endfor %}",
            "at most 2 loops",
        ),
        ("{% for a in b recursive %}{{ loop(a) }}{% endfor %}", "none recursive"),
    ],
)
def test_a_template_that_is_none_is_refused_with_the_plan(tmp_path: Path, template: str, says: str) -> None:
    with pytest.raises(BadInput) as error:
        plan(tmp_path, template)
    assert says in str(error.value)


def plan(tmp_path: Path, template: str) -> Any:
    (tmp_path / "eval.jsonl").write_text(json.dumps(RECORDS[0]))
    (tmp_path / "answers.jsonl").write_text('{"id": "1", "response": "towers"}')
    models = "".join(
        f'[[models]]\nname = "{name}"\nrole = "{role}"\noutputs = "answers.jsonl"\n'
        for name, role in (("a", "baseline"), ("b", "candidate"))
    )
    path = tmp_path / "plan.toml"
    path.write_text(f'name = "p"\n[data]\nexamples = "eval.jsonl"\ntemplate = "{template}"\n{models}')
    return read_plan(path)


def test_the_plan_names_a_text_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "question.jinja").write_text("{{ doc }}\n{{ ask }}\n")
    for template in ("question.jinja", "{{ doc }}\\n{{ ask }}"):
        data = plan(tmp_path, template).data
        [example] = read_examples(data.examples, data.fields)
        assert example.query == "Swifts nest in towers.\nWhere?"
