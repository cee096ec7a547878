"""Cache folders that somebody else wrote: nothing in them runs, leaves the folder or fills the memory."""

import json
import pickle
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from engine.judges.asking import JudgmentCache
from engine.models.fingerprint import ResponseCache
from engine.models.model import Response
from engine.servers.wire import Reply
from store.cache import JsonCache, kept, prune
from store.json_disk import LARGEST_VALUE

RAW, BINARY, TEXT, PICKLE = 1, 2, 3, 4


class Trap:
    """Unpickling one writes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.mark, "this ran")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "responses"


@pytest.fixture
def cache(folder: Path) -> Iterator[JsonCache]:
    with JsonCache(folder) as opened:
        opened.put("key", {"text": "an answer"})
        yield opened


def plant(folder: Path, **columns: object) -> None:
    with closing(sqlite3.connect(folder / "cache.db")) as database, database:
        changes = ", ".join(f"{name} = ?" for name in columns)
        database.execute(f"UPDATE Cache SET {changes}", tuple(columns.values()))


def rows(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "cache.db")) as database:
        return int(database.execute("SELECT count(*) FROM Cache").fetchone()[0])


def assert_gone(cache: JsonCache) -> None:
    assert cache.get("key") is None
    assert (cache.dropped, rows(cache.folder)) == (1, 0)
    assert cache.get("key") is None and cache.dropped == 1, "the second look-up is an ordinary miss"


def test_what_was_put_is_there_again(cache: JsonCache) -> None:
    assert cache.get("key") == {"text": "an answer"}
    long = {"text": "много слов " * 50_000}
    cache.put("long", long)
    assert cache.get("long") == long
    assert cache.get("nothing") is None and cache.dropped == 0


@pytest.mark.parametrize("in_a_file", [False, True])
def test_a_planted_pickle_does_not_run(
    cache: JsonCache, folder: Path, tmp_path: Path, in_a_file: bool
) -> None:
    mark = tmp_path / "mark"
    data = pickle.dumps(Trap(mark))
    (folder / "row.val").write_bytes(data)
    where = {"filename": "row.val", "value": None} if in_a_file else {"value": data}
    plant(folder, mode=PICKLE, **where)
    assert_gone(cache)
    assert not mark.exists()


def test_a_planted_pickle_as_key_does_not_run(cache: JsonCache, folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    plant(folder, key=pickle.dumps(Trap(mark)), raw=0)
    assert cache.get("key") is None
    [report] = kept(folder.parent)
    assert (report.entries, report.unreadable) == (1, 1)
    assert [gone.entries for gone in prune(folder.parent, before=0.0)] == [1]
    assert not mark.exists() and rows(folder) == 0


@pytest.mark.parametrize("name", ["../../outside.val", "{outside}", "link.val"])
def test_no_file_outside_the_folder_is_read_or_removed(
    cache: JsonCache, folder: Path, tmp_path: Path, name: str
) -> None:
    outside = tmp_path / "outside.val"
    outside.write_bytes(zlib.compress(json.dumps({"text": "secret"}).encode()))
    (folder / "link.val").symlink_to(outside)
    plant(folder, mode=BINARY, filename=name.format(outside=outside), value=None)
    assert_gone(cache)
    assert outside.exists()


def test_no_file_but_a_value_is_removed(cache: JsonCache, folder: Path) -> None:
    plant(folder, mode=BINARY, filename="cache.db", value=None)
    assert_gone(cache)
    assert (folder / "cache.db").exists()


def test_a_row_that_unfolds_to_gigabytes_is_a_miss(cache: JsonCache, folder: Path) -> None:
    plant(folder, mode=RAW, value=zlib.compress(b'"' + b"a" * (LARGEST_VALUE + 1) + b'"'))
    assert_gone(cache)


@pytest.mark.parametrize(
    "value", [b"", b"no zlib", zlib.compress(b"{no json"), zlib.compress(b"[" * 100_000), "text", 5, None]
)
def test_what_is_no_json_is_a_miss(cache: JsonCache, folder: Path, value: object) -> None:
    plant(folder, mode=RAW, value=value)
    assert_gone(cache)


def test_settings_that_are_not_diskcaches_own_are_forgotten(folder: Path, tmp_path: Path) -> None:
    with JsonCache(folder) as cache:
        cache.put("key", 1)
    with closing(sqlite3.connect(folder / "cache.db")) as database, database:
        planted = [("disk__directory", str(tmp_path)), ("disk_nonsense", 1), ("get", 1)]
        database.executemany("INSERT INTO Settings VALUES (?, ?)", planted)
    with JsonCache(folder) as cache:
        assert cache.get("key") == 1


RESPONSE = Response("e1", "an answer", 3, 2, "stop", 0.1, turns=("one", "two"))
REPLY = Reply("7", "stop", 3, 1, "judge", 0.1)


def test_answers_of_another_form_are_misses(tmp_path: Path) -> None:
    for values in ([1], "text", {}, {"text": "only"}, asdict(RESPONSE) | {"text": 3}, {"colour": "red"}):
        with ResponseCache(tmp_path / "responses") as responses:
            JsonCache.put(responses, "key", values)
            assert responses.get("key") is None and responses.dropped == 1
            responses.put("key", RESPONSE)
            found = responses.get("key")
            assert found is not None and (found.text, found.turns) == ("an answer", ("one", "two"))
    for values in ([1], {}, asdict(REPLY) | {"text": None}, {"colour": "red"}):
        with JudgmentCache(tmp_path / "judgments") as judgments:
            JsonCache.put(judgments, "key", values)
            assert judgments.get("key") is None and judgments.dropped == 1
            judgments.put("key", REPLY)
            assert judgments.get("key") == REPLY
