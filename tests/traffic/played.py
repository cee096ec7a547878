"""The made traffic of the samples in a store, as `assay traffic import` puts it there."""

import json
from collections.abc import Iterable
from pathlib import Path

from engine.traffic.events import read
from samples.make_traffic import FOLDER
from store import database, traffic
from store.session import opened

WEEK_1 = 1_767_571_200.0  # 2026-01-05
WEEK_S = 7 * 86_400.0
SALT = b"the same users in every store"  # of whom a third are those that clusters are learned from


def play(store: Path, weeks: Iterable[int] = range(1, 9), variant: str | None = None) -> Path:
    """Puts some of the eight weeks into a store, as one variant's."""
    database.prepare(store)
    with opened(store) as connection:
        for week in weeks:
            rows = map(json.loads, (FOLDER / "traffic" / f"week-{week}.jsonl").read_text().splitlines())
            own = [
                row if variant is None else {**row, "id": f"{variant} {row['id']}", "variant": variant}
                for row in rows
            ]
            pairs = [read(row, source="jsonl", salt=SALT) for row in own]
            traffic.add(
                connection, [event for event, _ in pairs if event], [said for _, said in pairs if said]
            )
    return store
