"""What people said of answers, as labels that count: the newest word of each person on each example.

What was taken back does not count, and neither do repeats that only measure a person's consistency.

Behind them the failure log: people's own list of failure tags, and which answers of which runs carry them. A
tag has a letter, so that one key sets it. Merging keeps what was said: the merged tag stands for the other
from then on, wherever it was given.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from store.read.history import Connection
from store.read.query import select


@dataclass(frozen=True, slots=True)
class PreferenceRow:
    """One person's preference between two models' answers, seen from the candidate."""

    example_id: int
    example: str
    category: str | None
    annotator: str
    outcome: str  # win loss tie both_bad
    queue: str | None
    blind: bool
    seconds: float | None
    turn: int  # 0: whole answers


@dataclass(frozen=True, slots=True)
class CriterionRow:
    """One person's rating of one model's answer by one criterion of a rubric."""

    example_id: int
    model_id: int
    annotator: str
    criterion: str
    value: float


@dataclass(frozen=True, slots=True)
class JudgedCriteriaRow:
    example_id: int
    model_id: int
    score: float
    scores: dict[str, float] | None


# The newest of each person on each example that was not taken back.
STANDING = """
    n.run_id = ?1 AND NOT n.control
    AND NOT EXISTS (SELECT 1 FROM annotation u WHERE u.undoes = n.id)
    AND NOT EXISTS (SELECT 1 FROM annotation m WHERE m.run_id = n.run_id AND m.example_id = n.example_id
      AND m.annotator = n.annotator AND m.kind = n.kind AND m.criterion IS n.criterion AND m.turn = n.turn
      AND NOT m.control
      AND min(m.left_id, coalesce(m.right_id, m.left_id)) = min(n.left_id, coalesce(n.right_id, n.left_id))
      AND max(m.left_id, coalesce(m.right_id, m.left_id)) = max(n.left_id, coalesce(n.right_id, n.left_id))
      AND m.id > n.id AND NOT EXISTS (SELECT 1 FROM annotation u WHERE u.undoes = m.id))
"""


def preferences(
    connection: Connection, run_id: int, candidate_id: int, baseline_id: int
) -> list[PreferenceRow]:
    """People's preferences between two models, whichever side each of them stood on, turns included."""
    return select(
        connection,
        PreferenceRow,
        f"""
        SELECT n.example_id, e.example, e.category, n.annotator, n.queue, n.blind, n.seconds, n.turn,
          CASE WHEN n.value IN ('tie', 'both_bad') THEN n.value
               WHEN (n.value = 'left') = (n.left_id = ?2) THEN 'win' ELSE 'loss' END AS outcome
        FROM annotation n JOIN example e ON e.id = n.example_id
        WHERE n.kind = 'preference' AND {STANDING}
          AND ((n.left_id = ?2 AND n.right_id = ?3) OR (n.left_id = ?3 AND n.right_id = ?2))
        ORDER BY n.id
        """,
        run_id,
        candidate_id,
        baseline_id,
    )


def criteria(connection: Connection, run_id: int) -> list[CriterionRow]:
    """People's ratings by criterion; the rated answer stood on the left."""
    return select(
        connection,
        CriterionRow,
        f"""
        SELECT n.example_id, n.left_id AS model_id, n.annotator, n.criterion, CAST(n.value AS REAL) AS value
        FROM annotation n WHERE n.kind = 'rating' AND n.criterion IS NOT NULL AND {STANDING}
        ORDER BY n.id
        """,
        run_id,
    )


def judged_criteria(connection: Connection, judge_id: int) -> list[JudgedCriteriaRow]:
    """One judge's scores by criterion, of whole answers."""
    return select(
        connection,
        JudgedCriteriaRow,
        "SELECT example_id, model_id, score, scores FROM rating "
        "WHERE judge_id = ? AND turn = 0 AND score NOT NULL",
        judge_id,
    )


def labelled_pairs(connection: Connection, run_id: int) -> list[tuple[int, int]]:
    """Every pair of a run's models that people preferred between: candidate and baseline, or as a judge took
    two candidates.
    """
    rows = connection.execute(
        """
        SELECT DISTINCT c.id, b.id FROM annotation n
        JOIN model c ON c.run_id = ?1 AND c.id IN (n.left_id, n.right_id)
        JOIN model b ON b.run_id = ?1 AND b.id IN (n.left_id, n.right_id)
        WHERE n.run_id = ?1 AND n.kind = 'preference'
          AND (c.role = 'candidate' AND b.role = 'baseline' OR (c.id, b.id) IN (
            SELECT w.candidate_id, w.baseline_id FROM winrate w JOIN judge j ON j.id = w.judge_id
            WHERE j.run_id = ?1))
        ORDER BY c.position, b.position
        """,
        (run_id,),
    )
    return [(int(row[0]), int(row[1])) for row in rows]


def verdicts(
    connection: Connection, judge_id: int, candidate_id: int, baseline_id: int
) -> dict[tuple[int, str], str]:
    """One judge's outcomes on one pair of models, by turn and the examples' own ids; failed ones left out."""
    rows = connection.execute(
        "SELECT v.turn, e.example, v.outcome FROM verdict v JOIN example e ON e.id = v.example_id "
        "WHERE v.judge_id = ? AND v.candidate_id = ? AND v.baseline_id = ? AND v.outcome <> 'failed'",
        (judge_id, candidate_id, baseline_id),
    )
    return {(int(row[0]), str(row[1])): str(row[2]) for row in rows}


def confidences(
    connection: Connection, judge_id: int, candidate_id: int, baseline_id: int
) -> dict[str, float]:
    """How sure one judge was of whole answers, the mean of its orders, by the examples' own ids."""
    rows = connection.execute(
        "SELECT e.example, avg(g.confidence) FROM judgment g JOIN example e ON e.id = g.example_id "
        "WHERE g.judge_id = ? AND g.candidate_id = ? AND g.baseline_id = ? AND g.turn = 0 "
        "AND g.confidence NOT NULL AND g.winner NOT NULL GROUP BY e.id",
        (judge_id, candidate_id, baseline_id),
    )
    return {str(row[0]): float(row[1]) for row in rows}


def judged_turns(connection: Connection, run_id: int) -> dict[int, int]:
    """The last turn that was judged of each example with several."""
    rows = connection.execute(
        "SELECT v.example_id, max(v.turn) FROM verdict v JOIN judge j ON j.id = v.judge_id "
        "WHERE j.run_id = ? AND v.turn > 0 GROUP BY v.example_id",
        (run_id,),
    )
    return {int(row[0]): int(row[1]) for row in rows}


def answer_texts(connection: Connection, run_id: int) -> Iterator[tuple[int, int, str]]:
    """Example, model and text of every answer of a run."""
    rows = connection.execute(
        "SELECT r.example_id, r.model_id, r.text FROM response r JOIN model m ON m.id = r.model_id "
        "WHERE m.run_id = ? AND r.text NOT NULL",
        (run_id,),
    )
    return ((int(row[0]), int(row[1]), str(row[2])) for row in rows)


def basis(connection: Connection, run_id: int) -> tuple[int, int, int]:
    """What agreement with people rests on: labels and ratings given, the newest word, verdicts."""
    given, newest = connection.execute(
        "SELECT coalesce(sum(kind = 'preference' OR (kind = 'rating' AND criterion NOT NULL)), 0), "
        "coalesce(max(id), 0) FROM annotation WHERE run_id = ?",
        (run_id,),
    ).fetchone()
    judged = connection.execute(
        "SELECT count(*) FROM verdict WHERE judge_id IN (SELECT id FROM judge WHERE run_id = ?)", (run_id,)
    ).fetchone()
    return int(given), int(newest), int(judged[0])


@dataclass(frozen=True, slots=True)
class TagRow:
    """A failure tag as it is offered: with how many answers of how many runs carry it."""

    name: str
    letter: str | None
    answers: int
    runs: int
    last_run: int | None


@dataclass(frozen=True, slots=True)
class RunTags:
    """How many answers of one run carry each tag; a tag that is not there was given to none."""

    run_id: int
    run_name: str
    answers: dict[str, int]


@dataclass(frozen=True, slots=True)
class TaggedRow:
    """One tagged answer."""

    tag: str
    run_id: int
    run_name: str
    example_id: int
    example: str
    category: str | None
    query: str
    model: str
    annotator: str
    created: float


# What a tag is called now, following merges; `merges` is a chain of at most a few links.
CURRENT = """
    WITH RECURSIVE current(name, now) AS (
      SELECT name, name FROM failuretag WHERE merged_into IS NULL
      UNION ALL SELECT t.name, c.now FROM failuretag t JOIN current c ON t.merged_into = c.name)
"""
_UNTAKEN = "NOT EXISTS (SELECT 1 FROM annotation u WHERE u.undoes = n.id)"


def tags(connection: Connection) -> list[TagRow]:
    """The tags on offer, the most used first."""
    return select(
        connection,
        TagRow,
        f"""
        {CURRENT}
        SELECT t.name, t.letter, count(n.id) AS answers, count(DISTINCT n.run_id) AS runs,
          max(n.run_id) AS last_run
        FROM failuretag t LEFT JOIN current c ON c.now = t.name
        LEFT JOIN annotation n ON n.kind = 'tag' AND n.value = c.name AND {_UNTAKEN}
        WHERE t.merged_into IS NULL GROUP BY t.name ORDER BY answers DESC, t.created, t.name
        """,
    )


def failures(connection: Connection, *, tag: str | None = None, limit: int = 10_000) -> list[TaggedRow]:
    """The answers that carry a tag, or any tag, newest first; deleted runs left out."""
    return select(
        connection,
        TaggedRow,
        f"""
        {CURRENT}
        SELECT coalesce(c.now, n.value) AS tag, n.run_id, r.name AS run_name, n.example_id, e.example,
          e.category, e.query, m.name AS model, n.annotator, n.created
        FROM annotation n JOIN run r ON r.id = n.run_id AND r.deleted IS NULL
        JOIN example e ON e.id = n.example_id
        LEFT JOIN current c ON c.name = n.value
        JOIN model m ON m.id = coalesce((SELECT x.id FROM model x
          WHERE x.id IN (n.left_id, n.right_id) AND x.role = 'candidate'), n.left_id)
        WHERE n.kind = 'tag' AND {_UNTAKEN} AND (?1 IS NULL OR coalesce(c.now, n.value) = ?1)
        ORDER BY n.id DESC LIMIT ?2
        """,
        tag,
        limit,
    )


def by_run(connection: Connection, *, limit: int = 12) -> list[RunTags]:
    """The newest runs in which anybody tagged anything, oldest first.

    A run without any tag is left out: nobody looked there, which is not the same as no failures.
    """
    rows = connection.execute(
        f"""
        {CURRENT}
        SELECT n.run_id, r.name, coalesce(c.now, n.value) AS tag,
          count(DISTINCT n.example_id || ' ' || coalesce(n.right_id, n.left_id)) AS answers
        FROM annotation n JOIN run r ON r.id = n.run_id AND r.deleted IS NULL
        LEFT JOIN current c ON c.name = n.value
        WHERE n.kind = 'tag' AND {_UNTAKEN} GROUP BY n.run_id, tag ORDER BY n.run_id DESC
        """
    )
    found: dict[int, RunTags] = {}
    for run_id, name, tag, answers in rows:
        if run_id not in found and len(found) == limit:
            break
        found.setdefault(run_id, RunTags(run_id, name, {})).answers[tag] = answers
    return list(reversed(found.values()))
