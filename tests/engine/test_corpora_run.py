"""Corpora in a run: each text once under each model that is here, values with intervals, and the gate."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from engine.errors import BadInput, CannotRun
from engine.metrics.metric import NO_REFERENCE
from engine.phases.scoring.perplexity import LATER
from engine.phases.work import Stopped
from engine.plan.plan import read_plan
from store import records
from store.write import Recorder
from tests.engine.runs import carry_out, lines, queue
from tests.models.tiny import make_adapter, make_model

TEXTS = [f"the cat sat on the mat and the dog ran {place} times over the mat" for place in range(40)]


def learned(folder: Path) -> Path:
    """The model in the folder, after it has seen the texts: an adapter of noise then unlearns them."""
    model, tokenizer = LlamaForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"][:25] for text in TEXTS])
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(40):
        model(ids, labels=ids).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    model.save_pretrained(folder)
    return folder


def write_plan(folder: Path, gates: str = "") -> Path:
    make_adapter(folder / "adapter", learned(make_model(folder / "base")))
    lines(folder / "general.jsonl", [{"text": text} for text in TEXTS])
    (folder / "domain.txt").write_text("the dog ran")
    lines(folder / "examples.jsonl", [{"id": "a", "query": "the cat", "reference": "sat"}])
    lines(folder / "recorded.jsonl", [{"id": "a", "response": "sat"}])
    plan = folder / "plan.toml"
    plan.write_text(
        f"""
        name = "corpora"
        [data]
        examples = "examples.jsonl"
        [[models]]
        name = "base"
        role = "baseline"
        path = "base"
        [[models]]
        name = "prompted"
        role = "baseline"
        path = "base"
        system = "Be brief."
        [[models]]
        name = "tuned"
        role = "candidate"
        path = "base"
        adapter = "adapter"
        [[models]]
        name = "elsewhere"
        role = "candidate"
        outputs = "recorded.jsonl"
        [generation]
        max_new_tokens = 2
        [metrics]
        use = ["exact_match", "efficiency"]
        [metrics.corpora]
        general = "general.jsonl"
        domain = "domain.txt"
        {gates}
        """
    )
    return plan


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    """Paused in the middle of the corpora, its base's first texts stored, and carried on."""
    folder = tmp_path_factory.mktemp("corpora")
    store = folder / "store"
    run_id = queue(store, write_plan(folder))
    recorder = Recorder(store, run_id)

    def once_texts_are_stored() -> str | None:
        stored = recorder.column(records.CorpusScore, "text", corpus="general")
        return "pause" if stored else None

    with pytest.raises(Stopped):
        carry_out(store, run_id, once_texts_are_stored)
    half = recorder.rows(records.CorpusScore)
    assert 0 < len(half) < len(TEXTS)
    finished = carry_out(store, run_id)
    kept = [row for row in finished.rows(records.CorpusScore) if (row.model_id, row.text) in {
        (row.model_id, row.text) for row in half} and row.corpus == "general"]  # fmt: skip
    assert kept == half
    return finished


def names(run: Recorder) -> dict[str, int]:
    return {row.name: row.id for row in run.rows(records.StoredModel, run_id=run.run_id)}


def test_each_text_is_stored_once_for_each_model_here(run: Recorder) -> None:
    ids = names(run)
    for model in ("base", "prompted", "tuned"):
        rows = run.rows(records.CorpusScore, model_id=ids[model], corpus="general")
        assert [row.text for row in rows] == list(range(len(TEXTS)))
        assert all(row.nll > 0 and row.bytes == len(TEXTS[row.text]) for row in rows)
    assert run.rows(records.CorpusScore, model_id=ids["elsewhere"]) == []


def test_a_system_prompt_leaves_a_corpus_as_it_is(run: Recorder) -> None:
    ids = names(run)
    first, second = (
        [row.nll for row in run.rows(records.CorpusScore, model_id=ids[name])]
        for name in ("base", "prompted")
    )
    assert first == second


def test_models_have_values_with_intervals_and_what_has_none_a_reason(run: Recorder) -> None:
    ids = names(run)
    for measure in ("perplexity:general", "bits_per_byte:general"):
        [score] = run.rows(records.ModelScore, model_id=ids["tuned"], measure=measure)
        assert score.low < score.value < score.high and (score.n, score.missing) == (40, 0)
        [metric] = run.rows(records.StoredMetric, run_id=run.run_id, measure=measure)
        assert metric.settings["texts"] == "40" and metric.direction == "lower"
    [score] = run.rows(records.ModelScore, model_id=ids["elsewhere"], measure="perplexity:general")
    assert (score.value, score.missing) == (None, 40) and "weights" in score.reason


def test_pairs_are_compared_text_by_text(run: Recorder) -> None:
    ids = names(run)
    [row] = run.rows(
        records.StoredComparison,
        candidate_id=ids["tuned"],
        baseline_id=ids["base"],
        measure="perplexity:general",
    )
    assert row.kind == "corpus" and row.n == 40 and row.p < 0.05
    assert row.low < row.delta < row.high
    [row] = run.rows(
        records.StoredComparison,
        candidate_id=ids["elsewhere"],
        baseline_id=ids["base"],
        measure="bits_per_byte:general",
    )
    assert row.delta is None and row.reason == "no value for elsewhere"


def test_the_perplexity_gate_holds_for_corpora(run: Recorder) -> None:
    ids = names(run)
    [row] = run.rows(
        records.StoredComparison,
        candidate_id=ids["tuned"],
        baseline_id=ids["base"],
        measure="perplexity:general",
    )
    alerts = [
        alert
        for alert in run.rows(records.StoredAlert, run_id=run.run_id)
        if (alert.kind, alert.measure, alert.candidate) == ("perplexity_rise", "perplexity:general", "tuned")
    ]
    assert row.delta > 0.1 * row.baseline_value
    assert {alert.severity for alert in alerts} == {"critical"}
    assert "the corpus general" in alerts[0].message


def test_figures_of_speed_and_of_the_adapter_are_kept(run: Recorder) -> None:
    ids = names(run)
    [p95] = run.rows(records.ModelScore, model_id=ids["base"], measure="latency_p95_s")
    assert p95.value > 0 and p95.low is None
    [total] = run.rows(records.ModelScore, model_id=ids["base"], measure="tokens_out_total")
    assert 0 < total.value <= 2
    [absent] = run.rows(records.ModelScore, model_id=ids["elsewhere"], measure="latency_p50_s")
    assert absent.value is None and absent.reason
    [metric] = run.rows(records.StoredMetric, run_id=run.run_id, measure="latency_p95_s")
    assert "as memory allows" in metric.settings["concurrency"]
    details = run.rows(records.StoredModel, id=ids["tuned"])[0].details
    assert details["adapter"]["bytes"] > details["adapter"]["parameters"] > 0
    assert 0 < details["adapter"]["trainable_share"] < 1
    assert {"peak_memory", "energy_j", "reason"} <= set(details["device_use"])
    assert (
        "elsewhere" in run.rows(records.StoredModel, id=ids["elsewhere"])[0].details["device_use"]["reason"]
    )
    json.dumps(details)


def test_a_corpus_that_changed_is_not_mixed_with_what_is_stored(tmp_path: Path) -> None:
    store = tmp_path / "store"
    run_id = queue(store, write_plan(tmp_path))
    recorder = Recorder(store, run_id)
    with pytest.raises(Stopped):
        carry_out(store, run_id, lambda: "pause" if recorder.column(records.StoredResponse, "id") else None)
    (tmp_path / "domain.txt").write_text("another text")
    with pytest.raises(CannotRun, match="'domain' has changed"):
        carry_out(store, run_id)


def test_a_run_begun_with_another_version_of_a_measure_is_not_mixed_with_this_one(
    tmp_path: Path,
) -> None:
    store = tmp_path / "store"
    run_id = queue(store, write_plan(tmp_path))
    recorder = Recorder(store, run_id)
    with pytest.raises(Stopped):
        carry_out(store, run_id, lambda: "pause" if recorder.column(records.StoredResponse, "id") else None)
    with closing(sqlite3.connect(store / "assay.db")) as connection, connection:
        connection.execute("UPDATE metric SET version = '1' WHERE measure = 'perplexity:domain'")
    with pytest.raises(CannotRun, match="version 1 of perplexity:domain"):
        carry_out(store, run_id)


def test_a_corpus_that_is_not_there_is_said_when_the_plan_is_read(tmp_path: Path) -> None:
    plan = write_plan(tmp_path)
    plan.write_text(plan.read_text().replace("domain.txt", "domian.txt"))
    with pytest.raises(BadInput, match=r"metrics\.corpora\.domain.*domian\.txt"):
        read_plan(plan)


def test_of_a_conversation_the_first_turns_reference_has_a_likelihood(tmp_path: Path) -> None:
    """What comes before a later one is the model's own answers."""
    plan = write_plan(tmp_path)
    plan.write_text(plan.read_text().replace('"exact_match", "efficiency"', '"exact_match", "perplexity"'))
    turns = ["the cat", "and the dog"]
    given = {"both": ["sat", "ran"], "first": ["sat", ""], "last": "ran", "none": None}
    lines(
        tmp_path / "examples.jsonl", [{"id": key, "turns": turns, "reference": given[key]} for key in given]
    )
    lines(tmp_path / "recorded.jsonl", [{"id": key, "turns": ["sat", "ran"]} for key in given])
    run = carry_out(tmp_path / "store", queue(tmp_path / "store", plan))
    names = {row.id: row.example for row in run.rows(records.StoredExample)}
    ids = {row.name: row.id for row in run.rows(records.StoredModel)}

    def found(model: str, measure: str) -> dict[str, float | str | None]:
        rows = run.rows(records.StoredScore, model_id=ids[model], measure=measure)
        return {names[row.example_id]: row.reason if row.value is None else row.value for row in rows}

    likelihoods = found("base", "perplexity")
    assert likelihoods["both"] == likelihoods["first"] and isinstance(likelihoods["both"], float)
    assert likelihoods["last"] == LATER and likelihoods["none"] == NO_REFERENCE
    assert found("elsewhere", "exact_match") == {
        "both": 1.0, "first": NO_REFERENCE, "last": 1.0, "none": NO_REFERENCE,
    }  # fmt: skip
