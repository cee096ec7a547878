"""Where a plan's models answer: on this machine one after another, or spread over a Ray cluster."""

from collections.abc import Mapping
from typing import Any, Literal

from engine.plan.errors import Problem, key_path
from engine.plan.types import Count, Name, Table


class Compute(Table):
    """The engine that runs the plan's local models.

    `address` is for Ray: "auto" is the cluster that this machine belongs to, "local" one that is started here
    for the run, else "host:port" of a cluster's head. `workers` is the most models that answer at a time;
    None is one for each GPU, or one for each machine where there is none.
    """

    engine: Literal["local", "ray"] = "local"
    address: Name = "auto"
    workers: Count | None = None


def compute_checks(raw: Mapping[str, Any]) -> list[Problem]:
    """Keys that would be without effect, and what a cluster cannot do."""
    compute = raw.get("compute")
    if not isinstance(compute, Mapping):
        return []
    if compute.get("engine", "local") == "local":
        return [
            Problem(f"compute.{key}", 'has no meaning without engine = "ray"')
            for key in ("address", "workers")
            if key in compute
        ]
    problems = []
    if str(compute.get("address", "")).startswith("ray://"):
        message = (
            "Ray's client protocol cannot stream answers: start the run on a machine of the cluster "
            'with "auto", or give the head as "host:port"'
        )
        problems.append(Problem("compute.address", message))
    models = raw.get("models")
    for place, model in enumerate(models if isinstance(models, list) else ()):
        if isinstance(model, Mapping) and str(model.get("device", "")).startswith("cuda:"):
            where = key_path(raw, ("models", place, "device"))
            problems.append(Problem(where, 'Ray chooses the GPU; allowed: "auto", "cuda" or "cpu"'))
    return problems
