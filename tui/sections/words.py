"""Outcomes in words: a run's verdict, why it has none, a comparison's result."""

from typing import Any

from store.read.rows import ComparisonRow, RunDetail

NO_LANGUAGE_MODEL = "not a language model"
NOT_RECORDED = "not recorded"


def verdict(run: RunDetail | Any) -> str:
    """The run's outcome in words."""
    if run.imported:
        return f"imported from {run.imported}"
    if run.status == "finished":
        return {True: "passed", False: "a gate failed", None: "no verdict"}[run.passed]
    return str(run.status)


def no_verdict(run: RunDetail) -> str | None:
    """Why a run has neither passed nor failed; None when it has."""
    if run.passed is not None:
        return None
    if run.status != "finished":
        state = "the run failed" if run.status == "failed" else f"the run is {run.status}"
        return state + (f": {run.error}" if run.error else "")
    if run.imported:
        return f"imported from {run.imported}: there was no plan with gates"
    only = (run.options or {}).get("only")
    return f"only the phase {only!r} was asked for" if only else NOT_RECORDED


def change(row: ComparisonRow) -> str:
    """The outcome of a comparison in a word: whether its interval excludes 0, and on which side."""
    if row.delta is None:
        return "missing"
    if row.low is None or row.high is None:
        return "not tested"
    if row.low <= 0 <= row.high:
        return "no clear change"
    if row.direction == "none":
        return "more" if row.delta > 0 else "less"
    return "better" if (row.delta > 0) == (row.direction == "higher") else "worse"


def judge_name(name: str, is_language_model: bool) -> str:
    return name if is_language_model else f"{name} ({NO_LANGUAGE_MODEL})"
