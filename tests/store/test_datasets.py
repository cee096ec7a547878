"""What is remembered of eval sets: leaks in order, versions and their differences, exclusions."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from store import database, people
from store.people import excluded
from store.read import datasets
from store.read.history import Connection, attach
from tests.tui.history import EVAL_SET, build
from tests.tui.leaky import OLDER, leak


@pytest.fixture(scope="module")
def leaky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = build(tmp_path_factory.mktemp("datasets") / "store")
    leak(folder)
    return folder


@pytest.fixture
def connection(leaky: Path, tmp_path: Path) -> Iterator[Connection]:
    own = Path(shutil.copytree(leaky, tmp_path / "store"))
    connection = attach(database.connect(own))
    yield connection
    connection.close()


def names(connection: Connection, search: str = "") -> list[str]:
    ids = datasets.leak_ids(connection, 2, search)
    rows = {row.id: row for row in datasets.leaks(connection, ids)}
    return [rows[leak].example for leak in ids]


def test_the_gravest_leak_comes_first_and_an_answer_alone_last(connection: Connection) -> None:
    assert names(connection) == ["t-003", "t-001", "t-004", "t-005", "t-006"]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("near", ["t-001"]),
        ("tier:identical", ["t-003", "t-006"]),
        ("tier:identical field:both", ["t-003"]),
        ("REFUND payments", ["t-001"]),
        ("t-00", ["t-003", "t-001", "t-004", "t-005", "t-006"]),
        ("nowhere", []),
        ("%", []),
    ],
)
def test_every_word_of_a_filter_must_be_found(connection: Connection, search: str, found: list[str]) -> None:
    assert names(connection, search) == found


def test_a_filter_folds_letters_of_every_script(connection: Connection) -> None:
    connection.execute("UPDATE leak SET train_text = 'Где мой Заказ' WHERE train_line = 88")
    assert names(connection, "ЗАКАЗ") == ["t-004"]


def test_versions_of_one_file_are_told_with_their_runs(connection: Connection) -> None:
    newest, oldest = datasets.versions(connection, EVAL_SET)
    assert (newest.version, newest.examples, newest.runs) == (EVAL_SET, 12, 2)
    assert (oldest.version, oldest.examples, oldest.runs) == (OLDER, 11, 1)
    assert [run.id for run in datasets.runs_on(connection, EVAL_SET)] == [3, 2]


def test_another_eval_set_in_a_file_of_that_name_is_no_version(connection: Connection) -> None:
    connection.execute("UPDATE example SET example = 'x-' || example WHERE eval_set = ?", (OLDER,))
    assert [row.version for row in datasets.versions(connection, EVAL_SET)] == [EVAL_SET]


def test_changes_name_what_was_added_removed_and_edited(connection: Connection) -> None:
    found = datasets.changes(connection, OLDER, EVAL_SET)
    assert (found.added, found.removed, found.edited) == (2, 1, 1)
    assert found.added_names == ("t-011", "t-012")
    assert (found.removed_names, found.edited_names) == (("t-000",), ("t-002",))


def test_another_line_in_the_file_is_no_edit(connection: Connection) -> None:
    connection.execute(
        'UPDATE example SET extra = \'{"line": 1, "group": null}\' WHERE eval_set = ?', (OLDER,)
    )
    connection.execute(
        'UPDATE example SET extra = \'{"line": 7, "group": null}\' WHERE eval_set = ?', (EVAL_SET,)
    )
    assert datasets.changes(connection, OLDER, EVAL_SET).edited_names == ("t-002",)


def test_taking_an_example_out_hides_no_use_of_the_test_split(connection: Connection) -> None:
    connection.execute(
        "UPDATE run SET eval_set = 'fewer', data_summary = json_set(data_summary, '$.file_version', ?) "
        "WHERE id = 3",
        (EVAL_SET,),
    )
    connection.execute(
        "INSERT INTO splituse (run_id, eval_set, split, user, reason, created) "
        "VALUES (3, 'fewer', 'test', 'ada', 'run', 0)"
    )
    for version in (EVAL_SET, "fewer"):
        found = [use.user for use in datasets.ledger(connection, version, EVAL_SET)]
        assert found == ["ada", "jonas", "maria"]
    assert datasets.ledger(connection, OLDER, OLDER) == []


def test_an_example_goes_out_and_comes_back(connection: Connection) -> None:
    assert people.toggle_exclusion(connection, EVAL_SET, "t-003", "abc", "maria", "leaked")
    assert excluded(connection)["t-003", "abc"].reason == "leaked"
    assert not people.toggle_exclusion(connection, EVAL_SET, "t-003", "abc", "jonas", "")
    assert not excluded(connection)


def test_only_ones_own_last_exclusion_is_put_back(connection: Connection) -> None:
    for example, user in (("t-001", "maria"), ("t-002", "maria"), ("t-003", "jonas")):
        people.toggle_exclusion(connection, EVAL_SET, example, "abc", user, "")
    assert people.put_back(connection, [EVAL_SET], "maria") == "t-002"
    assert people.put_back(connection, [EVAL_SET], "maria") == "t-001"
    assert people.put_back(connection, [EVAL_SET], "maria") is None
    assert people.put_back(connection, [OLDER], "jonas") is None
    assert set(excluded(connection)) == {("t-003", "abc")}
