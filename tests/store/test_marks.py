"""What people say of runs is kept, and can be taken back."""

from pathlib import Path

import pytest

from store import database, people, records
from store.errors import StoreError
from store.read.history import Connection
from store.write import create_run

_RUN = {"status": "finished", "plan": "", "plan_hash": "h", "plan_folder": "/", "plan_file": "p.toml"}


@pytest.fixture
def connection(folder: Path) -> Connection:
    for _ in range(3):
        create_run(folder, records.Run(**{"name": "nightly", **_RUN}))
    return database.connect(folder)


def test_the_newest_accepted_run_of_a_name_is_the_reference_for_later_ones(connection: Connection) -> None:
    assert people.accepted(connection, "nightly") is None
    people.mark(connection, 1, "accept", "lora", "ann")
    people.mark(connection, 2, "accept", "lora", "ann")
    assert (found := people.accepted(connection, "nightly")) and found.run_id == 2
    assert (found := people.accepted(connection, "nightly", before=2)) and found.run_id == 1
    people.take_back(connection, 2, "bob")
    assert (found := people.accepted(connection, "nightly")) and (found.run_id, found.user) == (1, "ann")
    assert people.accepted(connection, "weekly") is None


def test_a_deleted_run_is_no_reference_until_it_is_brought_back(connection: Connection) -> None:
    people.mark(connection, 1, "accept", "lora", "ann")
    people.mark(connection, 1, "delete", "", "ann")
    assert people.accepted(connection, "nightly") is None
    assert people.take_back(connection, 1, "ann").kind == "delete"
    assert people.accepted(connection, "nightly") is not None
    assert connection.execute("SELECT deleted FROM run WHERE id = 1").fetchone()[0] is None


def test_tags_are_taken_back_one_by_one_and_their_history_stays(connection: Connection) -> None:
    for tag in ("release", "lr-sweep"):
        people.mark(connection, 1, "tag", tag, "ann")
    people.take_back(connection, 1, "ann")
    assert people.tags(connection, 1) == ["release"]
    people.take_back(connection, 1, "ann")
    assert people.tags(connection, 1) == []
    with pytest.raises(StoreError, match="nothing to take back"):
        people.take_back(connection, 1, "ann")
    assert [row.kind for row in people.marks(connection, 1)] == ["tag", "tag", "untag", "untag"]


def test_an_excluded_example_is_out_until_it_is_put_back(connection: Connection) -> None:
    people.exclude(connection, "v1", "a", "q1", "ann", reason="stands in training")
    people.exclude(connection, "v1", "b", "q2", "ann")
    people.exclude(connection, "v2", "a", "q1", "bob", excluded=False)
    out = people.excluded(connection)
    assert set(out) == {("b", "q2")}
    assert out[("b", "q2")].user == "ann"
