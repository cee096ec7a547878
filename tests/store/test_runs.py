"""The history's list is narrowed by words, and runs that were put away are in none."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from store import database, people
from store.errors import StoreError
from store.read import history, judging, runs, trends
from store.read.history import Connection
from store.read.query import Word
from store.transfer.merge import held_by, purge
from tests.engine.runs import carry_out, queue, recorded_plan
from tests.tui.history import build


@pytest.fixture(scope="module")
def folder_of_three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("runs") / "store")


@pytest.fixture
def connection(folder_of_three: Path) -> Iterator[history.Connection]:
    """Whatever a test writes is taken back."""
    opened = history.attach(database.connect(folder_of_three))
    before = opened.execute("SELECT coalesce(max(id), 0) FROM runmark").fetchone()[0]
    yield opened
    opened.execute("DELETE FROM runmark WHERE id > ?", (before,))
    opened.execute("UPDATE run SET deleted = NULL")
    opened.close()


def found(connection: history.Connection, text: str) -> list[int]:
    return [row.id for row in runs.page(connection, words=runs.check(runs.read_words(text)))]


def test_words_are_told_from_free_text() -> None:
    assert runs.read_words('Tag:release http://x "my run"') == (
        Word("tag", "release"),
        Word("", "http://x"),
        Word("", "my run"),
    )
    assert runs.read_words("tag: !model:llama") == (Word("model", "llama", True),)
    assert runs.read_words("  ") == ()


def test_each_word_narrows_and_all_must_hold(connection: history.Connection) -> None:
    people.tag(connection, 1, "release", "ann")
    connection.execute(
        """UPDATE run SET plan_hash = '9f3abc', environment = '{"training_configs": {"good": "ab12cd"}}'
        WHERE id = 2"""
    )
    everything = [3, 2, 1]
    assert found(connection, "") == found(connection, "judge:refer") == everything
    assert found(connection, "tag:RELEASE") == [1]
    assert found(connection, "tag:release status:failed") == []
    assert found(connection, "config:9f3") == found(connection, "config:ab12") == [2]
    assert found(connection, "status:running") == [3]
    assert found(connection, "eval:5be1") == everything and found(connection, "eval:nothing") == []
    assert found(connection, "model:overfit") == [2] and found(connection, "name:tickets-v1") == [1]
    assert found(connection, "overfit status:finished") == [2]
    assert found(connection, "!model:overfit") == [3, 1]
    assert found(connection, "!status:running !overfit") == [1]
    assert runs.count(connection, runs.read_words("model:overfit")) == 1
    with pytest.raises(StoreError, match="there is no status 'broken'"):
        found(connection, "status:broken")


def test_what_a_person_types_is_never_sql(connection: history.Connection) -> None:
    for text in ("tag:x'; DROP TABLE run --", "model:%", "' OR 1 --", "eval:_____"):
        found(connection, text)
    assert found(connection, "' OR 1 --") == []
    assert [row.id for row in runs.page(connection, limit=10**30)] == [3, 2, 1]
    assert len(trends.trend(connection, "rougeL", limit=10**30)) == 3
    assert len(found(connection, "")) == 3


def test_a_deleted_run_is_in_no_list_and_comes_back(connection: history.Connection) -> None:
    people.tag(connection, 2, "release", "ann")
    alerts = len(history.alerts(connection))
    people.delete(connection, 2, "ann")
    assert found(connection, "") == [3, 1] and runs.count(connection) == 2
    assert found(connection, "status:deleted") == [2]
    assert found(connection, "tag:release") == []
    assert len(history.alerts(connection)) < alerts
    assert history.alerts(connection, 2) != [] and history.find_run(connection, "2") == 2
    with pytest.raises(StoreError, match="there is no run"):
        history.find_run(connection, "tickets-v2")
    with pytest.raises(StoreError, match="deleted already"):
        people.delete(connection, 2, "ann")
    people.restore(connection, 2, "ann")
    assert history.find_run(connection, "tickets-v2") == 2
    with pytest.raises(StoreError, match="is not deleted"):
        people.restore(connection, 2, "ann")


def test_a_runs_win_rate_is_the_first_whole_judges_over_the_first_baseline(tmp_path: Path) -> None:
    """Not that of two candidates, here listed before the baseline, nor that of a judge of a panel."""
    items = [{"id": f"e{place}", "query": f"{place}?", "reference": f"right {place}"} for place in range(8)]
    texts = {
        name: {
            item["id"]: item["reference"] if place < right else "wrong" for place, item in enumerate(items)
        }
        for name, right in (("worse", 2), ("better", 6), ("base", 4))
    }
    rest = "[judging]\nall_pairs = true\n[[judges]]\nname = 'reference'"
    plan = recorded_plan(tmp_path, items, texts, rest)
    roles = plan.read_text().replace('role = "baseline"', 'role = "candidate"')
    plan.write_text(roles.replace('"base"\nrole = "candidate"', '"base"\nrole = "baseline"'))
    run = carry_out(tmp_path / "store", queue(tmp_path / "store", plan))
    connection = history.attach(database.connect(tmp_path / "store"))
    rates = {(row.candidate, row.baseline): row.win_rate for row in history.win_rates(connection, run.run_id)}
    assert rates == {("worse", "base"): 0.375, ("better", "base"): 0.625, ("better", "worse"): 0.75}
    assert runs.page(connection)[0].win_rate == 0.625
    connection.execute("UPDATE judge SET details = json_set(details, '$.part_of', 'panel')")
    assert runs.page(connection)[0].win_rate is None
    both = history.win_rates(connection, run.run_id), judging.judging(connection, run.run_id).win_rates
    assert both[0] == both[1]
    connection.close()


def test_a_running_run_cannot_be_deleted(connection: history.Connection) -> None:
    with pytest.raises(StoreError, match="is running"):
        people.delete(connection, 3, "ann")


def test_a_tag_is_one_word_that_is_given_once_and_taken_off(connection: history.Connection) -> None:
    people.tag(connection, 1, "release", "ann")
    people.tag(connection, 1, "release", "bob")
    people.tag(connection, 1, "best", "ann")
    assert [row.tags for row in runs.page(connection) if row.id == 1] == ["release, best"]
    assert len(people.marks(connection, 1)) == 2
    people.untag(connection, 1, "release", "ann")
    assert [row.tags for row in runs.page(connection) if row.id == 1] == ["best"]
    with pytest.raises(StoreError, match="has no tag 'release'"):
        people.untag(connection, 1, "release", "ann")
    for wrong in ("two words", "a,b", "", "x" * 61):
        with pytest.raises(StoreError, match="is no tag"):
            people.tag(connection, 1, wrong, "ann")


def test_a_run_that_others_were_held_against_is_not_purged_from_under_them(tmp_path: Path) -> None:
    folder = build(tmp_path / "store")
    connection = history.attach(database.connect(folder))
    held_against(connection, 2, 1)
    people.delete(connection, 1, "ann")
    assert purge(connection, folder) == []
    assert held_by(connection) == {1: [2]}
    people.delete(connection, 2, "ann")
    assert purge(connection, folder) == [1, 2]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def held_against(connection: Connection, run: int, reference: int) -> None:
    """Compares the first candidate of a run with that of another."""
    first = "(SELECT min(id) FROM model WHERE run_id = ? AND role = 'candidate')"
    connection.execute(
        "INSERT INTO comparison (candidate_id, baseline_id, kind, measure, direction, delta, n, "
        "standing, family, family_size) "
        f"VALUES ({first}, {first}, 'metric', 'rougeL', 'higher', 0.1, 12, 'not tested', 'checked', 0)",
        (run, reference),
    )


def test_purging_removes_all_of_the_deleted_runs_and_nothing_else(tmp_path: Path) -> None:
    folder = build(tmp_path / "store")
    (folder / "logs").mkdir(exist_ok=True)
    (folder / "logs" / "run-2.log").write_text("log")
    connection = history.attach(database.connect(folder))
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    examples = connection.execute("SELECT count(*) FROM example").fetchone()[0]
    connection.execute(
        "UPDATE alert SET follows = (SELECT min(id) FROM alert WHERE run_id = 2) WHERE run_id = 1"
    )
    assert purge(connection, folder) == []
    people.delete(connection, 2, "ann")
    assert purge(connection, folder) == [2]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert connection.execute("PRAGMA foreign_keys").fetchone()[0] == 1
    assert [row.id for row in runs.page(connection)] == [3, 1]
    left = {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}
    assert left["response"] > 0 and left["verdict"] > 0 and left["example"] == examples
    assert connection.execute("SELECT count(*) FROM model WHERE run_id = 2").fetchone()[0] == 0
    assert not (folder / "logs" / "run-2.log").exists()
    connection.execute("UPDATE run SET status = 'finished'")
    for run in (1, 3):
        people.delete(connection, run, "ann")
    assert purge(connection, folder) == [1, 3]
    emptied = {
        table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in tables
        if table not in ("alembic_version", "splituse", "exclusion", "failuretag")
    }
    assert set(emptied.values()) == {0}
    connection.close()
