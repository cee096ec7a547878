"""Runs of another store join this one: whole, once, and without a change to the other."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from store import database, people
from store.errors import StoreError
from store.read import history, runs, traffic
from store.records import TrafficEvent, TrafficFeedback
from store.traffic import add
from store.transfer.merge import merge
from store.write import Recorder
from tests.store.conftest import queued_run
from tests.tui.history import build


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run 1 and 2 are over; run 3 is running."""
    return build(tmp_path_factory.mktemp("other") / "store")


@pytest.fixture
def connection(folder: Path) -> Iterator[history.Connection]:
    """A store with two runs of its own, so that no id of the other one is free."""
    for name in ("mine", "too"):
        recorder = Recorder(folder, queued_run(folder, name))
        recorder.event("info", "data", "here first")
        recorder.close()
    with closing(history.attach(database.connect(folder))) as opened:
        yield opened


def fingerprint(folder: Path) -> str:
    return hashlib.sha256((folder / database.FILE).read_bytes()).hexdigest()


def test_finished_runs_join_with_all_that_belongs_to_them(
    connection: history.Connection, other: Path
) -> None:
    before = fingerprint(other)
    merged = merge(connection, other)
    assert merged.joined == {1: 3, 2: 4}
    assert (merged.known, merged.unfinished, merged.deleted) == (0, 1, 0)
    assert fingerprint(other) == before
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    with closing(history.attach(database.connect(other))) as there:
        for theirs, ours in merged.joined.items():
            for read in (history.model_scores, history.comparisons, history.win_rates, history.benchmarks):
                assert read(connection, ours) == read(there, theirs)
            words = [
                [(row.example, row.tier, row.excerpt) for row in history.leaks(side, run)]
                for side, run in ((connection, ours), (there, theirs))
            ]
            assert words[0] == words[1]
    texts = "SELECT e.example, p.text FROM response p JOIN model m ON m.id = p.model_id "
    texts += "JOIN example e ON e.id = p.example_id WHERE m.run_id = ? AND m.name = 'good' ORDER BY e.example"
    assert len(connection.execute(texts, (4,)).fetchall()) == 12
    assert history.run(connection, 3).log is None and history.run(connection, 1).name == "mine"


def test_a_second_import_brings_nothing(connection: history.Connection, other: Path) -> None:
    merge(connection, other)
    again = merge(connection, other)
    assert again.joined == {} and again.known == 2
    assert runs.count(connection) == 4
    assert connection.execute("SELECT count(*) FROM example").fetchone()[0] == 12


def test_runs_deleted_there_stay_there(connection: history.Connection, other: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(other, tmp_path / "copy"))
    with closing(history.attach(database.connect(copy))) as there:
        people.delete(there, 1, "ann")
        people.tag(there, 2, "release", "ann")
    merged = merge(connection, copy)
    assert (merged.joined, merged.deleted) == ({2: 3}, 1)
    assert people.tags(connection, 3) == ["release"]


def test_an_alert_keeps_what_it_follows_only_where_that_came_along(
    connection: history.Connection, other: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(other, tmp_path / "copy"))
    with closing(history.attach(database.connect(copy))) as there:
        first, second = (
            row[0] for row in there.execute("SELECT id FROM alert WHERE run_id = 2 ORDER BY id LIMIT 2")
        )
        there.execute("UPDATE alert SET follows = ? WHERE id = ?", (first, second))
        there.execute("UPDATE benchmarkscore SET reused_from = 3")
    merge(connection, copy)
    ids = [row[0] for row in connection.execute("SELECT id FROM alert WHERE run_id = 4 ORDER BY id LIMIT 2")]
    follows = [
        connection.execute("SELECT follows FROM alert WHERE id = ?", (key,)).fetchone()[0] for key in ids
    ]
    assert follows == [None, ids[0]]
    assert connection.execute("SELECT max(reused_from) FROM benchmarkscore").fetchone()[0] is None


def test_a_run_that_was_held_against_another_keeps_its_reference(
    connection: history.Connection, other: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(other, tmp_path / "theirs"))
    with closing(history.attach(database.connect(folder))) as there:
        first = "(SELECT min(id) FROM model WHERE run_id = ? AND role = 'candidate')"
        insert = (
            "INSERT INTO comparison (candidate_id, baseline_id, kind, measure, direction, delta, n, "
            "standing, family, family_size) "
            f"VALUES ({first}, {first}, 'metric', 'held', 'higher', 0.1, 12, 'not tested', 'checked', 0)"
        )
        there.execute(insert, (2, 1))
        people.delete(there, 1, "ann")
    merged = merge(connection, folder)
    assert merged.joined == {2: 4}
    sides = """
        SELECT a.run_id, b.run_id FROM comparison c JOIN model a ON a.id = c.candidate_id
        JOIN model b ON b.id = c.baseline_id WHERE c.measure = 'held'
    """
    assert [tuple(row) for row in connection.execute(sides)] == [(4, 3)]
    assert people.is_deleted(connection, 3)
    with closing(history.attach(database.connect(folder))) as there:
        there.execute("UPDATE run SET status = 'finished' WHERE id = 3")
        there.execute(insert, (3, 2))
    assert merge(connection, folder).joined == {3: 5}
    assert [tuple(row) for row in connection.execute(sides)] == [(4, 3), (5, 4)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_a_reference_of_a_reference_comes_along(folder: Path, other: Path, tmp_path: Path) -> None:
    theirs = Path(shutil.copytree(other, tmp_path / "theirs"))
    with closing(history.attach(database.connect(theirs))) as there:
        first = "(SELECT min(id) FROM model WHERE run_id = ? AND role = 'candidate')"
        for pair in ((3, 2), (2, 1)):
            there.execute(
                "INSERT INTO comparison (candidate_id, baseline_id, kind, measure, direction, delta, n, "
                f"standing, family, family_size) VALUES ({first}, {first}, 'metric', 'held', 'higher', 0.1, "
                "12, 'not tested', 'checked', 0)",
                pair,
            )
        there.execute("UPDATE run SET status = 'finished' WHERE id = 3")
        for run in (1, 2):
            people.delete(there, run, "ann")
    database.prepare(folder)
    with closing(history.attach(database.connect(folder))) as here:
        assert merge(here, theirs).joined == {3: 3}
        assert [bool(people.is_deleted(here, run)) for run in (1, 2, 3)] == [True, True, False]
        assert here.execute("PRAGMA foreign_key_check").fetchall() == []


def test_logs_come_along_but_no_file_that_a_link_leads_to(
    connection: history.Connection, folder: Path, other: Path, tmp_path: Path
) -> None:
    theirs = Path(shutil.copytree(other, tmp_path / "theirs"))
    (theirs / "logs").mkdir()
    (theirs / "logs/run-1.log").write_text("loading weights\n")
    (tmp_path / "secret").write_text("mine")
    (theirs / "logs/run-2.log").symlink_to(tmp_path / "secret")
    assert merge(connection, theirs).joined == {1: 3, 2: 4}
    assert (folder / "logs/run-3.log").read_text() == "loading weights\n"
    assert [history.run(connection, run).log for run in (3, 4)] == ["logs/run-3.log", None]
    assert not (folder / "logs/run-4.log").exists()


def test_rows_that_refer_to_nothing_are_refused_in_words(
    connection: history.Connection, other: Path, tmp_path: Path
) -> None:
    theirs = Path(shutil.copytree(other, tmp_path / "theirs"))
    with closing(database.connect(theirs)) as there:
        there.execute("PRAGMA foreign_keys=OFF")
        there.execute("UPDATE comparison SET baseline_id = 9999 + baseline_id")
    with pytest.raises(StoreError, match="don't fit together"):
        merge(connection, theirs)
    assert runs.count(connection) == 2


def test_what_is_no_store_is_refused(connection: history.Connection, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store in"):
        merge(connection, tmp_path / "none")
    with pytest.raises(StoreError, match="this store itself"):
        merge(connection, folder)
    (tmp_path / database.FILE).write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="damaged"):
        merge(connection, tmp_path)


def test_of_an_example_the_newest_word_counts_wherever_it_was_said(
    connection: history.Connection, other: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(other, tmp_path / "copy"))
    words = "INSERT INTO exclusion (eval_set, example, query_hash, excluded, reason, user, created) "
    with closing(database.connect(copy)) as theirs:
        said = [("a", 1, 10.0), ("b", 1, 10.0), ("b", 0, 30.0), ("c", 1, 10.0)]
        theirs.executemany(f"{words} VALUES ('v', ?, 'h', ?, '', 'bob', ?)", said)
    connection.executemany(f"{words} VALUES ('v', ?, 'h', ?, '', 'ann', ?)", [("a", 0, 20.0), ("b", 1, 20.0)])
    for _ in range(2):
        merge(connection, copy)
        assert {example for example, _ in people.excluded(connection)} == {"c"}


def test_production_traffic_joins_by_its_ids(connection: history.Connection, tmp_path: Path) -> None:
    there = tmp_path / "with-traffic"
    database.prepare(there)
    asked = {"time": 1.0, "received": 2.0, "source": "native", "model": "m", "messages": []}
    mine, both, theirs = (
        TrafficEvent(id=name, question=name, **asked) for name in ("e-mine", "e-both", "e-theirs")
    )
    said = [TrafficFeedback(id=f"f-{row.id}", event_id=row.id, time=1, received=1) for row in (both, theirs)]
    add(connection, [mine, both], said[:1])
    with closing(database.connect(there)) as other:
        add(other, [both, theirs], said)
    for _ in range(2):
        merge(connection, there)
        assert {row.id for row in traffic.events(connection)} == {"e-mine", "e-both", "e-theirs"}
        assert traffic.feedback(connection, ["e-both", "e-theirs"]) == said
