"""Verdicts counted into win rates, with the judge's biases.

A judge that may stop early sees the examples in an order drawn beforehand; its interval is valid at every
look.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engine.judges.judge import ORDERS, WHOLE
from engine.judges.selection import drawn, matches
from engine.phases.judging.shared import given_answers
from engine.phases.work import Work
from engine.plan.plan import Model
from engine.stats.intervals import Interval
from engine.stats.length_control import length_controlled
from engine.stats.sequential import ConfidenceSequence
from engine.stats.winrate import POINTS, Outcome, Winner, position_bias, win_rate
from store import tables


class Watch:
    """Verdicts as they become known, taken into the interval in the drawn order and no other."""

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
    """What the stored verdicts on whole answers say, in the drawn order."""
    names = {place: name for name, place in work.example_ids.items()}
    watch = Watch(drawn)
    for row in work.recorder.rows(tables.Verdict, **sides, turn=WHOLE):
        watch.know(names[row["example_id"]], row["outcome"])
    return watch


Place = tuple[int, int]  # turn and example
Texts = dict[Place, str]


def record_win_rates(work: Work, judge_id: int) -> None:
    """Writes what one judge's verdicts say so far, for every candidate against every baseline."""
    (judge,) = work.recorder.rows(tables.Judge, id=judge_id)
    if judge["details"].get("asked_where_unsure"):
        # Of a cascade's dearer judge only the hard examples are known: their rate would mislead.
        return
    rows = [
        row
        for candidate, baseline in matches(work.plan)
        for row in _win_rates(work, judge_id, judge["name"], candidate, baseline)
    ]
    work.recorder.put(tables.WinRate, rows)


def _win_rates(
    work: Work, judge_id: int, judge_name: str, candidate: Model, baseline: Model
) -> Iterator[dict[str, Any]]:
    """The win rate over whole answers (turn 0), then over each turn of conversations."""
    sides = {
        "judge_id": judge_id,
        "candidate_id": work.model_ids[candidate.name],
        "baseline_id": work.model_ids[baseline.name],
    }
    order = _drawn_order(work, judge_name)
    outcomes: dict[int, dict[Place, Outcome]] = defaultdict(dict)
    for row in work.recorder.rows(tables.Verdict, **sides):
        outcomes[row["turn"]][row["turn"], row["example_id"]] = row["outcome"]
    winners = _winners_by_example(work, sides)
    if order is None and _counts_turns(work, judge_name):
        _pool_turns(outcomes, winners)
    texts = _texts(work, candidate), _texts(work, baseline)
    for turn in sorted(outcomes):
        both = list(winners[turn].values())
        row = sides | {"turn": turn} | _win_rate(work, outcomes[turn], both, texts)
        if turn == WHOLE and order is not None and (held := watched(work, sides, order).interval()):
            # Of a match that may have been stopped early only such an interval means what it says.
            row |= {"low": held[0], "high": held[1]}
        yield row


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


def _win_rate(
    work: Work,
    outcomes: Mapping[Place, Outcome],
    winners: list[tuple[Winner | None, Winner | None]],
    texts: tuple[Texts, Texts],
) -> dict[str, Any]:
    seed = work.plan.data.seed
    counted = win_rate(list(outcomes.values()), seed)
    bias = position_bias(winners, seed)
    controlled = _length_controlled(outcomes, *texts)
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
        "reason": None if counted.win_rate is not None else "every judgment failed",
    }


def _winners_by_example(
    work: Work, sides: dict[str, int]
) -> dict[int, dict[Place, tuple[Winner | None, Winner | None]]]:
    """Both orders' winners of each example, by turn; an example whose second order is due is left out."""
    winners: dict[Place, dict[str, Winner | None]] = defaultdict(dict)
    for row in work.recorder.rows(tables.Judgment, **sides):
        winners[row["turn"], row["example_id"]][row["order"]] = row["winner"]
    by_turn: dict[int, dict[Place, tuple[Winner | None, Winner | None]]] = defaultdict(dict)
    for place, both in winners.items():
        if len(both) == len(ORDERS):
            by_turn[place[0]][place] = (both[ORDERS[0]], both[ORDERS[1]])
    return by_turn


def _texts(work: Work, model: Model) -> Texts:
    """What was judged, by turn and example; a whole conversation is all of its answers."""
    texts: Texts = {}
    for place, given in given_answers(work, model).items():
        texts[WHOLE, place] = "\n".join(given.turns) or given.text
        texts |= {(turn, place): text for turn, text in enumerate(given.turns, 1)}
    return texts


def _length_controlled(outcomes: Mapping[Place, Outcome], candidate: Texts, baseline: Texts) -> Interval:
    """The win rate at equal length, over the verdicts whose two texts are known."""
    known = [place for place in outcomes if place in candidate and place in baseline]
    return length_controlled(
        [outcomes[place] for place in known],
        [len(candidate[place]) for place in known],
        [len(baseline[place]) for place in known],
    )
