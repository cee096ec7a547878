"""A run leaves for the Hub, a model card and Every Eval Ever with the numbers that it has."""

import hashlib
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries

from engine.errors import BadInput
from engine.formats.sharing import _asked, share
from store import database, records
from store.read import history
from store.write import one_transaction
from tests.engine.runs import carry_out, queue, recorded_plan
from tests.tui.history import build
from tui.cli.main import command, guarded

SCHEMAS = Path(__file__).parent / "every_eval_ever"
EXAMPLES: list[dict[str, Any]] = [
    {"id": f"e{n}", "query": f"Was ist {n}\x1b[31m und {n}?", "reference": f"It is {2 * n}."}
    for n in range(8)
]
ANSWERS = {
    "base": {f"e{n}": f"It is {2 * n}." if n % 2 else "No idea." for n in range(8)},
    "tuned": {f"e{n}": f"It is {2 * n}." for n in range(8)},
}


def connected(store: Path) -> history.Connection:
    return history.attach(database.connect(store))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    metrics = '[metrics]\nuse = ["rouge", "exact_match", "length"]\n'
    plan = recorded_plan(tmp_path, EXAMPLES, ANSWERS, metrics)
    carry_out(tmp_path / "store", queue(tmp_path / "store", plan))
    return tmp_path / "store"


def schema(name: str) -> Any:
    return jsonschema.Draft7Validator(json.loads((SCHEMAS / f"{name}.schema.json").read_text()))


def test_every_eval_ever_takes_the_records_with_their_intervals(store: Path, tmp_path: Path) -> None:
    scores = {(row.model, row.measure): row for row in history.model_scores(connected(store), 1)}
    found = share("every-eval-ever", connected(store), 1, tmp_path / "out")
    files = sorted((tmp_path / "out/data/recorded/local").glob("*/*[0-9a-f].json"))
    assert len(files) == 2
    for file in files:
        record = json.loads(file.read_text())
        schema("eval").validate(record)
        model = record["model_info"]["name"]
        told = {row["metric_config"]["metric_id"]: row for row in record["evaluation_results"]}
        own = {measure: row for (name, measure), row in scores.items() if name == model}
        assert {name for name, row in own.items() if row.value is not None} == told.keys() - {
            "win rate over base by reference"
        }
        for name in told.keys() & own.keys():
            assert told[name]["score_details"]["score"] == own[name].value
        spread = told["rougeL"]["score_details"]["uncertainty"]
        low, high = own["rougeL"].low, own["rougeL"].high
        assert spread["confidence_interval"] == {"lower": low, "upper": high, "confidence_level": 0.95}
        assert (spread["num_samples"], told["rougeL"]["metric_config"]["max_score"]) == (8, 1.0)
        assert told["response_words"]["metric_config"]["max_score"] == "Infinity"
        _samples_match(file, record)
    assert any("response_tokens" in line and "base" in line for line in found.left_out)
    again = share("every-eval-ever", connected(store), 1, tmp_path / "again")
    assert [path.read_bytes() for path in again.files] == [path.read_bytes() for path in found.files]


def _samples_match(file: Path, record: dict[str, Any]) -> None:
    named = record["detailed_evaluation_results"]
    lines = (file.parent / Path(named["file_path"]).name).read_bytes()
    assert named["checksum"] == hashlib.sha256(lines).hexdigest()
    rows = [json.loads(line) for line in lines.splitlines()]
    assert named["total_rows"] == len(rows) and b"\x1b" not in lines
    check = schema("instance_level_eval")
    results = {row["evaluation_result_id"]: row for row in record["evaluation_results"]}
    for row in rows:
        check.validate(row)
    exact = [row for row in rows if row["evaluation_result_id"] == "examples.jsonl/exact_match"]
    assert len(exact) == 8, "a line for each example"
    mean = sum(row["evaluation"]["score"] for row in exact) / len(exact)
    assert mean == results["examples.jsonl/exact_match"]["score_details"]["score"]
    assert all(row["evaluation"]["is_correct"] == (row["evaluation"]["score"] == 1) for row in exact)
    assert not any("response_words" in row["evaluation_result_id"] for row in rows), (
        "it says not right or wrong"
    )


def test_a_benchmark_in_percent_has_no_bounds_of_a_share(store: Path, tmp_path: Path) -> None:
    benchmarked(store, task="squadv2", metric="f1", filter="none", value=71.5)
    benchmarked(store, task="coqa", metric="f1", filter="none", value=0.715)
    share("every-eval-ever", connected(store), 1, tmp_path / "out")
    (record,) = (json.loads(path.read_text()) for path in (tmp_path / "out").rglob("tuned/*[0-9a-f].json"))
    bounds = {row["evaluation_name"]: row["metric_config"].get("max_score")
              for row in record["evaluation_results"]}  # fmt: skip
    assert bounds["squadv2"] is None and bounds["coqa"] == 1
    schema("eval").validate(record)


def test_a_conversation_is_its_messages() -> None:
    stored = {
        "example": "c",
        "query": "And now?",
        "references": ["Bye."],
        "extra": {"turns": ["Hello?", "And now?"]},
    }
    found = _asked(stored, {"text": "Bye.", "turns": ["Hi.", "Bye."], "thinking": None})
    assert [turn["content"] for turn in found["messages"]] == ["Hello?", "Hi.", "And now?", "Bye."]
    assert found["interaction_type"] == "multi_turn" and found["output"] is None


@pytest.mark.parametrize("kind", ["model-index", "every-eval-ever"])
def test_no_model_takes_the_file_of_another(kind: str, store: Path, tmp_path: Path) -> None:
    with closing(database.connect(store)) as connection, connection:
        connection.execute("UPDATE model SET name = iif(name = 'base', 'tuned:1', 'tuned_1')")
    with pytest.raises(BadInput, match="would be written twice"):
        share(kind, connected(store), 1, tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_a_model_card_takes_the_index(store: Path, tmp_path: Path) -> None:
    share("model-index", connected(store), 1, tmp_path / "out")
    text = (tmp_path / "out/tuned/model-index.yaml").read_text()
    card = ModelCard(f"---\n{text}---\n# tuned\n")
    results = {item.metric_type: item for item in card.data.eval_results}
    score = next(
        row
        for row in history.model_scores(connected(store), 1)
        if (row.model, row.measure) == ("tuned", "rougeL")
    )
    assert results["rougeL"].metric_value == score.value and "95% CI" in results["rougeL"].metric_name
    assert "response_tokens" not in results


def benchmarked(store: Path, **changes: Any) -> None:
    row = {
        **{"task": "gsm8k", "metric": "exact_match", "filter": "flexible-extract", "value": 0.625},
        **{"stderr": 0.01, "n": 1319, "version": "3", "shots": 5, "higher_is_better": True},
    }
    model = history.models(connected(store), 1)[-1].id
    with one_transaction(store) as transaction:
        transaction.append(records.StoredBenchmarkScore(model_id=model, **(row | changes)))


def test_the_hub_takes_whole_benchmarks_that_have_a_leaderboard(store: Path, tmp_path: Path) -> None:
    benchmarked(store)
    benchmarked(store, filter="strict-match", value=0.5)
    benchmarked(store, task="gpqa_diamond_zeroshot", metric="acc", filter="none", n=198, value=0.25)
    benchmarked(store, task="mmlu_pro", filter="custom-extract", n=200)
    benchmarked(store, task="arc_easy", metric="acc", filter="none")
    found = share("hf-eval-results", connected(store), 1, tmp_path / "out")
    (file,) = found.files
    assert file == tmp_path / "out/tuned/.eval_results/assay.yaml"
    entries = {item.dataset_id: item for item in parse_eval_result_entries(yaml.safe_load(file.read_text()))}
    assert {(item.dataset_id, item.task_id, item.value) for item in entries.values()} == {
        ("openai/gsm8k", "gsm8k", 50.0),
        ("Idavidrein/gpqa", "diamond", 25.0),
    }
    assert "strict-match" in str(entries["openai/gsm8k"].notes) and entries["openai/gsm8k"].date
    said = "\n".join(found.left_out)
    assert "200 of 12,032 questions" in said and "arc_easy acc: its data set has no leaderboard" in said


def test_a_run_without_such_a_benchmark_is_refused(store: Path, tmp_path: Path) -> None:
    benchmarked(store, n=10)
    with pytest.raises(BadInput, match="10 of 1,319 questions"):
        share("hf-eval-results", connected(store), 1, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_runs_with_judges_benchmarks_and_corpora_are_valid_too(tmp_path: Path) -> None:
    store = build(tmp_path / "store")
    found = share("every-eval-ever", connected(store), 2, tmp_path / "out")
    files = [path for path in (tmp_path / "out").rglob("*.json") if path.is_file()]
    assert len(set(found.files)) == len(found.files), "models of the same files have their own records"
    kinds: set[str] = set()
    for file in files:
        record = json.loads(file.read_text())
        schema("eval").validate(record)
        kinds |= {row["metric_config"]["metric_id"].split(" ")[0] for row in record["evaluation_results"]}
    assert {"win", "acc"} <= kinds


def test_the_command_says_what_it_wrote_and_left_out(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["last", str(tmp_path / "out"), "--store", str(store)]
    assert guarded(lambda: command(["export", "every-eval-ever", *words])) == 0
    told = capsys.readouterr().out
    assert "left out: base, response_tokens" in " ".join(told.split()) and told.count("wrote ") == 4
    assert guarded(lambda: command(["export", "every-eval", *words])) == 2
    assert "every-eval-ever" in capsys.readouterr().err
