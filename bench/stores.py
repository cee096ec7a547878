"""Stores of any size to measure the app on: many runs, many examples, or a sweep of many checkpoints."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from store import records
from store.write import Recorder, Transaction, create_run, one_transaction

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


def one_sweep(folder: Path, checkpoints: int, examples: int) -> int:
    """A finished run of a base and its checkpoints, scored, judged, compared and sliced; returns its id."""
    run_id = create_run(folder, records.Run(**_run("sweep", time.time())))
    recorder = Recorder(folder, run_id)
    names = ["base", *(f"checkpoint-{100 * step}" for step in range(1, checkpoints + 1))]
    base, *others = (
        recorder.insert(
            records.StoredModel(
                run_id=run_id,
                name=name,
                role="candidate" if place else "baseline",
                kind="local",
                position=place,
                passed=True if place else None,
                details={"path": "base", "adapter": {"path": name, "r": 8 << place % 3}} if place else None,
            )
        )
        for place, name in enumerate(names)
    )
    judge_id = recorder.insert(
        records.StoredJudge(
            run_id=run_id, name="judge", kind="pairwise", prompt_hash="h", is_language_model=True
        )
    )
    recorder.append(
        [records.StoredMetric(**_metric(run_id, name, place)) for place, name in enumerate(JUDGED)]
    )
    for start in range(0, examples, BATCH):
        places = range(start, min(start + BATCH, examples))
        with recorder.transaction() as transaction:
            transaction.append([records.StoredExample(**_example(place)) for place in places])
            transaction.append(
                [records.RunExample(run_id=run_id, position=place, example_id=place + 1) for place in places]
            )
            for model in (base, *others):
                transaction.append([records.StoredResponse(**_response(model, place)) for place in places])
                scores = [_score(model, measure, place) for measure in JUDGED for place in places]
                transaction.append([records.StoredScore(**_verdict(row)) for row in scores])
            for model in others:
                ids: dict[str, Any] = {"judge_id": judge_id, "candidate_id": model, "baseline_id": base}
                transaction.append(
                    [
                        records.Verdict(
                            **ids,
                            example_id=place + 1,
                            outcome=("win", "loss", "tie")[(place + model) % 3],
                            consistent=place % 7 > 0,
                        )
                        for place in places
                    ]
                )
    with recorder.transaction() as transaction:
        _sum_up(transaction, judge_id, base, others, examples)
    recorder.close()
    return run_id


def _sum_up(transaction: Transaction, judge_id: int, base: int, others: Sequence[int], n: int) -> None:
    """What the last phases of a run write: means, win rates, comparisons, slices, and some alerts."""
    for place, model in enumerate((base, *others)):
        transaction.append(
            [
                records.ModelScore(
                    model_id=model, measure=measure, n=n, missing=0, value=0.4 + 0.01 * place,
                    low=0.39 + 0.01 * place, high=0.41 + 0.01 * place,
                )
                for measure in JUDGED
            ]
        )  # fmt: skip
    ruling: dict[str, Any] = {
        "standing": "better",
        "family": "checked",
        "family_size": 3,
        "p": 0.001,
        "p_corrected": 0.003,
    }
    for place, model in enumerate(others, 1):
        ids: dict[str, Any] = {"candidate_id": model, "baseline_id": base}
        rate: dict[str, Any] = {
            "wins": n // 2,
            "losses": n // 4,
            "ties": n // 4,
            "failed": 0,
            "win_rate": 0.5 + 0.01 * place,
        }
        transaction.append(
            [records.StoredWinRate(**rate, judge_id=judge_id, **ids, low=0.49, high=0.51 + 0.01 * place)]
        )
        kinds = [("metric", name, 0.01 * place) for name in JUDGED]
        kinds.append(("benchmark", "arithmetic · acc", -0.002 * (place * 7 % 30)))
        transaction.append(
            [
                records.StoredComparison(
                    **ids, **ruling, kind=kind, measure=name, direction="higher", baseline_value=0.4, n=n,
                    candidate_value=0.4 + delta, delta=delta, low=delta - 0.01, high=delta + 0.01,
                    allowed=0.05,
                )
                for kind, name, delta in kinds
            ]
        )  # fmt: skip
        sliced = {name: value for name, value in ruling.items() if name != "p_corrected"}
        transaction.append(
            [
                records.SliceComparison(
                    **ids, **sliced, measure=name, slice=f"category: {slice_}", direction="higher",
                    baseline_value=0.4, candidate_value=0.45, delta=0.05, low=0.01, high=0.09, n=n // SLICES,
                )
                for name in JUDGED
                for slice_ in range(SLICES)
            ]
        )  # fmt: skip


def _verdict(row: dict[str, Any]) -> dict[str, Any]:
    """The same score, of a measure that says right or wrong as 1 or 0."""
    return row | {"value": float(row["value"] >= 0.4)} if row["measure"] == JUDGED[-1] else row


JUDGED = ("rougeL", "token_f1", "exact_match")
SLICES = 12
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
        "category": f"parcels {place % 12}",
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
