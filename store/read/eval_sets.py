"""Which versions of eval sets the runs of a store used, and what they hold."""

from dataclasses import dataclass

from store.read.history import Connection
from store.read.query import select
from store.read.rows import ExampleRow


@dataclass(frozen=True, slots=True)
class EvalSetRow:
    """One version: its file's name in the newest run, its size, its runs' ids, uses of its test split."""

    version: str
    file: str | None
    examples: int
    run_ids: str
    first: float
    last: float
    test_uses: int

    @property
    def runs(self) -> list[int]:
        """Its runs, the newest first."""
        return [int(run) for run in self.run_ids.split()]


def eval_sets(connection: Connection) -> list[EvalSetRow]:
    """Every version that a run of this store used, the one used last first."""
    return select(
        connection,
        EvalSetRow,
        """
        SELECT r.eval_set AS version,
          (SELECT eval_set_file FROM run WHERE eval_set = r.eval_set ORDER BY id DESC LIMIT 1) AS file,
          (SELECT count(*) FROM example WHERE eval_set = r.eval_set) AS examples,
          (SELECT group_concat(id, ' ') FROM (SELECT id FROM run
             WHERE eval_set = r.eval_set AND deleted IS NULL ORDER BY id DESC)) AS run_ids,
          min(r.created) AS first, max(r.created) AS last,
          (SELECT count(*) FROM splituse u WHERE u.eval_set = r.eval_set AND u.split = 'test') AS test_uses
        FROM run r WHERE r.eval_set IS NOT NULL AND r.deleted IS NULL
        GROUP BY r.eval_set ORDER BY last DESC, version
        """,
    )


def version_examples(connection: Connection, version: str) -> list[ExampleRow]:
    """All examples of one version, in their file's order."""
    return select(
        connection,
        ExampleRow,
        "SELECT e.*, NULL AS split FROM example e WHERE eval_set = ? ORDER BY position",
        version,
    )
