"""Metrics by name: the built-in ones, and users' own from a file or an entry point.

Their code runs unchanged, with the user's permissions. An exception or invalid return value
makes a score missing, with the reason; it never ends a run.
"""

import hashlib
import importlib.util
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from engine.data.example import Example
from engine.errors import BadInput
from engine.metrics.metric import Direction, Measure, Metric, Score, missing, no_text
from engine.models.model import Response
from engine.plan.errors import listed, nearest
from engine.plan.metrics import REGISTRY, installed, is_own, make, make_built_in

WAY_OUT = 'A metric of your own is a function or class in a file: use = ["my_metrics.py:polite"].'
_DECLARATION = "__assay_measure__"
_DEFAULT = MappingProxyType({"direction": "higher", "low": 0.0, "high": 1.0, "unit": "share"})
_REASON_LIMIT = 300


def measured(
    *,
    direction: Direction,
    low: float | None = 0.0,
    high: float | None = 1.0,
    unit: str = "share",
    verdict: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declares a function's direction, range and unit; undeclared it is a share, where higher is better.

    `verdict`: it says 1 or 0 of each response, so that several samples have a pass@k.
    """

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        declaration = {"direction": direction, "low": low, "high": high, "unit": unit, "verdict": verdict}
        setattr(function, _DECLARATION, declaration)
        return function

    return declare


def load_own(name: str, settings: Mapping[str, Any]) -> Metric:
    """The metric at "file.py:name", or of the installed package's entry point of that name.

    Raises BadInput when it cannot be loaded.
    """
    path, _, attribute = name.rpartition(":")
    if is_own(name):
        found, version = _attribute(Path(path), attribute)
        source = path
    else:
        found, version, source = _from_package(installed()[name])
    if not isinstance(found, type):
        if settings:
            raise BadInput(
                f'the metric "{name}" is a function, which has no settings.', "A class may have some."
            )
        return _Function(found, source, version)
    metric = _guarded_make(name, found, settings)
    measures = getattr(metric, "measures", None)
    if not isinstance(measures, tuple) or not all(isinstance(item, Measure) for item in measures):
        raise BadInput(f'the metric "{name}" has no `measures`, a tuple of Measure.', WAY_OUT)
    return _Guarded(metric, measures)


class _Guarded:
    """A user's metric class, checked against the metric interface."""

    def __init__(self, metric: Any, measures: tuple[Measure, ...]) -> None:
        self.measures = measures
        self._metric = metric

    def score(self, example: Example, response: Response) -> list[Score]:
        try:
            scores = list(self._metric.score(example, response))
        except Exception as error:  # whatever foreign code raises, the run goes on without this value
            return missing(self.measures, _said(error))
        if [getattr(score, "measure", None) for score in scores] != [item.name for item in self.measures]:
            return missing(self.measures, "the metric did not return each of its measures, in order")
        return [_finite(score) for score in scores]


class _Function:
    """A function (example, response) → value, or (value, reason); True counts as 1, None as missing."""

    def __init__(self, function: Callable[[Example, Response], Any], source: str, version: str) -> None:
        meaning = (function.__doc__ or "").strip().partition("\n")[0]
        declared = getattr(function, _DECLARATION, None) or dict(_DEFAULT)
        measure = Measure(
            name=function.__name__,
            needs=frozenset(),
            version=version,
            source=source,
            meaning=meaning,
            **declared,
        )
        self.measures: tuple[Measure, ...] = (measure,)
        self._function = function

    def score(self, example: Example, response: Response) -> list[Score]:
        measures = self.measures
        if response.text is None:
            return missing(measures, no_text(response))
        try:
            value = self._function(example, response)
        except Exception as error:  # whatever foreign code raises, the run goes on without this value
            return missing(measures, _said(error))
        value, reason = value if isinstance(value, tuple) and len(value) == 2 else (value, None)
        if value is None:
            return missing(measures, str(reason or "the metric returned no value"))
        if not isinstance(value, bool | int | float):
            return missing(measures, f"the metric returned {type(value).__name__}, not a number")
        return [_finite(Score(measures[0].name, float(value), None if reason is None else str(reason)))]


def _finite(score: Score) -> Score:
    numbers = [] if score.value is None else [score.value, *(score.parts or ())]
    if all(isinstance(number, int | float) and math.isfinite(number) for number in numbers):
        return score
    return Score(score.measure, None, "the metric returned a number that is not finite")


def _attribute(path: Path, attribute: str) -> tuple[Any, str]:
    """The object of a name in a file, and the first 12 digits of the SHA-256 of the file: its version."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: the metric can't be read: {error.strerror}.", WAY_OUT) from error
    version = hashlib.sha256(content).hexdigest()[:12]
    module = _module(path, version)
    found = getattr(module, attribute, None)
    if not callable(found):
        known = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise BadInput(f'{path}: has no function or class "{attribute}"{nearest(attribute, known)}.', WAY_OUT)
    return found, version


def _module(path: Path, version: str) -> ModuleType:
    name = f"assay_metrics_{version}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadInput(f"{path}: is not a Python file.", WAY_OUT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a file of somebody else's may fail in any way while it is imported
        del sys.modules[name]
        raise BadInput(f"{path}: can't be imported: {_said(error)}") from error
    return module


def _from_package(point: EntryPoint) -> tuple[Any, str, str]:
    try:
        found = point.load()
    except Exception as error:  # the same for a package
        raise BadInput(
            f'the metric "{point.name}" ({point.value}) can\'t be imported: {_said(error)}'
        ) from error
    package = point.dist
    return found, package.version if package else "", package.name if package else point.value


def _guarded_make(name: str, kind: type, settings: Mapping[str, Any]) -> Any:
    try:
        return make(name, kind, settings)
    except BadInput:
        raise
    except Exception as error:  # a constructor of somebody else's
        raise BadInput(f'the metric "{name}" can\'t be made: {_said(error)}') from error


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:_REASON_LIMIT]


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
    """For each measure that two metrics give, a sentence that names both: their values would be mixed up."""
    first: dict[str, str] = {}
    return [
        f'the metrics "{first[measure.name]}" and "{name}" both give a measure named "{measure.name}"'
        for name, metric in metrics.items()
        for measure in metric.measures
        if first.setdefault(measure.name, name) != name
    ]
