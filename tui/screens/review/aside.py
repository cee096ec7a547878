"""What opens over Review: guidelines with tagged and rated answers, a person's own figures, and an editor.

What was written in the editor is never lost.
"""

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from textual.app import ComposeResult, SuspendNotSupported
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

if TYPE_CHECKING:
    from textual.app import App


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


DEFAULT = "vi"


@dataclass(frozen=True, slots=True)
class Edited:
    """What came of it: a text, or None with the reason. `kept` holds what was written, for the person."""

    text: str | None
    reason: str
    kept: Path | None

    def discard(self) -> None:
        """Removes what was kept, once the text is safe."""
        if self.kept is not None:
            _remove(self.kept)


def editor() -> str:
    return os.environ.get("VISUAL") or os.environ.get("EDITOR") or DEFAULT


def edit(text: str, name: str, command: str | None = None) -> Edited:
    """Opens the text in an editor and waits for it; the terminal must be free for that.

    The file is readable for nobody else. It is removed when nothing was changed in it; else it is the
    caller's to remove, by `Edited.discard`, once the text is safe.
    """
    command = command or editor()
    before = text.encode("utf-8", "replace")
    try:
        file = Path(tempfile.mkdtemp(prefix="assay-")) / name
        file.touch(0o600)
        file.write_bytes(before)
    except OSError as error:
        return Edited(None, f"no file for the editor can be written: {error.strerror}", None)
    failure = _run_editor(command, file)
    try:
        after = file.read_bytes()
    except OSError as error:
        return Edited(None, failure or f"what was written cannot be read: {error.strerror}", None)
    if failure is None and not after.strip():
        failure = "nothing was written, nothing is recorded"
        after = before
    if after.rstrip(b"\r\n") == before.rstrip(b"\r\n"):
        _remove(file)
        return Edited(None, failure or "nothing was changed, nothing is recorded", None)
    if failure is None:
        try:
            # An editor ends the last line; the answer had no such end.
            found = after.decode("utf-8")
            return Edited(found if text.endswith("\n") else found.rstrip("\r\n"), "", file)
        except UnicodeDecodeError:
            failure = "what was written is not UTF-8"
    return Edited(None, failure, file)


def _remove(file: Path) -> None:
    """Removes the file, with the backups and swap files that editors leave beside it."""
    shutil.rmtree(file.parent, ignore_errors=True)


def _run_editor(command: str, file: Path) -> str | None:
    """Why the editor did not do it; None when it did."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        return f"$EDITOR cannot be understood: {error}"
    if not words:
        return "$EDITOR names no program"
    # Ctrl-C is the editor's own while it has the terminal; a handler, unlike ignoring, is not inherited.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        code = subprocess.run([*words, str(file)], check=False).returncode
    except OSError as error:
        return f"the editor {words[0]} cannot be started: {error.strerror}; set $EDITOR"
    finally:
        signal.signal(signal.SIGINT, before)
    return None if code == 0 else f"the editor ended with {code}, nothing is recorded"


def edited(app: "App[Any]", text: str) -> Edited:
    """What came of editing the text; the app comes back when the editor is left."""
    try:
        with app.suspend():
            return edit(text, "answer.txt")
    except SuspendNotSupported:
        return Edited(None, "this terminal cannot be lent to an editor", None)
