"""Alerts: what tripped, how badly, the numbers behind it, and the examples behind those."""

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from textual import work
from textual.app import ComposeResult
from textual.content import Content

from store.people import user_name
from store.read.query import matches
from store.records.alert import figure_of, kind_of
from tui.keys import bindings, written
from tui.screens.base import RunScreen, beside
from tui.screens.choosing import FilteredScreen
from tui.screens.watch import StoreFailed
from tui.text.gate import cut, join, number, one_line, plain, signed, wrap
from tui.widgets.lines import Pane
from tui.widgets.rows import Columns, FlexColumn, Rows

if TYPE_CHECKING:
    from store.read.history import Connection
    from store.read.rows import AlertRow
    from store.records.alert import Evidence
    from tui.sections.alerts import AlertExample

SEVERITY = {
    "critical": Content.styled("!! critical", "bold $bad"),
    "warning": Content.styled("!  warning", "$warn"),
    "note": Content.styled("·  note", "$muted"),
}
COLUMNS = Columns(
    FlexColumn("severity", 11, key=lambda alert: tuple(SEVERITY).index(alert.severity)),
    FlexColumn("candidate", 10, grow=1, key=lambda alert: alert.candidate),
    FlexColumn("against", 8, grow=1, key=lambda alert: alert.baseline),
    FlexColumn("what", 17, grow=1, key=lambda alert: _what(alert)),
    FlexColumn("message", 22, grow=4, key=lambda alert: alert.message),
)
_DIGITS = {"value": 3, "share": 3, "count": 0}
_OTHERS = {
    "n": "n",
    "p": "p",
    "p_corrected": "p corrected (Holm)",
    "smallest_detectable": "min. detectable",
    "needed": "examples needed, about",
}


class AlertsScreen(FilteredScreen, RunScreen):
    NAME = "Alerts"
    FOOTER = ("move.open", "alerts.acknowledge", "alerts.all", "find.filter")
    BINDINGS = bindings("alerts.acknowledge", "alerts.all", "find.filter")
    DEFAULT_CSS = """
    AlertsScreen #evidence { height: 10; padding: 0 1; border-top: solid $rule; }
    """

    def __init__(self, run_id: int) -> None:
        super().__init__(run_id)
        self._all_runs = False
        self._alerts: list[AlertRow] = []
        self._advice: dict[int, str] = {}  # by the alert's id
        self._examples: dict[int, list[AlertExample]] = {}  # behind the alerts that were seen
        self._about = ""  # the candidate in hand when its alerts were last gone to

    def compose(self) -> ComposeResult:
        rows = Rows(self._row, empty="no alerts", columns=COLUMNS, id="alerts")
        yield from self.framed(beside(rows, Pane(focusable=True, id="evidence")))

    @property
    def rows(self) -> "Rows[AlertRow]":
        return self.query_one("#alerts", Rows)

    def read_run(self, connection: "Connection") -> "tuple[list[AlertRow], dict[int, str]]":
        from store.read import history
        from tui.sections.alerts import advised

        found = history.alerts(connection, None if self._all_runs else self.run_id)
        return found, advised(connection, found)

    def show_run(self, data: "tuple[list[AlertRow], dict[int, str]]") -> None:
        self._alerts, self._advice = data
        self._examples.clear()
        self.filtered()

    def filtered(self) -> None:
        whose = "any run" if self._all_runs else "this run: no gate or check tripped"
        empty = "no alert holds these words" if self._search else f"no alerts in {whose}"
        found = [alert for alert in self._alerts if matches(self._search, _searched(alert))]
        self.rows.show(found, key=lambda alert: alert.id, empty=empty)
        self._go_to_candidate()
        self.redraw()

    def _go_to_candidate(self) -> None:
        """Puts the cursor on the first alert of the candidate that was taken in hand."""
        if not self.hand.is_taken or self.hand.candidate == self._about:
            return
        self._about = self.hand.candidate
        of = [(alert.run_id, alert.candidate) for alert in self.rows.items]
        if (self.run_id, self._about) in of:
            self.rows.go_to(of.index((self.run_id, self._about)))

    def _row(self, alert: "AlertRow", width: int) -> Content:
        severity = SEVERITY[alert.severity]
        if alert.acknowledged is not None:
            severity = Content.styled("✓ seen", "$muted")
        names = partial(self.short, alert.candidate), partial(self.short, alert.baseline or "")
        return COLUMNS.row([severity, *names, _what(alert), alert.message], width)

    def on_rows_moved(self, event: "Rows.Moved") -> None:
        self.redraw()

    def redraw(self) -> None:
        alert = self.rows.item
        lines = (
            evidence(alert, self._advice.get(alert.id, ""), self.beside_cells) if alert is not None else []
        )
        if alert is not None and self.is_wide:
            for example in self._examples.get(alert.id, ()):
                lines += example_lines(example, self.beside_cells)
            if alert.id not in self._examples:
                self._read_examples(alert)
        self.query_one("#evidence", Pane).show(lines, keep_place=False)

    @work(group="examples", exclusive=True)
    async def _read_examples(self, alert: "AlertRow") -> None:
        from tui.sections.alerts import behind

        with suppress(StoreFailed):  # what failed is said when the screen itself is read
            self._examples[alert.id] = await self.assay.store.ask(behind, alert)
            if self.rows.item is alert and self._examples[alert.id]:
                self.redraw()

    def action_all_runs(self) -> None:
        self._all_runs = not self._all_runs
        self.reload()

    def action_acknowledge(self) -> None:
        from store.reviewing import acknowledge

        alert = self.rows.item
        if alert is None:
            self.say("there is no alert under the cursor", error=True)
            return
        person = user_name()
        self.ask(
            f"Note, as {cut(person, 20)}",
            lambda note: self.write(acknowledge, alert.id, person, note.strip(), done="acknowledged"),
            value=alert.note or "",
        )

    def on_rows_opened(self, event: "Rows.Opened") -> None:
        alert = self.rows.item
        if alert is not None:
            self._open_examples(alert)

    def _open_examples(self, alert: "AlertRow") -> None:
        """Opens what the alert rests on: benchmark questions, leaks, or the answers that did worst."""
        from tui.screens import load

        if alert.run_id == self.run_id and alert.candidate in self.names("candidate"):
            self.hand.take(alert.candidate)
            self._about = alert.candidate
        opens = kind_of(alert.kind).opens
        if opens == "benchmark questions" and alert.baseline is not None:
            from tui.screens.compare.samples import SamplesScreen

            # A benchmark's measure is named "task · metric".
            task = alert.measure.partition(" · ")[0]
            self.app.push_screen(SamplesScreen(alert.run_id, alert.candidate, alert.baseline, task))
        elif opens == "leaks":
            self.app.push_screen(load("splits")(alert.run_id))
        elif opens == "agreement":
            self.app.push_screen(load("agreement")(alert.run_id))
        else:
            review: Any = load("review")
            lost = "losses" if getattr(alert.evidence, "losses", None) else "all"
            show = {"lost answers": lost, "missing answers": "missing"}.get(opens, "all")
            by = alert.measure if opens == "worst answers" else None
            self.app.push_screen(
                review(alert.run_id, alert.candidate, alert.baseline, show=show, worst_by=by)
            )


def _searched(alert: "AlertRow") -> dict[str, str]:
    return {
        "severity": alert.severity,
        "candidate": alert.candidate,
        "against": alert.baseline or "",
        "what": f"{alert.measure} {_what(alert)}",
        "message": alert.message,
    }


def _what(alert: "AlertRow") -> str:
    return _measure(alert) or kind_of(alert.kind).label


def _measure(alert: "AlertRow") -> str:
    """What was measured, where the alert's kind does not say it already."""
    return "" if alert.measure == alert.kind else alert.measure


def evidence(alert: "AlertRow", advice: str, width: int) -> list[Content]:
    """All that is known about an alert, and what to do about it, as lines."""
    against = join([" against ", one_line(alert.baseline)]) if alert.baseline else Content("")
    about = join(
        [
            SEVERITY[alert.severity],
            f"  {kind_of(alert.kind).label}: ",
            one_line(alert.candidate, "bold"),
            against,
            one_line(f"  {_measure(alert)}  in {alert.run_name} #{alert.run_id}", "$muted"),
        ]
    )
    lines = [*wrap(about, width), *wrap(plain(alert.message), width)]
    lines += _figures(alert)
    lines += wrap(plain(f"→ {advice}"), width) if advice else []
    if examples := getattr(alert.evidence, "example_ids", ()):
        lines.append(one_line(f"examples: {', '.join(examples)}", "$muted"))
    if alert.acknowledged is not None:
        when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(alert.acknowledged))
        again = " in an earlier run" if alert.follows is not None else ""
        who = f"seen by {alert.acknowledged_by}{again} on {when} UTC"
        who += f": {alert.note}" if alert.note else ""
        lines += wrap(plain(who, "$muted"), width)
    else:
        lines.append(Content.styled(f"not acknowledged yet: press {written('alerts.acknowledge')}", "$muted"))
    return lines


def example_lines(example: "AlertExample", width: int) -> list[Content]:
    """One example behind an alert: the question, what was expected, and what the models answered."""
    about = join([one_line(example.name, "bold"), one_line(f"  {example.remark}", "$muted")])
    texts = [("question", example.question), ("expected", example.expected), *example.answers]
    lines = [Content(""), *wrap(about, width)]
    for name, text in texts:
        if text:
            lines += [
                one_line(name, "$heading"),
                *(Content("  ") + line for line in wrap(plain(text), width - 2)),
            ]
    return lines


def _figures(alert: "AlertRow") -> list[Content]:
    found, kind = alert.evidence, kind_of(alert.kind)
    figure, lines = figure_of(kind, found), []
    if getattr(found, "candidate_value", None) is not None:
        ours, theirs = number(_of(found, "candidate_value")), number(_of(found, "baseline_value"))
        delta = f"{signed(_of(found, 'delta'))}{_interval(found, signed)}"
        lines.append(Content(f"candidate {ours} · baseline {theirs} · delta {delta}"))
    elif figure is not None:
        written = signed if kind.format == "difference" else partial(number, digits=_DIGITS[kind.format])
        counts = [
            f"{count} {name}"
            for name in ("wins", "losses", "ties", "failed")
            if (count := _of(found, name)) is not None
        ]
        said = f"{kind.figure_label} {written(figure)}{_interval(found, written)}"
        lines.append(plain(" · ".join([said, *counts])))
    rest = [
        f"{said} {number(value, 4) if isinstance(value, float) else value}"
        for name, said in _OTHERS.items()
        if (value := _of(found, name)) is not None
    ]
    return [*lines, plain(" · ".join(rest))] if rest else lines


def _of(found: "Evidence", name: str) -> Any:
    """A figure of the evidence; None where its kind has none of this name."""
    return getattr(found, name, None)


def _interval(found: "Evidence", written: Callable[[float | None], str]) -> str:
    low, high = _of(found, "low"), _of(found, "high")
    return "" if low is None or high is None else f" [{written(low)}, {written(high)}]"
