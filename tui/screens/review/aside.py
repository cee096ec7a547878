"""What opens over Review: guidelines, own figures, flips in groups, since when, and the person's editor."""

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import tomllib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from textual.app import ComposeResult, SuspendNotSupported
from textual.content import Content

from engine.decision.flips import FlipGroup, Flips, flips
from engine.stats.family import Interval
from store.read.history import Connection
from store.read.labels import TagRow, tags
from store.read.queues import FLIPS, annotated, annotated_examples
from store.read.rows import ModelRow
from store.read.trends import Attempt, Bisection, bisect
from store.reviewing import own_decisions, tag_all
from tui.keys import bindings
from tui.screens.base import RunScreen
from tui.screens.choosing import ExportingScreen
from tui.screens.review.data import Review
from tui.screens.review.lines import excerpt, paragraph
from tui.screens.watch import StoreFailed
from tui.sections.judging import OwnFigures, own_figures
from tui.text.diff import Segment, diff, first_change
from tui.text.gate import (
    MISSING,
    counted,
    cut,
    join,
    number,
    one_line,
    percent,
    plain,
    probability,
    told_apart,
    wrap,
)
from tui.widgets.lines import Line, Pane
from tui.widgets.menu import Choice
from tui.widgets.rows import CellContent, Columns, FlexColumn, Rows

if TYPE_CHECKING:
    from textual.app import App


class OwnScreen(RunScreen):
    """A person's own figures for one candidate and one baseline, with the names."""

    NAME = "How you decided"
    hides_outcome = True  # one may label on, blind
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
    hides_outcome = True  # they are read while labelling, also blind
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


NEW = ""  # what stands for a tag that is not on the list yet
LONGEST = 60


def tag_choices(offered: Sequence[TagRow], mine: Collection[str]) -> list[Choice[str]]:
    """The tags on offer, those that are set marked."""
    rows = [
        Choice(
            tag.letter or "",
            f"{'✓' if tag.name in mine else ' '} {tag.name}",
            tag.name,
            f"{tag.answers:,} in {tag.runs:,} run{'' if tag.runs == 1 else 's'}",
        )
        for tag in offered
    ]
    return [*rows, Choice("+", "  a new tag", NEW)]


def tag_name(text: str) -> str:
    """A name as it is kept: one line, no longer than fits on a screen."""
    return " ".join(text.encode("utf-8", "replace").decode().split())[:LONGEST]


# Flips in groups

GROUPS = Columns(
    FlexColumn("", 1),
    FlexColumn("flips", 11, align="right", key=lambda row: len(row.examples)),
    FlexColumn("in common", 24, grow=1, key=lambda row: getattr(row, "name", "")),
    FlexColumn("of the rest", 11, align="right", drop=1, key=lambda row: getattr(row, "share", None)),
    FlexColumn("p", 6, align="right", drop=3, key=lambda row: _falling(row, "p")),
    FlexColumn("corrected", 9, align="right", drop=2, key=lambda row: _falling(row, "p_corrected")),
    FlexColumn("", 13, drop=4),
)


def _falling(row: object, name: str) -> float | None:
    """For columns in which the smallest comes first."""
    value: float | None = getattr(row, name, None)
    return None if value is None else -value


class WholeSide(NamedTuple):
    """All flips of one direction; its `key` is the direction."""

    key: str
    examples: tuple[int, ...]


Group = WholeSide | FlipGroup


class FlipGroupsScreen(ExportingScreen):
    """What the flips of one candidate against one baseline have in common; `chosen` gets a group's key."""

    NAME = "Flips in groups"
    FOOTER = ("groups.open", "groups.tag", "groups.export")
    BINDINGS = bindings("groups.tag", "groups.export")
    DEFAULT_CSS = """
    FlipGroupsScreen #flips { background: $panel; padding: 0 1; }
    FlipGroupsScreen #about { height: 6; padding: 0 1; border-top: solid $rule; }
    """

    def __init__(self, run_id: int, review: Review, person: str, chosen: Callable[[str], None]) -> None:
        super().__init__(run_id)
        self._sides = review.candidate, review.baseline
        self._measure = review.wanted.worst_by if review.wanted.show == FLIPS else None
        self._person, self._chosen = person, chosen
        self._flips: Flips | None = None

    def compose(self) -> ComposeResult:
        table: Rows[Group] = Rows(_group, columns=GROUPS, id="groups")
        yield from self.framed(Line(id="flips"), table, Pane(id="about"))

    @property
    def table(self) -> "Rows[Group]":
        return self.query_one("#groups", Rows)

    def read_run(self, connection: Connection) -> Flips:
        return flips(connection, self.run_id, *self._sides, self._measure)

    def show_run(self, data: Flips) -> None:
        self._flips = data
        self.redraw()

    def redraw(self) -> None:
        found = self._flips
        if found is None:
            return
        sides = " against ".join(cut(model.name, 30) for model in self._sides)
        said = [
            plain(f"− {len(found.lost):,} turned wrong  + {len(found.gained):,} right", "bold"),
            plain(f"of {counted(found.compared, 'example')}"),
            plain(f"by {cut(found.measure or MISSING, 24)}"),
            *([plain(f"{found.missing:,} without a value", "$warn")] if found.missing else []),
            plain(sides, "$muted"),
        ]
        self.query_one("#flips", Line).set(join(said, " · "))
        whole = [WholeSide("lost", found.lost), WholeSide("gained", found.gained)]
        rows: list[Group] = [*(side for side in whole if side.examples), *found.groups]
        self.table.show(rows, empty=found.reason or "", key=lambda row: row.key)
        self._explain()

    def _explain(self) -> None:
        row, found = self.table.item, self._flips
        lines: list[Content] = []
        if isinstance(row, FlipGroup) and found is not None:
            p = f"Fisher's p {probability(row.p)}, {probability(row.p_corrected)} corrected for all"
            word = "" if row.is_clear else ": chance may explain it"
            lines = [plain(row.said), plain(f"{p} {found.looked_at:,} looked at{word}", "$muted")]
        elif row is not None and found is not None and not found.groups:
            lines = [plain(f"no slice and no word stands out among them ({found.looked_at:,} looked at)")]
        width = self.size.width - 2
        self.query_one("#about", Pane).show([part for line in lines for part in wrap(line, width)])

    def on_rows_moved(self, event: Rows.Moved) -> None:
        self._explain()

    # Keys

    def on_rows_opened(self, event: Rows.Opened) -> None:
        row = self.table.item
        if row is not None:
            self.app.pop_screen()
            self._chosen(row.key)

    async def action_tag_all(self) -> None:
        row = self.table.item
        if row is None:
            self.say("there is no flip to tag", error=True)
            return
        try:
            offered = await self.assay.store.ask(tags)
        except StoreFailed as error:
            self.say(str(error).split("\n")[0], error=True)
            return
        label = f"tag all {counted(len(row.examples), 'answer')} of {cut(self._sides[0].name, 30)}"
        if offered:
            self.choose(label, tag_choices(offered, ()), lambda name: self._tag_chosen(row, name))
        else:
            self._tag_chosen(row, NEW)

    def _tag_chosen(self, row: Group, name: str) -> None:
        if name == NEW:
            self.ask("a new tag", lambda text: self._tag_chosen(row, text) if text.strip() else None)
        elif tag_name(name):
            self.run_worker(self._tag(row, tag_name(name)))

    async def _tag(self, row: Group, name: str) -> None:
        said = {
            "run_id": self.run_id, "value": name, "annotator": self._person, "queue": FLIPS,
            "left_id": self._sides[0].id,
        }  # fmt: skip
        try:
            now, new = await self.assay.store.ask(tag_all, said, row.examples)
        except StoreFailed as error:
            self.say(str(error).split("\n")[0], error=True)
            return
        self.assay.store.touched()
        had = len(row.examples) - new
        before = f"; {had:,} had it already" if had else ""
        self.say(f"tagged {counted(new, 'answer')} {cut(now, 40)}{before}; u in Review undoes it")

    def action_export(self) -> None:
        row = self.table.item
        if row is None:
            self.say("there is no flip to write", error=True)
            return
        names = (f"--candidate={self._sides[0].name}", f"--baseline={self._sides[1].name}")
        by = self._flips.measure if self._flips is not None else None
        measure = () if by is None else (f"--measure={by}",)
        words = ("--format", "examples", f"--flips={row.key}", *names, *measure)
        name = f"flips-{row.key[:40]}-run-{self.run_id}"
        self.ask_file("eval set of this group", name, ("export", str(self.run_id)), words)


def _group(row: Group, width: int) -> Content:
    direction = row.key.partition(" ")[0]
    sign, style = {"lost": ("−", "$bad"), "gained": ("+", "$good")}[direction]
    if isinstance(row, WholeSide):
        turned = {"lost": "all that turned wrong", "gained": "all that turned right"}[direction]
        return GROUPS.row([Content.styled(sign, style), f"{len(row.examples):,}", turned, *[""] * 4], width)
    name = f"slice {row.name}" if row.kind == "slice" else f"“{row.name}”"
    word = Content.styled("clear", style) if row.is_clear else Content.styled("may be chance", "$muted")
    return GROUPS.row(
        [
            Content.styled(sign, style), f"{row.flips:,} of {row.size:,}", name, percent(row.share),
            probability(row.p), probability(row.p_corrected), word,
        ],
        width,
    )  # fmt: skip


# One example over checkpoints or runs

CHANGED = "bold $warn"  # the words that the answer before has not
RIGHTNESS = {
    True: ("+ right", "$good"),
    False: ("− wrong", "bold $bad"),
    None: ("? not known", "$muted"),
}
_MODEL = FlexColumn("model", 12, grow=1, drop=2)
_REST = (
    FlexColumn("", 11),
    FlexColumn("value", 6, align="right", drop=1),
    FlexColumn("", 6),
    FlexColumn("answer, from the words that differ", 20, grow=3),
)
OVER_STEPS = Columns(FlexColumn("", 12), *_REST)  # a step tells a checkpoint
OVER_RUNS = Columns(FlexColumn("", 12), _MODEL, *_REST)


class AttemptLine(NamedTuple):
    """An attempt as a line of the list, with the answer before it."""

    attempt: Attempt
    where: str
    before: str | None
    is_lost: bool  # whether the example was lost here


class BisectScreen(RunScreen):
    """`measure` says right or wrong; None is the one that flips go by."""

    NAME = "Since when"
    FOOTER = ("move.open",)
    DEFAULT_CSS = """
    BisectScreen #said, BisectScreen #asked { padding: 0 1; }
    BisectScreen #attempts { height: 2fr; }
    BisectScreen #answer { padding: 0 1; border-top: solid $rule; }
    """

    def __init__(
        self, run_id: int, example_id: int, candidate: str, baseline: str, measure: str | None = None
    ) -> None:
        super().__init__(run_id)
        self._example_id = example_id
        self._compared = candidate, baseline
        self._measure = measure
        self._found: Bisection | None = None

    def compose(self) -> ComposeResult:
        yield from self.framed(
            Line(id="asked"),
            Line(id="said"),
            Line(id="heading"),
            Rows(self._row, empty="no answer to this example is recorded", id="attempts"),
            Pane(focusable=True, id="answer"),
        )

    @property
    def rows(self) -> Rows[AttemptLine]:
        return self.query_one("#attempts", Rows)

    @property
    def run_at_cursor(self) -> int | None:
        return self.rows.item.attempt.run_id if self.rows.item is not None else None

    def read_run(self, connection: Connection) -> Bisection:
        candidate, baseline = (name or None for name in self._compared)
        return bisect(connection, self.run_id, self._example_id, candidate, baseline, self._measure)

    def show_run(self, data: Bisection) -> None:
        is_first, self._found = self._found is None, data
        lines = _attempt_lines(data)
        self.rows.show(lines, key=lambda line: (line.attempt.run_id, line.attempt.model))
        if is_first:
            mine = self.run_id, self._compared[0]
            lost = [line.is_lost for line in lines]
            own = [(line.attempt.run_id, line.attempt.model) == mine for line in lines]
            at = lost if any(lost) else own
            self.rows.go_to(at.index(True) if any(at) else 0)
        self.redraw()

    def on_rows_moved(self, event: Rows.Moved) -> None:
        self._show_answer()

    # Drawing

    def redraw(self) -> None:
        found = self._found
        if found is None:
            return
        asked = [plain(found.example, "bold"), one_line(found.query, "$muted")]
        self.query_one("#asked", Line).set(join(asked, "  "))
        by = plain(f"  by {found.measure}" if found.measure else "", "$muted")
        said = plain(found.said, "bold $bad" if found.losses else "bold")
        self.query_one("#said", Line).set(join([said, by]))
        self.query_one("#heading", Line).set(join(["  ", self._columns.heading(self.size.width - 2)]))
        self._show_answer()

    @property
    def _columns(self) -> Columns:
        return OVER_STEPS if self._found and self._found.is_sweep else OVER_RUNS

    def _row(self, line: AttemptLine, width: int) -> Content:
        attempt = line.attempt
        names = tuple(dict.fromkeys(each.attempt.model for each in self.rows.items))

        def model(cells: int) -> str:
            return told_apart(names, cells)[attempt.model]

        cells: list[CellContent] = [
            line.where,
            *([model] if self._columns is OVER_RUNS else []),
            Content.styled(*RIGHTNESS[attempt.right]),
            number(attempt.value),
            Content.styled("◂ lost", "bold $bad") if line.is_lost else "",
            _excerpt(line),
        ]
        return self._columns.row(cells, width)

    def _show_answer(self) -> None:
        """The selected answer in full, below what was expected; what the one above has not is marked."""
        line, found, width = self.rows.item, self._found, self.size.width - 2
        lines: list[Content] = []
        if line is not None and found is not None:
            expected = one_line(" ⏐ ".join(found.references) or MISSING)
            lines += wrap(join([Content.styled("reference  ", "$heading"), expected]), width)
            lines += wrap(join([Content.styled("answer     ", "$heading"), _whole_answer(line)]), width)
        self.query_one("#answer", Pane).show(lines, keep_place=False)

    # Going on

    def on_rows_opened(self, event: Rows.Opened) -> None:
        """Review at this example, with the model of the row."""
        from tui.screens import load

        line, found = self.rows.item, self._found
        if line is None or found is None:
            return
        if line.attempt is found.baseline:
            self.say("the baseline stands beside every checkpoint: open one of them")
            return
        run_id, model = line.attempt.run_id, line.attempt.model
        hand = self.assay.in_hand(run_id)
        hand.take(model, self._compared[1] if run_id == self.run_id else None)
        hand.example_id, hand.is_taken = line.attempt.example_id, True
        self.app.push_screen(load("review")(run_id))


def _attempt_lines(found: Bisection) -> list[AttemptLine]:
    whole = [*([found.baseline] if found.baseline else []), *found.attempts]
    lost = [after for _, after in found.losses]
    texts = [None, *(attempt.text for attempt in whole)]
    return [
        AttemptLine(attempt, found.where(attempt), before, any(attempt is each for each in lost))
        for attempt, before in zip(whole, texts, strict=False)
    ]


def _excerpt(line: AttemptLine) -> Content:
    """The answer's first words that differ, in one line; why there is none, or why it is not known."""
    text, why = line.attempt.text, line.attempt.reason
    if text is None:
        return one_line(why or "", "$muted")
    if text == line.before:
        return Content.styled("= the same answer", "$muted")
    segments = [Segment(text[:1_000], False)] if line.before is None else first_change(line.before, text)
    return join(one_line(part.text, CHANGED if part.changed else "") for part in segments)


def _whole_answer(line: AttemptLine) -> Content:
    text, why = line.attempt.text, line.attempt.reason
    noted = [plain(f"{why}\n", "$warn")] if why else []
    if text is None or line.before is None or text == line.before:
        return join([*noted, plain(text or "")])
    segments = (segment for pair in diff(line.before, text).pairs for segment in pair.right)
    return join([*noted, *(plain(part.text, CHANGED if part.changed else "") for part in segments)])


# Editing a text in the person's own editor, without ever losing what was written there

DEFAULT_EDITOR = "vi"


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
    return os.environ.get("VISUAL") or os.environ.get("EDITOR") or DEFAULT_EDITOR


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
    failure = _run(command, file)
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


def _run(command: str, file: Path) -> str | None:
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
