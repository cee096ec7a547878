"""What is kept with a model beside its scores: GPU memory and energy, adapter size, errors by label."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np

from engine.metrics.classification import Classification, confusion, per_class
from engine.models.device_use import DeviceUse, device_use
from engine.phases.efficiency import adapter_facts
from engine.phases.score import load
from engine.phases.slices import Scored
from engine.phases.work import Work
from engine.plan.plan import Model
from store import tables
from store.write import Transaction

CLASSIFICATION, USE = "classification", "device_use"
ELSEWHERE = {
    "server": "the answers come from a server, whose devices cannot be seen from here",
    "recorded": "the answers were made elsewhere",
}
CLUSTER = "the answers come from a cluster, whose devices cannot be seen from here"


@contextmanager
def measured_use(work: Work, model: Model) -> Iterator[None]:
    """Keeps what the GPUs were at while the model answered; parts of a resumed run are added up."""
    reason = ELSEWHERE.get(model.kind) or (CLUSTER if work.plan.compute.engine == "ray" else None)
    if reason:
        yield
        _keep(work, model, asdict(DeviceUse(reason=reason, energy_reason=reason)))
        return
    known = work.recorder.column(tables.Response, "example_id", model_id=work.model_ids[model.name])
    if len(known) >= len(work.examples):
        yield
        return
    before = _details(work, model).get(USE)
    with device_use() as use:
        yield
    _keep(work, model, use.added(before))


def _keep(work: Work, model: Model, use: dict[str, Any]) -> None:
    work.recorder.set_model(work.model_ids[model.name], details=_details(work, model) | {USE: use})


def write_facts(work: Work, transaction: Transaction, scored: Mapping[str, Scored]) -> None:
    """Adds the adapter's size, and the table and confusion matrix of a classifier, to each model's facts."""
    for model in work.plan.models:
        details = _details(work, model)
        if model.adapter is not None:
            size = adapter_facts(model, details.get("parameters"))
            details = details | {"adapter": (details.get("adapter") or {}) | size}
        table = _classification(work, scored[model.name])
        if table is not None:
            details = details | {CLASSIFICATION: table}
        transaction.update(tables.Model, work.model_ids[model.name], details=details or None)


def _classification(work: Work, scored: Scored) -> dict[str, Any] | None:
    """Each label's precision, recall, F1 and examples, and examples by label and answer (last: not found)."""
    if CLASSIFICATION not in work.plan.metrics.use:
        return None
    metric = load(work.plan, CLASSIFICATION)
    assert isinstance(metric, Classification)
    rows = list(scored.parts["macro_f1"].values())
    if not rows:
        return None
    parts = np.array(rows)
    return {
        "labels": list(metric.labels),
        "per_class": [asdict(row) for row in per_class(parts, metric.labels)],
        "confusion": confusion(parts).tolist(),
    }


def _details(work: Work, model: Model) -> dict[str, Any]:
    found: dict[str, Any] | None = work.recorder.rows(tables.Model, id=work.model_ids[model.name])[0][
        "details"
    ]
    return found or {}
