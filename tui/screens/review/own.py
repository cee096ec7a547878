"""How a person decided: win rate, habit of one side, pace, and whether repeats got the same answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import median

from textual.app import ComposeResult
from textual.content import Content

from store.read.history import Connection
from store.read.reviewing import OwnDecision, own_decisions
from store.read.rows import ModelRow
from tui.screens.base import RunScreen
from tui.screens.review.lines import pace
from tui.text.gate import MISSING, cut, join, percent, plain, wrap
from tui.widgets.lines import Pane

_POINTS = {"win": 1.0, "loss": 0.0, "tie": 0.5, "both_bad": 0.5}
_Z = 1.959964  # of 95 %


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its 95 % Wilson interval; all None where there is nothing to count."""

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Own:
    """A person's own figures; `left` and `again` are of blind decisions only."""

    outcomes: dict[str, int]
    won: Share  # of the candidate, a tie and both bad being half
    judged: float | None  # the judge's win rate on the same examples
    left: Share  # of those that preferred a side
    again: Share  # repeats that got the same answer
    seconds: float | None  # median


def share(successes: float, n: int) -> Share:
    """Wilson's score interval; `successes` may have halves.

    Source: Wilson, Probable inference, the law of succession, and statistical inference, JASA 1927.
    """
    if n == 0:
        return Share(None, None, None, 0)
    p, square = successes / n, _Z * _Z
    middle = (p + square / (2 * n)) / (1 + square / n)
    half = _Z * sqrt(p * (1 - p) / n + square / (4 * n * n)) / (1 + square / n)
    return Share(p, max(0.0, middle - half), min(1.0, middle + half), n)


def own_figures(said: Sequence[OwnDecision]) -> Own:
    """Of all of a person's preferences between two models, repeats included, oldest first."""
    labels = {row.example_id: row for row in said if not row.control}
    repeats = {row.example_id: row for row in said if row.control}
    outcomes = {name: sum(row.outcome == name for row in labels.values()) for name in _POINTS}
    sides = [row.side for row in (*labels.values(), *repeats.values()) if row.blind and row.side]
    both = [(labels[key].outcome, row.outcome) for key, row in repeats.items() if key in labels]
    judged = [_POINTS[row.judged] for row in labels.values() if row.judged in _POINTS]
    timed = [row.seconds for row in said if row.seconds is not None]
    return Own(
        outcomes,
        share(sum(_POINTS[row.outcome] for row in labels.values()), len(labels)),
        sum(judged) / len(judged) if judged else None,
        share(sides.count("left"), len(sides)),
        share(sum(first == second for first, second in both), len(both)),
        pace(timed) if len(timed) > 2 else median(timed) if timed else None,
    )


class OwnScreen(RunScreen):
    """A person's own figures for one candidate and one baseline, with the names."""

    NAME = "How you decided"
    DEFAULT_CSS = "OwnScreen #own { padding: 1 2; }"

    def __init__(self, run_id: int, candidate: ModelRow, baseline: ModelRow, person: str) -> None:
        super().__init__(run_id)
        self._pair = candidate, baseline
        self._person = person

    def compose(self) -> ComposeResult:
        yield from self.framed(Pane(focusable=True, id="own"))

    def read_run(self, connection: Connection) -> Own:
        ids = self._pair[0].id, self._pair[1].id
        return own_figures(own_decisions(connection, self.run_id, *ids, self._person))

    def show_run(self, data: Own) -> None:
        names = self._pair[0].name, self._pair[1].name
        lines = own_lines(data, self._person, names)
        width = self.size.width - 4
        self.query_one("#own", Pane).show([row for line in lines for row in wrap(line, width)])


def own_lines(own: Own, person: str, names: tuple[str, str]) -> list[Content]:
    candidate, baseline = (cut(name, 32) for name in names)
    if not own.won.n:
        return [plain(f"{person} has not decided between {candidate} and {baseline} yet", "$muted")]
    counts = own.outcomes
    said = f"{counts['win']} for {candidate}, {counts['loss']} for {baseline}, {counts['tie']} ties, "
    lines = [
        plain(f"{candidate} against {baseline}, as {cut(person, 32)} sees it", "bold"),
        Content(""),
        _line("decided", f"{own.won.n}: {said}{counts['both_bad']} both bad"),
        _line("win rate", f"{_percent(own.won)} of {candidate}; ties and both bad count half", strong=True),
        _line("the judge", f"{percent(own.judged)} on the same examples"),
        _line("time", MISSING if own.seconds is None else f"{own.seconds:.1f} s for each, the median"),
        Content(""),
        plain("From blind items alone, where the sides are random", "$heading"),
    ]
    if own.left.n:
        one_sided = own.left.low is not None and not (own.left.low <= 0.5 <= (own.left.high or 1.0))
        habit = "you lean to one side" if one_sided else "no habit of one side shows"
        lines.append(_line("left side", f"{_percent(own.left)} of your preferences: {habit}"))
    else:
        lines.append(_line("left side", f"{MISSING} nothing was decided blind: B in Review"))
    if own.again.n:
        lines.append(
            _line("repeats", f"{_percent(own.again)} of {own.again.n} repeated items got the same answer")
        )
    else:
        lines.append(_line("repeats", f"{MISSING} no repeated item was decided yet"))
    return lines


def _line(label: str, text: str, *, strong: bool = False) -> Content:
    return join([Content.styled(f"{label:<12}", "$heading"), plain(text, "bold" if strong else "")])


def _percent(found: Share) -> str:
    return f"{percent(found.value)} [{percent(found.low)}, {percent(found.high)}]"
