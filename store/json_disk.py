"""How `store.cache` has diskcache keep values: as JSON text, and nothing else is ever decoded."""

import json
import threading
import zlib
from pathlib import Path
from typing import Any

from diskcache import JSONDisk
from diskcache.core import MODE_BINARY, MODE_RAW

# One answer with all its text. A compressed row of a megabyte can unfold to a gigabyte.
LARGEST_VALUE = 64 * 2**20


class Unreadable(OSError):
    """The row is not one of ours. An OSError, since diskcache takes that for a row that has gone."""


class PlainJsonDisk(JSONDisk):  # type: ignore[misc]  # diskcache is untyped
    """Decodes JSON text and nothing else."""

    def __init__(self, directory: str, **settings: Any) -> None:
        super().__init__(directory, **settings)
        self.last = threading.local()

    def get(self, key: Any, raw: Any) -> Any:
        if not raw or not isinstance(key, bytes):
            raise Unreadable("a key that is no JSON text")
        return _decoded(key)

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        self.last.unreadable = True
        if mode == MODE_RAW and isinstance(value, bytes):
            found = _decoded(value)
        elif mode == MODE_BINARY and filename is not None and not read:
            with self._inside(filename).open("rb") as file:
                found = _decoded(file.read(LARGEST_VALUE))
        else:
            raise Unreadable("a value that is no JSON text")
        self.last.unreadable = False
        return found

    def remove(self, file_path: str) -> None:
        try:
            self._inside(file_path)
        except Unreadable:
            return
        super().remove(file_path)

    def _inside(self, filename: str) -> Path:
        folder = Path(self._directory).resolve()
        place = (folder / filename).resolve()
        if not place.is_relative_to(folder) or place.suffix != ".val":
            raise Unreadable("a value outside the cache's folder")
        return place


def _decoded(data: bytes) -> Any:
    unfolding = zlib.decompressobj()
    try:
        text = unfolding.decompress(data, LARGEST_VALUE)
        if not unfolding.eof:
            raise Unreadable("a value larger than any answer")
        return json.loads(text)
    except (zlib.error, ValueError, RecursionError) as error:
        raise Unreadable("a value that is no JSON text") from error
