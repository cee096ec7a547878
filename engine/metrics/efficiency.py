"""Length and timing of responses."""

from engine.data.example import Example
from engine.metrics.metric import NO_TOKENS, Measure, Score, missing, no_text
from engine.metrics.text import words
from engine.models.model import Response

CACHED = "cached: the time was not measured in this run"
NO_LATENCY = "recorded outputs have no latency"


class Efficiency:
    """Latency of a response and its tokens per second, as measured during generation."""

    measures = (
        Measure(
            name="latency_s",
            direction="lower",
            low=0.0,
            high=None,
            unit="s",
            needs=frozenset({"latency"}),
            version="1",
            source="clock",
            meaning="seconds from asking to the whole response",
            independent=False,
        ),
        Measure(
            name="tokens_per_second",
            direction="higher",
            low=0.0,
            high=None,
            unit="tokens/s",
            needs=frozenset({"latency", "tokens"}),
            version="1",
            source="clock",
            meaning="all tokens generated over all seconds taken",
            independent=False,
        ),
    )

    def score(self, example: Example, response: Response) -> list[Score]:
        if response.text is None:
            return missing(self.measures, no_text(response))
        if response.cached:
            return missing(self.measures, CACHED)
        if response.latency_s is None:
            return missing(self.measures, NO_LATENCY)
        return [Score("latency_s", response.latency_s), _speed(response.tokens_out, response.latency_s)]


class Length:
    """The length of a response; neither direction is better."""

    measures = (
        Measure(
            name="response_words",
            direction="none",
            low=0.0,
            high=None,
            unit="words",
            needs=frozenset(),
            version="1",
            source="white space; characters where a script has no word spaces",
            meaning="words of the response",
        ),
        Measure(
            name="response_tokens",
            direction="none",
            low=0.0,
            high=None,
            unit="tokens",
            needs=frozenset({"tokens"}),
            version="1",
            source="the model's own tokenizer",
            meaning="tokens generated for the response, without padding",
        ),
    )

    def score(self, example: Example, response: Response) -> list[Score]:
        if response.text is None:
            return missing(self.measures, no_text(response))
        if response.tokens_out is None:
            tokens = Score("response_tokens", None, NO_TOKENS)
        else:
            tokens = Score("response_tokens", float(response.tokens_out))
        return [Score("response_words", float(len(words(response.text)))), tokens]


def _speed(tokens: int | None, seconds: float) -> Score:
    if tokens is None:
        return Score("tokens_per_second", None, NO_TOKENS)
    if seconds <= 0:
        return Score("tokens_per_second", None, "the measured time was zero")
    return Score("tokens_per_second", tokens / seconds, parts=(float(tokens), seconds))
