"""A language model that says which of two responses is better."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

from engine.judges.answers import addresses_judge
from engine.judges.asking import Asker
from engine.judges.interview import Form, Heard, interview
from engine.judges.judge import Call, Judgment, Side
from engine.judges.verdicts import Parsed


class PairwiseJudge:
    """Asks about the two orders of a pair as two calls that know nothing of each other."""

    def __init__(self, name: str, asker: Asker, form: Form[Call, Parsed]) -> None:
        self.name = name
        self.is_language_model = asker.is_language_model
        self.prompt_hash = form.hash
        self._asker = asker
        self._form = form

    def describe(self) -> dict[str, Any]:
        return {"kind": "pairwise", **self._asker.describe(), "prompt_hash": self.prompt_hash}

    def judge(self, calls: Iterable[Call]) -> Iterator[Judgment]:
        """Judgments as they finish."""
        with closing(interview(self._asker, self._form, calls)) as answers:
            for heard in answers:
                yield _judgment(heard)


def _judgment(heard: Heard[Call, Parsed]) -> Judgment:
    """A reply in terms of candidate and baseline instead of A and B."""
    call, said, reply = heard.call, heard.said, heard.reply
    winner: Side | None = None
    reasoning = ""
    scores: dict[str, float] = {}
    flags: tuple[str, ...] = ()
    confidence = None
    if said is not None:
        a, b = call.sides
        winner = {"A": a, "B": b, "tie": "tie"}[said.winner]
        reasoning, flags = said.reasoning, said.flags
        scores = dict(zip(call.sides, said.scores, strict=True)) if said.scores else {}
        confidence = reply.choices.get(said.winner) if reply.choices else None
    if reply.repaired:
        flags += ("repaired",)
    if any(map(addresses_judge, call.texts)):
        flags += ("addresses_judge",)
    return Judgment(
        call=call,
        winner=winner,
        reasoning=reasoning,
        candidate_score=scores.get("candidate"),
        baseline_score=scores.get("baseline"),
        raw=reply.text,
        tokens_in=reply.tokens_in,
        tokens_out=reply.tokens_out,
        cost=reply.cost,
        latency_s=reply.latency_s,
        attempts=reply.attempts,
        cached=heard.cached,
        failure=heard.failure,
        flags=flags,
        reported_model=reply.version,
        confidence=confidence,
    )
