"""Audits of a run's judges: biases, kinship with the models, and how they rank them."""

from collections import defaultdict
from dataclasses import asdict
from typing import Any, Final

from engine.judges.audit import Judged, audit, kin
from engine.judges.judge import WHOLE
from engine.phases.judging.shared import given_answers, match_name
from engine.phases.work import Work
from engine.stats.ranking import Points, bradley_terry
from engine.stats.winrate import POINTS
from store import tables
from store.records.alert import Alert, KinEvidence

KIN: Final = "self_preference"


def record_audits(work: Work) -> None:
    """Writes the leanings of every judge of pairs, its ranking of the models, and who is of its family."""
    for judge in work.recorder.rows(tables.Judge, run_id=work.recorder.run_id):
        if judge["kind"] == "pairwise":
            verdicts = work.recorder.rows(tables.Verdict, judge_id=judge["id"], turn=WHOLE)
            work.recorder.put(tables.Audit, _leanings(work, judge["id"], verdicts))
            work.recorder.put(tables.Ranking, _ranking(work, judge["id"], verdicts))
        work.recorder.put(tables.Audit, _kin(work, judge))


def kin_alerts(work: Work) -> list[Alert]:
    """A note for each candidate that a judge of its own family grades."""
    alerts = []
    for judge in work.recorder.rows(tables.Judge, run_id=work.recorder.run_id):
        related = _related(work, judge)
        for model in work.plan.candidates:
            if model.name in related:
                message = (
                    f"{judge['name']} ({judge['details']['model']}) is of the same family as {model.name}: "
                    "judges tend to prefer the words of their own kin. Add a judge of another family."
                )
                evidence = KinEvidence(judge=judge["name"], kin=tuple(related))
                alerts.append(Alert("note", KIN, model.name, None, "win_rate", message, evidence))
    return alerts


def _leanings(work: Work, judge_id: int, verdicts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = {place: name for name, place in work.model_ids.items()}
    texts = {
        work.model_ids[model.name]: {place: given.text for place, given in given_answers(work, model).items()}
        for model in work.plan.models
    }
    matches: dict[tuple[int, int], list[Judged]] = defaultdict(list)
    for row in verdicts:
        place = row["example_id"]
        candidate, baseline = texts.get(row["candidate_id"], {}), texts.get(row["baseline_id"], {})
        if place in candidate and place in baseline:
            matches[row["candidate_id"], row["baseline_id"]].append(
                Judged(row["outcome"], row["consistent"], candidate[place], baseline[place])
            )
    return [
        {
            "judge_id": judge_id,
            "subject": match_name(names[candidate], names[baseline]),
            **asdict(figure),
        }
        for (candidate, baseline), judged in matches.items()
        for figure in audit(judged, work.plan.data.seed)
        if figure.measure != "length_controlled"  # stands with the win rate
    ]


def _ranking(work: Work, judge_id: int, verdicts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = {place: name for name, place in work.model_ids.items()}
    examples: dict[int, dict[tuple[str, str], float]] = defaultdict(dict)
    for row in verdicts:
        if row["outcome"] in POINTS:
            sides = names[row["candidate_id"]], names[row["baseline_id"]]
            examples[row["example_id"]][sides] = POINTS[row["outcome"]]
    played: list[Points] = list(examples.values())
    models = [model.name for model in work.plan.models]
    return [
        {
            "judge_id": judge_id,
            "model_id": work.model_ids[found.model],
            "turn": WHOLE,
            "strength": found.strength,
            "low": found.low,
            "high": found.high,
            "n": found.n,
            "reason": found.reason,
        }
        for found in bradley_terry(models, played, work.plan.data.seed)
    ]


def _kin(work: Work, judge: dict[str, Any]) -> list[dict[str, Any]]:
    related = _related(work, judge)
    if not related:
        return []
    return [
        {
            "judge_id": judge["id"],
            "measure": KIN,
            "subject": ", ".join(related),
            "value": None,
            "n": len(related),
            "reason": "judge and models are of one family by name: how much that matters is not measured",
        }
    ]


def _related(work: Work, judge: dict[str, Any]) -> list[str]:
    models = [(model.name, model.path or model.model) for model in work.plan.models]
    return kin((judge["details"] or {}).get("model"), models) if judge["is_language_model"] else []
