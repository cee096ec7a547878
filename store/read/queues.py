"""The queues through a run's pairs of answers: which examples they hold, and what comes first.

All rows of a pair of models are read once, and the queues are chosen among them in Python: their counts for
the list of queues cost one read, not one each.
"""

import json
import math
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from store.read.failures import CURRENT
from store.read.history import Connection
from store.read.query import select
from store.records import StoredMetric


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
    turn: int
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
    label: str | None
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
          n.annotator, n.created, n.turn, n.queue, n.blind, n.control, n.seconds, n.left_id, n.right_id,
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


def annotated_examples(
    connection: Connection, run_id: int, ids: Collection[int] | None = None
) -> dict[int, AnnotatedExample]:
    """The examples of a run that anyone annotated, or those named, by their ids in the store."""
    if ids is None:
        chosen, asked = "(SELECT DISTINCT example_id FROM annotation WHERE run_id = ?)", str(run_id)
    else:
        chosen, asked = "(SELECT value FROM json_each(?))", json.dumps(list(ids))
    answers: dict[int, dict[int, str | None]] = {}
    for row in connection.execute(
        "SELECT r.example_id, r.model_id, r.text FROM response r JOIN model m ON m.id = r.model_id "
        f"WHERE m.run_id = ? AND r.example_id IN {chosen}",
        (run_id, asked),
    ):
        answers.setdefault(row["example_id"], {})[row["model_id"]] = row["text"]
    found = {}
    for row in connection.execute(f"SELECT * FROM example WHERE id IN {chosen}", (asked,)):
        found[row["id"]] = AnnotatedExample(
            row["example"],
            row["query"],
            json.loads(row["messages"]) if row["messages"] else [{"role": "user", "content": row["query"]}],
            json.loads(row["references"]) if row["references"] else [],
            row["label"],
            row["category"],
            json.loads(row["extra"]) if row["extra"] else {},
            answers.get(row["id"], {}),
        )
    return found


CATEGORY = "category: "
SLICE = "slice: "  # of examples that whoever asks has chosen
FLIPS = "flips"
RANDOM = "random"  # the one whose labels stand for all examples
_LOWEST_SHARE = 0.10
_RANDOM_SHARE = 0.125
_LEAST_RANDOM = 30
# Read once for all rows: a look for each row's own undoing would go through all annotations each time.
_STANDING = "n.id NOT IN (SELECT undoes FROM annotation WHERE run_id = ? AND undoes NOT NULL)"


@dataclass(frozen=True, slots=True)
class QueueItem:
    """One example in a queue; values are of the chosen measure."""

    example_id: int
    position: int
    example: str
    category: str | None
    query: str
    outcome: str | None  # the judge's, for the candidate
    consistent: bool | None  # did both of its orders say the same
    missing: int  # 1 where an answer or the verdict failed
    value: float | None  # the candidate's
    difference: float | None  # candidate minus baseline
    control: bool  # a repeat of an earlier item, which measures the person's consistency


@dataclass(frozen=True, slots=True)
class Known:
    """What the queues need to know besides the items themselves."""

    run_id: int
    seed: int
    decided: frozenset[int]  # examples on which this person preferred one answer, called a tie or both bad
    flagged: frozenset[int]  # that this person put aside for later
    people: dict[int, frozenset[str]]  # outcomes by example, of everybody
    sign: int  # 1 where more of the chosen measure is better, −1 where less is
    middle: float | None = None  # between its wrong and its right values; None where it has no range


@dataclass(frozen=True, slots=True)
class Queue:
    """`blind`: whether being in it tells nothing of how the models did."""

    name: str
    key: str
    meaning: str
    holds: Callable[[QueueItem, Known], bool]
    blind: bool = False
    disputed_first: bool = False


def _against_measure(item: QueueItem, known: Known) -> bool:
    """Whether judge and measure see opposite winners; a tie of either is not against the other."""
    verdict = {"win": 1, "loss": -1}.get(item.outcome or "", 0)
    return item.difference is not None and verdict * known.sign * item.difference < 0


def _against_people(item: QueueItem, known: Known) -> bool:
    said = known.people.get(item.example_id, frozenset())
    return item.outcome in ("win", "loss", "tie") and bool(said - {item.outcome})


def _disputes(item: QueueItem, known: Known) -> int:
    """How many signs there are that the verdict may be wrong."""
    return (item.consistent == 0) + _against_measure(item, known) + _against_people(item, known)


def flip(item: QueueItem, known: Known) -> int:
    """−1: the baseline is right by the measure and the candidate wrong; 1: the other way round; else 0."""
    if item.value is None or item.difference is None or known.middle is None:
        return 0
    middle, before = known.middle, item.value - item.difference
    ours, theirs = (known.sign * (value - middle) >= 0 for value in (item.value, before))
    return ours - theirs


QUEUES = {
    queue.name: queue
    for queue in (
        Queue("all", "a", "every example, in the eval set's order", lambda item, known: True, True),
        Queue(
            "unreviewed", "u", "not decided by you, the disputed first",
            lambda item, known: item.example_id not in known.decided, True, True,
        ),
        Queue(RANDOM, "r", "a random sample: corrects the judge's win rate", lambda item, known: True, True),
        Queue(
            "losses", "l", "the candidate lost, the disputed first",
            lambda item, known: item.outcome == "loss", disputed_first=True,
        ),
        Queue(
            "wins", "w", "the candidate won, the disputed first",
            lambda item, known: item.outcome == "win", disputed_first=True,
        ),
        Queue(
            "ties", "t", "neither won, the disputed first",
            lambda item, known: item.outcome == "tie", disputed_first=True,
        ),
        Queue(
            "disagreements", "d", "the judge's two orders disagree",
            lambda item, known: item.consistent == 0, disputed_first=True,
        ),
        Queue(
            FLIPS, "o", "right or wrong by the measure has changed, lost ones first",
            lambda item, known: flip(item, known) != 0,
        ),
        Queue("metric", "m", "judge against measure, the widest apart first", _against_measure),
        Queue("human", "h", "judge against people", _against_people, disputed_first=True),
        Queue("missing", "x", "an answer or verdict is missing", lambda item, _: item.missing > 0, True),
        Queue("lowest", "b", "the lowest 10% by the measure", lambda item, known: item.value is not None),
        Queue(
            "later", "f", "flagged by you for later",
            lambda item, known: item.example_id in known.flagged, True,
        ),
    )
}  # fmt: skip


def chosen(items: Sequence[QueueItem], name: str, known: Known) -> list[QueueItem]:
    """The items of a queue, in its order. "category: x" is the queue of a category."""
    if name.startswith(CATEGORY):
        return [item for item in items if item.category == name.removeprefix(CATEGORY)]
    if name.startswith(SLICE):
        return list(items)
    queue = QUEUES[name]
    held = [item for item in items if queue.holds(item, known)]
    if name == RANDOM:
        count = max(_LEAST_RANDOM, math.ceil(len(held) * _RANDOM_SHARE))
        drawn = random.Random(f"{known.run_id} {known.seed}")
        return drawn.sample(held, min(count, len(held)))
    if name == "lowest":
        held.sort(key=lambda item: known.sign * (item.value or 0.0))
        return held[: math.ceil(len(held) * _LOWEST_SHARE)]
    if name == FLIPS:
        held.sort(key=lambda item: flip(item, known))
    elif name == "metric":
        held.sort(key=lambda item: -abs(item.difference or 0.0))
    elif queue.disputed_first:
        held.sort(key=lambda item: -_disputes(item, known))
    return held


def worst_first(items: Sequence[QueueItem], known: Known) -> list[QueueItem]:
    """The candidate's lowest values first; of equal ones those furthest behind the baseline.

    Examples on which the candidate has no value come last: what is missing is no worst answer.
    """

    def place(item: QueueItem) -> tuple[bool, float, bool, float, int]:
        own, behind = known.sign * (item.value or 0.0), known.sign * (item.difference or 0.0)
        return item.value is None, own, item.difference is None, behind, item.position

    return sorted(items, key=place)


def candidates_for(
    connection: Connection,
    run_id: int,
    candidate_id: int,
    baseline_id: int,
    *,
    search: str = "",
    measure: str | None = None,
    judge: str | None = None,
) -> list[QueueItem]:
    """All examples of a run for one pair of models, in the eval set's order.

    The outcomes are the judge's of that name, else the first pairwise judge's.
    """
    return select(
        connection,
        QueueItem,
        """
        SELECT e.id AS example_id, x.position, e.example, e.category, substr(e.query, 1, 200) AS query,
          v.outcome, v.consistent, sc.value AS value, sc.value - sb.value AS difference, 0 AS control,
          rc.text IS NULL OR rb.text IS NULL OR coalesce(v.outcome = 'failed', 0) AS missing
        FROM runexample x JOIN example e ON e.id = x.example_id
        LEFT JOIN response rc ON rc.model_id = ?2 AND rc.example_id = e.id
        LEFT JOIN response rb ON rb.model_id = ?3 AND rb.example_id = e.id
        LEFT JOIN verdict v ON v.candidate_id = ?2 AND v.baseline_id = ?3 AND v.example_id = e.id
          AND v.turn = 0
          AND v.judge_id = (SELECT min(id) FROM judge
            WHERE run_id = ?1 AND kind = 'pairwise' AND (?6 IS NULL OR name = ?6))
        LEFT JOIN score sc ON sc.model_id = ?2 AND sc.measure = ?4 AND sc.example_id = e.id
        LEFT JOIN score sb ON sb.model_id = ?3 AND sb.measure = ?4 AND sb.example_id = e.id
        WHERE x.run_id = ?1
          AND (?5 = '' OR instr(lower(e.query), lower(?5)) OR instr(lower(e.example), lower(?5))
            OR instr(lower(coalesce(e.category, '')), lower(?5))
            OR instr(lower(coalesce(rc.text, '')), lower(?5)))
        ORDER BY x.position
        """,
        run_id,
        candidate_id,
        baseline_id,
        measure,
        search,
        judge,
    )


def is_verdict(connection: Connection, measure: str, candidate_id: int, baseline_id: int) -> bool:
    """Whether a measure says right or wrong: all of both models' values are 1 or 0, and there are some."""
    (found,) = connection.execute(
        "SELECT min(value IN (0, 1)) FROM score WHERE measure = ? AND model_id IN (?, ?) AND value NOT NULL",
        (measure, candidate_id, baseline_id),
    ).fetchone()
    return bool(found)


def first_measure(measures: Sequence[StoredMetric]) -> str | None:
    """The first that has a better end."""
    return next((each.measure for each in measures if each.direction != "none"), None)


def flips_by(
    connection: Connection, measures: Sequence[StoredMetric], candidate_id: int, baseline_id: int
) -> str | None:
    """The first measure that says right or wrong, else the first with a better end."""
    names = (each.measure for each in measures)
    own = (name for name in names if is_verdict(connection, name, candidate_id, baseline_id))
    return next(own, None) or first_measure(measures)


class Signs(TypedDict):
    sign: int
    middle: float | None


def signs(measure: str | None, measures: Sequence[StoredMetric]) -> Signs:
    """Which end of a measure's range is the better one, and its middle, as the queues know them."""
    found = next((each for each in measures if each.measure == measure), None)
    if found is None:
        return Signs(sign=1, middle=None)
    low, high = found.low, found.high
    middle = None if low is None or high is None else (low + high) / 2
    return Signs(sign=-1 if found.direction == "lower" else 1, middle=middle)


def known_of(
    connection: Connection,
    run_id: int,
    candidate_id: int,
    baseline_id: int,
    person: str,
    *,
    sign: int = 1,
    middle: float | None = None,
) -> Known:
    outcomes = _outcomes(connection, run_id, candidate_id, baseline_id)
    people: dict[int, set[str]] = {}
    for (_, example_id), outcome in outcomes.items():
        people.setdefault(example_id, set()).add(outcome)
    flags = connection.execute(
        "SELECT n.example_id FROM annotation n WHERE n.run_id = ? AND n.kind = 'flag' AND n.annotator = ? "
        f"AND {_STANDING}",
        (run_id, person, run_id),
    )
    (seed,) = connection.execute("SELECT seed FROM run WHERE id = ?", (run_id,)).fetchone()
    return Known(
        run_id,
        seed,
        frozenset(example_id for annotator, example_id in outcomes if annotator == person),
        frozenset(row[0] for row in flags),
        {example: frozenset(said) for example, said in people.items()},
        sign,
        middle,
    )


def _outcomes(
    connection: Connection, run_id: int, candidate_id: int, baseline_id: int
) -> dict[tuple[str, int], str]:
    """The newest standing word of each person on each example, seen from the candidate."""
    rows = connection.execute(
        "SELECT n.annotator, n.example_id, n.value, n.left_id FROM annotation n "
        "WHERE n.run_id = ? AND n.kind = 'preference' AND NOT n.control AND n.turn = 0 "
        "AND min(n.left_id, n.right_id) = ? "
        f"AND max(n.left_id, n.right_id) = ? AND {_STANDING} ORDER BY n.id",
        (run_id, min(candidate_id, baseline_id), max(candidate_id, baseline_id), run_id),
    )
    return {
        (row[0], row[1]): "tie"
        if row[2] in ("tie", "both_bad")
        else "win"
        if (row[2] == "left") == (row[3] == candidate_id)
        else "loss"
        for row in rows
    }


def queue(
    connection: Connection,
    run_id: int,
    candidate_id: int,
    baseline_id: int,
    *,
    show: str = "all",
    search: str = "",
    worst_by: str | None = None,
    lower_is_better: bool = False,
    person: str = "",
) -> list[QueueItem]:
    """One queue: in its own order, or with `worst_by` the candidate's worst on that measure first."""
    items = candidates_for(connection, run_id, candidate_id, baseline_id, search=search, measure=worst_by)
    known = known_of(connection, run_id, candidate_id, baseline_id, person, sign=-1 if lower_is_better else 1)
    held = chosen(items, show, known)
    return worst_first(held, known) if worst_by is not None and show not in (RANDOM, "lowest") else held
