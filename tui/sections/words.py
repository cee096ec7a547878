"""A run's verdict and a judge's name as they are shown."""

from typing import Any

from store.read.rows import RunDetail

NO_LANGUAGE_MODEL = "not a language model"


def verdict(run: RunDetail | Any) -> str:
    """The run's outcome in words."""
    if run.imported:
        return f"imported from {run.imported}"
    if run.status == "finished":
        return {True: "passed", False: "a gate failed", None: "no verdict"}[run.passed]
    return str(run.status)


def judge_name(name: str, is_language_model: bool) -> str:
    return name if is_language_model else f"{name} ({NO_LANGUAGE_MODEL})"
