"""Exact match and token F1: SQuAD's rules, after one normalisation of response and references."""

from collections import Counter

from engine.data.example import Example
from engine.metrics.metric import NO_REFERENCE, Measure, Score, missing, no_text
from engine.metrics.text import normalise_answer, words
from engine.models.model import Response

_NORMAL = "after NFKC, case, punctuation, articles and white space are evened out"
_SOURCE = "Rajpurkar et al. 2016; SQuAD 1.1 evaluate-v1.1.py"


def token_f1(reference: str, response: str) -> float:
    """F-measure of the tokens shared by two answers, 0 to 1; two empty answers agree (SQuAD 2.0)."""
    wanted, given = (Counter(words(normalise_answer(text))) for text in (reference, response))
    if not wanted or not given:
        return float(wanted == given)
    shared = (wanted & given).total()
    return 2 * shared / (wanted.total() + given.total())


class ExactMatch:
    """1 where the response equals one of the references, else 0."""

    measures = (
        Measure(
            name="exact_match",
            direction="higher",
            low=0.0,
            high=1.0,
            unit="share",
            needs=frozenset({"references"}),
            version="1",
            source=_SOURCE,
            meaning=f"responses equal to a reference {_NORMAL}",
        ),
    )

    def score(self, example: Example, response: Response) -> list[Score]:
        if not example.references:
            return missing(self.measures, NO_REFERENCE)
        if response.text is None:
            return missing(self.measures, no_text(response))
        given = normalise_answer(response.text)
        hit = any(normalise_answer(reference) == given for reference in example.references)
        return [Score("exact_match", float(hit))]


class TokenF1:
    """Tokens shared with the best of the references."""

    measures = (
        Measure(
            name="token_f1",
            direction="higher",
            low=0.0,
            high=1.0,
            unit="F-measure",
            needs=frozenset({"references"}),
            version="1",
            source=_SOURCE,
            meaning=f"words shared with the best reference {_NORMAL}",
        ),
    )

    def score(self, example: Example, response: Response) -> list[Score]:
        if not example.references:
            return missing(self.measures, NO_REFERENCE)
        if response.text is None:
            return missing(self.measures, no_text(response))
        text = response.text
        return [Score("token_f1", max(token_f1(reference, text) for reference in example.references))]
