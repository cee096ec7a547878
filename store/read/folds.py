"""Which runs evaluated the folds of one plan."""

from store.read.history import Connection


def fold_runs(connection: Connection, run_id: int) -> dict[int, int]:
    """The newest finished run of each fold, by fold, of the plan and limit that a run has."""
    rows = connection.execute(
        """
        SELECT json_extract(r.options, '$.fold') AS fold, max(r.id)
        FROM run r JOIN run a ON a.id = ?
        WHERE r.plan_hash = a.plan_hash AND r.plan_folder = a.plan_folder AND r.status = 'finished'
          AND json_extract(r.options, '$.limit') IS json_extract(a.options, '$.limit') AND r.deleted IS NULL
        GROUP BY fold HAVING fold IS NOT NULL ORDER BY fold
        """,
        (run_id,),
    )
    return {int(fold): int(found) for fold, found in rows}
