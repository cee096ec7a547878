"""Agreement: can the judge be believed? Its verdicts against people's, and its win rate corrected by theirs.

The figures need libraries that have no place in the app's process: `assay agreement --json` works them out in
one of its own, and they are kept until somebody says something new.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from textual import work
from textual.app import ComposeResult
from textual.content import Content

from store.read.rows import WinRateRow
from tui.keys import bindings, written
from tui.screens.base import RunScreen
from tui.screens.choosing import run_command
from tui.sections.judging import FIGURES, GRADES, OUTCOMES, gate_in_words
from tui.text.gate import MISSING, cut, fit, join, one_line, percent, plain, wrap
from tui.widgets.lines import Line, Pane
from tui.widgets.plot import band, key
from tui.widgets.rows import Rows

if TYPE_CHECKING:
    from store.read.history import Connection
    from store.read.rows import WinRateRow

TITLE, CELLS = 20, 21  # of the figures' names, and of each column of them
BAND = 60
CELL = 13  # of the confusion table

Found = Mapping[str, Any]  # a part of what `assay agreement --json` prints


class Confused(NamedTuple):
    """What the judge said where people said one outcome; of all categories where `category` is ""."""

    category: str
    people: str
    judge: tuple[int, ...]  # by OUTCOMES

    @property
    def differ(self) -> int:
        return sum(self.judge) - self.judge[OUTCOMES.index(self.people)]


def heading(text: str) -> Content:
    return Content.styled(text, "$heading")


def match_line(match: Found, place: int, count: int) -> Content:
    """Which judge and match is shown, and who labelled it."""
    who = ", ".join(match["annotators"])
    return join(
        [
            plain(cut(match["judge"], 24), "bold"),
            "  ",
            one_line(f"{cut(match['candidate'], 16)} against {cut(match['baseline'], 16)}"),
            Content.styled(f"  {place + 1} of {count}  " if count > 1 else "  ", "$muted"),
            one_line(f"labels by {who}", "$muted"),
        ]
    )


def figures(match: Found, rate: WinRateRow | None, width: int) -> list[Content]:
    """Agreement first, then the three win rates on one scale, then what is missing and why."""
    raters = {"judge and people": match} | match["between_people"]
    shown = dict(list(raters.items())[: max(1, (width - TITLE) // (CELLS + 1))])
    more = len(raters) - len(shown)
    heads = [heading(fit(names, CELLS, "right").plain) for names in shown]
    lines = [join([heading("agreement".ljust(TITLE)), *heads], " ")]
    pairs = [fit(f"{item['pairs']:,}", CELLS, "right") for item in shown.values()]
    lines.append(join([fit("pairs", TITLE), *pairs], " "))
    for name, title in FIGURES.items():
        cells = [fit(figure(item[name]), CELLS, "right") for item in shown.values()]
        lines.append(join([fit(title, TITLE), *cells], " "))
    if more:
        lines.append(Content.styled(f"and {more} more: `assay agreement` lists them", "$muted"))
    lines += [Content(""), *_win_rates(match, rate, width)]
    return [*lines, *_reasons(raters, width)]


def figure(found: Found) -> str:
    if found["value"] is None:
        return MISSING
    if found["low"] is None or found["high"] is None:
        return f"{found['value']:.2f}"
    return f"{found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"


def _win_rates(match: Found, rate: WinRateRow | None, width: int) -> list[Content]:
    found, gate = match["corrected_win_rate"], match["min_win_rate"]
    alone = found["labels_alone"]
    low, high = (rate.low, rate.high) if rate is not None else (None, None)
    rows = [
        ("the judge alone", found["judge_alone"], low, high),
        ("people alone", alone["value"], alone["low"], alone["high"]),
        ("corrected", found["value"], found["low"], found["high"]),
    ]
    cells = min(BAND, width - TITLE - CELLS - 2)
    lines = [join([heading("win rate".ljust(TITLE)), " " * CELLS, key(gate)], " ")]
    for title, value, start, end in rows:
        said = share(value, start, end)
        lines.append(
            join([fit(title, TITLE), fit(said, CELLS, "right"), band(value, start, end, cells, gate)], " ")
        )
    said = settled(match)
    if said:
        lines += wrap(plain(said), width)
    return lines


def share(value: float | None, low: float | None, high: float | None) -> str:
    if value is None or low is None or high is None:
        return percent(value)
    return f"{value:.1%} [{100 * low:.0f}, {100 * high:.0f}]"


def settled(match: Found) -> str:
    """What the corrected win rate says of the gate, or how many more labels would let it."""
    found, gate, needed = match["corrected_win_rate"], match["min_win_rate"], match["labels_to_settle"]
    if found["value"] is None:
        return f"Not corrected: {found['reason']}." if found["reason"] else ""
    if gate is None:
        return ""
    examples = found["labelled"] + found["unlabelled"]
    return gate_in_words(
        found["low"], found["high"], gate, labelled=found["labelled"], examples=examples, needed=needed
    )


CURVE_KEY = "█ people give the same verdict  ▒ 95% CI  ◆ the judge's confidence  │ 50%"


def curves(match: Found | None, found: Sequence[Found], width: int) -> list[Content]:
    """The judge's confidence on this match against people's verdicts, then raters' scores against theirs."""
    sides = None if match is None else (match["judge"], match["candidate"], match["baseline"])
    shown = [
        curve
        for curve in found
        if curve["kind"] == "score" or (curve["judge"], curve["candidate"], curve["baseline"]) == sides
    ]
    return [line for curve in shown for line in [*_curve(curve, width), Content("")]]


def _curve(curve: Found, width: int) -> list[Content]:
    is_score = curve["kind"] == "score"
    said = "people's mean rating by its score" if is_score else "how often people agree by its confidence"
    lines = [join([plain(cut(curve["judge"], 24), "bold"), plain(f"  {said}", "$heading")])]
    if not curve["bins"]:
        return [*lines, *wrap(plain(curve["reason"] or "nothing to draw", "$warn"), width)]
    if not is_score:
        lines.append(Content.styled(cut(CURVE_KEY, width), "$muted"))
    cells = max(10, min(BAND, width - TITLE - CELLS - 2))
    least, most = GRADES
    for each in curve["bins"]:
        value, low, high = each["people"], each["people_low"], each["people_high"]
        if is_score:
            name, figures, mark = f"score {each['low']:g}, n {each['n']:,}", f"{value:.2f}", None
            value = (value - least) / (most - least)
        else:
            name = f"{each['low']:.0%} to {each['high']:.0%}, n {each['n']:,}"
            figures, mark = share(value, low, high), each["judge"]
        drawn = band(value, low, high, cells, mark)
        lines.append(join([fit(name, TITLE), fit(figures, CELLS, "right"), drawn], " "))
    if is_score:
        lines.append(Content.styled(f"from {least} to {most}, │ is {(least + most) / 2:g}", "$muted"))
    return lines


def _reasons(raters: Mapping[str, Found], width: int) -> list[Content]:
    """Why figures are missing, each reason once."""
    why: dict[str, list[str]] = {}
    for item in raters.values():
        for name, title in FIGURES.items():
            if item[name]["value"] is None and title not in why.setdefault(item[name]["reason"] or "", []):
                why[item[name]["reason"] or ""].append(title)
    return [
        line
        for reason, titles in why.items()
        if reason
        for line in wrap(plain(f"{MISSING} {', '.join(titles)}: {reason}", "$muted"), width)
    ]


def misread(criteria: Mapping[str, Sequence[Found]], width: int) -> list[Content]:
    """The criterion of each rubric that its judge reads least like people."""
    lines = []
    for judge, items in criteria.items():
        worst = next((item for item in items if item["distance"] is not None), None)
        if worst is not None:
            apart = f"{worst['distance']:.2f} apart over {worst['n']:,} answers, {worst['difference']:+.2f}"
            ranks = f"rank correlation {figure(worst['spearman'])}"
            said = f"{judge} misreads “{worst['name']}” most: {apart} on average; {ranks}"
            lines += wrap(one_line(said), width)
    return lines


def qualification(known: Sequence[Found], reason: str | None, width: int) -> list[Content]:
    """How each person did on the items with a known answer, or why that is not known."""
    if reason:
        return wrap(one_line(f"no figures on items with a known answer: {reason}"), width)
    said = ", ".join(f"{one['annotator']} {one['right']} of {one['n']}" for one in known)
    return wrap(one_line(f"right on items with a known answer: {said}"), width) if known else []


def confused(match: Found) -> list[Confused]:
    """The confusion table as rows, all categories together first."""
    return [
        Confused(category, people, tuple(table[people].get(said, 0) for said in OUTCOMES))
        for category, table in sorted(match["confusion"].items())
        for people in OUTCOMES
        if people in table
    ]


def confusion_heading(width: int) -> Content:
    """Over the rows: what the judge said of the same examples."""
    said = [fit(f"judge: {outcome}", CELL, "right") for outcome in OUTCOMES]
    return heading(join(["  ", fit("people said", _room(width)), *said]).plain)


def draw(row: Confused, width: int) -> Content:
    name = f"{row.people}, {row.category}" if row.category else row.people
    cells = []
    for outcome, count in zip(OUTCOMES, row.judge, strict=True):
        style = "$good" if outcome == row.people else "$bad" if count else "$muted"
        sign = "" if outcome == row.people or not count else "≠ "
        cells.append(fit(Content.styled(f"{sign}{count:,}", style), CELL, "right"))
    return join([fit(name, _room(width + 2)), *cells])


def _room(width: int) -> int:
    return max(12, min(40, width - 2 - 3 * CELL))


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


class AgreementData(NamedTuple):
    basis: Basis
    rates: "list[WinRateRow]"


class AgreementScreen(RunScreen):
    """One judge on one match at a time; enter opens the answers on which people and judge differ."""

    NAME = "Agreement"
    FOOTER = (
        "agreement.open", "agreement.next", "agreement.label", "agreement.pane", "agreement.picture",
    )  # fmt: skip
    BINDINGS = bindings(
        "agreement.next", "agreement.previous", "agreement.label", "agreement.pane", "agreement.open",
        "agreement.picture",
    )  # fmt: skip
    DEFAULT_CSS = """
    AgreementScreen #match { background: $panel; padding: 0 1; }
    AgreementScreen #figures { padding: 0 1; }
    AgreementScreen #heading { border-top: solid $rule; height: 2; }
    """

    def __init__(self, run_id: int) -> None:
        super().__init__(run_id)
        self._read: AgreementData | None = None
        self._found: dict[str, Any] | None = None
        self._place: int | None = None  # among the matches; None: where the models and the judge in hand are
        self._computing = False
        self._is_picture = False

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

    def read_run(self, connection: "Connection") -> AgreementData:
        from store.read import history
        from store.read.labels import basis

        return AgreementData(
            Basis(self.run_id, *basis(connection, self.run_id), history.run(connection, self.run_id).plan),
            history.win_rates(connection, self.run_id),
        )

    def show_run(self, data: AgreementData) -> None:
        self._read = data
        if not data.basis.labels:
            self._say_how()
            return
        self._found = self._kept_for(data.basis) or self._found
        if self._found is None:
            self._explain("computing …")
        else:
            self.redraw()
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
                ended = await run_command("agreement", str(self.run_id), "--json", *alerts, store=folder)
                if ended.code not in (0, 1):  # 1: an alert is critical
                    self._explain(ended.errors.strip() or "`assay agreement` exited without an error message")
                    return
                while len(_kept) >= KEPT:
                    del _kept[next(iter(_kept))]
                self._found = _kept[str(folder), basis] = json.loads(ended.out)
                self.redraw()
        finally:
            self._computing = False

    # Showing

    def _say_how(self) -> None:
        label = written("agreement.label")
        self._explain(
            "No answer of this run is labelled yet.\n\n"
            f"{label} opens Review on the queue “random”, a random sample: label which answer is better. "
            "These labels show how far to trust the judges, and they correct the judges' win rates. "
            f"Labels from any other queue of Review ({written('go.review')}) count towards agreement alone."
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

    def redraw(self) -> None:
        if self._found is None or self._read is None or not self.is_mounted:
            return
        matches, width = self._found["matches"], self.size.width - 2
        worst = misread(self._found["criteria"], width)
        worst += qualification(self._found["qualification"], self._found["qualification_reason"], width)
        pane, table, heading = self.query_one("#figures", Pane), self.table, self.query_one("#heading", Line)
        table.display = heading.display = bool(matches)
        if not matches:
            pane.show(curves(None, self._found["curves"], width) if self._is_picture else worst)
            return
        if self._place is None:
            self._place = self._in_hand(matches)
        self._place %= len(matches)
        match = matches[self._place]
        self.query_one("#match", Line).set(match_line(match, self._place, len(matches)))
        sides = match["judge"], match["candidate"], match["baseline"]
        rates = {(row.judge, row.candidate, row.baseline): row for row in self._read.rates}
        lines = [*figures(match, rates.get(sides), width), *worst]
        if self._is_picture:
            lines = curves(match, self._found["curves"], width)
        rows = confused(match)
        room = self.size.height - self.top - 4  # beside match, the table's heading and footer
        pane.styles.height = min(len(lines), room - min(len(rows), LEAST_ROWS))
        pane.show(lines)
        heading.set(confusion_heading(width))
        table.show(rows, key=lambda row: (row.category, row.people))

    # Keys

    def action_match(self, step: int) -> None:
        matches = self._found["matches"] if self._found is not None else []
        if matches and self._place is not None:
            self._place = (self._place + step) % len(matches)
            shown = matches[self._place]
            self.hand.judge = shown["judge"]
            self.hand.take(shown["candidate"], shown["baseline"])
            self.refresh_title()
            self.redraw()
        else:
            self.say("no judge of this run has verdicts that people labelled", error=True)

    def _in_hand(self, matches: Sequence[Found]) -> int:
        """The match that has most in common with what is in hand: the candidate first."""
        judge, pair = self.hand.judge, self.pair

        def common(match: Found) -> tuple[bool, bool, bool]:
            return match["candidate"] == pair[0], match["baseline"] == pair[1], match["judge"] == judge

        return max(range(len(matches)), key=lambda place: common(matches[place]))

    def action_picture(self) -> None:
        """From the figures to the calibration curves, and back."""
        if self._found is None:
            needed = f"people's labels are needed first: {written('agreement.label')} opens a random sample"
            self.say("still computing" if self._computing else needed, error=not self._computing)
            return
        self._is_picture = not self._is_picture
        self.redraw()

    def action_label(self) -> None:
        self._review("random")

    def action_open(self) -> None:
        """From the figures to the table."""
        if self.table.display:
            self.set_focus(self.table)
        else:
            self.say("there is no confusion table yet: people and a judge label the same examples first")

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
        match = (
            matches[(self._place or 0) % len(matches)] if matches else {"candidate": None, "baseline": None}
        )
        judge = match["judge"] if queue == "human" else None
        sides = match["candidate"], match["baseline"]
        self.app.push_screen(ReviewScreen(self.run_id, *sides, show=queue, search=search, judge=judge))
