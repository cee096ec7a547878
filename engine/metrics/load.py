"""Metrics by name: those of Assay, of Python files and of installed packages."""

from collections.abc import Iterable, Mapping
from typing import Any

from engine.errors import BadInput
from engine.metrics.metric import Metric
from engine.metrics.own import load_own
from engine.plan.errors import listed, nearest
from engine.plan.metrics import REGISTRY, installed, is_own, make_built_in

CLASH_WAY_OUT = "Leave one of the two out, or give the measure of your own metric another name."


def load_metric(name: str, settings: Mapping[str, Any]) -> Metric:
    """The metric of that name, made with its own table of settings.

    The name is one of REGISTRY, a place in a Python file ("my_metrics.py:polite") or an entry point of an
    installed package. Raises BadInput for an unknown metric or setting, with the nearest name that is known.
    """
    if name in REGISTRY:
        metric: Metric = make_built_in(name, settings)
        return metric
    packages = installed()
    if is_own(name) or name in packages:
        return load_own(name, settings)
    known = [*REGISTRY, *packages]
    raise BadInput(f'unknown metric "{name}"{nearest(name, known)}', f"Metrics: {listed(known)}.")


def load_metrics(names: Iterable[str], settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Metric]:
    """The metrics of those names, each made with its own table of `settings`, in order.

    Raises BadInput as `load_metric` does, and when two of them give a measure of the same name.
    """
    metrics = {name: load_metric(name, settings.get(name, {})) for name in names}
    for problem in clashes(metrics):
        raise BadInput(problem, CLASH_WAY_OUT)
    return metrics


def clashes(metrics: Mapping[str, Metric]) -> list[str]:
    """Of each measure that two metrics give, a sentence naming both: their values could not be told apart."""
    first: dict[str, str] = {}
    return [
        f'the metrics "{first[measure.name]}" and "{name}" both give a measure named "{measure.name}"'
        for name, metric in metrics.items()
        for measure in metric.measures
        if first.setdefault(measure.name, name) != name
    ]
