"""The records say what the tables are: what is made from them is what the migrations make."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import SQLModel

from store import database, migrations, records
from store.records.columns import columns, converter, table_name, values_of
from store.schema import MODELS, table_of


def shape(path: Path) -> dict[str, Any]:
    """Each table's columns, references, indexes, and whether its rows are numbered; the order aside."""
    found = {}
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
        for name, sql in tables:
            indexes = connection.execute(f"PRAGMA index_list({name})").fetchall()
            found[name] = {
                # name, type, not null, default, place in the key
                "columns": {row[1:] for row in connection.execute(f"PRAGMA table_info({name})")},
                "references": {row[2:] for row in connection.execute(f"PRAGMA foreign_key_list({name})")},
                "indexes": {
                    (
                        index[1] if index[3] == "c" else "",  # SQLite names those of constraints itself
                        *index[2:4],
                        *(row[2] for row in connection.execute(f'PRAGMA index_info("{index[1]}")')),
                    )
                    for index in indexes
                },
                "numbered": "WITHOUT ROWID" not in sql,
            }
    return found


def test_the_migrations_make_exactly_the_tables_that_a_new_store_has(folder: Path, tmp_path: Path) -> None:
    database.prepare(folder)
    migrations.create_earlier(tmp_path / "migrated.db", database.SCHEMA)
    made, migrated = shape(folder / database.FILE), shape(tmp_path / "migrated.db")
    assert made == migrated
    assert set(SQLModel.metadata.tables) | {"alembic_version"} == set(made)


def test_tables_without_row_ids_begin_with_their_key(folder: Path) -> None:
    """SQLite's integrity check takes others for damaged, and no upgrade of the store would succeed."""
    database.prepare(folder)
    with closing(sqlite3.connect(folder / database.FILE)) as connection:
        tables = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
        keyed = [name for name, sql in tables if "WITHOUT ROWID" in sql]
        assert keyed
        for name in keyed:
            places = [row[5] > 0 for row in connection.execute(f"PRAGMA table_info({name})")]
            assert places == sorted(places, reverse=True), name


def test_every_record_has_a_table_of_its_name() -> None:
    assert issubclass(MODELS[records.Run], SQLModel)
    assert {table_name(record) for record in records.RECORDS} == set(SQLModel.metadata.tables)
    for record in records.RECORDS:
        assert {column.name for column in table_of(record).columns} == {
            column.name for column in columns(record)
        }


@pytest.mark.parametrize("record", records.RECORDS, ids=table_name)
def test_owners_come_before_what_they_own(record: type[records.Record]) -> None:
    before = records.RECORDS[: records.RECORDS.index(record)]
    owners = [column.refers.table for column in columns(record) if column.refers and column.refers.owned]
    assert set(owners) <= {table_name(each) for each in before}


def test_what_is_missing_is_null_and_what_the_store_numbers_is_left_to_it() -> None:
    values = values_of(records.Event(run_id=1, time=2.0, level="info", phase="data", message="m"))
    assert values == {"run_id": 1, "time": 2.0, "level": "info", "phase": "data", "message": "m"}


def test_a_row_becomes_a_record_by_the_names_of_its_columns() -> None:
    names = (
        "judge_id",
        "candidate_id",
        "baseline_id",
        "example_id",
        "turn",
        "outcome",
        "consistent",
        "reason",
    )
    made = converter(records.Verdict, names)((1, 2, 3, 4, 0, "win", 1, None))
    assert made == records.Verdict(
        judge_id=1, candidate_id=2, baseline_id=3, example_id=4, outcome="win", consistent=True
    )


def test_the_key_of_every_table_comes_first() -> None:
    """SQLite 3.40 takes a table without row numbers for damaged where it does not."""
    for record in records.RECORDS:
        in_key = [column.is_key for column in columns(record)]
        assert in_key == sorted(in_key, reverse=True)
