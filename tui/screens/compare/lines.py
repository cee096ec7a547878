"""How the Compare screen writes its lines, and what the pane under the table says of the selected one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from rich.cells import cell_len
from textual.content import Content

from engine.compare.forgetting import ForgettingRow
from engine.compare.ruling import rule_on_rate
from store.read.rows import ComparisonRow, ModelRow, WinRateRow
from tui.screens.compare.data import (
    CompareLine,
    Entry,
    FamilyGroup,
    FamilyHeading,
    ForgettingLine,
    JudgeLine,
    MeasureCell,
    MeasureLine,
    name_of,
)
from tui.sections.measures import (
    DIRECTION,
    NOT_FOUND,
    LabelRow,
    LabelTable,
    ReliabilityCurve,
    declared,
    labels,
)
from tui.text.gate import MISSING, cut, fit, join, middle, number, percent, plain, probability, signed, wrap
from tui.widgets.pictures import (
    FOREST_KEY,
    MEDIAN_KEY,
    OWN,
    DrawnDelta,
    LabelAnswers,
    Scale,
    around_zero,
    axis,
    confusion,
    forest_scale,
    histogram,
    histogram_lines,
)
from tui.widgets.pictures import forest as picture
from tui.widgets.plot import band
from tui.widgets.rows import CellContent, Columns, FlexColumn

LEAST_NAME = 17  # cells of a measure's name
COMPARED = 44  # cells of delta, interval and ruling, with the gaps
FOREST = Columns(
    FlexColumn("", LEAST_NAME, grow=1),
    FlexColumn("", 20, grow=4),
    FlexColumn("delta", 7, align="right"),
    FlexColumn("95% CI", 16, align="right", drop=1),
    FlexColumn("", 14),
    gap=1,
)
VERDICTS = Columns(
    FlexColumn("▾ judge: win rates", 31, grow=1),
    FlexColumn("rate", 4, align="right"),
    FlexColumn("95% CI", 10, align="right"),
    FlexColumn("W/T/L", 8, align="right"),
    FlexColumn("failed", 6, align="right"),
    FlexColumn("", 14, grow=1),
    FlexColumn("first place wins", 16, align="right", drop=1),
    FlexColumn("length-controlled", 17, align="right", drop=2),
    gap=1,
)
FOLDED = Columns(
    FlexColumn("family", 17, grow=1),
    FlexColumn("measures", 12),
    FlexColumn("worst", 22, grow=2),
    FlexColumn("standing", 21),
)


@lru_cache(maxsize=64)
def measures(title: str, models: tuple[str, ...], names: int, width: int) -> Columns:
    """The columns of metrics or benchmarks. On a narrow line the models that are not compared go first.

    `names` is how many cells the longest name of a measure takes; it has them before intervals have a column.
    """
    heads = [FlexColumn(model, max(7, cell_len(model)), align="right") for model in models]
    room = width - sum(head.width for head in heads[:2]) - COMPARED
    columns = [FlexColumn(title, max(LEAST_NAME, min(names, room)), grow=2)]
    for place, head in enumerate(heads):
        columns.append(head._replace(drop=0 if place < 2 else 3 + place))
        columns.append(FlexColumn("95% CI", 14, align="right", drop=1_000 if place < 2 else 1_001))
    return Columns(
        *columns,
        FlexColumn("delta", 6, align="right"),
        FlexColumn("95% CI", 14, align="right"),
        FlexColumn("", 14, grow=1),
        FlexColumn("min. detectable", 15, align="right", drop=3),
        FlexColumn("p", 6, align="right", drop=2),
        FlexColumn("n", 6, align="right", drop=1),
    )


def draw(entry: Entry, models: tuple[str, ...], width: int, names: int = LEAST_NAME) -> Content:
    """One line of the table; `models` are written as they are given."""

    def columns(title: str) -> Columns:
        return measures(title, models, names, width)

    if isinstance(entry, FamilyHeading):
        if not entry.open:
            return FOLDED.row(_folded_cells(entry), width)
        heading = VERDICTS if entry.kind == "verdict" else columns(_title(entry))
        return heading.heading(width).stylize("bold")
    if isinstance(entry, JudgeLine):
        return VERDICTS.row(_verdict_cells(entry.row), width)
    if isinstance(entry, ForgettingLine):
        return columns("").row(_forgot_cells(entry.row, len(models)), width)
    cells: list[Content | str] = [entry.name]
    for cell in entry.cells:
        shown = difference(cell.value) if entry.kind == "disparity" else value(cell.value)
        cells += [shown, interval(cell.low, cell.high, sign=entry.kind == "disparity")]
    compared = _gap_cells(entry) if entry.kind == "disparity" else _compared_cells(entry.compared)
    return columns("").row([*cells, *compared], width)


@dataclass(frozen=True, slots=True)
class Forest:
    """What the lines of a forest plot share: the scale of measures from 0 to 1, and the gates' limits."""

    scale: Scale
    limits: Mapping[tuple[str, ...], Sequence[float]]  # by baseline, kind and measure
    shared: frozenset[str] = frozenset()  # the families that have such measures

    def interval(self, entry: Entry) -> DrawnDelta | None:
        """The difference that a line draws; None of a line without one."""
        if isinstance(entry, ForgettingLine):
            return DrawnDelta(entry.row.delta, entry.row.low, entry.row.high)
        if not isinstance(entry, MeasureLine):
            return None
        if entry.kind == "disparity":
            ours = entry.cells[1]
            return DrawnDelta(ours.value, ours.low, ours.high)
        row = entry.compared
        if row is None:
            return DrawnDelta(None, None, None)
        limits = self.limits.get((row.baseline, row.kind, row.measure), ())
        return DrawnDelta(row.delta, row.low, row.high, limits)

    def scale_of(self, entry: Entry, item: DrawnDelta) -> Scale:
        return self.scale if is_share(entry) else around_zero(item, self.scale)


def forest_of(groups: Iterable[FamilyGroup], limits: Mapping[tuple[str, ...], Sequence[float]]) -> Forest:
    """The forest plot of these families."""
    unscaled = Forest(Scale(0.0, 1.0), limits)
    shares = {group.name: [line for line in group.lines if is_share(line)] for group in groups}
    items = [item for own in shares.values() for line in own if (item := unscaled.interval(line))]
    return Forest(forest_scale(items), limits, frozenset(name for name, own in shares.items() if own))


def is_share(entry: Entry) -> bool:
    """Whether a line's values are from 0 to 1, so that its difference is drawn on the scale of all such."""
    if not isinstance(entry, MeasureLine):
        return False
    if entry.declared is not None:
        return (entry.declared.low, entry.declared.high) == (0.0, 1.0)
    known = [cell.value for cell in entry.cells[:2] if cell.value is not None]
    return entry.kind == "benchmark" and bool(known) and all(0 <= value <= 1 for value in known)


def draw_forest(entry: Entry, forest: Forest, width: int) -> Content:
    """One line of the forest plot; judges' win rates from 0 to 1, with a mark at a half."""
    if isinstance(entry, FamilyHeading):
        if not entry.open:
            return FOLDED.row(_folded_cells(entry), width)
        of: CellContent = "0 to 1" if entry.kind == "verdict" else "own scale"
        if entry.name in forest.shared:
            of = partial(axis, forest.scale)
        heads: list[CellContent] = [_title(entry), of]
        said = ("rate" if entry.kind == "verdict" else "delta", "95% CI", "")
        return FOREST.row([*heads, *said], width).stylize("bold")
    if isinstance(entry, JudgeLine):
        row = entry.row
        rates: list[CellContent] = [row.judge, lambda cells: band(row.win_rate, row.low, row.high, cells)]
        rates += [number(row.win_rate, 2), interval(row.low, row.high, digits=2), won(row)]
        return FOREST.row(rates, width)
    item = forest.interval(entry) or DrawnDelta(None, None, None)
    of_line, own = forest.scale_of(entry, item), not is_share(entry)
    word, style = _ruled(entry)
    cells: list[CellContent] = [
        name_of(entry),
        lambda cells: picture(item, of_line, cells, style, own=own),
        difference(item.value),
        interval(item.low, item.high, sign=True),
        word,
    ]
    return FOREST.row(cells, width)


def _ruled(entry: MeasureLine | ForgettingLine) -> tuple[Content, str]:
    """A line's ruling in sign and word, and the colour that goes with it."""
    if isinstance(entry, ForgettingLine):
        return verdict(entry.row), _STANDINGS[entry.row.standing][1]
    if entry.kind == "disparity":
        word = _gap_cells(entry)[2]
        return (word if isinstance(word, Content) else Content(word)), "$warn" if entry.is_gap else ""
    if entry.compared is None:
        return Content.styled("not compared", "$muted"), ""
    return meaning(entry.compared), _STANDINGS[entry.compared.standing][1]


def forest_brief(entry: Entry | None, forest: Forest, width: int) -> list[Content]:
    """What the picture of the selected line means: two lines at most."""
    key = Content.styled(cut(f"{FOREST_KEY}  {OWN} on its own scale", width), "$muted")
    item = forest.interval(entry) if entry is not None else None
    if isinstance(entry, FamilyHeading):
        return [key, HINT]
    if entry is None or item is None:
        return brief(entry, width)
    of = forest.scale_of(entry, item)
    said = [f"drawn from {difference(of.low)} to {difference(of.high)}"]
    said += [f"the gate trips beyond {' or '.join(map(difference, item.limits))}"] if item.limits else []
    gaps = _gaps(entry.gaps, width) if isinstance(entry, MeasureLine) else []
    return [plain(cut(f"{name_of(entry)}: {'; '.join(said)}", width)), *(gaps or [key])]


def _title(family: FamilyHeading) -> str:
    against = f" vs {cut(family.against, 24)}" if family.against else ""
    return f"▾ {family.name}{against}"


def _folded_cells(family: FamilyHeading) -> list[Content | str]:
    unit = {"verdict": "judge", "benchmark": "benchmark", "forgetting": "aspect"}.get(family.kind, "measure")
    return [
        f"▸ {family.name}",
        f"{family.size} {unit}{'s' * (family.size != 1)}",
        "" if family.worst is None else worst(family.worst),
        counted(family),
    ]


def worst(line: CompareLine) -> str:
    """A line's name and what became of it, in few cells."""
    if isinstance(line, JudgeLine):
        return f"{cut(line.row.judge, 15)} {number(line.row.win_rate, 2)}"
    found = (
        line.row.delta if isinstance(line, ForgettingLine) else line.compared.delta if line.compared else None
    )
    return f"{cut(name_of(line), 15)} {difference(found)}"


def counted(family: FamilyHeading) -> Content:
    """How many of a family's lines got clearly worse and better, or part people: sign, number and word."""
    parts = [
        Content.styled(f"− {family.worse} worse", "bold $bad") if family.worse else None,
        Content.styled(f"≠ {family.unequal} unequal", "bold $warn") if family.unequal else None,
        Content.styled(f"+ {family.better} better", "$good") if family.better else None,
    ]
    return join([part for part in parts if part], ", ") or Content(f"= {family.word}")


def _forgot_cells(row: ForgettingRow, models: int) -> list[Content | str]:
    others: list[Content | str] = [""] * (2 * (models - 2))
    return [
        row.aspect, value(row.baseline_value), "", value(row.candidate_value), "", *others,
        difference(row.delta), interval(row.low, row.high, sign=True), verdict(row),
        "", probability(row.p), f"{row.n:,}",
    ]  # fmt: skip


_STANDINGS = {
    "worse": ("− ", "bold $bad"),
    "better": ("+ ", "bold $good"),
    "more": ("↑ ", ""),
    "less": ("↓ ", ""),
    "no worse": ("= ", ""),
    "inconclusive": ("= ", ""),
    "at the floor": ("= ", ""),
    "not settled": ("= ", ""),
    "not tested": ("– ", "$muted"),
    "missing": ("– ", "$muted"),
}


def verdict(row: ForgettingRow) -> Content:
    """What became of an ability, in sign and word."""
    sign, style = ("≠ ", "$warn") if row.word == "drifted" else _STANDINGS[row.standing]
    return Content.styled(sign + row.word, style)


def _gap_cells(entry: MeasureLine) -> list[Content | str]:
    """Between two groups of people any difference is a fault, whichever way it points."""
    ours = entry.cells[1]
    word = Content.styled("≠ unequal", "bold $warn") if entry.is_gap else Content("= inconclusive")
    if ours.low is None:
        word = Content.styled("– not tested", "$muted")
    return [MISSING, interval(ours.low, ours.high, sign=True), word, MISSING, MISSING, f"{ours.n:,}"]


def _compared_cells(row: ComparisonRow | None) -> list[Content | str]:
    if row is None:
        return [MISSING, MISSING, Content.styled("not compared", "$muted"), *[MISSING] * 3]
    return [
        difference(row.delta),
        interval(row.low, row.high, sign=True),
        meaning(row),
        MISSING if row.smallest_detectable is None else f"≥ {value(row.smallest_detectable)}",
        probability(row.p_corrected),
        f"{row.n:,}",
    ]


def meaning(row: ComparisonRow) -> Content:
    """What a comparison says, in sign and word: its stored ruling."""
    if row.standing == "missing":
        return Content.styled("not compared", "$muted")
    sign, style = _STANDINGS[row.standing]
    return Content.styled(sign + row.standing, style) if style else Content(sign + row.standing)


def _verdict_cells(row: WinRateRow) -> list[Content | str]:
    judge = cut(row.judge, 60) if row.is_language_model else f"{cut(row.judge, 40)}: not a language model"
    return [
        judge,
        number(row.win_rate, 2),
        interval(row.low, row.high, digits=2),
        f"{row.wins}/{row.ties}/{row.losses}",
        Content.styled(str(row.failed), "bold $warn" if row.failed else "$muted"),
        won(row),
        number(row.position_bias, 2),
        number(row.length_controlled, 2),
    ]


def won(row: WinRateRow) -> Content:
    """Corrected for all of the candidate's win rates, unlike the interval beside it."""
    return {
        "better": Content.styled("+ better", "bold $good"),
        "worse": Content.styled("− worse", "bold $bad"),
        "inconclusive": Content("= inconclusive"),
    }.get(rule_on_rate(row), Content.styled("no value", "$muted"))


def value(found: float | None) -> str:
    """A value with as many decimals as its size needs."""
    return number(found, _digits(found))


def difference(found: float | None) -> str:
    return signed(found, _digits(found))


def interval(low: float | None, high: float | None, *, sign: bool = False, digits: int | None = None) -> str:
    if low is None or high is None:
        return MISSING
    places = min(_digits(low), _digits(high)) if digits is None else digits
    show = signed if sign else number
    return f"{show(low, places)}..{show(high, places)}"


def _digits(found: float | None) -> int:
    size = abs(found or 0.0)
    return 3 if size < 10 else 2 if size < 100 else 1 if size < 1000 else 0


LEAST_GAP = 20  # cells for what is missing, beside the numbers without synthetic examples
HINT = Content.styled("enter opens or folds a family, z all of them", "$muted")


def brief(entry: Entry | None, width: int) -> list[Content]:
    """What it measures, and what is missing of it: two lines at most, of one style each."""
    if isinstance(entry, MeasureLine):
        about = plain(cut(f"{DIRECTION[entry.direction]}; {entry.meaning}", width), "$muted")
        real = _real(entry)
        room = width - sum(line.cell_length + 2 for line in real)
        more = [*real, *_gaps(entry.gaps, max(room, LEAST_GAP))]
        return [about, join(more, "  ")] if more else [about]
    if isinstance(entry, JudgeLine):
        return [*_real(entry), *_judged(entry)[-1:]]
    if isinstance(entry, ForgettingLine):
        reason = f" ({entry.row.reason})" if entry.row.reason else ""
        return [plain(cut(f"{entry.row.aspect}: {entry.row.said}{reason}", width))]
    return [HINT, *_gaps(entry.gaps, width)] if entry is not None else []


def _gaps(gaps: Sequence[str], width: int) -> list[Content]:
    return [plain(cut("! " + " · ".join(gaps), width), "$warn")] if gaps else []


def explained(entry: Entry | None, width: int) -> list[Content]:
    """All numbers, wrapped."""
    if isinstance(entry, MeasureLine):
        return [line for part in _measured(entry) for line in wrap(part, width)]
    if isinstance(entry, JudgeLine):
        return [line for part in _judged(entry) for line in wrap(part, width)]
    return brief(entry, width)


def declaration(entry: Entry | None, width: int) -> list[Content]:
    """What the selected measure declares of itself, wrapped."""
    if not isinstance(entry, MeasureLine):
        return brief(entry, width)
    name = plain(entry.name, "bold")
    if entry.declared is None:
        about = plain(f"  {DIRECTION[entry.direction]}; {entry.meaning}", "$muted")
        return wrap(join([name, about]), width)
    facts = dict(declared(entry.declared))
    first = [f"{word} {facts[word]}" for word in ("range", "unit", "needs", "version")]
    first.insert(1, facts["direction"])
    parts = [join([name, plain("  " + " · ".join(first), "$muted")])]
    parts += [plain(f"{word}: {facts[word]}") for word in ("meaning", "source", "settings") if word in facts]
    return [line for part in parts for line in wrap(part, width)]


def _measured(entry: MeasureLine) -> list[Content]:
    about = f"  {DIRECTION[entry.direction]}; {entry.meaning}"
    lines = [join([plain(entry.name, "bold"), plain(about, "$muted")])]
    row = entry.compared
    if entry.kind == "disparity":
        lines.append(Content("differences between groups of people, each with its interval"))
    elif row is None:
        lines.append(Content.styled("not compared yet", "$warn"))
    elif row.delta is None:
        lines.append(plain(f"not compared: {row.reason or 'no reason was recorded'}", "$warn"))
    else:
        parts: list[Content | str] = [
            join(
                [f"delta {difference(row.delta)} [{interval(row.low, row.high, sign=True)}] ", meaning(row)]
            ),
            "" if row.smallest_detectable is None else f"min. detectable {value(row.smallest_detectable)}",
            ""
            if row.p_corrected is None
            else f"p {row.p_corrected:.4f} (corrected for {row.family_size:,} comparisons)",
            f"needs about {row.needed:,} examples" if row.needed else "",
            f"paired on {row.n:,} {'examples' if entry.kind == 'metric' else 'questions'}",
        ]
        lines.append(join(filter(None, parts), " · "))
    return [*lines, *_real(entry), join((_cell(cell) for cell in entry.cells), " · ")]


def _cell(cell: MeasureCell) -> Content:
    parts = [plain(f"{middle(cell.model, 24)} {value(cell.value)}")]
    if cell.low is not None:
        parts.append(Content(f"[{interval(cell.low, cell.high)}]"))
    if cell.n:
        parts.append(Content.styled(f"n {cell.n:,}" + ("," if cell.missing else ""), "$muted"))
    if cell.between:
        parts.append(plain(cell.between, "$muted"))
    if cell.own:
        parts.append(plain(cell.own))
    if cell.missing:
        parts.append(plain(f"{cell.missing:,} missing: {cell.reason or 'no reason was recorded'}", "$warn"))
    elif cell.value is None:
        parts.append(plain(cell.reason or "no reason was recorded", "$warn"))
    return join(parts, " ")


def _real(entry: MeasureLine | JudgeLine) -> list[Content]:
    """The same without the examples that a model wrote, where it has some."""
    said = ""
    if isinstance(entry, MeasureLine) and (row := entry.real) is not None:
        values = f"{value(row.baseline_value)} → {value(row.candidate_value)}"
        spread = f" [{interval(row.low, row.high, sign=True)}]" if row.low is not None else ""
        said = f"{values}, delta {difference(row.delta)}{spread}, {row.standing}, n {row.n:,}"
    if isinstance(entry, JudgeLine) and (rate := entry.real) is not None:
        spread = f" [{interval(rate.low, rate.high)}]" if rate.low is not None else ""
        won = f"win rate {number(rate.value)}{spread}, n {rate.n:,}"
        said = won if rate.value is not None else f"no win rate: {rate.reason or 'nothing was judged'}"
    return [plain(f"without the synthetic: {said}")] if said else []


def _judged(entry: JudgeLine) -> list[Content]:
    row = entry.row
    kind = "a language model" if row.is_language_model else "not a language model: closeness to the reference"
    lines = [join([plain(f"judge {row.judge}", "bold"), plain(f"  {kind}", "$muted")])]
    if row.win_rate is None:
        lines.append(plain(f"no win rate: {row.reason or 'nothing was judged'}", "$warn"))
    else:
        rate = f"win rate {number(row.win_rate)} [{interval(row.low, row.high)}], ties count half  "
        lines.append(join([rate, won(row)]))
    lines += _real(entry)
    counts = f"{row.wins} wins, {row.ties} ties, {row.losses} losses"
    failed = plain(f", {row.failed} failed and in no rate", "$warn" if row.failed else "$muted")
    lines.append(join([counts, failed]))
    bias = "position bias not measured"
    if row.position_bias is not None:
        bias = f"the answer shown first wins {row.position_bias:.0%} of decided judgments (50% is no bias)"
    lines.append(Content(bias))
    if row.length_controlled is not None:
        bounds = interval(row.length_controlled_low, row.length_controlled_high)
        lines.append(Content(f"length-controlled win rate {number(row.length_controlled)} [{bounds}]"))
    elif row.length_controlled_reason:
        lines.append(plain(f"no length-controlled win rate: {row.length_controlled_reason}", "$muted"))
    return lines


MISTAKES = 3  # wrong answers that are named for each label


def label_lines(models: Sequence[ModelRow], candidate: str, baseline: str, width: int) -> list[Content]:
    """A line for each label: F1 of both, and the candidate's precision, recall and commonest mistakes."""
    tables = {model.name: {row.name: row for row in labels(model)} for model in models}
    before, after = tables.get(baseline, {}), tables.get(candidate, {})
    return [plain(cut(_line(row, before.get(name), list(after)), width)) for name, row in after.items()]


def _line(row: LabelRow, before: LabelRow | None, names: list[str]) -> str:
    was = "–" if before is None else value(before.f1)
    facts = f"precision {value(row.precision)}, recall {value(row.recall)}, n {row.support:,}"
    mistakes = [
        (count, name)
        for count, name in zip(row.answers, [*names, NOT_FOUND], strict=True)
        if count and name != row.name
    ]
    said = ", ".join(f"{name} {count:,}" for count, name in sorted(mistakes, reverse=True)[:MISTAKES])
    return f"{row.name}: F1 {was} → {value(row.f1)} · {facts}{f' · taken for {said}' if said else ''}"


RELIABILITY_KEY = "█ right  ▒ 95% CI  ◆ the model's confidence  │ 50%"
_SURE, _FIGURES, _LONGEST = 20, 22, 40  # cells of a row's confidence and figures; at most of its band


def reliability_lines(curves: Sequence[ReliabilityCurve], width: int) -> list[Content]:
    """How often each model was right, from the answers that it was least sure of up."""
    lines: list[Content] = []
    for curve in curves:
        title = f"  right by its confidence, on {curve.of}"
        lines.append(join([plain(middle(curve.model, 24), "bold"), plain(title, "$heading")]))
        lines.append(Content.styled(cut(RELIABILITY_KEY, width), "$muted"))
        cells = max(10, min(_LONGEST, width - _SURE - _FIGURES - 2))
        for row in curve.rows:
            figures = f"{percent(row.right)} {interval(row.low, row.high)}"
            drawn = band(row.right, row.low, row.high, cells, row.confidence)
            name = f"{percent(row.confidence)} sure, n {row.n:,}"
            lines.append(join([fit(name, _SURE), fit(figures, _FIGURES, "right"), drawn], " "))
    return lines


def picture_lines(
    entry: Entry | None,
    values: Mapping[str, Sequence[float]] | None,
    tables: Sequence[LabelTable],
    curves: Sequence[ReliabilityCurve],
    width: int,
) -> list[Content]:
    """The selected measure as a picture: a classifier's confusion tables, reliability curves, then how the
    values spread.

    `values` are those of the baseline and the candidate; None while they are read.
    """
    if not isinstance(entry, MeasureLine):
        return [
            plain(
                "measures have pictures: values, answers by label, or reliability",
                "$muted",
            )
        ]
    lines: list[Content] = []
    for table in tables:
        lines.append(
            plain(f"{middle(table.model, 40)}: examples by label (down) and answer (across)", "bold")
        )
        lines += confusion([LabelAnswers(row.name, row.answers) for row in table.labels], NOT_FOUND, width)
    lines += reliability_lines(curves, width)
    if values is None:
        return [*lines, Content.styled("reading …", "$muted")]
    low, high = (entry.declared.low, entry.declared.high) if entry.declared else (0.0, 1.0)
    found = histogram(values, low, high if is_share(entry) or entry.declared else None)
    if found is None:
        return [*lines, plain(f"{entry.name} has no value for single examples here", "$muted")]
    title = [plain(entry.name, "bold"), Content.styled(f"examples by value · {MEDIAN_KEY}", "$muted")]
    return [*lines, join(title, "  "), *histogram_lines(found, width)]
