import json
from pathlib import Path

import pytest

from tests.cli.conftest import Assay, lines


def test_score_measures_a_file_without_generating(assay: Assay, tmp_path: Path) -> None:
    file = lines(
        tmp_path / "mine.jsonl",
        [
            {"query": "2+2?", "reference": "Four", "response": "four."},
            {"query": "3+3?", "reference": "Six", "response": "seven"},
            {"query": "4+4?", "reference": "Eight", "response": None},
        ],
    )
    done = assay(
        "score", file, "--metrics", "exact_match,token_f1", "--metrics", "length", "--per-example", "--json"
    )
    scores = {score["metric"]: score for score in done.json["scores"]}
    exact = scores["exact_match"]
    assert (exact["model"], exact["value"], exact["n"], exact["missing"]) == ("mine", 0.5, 2, 1)
    assert exact["low"] is not None and "null" in exact["reason"]
    tokens = scores["response_tokens"]
    assert tokens["value"] is None and tokens["n"] == 0 and tokens["reason"]
    each = [row for row in done.json["examples"] if row["metric"] == "exact_match"]
    assert [row["value"] for row in each] == [1.0, 0.0, None]
    assert each[2]["reason"] and all(row["id"] for row in each)
    assert "2 " in assay("score", file, "--metrics", "exact_match").out


def test_score_finds_references_in_another_file(assay: Assay, tmp_path: Path) -> None:
    known = lines(
        tmp_path / "eval.jsonl",
        [{"id": "a", "query": "2+2?", "reference": "4"}, {"query": "3+3?", "answer": "6"}],
    )
    said = lines(
        tmp_path / "said.jsonl", [{"id": "a", "response": "4"}, {"query": " 3+3? ", "response": "7"}]
    )
    done = assay("score", said, "--references", known, "--metrics", "exact_match", "--json")
    assert done.json["scores"][0]["value"] == 0.5
    lines(said, [{"id": "b", "response": "4"}])
    unknown = assay("score", said, "--references", known, "--metrics", "exact_match")
    assert unknown.code == 2 and "said.jsonl:1" in unknown.err


def test_score_checks_a_schema(assay: Assay, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps({"type": "object", "required": ["category"]}))
    file = lines(
        tmp_path / "said.jsonl",
        [{"query": "q", "response": '{"category": 1}'}, {"query": "r", "response": "{}"}],
    )
    done = assay("score", file, "--metrics", "format", "--schema", schema, "--json")
    assert done.json["scores"][0]["value"] == 0.5


@pytest.mark.parametrize(
    ("text", "metrics", "said"),
    [
        ('{"query": "q", "response": "a"}\n{broken\n', "length", "said.jsonl:2"),
        ('{"query": "q"}\n', "length", "said.jsonl:1"),
        ("", "length", "holds no response"),
        ('{"query": "q", "response": "a"}\n', "lenght", "length"),
    ],
)
def test_score_names_what_is_wrong(assay: Assay, tmp_path: Path, text: str, metrics: str, said: str) -> None:
    file = tmp_path / "said.jsonl"
    file.write_text(text)
    done = assay("score", file, "--metrics", metrics)
    assert done.code == 2 and said in done.err


def test_split_keeps_each_record_whole_and_every_one_once(assay: Assay, tmp_path: Path) -> None:
    records = [{"query": f"question {n}", "answer": f"answer {n}", "source": n} for n in range(60)]
    data = lines(tmp_path / "data.jsonl", records)
    done = assay("split", data, "--ratios", "0.5,0.25,0.25", "--out", tmp_path / "splits")
    assert done.code == 0
    parts = [
        [json.loads(line) for line in (tmp_path / "splits" / f"{name}.jsonl").read_text().splitlines()]
        for name in ("train", "validation", "test")
    ]
    assert (
        sorted((record for part in parts for record in part), key=lambda record: record["source"]) == records
    )
    assert all(parts)
    again = assay("split", data, "--out", tmp_path / "splits")
    assert again.code == 2 and "exists already" in again.err


def test_split_keeps_a_group_together_and_refuses_odd_ratios(assay: Assay, tmp_path: Path) -> None:
    records = [{"query": f"question {n}", "answer": "a", "customer": f"c{n % 5}"} for n in range(50)]
    data = lines(tmp_path / "data.jsonl", records)
    assert assay("split", data, "--group", "customer", "--out", tmp_path / "out").code == 0
    seen: dict[str, set[str]] = {}
    for name in ("train", "validation", "test"):
        for line in (tmp_path / "out" / f"{name}.jsonl").read_text().splitlines():
            seen.setdefault(json.loads(line)["customer"], set()).add(name)
    assert all(len(names) == 1 for names in seen.values())
    for ratios in ("0.5,0.5", "0,0,0", "-1,1,1", "a,b,c", "nan,0,1"):
        assert assay("split", data, "--ratios", ratios).code == 2, ratios


def test_leakage_names_the_training_line(assay: Assay, tmp_path: Path) -> None:
    train = lines(
        tmp_path / "train.jsonl",
        [{"query": "other", "answer": "x"}, {"query": "Two and TWO?", "answer": "4"}],
    )
    evaluation = lines(
        tmp_path / "eval.jsonl",
        [{"id": "a", "query": "two  and two?", "answer": "five"}, {"query": "new?", "answer": "no"}],
    )
    found = assay("leakage", train, evaluation, "--json").json
    (leak,) = found["leaks"]
    assert (leak["id"], leak["tier"], leak["train_line"], leak["field"]) == ("a", "identical", 2, "query")
    assert leak["excerpt"] == "Two and TWO?" and leak["score"] == 1.0
    assert found["totals"]["examples"] == 2 and found["totals"]["leaked"] == 1
    assert "1 of 2" in assay("leakage", train, evaluation).out


def test_metrics_says_what_each_measure_means(assay: Assay) -> None:
    declared = {row["measure"]: row for row in assay("metrics", "--json").json}
    assert declared["perplexity"]["direction"] == "lower" and "weights" in declared["perplexity"]["needs"]
    assert declared["format_compliance"]["metric"] == "format"
    assert all(row["meaning"] and row["source"] and row["version"] for row in declared.values())
    assert "rougeL" in assay("metrics").out


def test_init_writes_a_plan_that_reads_and_examples_that_load(assay: Assay, tmp_path: Path) -> None:
    from engine.data.examples import read_examples
    from engine.plan.plan import read_plan

    folder = tmp_path / "new"
    assert assay("init", folder).code == 0
    assert {file.name for file in folder.iterdir()} == {"plan.toml", "eval.jsonl"}
    examples = read_examples(folder / "eval.jsonl")
    assert len(examples) == 8 and all(example.references and example.category for example in examples)
    (folder / "outputs" / "adapter").mkdir(parents=True)
    plan = read_plan(folder / "plan.toml")
    assert [model.name for model in plan.candidates] == ["tuned"]
    before = (folder / "plan.toml").read_text()
    again = assay("init", folder)
    assert again.code == 2 and "exists already" in again.err
    assert (folder / "plan.toml").read_text() == before
