"""Small runs, written by the recorder: what the decision on them is tested on."""

from itertools import count
from pathlib import Path
from typing import Any

from store import records
from store.write import Recorder, create_run
from tests.rulings import ruled, ruled_slices

PLAN = """\
name = "decided"
[[models]]
name = "prompted"
system = "Answer as JSON."
[gates]
max_benchmark_drop = 0.05
"""
Row = dict[str, Any]
_NUMBERS = count()  # a name of its own for each run, so that none has one before it


def compared(measure: str, delta: float, width: float = 0.02, **more: Any) -> Row:
    """A measure of the candidate against the base, 0.4 there; `width` is half its interval."""
    clear = abs(delta) > width
    row: Row = {"baseline": "base", "kind": "metric", "measure": measure, "direction": "higher"}
    row |= {"baseline_value": 0.4, "candidate_value": 0.4 + delta, "delta": delta, "low": delta - width}
    row |= {"high": delta + width, "p": 0.001 if clear else 0.5, "n": 200, "smallest_detectable": 0.03}
    return row | more


def benchmark(delta: float, width: float = 0.01, **more: Any) -> Row:
    return compared("arithmetic · acc", delta, width, kind="benchmark", baseline_value=0.9) | {
        "candidate_value": 0.9 + delta, **more
    }  # fmt: skip


GOOD = [compared("exact_match", 0.4), compared("exact_match", 0.35, baseline="prompted"), benchmark(0.0)]


def alert(severity: str, kind: str, message: str = "", **more: Any) -> Row:
    row = {"severity": severity, "kind": kind, "candidate": "tuned", "baseline": "base", "measure": "x"}
    return row | {"message": message, "evidence": {}, "created": 1.0, **more}


def told(
    folder: Path,
    comparisons: list[Row] = GOOD,
    alerts: tuple[Row, ...] = (),
    *,
    passed: bool | None = True,
    status: str = "finished",
    details: Row | None = None,
    full: Row | None = None,
    scores: tuple[tuple[str, str, float], ...] = (),
    win_rate: Row | None = None,
    audits: tuple[Row, ...] = (),
    slices: tuple[Row, ...] = (),
    fingerprint: str = "t",
    baselines: tuple[str, ...] = ("base", "prompted"),
    **run: Any,
) -> int:
    """Writes one run of base, prompted base and the candidate "tuned"; `full` is a full fine-tune beside."""
    names = {
        "name": f"decided-{next(_NUMBERS)}",
        "plan": PLAN,
        "plan_hash": "0",
        "plan_folder": "/",
        "plan_file": "p.toml",
    }
    summary = {"selected": 200, "split": "all", "leaked": 0}
    recorder = Recorder(
        folder,
        create_run(
            folder,
            records.Run(**{**names, "created": 1.0, "eval_set": "e", "data_summary": summary, **run}),
        ),
    )
    own: Row = {"path": "weights", "architecture": "Llama", "parameters": 1_000}
    made: list[tuple[str, str, str, Row]] = [(name, "baseline", "b", own) for name in baselines]
    made.append(("tuned", "candidate", fingerprint, own | (details or {})))
    if full is not None:
        made.append(("full", "candidate", "f", own | full))
    ids = {
        name: recorder.insert(
            records.StoredModel(
                run_id=recorder.run_id, name=name, role=role, kind="local", position=place,
                fingerprint=mark, details=found, passed=passed if role == "candidate" else None,
            )
        )
        for place, (name, role, mark, found) in enumerate(made)
    }  # fmt: skip
    metrics = dict.fromkeys(row["measure"] for row in comparisons if row["kind"] == "metric")
    metrics |= dict.fromkeys(measure for _, measure, _ in scores)
    unlike = {"low": 0.0, "high": 1.0, "unit": "", "version": "1", "source": "test", "meaning": "m"}
    recorder.append(
        [
            records.StoredMetric(
                **{
                    "run_id": recorder.run_id,
                    "position": place,
                    "measure": name,
                    "direction": "higher",
                    **unlike,
                }
            )
            for place, name in enumerate(metrics)
        ]
    )
    ended = [row | {"run_id": recorder.run_id} for row in alerts]
    recorder.append([records.StoredAlert(**row) for row in ended])
    made = ruled([_paired(row, ids) for row in comparisons if row["baseline"] in ids], allowed=0.05)
    recorder.append([records.StoredComparison(**row) for row in made])
    made = ruled_slices([_paired(row, ids) for row in slices])
    recorder.append([records.SliceComparison(**row) for row in made])
    recorder.append(
        [
            records.ModelScore(model_id=ids[model], measure=measure, value=value, n=200, missing=0)
            for model, measure, value in scores
        ]
    )
    if win_rate is not None:
        judge = {"run_id": recorder.run_id, "name": "gpt", "kind": "pairwise", "is_language_model": True}
        judge_id = recorder.insert(records.StoredJudge(**{**judge, "prompt_hash": "-"}))
        pair = {"judge_id": judge_id, "candidate_id": ids["tuned"], "baseline_id": ids["base"]}
        counts = {"wins": 150, "losses": 40, "ties": 10, "failed": 0, "position_bias": 0.5}
        recorder.append(records.StoredWinRate(**{**pair, **counts, **win_rate}))
        recorder.append([records.Audit(judge_id=judge_id, **row) for row in audits])
    recorder.set_run(status=status, passed=passed, started=1.0, finished=2.0)
    recorder.close()
    return recorder.run_id


def _paired(row: Row, ids: dict[str, int]) -> Row:
    rest = {key: value for key, value in row.items() if key != "baseline"}
    return rest | {"candidate_id": ids["tuned"], "baseline_id": ids[row["baseline"]]}
