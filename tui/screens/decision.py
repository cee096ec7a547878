"""Decision: whether to ship each candidate of a finished run, why, and where the evidence is."""

from dataclasses import dataclass

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.content import Content
from textual.events import ScreenResume

from engine.decision.decision import AnsweredQuestion, Decision, headline, verdicts
from engine.decision.facts import CandidateFacts, cases, read, read_before
from store.read.history import Connection
from store.read.query import matches
from store.records.alert import kind_of
from tui.keys import SHARING, bindings
from tui.screens.base import WORDS, RunScreen
from tui.screens.choosing import FilteredScreen
from tui.screens.control import RunSharing
from tui.text.gate import fit, join, middle, one_line, plain, told_apart, wrap
from tui.widgets.lines import Line, Pane
from tui.widgets.rows import Rows


@dataclass(frozen=True, slots=True)
class Lead:
    """Where to look for one candidate; `task` is the benchmark that it lost most of, with the baseline."""

    candidate: str
    base: str | None
    prompted: str | None
    measure: str | None  # by which its answers are worst
    against: str | None  # the baseline that they are worst against
    task: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class Page:
    verdicts: list[Decision]
    leads: dict[str, Lead]  # by candidate
    before: int | None  # the run that changes are told against


def read_page(connection: Connection, run_id: int) -> Page:
    found, before = cases(read(connection, run_id)), read_before(connection, run_id)
    leads = {case.name: _lead(case) for case in found}
    return Page(verdicts(found, before), leads, before.run.id if before else None)


def _lead(case: CandidateFacts) -> Lead:
    base = case.base.name if case.base else None
    measures = [row.measure for row in case.changes(case.base) if row.kind == "metric"] if case.base else []
    critical = [alert for alert in case.alerts("critical") if alert.acknowledged is None]
    fallen = next((alert for alert in critical if kind_of(alert.kind).opens == "worst answers"), None)
    forgot = [
        alert for alert in critical if kind_of(alert.kind).opens == "benchmark questions" and alert.baseline
    ]
    worst = min(forgot, key=lambda alert: getattr(alert.evidence, "delta", None) or 0.0, default=None)
    return Lead(
        case.name,
        base,
        case.prompted[0].name if case.prompted else None,
        fallen.measure if fallen else next(iter(measures), None),
        (fallen.baseline if fallen else None) or base,
        # A benchmark's measure is named "task · metric".
        (worst.measure.partition(" · ")[0], worst.baseline or "") if worst else None,
    )


STANDINGS = {
    "good": ("+", "$good"),
    "bad": ("−", "$bad"),
    "open": ("?", "$warn"),
    "neutral": ("=", ""),
    "missing": ("·", "$muted"),
}
WORD = 14  # cells
LEAST_NAME = 10  # cells at least
QUESTION = 29


def word(verdict: Decision) -> Content:
    sign, style = WORDS[verdict.word]
    return Content.styled(f"{sign} {verdict.word}", style)


def names_of(verdicts: list[Decision], width: int) -> dict[str, str]:
    """The candidates' names as they stand in front, on a third of the line at most."""
    return told_apart(tuple(verdict.candidate for verdict in verdicts), width // 3)


def head(verdict: Decision, name: Content, width: int) -> Content:
    """A candidate's line: name, word, the weightiest reason."""
    why = one_line(verdict.reasons[0]) if verdict.reasons else Content("")
    room = max(0, width - name.cell_length - WORD - 4)
    return join([name, fit(word(verdict), WORD), fit(why, room)], "  ")


def question(answer: AnsweredQuestion, width: int) -> Content:
    """A question's line: how it stands, the question, the answer as far as it fits."""
    sign, style = STANDINGS[answer.standing]
    muted = "$muted" if answer.standing == "missing" else ""
    said = fit(one_line(answer.answer, muted), max(0, width - QUESTION - 4))
    return join([Content.styled(sign, style), " ", fit(answer.question, QUESTION), "  ", said])


def reasons(verdict: Decision, width: int) -> list[Content]:
    """The reasons, numbered, the first in bold, and what to do; none is cut."""
    lines = []
    for place, reason in enumerate(verdict.reasons, 1):
        style = "bold" if place == 1 else ""
        first, *more = wrap(one_line(reason, style), width - 2)
        lines += [
            join([Content.styled(f"{place} ", "$muted"), first]),
            *(Content("  ") + line for line in more),
        ]
    told = wrap(one_line(verdict.advice, "$muted"), width - 2) if verdict.advice else []
    return [*lines, *(Content("→ " if place == 0 else "  ") + line for place, line in enumerate(told))]


def evidence(answer: AnsweredQuestion, width: int) -> list[Content]:
    """The whole answer and the numbers behind it."""
    sign, style = STANDINGS[answer.standing]
    first, *more = wrap(plain(answer.answer, "bold"), width - 2)
    lines = [join([Content.styled(f"{sign} ", style), first]), *(Content("  ") + line for line in more)]
    for said in answer.evidence:
        lines += [Content("  ") + line for line in wrap(one_line(said), width - 2)]
    return lines


def _searched(verdict: Decision) -> dict[str, str]:
    return {
        "candidate": verdict.candidate,
        "decision": verdict.word,
        "why": " ".join(verdict.reasons),
    }


FRAME = 5  # heading, three rules, footer
LEAST_CANDIDATES, LEAST_QUESTIONS, LEAST_REASONS, LEAST_EVIDENCE = 1, 3, 3, 3
SETTLE_SECONDS = 0.2  # the cursor rests so long before the lower half follows it


NO_CANDIDATE = "this run has no candidate to decide on"
NOTHING_DECIDED = "no candidate of this run has results yet"


class DecisionScreen(RunSharing, FilteredScreen, RunScreen):
    NAME = "Decision"
    FILTER = "filter candidates"
    FOOTER = (
        "move.open", "decision.worst", "decision.flips", "decision.what_if", "decision.pane",
        "compare.candidate", "go.map", "find.filter",
    )  # fmt: skip
    BINDINGS = bindings(
        "decision.worst", "decision.flips", "decision.what_if", "decision.pane", "compare.candidate",
        "compare.candidate_back", "find.filter", *SHARING,
    )  # fmt: skip
    DEFAULT_CSS = """
    DecisionScreen #candidates { height: 1; }
    DecisionScreen #reasons { height: 4; padding: 0 1; border-top: solid $rule; }
    DecisionScreen #questions { height: 9; border-top: solid $rule; }
    DecisionScreen #evidence { padding: 0 1; border-top: solid $rule; }
    """

    def __init__(self, run_id: int) -> None:
        super().__init__(run_id)
        self._page = Page([], {}, None)
        self._below = ""  # the candidate that the lower half is about
        self._names: dict[str, str] = {}  # as they are shown

    def compose(self) -> ComposeResult:
        yield from self.framed(
            Line(id="heading"),
            Rows(
                self._candidate,
                empty=NO_CANDIDATE,
                marked=lambda: self._name_cells + WORD + 3,  # the reasons are too long to repaint for a move
                id="candidates",
            ),
            Pane(id="reasons"),
            Rows(question, empty="", id="questions"),
            Pane(focusable=True, id="evidence"),
        )

    @property
    def candidates(self) -> Rows[Decision]:
        return self.query_one("#candidates", Rows)

    @property
    def questions(self) -> Rows[AnsweredQuestion]:
        return self.query_one("#questions", Rows)

    def read_run(self, connection: Connection) -> Page:
        return read_page(connection, self.run_id)

    def show_run(self, data: Page) -> None:
        self._page = data
        self.keep_cards(data.verdicts)
        self.redraw()

    def names(self, role: str) -> list[str]:
        """The candidates as they stand here."""
        shown = [verdict.candidate for verdict in self._page.verdicts]
        return shown if shown and role == "candidate" else super().names(role)

    def on_screen_resume(self, event: ScreenResume) -> None:
        super().on_screen_resume(event)
        self._go_to_candidate()

    def _heading(self) -> Content:
        """What came of several candidates; over a single one the columns' names."""
        if said := headline(self._page.verdicts):
            return join(["  ", plain(middle(said, self.size.width - 2), "$heading")])
        titles = [
            fit(Content("  candidate"), self._name_cells + 2),
            fit(Content("decision"), WORD),
            Content("why"),
        ]
        return join(titles, "  ").stylize("$heading") if self._page.verdicts else Content("")

    def _go_to_candidate(self) -> None:
        names = [verdict.candidate for verdict in self.candidates.items]
        if self.hand.candidate in names:
            self.candidates.go_to(names.index(self.hand.candidate))

    @property
    def _name_cells(self) -> int:
        return max([LEAST_NAME, *map(cell_len, self._names.values())])

    def _candidate(self, verdict: Decision, width: int) -> Content:
        return head(verdict, fit(self._names[verdict.candidate], self._name_cells), width)

    def redraw(self) -> None:
        self._names = names_of(self._page.verdicts, self.size.width)
        self.query_one("#heading", Line).set(self._heading())
        found = [verdict for verdict in self._page.verdicts if matches(self._search, _searched(verdict))]
        empty = NO_CANDIDATE if not self._search else "no candidate has these words"
        self.candidates.show(found, empty=empty, key=lambda verdict: verdict.candidate)
        self._go_to_candidate()
        self._show_candidate()

    def _show_candidate(self) -> None:
        verdict = self.candidates.item
        self._below = verdict.candidate if verdict else ""
        lines = reasons(verdict, self.size.width - 2) if verdict else []
        answers = verdict.answers if verdict else ()
        self._fit(len(lines), len(answers))
        self.query_one("#reasons", Pane).show(lines, keep_place=False)
        self.questions.show(answers, key=lambda answer: answer.topic)
        self._show_evidence()

    def _fit(self, reasons: int, questions: int) -> None:
        """Shares the lines: candidates and reasons as many as they need, the numbers at least three.

        Where there are too few, the numbers go first, then the reasons; the first stands beside the name.
        """
        room = self.size.height - self.top - FRAME
        parts = [LEAST_CANDIDATES, LEAST_QUESTIONS, LEAST_REASONS, LEAST_EVIDENCE]
        while len(parts) > 2 and room < sum(parts):
            parts.pop()
            room += 1  # its rule
        self.query_one("#evidence").display = len(parts) > 3
        self.query_one("#reasons").display = len(parts) > 2
        candidates = max(1, min(len(self._page.verdicts), room // 4))
        reasons = min(reasons, max(LEAST_REASONS, room // 3)) if len(parts) > 2 else 0
        evidence = LEAST_EVIDENCE if len(parts) > 3 else 0
        asked = max(1, min(questions, room - candidates - reasons - evidence))
        self.candidates.styles.height = candidates
        self.query_one("#reasons").styles.height = reasons + 1
        self.questions.styles.height = asked + 1

    def _show_evidence(self) -> None:
        answer = self.questions.item
        lines = evidence(answer, self.size.width - 2) if answer else []
        self.query_one("#evidence", Pane).show(lines, keep_place=False)

    def on_rows_moved(self, event: Rows.Moved) -> None:
        if event.rows is not self.candidates:
            self._show_evidence()
        elif self.is_current and self.candidates.item is not None:
            verdict = self.candidates.item
            self.hand.take(verdict.candidate)
            self.refresh_title()
            self.set_timer(SETTLE_SECONDS, lambda: self._follow(verdict))

    def on_descendant_blur(self) -> None:
        self._follow(self.candidates.item)

    def _follow(self, verdict: Decision | None) -> None:
        """Shows what stands below the candidates, once the cursor rests on one or they are left."""
        if verdict is not None and self.candidates.item is verdict and self._below != verdict.candidate:
            self._show_candidate()

    def action_candidate(self, step: int) -> None:
        count = len(self.candidates.items)
        if count:
            self.candidates.go_to((self.candidates.cursor + step) % count)

    @property
    def controlled(self) -> int:
        return self.run_id

    @property
    def accepted(self) -> str:
        return self.candidates.item.candidate if self.candidates.item is not None else ""

    # Where the evidence is

    @property
    def _lead(self) -> Lead | None:
        verdict = self.candidates.item
        return self._page.leads.get(verdict.candidate) if verdict is not None else None

    def on_rows_opened(self, event: Rows.Opened) -> None:
        if event.rows is self.candidates:
            self.action_worst()
        elif self._lead is not None and self.questions.item is not None:
            self._open(self.questions.item, self._lead)

    def action_worst(self) -> None:
        """The questions of the benchmark that it forgot most of, else its worst answers first."""
        lead = self._lead
        if lead is not None and lead.task is not None:
            self._open_samples(lead, *lead.task)
        elif lead is not None:
            from tui.screens.review.screen import ReviewScreen

            self.app.push_screen(
                ReviewScreen(self.run_id, lead.candidate, lead.against, worst_by=lead.measure)
            )
        else:
            self.say(NOTHING_DECIDED, error=True)

    def action_flips(self) -> None:
        """The examples that turned from right to wrong, or the other way round."""
        lead = self._lead
        if lead is not None:
            from tui.screens.review.screen import ReviewScreen

            self.app.push_screen(ReviewScreen(self.run_id, lead.candidate, lead.base, show="flips"))
        else:
            self.say(NOTHING_DECIDED, error=True)

    def action_what_if(self) -> None:
        """The gates with their limits, to be moved."""
        from tui.screens.what_if import WhatIfScreen

        self.app.push_screen(WhatIfScreen(self.run_id))

    def _open_samples(self, lead: Lead, task: str, baseline: str) -> None:
        from tui.screens.compare.samples import SamplesScreen

        self.app.push_screen(SamplesScreen(self.run_id, lead.candidate, baseline, task))

    def _open(self, answer: AnsweredQuestion, lead: Lead) -> None:
        """Opens the screen that holds what an answer rests on."""
        match answer.topic:
            case "forgotten" if lead.task is not None:
                self._open_samples(lead, *lead.task)
            case "slices":
                from tui.screens.compare.slices import SlicesScreen

                self.hand.take(baseline=lead.base)
                self.app.push_screen(SlicesScreen(self.run_id))
            case "data":
                from tui.screens.splits.screen import SplitsScreen

                self.app.push_screen(SplitsScreen(self.run_id))
            case "judge":
                from tui.screens.judges import JudgesScreen

                self.app.push_screen(JudgesScreen(self.run_id))
            case "changed" if self._page.before is not None:
                self.app.push_screen(DecisionScreen(self._page.before))
            case topic:
                from tui.screens.compare.screen import CompareScreen

                self.hand.take(baseline=lead.prompted if topic == "prompt" else lead.base)
                self.app.push_screen(CompareScreen(self.run_id))
