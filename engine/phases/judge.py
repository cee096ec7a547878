"""Sixth phase: judges grade candidate against baseline in both orders, and verdicts follow."""

import time
from collections.abc import Iterator
from typing import Any

from engine.judge.judge import ORDERS, Call, Judge, Judgment, Pair, load_judge
from engine.judge.verdicts import verdict
from engine.phases.winrates import record_win_rates
from engine.phases.work import Work, closed_after
from engine.plan import Judge as JudgePlan
from engine.plan import Model
from store import tables

EMBEDDED_BATCH = 200  # judgments that cost nothing are stored together; a paid one at once
WIN_RATE_EVERY = 2.0  # seconds between two looks at the win rates while judging


def judge(work: Work, settings: JudgePlan) -> None:
    grader = load_judge(settings, work.cache)
    judge_id = _declare(work, settings.name, grader)
    for candidate, baseline in matches(work):
        _Match(work, grader, judge_id, candidate, baseline).play()
    record_win_rates(work, judge_id)


def matches(work: Work) -> list[tuple[Model, Model]]:
    """Every candidate against every baseline."""
    return [(candidate, baseline) for candidate in work.plan.candidates for baseline in work.plan.baselines]


def match_item(judge_name: str, candidate: Model, baseline: Model) -> str:
    return f"{judge_name} · {candidate.name} against {baseline.name}"


def _declare(work: Work, name: str, grader: Judge) -> int:
    known = {row["name"]: row["id"] for row in work.recorder.rows(tables.Judge, run_id=work.recorder.run_id)}
    if name in known:
        return int(known[name])
    details = grader.describe()
    return work.recorder.insert(
        tables.Judge,
        {
            "run_id": work.recorder.run_id,
            "name": name,
            "kind": details["kind"],
            "is_language_model": grader.is_language_model,
            "prompt_hash": grader.prompt_hash,
            "details": details,
        },
    )


class _Match:
    """One judge on one candidate against one baseline."""

    def __init__(self, work: Work, grader: Judge, judge_id: int, candidate: Model, baseline: Model) -> None:
        self._work = work
        self._judge = grader
        self._candidate = candidate
        self._baseline = baseline
        self._sides = {
            "judge_id": judge_id,
            "candidate_id": work.model_ids[candidate.name],
            "baseline_id": work.model_ids[baseline.name],
        }
        self._judge_id = judge_id
        # What stands already, by example and order: a resumed run asks only for the rest.
        self._winners: dict[tuple[int, str], str | None] = {
            (row["example_id"], row["order"]): row["winner"]
            for row in work.recorder.rows(tables.Judgment, **self._sides)
        }
        self._decided: set[int] = work.recorder.column(tables.Verdict, "example_id", **self._sides)

    def play(self) -> None:
        work = self._work
        pairs = self._pairs()
        title = match_item(self._judge.name, self._candidate, self._baseline)
        total = len(pairs) * len(ORDERS)
        meter = work.meter("judge", title, "judgments", total=total, done=len(self._winners))
        waiting: list[Judgment] = []
        shown = time.monotonic()
        with closed_after(self._judge.judge(self._calls(pairs))) as judgments:
            for judgment in judgments:
                waiting.append(judgment)
                if self._judge.is_language_model or len(waiting) >= EMBEDDED_BATCH:
                    self._store(waiting)
                    meter.advance(len(waiting))
                    waiting = []
                    work.checkpoint()
                if time.monotonic() - shown > WIN_RATE_EVERY:
                    record_win_rates(work, self._judge_id)
                    shown = time.monotonic()
        self._store(waiting)
        meter.advance(len(waiting))
        work.checkpoint()

    def _pairs(self) -> list[Pair]:
        candidate, baseline = self._work.texts(self._candidate), self._work.texts(self._baseline)
        pairs, missing = [], []
        for example in self._work.examples:
            place = self._work.example_ids[example.id]
            if place in candidate and place in baseline:
                pairs.append(
                    Pair(
                        example=example,
                        candidate=self._candidate.name,
                        candidate_text=candidate[place],
                        baseline=self._baseline.name,
                        baseline_text=baseline[place],
                    )
                )
            elif place not in self._decided:
                silent = self._candidate.name if place not in candidate else self._baseline.name
                missing.append(self._verdict_row(place, "failed", None, f"{silent} gave no response"))
        self._work.recorder.append(tables.Verdict, missing)
        return pairs

    def _calls(self, pairs: list[Pair]) -> Iterator[Call]:
        for pair in pairs:
            for order in ORDERS:
                if (self._work.example_ids[pair.example.id], order) not in self._winners:
                    yield Call(pair, order)

    def _store(self, judgments: list[Judgment]) -> None:
        """Judgments and the verdicts that they complete become durable together."""
        verdicts = []
        for judgment in judgments:
            place = self._work.example_ids[judgment.call.pair.example.id]
            self._winners[place, judgment.call.order] = judgment.winner
            if all((place, order) in self._winners for order in ORDERS):
                first, second = (self._winners[place, order] for order in ORDERS)
                consistent = None if first is None or second is None else first == second
                reason = (judgment.failure or "a judgment failed") if consistent is None else None
                verdicts.append(self._verdict_row(place, verdict(first, second), consistent, reason))
        with self._work.recorder.transaction() as transaction:
            transaction.append(tables.Judgment, [self._row(judgment) for judgment in judgments])
            transaction.append(tables.Verdict, verdicts)
        for judgment in judgments:
            if judgment.failure:
                self._work.recorder.event(
                    "error",
                    "judge",
                    f"{self._judge.name}, example {judgment.call.pair.example.id}: {judgment.failure}",
                )

    def _row(self, judgment: Judgment) -> dict[str, Any]:
        return self._sides | {
            "example_id": self._work.example_ids[judgment.call.pair.example.id],
            "order": judgment.call.order,
            "winner": judgment.winner,
            "candidate_score": judgment.candidate_score,
            "baseline_score": judgment.baseline_score,
            "reasoning": judgment.reasoning,
            "raw": judgment.raw,
            "failure": judgment.failure,
            "flags": list(judgment.flags),
            "tokens_in": judgment.tokens_in,
            "tokens_out": judgment.tokens_out,
            "cost": judgment.cost,
            "latency_s": judgment.latency_s,
            "attempts": judgment.attempts,
            "cached": judgment.cached,
            "reported_model": judgment.reported_model,
            "created": time.time(),
        }

    def _verdict_row(
        self, place: int, outcome: str, consistent: bool | None, reason: str | None
    ) -> dict[str, Any]:
        return self._sides | {
            "example_id": place,
            "outcome": outcome,
            "consistent": consistent,
            "reason": reason,
        }
