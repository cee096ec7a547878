"""A run's results in words: its verdict, a candidate's outcome, what a comparison says."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from engine.decision.words import NOT_RECORDED as NOT_RECORDED
from engine.decision.words import change as change
from engine.decision.words import no_verdict as no_verdict
from store.read.rows import ModelRow, RunDetail

if TYPE_CHECKING:
    from tui.sections.summary import Summary

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


def failures(model: ModelRow, summary: "Summary") -> str:
    """A candidate's outcome in words, with how many alerts of each severity it raised."""
    word = {True: "passed", False: "FAILED", None: "no verdict"}[model.passed]
    raised = [alert.severity for alert in summary.alerts_of(model.name)]
    counts = [f"{raised.count(kind)} {kind}" for kind in ("critical", "warning", "note") if kind in raised]
    return word + (f" ({', '.join(counts)})" if counts else "")


def cut_reason(model: ModelRow) -> str:
    """What a sweep's checkpoint was cut after."""
    fared = model.sweep or {}
    after = f"cut after {fared['measure']} on {fared['sample']} examples"
    if fared["rank"] is None:
        return f"{after}: not measured, {fared['reason']}"
    return f"{after}: rank {fared['rank']} of {fared['of']}, the best {fared['keep']} went on"


def cost(spending: tuple[float | None, int]) -> tuple[float | None, str | None]:
    """What a run's judges have cost in US dollars, or why nobody knows: never less than it was."""
    dollars, unknown = spending
    if not unknown:
        return dollars or 0.0, None
    known = f", besides ${dollars:,.2f}" if dollars else ""
    return None, f"cost: {unknown:,} judges' answers of unknown price{known}"


def environment_lines(environment: dict[str, Any] | None) -> Iterable[tuple[str, str]]:
    """The environment as names and values of one line each; nested tables are flattened."""
    for name, value in (environment or {}).items():
        if isinstance(value, dict):
            yield name, ", ".join(f"{key} {item}" for key, item in value.items())
        else:
            yield name, str(value)
