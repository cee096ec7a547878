"""A run's candidate as the reference of production traffic, in place of its first periods."""

import json

import numpy as np

from engine.data.coverage import question
from engine.data.versions import example_of
from engine.errors import BadInput
from engine.traffic.drift import Places
from engine.traffic.measures import measure
from engine.traffic.samples import NO_MODEL, Sample, sample_of
from store import people
from store.read import evidence, history
from store.read.history import Connection
from store.read.monitor import Observed
from store.records import TrafficEvent

ACCEPTED = "accepted"


def of_run(connection: Connection, name: str, places: Places | None) -> tuple[Sample, str]:
    """What a run's candidate answered, measured as traffic is, and what that is in words.

    `name` is a run, or ACCEPTED for the one that was accepted last. Latency and models are not compared: a
    run has other machines and other names. Raises BadInput where that is no single candidate.
    """
    run_id, chosen = _candidate(connection, name)
    candidates = [model for model in history.models(connection, run_id) if model.role == "candidate"]
    model = next((each for each in candidates if each.name == chosen), None)
    if model is None and len(candidates) == 1:
        (model,) = candidates
    if model is None:
        names = ", ".join(each.name for each in candidates) or "none"
        raise BadInput(
            f"run {run_id} has not one candidate but: {names}", f"`assay accept {run_id} NAME` says which one"
        )
    answers = evidence.answers(connection, model.id)
    rows, texts = [], []
    for row in evidence.run_examples(connection, run_id):
        for answer in answers.get(row.id, ())[:1]:
            example = example_of(row)
            event = TrafficEvent(
                id=f"run {run_id} example {row.id}",
                time=0.0,
                received=0.0,
                source="run",
                model=NO_MODEL,
                question="",
                messages=list(example.messages),
                response=answer.text,
                calls=answer.calls,
                finish_reason=answer.finish_reason,
            )
            rows.append(_observed(event))
            texts.append(question(example))
    if not rows:
        raise BadInput(f"run {run_id}: {model.name} has no answers", "choose another run as the reference")
    if places:
        clusters, distances = places.space().place(texts)
        rows = [
            row._replace(
                cluster=int(cluster), distance=None if distances is None else float(distances[place])
            )
            for place, (row, cluster) in enumerate(zip(rows, clusters, strict=True))
        ]
    return sample_of(rows, corrections=False), f"run {run_id}, {model.name}"


def _candidate(connection: Connection, name: str) -> tuple[int, str | None]:
    if name != ACCEPTED:
        run_id = history.find_run(connection, name)
        accepted = people.accepted_of(connection, run_id)
        return run_id, accepted[0] if accepted else None
    mark = people.accepted(connection)
    if mark is None:
        raise BadInput("no run is accepted", "`assay accept RUN` says which one is the reference")
    return mark.run_id, mark.value


def _observed(event: TrafficEvent) -> Observed:
    found = measure(event)
    return Observed(
        time=np.nan,
        variant="",
        model=event.model,
        version=None,
        unit=event.id,
        question=event.question,
        latency_s=None,
        answered=int(event.response is not None),
        characters=found.characters,
        cut=found.cut,
        refused=found.refused,
        well_formed=found.well_formed,
        same_language=found.same_language,
        traits=json.dumps(found.traits),
        cluster=None,
        distance=None,
        thumbs=None,
        rating=None,
        corrected=0,
    )
