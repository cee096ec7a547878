import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from store import database, records
from store.errors import StoreError


def test_a_new_store_is_readable_by_its_owner_alone(folder: Path) -> None:
    database.prepare(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / database.FILE).stat().st_mode) == 0o600


def test_the_expected_schema_is_the_newest_migration() -> None:
    folder = Path(database.__file__).parent / "migrations"
    assert ScriptDirectory(str(folder)).get_current_head() == database.SCHEMA


def test_a_store_is_durable_and_shared(folder: Path) -> None:
    database.prepare(folder)
    connection = database.connect(folder)
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
    assert connection.execute("PRAGMA foreign_keys").fetchone()[0] == 1


def test_many_processes_may_make_the_same_store_at_once(folder: Path) -> None:
    def prepare(_: int) -> int:
        code = f"from pathlib import Path; from store.database import prepare; prepare(Path({str(folder)!r}))"
        return subprocess.run([sys.executable, "-c", code], check=False).returncode

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(prepare, range(3))) == [0, 0, 0]
    assert database.schema_of(folder) == database.SCHEMA
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_a_file_that_is_no_database_is_named_and_left_alone(folder: Path) -> None:
    folder.mkdir()
    (folder / database.FILE).write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="damaged"):
        database.prepare(folder)
    assert (folder / database.FILE).read_bytes().startswith(b"not a database")


def test_a_database_of_another_program_is_refused(folder: Path) -> None:
    folder.mkdir()
    with sqlite3.connect(folder / database.FILE) as other:
        other.execute("CREATE TABLE photos (id)")
    with pytest.raises(StoreError, match="not an Assay store"):
        database.prepare(folder)


def test_a_store_of_a_newer_assay_is_refused_politely(folder: Path) -> None:
    database.prepare(folder)
    with database.connect(folder) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="newer Assay"):
        database.prepare(folder)


def test_an_unwritable_place_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="--store DIR"):
        database.prepare(tmp_path / "file" / "store")


def test_the_store_is_the_one_asked_for_then_the_environments_then_the_nearest_upwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ASSAY_STORE", raising=False)
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert database.locate(None, inner) == inner / ".assay"
    (tmp_path / ".assay").mkdir()
    assert database.locate(None, inner) == tmp_path / ".assay"
    monkeypatch.setenv("ASSAY_STORE", str(tmp_path / "elsewhere"))
    assert database.locate(None, inner) == tmp_path / "elsewhere"
    assert database.locate(str(tmp_path / "asked"), inner) == tmp_path / "asked"


@pytest.mark.skipif(
    shutil.which("mount") is None or os.geteuid() != 0, reason="needs root to make a small disk"
)
def test_a_full_disk_is_named_and_keeps_what_was_written(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=False).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        from store.write import Recorder
        from tests.store.conftest import queued_run

        recorder = Recorder(small / "store", queued_run(small / "store"))
        recorder.event("info", "generate", "kept")
        with pytest.raises(StoreError, match="the disk that holds the store"):
            for _ in range(100):
                recorder.event("info", "generate", "x" * 50_000)
        kept = recorder.rows(records.Event, message="kept")
        assert len(kept) == 1
        recorder.close()
        with pytest.raises(StoreError, match="the disk that holds the store"):
            database.prepare(small / "another")
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_another_programs_database_is_refused_without_a_change_to_it(folder: Path) -> None:
    folder.mkdir()
    file = folder / database.FILE
    with sqlite3.connect(file) as other:
        other.execute("CREATE TABLE alembic_version (version_num)")
        other.execute("INSERT INTO alembic_version VALUES ('ae1027a6acf')")
    other.close()
    before = file.read_bytes()
    with pytest.raises(StoreError, match="not an Assay store"):
        database.prepare(folder)
    assert file.read_bytes() == before
    assert [path.name for path in folder.iterdir()] == [database.FILE]


def test_a_store_that_another_process_keeps_to_itself_is_named_as_locked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.prepare(folder)
    other = sqlite3.connect(folder / database.FILE, isolation_level=None)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    monkeypatch.setattr(database, "PRAGMAS", ("busy_timeout=50", "journal_mode=WAL"))
    with pytest.raises(StoreError, match="locked by another process"):
        database.prepare(folder)
    other.close()
    assert database.schema_of(folder) == database.SCHEMA


def test_what_can_only_be_read_is_read_with_its_log_or_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.prepare(folder)
    writer = database.connect(folder)
    writer.execute("INSERT INTO failuretag VALUES ('wrong', NULL, NULL, 'ann', 1.0)")
    monkeypatch.setattr(database, "is_writable", lambda _: False)
    reader = database.connect(folder)
    assert reader.execute("SELECT name FROM failuretag").fetchone()[0] == "wrong"
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM failuretag")
    reader.close()
    (folder / f"{database.FILE}-shm").unlink()
    with pytest.raises(StoreError, match="newest rows are still in"):
        database.connect(folder)
    writer.close()


def test_an_older_store_that_cannot_be_written_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database.prepare(folder)
    with database.connect(folder) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
    connection.close()
    monkeypatch.setattr(database, "is_writable", lambda _: False)
    with pytest.raises(StoreError, match="earlier schema"):
        database.prepare(folder)
