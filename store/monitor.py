"""What watching production traffic writes: measures of events, and alerts. Standard library only."""

import json
import sqlite3
import time
from collections.abc import Iterable, Sequence

from store.errors import StoreError
from store.read.query import select
from store.records import TrafficAlert, TrafficMeasures


def keep(connection: sqlite3.Connection, measures: Sequence[TrafficMeasures]) -> None:
    """Stores what was measured, in place of what earlier rules said."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        connection.executemany(
            "INSERT OR REPLACE INTO trafficmeasures (event_id, version, characters, cut, refused, "
            "well_formed, language, same_language, traits) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9 "
            # It may have been deleted meanwhile.
            "WHERE EXISTS (SELECT 1 FROM trafficevent WHERE id = ?1)",
            [
                (
                    *(row.event_id, row.version, row.characters, row.cut, row.refused, row.well_formed),
                    *(row.language, row.same_language, json.dumps(row.traits or [])),
                )
                for row in measures
            ],
        )


def place(
    connection: sqlite3.Connection, space: str, places: Iterable[tuple[str, int | None, float | None]]
) -> None:
    """Stores each event's cluster, and its distance from the eval set, in a space of that name."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        connection.executemany(
            "UPDATE trafficmeasures SET space = ?, cluster = ?, distance = ? WHERE event_id = ?",
            [(space, cluster, distance, event_id) for event_id, cluster, distance in places],
        )


def raise_alert(connection: sqlite3.Connection, alert: TrafficAlert) -> None:
    """Stores an alert; one that stands learns what is known of it now, and stays acknowledged."""
    connection.execute(
        "INSERT INTO trafficalert (start, days, variant, measure, reference, cause, evidence, created) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (start, days, variant, measure, reference) "
        "DO UPDATE SET cause = excluded.cause, evidence = excluded.evidence",
        (
            *(alert.start, alert.days, alert.variant, alert.measure, alert.reference, alert.cause),
            *(json.dumps(alert.evidence), alert.created),
        ),
    )


def acknowledge(connection: sqlite3.Connection, alert_id: int, user: str) -> TrafficAlert:
    """Records that somebody has seen to an alert. Raises StoreError where there is none of that number."""
    connection.execute(
        'UPDATE trafficalert SET acknowledged = ?, "by" = ? WHERE id = ? AND acknowledged IS NULL',
        (time.time(), user, alert_id),
    )
    found = select(connection, TrafficAlert, "SELECT * FROM trafficalert WHERE id = ?", alert_id)
    if not found:
        raise StoreError(f"there is no alert {alert_id}", "`assay monitor` lists them with their numbers")
    return found[0]
