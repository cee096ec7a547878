"""Reading what a judge of pairs answers, and one verdict out of both orders."""

import re
from dataclasses import dataclass
from typing import Any, Literal

from engine.judges.answers import ParseFailure, number, objects_with, reasoning_of, said

Winner = Literal["A", "B", "tie"]
Verdict = Literal["win", "loss", "tie", "failed"]

_NAMED = re.compile(r"(?:(?:response|answer|assistant|model|option)[\s_-]*)?([ab])", re.IGNORECASE)
_TIES = {"tie", "tied", "draw", "equal", "neither", "both"}
_BRACKETED = re.compile(r"\[\[\s*(A|B|C|tie)\s*\]\]", re.IGNORECASE)
# Followed by the next key or the end: "A" or "B" is the question's format repeated.
_CUT_OFF = re.compile(r'"winner"\s*:\s*"(A|B|tie)"(?=\s*(?:[,}]|\Z))', re.IGNORECASE)
_STATED = re.compile(
    r"^[^\w\n]{0,9}(?:final )?(?:winner|verdict)[^\w\n]{1,9}(A|B|tie)[^\w\n]{0,9}$",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Parsed:
    """One readable answer. Scores are 1 to 10, for A and B, or None; flags as in `Judgment`."""

    winner: Winner
    reasoning: str
    scores: tuple[float, float] | None
    flags: tuple[str, ...]


def parse_pairwise(text: str) -> Parsed | ParseFailure:
    """Reads a pairwise answer, which may stand in fences or prose, end in commas, or be cut off.

    Looked for in this order: a JSON object with a `winner`; the winner of one that is cut off or broken;
    `[[A]]`, `[[B]]`, `[[C]]` (a tie) as in MT-Bench; a line "Winner: A". An answer that names two
    different winners in one of these forms is a failure: which one was meant is not ours to guess.
    """
    text = said(text)
    if not text:
        return ParseFailure("the answer is empty")
    if answers := objects_with("winner", text):
        winners = {_winner(answer["winner"]) for answer in answers}
        if len(winners) > 1:
            return ParseFailure("the answer names different winners")
        winner = winners.pop()
        if winner is None:
            return ParseFailure('the winner is none of "A", "B", "tie"')
        return _parsed(winner, answers[-1])
    for form in (_CUT_OFF, _BRACKETED, _STATED):
        found = {_winner(name) or "tie" for name in form.findall(text)}
        if len(found) > 1:
            return ParseFailure("the answer names different winners")
        if found:
            return Parsed(found.pop(), text, None, ("no_scores",))
    return ParseFailure("the answer holds no winner")


def _winner(value: object) -> Winner | None:
    word = str(value).strip().strip("[]\"'*. ").lower()
    if word in _TIES:
        return "tie"
    named = _NAMED.fullmatch(word)
    return None if named is None else "A" if named[1] == "a" else "B"


def _parsed(winner: Winner, answer: dict[str, Any]) -> Parsed:
    scores = _scores(answer.get("scores"))
    flags: tuple[str, ...] = ()
    if scores is None:
        flags = ("no_scores",)
    elif _contradicts(winner, scores):
        flags = ("contradicts_scores",)
    return Parsed(winner, reasoning_of(answer), scores, flags)


def _scores(value: object) -> tuple[float, float] | None:
    if not isinstance(value, dict):
        return None
    named = {_winner(key): _score(score) for key, score in value.items()}
    a, b = named.get("A"), named.get("B")
    return None if a is None or b is None else (a, b)


def _score(value: object) -> float | None:
    score = number(value)
    return score if score is not None and 1 <= score <= 10 else None


def _contradicts(winner: Winner, scores: tuple[float, float]) -> bool:
    a, b = scores
    return {"A": a < b, "B": b < a, "tie": a != b}[winner]


def verdict(first: str | None, second: str | None) -> Verdict:
    """The candidate's verdict on one example from the winners of both orders, in either order.

    The rule of MT-Bench (Zheng et al. 2023): a win or a loss needs both orders to agree on it. Everything
    else is a tie: one win each way, and a win or loss beside a tie. A None, for a failed or missing
    judgment, leaves no verdict: "failed".
    """
    if first is None or second is None:
        return "failed"
    outcomes: dict[str, Verdict] = {"candidate": "win", "baseline": "loss"}
    return outcomes.get(first, "tie") if first == second else "tie"
