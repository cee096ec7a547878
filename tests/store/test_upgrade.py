"""Stores of earlier schemas are brought up to date with nothing lost."""

import gzip
import os
import random
import resource
import shutil
import signal
import socket
import sqlite3
import time
import traceback
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, event

from store import database, migrations
from store.errors import StoreError
from store.transfer.doctor import examine, repair

DUMP = Path(__file__).parent / "fixtures" / "schema-0003.sql.gz"
EVERY = 200  # steps of SQLite's machine between two points at which a process can be killed


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A store as the first schema made it, with one judged pair in it."""
    folder = tmp_path / "store"
    folder.mkdir()
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    engine = create_engine(f"sqlite:///{folder / database.FILE}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    connection = sqlite3.connect(folder / database.FILE)
    connection.executescript(
        """
        INSERT INTO run (id, name, status, created, plan, plan_hash, plan_folder, plan_file, seed)
            VALUES (1, 'first', 'finished', 1.0, '', 'h', '', 'p.toml', 0);
        INSERT INTO model (id, run_id, name, role, kind, position)
            VALUES (1, 1, 'base', 'baseline', 'local', 0), (2, 1, 'lora', 'candidate', 'local', 1);
        INSERT INTO example (id, eval_set, example, position, query) VALUES (1, 'e', 'a', 0, 'q');
        INSERT INTO judge (id, run_id, name, kind, is_language_model, prompt_hash)
            VALUES (1, 1, 'gpt', 'pairwise', 1, 'x');
        INSERT INTO judgment (id, judge_id, candidate_id, baseline_id, example_id, "order", winner, reasoning,
            raw, attempts, cached, created)
            VALUES (7, 1, 2, 1, 1, 'candidate_first', 'candidate', 'why', '{}', 1, 0, 2.0);
        INSERT INTO verdict VALUES (1, 2, 1, 1, 'win', 1, NULL);
        INSERT INTO winrate VALUES (1, 2, 1, 1, 0, 0, 0, 1.0, 0.2, 1.0, 0.5, 0.9, NULL);
        """
    )
    connection.commit()
    connection.close()
    return folder


def test_an_older_store_keeps_its_judgments_verdicts_and_win_rates(old: Path) -> None:
    database.prepare(old)
    assert database.schema_of(old) == database.SCHEMA
    connection = database.connect(old)
    judgment = connection.execute("SELECT * FROM judgment").fetchone()
    assert (judgment["id"], judgment["winner"], judgment["reasoning"], judgment["turn"]) == (
        7,
        "candidate",
        "why",
        0,
    )
    verdict = connection.execute("SELECT * FROM verdict").fetchone()
    assert (verdict["outcome"], verdict["consistent"], verdict["turn"]) == ("win", 1, 0)
    rate = connection.execute("SELECT * FROM winrate").fetchone()
    assert (rate["wins"], rate["win_rate"], rate["length_controlled"], rate["turn"]) == (1, 1.0, 0.9, 0)
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_the_store_as_it_was_is_kept_beside_the_upgraded_one(old: Path) -> None:
    writer = database.connect(old)  # what it has written is still in the write-ahead log
    writer.execute("UPDATE run SET name = 'renamed'")
    database.prepare(old)
    kept = sqlite3.connect(old / f"{database.FILE}.before-{database.SCHEMA}")
    assert kept.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)
    assert kept.execute("SELECT name FROM run").fetchone() == ("renamed",)
    assert kept.execute("SELECT count(*) FROM judgment").fetchone() == (1,)


@pytest.fixture(scope="module")
def six_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("upgrade") / "store"
    folder.mkdir()
    with closing(sqlite3.connect(folder / database.FILE)) as connection:
        connection.executescript(gzip.decompress(DUMP.read_bytes()).decode())
        connection.execute("PRAGMA journal_mode=WAL")
    return folder


def content(folder: Path) -> list[str]:
    return content_of(folder / database.FILE)


def content_of(file: Path) -> list[str]:
    """Every row and column; Alembic writes the foreign keys of a table in any order."""
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        layout = connection.execute(
            "SELECT t.name, c.* FROM sqlite_master t, pragma_table_info(t.name) c ORDER BY t.name, c.cid"
        ).fetchall()
        return [*map(str, layout), *(line for line in connection.iterdump() if line.startswith("INSERT"))]


def in_a_process(work: Callable[[], None], kill_at: int | None = None) -> int:
    """Steps that SQLite took in it, of all connections together; it is killed at step `kill_at`."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code, taken = 1, [0]
        connect = sqlite3.connect

        def step() -> int:
            taken[0] += 1
            if taken[0] == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return 0

        def counted(*args: object, **options: object) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(*args, **options)  # type: ignore[call-overload]
            connection.set_progress_handler(step, EVERY)
            return connection

        try:
            sqlite3.connect = sqlite3.dbapi2.connect = counted  # type: ignore[assignment]
            work()
            os.write(writer, str(taken[0]).encode())
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as told:
        steps = told.read()
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) if kill_at else status == 0
    return int(steps or 0)


def test_a_kill_at_any_moment_of_an_upgrade_leaves_the_store_as_it_was_or_upgraded(
    six_runs: Path, tmp_path: Path
) -> None:
    before = content(six_runs)
    whole = Path(shutil.copytree(six_runs, tmp_path / "whole"))
    steps = in_a_process(lambda: database.prepare(whole))
    after = content(whole)
    assert steps > 500 and after != before
    seen = set()
    for number, moment in enumerate(sorted(random.Random(7).sample(range(1, steps), 25))):
        folder = Path(shutil.copytree(six_runs, tmp_path / str(moment)))
        in_a_process(lambda folder=folder: database.prepare(folder), moment)  # type: ignore[misc]
        found = content(folder)
        seen.add("after" if found == after else "before")
        assert found in (before, after), moment
        if number % 5 == 0:
            database.prepare(folder)
            assert content(folder) == after and list(folder.glob(f"{database.FILE}.before-*[0-9]"))
        for path in folder.glob(f"{database.FILE}.before-*[0-9]"):
            assert content_of(path) == before
        shutil.rmtree(folder)
    assert "before" in seen


def test_a_copy_of_an_earlier_upgrade_is_never_written_over(old: Path) -> None:
    first = old / f"{database.FILE}.before-{database.SCHEMA}"
    first.write_text("kept by somebody")
    database.prepare(old)
    assert first.read_text() == "kept by somebody"
    with closing(sqlite3.connect(f"{first}-2")) as kept:
        assert kept.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)
    assert not list(old.glob(".*"))


def test_who_has_the_store_open_sees_the_upgrade(old: Path) -> None:
    app = database.connect(old)
    assert app.execute("SELECT count(*) FROM judgment").fetchone()[0] == 1
    database.prepare(old)
    assert app.execute("SELECT turn FROM judgment").fetchone()[0] == 0
    app.execute("UPDATE run SET name = 'still open'")
    with closing(database.connect(old)) as other:
        assert other.execute("SELECT name FROM run").fetchone()[0] == "still open"


def test_a_store_is_not_upgraded_under_a_worker_of_the_earlier_version(old: Path) -> None:
    with closing(database.connect(old)) as connection:
        connection.execute(
            "UPDATE run SET status = 'running', worker_pid = ?, worker_host = ?, heartbeat = ?",
            (os.getpid(), socket.gethostname(), time.time()),
        )
    (old / "run-1.lock").touch()
    with pytest.raises(StoreError, match="an earlier Assay is working on run 1"):
        database.prepare(old)
    assert database.schema_of(old) == "0001" and not list(old.glob("*before*"))


def test_a_disk_that_is_full_during_an_upgrade_changes_nothing(six_runs: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(six_runs, tmp_path / "store"))
    before = content(folder)

    size = (folder / database.FILE).stat().st_size

    def no_room_for_the_copy() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, resource.RLIM_INFINITY))
        with pytest.raises(StoreError, match="full"):
            database.prepare(folder)

    def room_for_the_copy_alone() -> None:
        pages = f"PRAGMA max_page_count = {size // 4096}"
        event.listen(Engine, "connect", lambda connection, _: connection.execute(pages))
        with pytest.raises(StoreError, match="full"):
            database.prepare(folder)

    in_a_process(no_room_for_the_copy)
    in_a_process(room_for_the_copy_alone)
    assert content(folder) == before
    assert [path.name for path in folder.iterdir() if "before" in path.name or path.name[0] == "."] == []
    database.prepare(folder)
    assert database.schema_of(folder) == database.SCHEMA


def half_upgraded(folder: Path, statements: int) -> bool:
    """What was left where an earlier version, which committed each change of the schema, was killed."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    engine = create_engine(f"sqlite:///{folder / database.FILE}")
    done = [0]

    class KilledError(Exception):
        pass

    @event.listens_for(engine, "after_cursor_execute")
    def _count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        done[0] += statement.lstrip().upper().startswith(("ALTER", "CREATE", "DROP", "INSERT", "UPDATE"))
        if done[0] > statements:
            raise KilledError

    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except KilledError:
        return True
    finally:
        engine.dispose()
    return False


@pytest.mark.parametrize("statements", [0, 2, 5, 9, 12, 16, 17, 18, 19, 20, 22, 25])
def test_a_store_that_an_earlier_version_left_half_upgraded_is_repaired(old: Path, statements: int) -> None:
    assert half_upgraded(old, statements)
    with pytest.raises(StoreError, match="assay doctor --repair"):
        database.prepare(old)
    found = examine(old)
    assert "interrupted" in next(item.words for item in found if item.check == "schema")
    repair(old, found)
    assert database.schema_of(old) == database.SCHEMA
    assert all(item.ok for item in examine(old) if item.check in ("schema", "integrity", "references"))
    with closing(database.connect(old)) as connection:
        counts = [
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("run", "model", "example", "judge", "judgment", "verdict", "winrate")
        ]
    assert counts == [1, 2, 1, 1, 1, 1, 1]
    assert list(old.glob("*.before-repair-*"))
