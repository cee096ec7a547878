"""Assay from Python: evaluate a plan, score and judge rows, read results, compare.

    import assay

    result = assay.run("plan.toml")
    assay.score([{"query": "2 + 2?", "response": "4", "reference": "4"}], ["exact_match"])

Importing it imports nothing else: each name is loaded when it is used. What goes wrong raises AssayError,
with the way out in its text. A value that cannot be computed is None, and has its `reason`. The command
`assay` is `python -m assay`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assay.runs import ComparisonResult, RunResult, Store, compare, results, resume, run
    from assay.scores import JudgmentTable, ScoreTable, judge, score
    from assay.tables import ResultTable
    from engine.errors import AssayError
    from engine.traffic.client import CollectorClient
    from engine.training import AssayCallback

__all__ = [
    "AssayCallback", "AssayError", "CollectorClient", "ComparisonResult", "JudgmentTable", "ResultTable",
    "RunResult", "ScoreTable", "Store", "compare", "judge", "results", "resume", "run", "score",
]  # fmt: skip

_PLACES = {
    "AssayCallback": "engine.training",
    "AssayError": "engine.errors",
    "CollectorClient": "engine.traffic.client",
    "ResultTable": "assay.tables",
    **dict.fromkeys(("JudgmentTable", "ScoreTable", "judge", "score"), "assay.scores"),
    **dict.fromkeys(("ComparisonResult", "RunResult", "Store"), "assay.runs"),
    **dict.fromkeys(("compare", "results", "resume", "run"), "assay.runs"),
}


def __getattr__(name: str) -> Any:
    """A public name. Raises ImportError where other modules stand in place of Assay's."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    from assay.__main__ import shadowed

    if problem := next(shadowed(), None):
        raise ImportError(problem)
    found = getattr(import_module(_PLACES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
