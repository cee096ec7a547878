"""A damaged store is told from a healthy one, repaired after a copy, and what can be read is saved."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from store import database
from store.errors import StoreError
from store.read import history, runs
from store.transfer.doctor import StoreCheck, examine, repair
from store.transfer.salvage import salvage
from tests.tui.history import build

Copy = Callable[[], Path]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = build(tmp_path_factory.mktemp("doctor") / "store")
    with closing(database.connect(folder)) as connection:
        connection.execute("UPDATE run SET status = 'finished', finished = created")
    return folder


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "store"))


def wrong(found: list[StoreCheck]) -> dict[str, str]:
    return {item.check: item.words for item in found if not item.ok}


def damage(folder: Path, table: str) -> None:
    """Overwrites the pages of a table, but for its first, as a failing disk does."""
    with closing(sqlite3.connect(folder / database.FILE)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
    content = bytearray((folder / database.FILE).read_bytes())
    content[(root - 1) * size : root * size] = b"\x5a" * size
    (folder / database.FILE).write_bytes(content)


def test_a_healthy_store_has_nothing_wrong_and_is_not_written_to(copy: Path) -> None:
    before = (copy / database.FILE).read_bytes()
    found = examine(copy)
    assert wrong(found) == {}
    assert {item.check for item in found} >= {"integrity", "references", "schema", "runs", "files", "disk"}
    assert repair(copy, found) == []
    assert (copy / database.FILE).read_bytes() == before


def test_lost_rows_stuck_runs_leftovers_and_open_rights_are_found_and_repaired(copy: Path) -> None:
    (copy / "run-1.lock").touch()
    (copy / "logs").mkdir(exist_ok=True)
    (copy / "logs" / "run-77.log").touch()
    (copy / database.FILE).chmod(0o644)
    with closing(database.connect(copy)) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("DELETE FROM model WHERE run_id = 1 AND name = 'good'")
        connection.execute("UPDATE run SET status = 'running', worker_pid = NULL WHERE id = 3")
    found = examine(copy)
    assert wrong(found).keys() == {"references", "runs", "files", "permissions"}
    assert "run-1.lock, run-77.log" in wrong(found)["files"] and "run 3" in wrong(found)["runs"]
    done = repair(copy, found)
    assert "copied to" in done[0] and len(list(copy.glob("assay.db.before-repair-*"))) >= 1
    assert wrong(examine(copy)) == {}
    with closing(history.attach(database.connect(copy))) as connection:
        assert history.run(connection, 3).status == "failed"
        assert [model.name for model in history.models(connection, 2)] != []


def test_a_lock_that_a_worker_holds_is_no_leftover(copy: Path) -> None:
    import fcntl

    with (copy / "run-1.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert wrong(examine(copy)) == {}


def test_an_index_that_lacks_rows_is_rebuilt(copy: Path) -> None:
    with closing(database.connect(copy)) as connection:
        connection.execute("PRAGMA writable_schema=ON")
        schema = (
            "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_master WHERE name = 'ix_event_run_id'"
        )
        index = tuple(connection.execute(schema).fetchone())
        connection.execute("DELETE FROM sqlite_master WHERE name = 'ix_event_run_id'")
    with closing(database.connect(copy)) as connection:
        connection.execute("INSERT INTO event SELECT NULL, 1, 0.0, 'info', 'data', 'unindexed'")
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", index)
    found = examine(copy)
    assert "integrity" in wrong(found)
    assert any("rebuilt" in line for line in repair(copy, found))
    assert wrong(examine(copy)) == {}


def test_what_can_be_read_of_a_damaged_store_goes_into_a_new_one(copy: Path) -> None:
    damage(copy, "verdict")
    damage(copy, "response")
    found = examine(copy)
    assert "integrity" in wrong(found)
    before = (copy / database.FILE).read_bytes()
    done = repair(copy, found)
    assert (copy / database.FILE).read_bytes() == before
    saved = copy.with_name("store-salvaged")
    assert str(saved) in done[-1] and wrong(examine(saved)) == {}
    with closing(history.attach(database.connect(saved))) as connection:
        assert [row.id for row in runs.page(connection)] == [3, 2, 1]
        assert len(history.model_scores(connection, 2)) > 0 and len(history.comparisons(connection, 2)) > 0
    assert wrong(examine(copy)).keys() == {"integrity"}


def test_rows_whose_run_could_not_be_read_are_not_saved_alone(copy: Path, tmp_path: Path) -> None:
    damage(copy, "run")
    counts = salvage(copy, tmp_path / "saved")
    assert counts["run"] == counts["response"] == counts["score"] == 0
    assert counts["example"] == 12


def test_a_file_that_is_no_database_at_all_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir(mode=0o700)
    (folder / database.FILE).write_bytes(b"nonsense" * 1000)
    (folder / database.FILE).chmod(0o600)
    found = examine(folder)
    assert "damaged" in wrong(found)["integrity"]
    with pytest.raises(StoreError, match="nothing of"):
        repair(folder, found)


def test_no_store_a_strangers_and_a_newer_one_are_refused(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store in"):
        examine(tmp_path / "none")
    with closing(database.connect(copy)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="newer Assay"):
        examine(copy)
    with closing(database.connect(copy)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'ae12f0'")
    with pytest.raises(StoreError, match="not an Assay store"):
        examine(copy)
