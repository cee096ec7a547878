"""What opens over Review: the plan's guidelines with tagged and rated answers, and a person's own figures."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from textual.app import ComposeResult
from textual.content import Content

from engine.stats.family import Interval
from store.read.history import Connection
from store.read.queues import annotated, annotated_examples
from store.read.rows import ModelRow
from store.reviewing import own_decisions
from tui.screens.base import RunScreen
from tui.screens.review.lines import excerpt, paragraph
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


NONE = 'no guidelines: the plan names them, as in [review] guidelines = "guidelines.md"'
EACH = 2  # answers for each tag


class Shown(NamedTuple):
    """An answer that people gave a tag or a grade."""

    label: str
    example: str
    answer: str


class Guidelines(NamedTuple):
    text: str
    tags: list[Shown]  # the newest of each
    grades: list[Shown]  # by criterion, the lowest and the highest rated


class GuidelinesScreen(RunScreen):
    """The guidelines' text, then examples for each tag and criterion."""

    NAME = "Guidelines"
    DEFAULT_CSS = "GuidelinesScreen #guidelines { padding: 1 2; }"

    def compose(self) -> ComposeResult:
        yield from self.framed(Pane(focusable=True, id="guidelines"))

    def read_run(self, connection: Connection) -> Guidelines:
        return read_guidelines(connection, self.run_id)

    def show_run(self, data: Guidelines) -> None:
        self.query_one("#guidelines", Pane).show(list(guideline_lines(data, self.size.width - 4)))


def read_guidelines(connection: Connection, run_id: int) -> Guidelines:
    """The file that the run's plan names, as it is now, and what people said of the run's answers."""
    run = connection.execute("SELECT plan, plan_folder FROM run WHERE id = ?", (run_id,)).fetchone()
    named = tomllib.loads(run[0]).get("review", {}).get("guidelines")
    text = NONE
    if named:
        file = Path(run[1]) / named
        try:
            text = file.read_text("utf-8", "replace")
        except OSError as error:
            text = f"{file} cannot be read: {error.strerror}"
    examples = annotated_examples(connection, run_id)
    tags: dict[str, list[Shown]] = {}
    grades: dict[str, dict[float, Shown]] = {}
    for row in annotated(connection, run_id):
        example = examples[row.example_id]
        answer = example.answers.get(row.about_id)
        if answer is None:
            continue
        if row.kind == "tag":
            tags.setdefault(row.value, []).append(Shown(row.value, example.example, answer))
        elif row.kind == "rating":
            criterion = row.criterion or "overall"
            shown = Shown(f"{criterion} {row.value}", example.example, answer)
            grades.setdefault(criterion, {})[float(row.value)] = shown
    ends = [rated[end] for rated in grades.values() for end in dict.fromkeys((min(rated), max(rated)))]
    return Guidelines(text, [shown for said in tags.values() for shown in said[-EACH:]], ends)


def guideline_lines(found: Guidelines, width: int) -> Iterator[Content]:
    for line in found.text.splitlines():
        yield from paragraph(line, width)
    for title, examples in (("Examples of the tags", found.tags), ("Examples of the grades", found.grades)):
        if examples:
            yield Content("")
            yield plain(title, "$heading")
        for shown in examples:
            yield plain(f"{cut(shown.label, 40)}  {cut(shown.example, 40)}", "bold")
            yield from excerpt("", shown.answer, width, 3)
