"""How a person decided: win rate, habit of one side, pace, and whether repeats got the same answer."""

from textual.app import ComposeResult
from textual.content import Content

from engine.stats.family import Interval
from store.read.history import Connection
from store.read.rows import ModelRow
from store.reviewing import own_decisions
from tui.screens.base import RunScreen
from tui.sections.judging import OwnFigures, own_figures
from tui.text.gate import MISSING, cut, join, percent, plain, wrap
from tui.widgets.lines import Pane


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

    def read_run(self, connection: Connection) -> OwnFigures:
        ids = self._pair[0].id, self._pair[1].id
        return own_figures(own_decisions(connection, self.run_id, *ids, self._person))

    def show_run(self, data: OwnFigures) -> None:
        names = self._pair[0].name, self._pair[1].name
        lines = own_lines(data, self._person, names)
        width = self.size.width - 4
        self.query_one("#own", Pane).show([row for line in lines for row in wrap(line, width)])


def own_lines(own: OwnFigures, person: str, names: tuple[str, str]) -> list[Content]:
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
        habit = "you favour one side" if one_sided else "no side bias shows"
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


def _percent(found: Interval) -> str:
    return f"{percent(found.value)} [{percent(found.low)}, {percent(found.high)}]"
