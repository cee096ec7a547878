"""How the Compare screen writes its lines: values, deltas with intervals, and what they mean in a word."""

from functools import lru_cache

from rich.cells import cell_len
from textual.content import Content

from engine.compare.forgetting import ForgettingRow
from store.read.rows import ComparisonRow, WinRateRow
from tui.screens.compare.data import Forgot, Judged, Line, Measured
from tui.screens.compare.families import Entry, Family, name_of
from tui.text.gate import MISSING, cut, join, number, signed
from tui.widgets.table import Column, Columns

ROOMY = 110  # cells from which on the models' names are written longer
VERDICTS = Columns(
    Column("▾ judge: win rates", 31, grow=1),
    Column("rate", 5, align="right"),
    Column("95% CI", 10, align="right"),
    Column("W/T/L", 8, align="right"),
    Column("failed", 6, align="right"),
    Column("", 8, grow=1),
    Column("first place wins", 16, align="right", drop=1),
    Column("length-controlled", 17, align="right", drop=2),
)
FOLDED = Columns(
    Column("family", 17, grow=1),
    Column("measures", 12),
    Column("worst", 22, grow=2),
    Column("standing", 21),
)


@lru_cache(maxsize=64)
def measures(title: str, models: tuple[str, ...], name_cells: int) -> Columns:
    """The columns of metrics or benchmarks. On a narrow line the models that are not compared go first."""
    columns = [Column(title, 17, grow=2)]
    for place, model in enumerate(models):
        name = cut(model, name_cells)
        width = max(7, cell_len(name))
        columns.append(Column(name, width, align="right", drop=0 if place < 2 else 3 + place))
        columns.append(Column("95% CI", 14, align="right", drop=1_000 if place < 2 else 1_001))
    return Columns(
        *columns,
        Column("delta", 6, align="right"),
        Column("95% CI", 14, align="right"),
        Column("", 17, grow=1),
        Column("min. detectable", 15, align="right", drop=3),
        Column("p", 6, align="right", drop=2),
        Column("n", 6, align="right", drop=1),
    )


def draw(entry: Entry, models: tuple[str, ...], width: int) -> Content:
    """One line of the table."""

    def columns(title: str) -> Columns:
        return measures(title, models, 7 if width < ROOMY else 14)

    if isinstance(entry, Family):
        if not entry.open:
            return FOLDED.row(_folded_cells(entry), width)
        heading = VERDICTS if entry.kind == "verdict" else columns(_title(entry))
        return heading.heading(width).stylize("bold")
    if isinstance(entry, Judged):
        return VERDICTS.row(_verdict_cells(entry.row), width)
    if isinstance(entry, Forgot):
        return columns("").row(_forgot_cells(entry.row, len(models)), width)
    cells: list[Content | str] = [entry.name]
    for cell in entry.cells:
        shown = difference(cell.value) if entry.kind == "disparity" else value(cell.value)
        cells += [shown, interval(cell.low, cell.high, sign=entry.kind == "disparity")]
    compared = _gap_cells(entry) if entry.kind == "disparity" else _compared_cells(entry.compared)
    return columns("").row([*cells, *compared], width)


def _title(family: Family) -> str:
    against = f" vs {cut(family.against, 24)}" if family.against else ""
    return f"▾ {family.name}{against}"


def _folded_cells(family: Family) -> list[Content | str]:
    unit = {"verdict": "judge", "benchmark": "benchmark", "forgetting": "aspect"}.get(family.kind, "measure")
    return [
        f"▸ {family.name}",
        f"{family.size} {unit}{'s' * (family.size != 1)}",
        "" if family.worst is None else worst(family.worst),
        counted(family),
    ]


def worst(line: Line) -> str:
    """A line's name and what became of it, in few cells."""
    if isinstance(line, Judged):
        return f"{cut(line.row.judge, 15)} {number(line.row.win_rate, 2)}"
    found = line.row.delta if isinstance(line, Forgot) else line.compared.delta if line.compared else None
    return f"{cut(name_of(line), 15)} {difference(found)}"


def counted(family: Family) -> Content:
    """How many of a family's lines got clearly worse and better, or part people: sign, number and word."""
    parts = [
        Content.styled(f"− {family.worse} worse", "bold $bad") if family.worse else None,
        Content.styled(f"≠ {family.unequal} unequal", "bold $warn") if family.unequal else None,
        Content.styled(f"+ {family.better} better", "$good") if family.better else None,
    ]
    return join([part for part in parts if part], ", ") or Content("= inconclusive")


def _forgot_cells(row: ForgettingRow, models: int) -> list[Content | str]:
    others: list[Content | str] = [""] * (2 * (models - 2))
    return [
        row.aspect, value(row.baseline_value), "", value(row.candidate_value), "", *others,
        difference(row.delta), interval(row.low, row.high, sign=True), verdict(row),
        "", _sure(row.p), f"{row.n:,}",
    ]  # fmt: skip


_STANDINGS = {
    "worse": ("− ", "bold $bad"),
    "better": ("+ ", "bold $good"),
    "more": ("↑ ", ""),
    "less": ("↓ ", ""),
    "no worse": ("= ", ""),
    "inconclusive": ("= ", ""),
    "at the floor": ("= ", ""),
    "not tested": ("– ", "$muted"),
    "missing": ("– ", "$muted"),
}


def verdict(row: ForgettingRow) -> Content:
    """What became of an ability, in sign and word."""
    sign, style = ("≠ ", "$warn") if row.word == "drifted" else _STANDINGS[row.standing]
    return Content.styled(sign + row.word, style)


def _gap_cells(entry: Measured) -> list[Content | str]:
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
        _sure(row.p_corrected),
        f"{row.n:,}",
    ]


def _sure(p: float | None) -> str:
    return MISSING if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


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
    if row.low is None or row.high is None:
        return Content.styled("no value", "$muted")
    if row.low <= 0.5 <= row.high:
        return Content("= inconclusive")
    return (
        Content.styled("+ better", "bold $good") if row.low > 0.5 else Content.styled("− worse", "bold $bad")
    )


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
