"""How the Compare screen writes its lines: values, deltas with intervals, and what they mean in a word."""

from functools import lru_cache

from rich.cells import cell_len
from textual.content import Content

from store.rows import ComparisonRow, WinRateRow
from tui.screens.compare_data import Cell, Entry, Judged, Measured, Title
from tui.text import MISSING, cut, join, number, plain, signed, wrap
from tui.widgets.table import Column, Columns

_DIRECTION = {"higher": "higher is better", "lower": "lower is better", "none": "neither end is better"}
ROOMY = 110  # cells from which on the models' names are written longer
VERDICTS = Columns(
    Column("win rate by judge", 31, grow=1),
    Column("rate", 5, align="right"),
    Column("95%", 10, align="right"),
    Column("W/T/L", 8, align="right"),
    Column("failed", 6, align="right"),
    Column("", 8, grow=1),
    Column("first place wins", 16, align="right", drop=1),
    Column("length-controlled", 17, align="right", drop=2),
)


@lru_cache(maxsize=16)
def measures(title: str, models: tuple[str, ...], name_cells: int) -> Columns:
    """The columns of metrics or benchmarks. On a narrow line the models that are not compared go first."""
    columns = [Column(title, 17, grow=2)]
    for place, model in enumerate(models):
        name = cut(model, name_cells)
        width = max(7, cell_len(name))
        columns.append(Column(name, width, align="right", drop=0 if place < 2 else 3 + place))
        columns.append(Column("95%", 14, align="right", drop=1_000 if place < 2 else 1_001))
    return Columns(
        *columns,
        Column("delta", 6, align="right"),
        Column("95%", 14, align="right"),
        Column("", 17, grow=1),
        Column("could see", 9, align="right", drop=3),
        Column("p", 6, align="right", drop=2),
        Column("n", 6, align="right", drop=1),
    )


def draw(entry: Entry, models: tuple[str, ...], width: int) -> Content:
    """One line of the table."""

    def columns(title: str) -> Columns:
        return measures(title, models, 7 if width < ROOMY else 14)

    if isinstance(entry, Title):
        if entry.kind == "verdict":
            return VERDICTS.heading(width).stylize("bold")
        return columns(_title(entry)).heading(width).stylize("bold")
    if isinstance(entry, Judged):
        return VERDICTS.row(_verdict_cells(entry.row), width)
    cells: list[Content | str] = [entry.name]
    for cell in entry.cells:
        cells += [value(cell.value), interval(cell.low, cell.high)]
    found = entry.compared
    return columns("").row([*cells, *_compared_cells(found)], width)


def _title(title: Title) -> str:
    return title.kind + (f" vs {cut(title.text, 24)}" if title.text else "")


def _compared_cells(row: ComparisonRow | None) -> list[Content | str]:
    if row is None:
        return [MISSING, MISSING, Content.styled("not compared", "$muted"), *[MISSING] * 3]
    return [
        difference(row.delta),
        interval(row.low, row.high, sign=True),
        meaning(row),
        MISSING if row.smallest_detectable is None else f"≥ {value(row.smallest_detectable)}",
        MISSING if row.p is None else "<0.001" if row.p < 0.001 else f"{row.p:.3f}",
        f"{row.n:,}",
    ]


def meaning(row: ComparisonRow) -> Content:
    """What a change amounts to, in sign and word: clear when its interval leaves zero out."""
    if row.delta is None or row.low is None or row.high is None:
        return Content.styled("not compared", "$muted")
    if row.low <= 0 <= row.high:
        return Content("= no clear change")
    if row.direction == "none":
        return Content("↑ higher" if row.delta > 0 else "↓ lower")
    better = (row.delta > 0) == (row.direction == "higher")
    return Content.styled("+ better", "bold $good") if better else Content.styled("− worse", "bold $bad")


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
        return Content("= open")
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


# The lines under the table, about the selected one


def brief(entry: Entry | None, width: int) -> list[Content]:
    """What it measures, and what is missing of it: two lines at most, of one style each."""
    if isinstance(entry, Measured):
        gaps = [
            f"{cell.model} {f'{cell.missing:,} missing' if cell.value is not None else 'none'}: {cell.reason}"
            for cell in entry.cells
            if cell.reason
        ]
        if entry.compared is not None and entry.compared.delta is None:
            gaps.insert(0, f"not compared: {entry.compared.reason or 'no reason was recorded'}")
        lines = [plain(cut(f"{_DIRECTION[entry.direction]}; {entry.meaning}", width), "$muted")]
        return [*lines, plain(cut("! " + " · ".join(gaps), width), "$warn")] if gaps else lines
    if isinstance(entry, Judged):
        return _judged(entry.row)[-1:]
    return []


def explained(entry: Entry | None, width: int) -> list[Content]:
    """All numbers, wrapped."""
    if isinstance(entry, Measured):
        return [line for part in _measured(entry) for line in wrap(part, width)]
    if isinstance(entry, Judged):
        return [line for part in _judged(entry.row) for line in wrap(part, width)]
    return []


def _measured(entry: Measured) -> list[Content]:
    about = f"  {_DIRECTION[entry.direction]}; {entry.meaning}"
    lines = [join([plain(entry.name, "bold"), plain(about, "$muted")])]
    row = entry.compared
    if row is None:
        lines.append(Content.styled("not compared yet", "$warn"))
    elif row.delta is None:
        lines.append(plain(f"not compared: {row.reason or 'no reason was recorded'}", "$warn"))
    else:
        parts: list[Content | str] = [
            join(
                [f"delta {difference(row.delta)} [{interval(row.low, row.high, sign=True)}] ", meaning(row)]
            ),
            "" if row.smallest_detectable is None else f"could see ≥ {value(row.smallest_detectable)}",
            "" if row.p is None else f"p {row.p:.4f}",
            f"paired on {row.n:,} {'examples' if entry.kind == 'metric' else 'questions'}",
        ]
        lines.append(join(filter(None, parts), " · "))
    return [*lines, join((_cell(cell) for cell in entry.cells), " · ")]


def _cell(cell: Cell) -> Content:
    parts = [plain(f"{cut(cell.model, 24)} {value(cell.value)}")]
    if cell.low is not None:
        parts.append(Content(f"[{interval(cell.low, cell.high)}]"))
    if cell.n:
        parts.append(Content.styled(f"n {cell.n:,}" + ("," if cell.missing else ""), "$muted"))
    if cell.missing:
        parts.append(plain(f"{cell.missing:,} missing: {cell.reason or 'no reason was recorded'}", "$warn"))
    elif cell.value is None:
        parts.append(plain(cell.reason or "no reason was recorded", "$warn"))
    return join(parts, " ")


def _judged(row: WinRateRow) -> list[Content]:
    kind = "a language model" if row.is_language_model else "not a language model: closeness to the reference"
    lines = [join([plain(f"judge {row.judge}", "bold"), plain(f"  {kind}", "$muted")])]
    if row.win_rate is None:
        lines.append(plain(f"no win rate: {row.reason or 'nothing was judged'}", "$warn"))
    else:
        rate = f"win rate {number(row.win_rate)} [{interval(row.low, row.high)}], ties count half  "
        lines.append(join([rate, won(row)]))
    counts = f"{row.wins} wins, {row.ties} ties, {row.losses} losses"
    failed = plain(f", {row.failed} failed and in no rate", "$warn" if row.failed else "$muted")
    lines.append(join([counts, failed]))
    bias = "position bias not measured"
    if row.position_bias is not None:
        bias = f"the answer shown first wins {row.position_bias:.0%} of decided judgments (50% is no bias)"
    controlled = f"; length-controlled win rate {number(row.length_controlled)}"
    lines.append(Content(bias + (controlled if row.length_controlled is not None else "")))
    return lines
