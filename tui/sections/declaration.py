"""A measure's declaration in words: its meaning, range, needs and source."""

from collections.abc import Iterator

from engine.decision.families import needs_of
from store.read.rows import MetricRow

DIRECTION = {"higher": "higher is better", "lower": "lower is better", "none": "no better direction"}
_SHOWN = 60  # characters of a setting


def declared(metric: MetricRow) -> Iterator[tuple[str, str]]:
    """What a run recorded of a measure, as names and values."""
    yield "range", span(metric.low, metric.high)
    yield "direction", DIRECTION.get(metric.direction, metric.direction)
    yield "unit", metric.unit or "none"
    yield "needs", needs(metric)
    yield "version", metric.version
    yield "source", metric.source
    yield "meaning", metric.meaning
    settings = {key: " ".join(str(value).split()) for key, value in (metric.settings or {}).items()}
    if settings:
        parts = (f"{key} {text[:_SHOWN]}{'…' * (len(text) > _SHOWN)}" for key, text in settings.items())
        yield "settings", ", ".join(parts)


def span(low: float | None, high: float | None) -> str:
    """A range: 0 to 1, 0 or more, up to 1, open."""
    if low is None and high is None:
        return "open"
    if low is None:
        return f"up to {high:g}"
    return f"{low:g} or more" if high is None else f"{low:g} to {high:g}"


def needs(metric: MetricRow) -> str:
    """What a response or an example must come with for the measure to have a value."""
    found = needs_of(metric.measure, metric.source)
    if found is None:
        return "unknown: a metric of your own"
    return ", ".join(found) or "only the answer"
