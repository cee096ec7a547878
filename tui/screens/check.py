"""Check: what stands in the way of a plan, and the key that starts it where nothing does."""

from pathlib import Path
from typing import Any

from textual import work
from textual.app import ComposeResult
from textual.content import Content
from textual.events import Resize

from tui.keys import bindings, written
from tui.screens.asking import ask_command
from tui.screens.base import AssayScreen
from tui.text.gate import join, plain, wrap
from tui.widgets.lines import Line, Pane

MARKS = {
    "error": Content.styled("✗ error  ", "$bad"),
    "warning": Content.styled("~ warning", "$warn"),
    "ok": Content.styled("✓ ok     ", "$good"),
}
INDENT = 11


class CheckScreen(AssayScreen):
    """Asked to start before the check is done, it starts as soon as that finds nothing wrong."""

    NAME = "Check"
    FOOTER = ("check.start", "check.again")
    BINDINGS = bindings("check.start", "check.again")
    DEFAULT_CSS = """
    CheckScreen #verdict { padding: 0 1; margin: 1 0; }
    CheckScreen #findings { padding: 0 1; }
    """

    def __init__(self, plan: Path) -> None:
        super().__init__()
        self._plan = plan
        self._findings: list[dict[str, Any]] = []
        self._complaint = ""
        self._can_run: bool | None = None
        self._wanted = False

    def compose(self) -> ComposeResult:
        yield from self.framed(Line(id="verdict"), Pane(focusable=True, id="findings"))

    def title_line(self) -> Content:
        return join([self.NAME, plain(str(self._plan), "bold")], "  ")

    def on_mount(self) -> None:
        super().on_mount()
        self.action_again()

    def on_resize(self, event: Resize) -> None:
        super().on_resize(event)
        self._show()

    def action_again(self) -> None:
        """Checks anew: the plan may have been edited in between."""
        self._can_run, self._findings, self._complaint = None, [], ""
        self._show()
        self._check()

    def action_start(self) -> None:
        if self._can_run:
            self.assay.go("runs")
            self.assay.control.start(str(self._plan))
        elif self._can_run is None:
            self._wanted = True
            self._show()
        else:
            self.say(f"mend the plan first; {written('check.again')} checks it again", error=True)

    @work(group="check", exclusive=True)
    async def _check(self) -> None:
        answer = await ask_command(
            "check", str(self._plan), "--json", "--store", str(self.assay.store.folder)
        )
        found = answer.table
        self._findings = found["findings"] if found is not None else []
        self._complaint = answer.complaint if found is None else ""
        self._can_run = answer.code == 0
        if self._can_run and self._wanted and self.is_current:
            self.action_start()
            return
        self._wanted = False
        self._show()

    def _show(self) -> None:
        if not self.query("#findings"):  # a key typed ahead comes before the screen's parts do
            return
        self.query_one("#verdict", Line).set(self._verdict())
        width = self.size.width - 2
        lines = [line for part in self._complaint.splitlines() for line in wrap(plain(part), width)]
        for finding in sorted(self._findings, key=lambda finding: list(MARKS).index(finding["level"])):
            lines += _finding_lines(finding, width)
        self.query_one("#findings", Pane).show(lines)

    def _verdict(self) -> Content:
        if self._can_run is None:
            then = ", then starting it" if self._wanted else ""
            return Content.styled(f"checking the plan{then} …", "$muted")
        if not self._can_run:
            return Content.styled("✗ this plan cannot run yet", "$bad")
        warnings = sum(finding["level"] == "warning" for finding in self._findings)
        said = f", with {warnings} warning{'' if warnings == 1 else 's'}" if warnings else ""
        key = Content.styled(written("check.start"), "$key")
        return join([Content.styled(f"✓ this plan can run{said}", "$good"), "  ", key, " starts it"])


def _finding_lines(finding: dict[str, Any], width: int) -> list[Content]:
    text = wrap(plain(f"{finding['subject']}: {finding['message']}"), width - INDENT)
    lines = [
        join([MARKS[finding["level"]] if place == 0 else " " * 9, line], "  ")
        for place, line in enumerate(text)
    ]
    if finding["hint"] and finding["level"] != "ok":
        lines += [
            join([" " * INDENT, line]) for line in wrap(plain(finding["hint"], "$muted"), width - INDENT)
        ]
    return lines
