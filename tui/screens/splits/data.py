"""What the Splits screen reads, and excluding an example. All of it runs on the store's thread."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.data.example import query_id
from store import people
from store.people import excluded, user_name
from store.read import datasets, history
from store.read.datasets import Changes, LeakCount, RunOn, Use, VersionRow
from store.read.history import Connection
from store.read.rows import LeakItem
from store.records import Exclusion, Run

UNREAD = "the data was not read yet"
NEAR = 150  # leaks to either side of the cursor that are loaded
Known = dict[tuple[str, str], Changes]  # what differs between two versions stays what it is


@dataclass(frozen=True, slots=True)
class VersionEntry:
    """A version, what changed against the one before it, and the newest runs that used it."""

    row: VersionRow
    changes: Changes | None
    runs: tuple[RunOn, ...]


@dataclass(frozen=True, slots=True)
class LeakEntry:
    """A leak as the list shows it; `identity` is how an exclusion knows the example."""

    row: LeakItem
    identity: tuple[str, str]


@dataclass(frozen=True, slots=True)
class SplitsData:
    """What is known of a run's eval set and training data."""

    eval_set: str | None = None
    summary: Mapping[str, Any] | None = None
    search: str = ""
    leaks: tuple[int, ...] = ()
    near: Mapping[int, LeakEntry] = field(default_factory=dict)  # those of the leaks around the cursor
    counts: Sequence[LeakCount] = ()
    uses: Sequence[Use] = ()
    versions: Sequence[VersionEntry] = ()
    out: Mapping[tuple[str, str], Exclusion] = field(default_factory=dict)
    pending: frozenset[tuple[str, str]] = frozenset()  # out, and still in this run's version
    unread: str = UNREAD  # what is said in place of the summary


def read_data(connection: Connection, run_id: int, search: str, cursor: int, known: Known) -> SplitsData:
    """`cursor` is the place in the list of leaks; `known` keeps what differs between versions for the next
    reading.
    """
    run = history.run(connection, run_id)
    if run.eval_set is None:
        return SplitsData(summary=run.data_summary, unread=_unread(run, None))
    rows = datasets.versions(connection, run.eval_set)
    ours = {row.version for row in rows}
    whole = (run.data_summary or {}).get("file_version") or run.eval_set
    leaks = datasets.leak_ids(connection, run_id, search)
    out = {key: row for key, row in excluded(connection).items() if row.eval_set in ours}
    return SplitsData(
        run.eval_set,
        run.data_summary,
        search,
        leaks,
        read_leaks(connection, around(leaks, cursor)),
        datasets.leak_counts(connection, run_id),
        datasets.ledger(connection, run.eval_set, whole),
        [
            VersionEntry(
                row,
                _changes(connection, rows, place, known),
                tuple(datasets.runs_on(connection, row.version)),
            )
            for place, row in enumerate(rows)
        ],
        out,
        _pending(connection, run.eval_set, out),
        _unread(run, next((row for row in rows if row.version == run.eval_set), None)),
    )


def _unread(run: Run, version: VersionRow | None) -> str:
    if not run.imported:
        return UNREAD
    held = f"{version.examples:,} examples (version {version.version})" if version else "no examples"
    return f"imported from {run.imported} with {held}; its splits and training data are not known"


def _changes(connection: Connection, rows: Sequence[VersionRow], place: int, known: Known) -> Changes | None:
    if place + 1 == len(rows):
        return None
    between = rows[place + 1].version, rows[place].version
    if between not in known:
        known[between] = datasets.changes(connection, *between)
    return known[between]


def _pending(
    connection: Connection, eval_set: str, out: Mapping[tuple[str, str], Exclusion]
) -> frozenset[tuple[str, str]]:
    queries = datasets.queries(connection, eval_set, [example for example, _ in out])
    return frozenset(key for key in out if key[0] in queries and query_id(queries[key[0]]) == key[1])


def around(leaks: Sequence[int], cursor: int) -> Sequence[int]:
    """The leaks near a place; near the end, where there is none so far down."""
    place = min(cursor, len(leaks))
    return leaks[max(0, place - NEAR) : place + NEAR]


def read_leaks(connection: Connection, ids: Sequence[int]) -> dict[int, LeakEntry]:
    return {
        row.id: LeakEntry(row, (row.example, query_id(row.query))) for row in datasets.leaks(connection, ids)
    }


def toggle(connection: Connection, eval_set: str, identity: tuple[str, str], reason: str = "") -> str:
    """Takes the example out of later runs, or puts it back; returns what there is to say.

    `identity` is its id and `engine.data.example.query_id` of its query. Runs on the store's thread.
    """
    out = people.toggle_exclusion(connection, eval_set, *identity, user_name(), reason)
    return (
        f"{identity[0]} excluded: the next run is on a new version without it" if out else _back(identity[0])
    )


def put_back(connection: Connection, eval_sets: list[str]) -> str:
    """Puts back the example that this person took out last; returns what there is to say."""
    example = people.put_back(connection, eval_sets, user_name())
    return "you have excluded nothing that could be restored" if example is None else _back(example)


def _back(example: str) -> str:
    return f"{example} is back: the next run has it again"
