"""What the plan asks of people who review, and answers that were tagged and rated before."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from textual.app import ComposeResult
from textual.content import Content

from store.read.history import Connection
from store.read.queues import annotated, annotated_examples
from tui.screens.base import RunScreen
from tui.screens.review.lines import excerpt, paragraph
from tui.text.gate import cut, plain
from tui.widgets.lines import Pane

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
