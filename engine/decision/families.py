"""The families that measures are shown in, what each measure needs, and what a family's comparisons show.

Known without loading a metric.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from engine.decision.words import change
from store.read.rows import ComparisonRow

FORGETTING, BENCHMARKS, JUDGE, OWN = "forgetting", "benchmarks", "judge", "own"
FAMILIES = (
    FORGETTING, "overlap", "exact & token", "semantic", "classification", "extraction", "perplexity",
    "format", "tool calls", "code", "safety", OWN, JUDGE, BENCHMARKS, "efficiency",
)  # fmt: skip


class FamilyMembers(NamedTuple):
    """Measures of one family that need the same of an example or a response."""

    names: str  # a pattern that their whole names match
    family: str
    needs: tuple[str, ...] = ()


_REFERENCES = ("references",)
_MEMBERS = [
    FamilyMembers(r"rouge.+|(sacre)?bleu.*|chrf.*|meteor.*", "overlap", _REFERENCES),
    FamilyMembers(
        r"exact_match|token_f1|contains|prefix|numeric_match|edit_similarity", "exact & token", _REFERENCES
    ),
    FamilyMembers(r"regex_match", "exact & token"),
    FamilyMembers(r"bertscore_.+|embedding_.+", "semantic", _REFERENCES),
    FamilyMembers(r"accuracy|label_not_found|macro_f1|weighted_f1|kappa|mcc", "classification", ("label",)),
    FamilyMembers(r"entity_.+|tag_.+|set_f1|field_accuracy|object_match", "extraction", _REFERENCES),
    FamilyMembers(r"perplexity|bits_per_byte|eval_loss", "perplexity", ("references", "weights")),
    FamilyMembers(r"(perplexity|bits_per_byte):.+", "perplexity", ("weights",)),
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
    FamilyMembers(r"(partial_)?refusal|personal_data|toxicity|toxic_words|sentiment", "safety"),
    FamilyMembers(r"judge:.+", JUDGE),
]


def family_of(measure: str, source: str = "") -> str:
    """The family of a metric's measure; one that no metric of Assay declares, or a file does, is `own`."""
    members = None if _is_file(source) else _members(measure)
    return members.family if members else OWN


def needs_of(measure: str, source: str = "") -> tuple[str, ...] | None:
    """What a measure needs of an example or a response; None where nobody but its own file knows."""
    members = None if _is_file(source) else _members(measure)
    return members.needs if members else None


def rank(family: str) -> int:
    """A family's place among all."""
    return FAMILIES.index(family)


def _is_file(source: str) -> bool:
    """Whether a measure's source is the Python file that a plan names, which is kept as an absolute path."""
    return source.startswith("/") and source.endswith(".py")


@lru_cache(maxsize=1024)
def _members(measure: str) -> FamilyMembers | None:
    return next((each for each in _MEMBERS if re.fullmatch(each.names, measure)), None)


@dataclass(frozen=True, slots=True)
class FamilySummary:
    """`worst` is the comparison that worsened most, or improved least."""

    worse: int = 0
    better: int = 0
    worst: ComparisonRow | None = None


def summarize(rows: Iterable[ComparisonRow]) -> FamilySummary:
    """Measures without a direction have no good end, so that they are neither."""
    found = list(rows)
    words = [change(row) for row in found]
    sided = [row for row in found if row.direction != "none" and row.delta is not None]
    return FamilySummary(words.count("worse"), words.count("better"), max(sided, key=_badness, default=None))


def _badness(row: ComparisonRow) -> tuple[bool, float]:
    """How far a change is on the bad side, in widths of its interval: scales differ, this can be compared."""
    delta = row.delta or 0.0
    worsening = -delta if row.direction == "higher" else delta
    if row.low is None or row.high is None:
        return False, worsening
    width = row.high - row.low
    if width > 0:
        return True, worsening / width
    return True, math.copysign(math.inf, worsening) if worsening else 0.0


def family(row: ComparisonRow, sources: Mapping[str, str]) -> str:
    """The family of a comparison; `sources` are those that the run recorded of its measures."""
    if row.kind == "benchmark":
        return BENCHMARKS
    return "perplexity" if row.kind == "corpus" else family_of(row.measure, sources.get(row.measure, ""))
