"""Agreement: can the judge be believed? Its verdicts against people's, and its win rate corrected by theirs.

The figures need libraries that have no place in the app's process: `assay agreement --json` works them out in
one of its own, and they are kept until somebody says something new.
"""

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from textual import work
from textual.app import ComposeResult
from textual.content import Content
from textual.events import Resize

from tui.keys import bindings, written
from tui.screens.agreement.lines import (
    Confused,
    confused,
    confusion_heading,
    draw,
    figures,
    match_line,
    misread,
)
from tui.screens.base import RunScreen
from tui.screens.process import assay
from tui.text.gate import plain, wrap
from tui.widgets.lines import Line, Pane
from tui.widgets.rows import Rows

if TYPE_CHECKING:
    from store.read.history import Connection
    from store.read.rows import WinRateRow

KEPT = 8  # runs whose figures are kept
LEAST_ROWS = 4  # lines of the confusion table, at least
_kept: "dict[tuple[str, Basis], dict[str, Any]]" = {}


class Basis(NamedTuple):
    """What the figures rest on: as long as it is the same, so are they."""

    run_id: int
    labels: int  # what people said of the run that the figures use
    newest: int  # its newest annotation, takings back included
    verdicts: int
    plan: str


class Read(NamedTuple):
    basis: Basis
    rates: "list[WinRateRow]"


class AgreementScreen(RunScreen):
    """One judge on one match at a time; enter opens the answers on which people and judge differ."""

    NAME = "Agreement"
    FOOTER = ("agreement.open", "agreement.next", "agreement.label", "agreement.pane")
    BINDINGS = bindings(
        "agreement.next", "agreement.previous", "agreement.label", "agreement.pane", "agreement.open"
    )
    DEFAULT_CSS = """
    AgreementScreen #match { background: $panel; padding: 0 1; }
    AgreementScreen #figures { padding: 0 1; }
    AgreementScreen #heading { border-top: solid $rule; height: 2; }
    """

    def __init__(self, run_id: int) -> None:
        super().__init__(run_id)
        self._read: Read | None = None
        self._found: dict[str, Any] | None = None
        self._place = 0
        self._computing = False

    def compose(self) -> ComposeResult:
        yield from self.framed(
            Line(id="match"),
            Pane(focusable=True, id="figures"),
            Line(id="heading"),
            Rows(draw, empty="", id="confusion"),
        )

    @property
    def table(self) -> "Rows[Confused]":
        return self.query_one("#confusion", Rows)

    # Reading and working out

    def read_run(self, connection: "Connection") -> Read:
        from store.read import history
        from store.read.labels import basis

        return Read(
            Basis(self.run_id, *basis(connection, self.run_id), history.run(connection, self.run_id).plan),
            history.win_rates(connection, self.run_id),
        )

    def show_run(self, data: Read) -> None:
        self._read = data
        if not data.basis.labels:
            self._say_how()
            return
        self._found = self._kept_for(data.basis) or self._found
        if self._found is None:
            self._explain("computing …")
        else:
            self._draw()
        if self._kept_for(data.basis) is None and not self._computing:
            self._computing = True
            self._compute()

    def _kept_for(self, basis: Basis) -> dict[str, Any] | None:
        return _kept.get((str(self.assay.store.folder), basis))

    @work(group="agreement")
    async def _compute(self) -> None:
        """Works the figures out, and again if people said more meanwhile."""
        folder = self.assay.store.folder
        # Opened for reading alone, the app leaves the alerts that follow from the figures to the command.
        alerts = ("--keep-alerts",) if self.assay.store.read_only else ()
        try:
            while self._read is not None and self._kept_for(self._read.basis) is None:
                basis = self._read.basis
                ended = await assay(folder, "agreement", str(self.run_id), "--json", *alerts)
                if ended.code not in (0, 1):  # 1: an alert is critical
                    self._explain(ended.errors.strip() or "`assay agreement` ended without a word")
                    return
                while len(_kept) >= KEPT:
                    del _kept[next(iter(_kept))]
                self._found = _kept[str(folder), basis] = json.loads(ended.out)
                self._draw()
        finally:
            self._computing = False

    # Showing

    def on_resize(self, event: Resize) -> None:
        super().on_resize(event)
        self._draw()

    def _say_how(self) -> None:
        label = written("agreement.label")
        self._explain(
            "Nobody has said yet which answers of this run are better.\n\n"
            f"{label} opens Review on the queue “random”: examples drawn by chance. Say there which answer "
            "is better: what people say of them shows how far the judges can be believed, and corrects their "
            f"win rates. Any other queue of Review ({written('go.review')}) counts towards agreement alone."
        )

    def _explain(self, text: str) -> None:
        if not self.is_mounted:
            return
        width = self.size.width - 4
        lines = [line for part in text.split("\n") for line in wrap(plain(part), width)]
        self.query_one("#match", Line).set(Content(""))
        self.query_one("#heading", Line).display = False
        pane = self.query_one("#figures", Pane)
        pane.styles.height = "1fr"
        pane.show(lines, keep_place=False)
        self.table.display = False

    def _draw(self) -> None:
        if self._found is None or self._read is None or not self.is_mounted:
            return
        matches, width = self._found["matches"], self.size.width - 2
        worst = misread(self._found["criteria"], width)
        pane, table, heading = self.query_one("#figures", Pane), self.table, self.query_one("#heading", Line)
        table.display = heading.display = bool(matches)
        if not matches:
            pane.show(worst)
            return
        self._place %= len(matches)
        match = matches[self._place]
        self.query_one("#match", Line).set(match_line(match, self._place, len(matches)))
        sides = match["judge"], match["candidate"], match["baseline"]
        rates = {(row.judge, row.candidate, row.baseline): row for row in self._read.rates}
        lines = [*figures(match, rates.get(sides), width), *worst]
        rows = confused(match)
        room = self.size.height - 5  # beside title, match, the table's heading and footer
        pane.styles.height = min(len(lines), room - min(len(rows), LEAST_ROWS))
        pane.show(lines)
        heading.set(confusion_heading(width))
        table.show(rows, key=lambda row: (row.category, row.people))

    # Keys

    def action_match(self, step: int) -> None:
        self._place += step
        self._draw()

    def action_label(self) -> None:
        self._review("random")

    def action_open(self) -> None:
        """From the figures to the table."""
        if self.table.display:
            self.set_focus(self.table)

    def on_rows_opened(self, event: Rows.Opened) -> None:
        row: Confused | None = event.rows.item
        if row is None:
            return
        if not row.differ:
            self.say("people and the judge agree on all of these")
            return
        self._review("human", row.category)

    def _review(self, queue: str, search: str = "") -> None:
        from tui.screens.review.screen import ReviewScreen

        matches = self._found["matches"] if self._found is not None else []
        match = matches[self._place % len(matches)] if matches else {"candidate": None, "baseline": None}
        judge = match["judge"] if queue == "human" else None
        sides = match["candidate"], match["baseline"]
        self.app.push_screen(ReviewScreen(self.run_id, *sides, show=queue, search=search, judge=judge))
