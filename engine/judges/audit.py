"""Biases of a judge: towards position, length, Markdown, flattery, and its own model family.

All are computed from verdicts and the judged texts, candidate against baseline.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from engine.judges.answers import addresses_judge
from engine.stats.intervals import SHARE, Interval, bootstrap_interval, share_of
from engine.stats.winrate import POINTS, Outcome

NO_DIFFERENCE = "no decided example where the two responses differ in it"

_MARKDOWN = re.compile(
    r"^\s{0,3}#{1,6}\s+\S|^\s*[-*+]\s+\S|^\s*\d{1,3}[.)]\s+\S|^\s*(?:```|~~~)|^\s*\|.*\||\*\*[^*\n]+\*\*|`[^`\n]+`",
    re.MULTILINE,
)
# Names that say which family a model belongs to: who trained it, under which series.
_FAMILIES = {
    "openai": r"\b(?:gpt|o[134](?:-|\b)|chatgpt|davinci)",
    "anthropic": r"\bclaude",
    "google": r"\b(?:gemini|gemma|palm)",
    "meta": r"\b(?:meta-)?llama",
    "mistral": r"\b(?:mistral|mixtral|ministral|magistral|prometheus)",
    "qwen": r"\b(?:qwen|qwq)",
    "deepseek": r"\bdeepseek",
    "microsoft": r"\bphi-?\d",
    "cohere": r"\b(?:command-r|aya)",
    "xai": r"\bgrok",
    "vicuna": r"\b(?:vicuna|judgelm)",
}


@dataclass(frozen=True, slots=True)
class Judged:
    """One example's verdict and the two texts; `consistent`: both orders agreed, None if one failed.

    `asked`: by calls, not known to be a tie because the texts are identical.
    """

    outcome: Outcome
    consistent: bool | None
    candidate_text: str
    baseline_text: str
    asked: bool = True


@dataclass(frozen=True, slots=True)
class Figure:
    """One bias: its value with a 95 % interval over n examples, or the reason why it is missing."""

    measure: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str | None = None


def audit(judged: Sequence[Judged], seed: int = 0) -> list[Figure]:
    """All leanings that verdicts can show.

    - consistency: share of examples on which both orders named the same winner
    - longer_wins, markdown_wins: share won by the response with more characters, or more Markdown, of the
      decided examples where the two differ in it; 0.5 is no leaning only between equally good models
    - identical: how many pairs were ties without a call, where there are any
    - addresses_judge_wins: share won by the response that speaks to the judge, where just one does
    """
    both = [item for item in judged if item.consistent is not None]
    consistent = share_of(sum(item.consistent is True for item in both), len(both))
    identical = sum(not item.asked for item in judged)
    return [
        *([Figure("identical", float(identical), None, None, len(judged))] if identical else []),
        _figure("consistency", consistent, "no example was judged in both orders"),
        _figure("longer_wins", _prefers(judged, len, seed), NO_DIFFERENCE),
        _figure("markdown_wins", _prefers(judged, markdown, seed), NO_DIFFERENCE),
        _figure("addresses_judge_wins", _prefers(judged, _addressing, seed), NO_DIFFERENCE),
    ]


def markdown(text: str) -> int:
    """How much Markdown a text holds: headings, list items, code, tables, bold."""
    return len(_MARKDOWN.findall(text))


def family(name: str | None) -> str | None:
    """The family of a model, by its name; None where the name doesn't tell."""
    text = (name or "").rsplit("/", 1)[-1].lower()
    return next((found for found, pattern in _FAMILIES.items() if re.search(pattern, text)), None)


def kin(judge: str | None, models: Iterable[tuple[str, str | None]]) -> list[str]:
    """The models (name, what they are made of) of the judge's own family: it may prefer its own words."""
    own = family(judge)
    return [] if own is None else [name for name, made_of in models if family(made_of) == own]


def _prefers(judged: Sequence[Judged], amount: Callable[[str], int], seed: int) -> Interval:
    """The share of points that went to the response with more of something, of the wins and losses."""
    points = []
    for item in judged:
        more = amount(item.candidate_text) - amount(item.baseline_text)
        if more and item.outcome in ("win", "loss"):
            won = POINTS[item.outcome]
            points.append(won if more > 0 else 1.0 - won)
    parts = np.column_stack([points, np.ones(len(points))]) if points else np.zeros((0, 2))
    found = bootstrap_interval(parts, lambda sums: sums[..., 0] / sums[..., 1], seed, ends=SHARE)
    if found.value in (0.0, 1.0):
        return share_of(sum(points), len(points))
    return found


def _addressing(text: str) -> int:
    return int(addresses_judge(text))


def _figure(measure: str, found: Interval, otherwise: str) -> Figure:
    reason = otherwise if found.value is None else None
    return Figure(measure, found.value, found.low, found.high, found.n, reason)
