"""Assay from Python: evaluate a plan, score and judge rows, read results, compare.

    import assay

    result = assay.run("plan.toml")
    assay.score([{"query": "2 + 2?", "response": "4", "reference": "4"}], ["exact_match"])

Importing it costs little: what is heavy is imported when it is used. What goes wrong raises AssayError, with
the way out in its text. A value that cannot be computed is None, and has its `reason`.
"""

from typing import TYPE_CHECKING, Any

try:
    from engine.errors import AssayError
    from store.errors import StoreError as _StoreError  # noqa: F401  # both must be Assay's own
except ImportError as error:
    raise ImportError(
        f"{error}: another module named `engine` or `store` stands in place of Assay's; rename that file or "
        "folder, or take its folder out of sys.path"
    ) from None

from assay.runs import ComparisonResult, RunResult, Store, compare, results, resume, run
from assay.scores import JudgmentTable, ScoreTable, judge, score
from assay.tables import ResultTable

if TYPE_CHECKING:
    from engine.traffic.client import CollectorClient
    from engine.training import AssayCallback

__all__ = [
    "AssayCallback",
    "AssayError",
    "CollectorClient",
    "ComparisonResult",
    "JudgmentTable",
    "ResultTable",
    "RunResult",
    "ScoreTable",
    "Store",
    "compare",
    "judge",
    "results",
    "resume",
    "run",
    "score",
]  # fmt: skip

_LATER = {
    "AssayCallback": "engine.training",  # with transformers
    "CollectorClient": "engine.traffic.client",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
