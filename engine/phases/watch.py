"""Verdicts looked at in an order that was drawn beforehand, by an interval that holds at every look."""

from collections.abc import Sequence

from engine.judges.judge import WHOLE
from engine.phases.work import Work
from engine.stats.sequential import ConfidenceSequence
from engine.stats.winrate import POINTS, Outcome
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
