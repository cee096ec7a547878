"""The answer cache: answers under a key that covers everything that decides them."""

from dataclasses import asdict, replace
from typing import Any

from engine.models.fingerprint import digest
from engine.models.model import Response, Settings
from store.cache import JsonCache


def response_key(
    fingerprint: str, prompt: list[int] | str, settings: Settings, seed: int | None = None
) -> str:
    """The key of one answer: model content, exact prompt, and the settings that can change the text.

    `seed` is the example's own when answers are sampled. The batch size is left out: it decides how fast
    an answer comes, not which, but for near ties (see `noise`); answers asked for one by one are kept apart.
    A truncated prompt is keyed by its truncated tokens.
    """
    sampling = [settings.temperature, settings.top_p, seed] if settings.sampled else None
    decided = [settings.max_new_tokens, list(settings.stop), sampling, settings.deterministic]
    return digest([fingerprint, prompt, *decided])


class ResponseCache(JsonCache):
    """Responses on disk, as JSON."""

    def get(self, key: str) -> Response | None:
        """The response kept under the key, marked as cached and with the figures of its first time."""
        value = super().get(key)
        if value is None:
            return None
        try:
            return _response(value)
        except (TypeError, ValueError):
            self.drop(key)
            return None

    def put(self, key: str, response: Response) -> None:
        """Keeps an answer; a missing one is not kept, so that it is tried again."""
        if response.text is not None:
            super().put(key, asdict(response))


def _response(value: Any) -> Response:
    """Raises TypeError or ValueError for what `put` cannot have written."""
    response = Response(**value)
    if not isinstance(response.text, str) or not isinstance(response.example_id, str):
        raise ValueError("a response without its text")
    # JSON knows no tuples.
    return replace(response, turns=tuple(response.turns), cached=True)
