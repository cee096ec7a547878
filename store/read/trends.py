"""One measure over many runs or one run's checkpoints, and one example over many models: where it was lost.

A measure is a metric ("rougeL"), a benchmark ("arc_easy · acc", a filter behind it in brackets), or a win
rate ("win rate over base (gpt)"). Values are joined only where they were taken in the same way; what differs
is named. An example is followed over the checkpoints of one training, in the order of their steps, or over
the runs that asked it, oldest first. Standard library only, like `store.read.history`.
"""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

from store.errors import StoreError
from store.read.history import Connection, metrics, models, run
from store.read.query import LARGEST, by_key, select
from store.read.queues import flips_by, is_right, signs
from store.read.rows import ModelRow
from store.read.runs import Words, where
from store.read.slices import NOT_SYNTHETIC
from store.records import Run, StoredMetric
from store.records.judging import WITHOUT_SYNTHETIC

_WIN_RATE = re.compile(r"win rate over (.+) \((.+)\)")
_BENCHMARK = re.compile(r"(.+?) · (.+?)(?: \((.+)\))?")
_Z95 = 1.959964  # half the width of a 95 % interval in standard errors


@dataclass(frozen=True, slots=True)
class Point:
    """One run's value of a measure: its first candidate's, or that of the candidate asked for; or the value
    of one of a run's checkpoints, after so many steps of training.

    `conditions` says how it was taken: two values compare where all are the same, the tokenizer by the rule
    of `same_tokenizer`.
    """

    run_id: int
    run_name: str
    created: float
    candidate: str
    step: int | None
    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str | None  # why there is no value
    without_synthetic: float | None  # over the examples that no model wrote; None where a model wrote none
    conditions: tuple[tuple[str, str], ...]  # (what, how it was)


@dataclass(frozen=True, slots=True)
class Named:
    """A measure that some run has."""

    name: str
    direction: str  # higher lower none
    runs: int


def measures(connection: Connection) -> list[Named]:
    """Every measure that a run has, those of most runs first within metrics, win rates and benchmarks."""
    return select(
        connection,
        Named,
        """
        SELECT name, direction, runs FROM (
          SELECT 0 AS kind, d.measure AS name, max(d.direction) AS direction, count(*) AS runs,
            min(d.position) AS position
          FROM metric d JOIN run r ON r.id = d.run_id WHERE r.deleted IS NULL GROUP BY d.measure
          UNION ALL
          SELECT 1, 'win rate over ' || b.name || ' (' || j.name || ')', 'higher',
            count(DISTINCT j.run_id), 0
          FROM winrate w JOIN judge j ON j.id = w.judge_id JOIN model b ON b.id = w.baseline_id
          JOIN run r ON r.id = j.run_id WHERE w.turn = 0 AND r.deleted IS NULL GROUP BY b.name, j.name
          UNION ALL
          SELECT 2, s.task || ' · ' || s.metric || CASE s.filter WHEN 'none' THEN '' ELSE
              ' (' || s.filter || ')' END, CASE max(s.higher_is_better) WHEN 1 THEN 'higher' ELSE 'lower' END,
            count(DISTINCT m.run_id), 0
          FROM benchmarkscore s JOIN model m ON m.id = s.model_id JOIN run r ON r.id = m.run_id
          WHERE m.role = 'candidate' AND r.deleted IS NULL GROUP BY s.task, s.metric, s.filter)
        ORDER BY kind, runs DESC, position, name
        """,
    )


def trend(
    connection: Connection,
    measure: str,
    words: Words = (),
    *,
    candidate: str | None = None,
    limit: int | None = None,
) -> list[Point]:
    """The measure's value in each run that has it, oldest first; of the newest `limit` runs where given.

    A run stands there once: with its candidate of that name, else with its first; a run that follows a
    training with its newest checkpoint.
    """
    asked = {"only": candidate, "limit": -1 if limit is None else min(limit, LARGEST)}
    return _points(connection, measure, words, _CANDIDATE, "NULL", asked)


def curve(connection: Connection, measure: str, run_id: int) -> list[Point]:
    """The measure's value of each checkpoint of one run that has it: training by training, in the order of
    the steps.
    """
    one, known = run(connection, run_id), models(connection, run_id)
    trainings = {model.name: _training(one, model) for model in known}
    order = list(dict.fromkeys(trainings.values()))
    found = [
        replace(point, conditions=((_TRAINING, trainings[point.candidate]), *point.conditions))
        for point in _points(connection, measure, (), _CHECKPOINT, _STEP, {"only": run_id, "limit": -1})
    ]
    return sorted(found, key=lambda point: (order.index(trainings[point.candidate]), point.step or 0))


def _training(one: Run, model: ModelRow) -> str:
    """What the checkpoints of one training have in common: all those of a run that follows one."""
    return "" if "follow" in (one.options or {}) else model.series


def curve_measures(connection: Connection, run_id: int) -> list[Named]:
    """What a run's checkpoints are measured by, the loss first; none where it has none with a known step."""
    return select(
        connection,
        Named,
        f"""
        SELECT measure AS name, direction, 1 AS runs FROM metric
        WHERE run_id = ?1 AND EXISTS (SELECT 1 FROM model m WHERE m.run_id = ?1 AND {_STEP} IS NOT NULL)
        ORDER BY measure NOT LIKE 'eval_loss:%', measure NOT LIKE 'perplexity:%', position
        """,
        run_id,
    )


def _points(
    connection: Connection, measure: str, words: Words, candidate: str, step: str, asked: dict[str, Any]
) -> list[Point]:
    how: tuple[str, ...]
    key: dict[str, Any]
    if (rate := _WIN_RATE.fullmatch(measure)) is not None:
        source, how, key = _WIN_RATES, _HOW_JUDGED, {"over": rate[1], "judge": rate[2]}
    elif (task := _BENCHMARK.fullmatch(measure)) is not None:
        source, how = _BENCHMARKS, _HOW_ASKED
        key = {"task": task[1], "metric": task[2], "filter": task[3] or "none"}
    else:
        source, how, key = _METRICS, _HOW_MEASURED, {"measure": measure, "per_token": is_per_token(measure)}
    condition, values = where(words)
    values = {**values, **key, **asked}
    sql = source.format(candidate=candidate, run=f"{_RUN}, {step}", condition=condition)
    cursor = connection.cursor()
    cursor.row_factory = None
    is_likelihood = bool(_LIKELIHOOD.match(measure))
    # Of a corpus, or of the validation split: no sample is drawn for it.
    whole = is_likelihood and ":" in measure
    # Plain tuples in the fields' order: ten thousand runs stand behind one line.
    points = [_point(row, how, not is_likelihood, whole) for row in cursor.execute(sql, values)]
    return points[::-1]


# CROSS JOIN keeps SQLite at the runs, newest first, so that a limit ends the work.
# Reading JSON costs more than the rest of the query, and few models come out of a sweep.
_KEPT = (
    "AND (coalesce(instr(c.details, '\"sweep\"'), 0) = 0 "
    "OR coalesce(json_extract(c.details, '$.sweep.kept'), 1))"
)
_RUN = "r.id, r.name, r.created, m.name"
_QUICK = "the quick part"  # of its plan, which a run that follows a training carries out
_LIMIT = "json_extract(r.options, '$.limit')"
_SELECTION = f"CASE WHEN instr(r.options, '\"follow\"') THEN '{_QUICK}' ELSE {_LIMIT} END"
# What a server refused of the generation settings; only servers' models have it.
_REFUSED = (
    "CASE WHEN instr(m.details, '\"rejected\"') THEN nullif(json_extract(m.details, '$.rejected'), '[]') END"
)
# Of a training that is followed, the last checkpoint that is evaluated stands for the run.
_EVALUATED = "coalesce(instr(c.details, '\"evaluated\"'), 0) > 0"
_ORDER = f"CASE WHEN {_EVALUATED} THEN -1 - c.position ELSE c.position END"
_CANDIDATE = (
    "m.id = (SELECT c.id FROM model c WHERE c.run_id = r.id AND c.role = 'candidate' "
    f"AND (:only IS NULL OR c.name = :only) {_KEPT} "
    f"ORDER BY {_ORDER} LIMIT 1)"
)
_STEP = "json_extract(m.details, '$.checkpoint.step')"
_CHECKPOINT = f"r.id = :only AND m.run_id = r.id AND m.role = 'candidate' AND {_STEP} IS NOT NULL"
_TRAINING = "the training"
_LIMITED = "how many examples were asked for"
_CHOSEN = "the choice of examples"
_GENERATED = "the generation settings"
_TEMPLATE = "the chat template"
_TOKENIZER = "the tokenizer"
_TOKENS = ("tokenization", "tokenizer")  # of a model's details: a GGUF file has the first alone
_LIKELIHOOD = re.compile(r"(perplexity|bits_per_byte|eval_loss)(:|$)")
# Keys of a plan that decide which examples are evaluated, and what a model answers, with the plan's defaults:
# one that is written out is no other setting.
CHOICE = {"split": "all", "ratios": [0.8, 0.1, 0.1], "sample": None, "seed": 0, "folds": None}
GENERATION = {
    "max_new_tokens": 256, "temperature": 0.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0,
    "repetition_penalty": 1.0, "seed": 0, "samples": 1, "stop": [], "overflow": "refuse",
    "reasoning": "strip", "chat_template_kwargs": {}, "engine": "transformers",
}  # fmt: skip
FOLLOW = {"sample": 50}

_HOW_MEASURED = (
    *("the measure's version", "the measure's settings", "the eval set", _TOKENIZER, _LIMITED),
    *(_CHOSEN, _GENERATED),
)
_METRICS = f"""
    SELECT {{run}}, s.value, s.low, s.high, s.n, s.reason, o.value, d.version, d.settings, r.eval_set,
      CASE WHEN :per_token THEN json_object(
        'tokenization', m.details ->> 'tokenization', 'tokenizer', m.details ->> 'tokenizer') END,
      {_SELECTION}, {_REFUSED}, r.plan
    FROM run r CROSS JOIN model m ON {{candidate}}
    CROSS JOIN modelscore s ON s.model_id = m.id AND s.measure = :measure
    LEFT JOIN metric d ON d.run_id = r.id AND d.measure = :measure
    LEFT JOIN slicescore o ON o.model_id = m.id AND o.measure = :measure AND o.slice = '{NOT_SYNTHETIC}'
    WHERE {{condition}} ORDER BY r.id DESC LIMIT :limit
"""
_HOW_JUDGED = (
    *("the judge's prompt", "the judge's model or settings", "the baseline's weights", "the eval set"),
    *(_LIMITED, _CHOSEN, _GENERATED),
)
_WIN_RATES = f"""
    SELECT {{run}}, w.win_rate, w.low, w.high, w.wins + w.losses + w.ties, w.reason, o.value,
      j.prompt_hash, j.details, b.fingerprint, r.eval_set, {_SELECTION}, {_REFUSED}, r.plan
    FROM run r CROSS JOIN model m ON {{candidate}} CROSS JOIN judge j ON j.run_id = r.id AND j.name = :judge
    CROSS JOIN model b ON b.run_id = r.id AND b.name = :over
    CROSS JOIN winrate w ON w.judge_id = j.id AND w.candidate_id = m.id AND w.baseline_id = b.id
      AND w.turn = 0
    LEFT JOIN audit o ON o.judge_id = j.id AND o.measure = '{WITHOUT_SYNTHETIC}'
      AND o.subject = m.name || ' against ' || b.name
    WHERE {{condition}} ORDER BY r.id DESC LIMIT :limit
"""
# A benchmark brings its own questions: the run's eval set has no part in it.
_HOW_ASKED = (
    *("the task's version", "the number of shots", "the task's text", "how many questions were asked"),
    _TEMPLATE,
)
_BENCHMARKS = f"""
    SELECT {{run}}, s.value, s.value - {_Z95} * s.stderr, s.value + {_Z95} * s.stderr, s.n, s.reason,
      NULL, s.version, s.shots, s.task_hash, s.n,
      coalesce(json_extract(m.details, '$.benchmarks_asked.apply_chat_template'),
        json_extract(m.details, '$.lm_eval.chat_template_sha') IS NOT NULL
        OR json_extract(m.details, '$.template') IS NOT NULL)
    FROM run r CROSS JOIN model m ON {{candidate}}
    CROSS JOIN benchmarkscore s ON s.model_id = m.id AND s.task = :task AND s.metric = :metric
      AND s.filter = :filter
    WHERE {{condition}} ORDER BY r.id DESC LIMIT :limit
"""


def _point(row: tuple[Any, ...], how: tuple[str, ...], asks: bool, whole: bool) -> Point:
    """A row that ends with the run's plan, but for benchmarks, which the plan's data have no part in."""
    run_id, name, created, candidate, step, value, low, high, n, reason, without, *taken = row
    if how is not _HOW_ASKED:
        plan, refused = taken.pop(), taken.pop() or ""
        chosen, generated = _planned(plan, taken[-1] == _QUICK, whole)
        taken += [chosen, f"{generated}{refused}" if asks else ""]
    conditions = _conditions(how, tuple(taken))
    return Point(run_id, name, created, candidate, step, value, low, high, n, reason, without, conditions)


@lru_cache(maxsize=1024)
def _planned(plan: str, quick: bool, whole: bool) -> tuple[str, str]:
    """What a plan says of which examples are evaluated, and of how answers are generated; of its `quick` part
    the sample that is drawn in effect, unless the measure is of the `whole` split.
    """
    try:
        tables = tomllib.loads(plan)
    except tomllib.TOMLDecodeError:
        return "", ""
    data, generation, following = (_table(tables, name) for name in ("data", "generation", "follow"))
    if quick:
        samples = [
            each for table in ({**FOLLOW, **following}, data) if type(each := table.get("sample")) is int
        ]
        data = {**data, "sample": None if whole else min(samples, default=None)}
        if data.get("split") == "test":
            data["split"] = "validation"
    found = []
    for known, defaults in ((data, CHOICE), (generation, GENERATION)):
        told = {key: known[key] for key in defaults if known.get(key, defaults[key]) != defaults[key]}
        found.append(", ".join(f"{key} {value}" for key, value in told.items()))
    return found[0], found[1]


def _table(tables: dict[str, Any], name: str) -> dict[str, Any]:
    found = tables.get(name)
    return found if isinstance(found, dict) else {}


@lru_cache(maxsize=256)
def _conditions(how: tuple[str, ...], values: tuple[Any, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((what, "" if value is None else str(value)) for what, value in zip(how, values, strict=True))


def is_per_token(measure: str) -> bool:
    """Whether a measure, of examples or of a corpus, does not compare between tokenizers."""
    return measure.partition(":")[0] in ("perplexity", "eval_loss")


def same_tokenizer(*models: Mapping[str, Any] | None) -> bool:
    """Whether models, by their stored details, are known to cut texts into the same tokens."""
    facts = ({(details or {}).get(fact) for details in models} for fact in _TOKENS)
    return any(len(found) == 1 and None not in found for found in facts)


def breaks(points: Sequence[Point]) -> list[str | None]:
    """Why each point is not joined to the one before it; None where it is, and for the first."""
    return [not_joined(points[place - 1], point) if place else None for place, point in enumerate(points)]


def not_joined(before: Point, after: Point) -> str | None:
    """Why two values of one measure do not compare; None where they do."""
    pairs = zip(before.conditions, after.conditions, strict=True)
    differing = [what for (what, old), (_, new) in pairs if not _alike(what, old, new)]
    if _TRAINING in differing:
        return "another training"
    if before.step is not None and before.step == after.step:
        return f"both are of step {after.step:,}"
    others = [what for what in differing if what != _TOKENIZER]
    verb = "differs" if len(others) == 1 and not others[0].endswith("settings") else "differ"
    said = [f"{' and '.join(others)} {verb}"] if others else []
    said += [f"{_TOKENIZER} differs or is not known"] if len(others) < len(differing) else []
    return "; ".join(said) or None


@lru_cache(maxsize=256)
def _alike(what: str, old: str, new: str) -> bool:
    if what != _TOKENIZER or not (old and new):
        return old == new
    return same_tokenizer(json.loads(old), json.loads(new))


@dataclass(frozen=True, slots=True)
class Attempt:
    """One model's answer to an example; `text` and `right` are None for the reason given.

    `value` is of the measure that says right or wrong.
    """

    run_id: int
    run_name: str
    example_id: int  # of the example as that run asked it
    model: str
    step: int | None
    text: str | None
    value: float | None
    right: bool | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Bisection:
    """One example over the checkpoints of a training (`is_sweep`), else over runs; both in their order.

    `baseline` is what the training began with; None over runs, each of which has its own.
    """

    example_id: int
    example: str
    query: str
    references: list[str]
    measure: str | None
    is_sweep: bool
    baseline: Attempt | None
    attempts: tuple[Attempt, ...]

    @property
    def losses(self) -> list[tuple[Attempt, Attempt]]:
        """The right answers with a wrong one next to them, and that; what is not known lies between."""
        whole = [*([self.baseline] if self.baseline else []), *self.attempts]
        known = [each for each in whole if each.right is not None]
        return [(before, after) for before, after in pairwise(known) if before.right and not after.right]

    @property
    def flickers(self) -> bool:
        """Whether what was lost came back."""
        if not self.losses:
            return False
        later = self.attempts[self.attempts.index(self.losses[0][1]) :]
        return any(each.right for each in later)

    def where(self, attempt: Attempt) -> str:
        """What an attempt is called: its step, or its run."""
        if attempt is self.baseline:
            return "the baseline"
        return f"step {attempt.step}" if self.is_sweep else f"run {attempt.run_id}"

    @property
    def said(self) -> str:
        """Where the example was lost, in words."""
        known = [each for each in self.attempts if each.right is not None]
        if not known:
            reasons = dict.fromkeys(each.reason for each in self.attempts if each.reason)
            why = next(iter(reasons), None) or "no measure says it"
            return f"not known to be right or wrong anywhere: {why}"
        right, unknown = sum(bool(each.right) for each in known), len(self.attempts) - len(known)
        more = f"; {unknown} not known" if unknown else ""
        return f"{self._verdict(known, right)}{more}"

    def _verdict(self, known: Sequence[Attempt], right: int) -> str:
        if self.flickers:
            return f"flickers: right {right} of {len(known)}, first lost at {self.where(self.losses[0][1])}"
        if self.losses:
            before, after = self.losses[0]
            last = "right" if before is self.baseline else "last right"
            return (
                f"lost at {self.where(after)}: {last} at {self.where(before)}, right {right} of {len(known)}"
            )
        if right in (0, len(known)):
            return f"right at all {len(known)}" if right else f"wrong at all {len(known)}"
        first = next(each for each in known if each.right)
        return f"learned at {self.where(first)} and kept, right {right} of {len(known)}"


def bisect(
    connection: Connection,
    run_id: int,
    example_id: int,
    candidate: str | None = None,
    baseline: str | None = None,
    measure: str | None = None,
) -> Bisection:
    """Follows one example over the candidate's checkpoints, else over the runs that asked it.

    A model that is None is the run's first of its role; `measure` is the one that flips go by unless given.
    Raises StoreError for a run without such a candidate.
    """
    known = models(connection, run_id)
    mine = _named(known, "candidate", candidate)
    base = _named(known, "baseline", baseline)
    if mine is None:
        named = f" {candidate!r}" if candidate else ""
        raise StoreError(f"run {run_id} has no candidate{named}", f"`assay show {run_id}` lists them")
    example = connection.execute("SELECT * FROM example WHERE id = ?", (example_id,)).fetchone()
    declared = metrics(connection, run_id)
    measure = measure or flips_by(connection, declared, mine.id, base.id if base else mine.id)
    one = run(connection, run_id)
    training = _training(one, mine)
    own = [model for model in known if model.role == "candidate" and _training(one, model) == training]
    steps = sorted((model for model in own if model.step is not None), key=lambda model: model.step or 0)
    is_sweep = len(steps) > 1
    if is_sweep:
        asked = [(run_id, one.name, example_id, model) for model in [*([base] if base else []), *steps]]
    else:
        asked = _over_runs(connection, example["example"], example["query"], mine.name)
    here = _taken(declared, measure)
    found = [_attempt(connection, measure, *one, here) for one in asked]
    has_base = is_sweep and base is not None
    return Bisection(
        example_id, example["example"], example["query"], json.loads(example["references"] or "[]"), measure,
        is_sweep, found[0] if has_base else None, tuple(found[has_base:]),
    )  # fmt: skip


def _named(known: Sequence[ModelRow], role: str, name: str | None) -> ModelRow | None:
    own = [model for model in known if model.role == role or (role == "baseline" and model.name == name)]
    return next((model for model in own if name in (None, model.name)), None)


Asked = tuple[int, str, int, ModelRow]  # a run with its name, the example's id there, and the model


def _over_runs(connection: Connection, example: str, query: str, name: str) -> list[Asked]:
    """The runs that asked the example in these words, each with its candidate of that name, else its only."""
    rows = connection.execute(
        """
        SELECT r.id, r.name, e.id, m.id FROM run r
        CROSS JOIN example e ON e.eval_set = r.eval_set AND e.example = ? AND e.query = ?
        CROSS JOIN model m ON m.run_id = r.id AND m.role = 'candidate'
        CROSS JOIN response a ON a.model_id = m.id AND a.example_id = e.id
        WHERE r.deleted IS NULL ORDER BY r.created, r.id, m.position
        """,
        (example, query),
    )
    found: list[Asked] = []
    for (run_id, run_name, example_id), ids in by_key((tuple(row[:3]), row[3]) for row in rows).items():
        known = [model for model in models(connection, run_id) if model.id in ids]
        same = next((model for model in known if model.name == name), None)
        if same is not None or len(known) == 1:
            found.append((run_id, run_name, example_id, same or known[0]))
    return found


def _attempt(
    connection: Connection,
    measure: str | None,
    run_id: int,
    run_name: str,
    example_id: int,
    model: ModelRow,
    here: Sequence[StoredMetric],
) -> Attempt:
    """`here` is how the run in hand declares the measure."""
    answer_id, text, missing, value, unscored = connection.execute(
        "SELECT a.id, a.text, a.reason, s.value, s.reason FROM (SELECT ?1 AS model, ?2 AS example) "
        "LEFT JOIN response a ON a.model_id = model AND a.example_id = example "
        "LEFT JOIN score s ON s.model_id = model AND s.example_id = example AND s.measure = ?3",
        (model.id, example_id, measure),
    ).fetchone()
    attempt = Attempt(run_id, run_name, example_id, model.name, model.step, text, value, None, None)
    known = signs(measure, here)
    if value is None and model.is_cut:
        why = "the sweep cut it"
    elif answer_id is None:
        why = "it was not asked"
    elif text is None:
        why = f"no answer: {missing or 'no reason was recorded'}"
    elif measure is None or known["middle"] is None:
        why = f"{measure or 'no measure'} says neither right nor wrong"
    elif value is None:
        why = f"no {measure}: {unscored or 'no reason was recorded'}"
    elif not _is_same(_taken(metrics(connection, run_id), measure), here):
        why = f"{measure} was measured in another way"
    else:
        return replace(attempt, right=is_right(value, known["sign"], known["middle"]))
    return replace(attempt, reason=why)


def _taken(declared: Sequence[StoredMetric], measure: str | None) -> list[StoredMetric]:
    return [each for each in declared if each.measure == measure]


def _is_same(one: Sequence[StoredMetric], other: Sequence[StoredMetric]) -> bool:
    how = [[(each.version, each.settings) for each in declared] for declared in (one, other)]
    return how[0] == how[1]


def find_example(connection: Connection, run_id: int, example: str) -> int:
    """The id in the store of a run's example. Raises StoreError where it has none of that id."""
    row = connection.execute(
        "SELECT e.id FROM runexample x JOIN example e ON e.id = x.example_id "
        "WHERE x.run_id = ? AND e.example = ?",
        (run_id, example),
    ).fetchone()
    if row is None:
        raise StoreError(f"run {run_id} has no example {example!r}", "`assay review` shows their ids")
    return int(row[0])
