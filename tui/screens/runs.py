"""Runs: the history, how each run ended, where its measures are heading, and what people say of runs."""

import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.cells import cell_len
from textual import work
from textual.app import ComposeResult
from textual.content import Content
from textual.events import ScreenResume

from tui.keys import SHARING, bindings, written
from tui.screens.base import WORDS, AssayScreen, MessageScreen, beside, is_ended, outcome, status
from tui.screens.choosing import FilteredScreen, run_command
from tui.screens.control import NO_RUN, RunSharing
from tui.screens.watch import StoreFailed
from tui.text.gate import (
    counted,
    cut,
    duration,
    fit,
    join,
    number,
    one_line,
    percent,
    plain,
    short_age,
    spark,
    told_apart,
    wrap,
)
from tui.widgets.lines import Pane
from tui.widgets.rows import CellContent, Columns, FlexColumn, Rows

if TYPE_CHECKING:
    from engine.decision.decision import Decision
    from store.read.history import Connection
    from store.read.rows import AlertRow, RunRow
    from store.read.trends import Point
    from store.records import Progress, Run, RunMark, Track
    from tui.sections.eta import Recent

WELCOME = """\
Assay asks your fine-tuned models and the ones before them the same questions,
and says what got better, what was forgotten, and whether to ship it.

There is no run here yet. {start} starts one: of a plan in this folder, of a new
plan for the models and data found here, or of the bundled samples.

In a shell:

  assay demo           evaluates the bundled samples, in about a minute
  assay plan           writes a plan for the models and data in this folder
  assay init           writes a plan and a small eval set to fill in
  assay run PLAN       runs a plan, with progress in the terminal"""


class Welcome(Pane):
    DEFAULT_CSS = "Welcome { padding: 1 1 0 1; display: none; }"

    def on_mount(self) -> None:
        self.show([Content(line) for line in WELCOME.format(start=written("runs.start")).split("\n")])


MARKING = ("runs.tag", "runs.note", "runs.delete", "runs.undo")


class MarkingScreen(AssayScreen):
    """A list of runs whose keys mark the one at the cursor."""

    def __init__(self) -> None:
        super().__init__()
        self._deleted: list[int] = []  # by this screen, the newest last: what u brings back first

    @property
    def rows(self) -> "Rows[RunRow]":
        raise NotImplementedError

    def action_tag(self) -> None:
        row = self._at_cursor()
        if row is None:
            return
        before = (row.tags or "").replace(",", "")
        self.ask(
            f"Tags of run {row.id}",
            lambda text: self.write(_set_tags, row.id, text.split(), done=f"run {row.id}: tags saved"),
            value=before,
        )

    def action_note(self) -> None:
        row = self._at_cursor()
        if row is None:
            return
        person = _user()

        def answered(text: str) -> None:
            from store.people import mark

            if text.strip():
                self.write(mark, row.id, "note", text.strip(), person, done=f"run {row.id}: noted")

        self.ask(f"Note on run {row.id}, as {cut(person, 20)}", answered)

    def action_delete(self) -> None:
        from store.people import delete

        row = self._at_cursor()
        if row is None:
            return

        def put_away(connection: "Connection") -> None:
            delete(connection, row.id, _user())
            self._deleted.append(row.id)

        self.write(put_away, done=f"run {row.id} is deleted; u undoes it")

    def action_undo(self) -> None:
        from store.people import restore

        if self._deleted:
            run_id = self._deleted.pop()
            self.write(restore, run_id, _user(), done=f"run {run_id} is back")
        elif (row := self._at_cursor()) is not None:
            self.write(_take_back, row.id, done="undone")

    def _at_cursor(self) -> "RunRow | None":
        """The run that a key is for; says so where there is none."""
        if self.rows.item is None:
            self.say(NO_RUN, error=True)
        return self.rows.item


def _set_tags(connection: "Connection", run_id: int, words: list[str]) -> None:
    """Makes the run's tags these words."""
    from store import people

    standing, person = people.tags(connection, run_id), _user()
    for word in words:
        people.tag(connection, run_id, word, person)
    for word in standing:
        if word not in words:
            people.untag(connection, run_id, word, person)


def _take_back(connection: "Connection", run_id: int) -> Any:
    from store.people import take_back

    return take_back(connection, run_id, _user())


PAGE = 100
TREND_LINES = 4
WIDE_TREND_LINES = 12
TREND_RUNS = 30
MOST_ALERTS = 12  # of the run at the cursor that are shown
SETTLE_SECONDS = 0.25  # a key held down reads no trend for the runs that it passes


class History(NamedTuple):
    rows: "list[RunRow]"
    total: int
    under_way: dict[int, str]  # how far the runs under way are, by their number


class RunOutcome(NamedTuple):
    """What came of a run's candidates."""

    signs: str
    names: tuple[str, ...]  # of the candidates, the best first; none where no gain is known


LEAST_NAME = 5  # cells of the best candidate's name


class RunTrend(NamedTuple):
    """The measures of one run, and some of them over the runs on the same eval set, oldest first."""

    measures: tuple[str, ...]
    points: "tuple[tuple[str, tuple[Point, ...]], ...]"


class RunGlance(NamedTuple):
    """What stands beside the list of one run."""

    run: "Run"
    notes: "list[RunMark]"
    decided: "list[Decision]"  # once it is finished
    progress: "list[Progress]"  # until then
    alerts: "list[AlertRow]"  # that nobody has acknowledged
    tracks: "list[Track]"


ACTIONS = (
    "runs.start", "runs.resume", "runs.pause", "runs.cancel", "runs.trend", *MARKING, "runs.mark"
)  # fmt: skip

COLUMNS = Columns(
    FlexColumn("run", 5, align="right", key=lambda row: row.id),
    FlexColumn("name", 12, grow=2, key=lambda row: row.name),
    FlexColumn("result", 13, key=lambda row: (row.status, row.imported is not None, str(row.passed))),
    FlexColumn("candidates", 10, grow=3, drop=2, key=lambda row: row.candidates),
    FlexColumn("win rate", 8, align="right", drop=3, key=lambda row: row.win_rate),
    FlexColumn("open alerts", 13, drop=1, key=lambda row: (-row.critical, -row.warnings)),
    FlexColumn("age", 4, align="right", key=lambda row: -row.created),
)


def _won(row: "RunRow") -> str:
    """The win rate; where a model wrote some of the examples, the one without them behind it."""
    without = row.win_rate_without_synthetic
    whole = percent(row.win_rate)
    return whole if without is None else f"{whole.removesuffix('%')}/{percent(without)}"


class RunsScreen(RunSharing, FilteredScreen, MarkingScreen):
    NAME = "Runs"
    FOOTER: tuple[str, ...] = ("move.open", "find.filter", *ACTIONS)
    BINDINGS = bindings("find.filter", *ACTIONS, *SHARING)
    DEFAULT_CSS = """
    RunsScreen #trend { height: 6; padding: 0 1; border-top: solid $rule; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._history = History([], 0, {})
        self._recent: dict[int, Recent] = {}  # of the runs under way
        self._wanted = PAGE
        self._first_measure = 0
        self._decided: dict[RunRow, RunOutcome] = {}  # of runs with several candidates
        self._marked: list[int] = []  # the last two runs that were marked

    def compose(self) -> ComposeResult:
        rows = Rows(self._row, empty="", columns=COLUMNS, id="runs")
        yield from self.framed(beside(rows, Pane(id="trend")), Welcome(id="welcome"))

    @property
    def rows(self) -> "Rows[RunRow]":
        return self.query_one("#runs", Rows)

    @property
    def alive(self) -> bool:
        return any(row.status == "running" for row in self._history.rows)

    @property
    def run_at_cursor(self) -> int | None:
        return self.rows.item.id if self.rows.item is not None else None

    def title_line(self) -> Content:
        total = f"{self._history.total:,} run{'' if self._history.total == 1 else 's'}"
        found = join([' with "', one_line(self._search, "bold"), '"']) if self._search else Content("")
        marked = f"{' and '.join(f'#{run_id}' for run_id in self._marked)} marked" if self._marked else ""
        compared = f"{marked}: {written('go.compare')} compares them" if len(self._marked) > 1 else marked
        return join([Content.styled(total, "$muted") + found, Content.styled(compared, "$brand")], "  ")

    def _row(self, row: "RunRow", width: int) -> Content:
        ended = outcome(row.passed, ended=True) if is_ended(row) else None
        ended = Content("✓ imported") if row.imported else ended
        alerts = [Content.styled(f"{row.critical} crit", "$bad")] if row.critical else []
        alerts += [Content.styled(f"{row.warnings} warn", "$warn")] if row.warnings else []
        cells: list[CellContent] = [
            f"{'*' if row.id in self._marked else ''}#{row.id}",
            join([one_line(row.name), one_line(f" [{row.tags}]", "$muted")]) if row.tags else row.name,
            ended or self._under_way(row),
            partial(self._candidates, row),
            _won(row),
            join(alerts, " "),
            short_age(self.assay.now() - row.created),
        ]
        return COLUMNS.row(cells, width)

    def _under_way(self, row: "RunRow") -> Content:
        """A run's status and its place in the queue; how far it is and the time left in place of the word."""
        said = self._history.under_way.get(row.id)
        shown = Content.styled(f"▶ {said}", "$good") if said else status(row.status)
        return shown if row.place is None else join([shown, Content.styled(f" ({row.place:,})", "$muted")])

    def _candidates(self, row: "RunRow", cells: int) -> str:
        """Their names; of several that were decided on, what came of them, and the best."""
        decided = self._decided.get(row)
        if decided is None:
            return row.candidates or ""
        said = f"{decided.signs} "
        room = max(LEAST_NAME, cells - cell_len(said))
        return said + (told_apart(decided.names, room)[decided.names[0]] if decided.names else "")

    # Reading

    def read(self, connection: "Connection") -> History:
        from store.read import runs

        found = runs.page(connection, limit=self._wanted, words=runs.read_words(self._search))
        under_way = {row.id: self._how_far(connection, row.id) for row in found if row.status == "running"}
        return History(found, runs.count(connection), under_way)

    def _how_far(self, connection: "Connection", run_id: int) -> str:
        from store.read import live
        from tui.sections.eta import Recent, in_brief, whole_time_left

        progress, recent = live.progress(connection, run_id), self._recent.setdefault(run_id, Recent())
        recent.look(progress)
        return in_brief(whole_time_left(progress, live.earlier_paces(connection, run_id), recent))

    def show(self, data: History) -> None:
        before, self._history = self._history, data
        if data.rows and before[:2] == data[:2]:  # what is under way went on, and nothing else happened
            self.rows.redraw()
            if self.is_wide:
                self._read_trend()
            return
        self._welcome(not data.total)
        self.rows.show(data.rows, key=lambda row: row.id, empty="no run matches: esc clears the filter")
        self._follow()
        self.refresh_title()
        self._read_trend()
        self._decide()

    def show_nothing(self) -> None:
        self._welcome(True)

    def _welcome(self, new: bool) -> None:
        """Says what to do where there is no run yet, in the place of the runs."""
        self.query_one(".sides").display = not new
        welcome = self.query_one("#welcome")
        if welcome.display == new:
            return
        welcome.display = new
        self.FOOTER = ("runs.start",) if new else type(self).FOOTER
        self._show_footer()
        if self._asked is None and not new:
            self.set_focus(self.rows)

    def on_screen_resume(self, event: ScreenResume) -> None:
        super().on_screen_resume(event)
        self._follow()

    def minute(self) -> None:
        self.rows.redraw()

    def _follow(self) -> None:
        """Puts the cursor on the run that the other screens were about, where it is among the rows."""
        ids = [row.id for row in self.rows.items]
        if not self.is_current:
            return
        if self.assay.run_id in ids:
            self.rows.go_to(ids.index(self.assay.run_id))
        elif self.rows.item is not None:
            self.assay.run_id = self.rows.item.id

    def on_rows_moved(self, event: "Rows.Moved") -> None:
        row = self.rows.item
        if row is None or not self.is_current:
            return
        self.assay.run_id = row.id
        self.set_timer(SETTLE_SECONDS, lambda: self._settled() if self.rows.item is row else None)

    def _settled(self) -> None:
        self._read_trend()
        self._decide()

    @work(group="decided", exclusive=True)
    async def _decide(self) -> None:
        """Reads what was decided of the runs in sight that have several candidates, one after another."""
        rows = self.rows
        for row in rows.items[rows.top : rows.top + rows.size.height]:
            if row not in self._decided and is_ended(row) and ", " in (row.candidates or ""):
                try:
                    self._decided[row] = await self.assay.store.ask(_outcome, row.id)
                except StoreFailed:
                    return  # whatever is wrong with the store, the list of runs says it
                rows.redraw()

    def on_rows_near_end(self, event: "Rows.NearEnd") -> None:
        if len(self._history.rows) == self._wanted:
            self._read_older(self._history.rows[-1].id)

    def on_rows_sorted(self, event: "Rows.Sorted") -> None:
        """In another order than their own, all runs count and not the newest alone."""
        if self.rows.by is not None and len(self._history.rows) == self._wanted:
            self._wanted = self._history.total
            self.reload()

    @work(group="older", exclusive=True)
    async def _read_older(self, last: int) -> None:
        """The next page: as long as all before it, so that G reaches the first run in a few strokes."""
        from store.read import runs

        page, words = self._wanted, runs.read_words(self._search)
        try:
            older = await self.assay.store.ask(runs.page, limit=page, before=last, words=words)
        except StoreFailed as error:
            self.assay.store_failed(str(error))
            return
        if self._history.rows and self._history.rows[-1].id == last:
            self._wanted += page
            self._history = self._shown = self._history._replace(rows=[*self._history.rows, *older])
            self.rows.show(self._history.rows, key=lambda row: row.id)

    # The trend

    def _read_trend(self) -> None:
        row = self.rows.item
        if row is not None:
            self._show_trend(row.id)

    @work(group="trend", exclusive=True)
    async def _show_trend(self, run_id: int) -> None:
        ask, shown = self.assay.store.ask, WIDE_TREND_LINES if self.is_wide else TREND_LINES
        try:
            glance = await ask(_glance, run_id) if self.is_wide else None
            trend = await ask(_trend, run_id, self._first_measure, shown)
        except StoreFailed as error:
            self.assay.store_failed(str(error))
            return
        above = _glance_lines(glance, self.beside_cells, self.size.height) if glance is not None else []
        for pane in self.query("#trend").results(Pane):  # none while the app is being left
            pane.show([*above, *_trend_lines(trend, shown)])

    def redraw(self) -> None:
        self._read_trend()

    def action_trend(self) -> None:
        self._first_measure += WIDE_TREND_LINES if self.is_wide else TREND_LINES
        self._read_trend()

    # What keys do

    def filtered(self) -> None:
        self._wanted = PAGE if self.rows.by is None else max(PAGE, self._history.total)
        self.refresh_title()
        self.reload()

    def on_rows_opened(self, event: "Rows.Opened") -> None:
        row = self.rows.item
        if row is not None:
            self.assay.go("decision" if row.status == "finished" else "live", row.id)

    def action_mark(self) -> None:
        row = self._at_cursor()
        if row is None:
            return
        others = [run_id for run_id in self._marked if run_id != row.id]
        self._marked = others if row.id in self._marked else [*others, row.id][-2:]
        self.rows.redraw()
        self.refresh_title()

    def goes(self, name: str) -> bool:
        """With two runs marked, compares them."""
        if name != "compare" or len(self._marked) < 2:
            return False
        self.say("comparing …")
        self._compare(*map(str, sorted(self._marked)))
        return True

    @work(group="compare", exclusive=True)
    async def _compare(self, older: str, newer: str) -> None:
        ended = await run_command("compare", older, newer, store=self.assay.store.folder)
        text = ended.out.rstrip() if ended.code <= 1 and ended.out.strip() else ended.complaint
        self.say("")
        self.app.push_screen(MessageScreen(f"Run {newer} against run {older}", text))

    @property
    def accepted(self) -> str:
        return self.assay.in_hand(self.run_at_cursor).candidate if self.run_at_cursor is not None else ""

    def action_start(self) -> None:
        from tui.screens.start import StartScreen

        self.app.push_screen(StartScreen())

    @property
    def controlled(self) -> int | None:
        return self.run_at_cursor


def _outcome(connection: "Connection", run_id: int) -> RunOutcome:
    from engine.decision.decision import decide

    found = decide(connection, run_id)
    words = [each.word for each in found]
    signs = (f"{sign}{words.count(word)}" for word, (sign, _) in WORDS.items() if word in words)
    names = tuple(each.candidate for each in found)
    known = bool(found) and found[0].gain is not None
    return RunOutcome(" ".join(signs), names if known else ())


def _glance(connection: "Connection", run_id: int) -> RunGlance:
    from engine.decision.decision import decide
    from store.people import notes
    from store.read.history import alerts, run, tracks
    from store.read.live import progress

    found = run(connection, run_id)
    return RunGlance(
        found,
        notes(connection, run_id),
        decide(connection, run_id) if found.status == "finished" else [],
        progress(connection, run_id) if found.status != "finished" else [],
        [alert for alert in alerts(connection, run_id) if alert.acknowledged is None],
        tracks(connection, run_id),
    )


def _glance_lines(glance: RunGlance, width: int, height: int) -> list[Content]:
    from tui.screens.live.lines import decided, phases, state
    from tui.sections.overview import track_said

    run, count = glance.run, (glance.run.data_summary or {}).get("selected")
    eval_set = [run.eval_set_file or "", run.eval_set or "", counted(count, "example") if count else ""]
    written = (run.data_summary or {}).get("synthetic")
    eval_set += [f"{written:,} of them synthetic"] if written else []
    facts = [
        ("started", _moment(run.started)),
        ("took", duration(run.finished - run.started) if run.finished and run.started else ""),
        ("plan", f"{run.plan_file}  {run.plan_hash}"),
        ("eval set", "  ".join(part for part in eval_set if part)),
        *(("tracked", track_said(row)) for row in glance.tracks),
    ]
    sections = [
        [
            join([plain(cut(run.name, width // 2), "bold"), f" #{run.id}  ", status(run.status)]),
            *(fit(join([Content.styled(f"{name:<10}", "$muted"), one_line(said)]), width)
              for name, said in facts if said),
        ],
        state(run, width),
        [line for note in glance.notes for line in wrap(plain(f"{note.user}: {note.value}"), width)],
        decided(glance.decided, width, most=height // 2),
        phases(glance.progress, width),
        _alert_lines(glance.alerts, width),
    ]  # fmt: skip
    return [line for section in sections if section for line in (*section, Content(""))]


def _alert_lines(alerts: "list[AlertRow]", width: int) -> list[Content]:
    from tui.screens.alerts import SEVERITY

    if not alerts:
        return []
    all_of_them = Content.styled(f"  {written('go.alerts')}: all {len(alerts)}", "$muted")
    lines = [join([Content.styled("Open alerts", "$heading"), all_of_them])]
    names = told_apart(tuple(dict.fromkeys(alert.candidate for alert in alerts)), width // 4)
    for alert in alerts[:MOST_ALERTS]:
        said = join([SEVERITY[alert.severity], "  ", Content.styled(names[alert.candidate], "bold"), "  "])
        lines += wrap(join([said, one_line(alert.message)]), width)
    return lines


def _moment(when: float | None) -> str:
    return "" if when is None else time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(when))


def _trend(connection: "Connection", run_id: int, first: int, shown: int = TREND_LINES) -> RunTrend:
    """Some of a run's measures over the newest runs; other eval sets' values do not compare with its own."""
    from store.read.history import metrics, run
    from store.read.query import Word
    from store.read.trends import trend

    measures = tuple(metric.measure for metric in metrics(connection, run_id))
    first %= max(1, len(measures))
    eval_set = run(connection, run_id).eval_set
    words = (Word("eval", eval_set),) if eval_set else ()
    points = [
        (name, tuple(trend(connection, name, words, limit=TREND_RUNS)))
        for name in measures[first : first + shown]
    ]
    return RunTrend(measures, tuple(points))


def _trend_lines(trend: RunTrend, shown: int) -> list[Content]:
    if not trend.points:
        return [Content.styled("Trend: this run has no measures yet", "$muted")]
    several = len(trend.measures) > shown
    # Without their number, which differs from run to run: the line would be written anew at every step.
    more = f" · {written('runs.trend')}: the next ones" if several else ""
    head = f"Trend on this eval set, first candidate, oldest to newest{more}"
    lines = [Content.styled(head, "$heading")]
    for name, points in trend.points:
        values = [point.value for point in points]
        known = [value for value in values if value is not None]
        span = (
            f"{number(known[0])} → {number(known[-1])}"
            if len(known) > 1
            else number(known[0] if known else None)
        )
        line = [
            fit(name, 18 if shown == TREND_LINES else 36),
            Content.styled(spark(values), "$good"),
            Content(span),
        ]
        last = points[-1].without_synthetic if points else None
        line += [Content.styled(f"{number(last)} without synthetic", "$muted")] if last is not None else []
        lines.append(join(line, "  "))
    return lines


def _user() -> str:
    from store.people import user_name

    return user_name()
