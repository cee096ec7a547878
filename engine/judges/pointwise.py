"""A language model that gives single responses a score."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any, Protocol

from engine.judges.answers import addresses_judge
from engine.judges.asking import Asker
from engine.judges.interview import Form, Heard, interview
from engine.judges.judge import Rating, RatingCall
from engine.judges.scores import Scale, Scored


class ScoringForm(Form[RatingCall, Scored], Protocol):
    """A form whose answers are scores on a scale; `criteria` are its rubric's, each with its own scale."""

    scale: Scale
    criteria: dict[str, Scale]


class PointwiseJudge:
    """Asks about each response alone."""

    def __init__(self, name: str, asker: Asker, form: ScoringForm) -> None:
        self.name = name
        self.is_language_model = asker.is_language_model
        self.prompt_hash = form.hash
        self.scale = form.scale
        self.criteria = form.criteria
        self._asker = asker
        self._form = form

    def describe(self) -> dict[str, Any]:
        return {
            "kind": "pointwise",
            **self._asker.describe(),
            "prompt_hash": self.prompt_hash,
            "scale": self.scale,
            "criteria": self.criteria,
        }

    def rate(self, calls: Iterable[RatingCall]) -> Iterator[Rating]:
        """Ratings as they finish."""
        with closing(interview(self._asker, self._form, calls)) as answers:
            for heard in answers:
                yield _rating(heard)


def _rating(heard: Heard[RatingCall, Scored]) -> Rating:
    said, reply = heard.said, heard.reply
    flags = said.flags if said else ()
    if reply.repaired:
        flags += ("repaired",)
    if addresses_judge(heard.call.text):
        flags += ("addresses_judge",)
    score = said.score if said else None
    confidence: float | None = None
    if said and reply.choices:
        score, confidence = _expected(reply.choices)
    return Rating(
        call=heard.call,
        score=score,
        scores=said.scores if said else {},
        confidence=confidence,
        reasoning=said.reasoning if said else "",
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
    )


def _expected(choices: dict[str, float]) -> tuple[float, float]:
    """The mean of the grades by their probabilities, and the likeliest one's probability (G-Eval)."""
    total = sum(choices.values())
    mean = sum(float(grade) * probability for grade, probability in choices.items()) / total
    return mean, max(choices.values()) / total
