"""What people said, with the example and the answers it is about: for those who write it out."""

import json
from dataclasses import dataclass
from typing import Any

from store.read.failures import CURRENT
from store.read.history import Connection
from store.read.query import select


@dataclass(frozen=True, slots=True)
class AnnotatedRow:
    """One standing annotation; of one that is about a single answer, `right` is None."""

    id: int
    run_id: int
    example_id: int
    kind: str
    value: str
    criterion: str | None
    annotator: str
    created: float
    queue: str | None
    blind: bool
    control: bool
    seconds: float | None
    left_id: int
    right_id: int | None
    left: str  # the models' names
    right: str | None
    about_id: int  # the answer that a tag or a note means: the candidate's of a pair
    about: str


@dataclass(frozen=True, slots=True)
class AnnotatedExample:
    """An example as it was asked, and each model's answer to it by the model's id."""

    example: str
    query: str
    messages: list[dict[str, str]]
    references: list[str]
    category: str | None
    extra: dict[str, Any]
    answers: dict[int, str | None]


def annotated(connection: Connection, run_id: int) -> list[AnnotatedRow]:
    """Everything that stands of what people said of a run, oldest first; tags by what they are called now."""
    return select(
        connection,
        AnnotatedRow,
        f"""
        {CURRENT}
        SELECT n.id, n.run_id, n.example_id, n.kind, coalesce(c.now, n.value) AS value, n.criterion,
          n.annotator, n.created, n.queue, n.blind, n.control, n.seconds, n.left_id, n.right_id,
          l.name AS left, r.name AS right,
          CASE WHEN r.role = 'candidate' AND l.role <> 'candidate' THEN r.id ELSE l.id END AS about_id,
          CASE WHEN r.role = 'candidate' AND l.role <> 'candidate' THEN r.name ELSE l.name END AS about
        FROM annotation n JOIN model l ON l.id = n.left_id LEFT JOIN model r ON r.id = n.right_id
        LEFT JOIN current c ON n.kind = 'tag' AND c.name = n.value
        WHERE n.run_id = ? AND n.kind <> 'undo'
          AND NOT EXISTS (SELECT 1 FROM annotation u WHERE u.undoes = n.id)
        ORDER BY n.id
        """,
        run_id,
    )


def annotated_examples(connection: Connection, run_id: int) -> dict[int, AnnotatedExample]:
    """The examples of a run that anyone annotated, by their ids in the store."""
    chosen = "(SELECT DISTINCT example_id FROM annotation WHERE run_id = ?)"
    answers: dict[int, dict[int, str | None]] = {}
    for row in connection.execute(
        "SELECT r.example_id, r.model_id, r.text FROM response r JOIN model m ON m.id = r.model_id "
        f"WHERE m.run_id = ? AND r.example_id IN {chosen}",
        (run_id, run_id),
    ):
        answers.setdefault(row["example_id"], {})[row["model_id"]] = row["text"]
    found = {}
    for row in connection.execute(f"SELECT * FROM example WHERE id IN {chosen}", (run_id,)):
        found[row["id"]] = AnnotatedExample(
            row["example"],
            row["query"],
            json.loads(row["messages"]) if row["messages"] else [{"role": "user", "content": row["query"]}],
            json.loads(row["references"]) if row["references"] else [],
            row["category"],
            json.loads(row["extra"]) if row["extra"] else {},
            answers.get(row["id"], {}),
        )
    return found
