"""What if: the run's gates as rows; arrows move a limit, and below stands which candidates would ship then.

The gates' rules need libraries that have no place in the app's process: `assay show RUN --gate -` answers in
one of its own, a line of limits with the decision under them, as long as the screen is open.
"""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from textual import work
from textual.app import ComposeResult
from textual.content import Content

from engine.decision.decision import Decision
from store.read.history import Connection
from tui.keys import bindings
from tui.screens.base import WORDS, RunScreen
from tui.screens.choosing import run_command
from tui.text.gate import fit, join, one_line, plain, told_apart, wrap
from tui.widgets.lines import Line, Pane
from tui.widgets.rows import Columns, FlexColumn, Rows

Found = Mapping[str, Any]  # a part of what `assay show --gate` prints
LONGEST = 1 << 26  # bytes of an answer
SIDES = {
    "beyond": ("−", "$bad"),
    "missing": ("·", "$muted"),
    "open": ("?", "$warn"),
    "within": ("+", "$good"),
}
COLUMNS = Columns(
    FlexColumn("limit", 6, align="right"),
    FlexColumn("gate", 27),  # the longest name
    FlexColumn("plan", 6, align="right"),
    FlexColumn("against it", 22),
    FlexColumn("about", 20, grow=1, drop=1),
)
FRAME = 4  # heading, two rules, footer
LEAST_EVIDENCE = 4
WORD = 14  # cells


class DecisionProcess:
    """A process that decides the run under each set of limits that it is given."""

    def __init__(self, run_id: int, store: Path) -> None:
        self._command = ("-P", "-m", "assay", "show", str(run_id), "--gate", "-", "--store", str(store))
        self._process: Process | None = None

    async def ask(self, limits: Mapping[str, float | None]) -> dict[str, Any]:
        """The decision under these limits, or {"error": why not}."""
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *self._command, stdin=PIPE, stdout=PIPE, stderr=PIPE, limit=LONGEST
            )
        process = self._process
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        with suppress(ConnectionError):  # its last words say why it has ended
            process.stdin.write(f"{json.dumps(limits)}\n".encode())
            await process.stdin.drain()
        line = await process.stdout.readline()
        if line:
            found: dict[str, Any] = json.loads(line)
            return found
        complaint = (await process.stderr.read()).decode(errors="replace").strip()
        await process.wait()
        self._process = None
        return {"error": complaint.removeprefix("assay: ") or "`assay show` exited without an error message"}

    async def close(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


def written(value: float | None) -> str:
    return "off" if value is None else f"{value:.15g}"


class WhatIfScreen(RunScreen):
    NAME = "What if"
    FOOTER = ("what_if.more", "what_if.off", "what_if.undo", "what_if.save", "what_if.pane")
    BINDINGS = bindings(
        "what_if.more", "what_if.less", "what_if.off", "what_if.undo", "what_if.save", "what_if.pane"
    )
    DEFAULT_CSS = """
    WhatIfScreen #decided { padding: 0 1; border-top: solid $rule; }
    WhatIfScreen #looks { padding: 0 1; border-top: solid $rule; }
    """

    def __init__(self, run_id: int) -> None:
        super().__init__(run_id)
        self._limits: dict[str, float | None] = {}  # those that were moved
        self._found: Found | None = None
        self._complaint = ""
        self._process: DecisionProcess | None = None
        self._asking = self._changed = self._is_to_be_saved = self._shows_diff = False

    def compose(self) -> ComposeResult:
        yield from self.framed(
            Line(id="heading"),
            Rows(self._gate, empty="reading the gates …", id="gates"),
            Pane(id="decided"),
            Pane(focusable=True, id="looks"),
        )

    @property
    def gates(self) -> "Rows[Found]":
        return self.query_one("#gates", Rows)

    def read_run(self, connection: Connection) -> list[Decision]:
        """The decisions as they stand: where they change, what the process has read is old."""
        from engine.decision.decision import cards

        return cards(connection, self.run_id)

    def show_run(self, data: list[Decision]) -> None:
        self.keep_cards(data)
        before, self._process = self._process, None
        if before is not None:
            self.run_worker(before.close())
        self._ask()

    async def on_unmount(self) -> None:
        if self._process is not None:
            await self._process.close()

    # Asking

    def _ask(self) -> None:
        """Asks for the decision; of moves that come meanwhile the last one is asked about next."""
        self._changed = True
        if not self._asking:
            self._asking = True
            self._ask_while_changed()

    @work(group="what if")
    async def _ask_while_changed(self) -> None:
        try:
            while self._changed:
                self._changed = False
                if self._process is None:
                    self._process = DecisionProcess(self.run_id, self.assay.store.folder)
                found = await self._process.ask(self._limits)
                if not self.is_mounted or not self.query("#gates"):
                    return
                self._complaint = str(found.get("error", ""))
                self._found = self._found if self._complaint else found
                self.redraw()
        finally:
            self._asking = False
        if self._is_to_be_saved:
            self.action_save()

    # Showing

    def redraw(self) -> None:
        self.query_one("#heading", Line).set(join(["  ", COLUMNS.heading(self.size.width - 2)]))
        found = self._found
        empty = self._complaint.split("\n")[0] or "reading the gates …"
        self.gates.show(found["gates"] if found else (), empty=empty, key=lambda gate: gate["name"])
        decided = self._decided_lines()
        room = self.size.height - self.top - FRAME
        gates = max(1, min(len(self.gates.items), room // 2))
        below = max(1, min(len(decided), (room - gates) // 2, room - gates - LEAST_EVIDENCE))
        self.gates.styles.height = gates
        self.query_one("#decided").styles.height = below + 1
        self.query_one("#decided", Pane).show(decided)
        self._show_looks()

    def _limit(self, gate: Found) -> float | None:
        limit: float | None = self._limits.get(gate["name"], gate["limit"])
        return limit

    def _gate(self, gate: Found, width: int) -> Content:
        limit, sides = self._limit(gate), [look["side"] for look in gate["looks"]]
        counts = [f"{sign}{sides.count(side)}" for side, (sign, _) in SIDES.items() if side in sides]
        moved = limit != gate["plan"]
        return COLUMNS.row(
            [
                plain(written(limit), "bold $warn" if moved else ""),
                one_line(gate["name"], "bold" if moved else ""),
                plain(written(gate["plan"]), "$muted"),
                plain(" ".join(counts) if limit is not None else ""),
                plain(gate["about"], "$muted"),
            ],
            width,
        )

    def _decided_lines(self) -> list[Content]:
        """A line for each candidate, those whose word has changed first."""
        decided = self._found["decision"] if self._found else []
        ordered = sorted(decided, key=lambda each: each["word"] == each["before"])
        width = self.size.width - 2
        names = told_apart(tuple(each["candidate"] for each in ordered), width // 4)
        cells = max(map(len, names.values()), default=0)
        lines = []
        for each in ordered:
            sign, style = WORDS[each["word"]]
            was = "" if each["word"] == each["before"] else f"was {each['before']}: "
            why = one_line(was + (each["reasons"][0] if each["reasons"] else ""), "" if was else "$muted")
            word = fit(Content.styled(f"{sign} {each['word']}", style), WORD)
            parts = [fit(plain(names[each["candidate"]], "bold"), cells), word]
            lines.append(join([*parts, fit(why, max(0, width - cells - WORD - 4))], "  "))
        return lines

    def _show_looks(self) -> None:
        """The figures that the gate under the cursor looks at; while the plan is written, the difference."""
        if self._shows_diff and self._found is not None:
            self._show_diff(self._found["plan"]["diff"])
            return
        pane, gate, width = self.query_one("#looks", Pane), self.gates.item, self.size.width - 2
        if gate is None:
            pane.show([line for part in self._complaint.split("\n")[1:] for line in wrap(plain(part), width)])
            return
        lines: list[Content] = []
        names = told_apart(tuple(dict.fromkeys(look["candidate"] for look in gate["looks"])), width // 4)
        for look in gate["looks"]:
            sign, style = SIDES[look["side"]]
            more = f"; {look['more']}" if look["more"] else ""
            first, *rest = wrap(one_line(f"{names[look['candidate']]}: {look['said']}{more}"), width - 2)
            lines += [
                join([Content.styled(f"{sign} ", style), first]),
                *(Content("  ") + line for line in rest),
            ]
        nothing = "off" if self._limit(gate) is None else "nothing in this run is held to it"
        pane.show(lines or [plain(f"{gate['about']}: {nothing}", "$muted")], keep_place=False)

    def _show_diff(self, lines: Sequence[str]) -> None:
        styles = {"+": "$good", "-": "$bad", "@": "$muted"}
        self.query_one("#looks", Pane).show([one_line(line, styles.get(line[:1], "")) for line in lines])

    def on_rows_moved(self, event: Rows.Moved) -> None:
        self._show_looks()

    def _close_question(self) -> None:
        super()._close_question()
        if self._shows_diff:
            self._shows_diff = False
            self._show_looks()

    # Moving limits

    def _move(self, gate: Found, limit: float | None) -> None:
        if limit == gate["plan"]:
            self._limits.pop(gate["name"], None)
        else:
            self._limits[gate["name"]] = limit
        self.gates.redraw()
        self._ask()

    def action_step(self, way: int) -> None:
        gate = self.gates.item
        if gate is None:
            return
        limit = self._limit(gate)
        if limit is None:
            self._move(gate, gate["start"])
        else:
            self._move(gate, min(gate["most"], max(0.0, round(limit + way * gate["step"], 6))))

    def action_off(self) -> None:
        gate = self.gates.item
        if gate is None:
            return
        if gate["start"] is None:
            self.say(f"{gate['name']} is always on: a plan has no way to leave it off", error=True)
        else:
            self._move(gate, gate["start"] if self._limit(gate) is None else None)

    def action_undo(self) -> None:
        """The plan's limits."""
        self._limits.clear()
        self.gates.redraw()
        self._ask()

    def action_save(self) -> None:
        """Writes the moved limits into the plan's file, once the person has seen the difference."""
        found = self._found
        self._is_to_be_saved = self._asking  # the key came before what it is about
        if found is None or self._asking:
            return
        plan = found["plan"]
        if self.assay.store.read_only:
            self.say("opened for reading alone: no plan is written", error=True)
        elif self._complaint:
            self.say(self._complaint.split("\n")[0], error=True)
        elif plan["reason"]:
            self.say(str(plan["reason"]), error=True)
        elif not plan["diff"]:
            self.say("no limit differs from the plan's file", error=True)
        else:
            self._shows_diff = False
            limits = [f"--gate={name}={written(value)}" for name, value in self._limits.items()]
            self.confirm(f"Write this into {plan['file']}?", lambda: self._write_plan(limits, plan["file"]))
            self._shows_diff = True
            self._show_diff(plan["diff"])

    def _write_plan(self, limits: Sequence[str], file: str) -> None:
        self._write_into(limits, file)

    @work(group="write")
    async def _write_into(self, limits: Sequence[str], file: str) -> None:
        store = self.assay.store.folder
        ended = await run_command("show", str(self.run_id), *limits, "--write", store=store)
        if ended.code:
            self.say(ended.complaint.split("\n")[0], error=True)
        else:
            self.say(f"wrote {file}: its next run has these limits")
            self._ask()
