"""A stored run's judges compared with people's preferences, and the alerts on those that disagree."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass

from engine.compare.calibration import Calibration, CriterionAgreement, HumanLabel, calibrate, criteria
from engine.errors import BadInput
from store.read import history, labels
from store.records.alert import AgreementEvidence, Alert, Severity

KIND = "judge_agreement"
FEWEST = 10  # labelled pairs below which an agreement says nothing


@dataclass(frozen=True, slots=True)
class JudgeAgreement:
    """One judge against people on one candidate and one baseline."""

    judge: str
    judge_id: int
    is_language_model: bool
    candidate: str
    baseline: str
    annotators: tuple[str, ...]
    calibration: Calibration
    win_rate_gate: float | None


@dataclass(frozen=True, slots=True)
class RunAgreement:
    """Every labelled pair of models, and how each pointwise judge applies the rubric's criteria."""

    matches: list[JudgeAgreement]
    criteria: dict[str, list[CriterionAgreement]]
    alerts: list[Alert]


def agreement_of(connection: history.Connection, run_id: int, judge: str | None = None) -> RunAgreement:
    """Compares every pairwise judge, or the one named, with people's preferences.

    Raises StoreError for an unknown run, and BadInput when no judge has that name or nobody labelled
    anything.
    """
    run = history.run(connection, run_id)
    judges = history.judges(connection, run_id)
    chosen = [row for row in judges if judge in (None, row.name)]
    if not chosen:
        known = ", ".join(row.name for row in judges) or "none"
        raise BadInput(f"run {run_id} has no judge {judge!r}", f"its judges: {known}")
    gates = tomllib.loads(run.plan).get("gates", {})
    names = {row.id: row.name for row in history.models(connection, run_id)}
    matches = []
    for candidate, baseline in labels.labelled_pairs(connection, run_id):
        said = _labels(connection, run_id, candidate, baseline)
        for row in chosen:
            judged = dict(labels.verdicts(connection, row.id, candidate, baseline))
            if row.kind == "pointwise" or not judged:
                continue
            found = calibrate(said, judged, gates.get("min_win_rate"))
            annotators = tuple(dict.fromkeys(label.annotator for label in said))
            sides = names[candidate], names[baseline]
            matches.append(
                JudgeAgreement(
                    row.name, row.id, row.is_language_model, *sides, annotators, found,
                    gates.get("min_win_rate"),
                )
            )  # fmt: skip
    read = {row.name: _criteria(connection, run_id, row.id) for row in chosen if row.kind == "pointwise"}
    by_criterion = {name: found for name, found in read.items() if found}
    if not matches and not by_criterion:
        raise BadInput(
            f"nobody has labelled pairs of answers that a judge of run {run_id} has judged",
            f"`assay review {run_id}` asks; the queue “random” lets the judge's win rate be corrected",
        )
    alerts = [alert for match in matches for alert in _alerts(match, gates.get("min_judge_agreement"))]
    return RunAgreement(matches, by_criterion, alerts)


def _labels(connection: history.Connection, run_id: int, candidate: int, baseline: int) -> list[HumanLabel]:
    rows = labels.preferences(connection, run_id, candidate, baseline)
    return [HumanLabel(row.example, row.annotator, row.outcome, row.category, row.queue) for row in rows]


def _criteria(connection: history.Connection, run_id: int, judge: int) -> list[CriterionAgreement]:
    people: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in labels.criteria(connection, run_id):
        answer = (str(row.example_id), str(row.model_id))
        people.setdefault(answer, {}).setdefault(row.criterion, []).append(row.value)
    means = {
        answer: {name: sum(values) / len(values) for name, values in ratings.items()}
        for answer, ratings in people.items()
    }
    judged = {
        (str(row.example_id), str(row.model_id)): row.scores
        for row in labels.judged_criteria(connection, judge)
        if row.scores
    }
    return criteria(means, judged)


def _alerts(match: JudgeAgreement, gate: float | None) -> Sequence[Alert]:
    """A judge whose kappa with people is below the plan's gate; a warning while the CI includes the gate."""
    raters = match.calibration.against_people
    kappa = raters.kappa
    if gate is None:
        return []
    if kappa.value is None or raters.pairs < FEWEST:
        why = kappa.reason or f"{raters.pairs} labelled pairs are too few: {FEWEST} are needed"
        message = f"Whether {match.judge} agrees with people is inconclusive: {why}."
        return [_alert("note", match, gate, message)]
    if kappa.value >= gate:
        return []
    settled = kappa.high is not None and kappa.high < gate
    message = (
        f"{match.judge} disagrees with people about {match.candidate} against {match.baseline}: kappa is "
        f"{kappa.value:.2f} over {kappa.n} pairs"
    )
    if kappa.low is not None and kappa.high is not None:
        message += f" (95% CI {kappa.low:.2f} to {kappa.high:.2f})"
    message += f", below the {gate:.2f} that the plan requires."
    if not settled:
        message += " The CI includes the gate: more labels may show that it is met."
    severity: Severity = "critical" if settled else "warning"
    return [_alert(severity, match, gate, message)]


def _alert(severity: Severity, match: JudgeAgreement, gate: float, message: str) -> Alert:
    kappa = match.calibration.against_people.kappa
    evidence = AgreementEvidence(kappa=kappa.value, low=kappa.low, high=kappa.high, n=kappa.n, required=gate)
    return Alert(severity, KIND, match.candidate, match.baseline, match.judge, message, evidence)
