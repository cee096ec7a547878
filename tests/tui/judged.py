"""A store with one judged run: two judges of pairs, their panel, a rater, and all that is known of them."""

from pathlib import Path
from typing import Any

from store import records
from store.write import Recorder, create_run
from tests.tui.history import HOSTILE, NOW

EVAL_SET = "a1b2c3d4"
COUNT = 12
# What each judge said of "tuned" against "base", example by example.
SAID = {
    "gpt-4o": ["win", "win", "win", "tie", "win", "loss", "win", "tie", "win", "win", "loss", "win"],
    "strict": ["win", "loss", "win", "tie", "loss", "loss", "win", "loss", "win", "tie", "loss", "win"],
    "panel": ["win", "tie", "win", "tie", "tie", "loss", "win", "tie", "win", "tie", "loss", "win"],
}
POINTS = {"win": 1.0, "tie": 0.5, "loss": 0.0}


def build(folder: Path) -> Path:
    """Writes the run, finished and passed, into a new store."""
    row = {"name": "judged", "created": NOW - 900, "plan": "", "plan_hash": "9f2c41d07be3", "seed": 0}
    run_id = create_run(
        folder,
        records.Run(**{**row, "plan_folder": "/plans", "plan_file": "plan.toml", "eval_set": EVAL_SET}),
    )
    recorder = Recorder(folder, run_id)
    examples = _examples(recorder)
    models = {
        name: recorder.insert(
            records.StoredModel(run_id=run_id, name=name, role=role, kind="recorded", position=place)
        )
        for place, (name, role) in enumerate(
            [("base", "baseline"), ("tuned", "candidate"), ("older", "candidate")]
        )
    }
    for model_id in models.values():
        answers = [
            {"model_id": model_id, "example_id": example, "text": f"Answer {place}.", "created": NOW}
            for place, example in enumerate(examples)
        ]
        recorder.append([records.StoredResponse(**row) for row in answers])
    judges = {name: _judge(recorder, name) for name in SAID}
    for name, judge_id in judges.items():
        _judge_pairs(recorder, judge_id, models, examples, name)
    _audits(recorder, judges)
    _rate(recorder, models, examples)
    recorder.set_run(status="finished", started=NOW - 800, finished=NOW - 700, passed=True, phase="compare")
    recorder.close()
    return folder


def _examples(recorder: Recorder) -> list[int]:
    found = []
    for place in range(COUNT):
        query = f"Question {place}?" if place else f"Hostile: {HOSTILE}"
        row = {"eval_set": EVAL_SET, "example": f"e{place:02}", "position": place, "query": query}
        row |= {"messages": [{"role": "user", "content": query}], "extra": {"turns": ["one", "And shorter?"]}}
        found.append(recorder.insert(records.StoredExample(**row)))
    recorder.append(
        [
            records.RunExample(run_id=recorder.run_id, position=place, example_id=example)
            for place, example in enumerate(found)
        ]
    )
    return found


def _judge(recorder: Recorder, name: str) -> int:
    row = {"run_id": recorder.run_id, "name": name, "kind": "pairwise", "is_language_model": True}
    details: dict[str, Any] = {"model": name, "part_of": "panel"}
    if name == "panel":
        note = "the majority of 2 judges; a tie without one"
        details = {"model": "gpt-4o + strict", "parts": ["gpt-4o", "strict"], "note": note}
    return recorder.insert(records.StoredJudge(**{**row, "prompt_hash": f"{name:_<16}", "details": details}))


def _judge_pairs(
    recorder: Recorder, judge_id: int, models: dict[str, int], examples: list[int], name: str
) -> None:
    sides = {"judge_id": judge_id, "candidate_id": models["tuned"], "baseline_id": models["base"]}
    said = SAID[name]
    for example, outcome in zip(examples, said, strict=True):
        row = sides | {"example_id": example}
        recorder.append(records.Verdict(**{**row, "outcome": outcome, "consistent": outcome != "tie"}))
        for order in ("candidate_first", "baseline_first") if name != "panel" else ():
            winner = {"win": "candidate", "loss": "baseline", "tie": order.removesuffix("_first")}[outcome]
            paid = {"cost": 0.01 if name == "gpt-4o" else None, "latency_s": 0.4, "confidence": 0.83}
            why = {"reasoning": f"{order}: {HOSTILE}", "raw": "{}", "created": NOW}
            recorder.append(
                records.StoredJudgment(**{**row, "order": order, "winner": winner, **paid, **why})
            )
    rate = sum(POINTS[outcome] for outcome in said) / len(said)
    counted: dict[str, Any] = {
        "wins": said.count("win"),
        "losses": said.count("loss"),
        "ties": said.count("tie"),
        "failed": 0,
    }
    counted |= {"win_rate": rate, "low": rate - 0.2, "high": rate + 0.2, "reason": None}
    counted |= {"length_controlled": rate - 0.1, "length_controlled_low": rate - 0.3}
    counted |= {"length_controlled_high": rate + 0.1}
    bias = None if name == "panel" else 0.5 if name == "strict" else 0.71
    recorder.append(
        [
            records.StoredWinRate(**{**sides, **counted, "turn": 0, "position_bias": bias}),
            records.StoredWinRate(**{**sides, **counted, "turn": 1, "position_bias": bias}),
            records.StoredWinRate(
                **{
                    **sides,
                    **(counted | {"win_rate": 0.25, "low": 0.1, "high": 0.4}),
                    "turn": 2,
                    "position_bias": bias,
                }
            ),
        ]
    )
    strengths = zip(models.values(), (980.0, 1040.0, 955.0), strict=True)
    recorder.append(
        [
            records.Ranking(
                judge_id=judge_id,
                model_id=model,
                turn=0,
                strength=strength,
                n=24,
                low=strength - 30,
                high=strength + 30,
                reason=None,
            )
            for model, strength in strengths
        ]
    )


def _audits(recorder: Recorder, judges: dict[str, int]) -> None:
    match = "tuned against base"
    found: list[tuple[str, str, str, float | None, int]] = [
        ("gpt-4o", "consistency", match, 0.42, 12),
        ("gpt-4o", "longer_wins", match, 0.8, 10),
        ("gpt-4o", "markdown_wins", match, None, 0),
        ("gpt-4o", "constant_answer_wins", "base", 0.3, 10),
        ("gpt-4o", "self_preference", "tuned", None, 1),
        ("gpt-4o", "calls_saved", match, 12.0, 36),
        ("strict", "consistency", match, 0.92, 12),
        ("panel", "consistency", match, 0.58, 12),
        ("panel", "cohen_kappa", "gpt-4o and strict", 0.41, 12),
        ("panel", "raw_agreement", "gpt-4o and strict", 0.58, 12),
        ("panel", "krippendorff_alpha", "all judges", 0.39, 12),
        ("panel", "mean_win_rate", match, 0.63, 12),
    ]
    recorder.append(
        [
            records.Audit(
                judge_id=judges[judge],
                measure=measure,
                subject=subject,
                value=value,
                n=n,
                low=value and value - 0.1,
                high=value and value + 0.1,
                reason="no decided example where the two responses differ in it" if not value else None,
                details={"by": "stopping when settled"} if measure == "calls_saved" else None,
            )
            for judge, measure, subject, value, n in found
        ]
    )


def _rate(recorder: Recorder, models: dict[str, int], examples: list[int]) -> None:
    row = {"run_id": recorder.run_id, "name": "grader", "kind": "pointwise", "is_language_model": True}
    details = {"model": "grader-7b", "scale": [1, 5], "criteria": {"tone": [1, 5], "task": [1, 5]}}
    judge_id = recorder.insert(
        records.StoredJudge(**{**row, "prompt_hash": "c0ffee00c0ffee00", "details": details})
    )
    for model, model_id in models.items():
        for place, example in enumerate(examples):
            rating: dict[str, Any] = {
                "judge_id": judge_id,
                "model_id": model_id,
                "example_id": example,
                "created": NOW,
            }
            if place == 3:
                rating |= {"failure": "no JSON in the answer"}
            else:
                rating |= {
                    "score": 3.5,
                    "scores": {"tone": 3, "task": 4},
                    "reasoning": "Clear.",
                    "cost": 0.02,
                }
            recorder.append(records.StoredRating(**rating))
        value = 3.9 if model == "tuned" else 3.5
        score: dict[str, Any] = {
            "model_id": model_id,
            "measure": "judge:grader",
            "value": value,
            "n": 11,
            "missing": 1,
        }
        recorder.append(
            records.ModelScore(
                **{**score, "low": value - 0.2, "high": value + 0.2, "reason": "no JSON in the answer"}
            )
        )
