"""Hints of contamination in a run: corpora reworded, and all benchmarks up at once."""

from pathlib import Path

import pytest

from engine.compare.comparison import Comparison
from engine.phases.alerts import data_alerts
from engine.phases.work import Work
from engine.plan.plan import parse_plan
from store import database, records
from store.write import Recorder, create_run
from tests.engine.runs import lines, recorded_plan


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """A run whose two models have a likelihood for every text of a corpus and of its rewording."""
    for name in ("exam", "exam-altered"):
        lines(tmp_path / f"{name}.jsonl", [{"text": f"text {place}"} for place in range(12)])
    corpora = '[metrics]\ncorpora = { exam = "exam.jsonl", exam-altered = "exam-altered.jsonl" }'
    rows = [{"id": "a", "query": "?", "reference": "x"}]
    file = recorded_plan(tmp_path, rows, {"base": {"a": "x"}, "tuned": {"a": "x"}}, corpora)
    plan, store = parse_plan(file.read_text(), tmp_path), tmp_path / "store"
    database.prepare(store)
    row = {"name": "r", "plan": plan.text, "plan_hash": plan.hash, "plan_folder": "", "plan_file": "p"}
    recorder = Recorder(store, create_run(store, records.Run(**row)))
    work = Work(plan, recorder, store, {}, lambda: None)
    for place, model in enumerate(plan.models):
        values = {"name": model.name, "role": model.role, "kind": model.kind, "position": place}
        work.model_ids[model.name] = recorder.insert(records.StoredModel(run_id=recorder.run_id, **values))
        for corpus, nll in (("exam", 5.0 if model.name == "tuned" else 9.0), ("exam-altered", 9.0)):
            recorder.append(
                [
                    records.CorpusScore(
                        model_id=work.model_ids[model.name],
                        corpus=corpus,
                        text=text,
                        nll=nll,
                        tokens=5,
                        bytes=20,
                    )
                    for text in range(12)
                ]
            )
    return work


def up(task: str, delta: float) -> Comparison:
    return Comparison(
        "tuned",
        "base",
        f"{task} · acc",
        "higher",
        "benchmark",
        0.5 + delta,
        0.5,
        delta,
        None,
        None,
        None,
        50,
        None,
    )


def test_the_original_wording_and_a_joint_jump_are_hints(work: Work) -> None:
    rises = [up("a", 0.1), up("b", 0.2), up("c", 0.06)]
    jump, original = data_alerts(work, {}, [], [], rises)
    assert (jump.kind, jump.severity, jump.candidate, jump.baseline) == (
        "suspicion",
        "warning",
        "tuned",
        "base",
    )
    assert jump.evidence.hint == "all_jump" and "all 3 benchmarks at once" in jump.message
    assert (original.candidate, original.evidence.hint) == ("tuned", "original_wording")
    assert all("a hint, not proof" in alert.message for alert in (jump, original))


def test_benchmarks_that_do_not_all_rise_raise_nothing(work: Work) -> None:
    alerts = data_alerts(work, {}, [], [], [up("a", 0.1), up("b", 0.2), up("c", 0.01)])
    assert [alert.evidence.hint for alert in alerts] == ["original_wording"]
