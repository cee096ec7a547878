"""Compare: a candidate against a baseline by every metric, judge and benchmark, beside the other models."""

from rich.cells import cell_len
from textual import work
from textual.app import ComposeResult
from textual.content import Content
from textual.events import Resize

from engine.decision.families import family_of
from store.read.history import Connection
from tui.keys import bindings
from tui.screens.base import outcome
from tui.screens.choosing import FilteredScreen, PairScreen, run_command
from tui.screens.compare.data import (
    Entry,
    FamilyGroup,
    FamilyHeading,
    ForgettingLine,
    JudgeLine,
    MeasureLine,
    Numbers,
    entries,
    fitting,
    groups,
    name_of,
    ordered,
    read_numbers,
    task_of,
    values_of,
)
from tui.screens.compare.lines import (
    Forest,
    brief,
    declaration,
    draw,
    draw_forest,
    explained,
    forest_brief,
    forest_of,
    label_lines,
    picture_lines,
)
from tui.screens.watch import StoreFailed
from tui.sections.measures import LabelTable, ReliabilityCurve, labels, reliability
from tui.sections.remarks import largest_noise
from tui.text.gate import MISSING, cut, join, percent, plain
from tui.widgets.lines import Line, Pane
from tui.widgets.pictures import Scale
from tui.widgets.rows import Rows

PICTURE = 22  # lines of pictures, with their rule
SHORT, ROOMY = 7, 110  # cells of a model's name; of a line from which on it is written longer
FRAME = 5  # lines below the top that the table does not have, the pane under it being closed
PANES = {"brief": brief, "details": explained, "about": declaration}


class CompareScreen(PairScreen, FilteredScreen):
    NAME = "Compare"
    FOOTER = (
        "move.open", "compare.fold", "compare.slices", "compare.candidate", "compare.baseline",
        "compare.about", "find.filter", "compare.details", "compare.fold_all", "compare.forest",
        "compare.picture",
    )  # fmt: skip
    BINDINGS = bindings(
        "compare.candidate", "compare.candidate_back", "compare.baseline", "compare.baseline_back",
        "compare.details", "compare.about", "compare.fold", "compare.fold_all", "compare.slices",
        "find.filter", "compare.forest", "compare.picture",
    )  # fmt: skip
    DEFAULT_CSS = """
    CompareScreen #pair { height: 1; padding: 0 1; background: $panel; }
    CompareScreen #explained { height: 3; padding: 0 1; border-top: solid $rule; }
    """

    def __init__(self, run_id: int) -> None:
        super().__init__(run_id)
        self._numbers: Numbers | None = None
        self._pane = "brief"
        self._groups: list[FamilyGroup] = []
        self._longest = 0  # cells of the longest name of a measure
        self._is_forest = False
        self._forest = Forest(Scale(0.0, 1.0), {})
        self._limits: dict[tuple[str, ...], list[float]] | None = (
            None  # by candidate, baseline, kind, measure
        )
        self._values: dict[tuple[str, ...], dict[str, list[float]]] = {}  # read for pictures
        self._open: frozenset[str] | None = None  # None while nobody folded anything: as much as fits

    def compose(self) -> ComposeResult:
        table: Rows[Entry] = Rows(self._row, empty="nothing was computed yet", id="table")
        yield from self.framed(Line(id="pair"), table, Pane(focusable=True, id="explained"))

    @property
    def table(self) -> Rows[Entry]:
        return self.query_one("#table", Rows)

    def read_run(self, connection: Connection) -> Numbers:
        return read_numbers(connection, self.run_id)

    def show_run(self, data: Numbers) -> None:
        self._numbers, self._values = data, {}
        self._draw()
        if self._is_forest:
            self._read_limits()

    def _draw(self) -> None:
        if self._numbers is None:
            return
        self.query_one("#pair", Line).set(self._pair())
        self._regroup()
        empty = f"nothing here is called “{cut(self._search, 30)}”" if self._search else None
        found = entries(self._groups, self._opened)
        self.table.show(found, empty=empty or "nothing was computed yet", key=_key)
        self._explain()

    def _regroup(self) -> None:
        if self._numbers is not None:
            self._groups = groups(self._numbers, *self.pair, self._search)
            lines = (line for group in self._groups for line in group.lines)
            names = (cell_len(name_of(line)) for line in lines if not isinstance(line, JudgeLine))
            self._longest = max(names, default=0)
            limits = {key[1:]: ends for key, ends in (self._limits or {}).items() if key[0] == self.pair[0]}
            self._forest = forest_of(self._groups, limits)

    @property
    def _opened(self) -> frozenset[str]:
        """The names of the open families. A search opens all that it finds."""
        if self._search:
            return frozenset(group.name for group in self._groups)
        return (
            fitting(self._groups, self.size.height - self.top - FRAME) if self._open is None else self._open
        )

    def _pair(self) -> Content:
        candidates, baselines = self.names("candidate"), self.names("baseline")
        if not candidates or not baselines or self._numbers is None:
            return Content.styled("this run has no candidate and baseline yet", "$muted")
        candidate, baseline = self.pair
        passed = next(model.passed for model in self._numbers.models if model.name == candidate)
        noise = largest_noise(model for model in self._numbers.models if model.name in self.pair)
        parts = [
            self.against(self.size.width // 4),
            outcome(passed),
            self._cut_off(),
            Content.styled(f"candidate {candidates.index(candidate) + 1}/{len(candidates)}", "$muted"),
            Content.styled(f"baseline {baselines.index(baseline) + 1}/{len(baselines)}", "$muted"),
            Content.styled(f"noise floor {noise}", "$muted") if noise else Content(""),
            plain(f"only “{cut(self._search, 20)}”", "$warn") if self._search else Content(""),
        ]
        return join([part for part in parts if part], " · ")

    def _cut_off(self) -> Content:
        """How often the baseline's and the candidate's answers had no room for more."""
        known = {row.model: row for row in self._numbers.answers} if self._numbers else {}
        pair = [known.get(name) for name in reversed(self.pair)]
        if not any(row and row.ended_by_length for row in pair):
            return Content("")
        before, after = (percent(row.cut_share) if row else MISSING for row in pair)
        return Content.styled(f"cut off {before} → {after}", "$warn")

    def _row(self, entry: Entry, width: int) -> Content:
        if self._numbers is None:
            return Content("")
        if self._is_forest:
            return draw_forest(entry, self._forest, width)
        candidate, baseline = self.pair
        if isinstance(entry, FamilyHeading):
            baseline = entry.against or baseline
        elif isinstance(entry, MeasureLine):
            baseline = entry.cells[0].model
        cells = SHORT if width < ROOMY else width // 8
        models = ordered(self._numbers.models, candidate, baseline)
        return draw(entry, tuple(self.short(model, cells) for model in models), width, self._longest)

    def _explain(self) -> None:
        entry, width = self.table.item, self.size.width - 2
        if self._pane == "picture":
            drawn = self._tables(entry), self._curves(entry)
            lines = picture_lines(entry, self._values_of(entry), *drawn, width)
        elif self._pane == "brief" and self._is_forest:
            lines = forest_brief(entry, self._forest, width)
        else:
            lines = PANES[self._pane](entry, width)
        if self._pane == "details" and isinstance(entry, MeasureLine):
            lines = [*lines, *self._labels(entry, width)]
        self.query_one("#explained", Pane).show(lines, keep_place=False)

    def _labels(self, entry: MeasureLine, width: int) -> list[Content]:
        """The errors by label, where the selected line measures a classifier."""
        if self._numbers is None or not _is_of(entry, "classification"):
            return []
        return label_lines(self._numbers.models, *self.pair, width)

    def _tables(self, entry: Entry | None) -> list[LabelTable]:
        """The candidate's and the baseline's answers by label, where the line measures a classifier."""
        if self._numbers is None or not isinstance(entry, MeasureLine) or not _is_of(entry, "classification"):
            return []
        models = {model.name: model for model in self._numbers.models}
        found = [LabelTable(name, tuple(labels(models[name]))) for name in self.pair if name in models]
        return [table for table in found if table.labels]

    def _curves(self, entry: Entry | None) -> list[ReliabilityCurve]:
        """The candidate's and the baseline's reliability, where the line measures their probabilities."""
        if self._numbers is None or not isinstance(entry, MeasureLine) or not _is_of(entry, "calibration"):
            return []
        task = entry.name.partition(":")[2]
        models = {model.name: model for model in self._numbers.models}
        found = [curve for name in self.pair if name in models for curve in reliability(models[name])]
        return [curve for curve in found if curve.task == task]

    def _values_of(self, entry: Entry | None) -> dict[str, list[float]] | None:
        """What the picture of a line draws; None while it is read."""
        if not isinstance(entry, MeasureLine) or entry.kind not in ("metric", "benchmark"):
            return {}
        key = (entry.kind, entry.name, *(cell.model for cell in entry.cells[:2]))
        if key not in self._values:
            self._read_values(key, entry)
        return self._values.get(key)

    @work(group="values", exclusive=True)
    async def _read_values(self, key: tuple[str, ...], entry: MeasureLine) -> None:
        try:
            self._values[key] = await self.assay.store.ask(values_of, self.run_id, entry)
        except StoreFailed as error:
            self.say(str(error).split("\n")[0], error=True)
            return
        if self.table.item == entry:
            self._explain()

    @work(group="limits", exclusive=True)
    async def _read_limits(self) -> None:
        """The gates' limits: they need libraries that have no place in the app's process."""
        ended = await run_command("show", str(self.run_id), "--json", store=self.assay.store.folder)
        if ended.code or ended.table is None:
            self.say(f"the gates' limits are not known: {ended.complaint}", error=True)
            return
        names = ("candidate", "baseline", "kind", "measure")
        rows = ended.table["comparisons"]
        self._limits = {tuple(row[name] for name in names): row["limits"] for row in rows if row["limits"]}
        self._draw()

    def action_forest(self) -> None:
        """From the table to the forest plot, and back."""
        self._is_forest = not self._is_forest
        if self._is_forest and self._limits is None:
            self._read_limits()
        self._draw()

    def on_resize(self, event: Resize) -> None:
        super().on_resize(event)
        self.call_after_refresh(self._draw)

    def on_rows_moved(self, event: Rows.Moved) -> None:
        self._explain()

    def on_rows_opened(self, event: Rows.Opened) -> None:
        """A family's lines; a metric's examples, worst first; a judge's losses; a benchmark's questions."""
        from tui.screens.compare.samples import SamplesScreen
        from tui.screens.review.screen import ReviewScreen

        entry = self.table.item
        if isinstance(entry, FamilyHeading):
            self.action_fold()
        if isinstance(entry, JudgeLine):
            self.app.push_screen(ReviewScreen(self.run_id, *self.pair, show="losses"))
        elif isinstance(entry, MeasureLine) and entry.kind == "metric":
            self.app.push_screen(ReviewScreen(self.run_id, *self.pair, worst_by=entry.name))
        elif isinstance(entry, MeasureLine) and entry.kind == "benchmark":
            against = entry.cells[0].model
            self.app.push_screen(SamplesScreen(self.run_id, self.pair[0], against, task_of(entry.name)))
        elif entry is not None and not isinstance(entry, FamilyHeading):
            self.say("this line has no examples of its own")

    def action_slices(self) -> None:
        from tui.screens.compare.slices import SlicesScreen

        entry = self.table.item
        measure = entry.name if isinstance(entry, MeasureLine) and entry.kind == "metric" else None
        self.app.push_screen(SlicesScreen(self.run_id, measure))

    def action_pane(self, what: str) -> None:
        self._pane = "brief" if self._pane == what else what
        heights = {"brief": 3, "picture": max(8, min(PICTURE, self.size.height * 2 // 3 - 3))}
        self.query_one("#explained").styles.height = heights.get(self._pane, 8)
        self.call_after_refresh(self._explain)

    # Folding

    def _family(self) -> str | None:
        """The family that the cursor is in."""
        above = self.table.items[: self.table.cursor + 1]
        return next((entry.name for entry in reversed(above) if isinstance(entry, FamilyHeading)), None)

    def action_fold(self) -> None:
        name = self._family()
        if name is None:
            return
        if self._search:
            self.say("a filter shows everything that it finds: esc takes it off")
            return
        self._open = self._opened ^ {name}
        self._draw()
        place = [isinstance(entry, FamilyHeading) and entry.name == name for entry in self.table.items]
        self.table.go_to(place.index(True))

    def action_fold_all(self) -> None:
        self._open = frozenset() if self._opened else frozenset(group.name for group in self._groups)
        self._draw()

    # Choosing

    def filtered(self) -> None:
        self._draw()

    def paired(self) -> None:
        self._draw()

    def back(self) -> bool:
        """Takes the filter off; the family of what it found stays open."""
        found, family = bool(self._search), self._family()
        if found:
            self._search = ""
            self._regroup()
            if family is not None and family not in self._opened:
                self._open = self._opened | {family}
            self._draw()
        return found


def _is_of(entry: MeasureLine, name: str) -> bool:
    """Whether the line's measure is one of a family of metrics."""
    source = entry.declared.source if entry.declared else ""
    return entry.kind == "metric" and family_of(entry.name, source) == name


def _key(entry: Entry) -> tuple[str, str]:
    if isinstance(entry, FamilyHeading):
        return f"family {entry.kind}", entry.name
    if isinstance(entry, JudgeLine):
        return "verdict", entry.row.judge
    return ("forgetting", entry.row.aspect) if isinstance(entry, ForgettingLine) else (entry.kind, entry.name)
