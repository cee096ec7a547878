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


def many_candidates(folder: Path, count: int) -> int:
    """A finished run of so many checkpoints against one base, each compared, judged and decided on."""
    run_id = create_run(folder, records.Run(**_run("sweep", time.time())))
    recorder = Recorder(folder, run_id)
    names = ["base", *(f"llama-3.1-8b-lora-r16-step-{100 * place:04}" for place in range(1, count + 1))]
    base, *candidates = (
        recorder.insert(
            records.StoredModel(
                run_id=run_id,
                name=name,
                role="candidate" if place else "baseline",
                kind="local",
                position=place,
                passed=place % 3 > 0 if place else None,
            )
        )
        for place, name in enumerate(names)
    )
    recorder.append(
        [records.StoredMetric(**_metric(run_id, name, place)) for place, name in enumerate(MEASURES)]
    )
    judge = recorder.insert(
        records.StoredJudge(
            run_id=run_id, name="gpt", kind="pairwise", prompt_hash="h", is_language_model=True
        )
    )
    for place, candidate in enumerate(candidates):
        wins = 100 + 3 * place
        counts: dict[str, Any] = {
            "wins": wins,
            "losses": 190 - wins,
            "ties": 10,
            "failed": 0,
            "win_rate": (wins + 5) / 200,
        }
        ends: dict[str, Any] = {"low": (wins - 9) / 200, "high": min(1.0, (wins + 19) / 200)}
        recorder.append(
            records.StoredWinRate(judge_id=judge, candidate_id=candidate, baseline_id=base, **counts, **ends)
        )
        recorder.append(
            [
                records.StoredComparison(**_comparison(candidate, base, measure, 0.01 * place))
                for measure in MEASURES
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


def _comparison(candidate: int, base: int, measure: str, delta: float) -> dict[str, Any]:
    return {
        "candidate_id": candidate,
        "baseline_id": base,
        "kind": "metric",
        "measure": measure,
        "direction": "higher",
        "baseline_value": 0.4,
        "candidate_value": 0.4 + delta,
        "delta": delta,
        "low": delta - 0.05,
        "high": delta + 0.05,
        "p": 0.001 if delta > 0.05 else 0.4,
        "n": 200,
        "smallest_detectable": 0.07,
        "standing": "better" if delta > 0.05 else "inconclusive",
        "family": "checked",
        "family_size": 2,
        "p_corrected": 0.002 if delta > 0.05 else 0.8,
        "low_corrected": delta - 0.06,
        "high_corrected": delta + 0.06,
        "needed": None if delta > 0.05 else 900,
    }
