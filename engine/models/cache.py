"""Answers kept between runs, under a key that holds everything which decides them."""

from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from engine.models.fingerprint import digest
from engine.models.model import Response, Settings


def response_key(
    fingerprint: str, prompt: list[int] | str, settings: Settings, seed: int | None = None
) -> str:
    """The key of one answer: model content, exact prompt, and the settings that can change the text.

    `seed` is the example's own when answers are sampled. The batch size is left out: it decides how fast
    an answer comes, not which, but for near ties (see `noise`); answers asked for one by one are kept apart.
    A prompt that was cut to fit stands as what it became.
    """
    sampling = [settings.temperature, settings.top_p, seed] if settings.sampled else None
    decided = [settings.max_new_tokens, list(settings.stop), sampling, settings.deterministic]
    return digest([fingerprint, prompt, *decided])


class ResponseCache:
    """Responses on disk. Values are JSON, never pickle: a cache folder that others wrote cannot run code."""

    def __init__(self, folder: Path) -> None:
        from diskcache import Cache, JSONDisk

        self.folder = folder
        self._cache: Any = Cache(str(folder), disk=JSONDisk, eviction_policy="none", statistics=True)

    def get(self, key: str) -> Response | None:
        """The response kept under the key, marked as cached and with the figures of its first time."""
        value = self._cache.get(key)
        if value is None:
            return None
        # JSON knows no tuples.
        return replace(Response(**value), turns=tuple(value.get("turns", ())), cached=True)

    def put(self, key: str, response: Response) -> None:
        """Keeps an answer; a missing one is not kept, so that it is tried again."""
        if response.text is not None:
            self._cache.set(key, asdict(response))

    def close(self) -> None:
        self._cache.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
