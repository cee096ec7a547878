"""Examples are read from every shape and file kind that people have, and broken ones are named by line."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pyarrow.ipc
import pyarrow.parquet
import pytest

from engine.data.example import Example, eval_set_version, normalise
from engine.data.examples import read_examples
from engine.errors import BadInput

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi?"}]


def one(tmp_path: Path, record: Any, fields: Mapping[str, str] | None = None) -> Example:
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps(record) + "\n", "utf-8")
    [example] = read_examples(path, fields)
    return example


def refused(tmp_path: Path, content: str | bytes, name: str = "x.jsonl") -> str:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadInput) as error:
        read_examples(path)
    return str(error.value)


@pytest.mark.parametrize(
    ("record", "query", "references"),
    [
        ({"instruction": "Sum up", "input": "A text", "output": "Short"}, "Sum up\n\nA text", ("Short",)),
        ({"instruction": "Say hi", "input": "", "output": "hi"}, "Say hi", ("hi",)),
        ({"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}, "Q", ("A",)),
        ({"messages": [*CHAT, {"role": "assistant", "content": "Hello"}]}, "Hi?", ("Hello",)),
        ({"messages": CHAT}, "Hi?", ()),
        ({"messages": CHAT, "reference": "Hey"}, "Hi?", ("Hey",)),
        (
            {"messages": [*CHAT, {"role": "assistant", "content": "Yo"}], "reference": "Hey"},
            "Hi?",
            ("Hey", "Yo"),
        ),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "parts"}]}]}, "parts", ()),
        ({"prompt": "Q", "completion": "A"}, "Q", ("A",)),
        ({"prompt": "Q", "completion": "A", "label": True}, "Q", ("A",)),
        ({"prompt": "Q", "completion": "A", "label": False}, "Q", ()),
        ({"prompt": "Q", "completion": "A", "label": "False"}, "Q", ()),
        ({"prompt": "Q", "completion": "false", "label": "false"}, "Q", ("false",)),
        ({"prompt": CHAT, "completion": [{"role": "assistant", "content": "A"}], "label": False}, "Hi?", ()),
        ({"messages": [*CHAT, {"role": "assistant", "content": "A"}], "kto_tag": False}, "Hi?", ()),
        ({"prompt": CHAT, "completion": [{"role": "assistant", "content": "A"}]}, "Hi?", ("A",)),
        ({"query": "Q", "reference": "A"}, "Q", ("A",)),
        ({"query": "Q", "references": ["A", "B", "A"]}, "Q", ("A", "B")),
        ({"question": "Q", "reference_answer": "A"}, "Q", ("A",)),
        ({"question": "Q", "answer": 42}, "Q", ("42",)),
        ({"question": "Q", "answer": True}, "Q", ("true",)),
        ({"question": "Q", "answer": {"größe": 1}}, "Q", ('{"größe": 1}',)),
        ({"question": "Q", "response": "A"}, "Q", ("A",)),
        ({"question": "Q", "answer": ""}, "Q", ()),
        ({"question": "Q", "answer": None}, "Q", ()),
        ({"turns": ["T1", "T2"], "reference": ["R1", "R2"], "question_id": 81}, "T1", ("R1",)),
        ({"query": 7, "reference": ["1.50", 2]}, "7", ("1.50", "2")),
    ],
)
def test_known_shapes(tmp_path: Path, record: Any, query: str, references: tuple[str, ...]) -> None:
    example = one(tmp_path, record)
    assert (example.query, example.references) == (query, references)
    assert example.messages[-1] == {"role": "user", "content": query}


def test_system_turns_are_kept_and_the_answer_is_not_in_the_prompt(tmp_path: Path) -> None:
    example = one(tmp_path, {"messages": [*CHAT, {"role": "assistant", "content": "Hello"}]})
    assert example.messages == tuple(CHAT)
    assert one(tmp_path, {"system": "S", "query": "Q"}).messages[0] == {"role": "system", "content": "S"}


def test_everything_an_example_may_have(tmp_path: Path) -> None:
    record = {
        "id": 7,
        "query": "Q",
        "label": 1,
        "category": "billing",
        "schema": {"type": "object"},
        "tests": ["assert f(1) == 1"],
        "group": 12,
        "source": "crm",
    }
    example = one(tmp_path, record)
    assert (example.id, example.label, example.category, example.group) == ("7", "1", "billing", "12")
    assert (example.schema, example.tests) == ({"type": "object"}, ("assert f(1) == 1",))
    assert (example.extra, example.line) == ({"source": "crm"}, 1)


def test_mapped_columns_win_over_what_the_keys_suggest(tmp_path: Path) -> None:
    record = {"query": "an SQL query", "ticket": "Help", "gold": "Done", "answer": "no", "kind": "k"}
    example = one(tmp_path, record, {"query": "ticket", "reference": "gold", "category": "kind"})
    assert (example.query, example.references, example.category) == ("Help", ("Done",), "k")


def test_a_mapped_column_that_no_record_has_is_named_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r'no record has the column "tikcet"(.|\n)*question, ticket'):
        one(tmp_path, {"question": "Q", "ticket": "T"}, {"query": "tikcet"})


def test_ids_are_given_by_the_question_and_copies_are_numbered(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"query": "Where is it?"}\n{"query": "where is  IT?"}\n{"query": "Other"}\n')
    first, second, third = read_examples(path)
    assert second.id == f"{first.id}-2"
    assert len({first.id, third.id}) == 2 and len(third.id) == 12


def test_an_id_that_stands_twice_names_both_lines(tmp_path: Path) -> None:
    message = refused(tmp_path, '{"id": "a", "query": "1"}\n\n{"id": "a", "query": "2"}\n')
    assert 'x.jsonl:3: id "a" is already the id of line 1' in message
    assert "already the id" in refused(tmp_path, '[{"id": 1, "query": "1"}, {"id": 1, "query": "2"}]')


GOOD = '{"query": "fine"}\n'


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"query": "broken', "is not JSON"),
        ('{"query": "a"} {"query": "b"}', "is not JSON"),
        ('"just text"', "found a text, where an object was expected"),
        ("null", "found nothing, where an object was expected"),
        ('{"query": "a", "query": "b"}', "key 'query' appears twice"),
        ('{"query": "half \\ud83d"}', "key 'query' holds half of a character"),
        ('{"query": "a", "meta": {"x": ["\\udc00"]}}', "key 'meta' holds half of a character"),
        ('{"query": "a", "weight": Infinity}', "Infinity is not a JSON value"),
        ('{"query": "a", "weight": 1e999}', "too large"),
        ('{"quary": "a"}', "no query found among its keys: quary"),
        ("{}", "no query found among its keys: none"),
        ('{"query": "  "}', "the query is empty"),
        ('{"query": "", "reference": "a"}', "the query is empty"),
        ('{"query": ["a"]}', "query: found a list, where a text was expected"),
        ('{"messages": [{"role": "narrator", "content": "x"}]}', "messages[0]: found role 'narrator'"),
        ('{"messages": [{"role": "assistant", "content": "x"}]}', "no user turn"),
        ('{"messages": [{"role": "user", "content": null}]}', "content is nothing"),
        ('{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}', "non-text parts"),
        ('{"messages": ["hi"]}', "messages[0]: found a text"),
        pytest.param("[" * 100_000, "nested too deeply", id="deep list"),
        pytest.param('{"query": "a", "x": ' + "[" * 100_000, "nested too deeply", id="deep object"),
    ],
)
def test_a_broken_line_17_is_named(tmp_path: Path, line: str, says: str) -> None:
    message = refused(tmp_path, GOOD * 16 + line + "\n" + GOOD)
    assert "x.jsonl:17: " in message and says in message


def test_conversations_that_end_in_a_system_turn_are_refused(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]
    assert "must be the user's, found the system's" in refused(tmp_path, json.dumps({"messages": turns}))


def test_bytes_that_are_not_utf_8_are_named_by_line(tmp_path: Path) -> None:
    message = refused(tmp_path, GOOD.encode() * 2 + '{"query": "größe"}'.encode("latin-1"))
    assert "x.jsonl:3: is not UTF-8" in message and "iconv" in message


@pytest.mark.parametrize("content", ["", "\n \n", "[]", "\ufeff"])
def test_a_file_without_examples_is_refused(tmp_path: Path, content: str) -> None:
    assert "holds no example" in refused(tmp_path, content)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"gone\.jsonl: no such file"):
        read_examples(tmp_path / "gone.jsonl")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_encodings_and_line_ends_make_no_difference(tmp_path: Path, encoding: str, end: str) -> None:
    lines = ['{"query": "größe \u2028 日本 🙂", "answer": "a"}', "", '{"query": "b"}']
    path = tmp_path / "x.jsonl"
    path.write_bytes((end.join(lines) + end).encode(encoding))
    first, second = read_examples(path)
    assert (first.query, second.query, second.line) == ("größe \u2028 日本 🙂", "b", 3)


def test_nan_is_missing_and_control_characters_and_long_texts_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    long = "x" * 3_000_000
    path.write_text(f'{{"query": "a\\u0000b\tc", "answer": NaN, "score": NaN}}\n{{"query": "{long}"}}\n')
    first, second = read_examples(path)
    assert (first.query, first.references, first.extra) == ("a\0b\tc", (), {"score": None})
    assert second.query == long


def test_a_json_list_names_the_line_of_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('\n[\n  {"query": "a"},\n  {\n    "query": "b"\n  } ]\n')
    assert [(e.query, e.line) for e in read_examples(path)] == [("a", 3), ("b", 4)]
    assert "x.json:3: is not JSON" in refused(tmp_path, '[\n {"query": "a"},\n {"query": }\n]', "x.json")
    assert "x.json:2: found a number" in refused(tmp_path, '[{"query": "a"},\n 3]', "x.json")
    assert "x.json:2: is not JSON" in refused(tmp_path, '[{"query": "a"}\n {"query": "b"}]', "x.json")
    assert "x.json:1: is not JSON" in refused(tmp_path, '[{"query": "a"}', "x.json")
    assert "x.json:2: is not JSON" in refused(tmp_path, '[{"query": "a"}]\n{}', "x.json")
    assert "x.json:2: key 'query' holds half" in refused(tmp_path, '[\n{"query": "\\ud800"}]', "x.json")


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_csv_with_quotes_line_breaks_and_json_cells(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "x.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["id", "question", "references", "category"])
        writer.writerow(["a", 'He said\n"hi", twice', '["one", "two"]', ""])
        writer.writerow(["b", "x" * 200_000, "[see the manual]", "c"])
    first, second = read_examples(path)
    assert (first.query, first.references, first.category) == ('He said\n"hi", twice', ("one", "two"), None)
    assert (second.line, second.references, len(second.query)) == (4, ("[see the manual]",), 200_000)


def test_csv_rows_of_another_width_and_twin_columns_are_named(tmp_path: Path) -> None:
    assert "x.csv:3: has 3 cells" in refused(tmp_path, "query,answer\na,b\nc,d,e\n", "x.csv")
    assert "column 'query' appears twice" in refused(tmp_path, "query,query\na,b\n", "x.csv")
    assert "x.csv:2: is not CSV" in refused(tmp_path, 'query,answer\n"a,b\n', "x.csv")


def test_parquet_and_datasets_folders(tmp_path: Path) -> None:
    chat = [[{"role": "user", "content": "a"}], [{"role": "user", "content": "b"}]]
    table = arrow.table({"messages": chat, "score": [1.5, float("nan")], "answer": ["x", None]})
    arrow.parquet.write_table(table, tmp_path / "x.parquet")
    folder = tmp_path / "set" / "test"
    folder.mkdir(parents=True)
    with arrow.ipc.new_stream(folder / "data-00000-of-00001.arrow", table.schema) as writer:
        writer.write_table(table)
    for path in (tmp_path / "x.parquet", folder):
        first, second = read_examples(path)
        assert (first.query, first.references, second.line) == ("a", ("x",), 2)
        assert second.references == () and second.extra == {"score": None}
    with pytest.raises(BadInput, match=r"holds no \*.arrow(.|\n)*Name one: .*set:test"):
        read_examples(tmp_path / "set")


def test_a_truncated_parquet_file_is_named(tmp_path: Path) -> None:
    assert "x.parquet: is incomplete or damaged parquet data" in refused(
        tmp_path, b"PAR1 and no more", "x.parquet"
    )


def test_the_version_follows_all_content_and_not_order(tmp_path: Path) -> None:
    a, b = one(tmp_path, {"query": "a", "note": 1}), one(tmp_path, {"query": "b"})
    other = one(tmp_path, {"query": "a", "note": 2})
    assert eval_set_version([a, b]) == eval_set_version([b, a])
    # A column of one's own may be what a metric or the generation reads.
    assert eval_set_version([a, b]) != eval_set_version([b, other])
    assert eval_set_version([a, b]) != eval_set_version([a, one(tmp_path, {"query": "b", "answer": "c"})])
    assert eval_set_version([a]) != eval_set_version([a, a])
    assert len(eval_set_version([a])) == 12


def test_normalisation_is_unicode_case_and_white_space() -> None:
    assert normalise("  Ｗhere\u00a0IS\n the Straße? ") == "where is the strasse?"
