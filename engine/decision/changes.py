"""What changed since the run before: training settings, and their effect on the scores."""

from dataclasses import dataclass

from engine.decision.facts import AnsweredQuestion, CandidateFacts
from engine.gates.figures import number
from engine.plan.training_config import Retrained, retrained
from store.read import history, runs
from store.read.history import Connection
from store.read.rows import ModelRow, ModelScoreRow
from store.records import Run


@dataclass(frozen=True, slots=True)
class PreviousRun:
    """The newest finished run of the same name before a run."""

    run: Run
    models: list[ModelRow]
    scores: list[ModelScoreRow]

    def candidate(self, name: str, alone: bool) -> ModelRow | None:
        """The candidate of that name; with `alone` the only one, whatever its name."""
        found = [model for model in self.models if model.role == "candidate" and not model.is_cut]
        same = next((model for model in found if model.name == name), None)
        return found[0] if same is None and alone and len(found) == 1 else same


def read_before(connection: Connection, run_id: int) -> PreviousRun | None:
    """None where there is no such run."""
    found = runs.previous_run(connection, run_id)
    return None if found is None else _read(connection, found)


def _read(connection: Connection, run_id: int) -> PreviousRun:
    return PreviousRun(
        history.run(connection, run_id),
        history.models(connection, run_id),
        history.model_scores(connection, run_id),
    )


def retrainings(connection: Connection, older: int, newer: int) -> list[Retrained]:
    """How each candidate's training differs from its counterpart's in the older run."""
    before = _read(connection, older)
    models = history.models(connection, newer)
    candidates = [model for model in models if model.role == "candidate" and not model.is_cut]
    pairs = [(before.candidate(model.name, len(candidates) == 1), model) for model in candidates]
    return [retrained(model.name, old.details, model.details) for old, model in pairs if old is not None]


def changed(case: CandidateFacts, before: PreviousRun, *, alone: bool) -> AnsweredQuestion | None:
    """The training settings that changed, with both runs' primary scores."""
    question = f"Changed since run {before.run.id}?"
    model = before.candidate(case.name, alone)
    if model is None:
        return None
    found = retrained(case.name, model.details, case.model.details)
    same = model.fingerprint is not None and model.fingerprint == case.model.fingerprint
    weights = "same weights" if same else "different weights"
    evidence = [weights, *(change.said for change in found.changes), *_scores(case, before, model.name)]
    if found.reason:
        return AnsweredQuestion(question, f"{weights}; {found.said}", "missing", tuple(evidence), "changed")
    return AnsweredQuestion(
        question,
        found.said if found.changes else f"no training setting; {weights}",
        "good",
        tuple(evidence),
        "changed",
    )


def _scores(case: CandidateFacts, before: PreviousRun, name: str) -> list[str]:
    if before.run.eval_set is None or before.run.eval_set != case.facts.run.eval_set:
        return ["another eval set: scores are not comparable"]
    old = {row.measure: row.value for row in before.scores if row.model == name}
    return [
        f"{measure} {number(old[measure])} → {number(case.facts.score(case.name, measure))}"
        for measure in case.measures
        if measure in old
    ] + [f"assay compare {before.run.id} {case.facts.run.id} shows whether that is more than chance"]
