"""What metrics need is said before a run."""

from pathlib import Path

import pytest

from engine.metrics.text_models import CLASSIFIERS
from engine.plan.plan import read_plan
from engine.preflight.check import check
from tests.engine.runs import recorded_plan


def findings(folder: Path, metrics: str) -> dict[str, tuple[str, str]]:
    plan = recorded_plan(
        folder, [{"id": "a", "query": "q", "reference": "r"}], {"one": {"a": "r"}, "two": {"a": "r"}}, metrics
    )
    found = check(read_plan(plan), folder / "store")
    return {item.subject: (item.level, f"{item.message} {item.hint}") for item in found}


@pytest.mark.parametrize("name", ["bertscore", "embedding", "toxicity", "sentiment"])
def test_a_metric_that_reads_with_a_model_and_names_none(tmp_path: Path, name: str) -> None:
    level, message = findings(tmp_path, f'[metrics]\nuse = ["{name}"]')[f"metrics.{name}"]
    assert level == "error" and f"{name} = {{ model" in message


@pytest.mark.parametrize("name", ["bertscore", "embedding", "toxicity", "sentiment"])
def test_a_model_that_is_not_on_this_machine(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    level, message = findings(tmp_path, f'[metrics.{name}]\nmodel = "nobody/nothing-here"')[f"metrics.{name}"]
    assert level == "error" and "nobody/nothing-here" in message and "hub cache" in message


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_by_name_is_told_with_the_command_that_fetches_it(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    level, message = findings(tmp_path, f'[metrics.toxicity]\nmodel = "{name}"')["metrics.toxicity"]
    assert level == "error" and f"`hf download {CLASSIFIERS[name].path}`" in message


def test_the_known_classifiers_are_named_where_none_is(tmp_path: Path) -> None:
    _, message = findings(tmp_path, '[metrics]\nuse = ["toxicity"]')["metrics.toxicity"]
    assert "known by name: toxic-bert, roberta-hate-speech, toxigen-roberta" in message


def test_a_corpus_without_text_and_one_without_weights_to_read_it(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "full.txt").write_text("some text")
    found = findings(tmp_path, '[metrics.corpora]\nempty = "empty.txt"\nfull = "full.txt"')
    assert (
        found["metrics.corpora.empty"][0] == "error" and "holds no text" in found["metrics.corpora.empty"][1]
    )
    assert found["metrics.corpora.full"][0] == "warning"
