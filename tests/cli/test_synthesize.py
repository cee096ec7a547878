"""Questions that a model writes, from the command line: on a server, and on this machine."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Assay, lines
from tests.judges.conftest import server as server
from tests.judges.local_model import START, make_judge
from tests.judges.scripted import JudgeServer, says

WRITTEN = {"question": "Who carries parcels to Norway in winter?", "answer": "A boat."}


@pytest.fixture
def topics(tmp_path: Path) -> Path:
    file = tmp_path / "topics.txt"
    file.write_text("Parcels to Norway\n")
    return file


def test_a_served_model_writes_and_a_person_accepts(
    assay: Assay, server: JudgeServer, topics: Path, tmp_path: Path
) -> None:
    server.answers(says(json.dumps(WRITTEN)))
    store = ("--store", tmp_path / "store")
    words = ("synthesize", topics, "--kind", "topics", "--model", "writer", "--server", server.url)
    found = assay(*words, "--count", "2", "--out", tmp_path / "new.jsonl", *store)
    assert found.code == 0 and "1 new proposal for" in found.out and "written by writer" in found.out
    assert "left out 1: another proposal asks it" in found.out
    assert "2 answers, 0 of them from the cache; 200 tokens in, 20 out, cost unknown" in found.out
    again = assay(*words, "--count", "2", "--out", tmp_path / "new.jsonl", "--json", *store).json
    assert (again["cached"], again["new"], again["shifts"]) == (2, [], [])
    assert again["left_out"] == {"proposed before": 2}
    assert "synthetic" in assay("traffic", "proposals", *store).out
    edited = assay("traffic", "edit", "1", "--question", "Who carries parcels to Norway?", *store)
    assert "1 has its question" in edited.out
    assert "1 example, 1 of them synthetic" in assay("traffic", "accept", "1", *store).out
    told = assay("traffic", "pairs", "--sft", tmp_path / "sft.jsonl", *store).out
    assert "1 synthetic example left out: in the eval set" in told and "correction" not in told
    row = json.loads((tmp_path / "new-v1.jsonl").read_text())
    assert row["synthetic"]["edited"] and row["synthetic"]["server"] == server.url
    split = assay("split", tmp_path / "new-v1.jsonl", "--ratios", "1,0,0", "--out", tmp_path / "split")
    assert split.code == 0
    kept = [json.loads(line) for line in (tmp_path / "split/train.jsonl").read_text().splitlines()]
    assert kept[0]["synthetic"] == row["synthetic"]


def test_a_model_on_this_machine_that_writes_nonsense_is_told_with_counts(
    assay: Assay, topics: Path, tmp_path: Path
) -> None:
    model = make_judge(tmp_path / "model", {START: {"Perhaps": 1.0}})
    found = assay(
        *("synthesize", topics, "--kind", "topics", "--model", model, "--count", "3"),
        *("--out", tmp_path / "new.jsonl", "--store", tmp_path / "store"),
    )
    assert found.code == 3 and "0 new proposals" in found.out
    assert "left out 3: the answer holds no JSON object with a question" in found.out
    assert "none of the 3 answers could be used" in found.err and "larger model" in found.err


def test_what_is_wrong_is_said_in_a_line(assay: Assay, topics: Path, tmp_path: Path) -> None:
    eval_set = lines(tmp_path / "eval.jsonl", [{"query": "Why?", "reference": "So."}])
    given = ("--model", "none/such", "--out", eval_set, "--store", tmp_path / "store")
    for words, told in (
        (("--kind", "adversarial"), "needs --rubric and --rule"),
        (("--kind", "edge", "--rule", "x", "--rubric", "safety"), "needs --rubric and --rule"),
        (("--kind", "adversarial", "--rubric", "safety", "--rule", "x"), "its rules: harmlessness"),
        (("--kind", "edge", "--api-key-env", "KEY"), "add --server URL"),
        (("--kind", "documents"), "needs a source"),
    ):
        found = assay("synthesize", *words, *given)
        assert found.code == 2 and told in found.err and "Traceback" not in found.err
