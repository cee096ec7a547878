"""Run 2 of the demo store with all that the Splits screen can show: leaks, coverage, versions."""

import json
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from store import database
from tests.tui.history import EVAL_SET, HOUR, NOW
from tui.app.app import AssayApp
from tui.widgets.lines import Pane

OLDER = "0a11ce0ddf00"
LEAKS = [
    ("t-004", "ngram", 0.62, 88, "query", "change the delivery address",
     "Hello, I have moved since. Can I change the delivery address of order 2210 before it ships?"),
    ("t-001", "near", 0.91, 1043, "query", "I was charged twice for order 2077.",
     "I was charged twice for order 2077. Please, refund one of the two payments."),
    ("t-003", "identical", 1.0, 412, "both", "My parcel has not moved …",
     'My parcel has not moved for nine days.\n{"category": "shipping"}'),
    ("t-005", "meaning", 0.83, 1207, "query", "The login code does not come", None),
    ("t-006", "identical", 1.0, 77, "reference", '{"category": "account"', None),
]  # fmt: skip
COVERAGE: dict[str, Any] = {
    "clusters": [
        {"label": "refund · charged · order", "sizes": {"eval": 7, "train": 900, "log": 2400},
         "examples": ["I was charged twice", "Where is my refund?"]},
        {"label": "parcel · tracking", "sizes": {"eval": 5, "train": 600, "log": 1600}, "examples": []},
        {"label": "cancel · subscription", "sizes": {"eval": 0, "train": 100, "log": 1000},
         "examples": ["How do I cancel?"]},
    ],
    "gaps": [{"cluster": 2, "wanted": 0.2, "found": 0.0, "missing": 3, "label": "cancel · subscription"}],
    "drift": {
        "train": {"length": 0.05, "category": 0.02, "cluster": 0.04,
                  "classifier": {"accuracy": None, "p": None, "n": 24, "reason": "too few"}},
        "log": {"length": 0.31, "category": None, "cluster": 0.4,
                "classifier": {"accuracy": 0.71, "p": 0.0001, "n": 500, "reason": None}},
    },
}  # fmt: skip


def leak(store: Path) -> None:
    """Writes it into a copy of the demo store."""
    connection = database.connect(store)
    _summarise(connection)
    connection.execute("DELETE FROM leak")
    for example, *values in LEAKS:
        connection.execute(
            "INSERT INTO leak (run_id, example_id, tier, score, train_line, field, excerpt, train_text) "
            "SELECT 2, id, ?, ?, ?, ?, ?, ? FROM example WHERE example = ? AND eval_set = ?",
            (*values, example, EVAL_SET),
        )
    for run_id, user, reason, hours in (
        (2, "maria", "run of tickets", 26),
        (None, "jonas", "a look before the release", 8),
    ):
        connection.execute(
            "INSERT INTO splituse (run_id, eval_set, split, user, reason, created) VALUES (?, ?, ?, ?, ?, ?)",
            (run_id, EVAL_SET, "test", user, reason, NOW - hours * HOUR),
        )
    _add_older(connection)
    connection.close()


def summary(connection: sqlite3.Connection) -> dict[str, Any]:
    found = connection.execute("SELECT data_summary FROM run WHERE id = 2").fetchone()[0]
    return dict(json.loads(found))


def set_summary(connection: sqlite3.Connection, values: dict[str, Any]) -> None:
    connection.execute("UPDATE run SET data_summary = ? WHERE id = 2", (json.dumps(values),))


def _summarise(connection: sqlite3.Connection) -> None:
    tiers = {"identical": 1, "near": 1, "ngram": 1, "meaning": 1}
    found = {"leaks_by_tier": tiers, "leaked": 4, "answers_seen": 1, "similar": 2, "duplicates": 1}
    more = {"earlier": [{"file": "spring.jsonl", "leaked": 3}], "coverage": COVERAGE, "train_sha256": "new"}
    set_summary(connection, summary(connection) | found | more)
    connection.execute(
        "UPDATE run SET data_summary = json_set(data_summary, '$.train_sha256', 'old') WHERE id = 1"
    )


def _add_older(connection: sqlite3.Connection) -> None:
    """Run 1 was on an older version: two examples fewer, one more, one worded otherwise."""
    rest = 'messages, "references", label, category, extra'
    connection.execute(
        f"INSERT INTO example (eval_set, example, position, query, {rest}) SELECT ?, example, position, "
        f"CASE example WHEN 't-002' THEN 'Why this fee?' ELSE query END, {rest} FROM example "
        "WHERE eval_set = ? AND example < 't-011'",
        (OLDER, EVAL_SET),
    )
    connection.execute(
        "INSERT INTO example (eval_set, example, position, query) VALUES (?, 't-000', 99, 'An old one')",
        (OLDER,),
    )
    connection.execute("UPDATE run SET eval_set = ?, created = ? WHERE id = 1", (OLDER, NOW - 500 * HOUR))


def open_splits(folder: Path) -> AssayApp:
    return AssayApp(folder, run=2, screen="splits", now=lambda: NOW)


def below(app: AssayApp) -> str:
    """What is said of the item under the cursor."""
    pane = app.screen.query_one("#about", Pane)
    return "\n".join(line.plain for line in pane._lines)


async def rest(pilot: Pilot[int], settled: Callable[[Pilot[int]], Awaitable[None]], shown: str) -> None:
    """Waits until what stands below the list has followed the cursor."""
    app = pilot.app
    assert isinstance(app, AssayApp)
    for _ in range(100):
        await settled(pilot)
        if shown in below(app):
            return
        await pilot.pause(0.02)
    raise AssertionError(f"{shown!r} is not in {below(app)!r}")
