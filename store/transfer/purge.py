"""Removing deleted runs for good, with all that belongs to them."""

import json
from pathlib import Path

from store.read.history import Connection
from store.transfer.merge import OWNERS, belongs

_CHOSEN = "SELECT id FROM temp.purged"


def deleted(connection: Connection) -> list[int]:
    """The runs that were put away."""
    return [
        int(row[0]) for row in connection.execute("SELECT id FROM run WHERE deleted IS NOT NULL ORDER BY id")
    ]


def held_by(connection: Connection) -> dict[int, list[int]]:
    """The runs that were put away but that others were held against: by which runs that stay."""
    rows = connection.execute(
        """
        SELECT DISTINCT b.run_id, a.run_id FROM comparison c JOIN model a ON a.id = c.candidate_id
        JOIN model b ON b.id = c.baseline_id JOIN run kept ON kept.id = a.run_id AND kept.deleted IS NULL
        JOIN run gone ON gone.id = b.run_id AND gone.deleted IS NOT NULL ORDER BY 1, 2
        """
    )
    found: dict[int, list[int]] = {}
    for gone, kept in rows:
        found.setdefault(int(gone), []).append(int(kept))
    return found


def purge(connection: Connection, folder: Path) -> list[int]:
    """Removes every run that was put away, its rows, its log and its lock; returns their ids.

    All of it or nothing, in one transaction. A run that others were held against stays as long as they do.
    Examples of eval sets on which no run is left go, too; the ledger of the test split stays, since a look at
    it cannot be undone.
    """
    # Each row's references would be looked up in tables without an index for that: whole runs go, in order.
    connection.execute("PRAGMA foreign_keys=OFF")
    connection.execute("BEGIN IMMEDIATE")
    try:
        held = held_by(connection)
        gone = [run_id for run_id in deleted(connection) if run_id not in held]
        connection.execute(
            "CREATE TEMP TABLE purged AS SELECT id, eval_set FROM run "
            "WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(gone),),
        )
        connection.execute(f"UPDATE splituse SET run_id = NULL WHERE run_id IN ({_CHOSEN})")
        connection.execute(f"UPDATE benchmarkscore SET reused_from = NULL WHERE reused_from IN ({_CHOSEN})")
        connection.execute(
            "UPDATE alert SET follows = NULL WHERE follows IN "
            f"(SELECT id FROM alert WHERE run_id IN ({_CHOSEN}))"
        )
        for table in reversed(OWNERS):
            connection.execute(f"DELETE FROM {table} WHERE {belongs(table, _CHOSEN)}")
        connection.execute(
            "DELETE FROM example WHERE eval_set IN (SELECT eval_set FROM temp.purged) "
            "AND eval_set NOT IN (SELECT eval_set FROM run WHERE eval_set IS NOT NULL) "
            "AND id NOT IN (SELECT example_id FROM runexample)"
        )
        connection.execute("DROP TABLE temp.purged")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    finally:
        connection.execute("PRAGMA foreign_keys=ON")
    for run_id in gone:
        (folder / "logs" / f"run-{run_id}.log").unlink(missing_ok=True)
        (folder / f"run-{run_id}.lock").unlink(missing_ok=True)
    return gone
