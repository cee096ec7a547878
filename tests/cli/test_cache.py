"""The commands that report on kept answers and on noise."""

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from engine.models.fingerprint import ResponseCache, response_key
from engine.models.model import Response, Settings
from store import records
from store.write import Recorder
from tests.cli.conftest import Assay

DAY = 86_400


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A store with three kept answers, one of them two months old."""
    store = tmp_path / "store"
    with ResponseCache(store / "cache/responses") as cache:
        for place in range(3):
            key = response_key("model", [place], Settings())
            cache.put(key, Response(str(place), "an answer", 1, 2, "stop", 0.1))
        cache.get(key)
    with closing(sqlite3.connect(store / "cache/responses/cache.db")) as database, database:
        database.execute("UPDATE Cache SET store_time = ? WHERE rowid = 1", (time.time() - 60 * DAY,))
    return store


def test_the_report_tells_what_is_kept(assay: Assay, filled: Path) -> None:
    shown = assay("cache", "--store", filled)
    assert shown.code == 0 and "responses" in shown.out
    [kind] = assay("cache", "--json", "--store", filled).json
    assert (kind["kind"], kind["entries"], kind["hits"], kind["misses"]) == ("responses", 3, 1, 0)
    assert kind["newest"] - kind["oldest"] > 59 * DAY


def test_old_answers_are_taken_out(assay: Assay, filled: Path) -> None:
    [gone] = assay("cache", "prune", "--older-than", "30d", "--json", "--store", filled).json
    assert gone["entries"] == 1
    assert (
        "responses: 2 answers removed"
        in assay("cache", "prune", "--max-size", "0.1KB", "--store", filled).out
    )
    assert assay("cache", "--json", "--store", filled).json[0]["entries"] == 0


def test_the_store_may_be_named_before_prune(
    assay: Assay, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(filled.parent)
    assert (
        json.loads(assay("cache", "--store", filled, "prune", "--max-size", "0B", "--json").out)[0]["entries"]
        == 3
    )


def test_a_store_that_kept_nothing_says_so(assay: Assay, tmp_path: Path) -> None:
    assert "nothing is cached yet" in assay("cache", "--store", tmp_path).out
    assert "nothing is cached yet" in assay("cache", "prune", "--max-size", "1GB", "--store", tmp_path).out


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ([], "--older-than 30d"),
        (["--older-than", "30"], "m, h, d, w"),
        (["--max-size", "2 parsecs"], "B, KB, MB"),
    ],
)
def test_what_to_take_out_must_be_said(assay: Assay, filled: Path, options: list[str], found: str) -> None:
    refused = assay("cache", "prune", *options, "--store", filled)
    assert refused.code == 2 and found in refused.err
    assert assay("cache", "--json", "--store", filled).json[0]["entries"] == 3


PLAN = """
name = "noise"
[data]
examples = "eval.jsonl"
[[models]]
name = "base"
role = "baseline"
path = "{base}"
[[models]]
name = "old"
role = "candidate"
outputs = "eval.jsonl"
[generation]
max_new_tokens = 6
"""


def test_the_noise_floor_of_local_models_is_measured(assay: Assay, tmp_path: Path) -> None:
    base = Path(__file__).parents[2] / "samples/models/base"
    (tmp_path / "eval.jsonl").write_text(
        "".join(f'{{"id": "{n}", "query": "What is {n} plus 2?", "response": "{n}"}}\n' for n in range(5))
    )
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN.format(base=base))
    [found] = assay("noise", plan, "--sample", "3", "--json").json
    assert (found["model"], found["changed"], found["n"], found["share"]) == ("base", 0, 3, 0.0)
    assert "smaller differences mean nothing" in assay("noise", plan, "--sample", "3", "--quiet").out
    assert assay("noise", plan, "--sample", "1").code == 2  # one alone has no batch


def test_the_measurement_tells_how_it_gets_on(assay: Assay, tmp_path: Path) -> None:
    base = Path(__file__).parents[2] / "samples/models/base"
    (tmp_path / "eval.jsonl").write_text(
        "".join(f'{{"query": "What is {n} plus 2?", "response": "{n}"}}\n' for n in range(5))
    )
    (plan := tmp_path / "plan.toml").write_text(PLAN.format(base=base))
    told = assay("noise", plan, "--sample", "5").err.splitlines()
    assert told[:3] == [f"loading {base}", "alone: 0% (0/5 answers)", "batched: 0% (0/10 answers)"]
    assert told[3].startswith("alone: 20% (1/5 answers, ") and told[3].endswith(" left)")  # its pace and ETA
    assert told[-2:] == ["batched: 100% (10/10 answers)", "base: measured on 5 examples"]
    assert assay("noise", plan, "--sample", "5", "--quiet").err == ""


def test_show_and_compare_tell_noise_and_cached_answers(assay: Assay, own_store: Path) -> None:
    recorder = Recorder(own_store, 2)
    row = recorder.rows(records.StoredModel, run_id=2, name="overfit")[0]
    floor = {
        "changed": 1,
        "n": 50,
        "share": 0.02,
        "low": 0.004,
        "high": 0.105,
        "first_token": 3,
        "unanswered": 0,
    }
    recorder.set_model(row.id, details=(row.details or {}) | {"noise_floor": floor, "vocabulary": 32_001})
    base = recorder.rows(records.StoredModel, run_id=2, name="base")[0]
    recorder.set_model(base.id, details=(base.details or {}) | {"vocabulary": 32_000})
    recorder.close()
    told = "noise floor of overfit 2.0% (0.4 to 10.5%, 50 answers)"
    shown = assay("show", "2", "--json", "--store", own_store).json
    assert any(remark.startswith(told) for remark in shown["remarks"])
    assert any("size of vocabulary (32,001 and 32,000)" in remark for remark in shown["remarks"])
    assert {"model", "answers", "from_cache", "cut"} <= shown["answers"][0].keys()
    assert told in assay("show", "2", "--section", "remarks", "--store", own_store).out
    assert told in " ".join(assay("compare", "1", "2", "--store", own_store).out.split())
