"""Proposals: what production or a model offers the eval set, each with its reason, for a person to decide."""

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from textual import work
from textual.app import ComposeResult
from textual.content import Content

from store.read.query import matches
from tui.keys import bindings, written
from tui.screens.base import beside
from tui.screens.choosing import CommandResult, FilteredScreen, run_command
from tui.text.gate import counted, fit, join, number, one_line, plain, wrap
from tui.widgets.lines import Pane
from tui.widgets.rows import Columns, FlexColumn, Rows

if TYPE_CHECKING:
    from store.read.history import Connection
    from store.records import EvalProposal

ORIGINS = {
    "correction": Content.styled("± correction", "$good"),
    "cluster": Content.styled("? uncovered", "$text"),
    "thumbs": Content.styled("− thumbs down", "$warn"),
    "synthetic": Content.styled("~ synthetic", "$text"),
}
DECISIONS = {
    "accepted": Content.styled("✓ in the eval set", "$good"),
    "training": Content.styled("✓ for training", "$good"),
    "rejected": Content.styled("✗ rejected", "$muted"),
}
COLUMNS = Columns(
    FlexColumn("from", 17, key=lambda each: (each.decision or "", each.origin)),
    FlexColumn("question", 24, grow=3, key=lambda each: _question(each)),
    FlexColumn("nearest", 12, grow=1, drop=1, key=lambda each: each.nearest),
    FlexColumn("alike", 5, align="right", drop=2, key=lambda each: each.similarity),
)
UNDO = ("undo",)
LONGEST = 100_000  # bytes that a command line takes
_DONE = {"accept": "accepted", "reject": "rejected", "undo": "open again"}


class ProposalList(NamedTuple):
    """All proposals, and the questions of the examples that are nearest to them, by eval set and id."""

    proposals: "list[EvalProposal]"
    nearest: dict[tuple[str, str], str]


class ProposalsScreen(FilteredScreen):
    NAME = "Proposals"
    FILTER = "filter proposals"
    FOOTER = (
        *("proposals.accept", "proposals.reject", "proposals.training", "proposals.edit"),
        *("proposals.undo", "proposals.all", "find.filter"),
    )
    BINDINGS = bindings(*FOOTER, "proposals.question")
    DEFAULT_CSS = """
    ProposalsScreen #about { height: 2fr; padding: 0 1; border-top: solid $rule; }
    ProposalsScreen #proposals { height: 1fr; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._found = ProposalList([], {})
        self._all = False
        self._waiting: list[tuple[tuple[str, ...], int]] = []  # decisions on their way: words and number
        self._made: list[int] = []  # the proposals decided here, the last at the end

    def compose(self) -> ComposeResult:
        rows = Rows(self._row, empty="", columns=COLUMNS, id="proposals")
        yield from self.framed(beside(rows, Pane(focusable=True, id="about")))

    @property
    def rows(self) -> "Rows[EvalProposal]":
        return self.query_one("#proposals", Rows)

    # Reading and showing

    def read(self, connection: "Connection") -> ProposalList:
        from store.read.traffic import nearest_questions, proposals

        return ProposalList(proposals(connection), nearest_questions(connection))

    def show(self, data: ProposalList) -> None:
        self._found = data
        self.filtered()
        self.refresh_title()

    def show_nothing(self) -> None:
        self.filtered()

    def title_line(self) -> Content:
        waiting = [each for each in self._found.proposals if each.decision is None]
        files = dict.fromkeys(Path(each.eval_set).name for each in waiting)
        told = f"{len(waiting):,} open" + (f" for {', '.join(files)}" if files else "")
        return plain(told, "$muted")

    def filtered(self) -> None:
        sent = {number for words, number in self._waiting if words != UNDO}
        found = [
            each
            for each in self._found.proposals
            if (self._all or each.decision is None)
            and each.id not in sent
            and matches(self._search, _searched(each))
        ]
        empty = "no proposal holds these words"
        if not self._search:
            empty = "nothing to decide: `assay traffic propose EVAL` looks for proposals in the traffic"
        self.rows.show(found, key=lambda each: each.id, empty=empty)
        self.redraw()

    def _row(self, each: "EvalProposal", width: int) -> Content:
        origin = ORIGINS[each.origin] if each.decision is None else DECISIONS[each.decision]
        alike = "" if each.similarity is None else number(each.similarity, 2)
        return COLUMNS.row([origin, _question(each), each.nearest or "", alike], width)

    def on_rows_moved(self, event: "Rows.Moved") -> None:
        self.redraw()

    def redraw(self) -> None:
        each = self.rows.item
        lines = [] if each is None else self._about(each, self.beside_cells)
        self.query_one("#about", Pane).show(lines, keep_place=False)

    def _about(self, each: "EvalProposal", width: int) -> list[Content]:
        """All that is known of a proposal: why, what is nearest, the conversation, and the correction."""
        head = join([ORIGINS[each.origin], plain(f"  #{each.id} for {Path(each.eval_set).name}", "$muted")])
        if each.decision is not None:
            head = join([head, "  ", DECISIONS[each.decision], plain(f" by {each.by}", "$muted")])
        lines = [fit(head, width), *wrap(plain(each.why), width)]
        if each.personal:
            lines += wrap(plain(f"masked: {', '.join(each.personal)}", "$warn"), width)
        lines += self._nearest(each, width)
        for turn in each.messages:
            lines += _text(str(turn.get("role")), str(turn.get("content") or ""), width)
        if each.synthetic is not None:
            return [*lines, *_provenance(each, each.synthetic, width)]
        if each.reference is None:
            lines += _text("answer", each.rejected or "none", width)
            lines += wrap(plain(f"no reference yet: {written('proposals.edit')} writes one", "$muted"), width)
        else:
            lines += [Content.styled("answer − and its correction +", "$heading")]
            lines += _changed(each.rejected or "", each.reference, width)
        return lines

    def _nearest(self, each: "EvalProposal", width: int) -> list[Content]:
        if each.nearest is None:
            return [Content.styled("nothing like it in the eval set", "$muted")]
        alike = "" if each.similarity is None else f", {number(each.similarity, 2)} alike"
        head = one_line(f"nearest in the eval set: {each.nearest}{alike}", "$muted")
        asked = self._found.nearest.get((each.eval_set, each.nearest))
        return [head, *wrap(plain(asked, "$muted"), width)] if asked else [head]

    # Deciding

    def action_decide(self, command: str, option: str = "") -> None:
        """Sends a decision on its way; the next can be made at once."""
        words = (command, option) if option else (command,)
        each = self.rows.item
        if self._is_refused() or each is None:
            return
        if each.decision is not None:
            self.say(
                f"decided already: {written('proposals.undo')} takes your last decision back", error=True
            )
        elif "--training" in words and each.reference is None:
            self.say(f"no correction to train on: {written('proposals.edit')} writes one", error=True)
        else:
            self._made.append(each.id)
            self._send(words, each.id)

    def _send(self, words: tuple[str, ...], number: int) -> None:
        is_first = not self._waiting
        self._waiting.append((words, number))
        self.filtered()
        if is_first:
            self._carry_out()

    @work(group="decide")
    async def _carry_out(self) -> None:
        """Carries out what waits, one command at a time: each writes the next version of the eval set."""
        while self._waiting:
            words = self._waiting[0][0]
            _, alike = next(groupby(self._waiting, key=itemgetter(0)))
            numbers = [number for _, number in alike]
            done = await self._decided(words, numbers)
            if done.code and len(numbers) > 1:  # one of them cannot be: each by itself tells which
                numbers = numbers[:1]
                done = await self._decided(words, numbers)
            del self._waiting[: len(numbers)]
            self.assay.store.touched()
            self.reload()
            if not self.is_mounted:
                return
            if done.code:
                self._made = [number for number in self._made if number not in numbers]
                self._complain(words, numbers[0], done.complaint)
            else:
                self.say(_said(done.table or {}, words))
        self.filtered()

    async def _decided(self, words: tuple[str, ...], numbers: Sequence[int]) -> CommandResult:
        named = map(str, numbers)
        return await run_command(
            "traffic", words[0], *named, *words[1:], "--json", store=self.assay.store.folder
        )

    def _complain(self, words: tuple[str, ...], number: int, complaint: str) -> None:
        """Says why a decision was refused; into a used test split a person may still accept it."""
        if "--into-test" in complaint:
            asked = f"{complaint.splitlines()[0]}. Accept it into the test split?"
            self.confirm(asked, lambda: self._send((*words, "--into-test"), number))
        else:
            self.say(complaint.splitlines()[0], error=True)

    async def action_undo(self) -> None:
        """Takes back the last decision made here, else the person's last one."""
        if self._is_refused():
            return
        if self._made:
            self._send(UNDO, self._made.pop())
        else:
            await self._run("traffic", "undo", done="your last decision is taken back")

    async def action_edit(self, part: str = "reference") -> None:
        """The right answer or the question, written in the person's own editor."""
        from tui.screens.review.aside import edited

        each = self.rows.item
        if self._is_refused() or each is None:
            return
        if each.decision is not None:
            self.say(f"it is {each.decision}: {written('proposals.undo')} takes that back", error=True)
            return
        if part == "question" and each.synthetic is None:
            self.say("somebody asked it: its question stays as it is", error=True)
            return
        asked = str(each.messages[-1].get("content") or "")
        found = edited(self.app, asked if part == "question" else each.reference or each.rejected or "")
        if found.text is None:
            kept = f"kept in {found.kept}: " if found.kept else ""
            self.say(f"{kept}{found.reason}", error=bool(found.kept))
        elif "\0" in found.text or len(found.text.encode()) > LONGEST:
            self.say(f"too long, or with a NUL character: kept in {found.kept}", error=True)
        elif await self._run("traffic", "edit", str(each.id), f"--{part}={found.text}", done="recorded"):
            found.discard()
        else:
            self.say(f"not recorded; it is kept in {found.kept}", error=True)

    async def _run(self, *words: str, done: str) -> bool:
        result = await run_command(*words, store=self.assay.store.folder)
        self.assay.store.touched()
        self.reload()
        self.say(result.complaint.splitlines()[0] if result.code else done, error=bool(result.code))
        return not result.code

    def action_all(self) -> None:
        self._all = not self._all
        self.filtered()
        self.say("all proposals" if self._all else "open proposals")

    def _is_refused(self) -> bool:
        if self.assay.store.read_only:
            self.say("opened with --read-only: nothing is written", error=True)
        return self.assay.store.read_only


def _said(told: dict[str, object], words: Sequence[str]) -> str:
    """What came of a decision: the file that was written."""
    done = "for training" if "--training" in words else _DONE[words[0]]
    files = told.get("files")
    for file in files if isinstance(files, list) else ():
        if file["file"]:
            name, new, written = Path(file["file"]).name, file["added"], file["synthetic"]
            which = {0: "from traffic", new: "synthetic"}.get(written, f"accepted, {written:,} synthetic")
            return f"{done}: {name} has {counted(new, 'example')} {which}"
    return done


def _question(each: "EvalProposal") -> str:
    asked = [str(turn.get("content")) for turn in each.messages if turn.get("role") == "user"]
    return " ".join(asked[-1].split()) if asked else ""


def _searched(each: "EvalProposal") -> dict[str, str]:
    return {
        "from": each.origin,
        "question": json.dumps(each.messages, ensure_ascii=False),
        "why": each.why,
        "answer": f"{each.reference or ''} {each.rejected or ''}",
        "nearest": each.nearest or "",
        "set": Path(each.eval_set).name,
        "source": str((each.synthetic or {}).get("source", "")),
    }


def _text(name: str, text: str, width: int) -> list[Content]:
    return [one_line(name, "$heading"), *wrap(plain(text), width)]


def _provenance(each: "EvalProposal", about: Mapping[str, Any], width: int) -> list[Content]:
    """The answer that a model wrote with its question, and how both came about."""
    lines = _text("reference", each.reference or "none", width)
    for name in ("quote", "prompt"):
        if told := about.get(name):
            lines += _text(name, str(told), width)
    facts = [name for name in ("model", "server", "source", "way", "rubric", "rule", "seed") if name in about]
    said = " · ".join(f"{name} {about[name]}" for name in facts)
    edited = [one_line("a person edited it", "$muted")] if about.get("edited") else []
    return [*lines, *wrap(plain(said, "$muted"), width), *edited]


def _changed(before: str, after: str, width: int) -> list[Content]:
    """Both texts in one column, with what differs marked."""
    from tui.text.diff import diff
    from tui.text.side_by_side import unified

    return [
        join(plain(part.text, part.style) for part in row) for (row,) in unified(diff(before, after), width)
    ]
