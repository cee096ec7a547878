"""Judges answers made elsewhere, row by row: pairs in both orders, or responses alone. Nothing is stored but
the judge's answers, in the cache.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.data.example import Example, query_id
from engine.data.shapes import example_from
from engine.errors import BadInput
from engine.judges.answers import Verdict, verdict
from engine.judges.chat import PointwiseJudge
from engine.judges.judge import ORDERS, WHOLE, Call, Item, Judgment, Pair, PairJudge, Rating, RatingCall
from engine.judges.load import load_judge
from engine.phases.judging.pairs import rate_of, why_failed
from engine.plan.plan import Judge, plan_of_tables
from engine.run.outputs import RESPONSE, recorded_response, rows_as_records
from engine.servers.costs import Ledger, current_ledger, open_ledger, read_prices
from store.records.judging import IDENTICAL

ROWS = "pairs"  # what errors call rows that come from Python
CANDIDATE, BASELINE = "candidate", "baseline"
OF_RUNS = ("sample", "max_calls", "stop_early", "constant_probe")  # a judge's keys that choose what is asked
_TEXTS = {"pairwise": (CANDIDATE, BASELINE), "pointwise": (RESPONSE,)}


@dataclass(frozen=True, slots=True)
class JudgedRow:
    """What a judge said of one row: of a pair an `outcome`, of a response a `score`; or the `reason` why not.

    `judgments` are the calls behind it, each order's or the one; none where nothing had to be asked.
    """

    example: Example
    outcome: Verdict | None = None
    consistent: bool | None = None
    score: float | None = None
    scores: Mapping[str, float] | None = None
    reason: str | None = None
    judgments: tuple[Judgment | Rating, ...] = ()


@dataclass(frozen=True, slots=True)
class JudgedRows:
    """All rows in their order; `rate` is the win rate of pairs with what belongs to it (see `rate_of`).

    `cost`: US dollars for new answers, and `unpriced` how many more have an unknown price.
    """

    judge: Mapping[str, Any]
    rows: tuple[JudgedRow, ...]
    rate: Mapping[str, Any] | None
    cost: float
    unpriced: int


def read_judge(table: Mapping[str, Any] | str, folder: Path) -> Judge:
    """One judge as a plan has it, or by its name alone: "reference".

    Raises BadInput as a plan does, and for a key that only a run heeds.
    """
    judge = {"name": table} if isinstance(table, str) else {"name": "judge", **table}
    if unheeded := [name for name in OF_RUNS if name in judge]:
        raise BadInput(
            f"{', '.join(unheeded)}: every row is judged here", "leave it out, and give fewer rows"
        )
    models = [
        {"name": role, "role": role, "server": "http://localhost", "model": role}
        for role in (BASELINE, CANDIDATE)
    ]
    plan = {"name": ROWS, "data": {"examples": __file__}, "models": models, "judges": [judge]}
    return plan_of_tables(plan, folder).judges[0]


def judge_rows(
    rows: Iterable[Mapping[str, Any]],
    judge: Judge,
    cache: Path | None,
    *,
    max_cost: float | None = None,
    prices: Path | None = None,
) -> JudgedRows:
    """Judges rows of query, candidate and baseline, or for a pointwise judge of query and response.

    Raises BadInput naming the row, Paused at `max_cost` US dollars, CannotRun where no call could succeed.
    Answers that came until then are in the cache.
    """
    texts = _TEXTS[judge.kind]
    examples, answers = _read(rows, texts)
    grader = load_judge(judge, cache, patient=False)
    listed = read_prices(prices)
    if max_cost is not None and judge.server and listed.of(judge.model or "", str(judge.server)) is None:
        raise BadInput(
            f"max_cost cannot be enforced: {judge.model} has no price", "give prices=FILE with its price"
        )
    with _ONE, _purse(Ledger(listed, max_cost)):
        if isinstance(grader, PointwiseJudge):
            found = _rated(grader, examples, [each[0] for each in answers])
            rate = None
        else:
            found = _judged(grader, examples, answers)
            rate = _rate(found, answers)
    new = [call for row in found for call in row.judgments if not call.cached and grader.is_language_model]
    return JudgedRows(
        judge=grader.describe(),
        rows=tuple(found),
        rate=rate,
        cost=sum((call.cost or 0.0 for call in new), 0.0),
        unpriced=sum(call.cost is None and call.failure is None for call in new),
    )


def _read(
    rows: Iterable[Mapping[str, Any]], texts: Sequence[str]
) -> tuple[list[Example], list[tuple[str | None, ...]]]:
    path, examples, answers = Path(ROWS), [], []
    for number, record in rows_as_records(rows, ROWS):
        for name in texts:
            if name not in record:
                raise BadInput(
                    f"{ROWS}:{number}: has no {name!r}",
                    f'each is {{"query": "…", {", ".join(f"{text!r}: …" for text in texts)}}}',
                )
            if not isinstance(record[name], str | None):
                raise BadInput(f"{ROWS}:{number}: its {name!r} is not a text", "None is one that is missing")
        example = example_from(
            path, (number, {key: value for key, value in record.items() if key not in texts}), {}
        )
        named = example if example.id else replace(example, id=f"{query_id(example.query)}:{number}")
        examples.append(named)
        answers.append(tuple(recorded_response(named, {}, record[name]).text for name in texts))
    if not examples:
        raise BadInput(f"{ROWS}: there is none", "give at least one row")
    return examples, answers


_ONE = threading.Lock()  # the ledger is the process's


@contextmanager
def _purse(ledger: Ledger) -> Iterator[None]:
    """The process's ledger for the time being."""
    before = current_ledger()
    open_ledger(ledger)
    try:
        yield
    finally:
        open_ledger(before)


def _silent(lacking: str) -> str:
    return f"{lacking} gave no response"


def _judged(
    grader: PairJudge, examples: Sequence[Example], answers: Sequence[tuple[str | None, ...]]
) -> list[JudgedRow]:
    found: dict[int, JudgedRow] = {}
    pairs: dict[int, Pair] = {}
    for place, (example, (ours, theirs)) in enumerate(zip(examples, answers, strict=True)):
        if ours is None or theirs is None:
            reason = _silent(CANDIDATE if ours is None else BASELINE)
            found[place] = JudgedRow(example, "failed", reason=reason)
        elif grader.is_language_model and ours == theirs:
            found[place] = JudgedRow(example, "tie", reason=IDENTICAL)
        else:
            pairs[place] = Pair(example, CANDIDATE, ours, BASELINE, theirs)
    places = {id(pair): place for place, pair in pairs.items()}
    said: dict[int, dict[str, Judgment]] = {place: {} for place in pairs}
    for judgment in grader.judge(Call(pair, order) for pair in pairs.values() for order in ORDERS):
        said[places[id(judgment.call.pair)]][judgment.call.order] = judgment
    for place, by_order in said.items():
        both = tuple(by_order[order] for order in ORDERS)
        first, second = (judgment.winner for judgment in both)
        consistent = None if first is None or second is None else first == second
        found[place] = JudgedRow(
            examples[place],
            verdict(first, second),
            consistent,
            reason=why_failed(both, consistent),
            judgments=both,
        )
    return [found[place] for place in range(len(examples))]


def _rate(found: Sequence[JudgedRow], answers: Sequence[tuple[str | None, ...]]) -> dict[str, Any]:
    outcomes = {(WHOLE, place): row.outcome for place, row in enumerate(found) if row.outcome is not None}
    winners = [
        (first.winner, second.winner)
        for row in found
        if row.judgments
        for first, second in [[call for call in row.judgments if isinstance(call, Judgment)]]
    ]
    ours, theirs = (
        {(WHOLE, place): text for place, each in enumerate(answers) if (text := each[side]) is not None}
        for side in (0, 1)
    )
    return rate_of(outcomes, winners, (ours, theirs))


def _rated(
    rater: PointwiseJudge, examples: Sequence[Example], answers: Sequence[str | None]
) -> list[JudgedRow]:
    found = {
        place: JudgedRow(examples[place], reason=_silent("the model"))
        for place, text in enumerate(answers)
        if text is None
    }
    items = {
        place: Item(examples[place], RESPONSE, text) for place, text in enumerate(answers) if text is not None
    }
    places = {id(item): place for place, item in items.items()}
    for rating in rater.rate(RatingCall(item) for item in items.values()):
        place = places[id(rating.call.item)]
        found[place] = JudgedRow(
            examples[place],
            score=rating.score,
            scores=rating.extra | rating.scores,
            reason=rating.failure,
            judgments=(rating,),
        )
    return [found[place] for place in range(len(examples))]
