"""One judge on one candidate against one baseline: both orders of every pair, verdicts, and the win rate.

A judge that may stop early sees the examples in an order drawn beforehand; its interval is valid at every
look.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.data.example import Example
from engine.judges.answers import Verdict, verdict
from engine.judges.judge import ORDERS, WHOLE, Call, Judgment, Pair, PairJudge
from engine.judges.questions import asked_turns, drawn, matches, turns_of
from engine.judges.questions import drawn as in_drawn_order
from engine.phases.judging.shared import (
    figures,
    given_answers,
    match_item,
    match_name,
    paid,
    readable,
    report_failure,
    tell_rejected,
    until_stopped,
)
from engine.phases.work import Work, closed_after
from engine.plan.plan import Model
from engine.stats.length_control import length_controlled
from engine.stats.sequential import ConfidenceSequence
from engine.stats.winrate import POINTS, Outcome, Winner, position_bias, win_rate
from store import records
from store.records.judging import IDENTICAL


class Watch:
    """Verdicts as they arrive, added to the interval strictly in the drawn order."""

    def __init__(self, drawn: Sequence[str]) -> None:
        self._drawn = drawn
        self._known: dict[str, Outcome] = {}
        self._next = 0
        self._sequence = ConfidenceSequence()

    def know(self, example_id: str, outcome: Outcome) -> None:
        self._known[example_id] = outcome
        while self._next < len(self._drawn) and self._drawn[self._next] in self._known:
            point = POINTS.get(self._known[self._drawn[self._next]])
            if point is not None:
                self._sequence.add(point)
            self._next += 1

    def settled(self, threshold: float) -> bool:
        return self._sequence.settled(threshold)

    def interval(self) -> tuple[float, float] | None:
        """The interval so far; None before the first verdict that counts."""
        return self._sequence.interval() if self._sequence.n else None


def watched(work: Work, sides: dict[str, int], drawn: Sequence[str]) -> Watch:
    """The stored verdicts on whole answers, in the drawn order."""
    names = {place: name for name, place in work.example_ids.items()}
    watch = Watch(drawn)
    for row in work.recorder.rows(records.Verdict, **sides, turn=WHOLE):
        watch.know(names[row.example_id], row.outcome)
    return watch


Place = tuple[int, int]  # turn and example
Texts = dict[Place, str]


def record_win_rates(work: Work, judge_id: int) -> None:
    """Writes what one judge's verdicts say so far, for every candidate against every baseline."""
    (judge,) = work.recorder.rows(records.StoredJudge, id=judge_id)
    if (judge.details or {}).get("asked_where_unsure"):
        # Of a cascade's dearer judge only the hard examples are known: their rate would mislead.
        return
    rows = [
        row
        for candidate, baseline in matches(work.plan)
        for row in _win_rates(work, judge_id, judge.name, candidate, baseline)
    ]
    work.recorder.put([records.StoredWinRate(**row) for row in rows])


def _win_rates(
    work: Work, judge_id: int, judge_name: str, candidate: Model, baseline: Model
) -> Iterator[dict[str, Any]]:
    """The win rate over whole answers (turn 0), then over each turn of conversations."""
    sides = _sides(work, judge_id, candidate, baseline)
    order = _drawn_order(work, judge_name)
    outcomes = _outcomes(work, sides)
    winners = _winners_by_example(work, sides)
    if order is None and _counts_turns(work, judge_name):
        _pool_turns(outcomes, winners)
    texts = _texts(work, candidate), _texts(work, baseline)
    for turn in sorted(outcomes):
        both = list(winners[turn].values())
        rate: dict[str, Any] = (
            sides | {"turn": turn} | rate_of(outcomes[turn], both, texts, work.plan.data.seed)
        )
        if turn == WHOLE and order is not None and (held := watched(work, sides, order).interval()):
            # Of a match that may have been stopped early only such an interval means what it says.
            rate |= {"low": held[0], "high": held[1]}
        yield rate


def _outcomes(work: Work, sides: dict[str, int]) -> dict[int, dict[Place, Outcome]]:
    """The verdicts by turn."""
    outcomes: dict[int, dict[Place, Outcome]] = defaultdict(dict)
    for row in work.recorder.rows(records.Verdict, **sides):
        outcomes[row.turn][row.turn, row.example_id] = row.outcome
    return outcomes


def decided_points(work: Work, judge: records.StoredJudge) -> dict[tuple[str, str], dict[Place, float]]:
    """A judge's points behind each whole win rate, by candidate and baseline; none where it stops early."""
    if (judge.details or {}).get("asked_where_unsure") or _drawn_order(work, judge.name) is not None:
        return {}
    found = {}
    for candidate, baseline in matches(work.plan):
        outcomes = _outcomes(work, _sides(work, judge.id, candidate, baseline))
        if _counts_turns(work, judge.name):
            _pool_turns(outcomes)
        counted = {place: POINTS[said] for place, said in outcomes[WHOLE].items() if said in POINTS}
        found[candidate.name, baseline.name] = counted
    return found


def _sides(work: Work, judge_id: int, candidate: Model, baseline: Model) -> dict[str, int]:
    return {
        "judge_id": judge_id,
        "candidate_id": work.model_ids[candidate.name],
        "baseline_id": work.model_ids[baseline.name],
    }


def _drawn_order(work: Work, judge: str) -> list[str] | None:
    """The order in which a judge that may stop early looks at the examples; None for any other."""
    for settings in work.plan.judges:
        if settings.name == judge and settings.stop_early:
            return [example.id for example in drawn(work.plan.data.seed, work.examples)]
    return None


def _counts_turns(work: Work, judge: str) -> bool:
    return any(settings.name == judge and settings.by_turn for settings in work.plan.judges)


def _pool_turns(*by_turn: dict[int, dict[Place, Any]]) -> None:
    """Puts every turn of a conversation in the place of its whole, as MT-Bench counts."""
    for found in by_turn:
        turns = {place: value for turn in found if turn for place, value in found[turn].items()}
        conversations = {example for _, example in turns}
        singles = {place: value for place, value in found[WHOLE].items() if place[1] not in conversations}
        found[WHOLE] = singles | turns


def rate_of(
    outcomes: Mapping[Place, Outcome],
    winners: Sequence[tuple[Winner | None, Winner | None]],
    texts: tuple[Texts, Texts],
    seed: int = 0,
) -> dict[str, Any]:
    """What verdicts say together: the win rate and its interval, plain and at equal length, by their columns.

    `winners` are those of both orders of each pair, `texts` the candidate's and the baseline's.
    """
    counted = win_rate(list(outcomes.values()), seed)
    bias = position_bias(list(winners), seed)
    candidate, baseline = ([len(own[place]) if place in own else None for place in outcomes] for own in texts)
    points = [POINTS.get(outcome) for outcome in outcomes.values()]
    controlled = length_controlled(points, candidate, baseline, seed)
    return {
        "wins": counted.wins,
        "losses": counted.losses,
        "ties": counted.ties,
        "failed": counted.failed,
        "win_rate": counted.win_rate,
        "low": counted.low,
        "high": counted.high,
        "position_bias": bias.rate,
        "length_controlled": controlled.value,
        "length_controlled_low": controlled.low,
        "length_controlled_high": controlled.high,
        "length_controlled_reason": controlled.reason,
        "reason": None if counted.win_rate is not None else "every judgment failed",
    }


def _winners_by_example(
    work: Work, sides: dict[str, int]
) -> dict[int, dict[Place, tuple[Winner | None, Winner | None]]]:
    """Both orders' winners of each example, by turn; an example whose second order is due is left out."""
    winners: dict[Place, dict[str, Winner | None]] = defaultdict(dict)
    for row in work.recorder.rows(records.StoredJudgment, **sides):
        winners[row.turn, row.example_id][row.order] = row.winner
    by_turn: dict[int, dict[Place, tuple[Winner | None, Winner | None]]] = defaultdict(dict)
    for place, both in winners.items():
        if len(both) == len(ORDERS):
            by_turn[place[0]][place] = (both[ORDERS[0]], both[ORDERS[1]])
    return by_turn


def _texts(work: Work, model: Model) -> Texts:
    """The judged texts, by turn and example; a whole conversation is all of its answers."""
    texts: Texts = {}
    for place, given in given_answers(work, model).items():
        texts[WHOLE, place] = "\n".join(given.turns) or given.text
        texts |= {(turn, place): text for turn, text in enumerate(given.turns, 1)}
    return texts


EMBEDDED_BATCH = 200  # judgments that cost nothing are stored together; a paid one at once
WIN_RATE_EVERY = 2.0  # seconds between two looks at the win rates while judging
WIN_RATE_SHARE = 0.05  # of the time, at most


@dataclass(frozen=True, slots=True)
class Decided:
    """A verdict that has just been stored, with the judgments that it came from."""

    pair: Pair
    turn: int
    outcome: Verdict
    judgments: tuple[Judgment, ...]


class Matchup:
    """One judge on one candidate against one baseline.

    Stored pairs count as played: a resumed run asks only for the rest. Stopping the iteration
    of `play` stops the match; earlier judgments are kept.
    """

    def __init__(
        self, work: Work, grader: PairJudge, judge_id: int, candidate: Model, baseline: Model
    ) -> None:
        self._work = work
        self._judge = grader
        (self._settings,) = (each for each in work.plan.judges if each.name == grader.name)
        self._candidate = candidate
        self._baseline = baseline
        self.title = match_item(grader.name, candidate, baseline)
        self.name = match_name(candidate.name, baseline.name)
        self._judge_id = judge_id
        self.sides = _sides(work, judge_id, candidate, baseline)
        self._winners: dict[tuple[int, int, str], str | None] = {
            (row.example_id, row.turn, row.order): row.winner
            for row in work.recorder.rows(records.StoredJudgment, **self.sides)
        }
        self._decided = {
            (row.example_id, row.turn) for row in work.recorder.rows(records.Verdict, **self.sides)
        }
        self._identical: set[tuple[int, int]] = set()
        self._first: dict[tuple[int, int], Judgment] = {}
        self._rejected: list[str] = []

    def pairs(self, examples: Iterable[Example]) -> list[Pair]:
        """Both models' answers to the examples.

        Stores the verdicts that need no call: failed where an answer is missing, a tie where a language model
        would be asked about two identical ones.
        """
        candidate, baseline = (
            given_answers(self._work, self._candidate),
            given_answers(self._work, self._baseline),
        )
        skips = self._judge.is_language_model and not self._work.plan.judging.judge_identical
        pairs, known = [], []
        for example in examples:
            place = self._work.example_ids[example.id]
            ours, theirs = candidate.get(place), baseline.get(place)
            pair = None
            if ours is not None and theirs is not None:
                pair = Pair(
                    example=example,
                    candidate=self._candidate.name,
                    candidate_text=ours.text,
                    baseline=self._baseline.name,
                    baseline_text=theirs.text,
                    candidate_turns=ours.turns,
                    baseline_turns=theirs.turns,
                )
                pairs.append(pair)
            answered = range(0 if pair is None else 1 + pair.turns)
            for turn in (WHOLE, *turns_of(example)):
                if turn not in answered:
                    silent = self._silent(turn, len(ours.turns) if ours else None)
                    known.append(self._verdict_row(place, turn, "failed", None, silent))
                elif skips and pair is not None and pair.is_identical(turn):
                    self._identical.add((place, turn))
                    known.append(self._verdict_row(place, turn, "tie", None, IDENTICAL))
        new = [row for row in known if (row["example_id"], row["turn"]) not in self._decided]
        self._work.recorder.append([records.Verdict(**row) for row in new])
        self._decided |= {(row["example_id"], row["turn"]) for row in new}
        return pairs

    def calls_on(self, pairs: Iterable[Pair]) -> int:
        """How many judgments the pairs need in all."""
        places = {(self._work.example_ids[p.example.id], turn) for p in pairs for turn in range(1 + p.turns)}
        return len(ORDERS) * len(places - self._identical)

    def play_all(self, pairs: Iterable[Pair]) -> None:
        for _ in self.play(pairs):
            pass

    def play(self, pairs: Iterable[Pair]) -> Iterator[Decided]:
        """Judges what is not judged yet, and gives out each verdict once it is stored."""
        work, pairs = self._work, list(pairs)
        total = self.calls_on(pairs)
        meter = work.meter("judge", self.title, "judgments", total=total, done=len(self._winners))
        waiting: list[Judgment] = []
        clock = _Clock()
        asked = readable(work, self._judge_id, self._judge.judge(self._calls(pairs)))
        with closed_after(until_stopped(work, asked)) as judgments:
            for judgment in judgments:
                waiting += self._with_whole(judgment)
                if self._judge.is_language_model or len(waiting) >= EMBEDDED_BATCH:
                    self._rejected = tell_rejected(work, self._judge_id, self._judge, self._rejected)
                    decided = self._store(waiting)
                    meter.advance(len(waiting), **paid(waiting))
                    waiting = []
                    yield from decided
                if clock.is_due():
                    record_win_rates(work, self._judge_id)
                    clock.restart()
        decided = self._store(waiting)
        meter.advance(len(waiting), **paid(waiting))
        yield from decided
        work.checkpoint()

    def _silent(self, turn: int, candidate_turns: int | None) -> str:
        """Why there is nothing to compare: who gave no response, or none at that turn."""
        lacks = candidate_turns is None or candidate_turns < turn
        model = self._candidate if lacks else self._baseline
        return f"{model.name} gave no response" + (f" to turn {turn}" if turn else "")

    def _calls(self, pairs: list[Pair]) -> Iterator[Call]:
        for pair in pairs:
            place = self._work.example_ids[pair.example.id]
            for turn in asked_turns(self._settings, pair.turns):
                for order in ORDERS:
                    if (place, turn, order) not in self._winners and (place, turn) not in self._identical:
                        yield Call(pair, order, turn)

    def _with_whole(self, judgment: Judgment) -> list[Judgment]:
        """Where only turns are judged, the last one is judged given all others: as the whole."""
        pair, turn = judgment.call.pair, judgment.call.turn
        if WHOLE in asked_turns(self._settings, pair.turns) or turn < pair.turns:
            return [judgment]
        return [judgment, replace(judgment, call=replace(judgment.call, turn=WHOLE), cached=True)]

    def _store(self, judgments: list[Judgment]) -> list[Decided]:
        """Judgments and the verdicts that they complete become durable together."""
        verdicts, decided = [], []
        for judgment in judgments:
            pair, turn = judgment.call.pair, judgment.call.turn
            place = self._work.example_ids[pair.example.id]
            self._winners[place, turn, judgment.call.order] = judgment.winner
            if not all((place, turn, order) in self._winners for order in ORDERS):
                self._first[place, turn] = judgment
                continue
            first, second = (self._winners[place, turn, order] for order in ORDERS)
            consistent = None if first is None or second is None else first == second
            before = self._first.pop((place, turn), None)
            both = (judgment,) if before is None else (before, judgment)
            outcome = verdict(first, second)
            verdicts.append(self._verdict_row(place, turn, outcome, consistent, why_failed(both, consistent)))
            decided.append(Decided(pair, turn, outcome, both))
        with self._work.recorder.transaction() as transaction:
            transaction.append([records.StoredJudgment(**self._row(judgment)) for judgment in judgments])
            transaction.append([records.Verdict(**row) for row in verdicts])
        for judgment in judgments:
            report_failure(self._work, self._judge.name, judgment.call.pair.example, judgment.failure)
        return decided

    def _row(self, judgment: Judgment) -> dict[str, Any]:
        return self.sides | {
            "example_id": self._work.example_ids[judgment.call.pair.example.id],
            "turn": judgment.call.turn,
            "order": judgment.call.order,
            "winner": judgment.winner,
            "candidate_score": judgment.candidate_score,
            "baseline_score": judgment.baseline_score,
            "created": time.time(),
            **figures(judgment),
        }

    def _verdict_row(
        self, place: int, turn: int, outcome: str, consistent: bool | None, reason: str | None
    ) -> dict[str, Any]:
        return self.sides | {
            "example_id": place,
            "turn": turn,
            "outcome": outcome,
            "consistent": consistent,
            "reason": reason,
        }


def why_failed(judgments: tuple[Judgment, ...], consistent: bool | None) -> str | None:
    """Why a verdict failed; an earlier worker's judgment is no longer available to say it."""
    if consistent is not None:
        return None
    return next((each.failure for each in judgments if each.failure), "a judgment failed")


class _Clock:
    """When to update the win rates: rarely enough that the update costs little."""

    def __init__(self) -> None:
        self._asked = time.monotonic()
        self._due = self._asked + WIN_RATE_EVERY

    def is_due(self) -> bool:
        self._asked = time.monotonic()
        return self._asked >= self._due

    def restart(self) -> None:
        """To be called after the looking that `is_due` allowed."""
        now = time.monotonic()
        self._due = now + max(WIN_RATE_EVERY, (now - self._asked) / WIN_RATE_SHARE)


EVEN = 0.5  # what a win rate is held against where the plan has no gate for it


def play_until_settled(work: Work, match: Matchup, examples: Sequence[Example]) -> None:
    """Plays a match in the drawn order until its win rate is known to be above the gate, or below it."""
    drawn = in_drawn_order(work.plan.data.seed, examples)
    pairs = match.pairs(drawn)
    watch = watched(work, match.sides, [example.id for example in drawn])
    threshold = threshold_of(work)
    if not watch.settled(threshold):
        for decided in match.play(pairs):
            if decided.turn == WHOLE:
                watch.know(decided.pair.example.id, decided.outcome)
                if watch.settled(threshold):
                    break
    _record_saved(work, match, match.calls_on(pairs))


def threshold_of(work: Work) -> float:
    """The win rate that decides: the plan's gate, or even odds."""
    gate = work.plan.gates.min_win_rate
    return EVEN if gate is None else gate


def _record_saved(work: Work, match: Matchup, total: int) -> None:
    """How many of the calls were not made; the progress is over with those that were."""
    made = len(work.recorder.rows(records.StoredJudgment, **match.sides))
    work.meter("judge", match.title, "judgments", total=made, done=made)
    work.recorder.put(
        records.Audit(
            judge_id=match.sides["judge_id"],
            measure="calls_saved",
            subject=match.name,
            value=float(total - made),
            n=total,
            details={"by": "stopping when settled", "threshold": threshold_of(work)},
        )
    )
