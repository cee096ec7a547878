"""assay score on long files: memory that stays flat, rows as they come, progress beside them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Assay, Ran, lines

ROWS = 60_000
# Scores one file after the other, and says on standard error what the peak of memory was after each, in KiB.
MEASURED = """
import resource, sys
from tui.cli.main import command
for file in sys.argv[1:]:
    assert command(["score", file, "--metrics", "edit_similarity", "--json"]) == 0
    sys.stderr.write(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}\\n")
"""


def write(path: Path, rows: int) -> Path:
    """Two of three answers are right."""
    with path.open("w") as file:
        for place in range(rows):
            said = place if place % 3 else place + 1
            file.write(
                f'{{"id": "e{place}", "query": "{place}?", "reference": "{place}", "response": "{said}"}}\n'
            )
    return path


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    few, many = write(tmp_path / "few.jsonl", 10_000), write(tmp_path / "many.jsonl", ROWS)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, few, many], capture_output=True, text=True, check=True, timeout=120
    )
    (edits,) = json.loads(done.stdout.partition("\n}\n")[2])["scores"]
    assert edits["n"] == ROWS and 2 / 3 < edits["low"] < edits["value"] < edits["high"] < 1
    progress = done.stderr.splitlines()
    before, after = (int(line) for line in progress if line.isdigit())
    assert after - before < 8_000
    assert f"scored {ROWS:,} of {ROWS:,}" in progress


def test_rows_of_every_example_are_one_json_document(assay: Assay, tmp_path: Path) -> None:
    rows = 1001
    done = assay(
        "score", write(tmp_path / "said.jsonl", rows), "--metrics", "exact_match,length", "--per-example",
        "--json",
    )  # fmt: skip
    assert done.code == 0 and done.json.keys() == {"scores", "examples"}
    examples = done.json["examples"]
    exact = [row["value"] for row in examples if row["metric"] == "exact_match"]
    assert exact == [float(place % 3 > 0) for place in range(rows)]
    assert {row["id"] for row in examples} == {f"e{place}" for place in range(rows)}
    assert all(row["reason"] for row in examples if row["value"] is None)
    assert [score["metric"] for score in done.json["scores"]] == [
        "exact_match", "response_words", "response_tokens",
    ]  # fmt: skip


def test_rows_of_every_example_stand_before_the_totals(assay: Assay, tmp_path: Path) -> None:
    file = write(tmp_path / "said.jsonl", 250)
    shown = assay("score", file, "--metrics", "exact_match", "--per-example").out.splitlines()
    assert shown[1].split()[:3] == ["e0", "exact_match", "0.000"]
    assert sum(line.startswith("e") for line in shown) == 251  # the last one is the measure's own
    assert shown[-1].split()[:2] == ["exact_match", "0.664"]


def test_nothing_is_printed_for_a_file_that_is_wrong_at_once(assay: Assay, tmp_path: Path) -> None:
    done = assay(
        "score", lines(tmp_path / "said.jsonl", [{"query": "q"}]), "--metrics", "length", "--per-example",
        "--json",
    )  # fmt: skip
    assert (done.code, done.out) == (2, "") and "said.jsonl:1" in done.err
    assert assay("score", tmp_path / "said.jsonl", "--metrics", " , ").code == 2


def test_a_metric_of_ones_own_scores_a_file(assay: Assay, tmp_path: Path) -> None:
    own = tmp_path / "mine.py"
    own.write_text("def short(example, response): return len(response.text) < 3")
    done = assay("score", write(tmp_path / "said.jsonl", 120), "--metrics", f"{own}:short", "--json")
    assert done.json["scores"][0]["value"] == 99 / 120


def said(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def values(done: Ran) -> dict[str, float | None]:
    return {row["metric"]: row["value"] for row in done.json["scores"]}


def test_settings_of_a_metric_are_given_as_in_a_plan(assay: Assay, tmp_path: Path) -> None:
    file = said(
        tmp_path / "said.jsonl",
        {"query": "a", "label": "no", "response": "Not sure."},
        {"query": "b", "label": "not sure", "response": "not sure, really"},
        {"query": "c", "label": "no", "response": "I know"},
        {"query": "d", "label": "no", "response": "No."},
    )
    labels = 'classification.labels=["no", "not sure"]'
    done = assay("score", file, "--metrics", "classification", "--set", labels, "--json")
    assert done.code == 0
    assert (values(done)["accuracy"], values(done)["label_not_found"]) == (0.5, 0.25)


def test_settings_that_are_wrong_say_how_to_write_them(assay: Assay, tmp_path: Path) -> None:
    file = said(tmp_path / "said.jsonl", {"query": "a", "reference": "x", "response": "x"})
    for wrong, told in (
        ("code.k=[1", "is not TOML"),
        ("labels=3", "names no metric"),
        ("code.k=[1]", "not among --metrics"),
        ("numeric.tolerence=1", "tolerance"),
    ):
        done = assay("score", file, "--metrics", "numeric", "--set", wrong)
        assert done.code == 2 and told in done.err


def test_several_samples_of_mbpp_tasks_have_pass_at_k(assay: Assay, tmp_path: Path) -> None:
    right, wrong = "def add(a, b): return a + b", "def add(a, b): return 3"
    tests = ["assert add(1, 2) == 3", "assert add(0, 0) == 0"]
    file = said(
        tmp_path / "mbpp.jsonl",
        *(
            {"task_id": task, "text": f"Write add, {task}.", "test_list": tests, "response": answer}
            for task, answers in ((1, (right, wrong, wrong)), (2, (right, right, wrong)))
            for answer in answers
        ),
    )
    weak = "code={k=[1, 2], allow_weak=true}"
    done = assay("score", file, "--metrics", "code", "--set", weak, "--json")
    # By hand: pass@1 is (1/3 + 2/3) / 2; pass@2 is (1 - C(2,2)/C(3,2) + 1 - C(1,2)/C(3,2)) / 2.
    assert done.code == 0 and values(done)["pass_at_1"] == 0.5
    assert abs((values(done)["pass_at_2"] or 0) - (2 / 3 + 1) / 2) < 1e-12


@pytest.mark.parametrize("form", ["responses", "samples", "rows", "rows apart"])
def test_several_answers_to_an_example_are_scored_as_a_run_scores_its_samples(
    assay: Assay, tmp_path: Path, form: str
) -> None:
    answers = {"a": ["4", "4", "5", "4"], "b": ["6", "7", "7", None], "c": ["1", "2"]}
    tasks = {name: {"id": name, "query": f"{name}?", "reference": "4"} for name in answers}
    tasks["b"]["reference"] = "6"
    rows = [{**tasks[name], "response": text} for name, texts in answers.items() for text in texts]
    if form in ("responses", "samples"):
        rows = [{**tasks[name], form: texts} for name, texts in answers.items()]
    elif form == "rows apart":
        rows = [*rows[1::2], *rows[::2]]
    file = said(tmp_path / "said.jsonl", *rows)
    done = assay(
        "score", file, "--metrics", "exact_match", "--pass-k=1", "--pass-k=2", "--json", "--per-example"
    )
    scores = {row["metric"]: row for row in done.json["scores"]}
    assert done.code == 0 and done.json["samples"] == 4
    # By hand: a passes 3 of 4, b 1 of 3 (one is missing), c none of 2; the votes are 4, 7 and a tie.
    expected = {
        "exact_match": (3 / 4 + 1 / 3 + 0) / 3, "pass@1:exact_match": (3 / 4 + 1 / 3 + 0) / 3,
        "pass@2:exact_match": (1 + 2 / 3 + 0) / 3, "pass^1:exact_match": (3 / 4 + 1 / 3 + 0) / 3,
        "pass^2:exact_match": (3 / 6 + 0 + 0) / 3, "maj@4:exact_match": 1 / 3,
    }  # fmt: skip
    assert {name: row["value"] for name, row in scores.items()} == pytest.approx(expected)
    assert {row["n"] for row in scores.values()} == {3}
    reasons = {row["id"]: row["reason"] for row in done.json["examples"] if row["metric"] == "exact_match"}
    assert "null" in reasons["b"] and "only 2 of 4 samples" in reasons["c"]


def test_a_stray_copy_of_an_answer_is_no_sample(assay: Assay, tmp_path: Path) -> None:
    rows = [
        {"id": f"e{place}", "query": f"{place}?", "reference": "4", "response": "4"} for place in range(5)
    ]
    file = said(tmp_path / "said.jsonl", *rows, rows[2])
    wrong = assay("score", file, "--metrics", "length")
    assert wrong.code == 2 and 'said.jsonl:6: answers "e2" again after line 3' in wrong.err
    assert "only 1 of 5 examples have more than one answer" in wrong.err


def test_rows_that_share_an_id_and_ask_something_else_are_no_samples(assay: Assay, tmp_path: Path) -> None:
    rows = [{"id": "maths", "query": f"{place}?", "reference": "4", "response": "4"} for place in range(3)]
    done = assay("score", said(tmp_path / "said.jsonl", *rows), "--metrics", "exact_match", "--json").json
    assert [(row["metric"], row["n"]) for row in done["scores"]] == [("exact_match", 3)]


def test_rows_that_share_an_id_and_a_question_are_judged_by_what_each_expects(
    assay: Assay, tmp_path: Path
) -> None:
    tool = {"type": "function", "function": {"name": "a", "parameters": {"type": "object", "properties": {}}}}
    row = {"id": "weather", "query": "Rain?", "tools": [tool], "response": "No call."}
    calls = [[{"a": {}}], []]
    rows = [{**row, "ground_truth": due} for due in calls]
    file = said(tmp_path / "said.jsonl", *rows)
    done = assay("score", file, "--metrics", "tool_calls", "--json").json
    found = {score["metric"]: (score["value"], score["n"]) for score in done["scores"]}
    assert found["tool_made"] == (0.0, 1) and found["tool_abstained"] == (1.0, 1)


def test_lists_of_answers_that_are_wrong_name_their_line(assay: Assay, tmp_path: Path) -> None:
    file = said(
        tmp_path / "said.jsonl", {"query": "a", "responses": ["x", "y"]}, {"query": "b", "responses": [1]}
    )
    wrong = assay("score", file, "--metrics", "length")
    assert wrong.code == 2 and "said.jsonl:2: its `responses` are not a list of texts" in wrong.err
    file = said(tmp_path / "said.jsonl", {"query": "a", "responses": ["x", "y"]})
    wrong = assay("score", file, "--metrics", "length", "--pass-k=3")
    assert wrong.code == 2 and "--pass-k 3: the file has up to 2 answers" in wrong.err


def test_the_first_lines_of_a_failed_programs_standard_error_stand_in_reasons_and_totals(
    assay: Assay, tmp_path: Path
) -> None:
    said = r"'\x1b[2Jnot\n\n sorted yet \nyet\nnever shown'"
    program = f"import sys\ndef f():\n    print({said}, file=sys.stderr)\n    return 1"
    task = {"id": "a", "query": "One?", "tests": ["assert f() == 2"], "response": program}
    file = lines(tmp_path / "said.jsonl", [task])
    done = assay("score", file, "--metrics", "code", "--per-example", "--json").json
    if "isolation" not in done["examples"][0]["reason"]:
        pytest.skip("this kernel gives no namespaces here")
    told = "(stderr: \x1b[2Jnot ⏎ sorted yet ⏎ yet)"
    assert told in done["examples"][0]["reason"] and "never" not in done["examples"][0]["reason"]
    assert told in done["scores"][0]["notes"][0]["reason"]
    shown = assay("score", file, "--metrics", "code").out
    assert "sorted yet" in shown and "\x1b" not in shown


def test_the_columns_of_other_tools_are_read(assay: Assay, tmp_path: Path) -> None:
    """`model_response` by itself, and any other by its name."""
    file = said(tmp_path / "a.jsonl", {"query": "q", "reference": "Lenn", "model_response": "Lenn"})
    assert values(assay("score", file, "--metrics", "exact_match", "--json")) == {"exact_match": 1.0}
    file = said(tmp_path / "b.jsonl", {"asked": "q", "gold": "Lenn", "out": "Lenn", "response": "no"})
    columns = [f"--field={name}" for name in ("query=asked", "reference=gold", "response=out")]
    done = assay("score", file, "--metrics", "exact_match", "--json", *columns)
    assert values(done) == {"exact_match": 1.0}
    wrong = assay("score", file, "--metrics", "exact_match", "--field", "respons=out")
    assert wrong.code == 2 and "NAME is one of response, id, query" in wrong.err
    missing = assay(
        "score", file, "--metrics", "exact_match", "--field", "response=text", "--field=query=asked"
    )
    assert missing.code == 2 and "b.jsonl:1: has no 'text'" in missing.err


def test_a_classifiers_table_stands_below_its_totals(assay: Assay, tmp_path: Path) -> None:
    rows = [("no", "no"), ("no", "yes"), ("yes", "yes"), ("yes", "who knows")]
    file = said(
        tmp_path / "said.jsonl",
        *(
            {"query": str(place), "label": label, "response": text}
            for place, (label, text) in enumerate(rows)
        ),
    )
    told = ("--metrics", "classification", "--set", 'classification.labels=["no", "yes"]')
    shown = assay("score", file, *told).out
    assert "examples by label and answer" in shown and "→ not found" in shown
    classes = {row["label"]: row for row in assay("score", file, *told, "--json").json["classes"]}
    assert classes["no"] == {
        "label": "no", "precision": 1.0, "recall": 0.5, "f1": 2 / 3, "support": 2, "answers": [1, 1, 0],
    }  # fmt: skip
    assert classes["yes"]["answers"] == [0, 1, 1]


def test_the_commonest_reasons_beside_values_stand_at_the_totals(assay: Assay, tmp_path: Path) -> None:
    rows = ({"query": str(place), "response": text} for place, text in enumerate(["1", "x", "y", ""]))
    file = said(tmp_path / "said.jsonl", *rows)
    shown = assay("score", file, "--metrics", "format").out
    assert "json_parse: 2 × not JSON: Expecting value" in shown
    (*_, parsed) = assay("score", file, "--metrics", "format", "--json").json["scores"]
    assert [note["n"] for note in parsed["notes"]] == [2, 1]
