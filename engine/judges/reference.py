"""The judge named "reference": which response is closer to the example's reference. Not a language model."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from engine.judges.answers import addresses_judge
from engine.judges.judge import WHOLE, Call, Judgment, Side
from engine.judges.questions import references_of
from engine.metrics.exact import token_f1
from engine.metrics.text import normalise_answer
from store.read.query import by_key

_RULE = (
    "A response that equals a reference after normalisation (NFKC, case, punctuation, articles, white space) "
    "beats one that does not. Else the higher token F1 with its best reference wins; a difference under 0.01 "
    "is a tie. Scores: 10 for an equal text, else 1 + 9 x F1. An example without reference is not judged; "
    "of a conversation the turns that have one count, by the mean of their F1."
)
_SMALLEST_DIFFERENCE = 0.01
_NO_REFERENCE = "the example has no reference"


class ReferenceJudge:
    """Needs no network and gives the same judgment in both orders. Its rule is `describe()["rule"]`."""

    is_language_model = False

    def __init__(self, name: str = "reference") -> None:
        self.name = name
        self.prompt_hash = hashlib.sha256(_RULE.encode()).hexdigest()[:16]

    def describe(self) -> dict[str, Any]:
        return {
            "kind": "pairwise",
            "model": "reference",
            "server": None,
            "settings": {},
            "rejected": [],
            "prompt_hash": self.prompt_hash,
            "note": "not a language model: prefers the response closer to the reference",
            "rule": _RULE,
        }

    def judge(self, calls: Iterable[Call]) -> Iterator[Judgment]:
        for call in calls:
            yield _judgment(call)


def _judgment(call: Call) -> Judgment:
    winner: Side | None = None
    candidate = baseline = None
    reasoning = ""
    if graded := _graded(call):
        candidate, baseline = (
            _together([_closeness(text, wanted) for text, wanted in side]) for side in graded
        )
        winner = _winner(candidate, baseline)
        reasoning = f"Candidate: {_words(candidate)}. Baseline: {_words(baseline)}."
    return Judgment(
        call=call,
        winner=winner,
        reasoning=reasoning,
        candidate_score=None if candidate is None else _score(candidate),
        baseline_score=None if baseline is None else _score(baseline),
        failure=None if graded else _NO_REFERENCE,
        flags=("addresses_judge",) if any(map(addresses_judge, call.texts)) else (),
    )


_Graded = list[tuple[str, list[str]]]  # answers with the references for each


def _graded(call: Call) -> tuple[_Graded, _Graded] | None:
    """The scores of the candidate and of the baseline; None without any reference."""
    pair = call.pair
    references = by_key(
        (reference.turn, reference.text) for reference in references_of(pair.example, pair.turns)
    )
    turns = [turn for turn in sorted(references) if call.turn in (WHOLE, turn)]
    if not turns:
        return None
    sides = ((pair.candidate_text, pair.candidate_turns), (pair.baseline_text, pair.baseline_turns))
    candidate, baseline = (
        [(answers[turn - 1] if turn else text, references[turn]) for turn in turns] for text, answers in sides
    )
    return candidate, baseline


_Closeness = tuple[bool, float]


def _together(each: Sequence[_Closeness]) -> _Closeness:
    return all(equal for equal, _ in each), sum(f1 for _, f1 in each) / len(each)


def _closeness(text: str, references: Sequence[str]) -> _Closeness:
    """Whether the text equals a reference, and its F1 with the best one."""
    equal = normalise_answer(text) in map(normalise_answer, references)
    return equal, max(token_f1(reference, text) for reference in references)


def _winner(candidate: _Closeness, baseline: _Closeness) -> Side:
    if candidate[0] != baseline[0]:
        return "candidate" if candidate[0] else "baseline"
    difference = candidate[1] - baseline[1]
    if candidate[0] or abs(difference) < _SMALLEST_DIFFERENCE:
        return "tie"
    return "candidate" if difference > 0 else "baseline"


def _score(closeness: _Closeness) -> float:
    return 10.0 if closeness[0] else 1.0 + 9.0 * closeness[1]


def _words(closeness: _Closeness) -> str:
    return "equals a reference" if closeness[0] else f"token F1 {closeness[1]:.3f} with the best reference"
