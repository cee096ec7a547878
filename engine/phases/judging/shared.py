"""Shared parts of judging pairs and rating single responses: the judge's row, answers, cost, ways to stop."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypedDict, TypeVar

from engine.data.example import Example
from engine.errors import Paused
from engine.judges.judge import WHOLE, GradingOutcome, PairJudge, Rater
from engine.judges.questions import sendable
from engine.phases.work import Work, closed_after
from engine.plan.plan import Judge as JudgePlan
from engine.plan.plan import Model
from engine.servers import control
from engine.servers.costs import Ledger, open_ledger, read_prices
from engine.servers.wire import dropped
from store import records

_OUTCOMES: tuple[type[records.StoredJudgment | records.StoredRating], ...] = (
    records.StoredJudgment,
    records.StoredRating,
)


def open_purse(work: Work) -> None:
    """Gives this process the run's prices, its cap, and what it has spent before.

    The cap is that of the plan, or the one that the run was resumed with. Raises BadInput when the file of
    prices cannot be read.
    """
    judging = work.plan.judging
    max_cost = work.options.get("max_cost") or judging.max_cost
    open_ledger(Ledger(read_prices(judging.prices), max_cost, spent(work)))


class Paid(TypedDict):
    """Figures for the meter from judgments or ratings: only new calls cost anything."""

    tokens: int
    remembered: int
    cost: float | None


def paid(outcomes: Sequence[GradingOutcome]) -> Paid:
    new = [outcome for outcome in outcomes if not outcome.cached]
    costs = [outcome.cost for outcome in new if outcome.cost is not None]
    return Paid(
        tokens=sum(outcome.tokens_out or 0 for outcome in new),
        remembered=len(outcomes) - len(new),
        cost=sum(costs) if costs else None,
    )


def spent(work: Work) -> float:
    """US dollars that this run's judges have cost; an answer out of the cache has cost nothing here."""
    ids = work.recorder.column(records.StoredJudge, "id", run_id=work.recorder.run_id)
    return sum(_cost(work, judge_id) for judge_id in ids) + float(work.options.get(FORGOTTEN) or 0.0)


def _cost(work: Work, judge_id: int) -> float:
    return sum(work.recorder.total(each, "cost", judge_id=judge_id, cached=False) for each in _OUTCOMES)


T = TypeVar("T")
FORGOTTEN = "forgotten_cost"  # of a run's options: US dollars for answers that were not kept
SHOWN = 300  # characters of an answer that cannot be read


@dataclass(frozen=True, slots=True)
class Given:
    """A model's answer to one example: the last turn's text, and every turn's text of a conversation."""

    text: str
    turns: tuple[str, ...]


def declare_judge(work: Work, name: str, grader: PairJudge | Rater) -> int:
    """The id of the judge's row in this run, which is made where it is missing."""
    known = {row.name: row.id for row in work.recorder.rows(records.StoredJudge, run_id=work.recorder.run_id)}
    if name in known:
        return int(known[name])
    details = grader.describe()
    return work.recorder.insert(
        records.StoredJudge(
            run_id=work.recorder.run_id,
            name=name,
            kind=details["kind"],
            is_language_model=grader.is_language_model,
            prompt_hash=grader.prompt_hash,
            details=details,
        )
    )


def as_begun(work: Work, settings: JudgePlan) -> JudgePlan:
    """A judge with the way in which it answers in this run, where its first answers decided that."""
    rows = work.recorder.rows(records.StoredJudge, run_id=work.recorder.run_id, name=settings.name)
    if settings.local is None or settings.answer or settings.format != "chat" or not rows:
        return settings
    if ((rows[0].details or {}).get("settings") or {}).get("answer") == "tokens":
        return settings.model_copy(update={"answer": "tokens"})
    made = (work.recorder.column(table, "attempts", judge_id=rows[0].id) for table in _OUTCOMES)
    return settings.model_copy(update={"answer": "written"}) if any(map(any, made)) else settings


_SCORED = "its first written answers could not be read, so its verdicts are scored by their tokens"


def tell_rejected(work: Work, judge_id: int, grader: PairJudge | Rater, told: list[str]) -> list[str]:
    """Records what the judge's server refuses, or that tokens are scored; `told` are known already.

    Before the first answer is stored, so that a run which goes on from there scores tokens too.
    """
    described = grader.describe()
    rejected: list[str] = described.get("rejected") or []
    scored = [_SCORED] if (described.get("settings") or {}).get("answer") == "tokens" else []
    lost = dropped(rejected) + scored
    if lost != told:
        (row,) = work.recorder.rows(records.StoredJudge, id=judge_id)
        details = dict(row.details or {})
        before: list[str] = details.get("rejected") or []
        notes = []
        if scored and details.get("settings") != described["settings"]:
            details["settings"] = described["settings"]
            notes += scored
        if new := sorted({*lost} - {*before, *scored}):
            details["rejected"] = sorted({*rejected, *before})
            notes.append(f"the server refuses {', '.join(new)}: it uses its own values")
        if notes:
            with work.recorder.transaction() as transaction:
                transaction.update(records.StoredJudge, judge_id, details=details)
        for note in notes:
            work.recorder.event("warning", "judge", f"{grader.name}: {note}")
    return lost


def given_answers(work: Work, model: Model) -> dict[int, Given]:
    """The stored answers of a model by example, without those that are missing."""
    rows = work.recorder.rows(records.StoredResponse, model_id=work.model_ids[model.name])
    return {row.example_id: Given(row.text, tuple(row.turns or ())) for row in rows if row.text is not None}


def measure_name(judge: str, criterion: str = "", turn: int = WHOLE) -> str:
    """The measure that a judge's overall score, a criterion's grade, or the score of a turn is."""
    if turn:
        return f"judge:{judge}:turn {turn}"
    return f"judge:{judge}:{criterion}" if criterion else f"judge:{judge}"


def match_item(judge: str, candidate: Model, baseline: Model) -> str:
    """How the progress of one judge on one match is called."""
    return f"{judge} · {match_name(candidate.name, baseline.name)}"


def match_name(candidate: str, baseline: str) -> str:
    """How one match is called wherever something is said about it."""
    return f"{candidate} against {baseline}"


def figures(outcome: GradingOutcome) -> dict[str, Any]:
    """The columns about how an answer was made, independent of its content."""
    found = {field.name: getattr(outcome, field.name) for field in fields(GradingOutcome)}
    # A judge may escape half of a character, which no store can hold.
    texts = {name: sendable(found[name]) for name in ("reasoning", "raw", "failure") if found[name]}
    return found | texts | {"flags": list(outcome.flags)}


def until_stopped(work: Work, outcomes: Iterator[T]) -> Iterator[T]:
    """Outcomes as they arrive; after a request to stop only those of running calls, and for a short time.

    Running calls at a server have already been paid for. Raises Stopped after the last of them.
    """
    asked_at = None
    with closed_after(outcomes) as source:
        try:
            for outcome in source:
                yield outcome
                if request := work.request():
                    asked_at = asked_at or time.monotonic()
                    control.interrupt(f"a {request} was asked for")
                    if time.monotonic() - asked_at > control.GRACE_S:
                        break
        except Paused:
            if not work.request():
                raise
    work.checkpoint()


FIRST = 20  # answers of a judge, of which at least one can be read
Outcome = TypeVar("Outcome", bound=GradingOutcome)


def readable(work: Work, judge_id: int, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
    """The outcomes; raises Paused where none of a judge's first answers can be read, and forgets them."""
    (judge,) = work.recorder.rows(records.StoredJudge, id=judge_id)
    reads = not judge.is_language_model or any(
        None in work.recorder.column(table, "failure", judge_id=judge_id) for table in _OUTCOMES
    )
    # What lacks its inputs has made no attempt.
    stored = (
        () if reads else (row for each in _OUTCOMES for row in work.recorder.rows(each, judge_id=judge_id))
    )
    unread = sum(row.attempts > 0 for row in stored)
    with closed_after(outcomes) as source:
        for outcome in source:
            yield outcome
            reads = reads or outcome.failure is None
            unread += outcome.attempts > 0
            if not reads and unread >= FIRST:
                _forget(work, judge)
                raise Paused(
                    f"judge {judge.name}: none of its first {FIRST} answers could be read: "
                    f"{outcome.failure}. The last one: {sendable(outcome.raw)[:SHOWN]!r}",
                    "resume once the model answers in the form that its prompt asks for, or start a new run "
                    "with another model, rubric or prompt",
                )


def _forget(work: Work, judge: records.StoredJudge) -> None:
    """Deletes all that a judge has said in this run."""
    whole = measure_name(judge.name)
    # It counts towards the cap all the same.
    lost = float(work.options.get(FORGOTTEN) or 0.0) + _cost(work, judge.id)
    with work.recorder.transaction() as transaction:
        transaction.update(records.Run, work.recorder.run_id, options=work.options | {FORGOTTEN: lost})
        for table in (*_OUTCOMES, records.Verdict):
            transaction.clear(table, judge_id=judge.id)
        for model_id in work.model_ids.values():
            for name in work.recorder.column(records.StoredScore, "measure", model_id=model_id):
                if name == whole or name.startswith(f"{whole}:"):
                    transaction.clear(records.StoredScore, model_id=model_id, measure=name)
    work.options[FORGOTTEN] = lost


def report_failure(work: Work, judge: str, example: Example, failure: str | None) -> None:
    """An event for a judgment that failed."""
    if failure:
        work.recorder.event("error", "judge", f"{judge}, example {example.id}: {sendable(failure)}")
