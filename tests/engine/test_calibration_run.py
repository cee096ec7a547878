"""Calibration in a run: probabilities of real local models, of a server, and of lm-eval's log."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine.compare.comparable import Side
from engine.compare.runs import compare_pairs
from engine.metrics.calibration import NO_CHOICES, RECORDED, forecast, probabilities
from engine.plan.plan import read_plan
from engine.preflight.check import check
from store import records
from store.session import opened
from store.write import Recorder
from tests.benchmarks.tiny_tasks import CHOICE, write_tasks
from tests.engine.runs import carry_out, lines, queue
from tests.models.test_server_model import Reply, Server
from tests.models.tiny import make_adapter, make_model
from tui.cli.common import Section
from tui.cli.terminal import print_sections
from tui.report.html import html
from tui.report.json import run_values
from tui.report.markdown import markdown
from tui.screens.compare.lines import reliability_lines
from tui.sections.gather import gather_report
from tui.text.gate import percent

QUESTIONS = [
    {"id": f"q{place}", "query": f"the cat {place}?", "choices": ["sat", "ran", "dog"], "answer": place % 3}
    for place in range(24)
]
LABELLED = [{"id": "label", "query": "the dog ran", "label": "sat on"}]
BARE = [{"id": "bare", "query": "the mat", "reference": "sat"}]
EXAMPLES = [*QUESTIONS, *LABELLED, *BARE]


def first_token(question: str, attempt: int) -> Reply:
    """A server that is surer of A than it is right, and knows nothing of C in one question."""
    told = {"A": -0.2, " A": -3.0, "B": -2.0, "C": -3.0}
    if "cat 7?" in question:
        del told["C"]
    listed = [{"token": token, "logprob": value} for token, value in told.items()]
    choice = {
        "index": 0,
        "finish_reason": "length",
        "message": {"role": "assistant", "content": "A"},
        "logprobs": {"content": [{"token": "A", "logprob": -0.2, "top_logprobs": listed}]},
    }
    return 200, {"content-type": "application/json"}, json.dumps({"model": "m", "choices": [choice]})


@dataclass(frozen=True)
class Run:
    recorder: Recorder
    folder: Path
    asked: list[dict[str, object]]

    def model(self, name: str) -> records.StoredModel:
        return self.recorder.rows(records.StoredModel, run_id=self.recorder.run_id, name=name)[0]

    def scores(self, model: str, measure: str) -> dict[str, records.StoredScore]:
        rows = self.recorder.rows(records.StoredScore, model_id=self.model(model).id, measure=measure)
        names = {row.id: row.example for row in self.recorder.rows(records.StoredExample)}
        return {names[row.example_id]: row for row in rows}

    def value(self, model: str, measure: str) -> records.ModelScore:
        return self.recorder.rows(records.ModelScore, model_id=self.model(model).id, measure=measure)[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("calibration")
    make_adapter(folder / "adapter", make_model(folder / "base"))
    write_tasks(folder / "tasks", CHOICE)
    lines(folder / "examples.jsonl", EXAMPLES)
    lines(folder / "recorded.jsonl", [{"id": row["id"], "response": "A"} for row in EXAMPLES])
    server = Server()
    server.reply = first_token
    (folder / "plan.toml").write_text(
        f"""
        name = "calibration"
        [data]
        examples = "examples.jsonl"
        [[models]]
        name = "base"
        role = "baseline"
        path = "base"
        device = "cpu"
        [[models]]
        name = "tuned"
        role = "candidate"
        path = "base"
        adapter = "adapter"
        device = "cpu"
        [[models]]
        name = "served"
        role = "candidate"
        server = "{server.url}"
        model = "m"
        [[models]]
        name = "elsewhere"
        role = "candidate"
        outputs = "recorded.jsonl"
        [generation]
        max_new_tokens = 1
        [metrics]
        use = ["classification", "calibration"]
        classification = {{ labels = ["sat", "sat on"] }}
        [benchmarks]
        tasks = ["tiny_choice"]
        include = "tasks"
        calibration = true
        """
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("NO_PROXY", "127.0.0.1")
        store = folder / "store"
        recorder = carry_out(store, queue(store, folder / "plan.toml"))
    server.stop()
    yield Run(recorder, folder, server.requests)


def likelihood(folder: Path, question: str, answer: str, ended: bool = False) -> float:
    """The log-likelihood of an answer after its prompt, token by token."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    turns = [{"role": "user", "content": question}]
    prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)["input_ids"]
    ids = tokenizer(answer, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id] * ended
    with torch.inference_mode():
        logits = model(torch.tensor([prompt + ids])).logits[0].log_softmax(-1)
    return sum(float(logits[len(prompt) - 1 + place, token]) for place, token in enumerate(ids))


def test_the_probabilities_are_shares_of_the_likelihoods_of_the_letters(run: Run) -> None:
    asked = "the cat 4?\n\nA. sat\nB. ran\nC. dog"
    expected = forecast([likelihood(run.folder / "base", asked, letter) for letter in "ABC"], correct=1)
    assert run.scores("base", "brier")["q4"].value == pytest.approx(expected.brier, rel=1e-4)
    assert run.scores("base", "confidence")["q4"].value == pytest.approx(expected.confidence, rel=1e-4)
    assert run.scores("base", "choice_accuracy")["q4"].value == expected.right
    assert run.scores("base", "brier")["q4"].reason == "right: B"
    assert run.scores("tuned", "brier")["q4"].value != run.scores("base", "brier")["q4"].value


def test_a_label_that_begins_another_counts_with_the_end_of_the_answer(run: Run) -> None:
    folder = run.folder / "base"
    shares = probabilities(
        [likelihood(folder, "the dog ran", label, ended=True) for label in ("sat", "sat on")]
    )
    assert run.scores("base", "confidence")["label"].value == pytest.approx(max(shares), rel=1e-4)


def test_a_server_is_asked_for_the_likelihoods_of_one_token(run: Run) -> None:
    asked = [body for body in run.asked if body.get("logprobs")]
    assert len(asked) == len(QUESTIONS) + len(LABELLED)
    assert {(body["max_tokens"], body["top_logprobs"]) for body in asked} == {(1, 20)}
    shares = probabilities([float(torch.tensor([-0.2, -3.0]).logsumexp(0)), -2.0, -3.0])
    assert run.scores("served", "confidence")["q1"].value == pytest.approx(shares[0])
    assert [run.scores("served", "choice_accuracy")[name].value for name in ("q0", "q1")] == [1.0, 0.0]


def test_what_has_no_probabilities_is_missing_with_its_reason(run: Run) -> None:
    assert run.scores("base", "brier")["bare"].reason == NO_CHOICES
    assert run.scores("elsewhere", "brier")["q0"].reason == RECORDED
    assert "'C' is none of the 3 first tokens" in (run.scores("served", "brier")["q7"].reason or "")
    assert "'sat' is none of the 4 first tokens" in (run.scores("served", "brier")["label"].reason or "")
    missing = run.value("elsewhere", "ece")
    assert (missing.value, missing.n, missing.missing, missing.reason) == (None, 0, len(EXAMPLES), RECORDED)


def test_the_run_has_the_error_of_each_model_and_one_ruling_on_each_pair(run: Run) -> None:
    found = run.value("base", "ece")
    assert found.n == len(QUESTIONS) + 1 and found.missing == 1
    assert found.value is not None and found.low is not None and found.high is not None
    assert found.low <= found.value <= found.high
    rows = run.recorder.rows(records.StoredComparison, candidate_id=run.model("served").id)
    ruled = {row.measure: row for row in rows}
    assert {"ece", "brier", "accuracy@80%", "choice_accuracy"} <= ruled.keys()
    assert ruled["ece"].n == len(QUESTIONS) - 1 and ruled["ece"].standing
    curves = (run.model("base").details or {})["calibration"]
    assert [item["n"] for item in curves[""]] == [13, 12]


def test_runs_are_compared_by_the_rule_within_one(run: Run) -> None:
    with opened(run.folder / "store") as connection:
        side = Side(connection, run.recorder.run_id)
        found = compare_pairs((side, side), [(side.models["base"], side.models["tuned"])])
        nothing = compare_pairs((side, side), [(side.models["base"], side.models["elsewhere"])])
    between = {row.measure: row for row in found.metrics}
    for measure in ("ece", "accuracy@80%", "brier"):
        [within] = run.recorder.rows(
            records.StoredComparison,
            candidate_id=run.model("tuned").id,
            baseline_id=run.model("base").id,
            measure=measure,
        )
        other = between[measure]
        assert (other.delta, other.low, other.high, other.n) == (
            within.delta, within.low, within.high, within.n,
        )  # fmt: skip
        assert other.n == len(QUESTIONS) + 1
    told = {item.what: item.reason for item in nothing.incomparable}
    assert (
        told["ece, elsewhere (run 1)"]
        == "a calibration error needs 20 examples; both models have probabilities of 0"
    )
    assert not any(
        "ece" in what for what in [item.what for item in found.incomparable if ":" not in item.what]
    )


def test_a_benchmarks_log_gives_the_probabilities_of_its_choices(run: Run) -> None:
    rows = run.recorder.rows(records.StoredBenchmarkSample, model_id=run.model("base").id)
    assert len(rows) == 8
    for row in rows:
        assert row.likelihoods is not None and row.correct is not None and len(row.likelihoods) == 3
        assert row.value == forecast(row.likelihoods, row.correct).right
    brier = [forecast(row.likelihoods or [], row.correct or 0).brier for row in rows]
    assert run.value("base", "brier:tiny_choice").value == pytest.approx(sum(brier) / 8)
    few = run.value("base", "ece:tiny_choice")
    assert (few.value, few.n, few.reason) == (None, 8, "a calibration error needs 20 examples")
    assert run.recorder.rows(records.StoredMetric, measure="ece:tiny_choice")


def test_the_curve_is_in_every_report_and_on_screen(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with opened(run.folder / "store") as connection:
        found = gather_report(connection, run.recorder.run_id)
    first = found.measures.reliability[0]
    assert (first.model, first.of, [row.n for row in first.rows]) == ("base", "the run's examples", [13, 12])
    print_sections(found, [Section.calibration])
    said = capsys.readouterr().out
    assert "Reliability on the run's examples" in said and percent(first.rows[1].right) in said
    values = run_values(found)["reliability"]
    assert values[0]["bins"][1]["confidence"] == first.rows[1].confidence
    assert "reliability on the run's examples" in markdown(found)
    assert "base on the run&#39;s examples: how often its answers were right" in html(found)
    drawn = "\n".join(line.plain for line in reliability_lines([first], 70))
    assert f"{percent(first.rows[1].confidence)} sure, n 12" in drawn


def test_the_check_says_what_it_costs_and_when_it_can_have_no_value(run: Run, tmp_path: Path) -> None:
    plan = read_plan(run.folder / "plan.toml")
    [told] = [found for found in check(plan, tmp_path) if found.subject == "metrics.calibration"]
    assert told.message == (
        "25 of 26 examples have answers to weigh: 148 prompts with an answer to read, "
        "25 further answers of one token from servers"
    )
    lines(tmp_path / "bare.jsonl", BARE)
    bare = plan.model_copy(
        update={"data": plan.data.model_copy(update={"examples": tmp_path / "bare.jsonl"})}
    )
    [told] = [found for found in check(bare, tmp_path) if found.subject == "metrics.calibration"]
    assert told.level == "warning" and NO_CHOICES in told.message


def test_a_rerun_of_the_last_phase_changes_no_number(run: Run) -> None:
    before = run.recorder.rows(records.ModelScore)
    with closing(sqlite3.connect(run.folder / "store" / "assay.db")) as connection, connection:
        connection.execute("UPDATE run SET status = 'queued', finished = NULL")
    again = carry_out(run.folder / "store", run.recorder.run_id)
    assert again.rows(records.ModelScore) == before


def test_a_sweep_is_cut_by_the_probabilities_of_answers_the_lowest_brier_score_first(tmp_path: Path) -> None:
    base = make_model(tmp_path / "base")
    for step in (1, 2):
        make_adapter(tmp_path / f"outputs/checkpoint-{step}", base, seed=step)
    lines(tmp_path / "examples.jsonl", [*QUESTIONS[:6], *BARE])
    (tmp_path / "plan.toml").write_text(
        """
        name = "swept"
        judges = []
        models = { sweep = "outputs/checkpoint-*", device = "cpu" }
        [data]
        examples = "examples.jsonl"
        [generation]
        max_new_tokens = 1
        [metrics]
        use = ["calibration"]
        [sweep]
        keep = 1
        by = "brier"
        sample = 7
        """
    )
    store = tmp_path / "store"
    recorder = carry_out(store, queue(store, tmp_path / "plan.toml"))
    own = Run(recorder, tmp_path, [])
    places = {name: (own.model(name).details or {})["sweep"] for name in ("checkpoint-1", "checkpoint-2")}
    briers = {
        name: fmean(row.value for row in own.scores(name, "brier").values() if row.value is not None)
        for name in places
    }
    assert {name: place["value"] for name, place in places.items()} == pytest.approx(briers)
    assert [name for name, place in places.items() if place["kept"]] == [min(briers, key=briers.__getitem__)]
    assert {place["n"] for place in places.values()} == {6}, "an example without choices has no Brier score"
    assert briers["checkpoint-1"] != briers["checkpoint-2"]
