"""Which examples of a run are in which slice: what the run's figures by slice were taken of.

Categories and features of a prompt are those of `engine.metrics.slices`; "leaked" are the examples that the
run found in its training data.
"""

from collections.abc import Sequence

from engine.data.example import Example
from store.read import evidence
from store.read.history import Connection

LEAKED, NOT_LEAKED = "leaked", "not leaked"


def slices(connection: Connection, run_id: int) -> dict[str, frozenset[int]]:
    """The store's ids of the examples in each slice, the largest slice first."""
    from engine.metrics.slices import features

    members: dict[str, set[int]] = {}
    rows = evidence.run_examples(connection, run_id)
    for row in rows:
        extra = (row.extra or {}).get("extra") or {}
        example = Example(row.example, row.query, (), category=row.category, extra=extra)
        for name in features(example):
            members.setdefault(name, set()).add(row.id)
    leaked = _leaked(connection, run_id)
    if leaked:
        members |= {LEAKED: leaked, NOT_LEAKED: {row.id for row in rows} - leaked}
    return {name: frozenset(members[name]) for name in _by_size(members)}


def _leaked(connection: Connection, run_id: int) -> set[int]:
    rows = connection.execute("SELECT DISTINCT example_id FROM leak WHERE run_id = ?", (run_id,))
    return {int(row[0]) for row in rows}


def _by_size(members: dict[str, set[int]]) -> Sequence[str]:
    return sorted(members, key=lambda name: (-len(members[name]), name))
