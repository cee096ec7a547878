"""Judges' answers kept between runs, so that no judgment is paid for twice."""

import hashlib
import json
from dataclasses import asdict
from typing import Any

from engine.servers.wire import Reply
from store.cache import JsonCache


def judgment_key(*parts: Any) -> str:
    """The key of one answer: a hash over everything that decides it, as JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class JudgmentCache(JsonCache):
    """Judges' replies on disk, as JSON."""

    def get(self, key: str) -> Reply | None:
        """The answer kept under the key, with the figures of its first time."""
        value = super().get(key)
        if value is None:
            return None
        try:
            reply = Reply(**value)
        except TypeError:
            reply = None
        if reply is None or not isinstance(reply.text, str):
            self.drop(key)
            return None
        return reply

    def put(self, key: str, reply: Reply) -> None:
        super().put(key, asdict(reply))
