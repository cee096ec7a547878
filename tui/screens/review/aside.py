"""What opens over Review: guidelines, a person's own figures, flips in groups, and their editor."""

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
from store.read.failures import TagRow, tags
from store.read.history import Connection
from store.read.queues import FLIPS, annotated, annotated_examples
from store.read.rows import ModelRow
from store.reviewing import own_decisions, tag_all
from tui.keys import bindings
from tui.screens.base import RunScreen
from tui.screens.choosing import ExportingScreen
from tui.screens.review.data import Review
from tui.screens.review.lines import excerpt, paragraph
from tui.screens.watch import StoreFailed
from tui.sections.judging import OwnFigures, own_figures
from tui.text.gate import MISSING, counted, cut, join, percent, plain, probability, wrap
from tui.widgets.lines import Line, Pane
from tui.widgets.menu import Choice
from tui.widgets.rows import Columns, FlexColumn, Rows

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
    FlexColumn("p", 6, align="right", drop=3, key=lambda row: getattr(row, "p", None)),
    FlexColumn("corrected", 9, align="right", drop=2, key=lambda row: getattr(row, "p_corrected", None)),
    FlexColumn("", 13, drop=4),
)


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
