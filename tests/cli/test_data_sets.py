"""What was understood of a file, and which versions of eval sets there are."""

from pathlib import Path

import pytest

from engine.compare.comparable import SharedSets
from engine.data.example import Example
from engine.data.split import assign, member
from tests.cli.conftest import Assay, lines


def test_a_preview_says_what_was_understood_and_what_was_not(assay: Assay, tmp_path: Path) -> None:
    file = lines(
        tmp_path / "mixed.jsonl",
        [
            {"id": "a", "question": "2+2?", "answer": "4", "source": "web"},
            {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]},
            {"question": "2+2?", "answer": "5"},
            {"other": "x"},
            {"id": "a", "question": "3+3?"},
        ],
    )
    found = assay("preview", file, "--json").json
    assert (found["read"], found["with_references"]) == (3, 3)
    assert [(shape["name"], shape["records"]) for shape in found["shapes"]] == [
        ("pairs (question, answer)", 2),
        ("OpenAI chat (messages)", 1),
    ]
    assert found["columns"]["query"] == {"question": 2, "messages": 1}
    assert found["columns"]["references"] == {"answer": 2, "messages, its last turn": 1}
    assert found["kept"] == {"source": 1} and found["conflicts"] == [[1, 3]] and found["copies"] == []
    assert sum(found["by_split"].values()) == 3
    first, second = found["skipped"]
    assert "mixed.jsonl:4: no query found" in first and "mixed.jsonl:5" in second and "id of line 1" in second
    shown = assay("preview", file).out
    assert "The shapes are mixed" in shown and "line 3 (as 1)" in shown and "mixed.jsonl:4" in shown


def test_a_preview_of_nothing_readable_names_the_reason(assay: Assay, tmp_path: Path) -> None:
    log = lines(tmp_path / "log.jsonl", [{"text": "where is it?"}])
    refused = assay("preview", log)
    assert (
        refused.code == 2 and "log.jsonl:1: no query found" in refused.err and "--field query=" in refused.err
    )
    assert assay("preview", log, "--field", "query=text", "--json").json["read"] == 1
    assert assay("preview", log, "--training", "--json").json["read"] == 1
    assert assay("preview", log, "--field", "qery=text").code == 2


def test_versions_of_two_files_differ_by_what_changed(assay: Assay, tmp_path: Path) -> None:
    rows = [{"id": f"e{n}", "query": f"question {n}", "reference": "x"} for n in range(4)]
    old = lines(tmp_path / "old.jsonl", rows)
    edited = [{**rows[0], "reference": "y"}, *rows[1:3], {"id": "e9", "query": "new", "reference": "x"}]
    new = lines(tmp_path / "new.jsonl", list(reversed(edited)))
    nowhere = tmp_path / "nowhere"
    found = assay("versions", old, new, "--json", "--store", nowhere).json
    assert [row["id"] for row in found["added"]] == ["e9"] and [row["id"] for row in found["removed"]] == [
        "e3"
    ]
    assert [(row["id"], row["changed"]) for row in found["edited"]] == [("e0", ["references"])]
    assert found["unchanged"] == 2
    shown = assay("versions", old, new, "--store", nowhere).out
    assert "1 added, 1 removed, 1 edited, 2 unchanged" in shown and "references: question 0" in shown
    assert "the same examples" in assay("versions", old, old, "--store", nowhere).out
    unknown = assay("versions", "abcd", "--store", nowhere)
    assert unknown.code == 2 and "is not a file, nor a version or run" in unknown.err


def test_versions_of_a_store_name_their_runs(assay: Assay, history_store: Path) -> None:
    rows = assay("versions", "--store", history_store, "--json").json
    assert rows and all(row["runs"] and row["examples"] for row in rows)
    version, run = rows[0]["version"], rows[0]["runs"][0]
    assert assay("versions", version[:6], "--store", history_store, "--json").json["version"] == version
    same = assay("versions", version, run, "--store", history_store, "--json").json
    assert same["added"] == same["removed"] == same["edited"] == []


def test_a_comparison_says_how_many_examples_it_rests_on() -> None:
    said = SharedSets("aaa", "bbb", 180, 3, 2, 0).said
    assert "from version aaa to bbb: only the 180 shared examples" in said
    assert "3 were edited" in said and "2 only the older run" in said and "newer run evaluated" not in said
    assert SharedSets("aaa", "aaa", 200, 0, 0, 0).said == ""
    assert "not the same part" in SharedSets("aaa", "aaa", 100, 0, 100, 100).said
    assert SharedSets("aaa", None, 0, 0, 200, 0).said == ""  # a run of benchmarks alone


@pytest.mark.parametrize("ratios", [(0.5, 0.2, 0.3), (1.0,) * 4])
def test_turns_of_one_conversation_stay_together(ratios: tuple[float, ...]) -> None:
    def turn(role: str, content: str) -> dict[str, str]:
        return {"role": role, "content": content}

    rows = []
    for n in range(60):
        start = (turn("user", f"question {n}"),)
        more = (*start, turn("assistant", f"answer {n}"), turn("user", "Go on, please"))
        rows += [
            Example(f"{n}-a", f"question {n}", start, references=(f"answer {n}",)),
            Example(f"{n}-b", "Go on, please", more),
        ]
    places = assign([member(row) for row in rows], ratios)
    assert places[::2] == places[1::2] and len(set(places)) == len(ratios)


def test_ratios_may_be_any_three_numbers(assay: Assay, tmp_path: Path) -> None:
    data = lines(tmp_path / "d.jsonl", [{"query": f"q{n}"} for n in range(200)])
    shares = [
        assay("split", data, "--ratios", text, "--json").json for text in ("8,1,1", "0.8,0.1,0.1", "80,10,10")
    ]
    assert shares[0] == shares[1] == shares[2]
    assert shares[0]["version"] is None and shares[0]["reason"]


def test_no_training_data_is_no_clean_bill(assay: Assay, tmp_path: Path) -> None:
    asked = lines(tmp_path / "eval.jsonl", [{"query": "Where is it?"}])
    nothing = tmp_path / "empty.jsonl"
    nothing.write_text("")
    done = assay("leakage", nothing, asked)
    assert done.code == 2 and "has no readable row" in done.err
    nothing.write_text("oops\n")
    assert assay("leakage", nothing, asked, "--skip-bad").code == 2


def test_rows_left_out_are_counted_in_the_eval_set_too(assay: Assay, tmp_path: Path) -> None:
    train = lines(tmp_path / "train.jsonl", [{"query": "Where is it?", "answer": "Here."}])
    asked = tmp_path / "eval.jsonl"
    asked.write_text('{"id": "a", "query": "Where is it?"}\n{"id": "a", "query": "Who?"}\n{"query": \n')
    assert assay("leakage", train, asked).code == 2
    done = assay("leakage", train, asked, "--skip-bad", "--json")
    assert done.json["totals"]["examples"] == 1 and len(done.json["skipped"]) == 2
    assert f"{asked}:2" in done.json["skipped"][0] and f"{asked}:3" in done.json["skipped"][1]


def test_templates_are_not_told_as_duplicates(assay: Assay, tmp_path: Path) -> None:
    rows = [
        {"query": f"Where in all the world is my order {place} now?", "reference": f"It is in hall {place}."}
        for place in (17, 18, 19)
    ]
    file = lines(tmp_path / "eval.jsonl", rows)
    other = lines(tmp_path / "train.jsonl", [{"query": "Something else", "answer": "Yes"}])
    assert assay("leakage", other, file, "--json").json["duplicates"] == []


def test_an_empty_split_and_a_question_beyond_any_context_are_told(assay: Assay, tmp_path: Path) -> None:
    one = lines(tmp_path / "one.jsonl", [{"query": f"q {n}", "thread": "x"} for n in range(20)])
    assert "test is empty: 1 groups of rows" in assay("split", one, "--group", "thread").err
    huge = lines(tmp_path / "huge.jsonl", [{"query": "word " * 2_100_000}])
    done = assay("coverage", huge)
    assert done.code == 2 and "huge.jsonl:1: the query has 10,500,000 characters" in done.err


def test_questions_of_function_words_alone_can_be_surveyed(assay: Assay, tmp_path: Path) -> None:
    asked = [{"query": "What is up?", "reference": "1"}, {"query": "Who is it?", "reference": "2"}]
    file = lines(tmp_path / "eval.jsonl", [*asked, {"query": "what is  up?", "reference": "3"}])
    assert assay("coverage", file, "--json").json["conflicts"] == [[1, 3]]
