"""The families that measures are shown in, what each measure needs, and what a family's comparisons show.

Known without loading a metric.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from engine.gates.figures import number, percent, probability
from engine.plan.training_config import trained_with
from store.read.history import silence
from store.read.rows import AlertRow, ComparisonRow, ModelRow
from store.records import Run
from store.records.alert import Format, figure_of, kind_of
from store.records.judging import HARM

NOT_RECORDED = "not recorded"
NOT_EVALUATED = "not evaluated"
NO_GATE = f"{NOT_EVALUATED}: nothing that a gate checks could be compared"
_WRITTEN: dict[Format, Callable[[float], str]] = {
    "value": number,
    "difference": lambda value: number(value, sign=True),
    "share": percent,
    "count": lambda value: f"{value:,.0f}",
}


def brief(alert: AlertRow) -> str | None:
    """An alert as a clause made of its evidence; None where an older store lacks a figure."""
    kind, found = kind_of(alert.kind), alert.evidence
    figure, n = figure_of(kind, found), getattr(found, "n", None)
    values = moved_values(alert)
    known = {
        "figure": None if figure is None else _WRITTEN[kind.format](figure),
        "values": values and values + (f", n {n:,}" if n else ""),
        "shares": _moved_shares(alert),
        "p": None
        if (p := getattr(found, "p_corrected", None) or getattr(found, "p", None)) is None
        else (probability(p)),
        "n": None if n is None else f"{n:,}",
        "baseline": alert.baseline,
        "measure": alert.measure,
        "judge": getattr(found, "judge", None),
        # A warning is on the baseline's own answers, others set the candidate's beside them (`cut_alerts`).
        "model": alert.baseline or alert.candidate if alert.severity == "warning" else alert.candidate,
    }
    if not kind.short or any(value is None and f"{{{name}}}" in kind.short for name, value in known.items()):
        return None
    return kind.short.format_map(known)


def advice(alert: AlertRow, details: Mapping[str, Any] | None) -> str:
    """What people do about an alert, with what is known of the candidate's training; "" where nothing is.

    `details` are the candidate's. What may be chance is first measured with more examples.
    """
    kind, needed = kind_of(alert.kind), getattr(alert.evidence, "needed", None)
    if alert.severity == "note" and needed:
        return f"Too few examples to tell: evaluate about {needed:,} before you change the training."
    trained = trained_with(details) if kind.trained else ""
    return f"{kind.advice} It was trained with {trained}." if trained else kind.advice


def moved_values(alert: AlertRow) -> str | None:
    """Baseline's and candidate's value; None where one is missing."""
    ours = getattr(alert.evidence, "candidate_value", None)
    theirs = getattr(alert.evidence, "baseline_value", None)
    if ours is None or theirs is None:
        return None
    return f"{alert.measure} {number(theirs)} → {number(ours)}"


def _moved_shares(alert: AlertRow) -> str | None:
    ours = getattr(alert.evidence, "candidate_value", None)
    theirs = getattr(alert.evidence, "baseline_value", None)
    return None if ours is None or theirs is None else f"{percent(theirs)} → {percent(ours)}"


def no_verdict(run: Run) -> str | None:
    """Why a run has neither passed nor failed; None when it has."""
    if run.passed is not None:
        return None
    if run.status != "finished":
        state = "the run failed" if run.status == "failed" else f"the run is {run.status}"
        why = run.error or silence(run)
        return f"{state}: {why}" if why else state
    if run.imported and not (run.options or {}).get("baseline"):
        return f"imported from {run.imported}, without a plan or gates"
    only = (run.options or {}).get("only")
    return f"only the phase {only!r} was run" if only else NO_GATE


def chosen(model: ModelRow) -> str:
    """How a sweep chose a checkpoint by what also judges it, and what to do; "" where it did not."""
    if not model.chosen_by:
        return ""
    found = model.sweep or {}
    among = f"it was chosen as one of the best {found['keep']} of {found['of']} checkpoints by"
    if model.chosen_on:
        return (
            f"{among} {found['measure']} on {model.chosen_on} of the examples that judge it, which favours "
            "it; judge it on other examples: name it in a plan with another file or split under [data]"
        )
    by = " and ".join(model.chosen_by)
    return f"{among} {by}, which favours it there; judge it by another corpus or benchmark"


def change(row: ComparisonRow) -> str:
    return row.standing


_OF_SAMPLES = re.compile(r"(pass[@^]|maj@)\d+:")  # what stands before a verdict's own name
FORGETTING, BENCHMARKS, JUDGE, OWN = "forgetting", "benchmarks", "judge", "own"
FAMILIES = (
    FORGETTING, "overlap", "exact & token", "semantic", "classification", "calibration", "extraction",
    "perplexity", "format", "tool calls", "code", "robustness", "safety", OWN, JUDGE, BENCHMARKS,
    "efficiency",
)  # fmt: skip


class FamilyMembers(NamedTuple):
    """Measures of one family that need the same of an example or a response."""

    names: str  # a pattern that their whole names match
    family: str
    needs: tuple[str, ...] = ()


_REFERENCES = ("references",)
_MEMBERS = [
    FamilyMembers(r"suite:.+", "safety"),
    FamilyMembers(r"rouge.+|(sacre)?bleu.*|chrf.*|meteor.*", "overlap", _REFERENCES),
    FamilyMembers(
        r"exact_match|token_f1|contains|prefix|numeric_match|edit_similarity", "exact & token", _REFERENCES
    ),
    FamilyMembers(r"regex_match", "exact & token"),
    FamilyMembers(r"bertscore_.+|embedding_.+", "semantic", _REFERENCES),
    FamilyMembers(r"accuracy|label_not_found|macro_f1|weighted_f1|kappa|mcc", "classification", ("label",)),
    FamilyMembers(
        r"brier|ece|accuracy@\d+%|confidence|choice_accuracy", "calibration", ("references", "weights")
    ),
    FamilyMembers(r"(brier|ece|accuracy@\d+%):.+", "calibration", ("weights",)),
    FamilyMembers(r"entity_.+|tag_.+|set_f1|field_accuracy|object_match", "extraction", _REFERENCES),
    FamilyMembers(r"perplexity|bits_per_byte|eval_loss", "perplexity", ("references", "weights")),
    FamilyMembers(r"(perplexity|bits_per_byte|eval_loss):.+", "perplexity", ("weights",)),
    FamilyMembers(r"format_compliance", "format", ("schema",)),
    FamilyMembers(r"response_tokens", "format", ("tokens",)),
    FamilyMembers(r"json_parse|checks?_.+|response_words", "format"),
    FamilyMembers(r"tool_(made|abstained|function|match|argument_f1)", "tool calls", ("calls",)),
    FamilyMembers(r"tool_valid", "tool calls", ("tools",)),
    FamilyMembers(r"pass_at_\d+|tests_passed", "code", ("tests",)),
    FamilyMembers(r"latency.*", "efficiency", ("latency",)),
    FamilyMembers(r"tokens_(in|out)_(total|mean)", "efficiency", ("tokens",)),
    FamilyMembers(r"tokens_per_second", "efficiency", ("latency", "tokens")),
    FamilyMembers(r"refused_.+", "safety", ("labels",)),
    FamilyMembers(r"(partial_)?refusal|bbq_.+|personal_data|toxicity|toxic_words|sentiment", "safety"),
    FamilyMembers(r"(drop|robust):.+|invariance", "robustness"),
    FamilyMembers(r"judge:.+", JUDGE),
]


def family_of(measure: str, source: str = "") -> str:
    """The family of a metric's measure; `own` for measures of a plan's file or of no known metric."""
    if source == HARM:
        return "safety"
    members = None if _is_file(source) else _members(measure)
    return members.family if members else OWN


def needs_of(measure: str, source: str = "") -> tuple[str, ...] | None:
    """What a measure needs of an example or a response; None for a plan's own measures."""
    members = None if _is_file(source) else _members(measure)
    return members.needs if members else None


def rank(family: str) -> int:
    return FAMILIES.index(family)


def _is_file(source: str) -> bool:
    """Whether the source is a plan's Python file, which is stored as an absolute path."""
    return source.startswith("/") and source.endswith(".py")


@lru_cache(maxsize=1024)
def _members(measure: str) -> FamilyMembers | None:
    measure = _OF_SAMPLES.sub("", measure)
    return next((each for each in _MEMBERS if re.fullmatch(each.names, measure)), None)


def common_word(standings: Iterable[str]) -> str:
    """What comparisons have in common of which none got worse or better."""
    found = set(standings) - {"missing"}
    if not found:
        return "not compared"
    return found.pop() if len(found) == 1 else "inconclusive"


@dataclass(frozen=True, slots=True)
class FamilySummary:
    """`worst` is the comparison that worsened most, or improved least."""

    worse: int = 0
    better: int = 0
    worst: ComparisonRow | None = None


def summarize(rows: Iterable[ComparisonRow]) -> FamilySummary:
    """Measures without a direction are neither worse nor better."""
    found = list(rows)
    words = [change(row) for row in found]
    sided = [row for row in found if row.direction != "none" and row.delta is not None]
    return FamilySummary(words.count("worse"), words.count("better"), max(sided, key=_badness, default=None))


def _badness(row: ComparisonRow) -> tuple[bool, float]:
    """How bad a change is, in widths of its interval, which are comparable across scales."""
    delta = row.delta or 0.0
    worsening = -delta if row.direction == "higher" else delta
    if row.low is None or row.high is None:
        return False, worsening
    width = row.high - row.low
    if width > 0:
        return True, worsening / width
    return True, math.copysign(math.inf, worsening) if worsening else 0.0


def family(row: ComparisonRow, sources: Mapping[str, str]) -> str:
    """The family of a comparison; `sources` as the run recorded them, by measure."""
    if row.kind == "benchmark":
        return BENCHMARKS
    return "perplexity" if row.kind == "corpus" else family_of(row.measure, sources.get(row.measure, ""))
