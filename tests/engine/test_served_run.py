"""Whole runs against a model's server that goes away, refuses a parameter, or one prompt."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.data.perturb import REQUEST
from engine.errors import Paused
from engine.models.server import ServerModel
from engine.phases.scoring.robustness import CANNOT_ASK
from engine.servers import control
from store import records
from store.write import Recorder
from tests.engine.runs import carry_out, queue
from tests.judges.scripted import Answer, Json, JudgeServer, fault, says

EXAMPLES = 12


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[JudgeServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(ServerModel.__init__, "__defaults__", (8, 120.0, 4, 0.001, True))
    server = JudgeServer()
    yield server
    server.stop()
    control.forget()


def plan(folder: Path, server: JudgeServer) -> Path:
    rows = [{"id": f"e{n}", "query": f"question {n}", "reference": "yes"} for n in range(EXAMPLES)]
    (folder / "eval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "base.jsonl").write_text(
        "".join(json.dumps({"id": row["id"], "response": "no"}) + "\n" for row in rows)
    )
    file = folder / "plan.toml"
    file.write_text(
        'name = "served"\n[data]\nexamples = "eval.jsonl"\n'
        '[[models]]\nname = "base"\nrole = "baseline"\noutputs = "base.jsonl"\n'
        f'[[models]]\nname = "tuned"\nrole = "candidate"\nserver = "{server.url}"\nmodel = "m"\n'
        '[metrics]\nuse = ["exact_match"]\n'
    )
    return file


def rows_of(recorder: Recorder) -> list[dict[str, Any]]:
    (model,) = recorder.rows(records.StoredModel, run_id=recorder.run_id, name="tuned")
    return recorder.rows(records.StoredResponse, model_id=model.id)


@pytest.mark.usefixtures("impatient")
def test_an_outage_pauses_the_run_stores_no_answer_and_is_asked_again(
    server: JudgeServer, tmp_path: Path
) -> None:
    server.script = lambda body, number: says("yes") if number < 5 else fault(503, "no healthy upstream")
    store = tmp_path / "store"
    run_id = queue(store, plan(tmp_path, server))
    with pytest.raises(Paused, match="503 no healthy upstream"):
        carry_out(store, run_id)
    reading = Recorder(store, run_id)
    assert [row.text for row in rows_of(reading)] == ["yes"] * 5
    server.script = lambda body, number: says("yes")
    asked = len(server.requests)
    reading.set_run(status="paused")
    carry_out(store, run_id)
    assert [row.text for row in rows_of(reading)] == ["yes"] * EXAMPLES
    assert len(server.requests) - asked == EXAMPLES - 5
    reading.close()


def test_a_prompt_that_the_server_refuses_for_good_is_missing_with_its_reason(
    server: JudgeServer, tmp_path: Path
) -> None:
    def script(body: Json, number: int) -> Answer:
        refused = body["messages"][-1]["content"] == "question 3"
        return fault(400, "the prompt is against the policy") if refused else says("yes")

    server.script = script
    store = tmp_path / "store"
    run_id = queue(store, plan(tmp_path, server))
    carry_out(store, run_id)
    reading = Recorder(store, run_id)
    (missing,) = [row for row in rows_of(reading) if row.text is None]
    assert missing.reason == "400 the prompt is against the policy"
    reading.close()


def test_a_dropped_parameter_is_a_warning_and_a_fact_of_the_model(
    server: JudgeServer, tmp_path: Path
) -> None:
    refusal = fault(400, "Unsupported value: 'temperature' does not support 0", code="unsupported_value")
    server.script = lambda body, number: refusal if "temperature" in body else says("yes")
    store = tmp_path / "store"
    run_id = queue(store, plan(tmp_path, server))
    carry_out(store, run_id)
    reading = Recorder(store, run_id)
    (model,) = reading.rows(records.StoredModel, run_id=run_id, name="tuned")
    told = [row.message for row in reading.rows(records.Event, run_id=run_id, level="warning")]
    reading.close()
    assert model.details["rejected"] == ["temperature"]
    assert any("refuses temperature" in note for note in model.details["notes"])
    assert sum("tuned: the server refuses temperature" in message for message in told) == 1


def test_a_served_model_asks_in_other_words_and_recorded_answers_cannot(
    server: JudgeServer, tmp_path: Path
) -> None:
    def script(body: Json, number: int) -> Answer:
        asked = body["messages"][-1]["content"]
        if asked.startswith(REQUEST):
            return says(f"In other words: {asked.removeprefix(REQUEST)}")
        return says("no" if asked.startswith("In other words") else "yes")

    server.script = script
    file = plan(tmp_path, server)
    asks = '[robustness]\nperturbations = ["case"]\nparaphrase = "tuned"\n'
    file.write_text(f"{file.read_text()}{asks}[gates]\nmax_robustness_drop = 0.1\n")
    recorder = carry_out(tmp_path / "store", queue(tmp_path / "store", file))
    models = {row.name: row.id for row in recorder.rows(records.StoredModel, run_id=recorder.run_id)}
    drops = {row.measure: row for row in recorder.rows(records.ModelScore, model_id=models["tuned"])}
    assert (drops["drop:paraphrase"].value, drops["drop:paraphrase"].n) == (1.0, EXAMPLES)
    assert drops["drop:case"].value == 0.0 and drops["invariance"].value == 0.5
    assert drops["exact_match"].value == 1.0 and drops["exact_match"].n == EXAMPLES
    [lacking] = recorder.rows(
        records.StoredComparison, candidate_id=models["tuned"], measure="drop:paraphrase"
    )
    assert (lacking.standing, lacking.reason) == ("missing", f"base: {CANNOT_ASK}")
    [alert] = recorder.rows(records.StoredAlert, run_id=recorder.run_id, measure="drop:paraphrase")
    assert alert.severity == "warning" and "Whether it loses more is unknown" in alert.message
