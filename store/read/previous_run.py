"""The run before a run: what its changes are told against."""

from store.read.history import Connection


def previous_run(connection: Connection, run_id: int) -> int | None:
    """The newest finished run of the same name before this one that nobody put away; None without one."""
    row = connection.execute(
        """
        SELECT max(b.id) FROM run r JOIN run b ON b.name = r.name AND b.id < r.id
        WHERE r.id = ? AND b.status = 'finished' AND b.deleted IS NULL
        """,
        (run_id,),
    ).fetchone()
    return None if row[0] is None else int(row[0])
