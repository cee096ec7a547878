"""Judges' answers kept between runs, so that no judgment is paid for twice."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.judges.wire import Reply


def judgment_key(*parts: Any) -> str:
    """The key of one answer: a hash over everything that decides it, as JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class JudgmentCache:
    """Readable answers on disk, as JSON: nothing is pickled."""

    def __init__(self, folder: Path) -> None:
        from diskcache import Cache, JSONDisk

        self.folder = folder
        self._cache: Any = Cache(str(folder), disk=JSONDisk, eviction_policy="none", statistics=True)

    def get(self, key: str) -> Reply | None:
        """The answer kept under the key, with the figures of its first time."""
        value = self._cache.get(key)
        return None if value is None else Reply(**value)

    def put(self, key: str, reply: Reply) -> None:
        self._cache.set(key, asdict(reply))

    def close(self) -> None:
        self._cache.close()
