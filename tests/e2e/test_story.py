"""The bundled plan tells a good fine-tune from one that forgot and from one that is none."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LIMIT = 30  # the first examples, among them those that leaked

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The quickstart's run as programs read it, on part of its examples."""
    store = tmp_path_factory.mktemp("story") / "store"

    def assay(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "assay", *arguments, "--store", str(store)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    ran = assay("run", "samples/plans/quickstart.toml", "--limit", str(LIMIT), "--quiet")
    assert ran.returncode == 1, ran.stderr
    shown: dict[str, Any] = json.loads(assay("show", "last", "--json").stdout)
    return shown


def critical(story: dict[str, Any], candidate: str) -> list[dict[str, Any]]:
    return [
        alert
        for alert in story["alerts"]
        if alert["severity"] == "critical" and alert["candidate"] == candidate
    ]


def score(story: dict[str, Any], model: str, metric: str) -> float:
    [found] = [row for row in story["scores"] if (row["model"], row["metric"]) == (model, metric)]
    assert found["n"] == LIMIT and found["missing"] == 0
    value: float = found["value"]
    return value


def test_the_good_adapter_passes_and_learned_the_task(story: dict[str, Any]) -> None:
    assert {model["name"]: model["passed"] for model in story["models"] if model["role"] == "candidate"} == {
        "good": True,
        "overfit": False,
        "no-effect": False,
    }
    assert story["passed"] is False
    assert critical(story, "good") == []
    assert score(story, "base", "format_compliance") < 0.1 < 0.95 < score(story, "good", "format_compliance")


def test_the_overfitted_adapter_forgot_and_the_alert_says_what(story: dict[str, Any]) -> None:
    forgotten = [alert for alert in critical(story, "overfit") if alert["kind"] == "benchmark_drop"]
    assert len(forgotten) == 4
    assert all("lost skills" in alert["message"] and "95% CI" in alert["message"] for alert in forgotten)
    assert score(story, "overfit", "format_compliance") > 0.95


def test_the_overfitted_adapter_is_surer_than_it_is_right(story: dict[str, Any]) -> None:
    found = {row["candidate"]: row for row in story["comparisons"] if row["measure"] == "ece:sample_facts"}
    assert found["overfit"]["standing"] == "worse" and found["overfit"]["low"] > 0.2
    assert found["good"]["standing"] != "worse"
    [curve] = [row for row in story["reliability"] if row["model"] == "overfit"]
    surest = curve["bins"][-1]
    assert surest["confidence"] > 0.99 and surest["right"] < 0.8


def test_typos_cost_the_overfitted_adapter_more_than_chance(story: dict[str, Any]) -> None:
    """Against its own plain form, since the base gets no ticket right. The good one loses no less."""
    lost = {row["model"]: row for row in story["scores"] if row["metric"] == "drop:typos"}
    assert lost["overfit"]["standing"] == lost["good"]["standing"] == "worse"
    assert lost["overfit"]["low"] > 0 and lost["overfit"]["p"] < 0.05
    assert lost["good"]["value"] >= lost["overfit"]["value"]
    assert {lost[name]["standing"] for name in ("base", "prompted", "no-effect")} == {"at the floor"}
    [told] = [item for item in story["decision"] if item["candidate"] == "overfit"]
    [answer] = [answer for answer in told["answers"] if answer["topic"] == "robust"]
    assert answer["question"] == "As good in other forms?" and answer["standing"] == "bad"


def test_the_adapter_without_effect_is_found_by_the_probe(story: dict[str, Any]) -> None:
    [alert] = [alert for alert in critical(story, "no-effect") if alert["kind"] == "adapter_no_effect"]
    assert "no effect" in alert["message"]
    probes = {model["name"]: model["probe"] for model in story["models"] if model["probe"]}
    assert probes["no-effect"]["max_difference"] == 0.0 < probes["good"]["max_difference"]


def test_every_candidate_is_compared_with_every_baseline(story: dict[str, Any]) -> None:
    pairs = {(row["candidate"], row["baseline"]) for row in story["verdicts"]}
    assert pairs == {
        (candidate, baseline)
        for candidate in ("good", "overfit", "no-effect")
        for baseline in ("base", "prompted")
    }
    assert pairs == {(row["candidate"], row["baseline"]) for row in story["comparisons"]}
    assert {row["model"] for row in story["benchmarks"]} == {"base", "good", "overfit", "no-effect"}


def test_the_embedded_judge_is_named_for_what_it_is(story: dict[str, Any]) -> None:
    assert {row["judge"] for row in story["verdicts"]} == {"reference"}
    assert all(row["is_language_model"] is False for row in story["verdicts"])


def test_the_decision_ships_the_good_adapter_and_neither_of_the_others(story: dict[str, Any]) -> None:
    decided = {item["candidate"]: item for item in story["decision"]}
    words = {name: item["word"] for name, item in decided.items()}
    assert words == {"good": "ship", "overfit": "don't ship", "no-effect": "don't ship"}
    assert decided["overfit"]["reasons"][0].startswith("forgot skills of base: sample_")
    assert "no effect" in decided["no-effect"]["reasons"][0]
    answers = {answer["topic"]: answer for answer in decided["good"]["answers"]}
    assert answers["prompt"]["standing"] == answers["base"]["standing"] == "good"
    assert answers["full"]["standing"] == "missing"


def test_the_planted_leaks_among_the_examples_are_found_exactly(story: dict[str, Any]) -> None:
    assert {row["example"]: row["tier"] for row in story["leaks"]} == {
        "ticket-007": "identical",
        "ticket-018": "near",
        "ticket-029": "ngram",
    }
    alerts = [alert for alert in story["alerts"] if alert["kind"] == "leakage"]
    assert {(alert["severity"], alert["candidate"]) for alert in alerts} == {
        ("warning", candidate) for candidate in ("good", "overfit", "no-effect")
    }
    assert story["data"]["leaked"] == 3 < story["data"]["similar"]
    clean = [row for row in story["slice_scores"] if row["slice"] == "not leaked" and row["model"] == "good"]
    assert {row["n"] for row in clean if row["measure"] == "exact_match"} == {LIMIT - 3}
