"""Benchmarks done elsewhere, written into the store as finished runs."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.benchmarks.results import GROUPS
from engine.compare.benchmarks import Key, Measured, Question, compare_scores, group_samples
from engine.compare.comparison import Comparison, stored
from engine.formats.lm_eval import BenchmarkedModel
from engine.gates.checks import passed
from engine.gates.measures import drop_alerts, ruled
from engine.plan.plan import Gates
from store import tables
from store.write import Transaction


def write_run(
    transaction: Transaction, name: str, path: Path, models: Sequence[BenchmarkedModel], baseline: str | None
) -> int:
    """One run with these models, in which all others are compared with the baseline; returns its id."""
    date = max(model.date for model in models)
    row = {
        "name": name,
        "status": "finished",
        "created": date,
        "started": date,
        "finished": date,
        "plan": "",
        "plan_hash": "",
        "plan_folder": str(path.absolute().parent),
        "plan_file": "",
        "options": {"imported": "lm-eval"},
        "eval_set_file": str(path),
    }
    run_id = transaction.insert(tables.Run, row)
    ids = {}
    for place, model in enumerate(models):
        role = "baseline" if model.name == baseline else "candidate"
        ids[model.name] = _write_model(transaction, run_id, place, role, model)
    if baseline is not None:
        _compare(transaction, run_id, ids, models, baseline)
    return run_id


def _write_model(
    transaction: Transaction, run_id: int, place: int, role: str, model: BenchmarkedModel
) -> int:
    details = {
        "kind": "recorded",
        "file": str(model.file),
        "notes": [f"read from {model.file.name}", *model.notes],
        "lm_eval": model.facts,
        GROUPS: {group: list(members) for group, members in model.groups.items()},
    }
    model_id = transaction.insert(
        tables.Model,
        {
            "run_id": run_id,
            "name": model.name,
            "role": role,
            "kind": "recorded",
            "position": place,
            "details": details,
        },
    )
    owner = {"model_id": model_id}
    transaction.append(tables.BenchmarkScore, [owner | asdict(score) for score in model.scores.values()])
    samples = [owner | asdict(sample) for own in model.samples.values() for sample in own]
    transaction.append(tables.BenchmarkSample, samples)
    events = [
        {"run_id": run_id, "time": time.time(), "level": "warning", "phase": "benchmarks", "message": message}
        for message in (f"{model.name}: {note}" for note in model.notes)
    ]
    transaction.append(tables.Event, events)
    return model_id


def _compare(
    transaction: Transaction,
    run_id: int,
    ids: Mapping[str, int],
    models: Sequence[BenchmarkedModel],
    baseline: str,
) -> None:
    """What a run's last phase does, with the gates that a plan has without saying so."""
    measured = {model.name: _measured(model) for model in models}
    candidates = [model.name for model in models if model.name != baseline]
    comparisons = [
        compare_scores(candidate, baseline, key, ours, measured[baseline][key])
        for candidate in candidates
        for key, ours in measured[candidate].items()
        if key in measured[baseline]
    ]
    _, comparisons = ruled([], comparisons, Gates(), {})
    alerts = drop_alerts([], comparisons, Gates(), {})
    transaction.append(tables.Comparison, [_row(comparison, ids) for comparison in comparisons])
    now = time.time()
    transaction.append(
        tables.Alert, [{"run_id": run_id, "created": now, **asdict(alert)} for alert in alerts]
    )
    outcomes = {name: passed(alerts, name) for name in candidates}
    for name, outcome in outcomes.items():
        transaction.update(tables.Model, ids[name], passed=outcome)
    transaction.update(tables.Run, run_id, passed=all(outcomes.values()))


def _measured(model: BenchmarkedModel) -> dict[Key, Measured]:
    samples: dict[Key, dict[Question, float]] = defaultdict(dict)
    for own in model.samples.values():
        for item in own:
            question = Question(item.task, item.doc_id, item.prompt_hash, item.target_hash)
            samples[Key(item.task, item.metric, item.filter)][question] = item.value
    found = {}
    for score in model.scores.values():
        key = Key(score.task, score.metric, score.filter)
        found[key] = Measured(
            value=score.value,
            stderr=score.stderr,
            n=score.n,
            version=score.version,
            shots=score.shots,
            higher_is_better=score.higher_is_better,
            task_hash=score.task_hash,
            samples=group_samples(key, score.value, samples, model.groups),
        )
    return found


def _row(comparison: Comparison, ids: Mapping[str, int]) -> dict[str, Any]:
    row = stored(comparison)
    row["candidate_id"] = ids[row.pop("candidate")]
    row["baseline_id"] = ids[row.pop("baseline")]
    return row
