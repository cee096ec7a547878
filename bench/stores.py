"""Stores of any size to measure the app on: many runs, or one run with many examples."""

import time
from pathlib import Path
from typing import Any

from store import records
from store.write import Recorder, create_run, one_transaction

BATCH = 5_000


def many_runs(folder: Path, count: int) -> None:
    """A history of finished runs, each with two models, a win rate and now and then an alert."""
    now = time.time()
    with one_transaction(folder) as transaction:
        transaction.append(
            [
                records.Run(**_run(f"bench-{place:05}", now - 60 * (count - place)), id=place + 1)
                for place in range(count)
            ]
        )
        transaction.append(
            [
                records.StoredModel(run_id=run, name=name, role=role, kind="local", position=place)
                for run in range(1, count + 1)
                for place, (name, role) in enumerate([("base", "baseline"), ("lora", "candidate")])
            ]
        )
        judge: dict[str, Any] = {"name": "reference", "kind": "pairwise", "prompt_hash": "h"}
        transaction.append(
            [records.StoredJudge(**judge, run_id=run, is_language_model=False) for run in range(1, count + 1)]
        )
        rate: dict[str, Any] = {"wins": 120, "losses": 60, "ties": 20, "failed": 0}
        rate |= {"win_rate": 0.65, "low": 0.6, "high": 0.7}
        transaction.append(
            [
                records.StoredWinRate(**rate, judge_id=run, candidate_id=2 * run, baseline_id=2 * run - 1)
                for run in range(1, count + 1)
            ]
        )


def one_large_run(folder: Path, examples: int) -> int:
    """A run of two models over so many examples, with two scores each; returns its id."""
    run_id = create_run(folder, records.Run(**_run("large", time.time())))
    recorder = Recorder(folder, run_id)
    base, lora = (
        recorder.insert(
            records.StoredModel(run_id=run_id, name=name, role=role, kind="local", position=place)
        )
        for place, (name, role) in enumerate([("base", "baseline"), ("lora", "candidate")])
    )
    recorder.append(
        [records.StoredMetric(**_metric(run_id, name, place)) for place, name in enumerate(MEASURES)]
    )
    for start in range(0, examples, BATCH):
        places = range(start, min(start + BATCH, examples))
        with recorder.transaction() as transaction:
            transaction.append([records.StoredExample(**_example(place)) for place in places])
            transaction.append(
                [records.RunExample(run_id=run_id, position=place, example_id=place + 1) for place in places]
            )
            for model in (base, lora):
                transaction.append([records.StoredResponse(**_response(model, place)) for place in places])
                transaction.append(
                    [
                        records.StoredScore(**_score(model, measure, place))
                        for measure in MEASURES
                        for place in places
                    ]
                )
    recorder.close()
    return run_id


MEASURES = ("rougeL", "token_f1")
_TEXT = "The parcel left our house on the {} of May and should be with you within {} working days. "


def _run(name: str, created: float) -> dict[str, Any]:
    return {
        "name": name,
        "status": "finished",
        "created": created,
        "started": created,
        "finished": created + 30,
        "passed": True,
        "plan": "",
        "plan_hash": "0" * 64,
        "plan_folder": "/",
        "plan_file": "plan.toml",
        "eval_set": "v",
    }


def _metric(run_id: int, name: str, place: int) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "measure": name,
        "position": place,
        "direction": "higher",
        "low": 0.0,
        "high": 1.0,
        "unit": "",
        "version": "1",
        "source": "",
        "meaning": "",
    }


def _example(place: int) -> dict[str, Any]:
    return {
        "eval_set": "v",
        "example": f"example-{place:07}",
        "position": place,
        "query": f"Where is parcel {place}?",
        "messages": [],
        "references": [_TEXT.format(1, 2)],
        "category": "parcels",
        "extra": {},
    }


def _response(model: int, place: int) -> dict[str, Any]:
    return {
        "model_id": model,
        "example_id": place + 1,
        "text": _TEXT.format(place % 31, model) * 4,
        "tokens_in": 12,
        "tokens_out": 80,
        "finish_reason": "stop",
        "latency_s": 0.4,
        "created": 0.0,
    }


def _score(model: int, measure: str, place: int) -> dict[str, Any]:
    return {
        "model_id": model,
        "measure": measure,
        "example_id": place + 1,
        "value": (place * 37 + model * 11) % 100 / 100,
        "reason": None,
        "parts": None,
    }
