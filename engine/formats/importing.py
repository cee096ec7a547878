"""Imports runs from elsewhere into the history: they are shown, compared and reported like runs done here."""

import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from engine.data.example import normalise, query_id
from engine.errors import BadInput
from engine.formats.alpaca_eval import read_alpaca_eval
from engine.formats.annotated import crowd_items
from engine.formats.evaluators import FILES, read_evaluation
from engine.formats.judge_models import read_judgelm, read_prometheus
from engine.formats.lm_eval import BenchmarkedModel, read_lm_eval, write_run
from engine.formats.mt_bench import read_mt_bench
from engine.formats.records import UNKNOWN_QUESTION, Imported
from engine.formats.votes import Answer, Vote, read_verdicts, read_votes
from engine.formats.writer import Writer
from engine.stats.intervals import share_of
from store.read import history
from store.read.evidence import run_examples
from store.read.history import Connection
from store.read.labels import answer_texts, judged_turns
from store.read.query import by_key
from store.read.queues import RANDOM, annotated
from store.read.rows import ExampleRow
from store.reviewing import annotate, make_tag
from store.write import one_transaction

LM_EVAL, STORE = "lm-eval", "store"
VERDICTS, LABELS = VOTES = ("verdicts", "labels")

KINDS: dict[str, Callable[[Path], Imported]] = {
    "mt-bench": read_mt_bench,
    "alpaca-eval": read_alpaca_eval,
    "prometheus": read_prometheus,
    "judgelm": read_judgelm,
    **{kind: partial(read_evaluation, kind) for kind in FILES},
}


def import_run(kind: str, path: Path, store: Path, name: str | None = None, *, all_rows: bool = False) -> int:
    """Reads another tool's files and stores them as a finished run; returns its id.

    `all_rows` lets MT-Bench's rows that a later one supersedes count too. All of it becomes visible at once,
    or nothing. Raises BadInput for files that are not of that kind.
    """
    if kind not in KINDS:
        raise BadInput(
            f"there is no import of {kind!r}", f"known kinds: {', '.join((*KINDS, LM_EVAL, STORE, *VOTES))}"
        )
    if not path.exists():
        raise BadInput(f"{path}: no such file or folder")
    imported = read_mt_bench(path, all_rows=True) if all_rows else KINDS[kind](path)
    with one_transaction(store) as transaction:
        return Writer(transaction, imported).write(name or f"{kind} {path.stem}", path)


def import_verdicts(
    path: Path,
    store: Path,
    name: str | None = None,
    *,
    fields: Mapping[str, str],
    values: Mapping[str, str],
    baseline: str | None = None,
) -> int:
    """Stores the verdicts of any tool on pairs of answers as a finished run (`engine.formats.votes`)."""
    if not path.exists():
        raise BadInput(f"{path}: no such file or folder")
    imported = read_verdicts(path, fields, values, baseline)
    with one_transaction(store) as transaction:
        return Writer(transaction, imported).write(name or f"verdicts {path.stem}", path)


@dataclass(frozen=True, slots=True)
class Labelled:
    """How many labels became annotations, by person, and how many did not, by reason."""

    run: int
    people: dict[str, int]
    left_out: dict[str, int]


def import_labels(
    path: Path,
    connection: Connection,
    run_id: int,
    *,
    fields: Mapping[str, str],
    values: Mapping[str, str],
    annotator: str | None = None,
    random: bool = False,
) -> Labelled:
    """Stores people's labels from a file as annotations on a run; all of them, or none where one is refused.

    Examples are found by id or question, answers by the model's name or their text. `annotator` names whoever
    labelled where the file does not; `random` says that the examples are a random sample of the run's. Of
    several preferences, ratings, thumbs or corrections of one person on the same the last counts. What stands
    already is not stored again, unless it is random only now.
    """
    if not path.exists():
        raise BadInput(f"{path}: no such file or folder")
    votes = read_votes(path, fields, values)
    places = _Places(connection, run_id)
    if votes and votes[-1].place is not None and len(votes) != places.count:
        raise BadInput(
            f"{path}: has {len(votes)} lines, but run {run_id} has {places.count} examples",
            "Its lines name no questions, so there must be one for each example, in the run's order.",
        )
    known = {
        (
            row.example_id,
            row.kind,
            row.value,
            row.criterion,
            row.left_id,
            row.right_id,
            row.annotator,
            row.turn,
        )
        for row in annotated(connection, run_id)
        if not random or row.queue == RANDOM or row.kind != "preference"
    }
    people: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    placed: dict[object, tuple[Vote, _Place, str]] = {}
    for vote in votes:
        if vote.by is not None and not vote.is_person:
            raise vote.row.wrong(
                "judge", f"{vote.by!r:.60} is no person; if it is one, say so: --field annotator=COLUMN"
            )
        found = places.find(vote)
        if isinstance(found, str):
            left_out[found] += 1
            continue
        person = vote.by or annotator
        if person is None:
            raise BadInput(
                f"{vote.row.path}:{vote.row.line}: does not say who labelled",
                "Name the column (--field annotator=COLUMN) or the person (--annotator NAME).",
            )
        sides, own = frozenset((found.left, found.right)), vote.value if vote.kind in ("tag", "note") else ""
        item = found.example, found.turn, sides, vote.kind, vote.criterion, person, own
        left_out[_AGAIN] += placed.pop(item, None) is not None  # the last one keeps its place in the file
        placed[item] = vote, found, person
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        for vote, found, person in placed.values():
            value = make_tag(connection, vote.value, person) if vote.kind == "tag" else vote.value
            value = _SIDES.get(value, value) if vote.kind == "preference" else value
            key = (
                found.example,
                vote.kind,
                value,
                vote.criterion,
                found.left,
                found.right,
                person,
                found.turn,
            )
            if key in known:
                left_out["here already"] += 1
                continue
            known.add(key)
            annotate(
                connection, run_id, found.example, vote.kind, value, left_id=found.left,
                right_id=found.right, annotator=person, criterion=vote.criterion,
                queue=RANDOM if random else None, blind=found.blind, turn=found.turn,
            )  # fmt: skip
            people[person] += 1
    return Labelled(run_id, dict(people), dict(+left_out))


@dataclass(frozen=True, slots=True)
class Qualified:
    """How many of the items with a known answer a person got right, with the interval of the share."""

    annotator: str
    right: int
    n: int
    low: float | None
    high: float | None
    wrong: tuple[str, ...]  # examples


def qualified(connection: Connection, run_id: int) -> tuple[list[Qualified], str | None]:
    """Each person's preferences against the known ones that the run's plan names; empty where it names none.

    And the reason where its file is gone. "both bad" is a tie. Raises BadInput for a file that is no such
    labels, or that knows two answers of one item.
    """
    row = connection.execute("SELECT plan, plan_folder FROM run WHERE id = ?", (run_id,)).fetchone()
    named = tomllib.loads(row[0]).get("review", {}).get("qualification")
    if not named:
        return [], None
    file = Path(row[1]) / named
    if not file.exists():
        return [], f"{file}: no such file"
    places, known = _Places(connection, run_id), dict[tuple[int, frozenset[int | None]], int | None]()
    for vote in read_votes(file, {}, {}):
        found = places.find(vote)
        if vote.kind != "preference" or isinstance(found, str):
            raise BadInput(
                f"{vote.row.path}:{vote.row.line}: no known answer of run {run_id}: "
                f"{found if isinstance(found, str) else 'names no winner'}"
            )
        winner = {"first": found.left, "second": found.right}.get(vote.value)
        if known.setdefault((found.example, frozenset((found.left, found.right))), winner) != winner:
            raise vote.row.wrong("winner", "a line before has another known answer to the same")
    said: dict[str, dict[tuple[int, frozenset[int | None]], tuple[str, bool]]] = {}
    for label in annotated(connection, run_id):
        item = label.example_id, frozenset((label.left_id, label.right_id))
        if label.kind == "preference" and not label.control and not label.turn and item in known:
            chosen = {"left": label.left_id, "right": label.right_id}.get(label.value)
            said.setdefault(label.annotator, {})[item] = (places.names[item[0]], chosen == known[item])
    people = []
    for person, answers in said.items():
        right = sum(good for _, good in answers.values())
        share = share_of(right, len(answers))
        wrong = tuple(name for name, good in answers.values() if not good)
        people.append(Qualified(person, right, len(answers), share.low, share.high, wrong))
    return people, None


_SIDES = {"first": "left", "second": "right"}
_AGAIN = "superseded by a later line of the same person on the same"


@dataclass(frozen=True, slots=True)
class _Place:
    example: int
    left: int
    right: int | None
    blind: bool = False
    turn: int = 0  # an earlier turn alone


class _Places:
    """Finds what a label is about among a run's examples and answers."""

    def __init__(self, connection: Connection, run_id: int) -> None:
        examples = run_examples(connection, run_id)
        self._order = [row.id for row in examples]
        self.names = {row.id: row.example for row in examples}
        self._by_id = {row.example: row.id for row in examples}
        self._by_query = by_key((query_id(row.query), row.id) for row in examples)
        asked = {row.id: len((row.extra or {}).get("turns") or ()) for row in examples}
        self._turns = asked | judged_turns(connection, run_id)
        models = history.models(connection, run_id)
        self._models = {model.name: model.id for model in models}
        self._candidates = [model.id for model in models if model.role == "candidate"]
        self._crowd = {
            item.key: _Place(item.example.id, *item.models, blind=True)
            for item in crowd_items(connection, run_id)[0]
        }
        answers = list(answer_texts(connection, run_id))
        self._texts = by_key(((example, normalise(text)), model) for example, model, text in answers)
        # An import without answers has no questions either.
        answered = {example for example, _, _ in answers}
        self._asked = {
            row.id: _asked(row) for row in examples if row.id in answered and row.query != UNKNOWN_QUESTION
        }

    @property
    def count(self) -> int:
        return len(self._order)

    def find(self, vote: Vote) -> _Place | str:
        """The place of a label, or why there is none."""
        if vote.value == "failed" and vote.kind == "preference":
            return "names no winner"
        if vote.second is not None and vote.kind != "preference":
            return "is about one of two answers, and does not say which"
        if vote.second is not None and (item := self._crowd.get(vote.example or "")):
            return item
        example = self._example(vote)
        if isinstance(example, str):
            return example
        turn = vote.turn if vote.turn < self._turns.get(example, 1) else 0
        if turn and vote.kind != "preference":
            return "is no preference, and about an earlier turn of a conversation alone"
        left = self._model(example, vote.first)
        right = None if vote.second is None else self._model(example, vote.second)
        if isinstance(left, str) or isinstance(right, str):
            return _SHARED
        if left is None and vote.second is None and vote.first == Answer(None) and len(self._candidates) == 1:
            left = self._candidates[0]
        if left is None or (vote.second is not None and right is None):
            return "the run has no such model or answer"
        return "both answers are of one model" if left == right else _Place(example, left, right, turn=turn)

    def _example(self, vote: Vote) -> int | str:
        if (own := self._by_id.get(vote.example or "")) is not None:
            return own if self._asks(own, vote.asked) else "the run's example of this id has another question"
        for asked in vote.asked[-1:] + vote.asked[:1]:
            if found := self._by_query.get(query_id(asked)):
                return found[0] if len(found) == 1 else "several examples have this question: name one by id"
        if vote.place is not None and vote.place < len(self._order):
            return self._order[vote.place]
        return "the run has no such example"

    def _asks(self, example: int, asked: tuple[str, ...]) -> bool:
        """Whether one of these questions is the example's, or part of it, as of a prompt made from it."""
        known, given = self._asked.get(example), [text for text in map(normalise, asked) if text]
        return not known or not given or any(one in other or other in one for one in known for other in given)

    def _model(self, example: int, answer: Answer) -> int | str | None:
        """The model of an answer; _SHARED where only its text is known, and several models gave it."""
        if answer.model is not None:
            return self._models.get(answer.model)
        found = self._texts.get((example, normalise(answer.turns[-1])), ()) if answer.turns else ()
        return _SHARED if len(found) > 1 else next(iter(found), None)


_SHARED = "several models gave this answer: name the model"


def _asked(row: ExampleRow) -> list[str]:
    """All that the user says in an example, normalised."""
    said = [turn["content"] for turn in row.messages or () if turn["role"] == "user"]
    texts = (row.query, *said, *((row.extra or {}).get("turns") or ()))
    return [text for text in map(normalise, texts) if text]


def import_benchmarks(
    path: Path, store: Path, name: str | None = None, *, samples: bool = False, baseline: str | None = None
) -> list[int]:
    """Stores lm-eval's results as finished runs, one for each model; returns their ids.

    With `samples` the questions are stored too, so that runs compare question by question. A `baseline` puts
    all models into one run, compared with that one. Raises BadInput for files that are not lm-eval's.
    """
    if not path.exists():
        raise BadInput(f"{path}: no such file or folder")
    models = read_lm_eval(path, samples)
    if baseline is not None:
        _require_baseline(models, baseline, path)
    with one_transaction(store) as transaction:
        if baseline is not None:
            return [write_run(transaction, name or f"{LM_EVAL} {path.stem}", path, models, baseline)]
        return [
            write_run(transaction, name or f"{LM_EVAL} {model.name}", path, [model], None) for model in models
        ]


def _require_baseline(models: list[BenchmarkedModel], baseline: str, path: Path) -> None:
    names = [model.name for model in models]
    if baseline not in names:
        raise BadInput(f"{path}: no results of a model {baseline!r}", f"its models: {', '.join(names)}")
    if len(names) == 1:
        raise BadInput(f"{path}: has only {baseline!r}", "leave out --baseline")
