"""Every kind of alert on every face: adding one is one entry in the table."""

import html
import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from engine.decision.decision import decide
from engine.decision.families import advice
from engine.plan.training_config import trained_with
from store.read import history
from store.records.alert import KINDS, Alert, AlertKind, kind_of, read_evidence, weight
from store.session import opened
from tests.cli.conftest import Assay
from tests.tui import driver
from tests.tui.decided import GOOD, alert, told
from tests.tui.history import NOW

MESSAGE = "Something tripped. It was measured over 40 examples."
FIGURES: dict[str, Any] = {
    "candidate_value": 0.2, "baseline_value": 0.9, "delta": -0.7, "low": -0.8, "high": -0.6, "p": 0.001,
    "n": 40, "judge": "gpt", "win_rate": 0.31, "wins": 10, "losses": 29, "ties": 1, "failed": 8,
    "value": 0.31, "kappa": 0.31, "leaked": 12, "share": 0.3, "max_difference": 0.0, "example_ids": ["e1"],
    "hint": "ceiling", "figures": {"mmlu": 0.99}, "slice": "category: hard", "kin": ["tuned"],
    "first": "men", "second": "women", "runs": [1, 2], "values": [0.9, 0.2],
}  # fmt: skip
UNKNOWN = "from_a_newer_version"
KIND = pytest.mark.parametrize("kind", [*KINDS.values(), kind_of(UNKNOWN)], ids=lambda kind: kind.name)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kinds")


def raised(store: Path, kind: AlertKind, **more: Any) -> int:
    found = alert("critical", kind.name, MESSAGE, evidence=FIGURES, measure="judge:gpt") | more
    return told(store, GOOD, (found,), passed=False)


def text(shown: str) -> str:
    return " ".join(re.sub(r"\\(.)", r"\1", shown).split())


@KIND
async def test_the_alerts_screen_names_it_and_opens_what_it_rests_on(store: Path, kind: AlertKind) -> None:
    run_id = raised(store, kind, measure=kind.name)
    async with driver.opened(store, run=run_id, screen="decision", now=lambda: NOW, size=(160, 40)) as app:
        await app.press("A")
        assert kind.label in app.text and "Something tripped." in app.text
        assert kind.advice[:20] in app.text
        if kind.figure is not None:
            assert "n 40" in app.text and (kind.figure_label in app.text or "candidate 0.200" in app.text)
        await app.press("enter")
        assert "assay  Alerts" not in app.text


@KIND
def test_the_decision_says_it_in_a_clause_or_by_its_message(store: Path, kind: AlertKind) -> None:
    with opened(store) as connection:
        [verdict] = decide(connection, raised(store, kind))
        [older] = decide(connection, raised(store, kind, evidence=None))
    assert verdict.word == older.word == "don't ship"
    ground = verdict.grounds[0]
    assert ground.alert is not None and ground.alert.kind == kind.name
    assert type(ground.alert.evidence) is kind.evidence
    assert (ground.said == MESSAGE) == (not kind.short) and "{" not in ground.said
    assert older.grounds[0].said == (MESSAGE if "{" in kind.short or not kind.short else kind.short)


@KIND
def test_terminal_reports_and_json_tell_it(assay: Assay, store: Path, kind: AlertKind) -> None:
    run_id = raised(store, kind)
    for times, more in ((1, ()), (2, ("--full",))):
        shown = text(assay("show", run_id, "--store", store, *more).out)
        assert MESSAGE in shown and shown.count(f"> {kind.advice}") == times * bool(kind.advice)
    [row] = assay("show", run_id, "--store", store, "--json").json["alerts"]
    assert (row["kind"], row["message"], row["advice"] or "") == (kind.name, MESSAGE, kind.advice)
    assert row["evidence"] == json.loads(json.dumps(asdict(read_evidence(kind.name, FIGURES))))

    def report(form: str) -> str:
        shown = assay("report", run_id, "--format", form, "--store", store)
        assert shown.code == 0
        return shown.out

    markdown = text(report("md"))
    assert MESSAGE in markdown and kind.advice in markdown
    page = text(report("html"))
    assert (
        MESSAGE in page
        and kind.advice in html.unescape(page)
        and f"critical</span>: {kind.label}, tuned" in page
    )
    assert json.loads(report("json"))["alerts"][0]["kind"] == kind.name
    cases = ElementTree.fromstring(report("junit")).findall(".//testcase")
    [case] = [case for case in cases if case.get("name") == kind.name]
    failure = case.find("failure")
    assert failure is not None and failure.get("message") == MESSAGE


def test_evidence_of_an_older_store_is_read_as_far_as_it_goes() -> None:
    found: Any = read_evidence("judge_agreement", {"candidate_value": 0.3, "low": "?", "n": 12})
    assert (found.kappa, found.low, found.n) == (0.3, None, 12)
    found = read_evidence("suspicion", {"hint": "ceiling", "mmlu": 0.99})
    assert (found.hint, found.figures) == ("ceiling", {"mmlu": 0.99})
    assert read_evidence(
        "leakage", {"differences": [{"measure": "rouge1"}, 3], "tiers": None}
    ) == read_evidence("leakage", None)


@KIND
def test_evidence_comes_back_from_json_as_it_was(kind: AlertKind) -> None:
    evidence = read_evidence(kind.name, FIGURES)
    assert read_evidence(kind.name, json.loads(json.dumps(asdict(evidence)))) == evidence


def test_an_alert_takes_only_a_known_kind_with_its_own_evidence() -> None:
    with pytest.raises(ValueError, match="no_such_kind"):
        Alert("note", "no_such_kind", "tuned", None, "x", "")
    with pytest.raises(ValueError, match="metric_drop"):
        Alert("note", "metric_drop", "tuned", None, "x", "")


def test_the_manual_lists_every_kind() -> None:
    page = (Path(__file__).parents[2] / "docs" / "regressions.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) >= set(KINDS)


def test_the_heaviest_kind_comes_first_and_an_unknown_one_last(store: Path) -> None:
    alerts = tuple(alert("critical", name, name, evidence=None) for name in reversed([*KINDS, UNKNOWN]))
    with opened(store) as connection:
        run_id = told(store, GOOD, alerts, passed=False)
        assert len(history.alerts(connection, run_id)) == len(KINDS) + 1
        [verdict] = decide(connection, run_id)
    told_first = [ground.alert.kind for ground in verdict.grounds if ground.alert]
    assert told_first == list(KINDS)[:3] and weight(UNKNOWN) == len(KINDS)


def test_every_kind_has_its_advice_and_the_manual_the_same_with_a_source() -> None:
    page = (Path(__file__).parents[2] / "docs" / "advice.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| .*\[.+?\]\(.+?\).* \|$", page, re.MULTILINE)
    assert rows == [(kind.name, kind.advice) for kind in KINDS.values()]
    assert all(kind.advice.endswith(".") for kind in KINDS.values())


TRAINED = {
    "adapter": {"r": 64},
    "training": {"values": {"num_epochs": 5, "learning_rate": 0.0002, "datasets.0.path": "own.jsonl"}},
}


@pytest.mark.parametrize(
    ("details", "said"),
    [
        (TRAINED, "rank 64, 5 epochs, lr 2e-4, one data set, no replay named, no NEFTune"),
        ({"adapter": {"r": 8}}, "rank 8"),
        ({"training": {"values": {"dataset": "own, general", "neftune_alpha": 5}}}, ""),
        ({"training": {"values": {"num_train_epochs": 1, "neftune_noise_alpha": 5}}}, "1 epoch"),
        (None, ""),
    ],
)
def test_what_is_known_of_the_training(details: dict[str, Any] | None, said: str) -> None:
    assert trained_with(details) == said


def test_what_may_be_chance_is_first_measured_with_more_examples(store: Path) -> None:
    kind = KINDS["metric_drop"]
    with opened(store) as connection:
        [row] = history.alerts(connection, raised(store, kind))
    assert advice(row, TRAINED) == f"{kind.advice} It was trained with {trained_with(TRAINED)}."
    doubtful = replace(row, severity="note", evidence=read_evidence(kind.name, FIGURES | {"needed": 1200}))
    assert advice(doubtful, TRAINED).startswith("Too few examples to tell: evaluate about 1,200")
