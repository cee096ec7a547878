"""How the Compare screen writes its lines: values, deltas with intervals, and what they mean in a word."""

from functools import lru_cache

from textual.content import Content

from store.rows import ComparisonRow, WinRateRow
from tui.screens.compare_data import Cell, Entry, Judged, Measured, Title
from tui.text import MISSING, cut, join, number, plain, signed, wrap
from tui.widgets.table import Column, Columns

_DIRECTION = {"higher": "higher is better", "lower": "lower is better", "none": "neither end is better"}
VERDICTS = Columns(
    Column("win rate by judge", 31, grow=1),
    Column("rate", 5, align="right"),
    Column("95%", 9, align="right"),
    Column("W/T/L", 9, align="right"),
    Column("failed", 6, align="right"),
    Column("", 8, grow=1),
    Column("first place wins", 16, align="right", drop=1),
    Column("length-controlled", 17, align="right", drop=2),
)


@lru_cache(maxsize=16)
def measures(title: str, models: tuple[str, ...]) -> Columns:
    """The columns of metrics or benchmarks. On a narrow line the models that are not compared go first."""
    columns = [Column(title, 17, grow=1)]
    for place, model in enumerate(models):
        compared = place < 2
        columns.append(
            Column(cut(model, 9), max(7, min(9, len(model))), align="right", drop=0 if compared else 3)
        )
        columns.append(Column("95%", 13, align="right", drop=4 if compared else 5))
    return Columns(
        *columns,
        Column("delta", 7, align="right"),
        Column("95%", 13, align="right"),
        Column("", 17, grow=2),
        Column("p", 6, align="right", drop=2),
        Column("n", 6, align="right", drop=1),
    )


def draw(entry: Entry, models: tuple[str, ...], width: int) -> Content:
    """One line of the table."""
    if isinstance(entry, Title):
        if entry.kind == "verdict":
            return VERDICTS.heading(width)
        return measures(_title(entry), models).heading(width)
    if isinstance(entry, Judged):
        return VERDICTS.row(_verdict_cells(entry.row), width)
    cells: list[Content | str] = [entry.name]
    for cell in entry.cells:
        cells += [value(cell.value), interval(cell.low, cell.high)]
    found = entry.compared
    return measures("", models).row([*cells, *_compared_cells(found)], width)


def _title(title: Title) -> str:
    return title.kind + (f" vs {cut(title.text, 24)}" if title.text else "")


def _compared_cells(row: ComparisonRow | None) -> list[Content | str]:
    if row is None:
        return [MISSING, MISSING, Content.styled("not compared", "$muted"), MISSING, MISSING]
    return [
        difference(row.delta),
        interval(row.low, row.high, sign=True),
        meaning(row),
        MISSING if row.p is None else "<0.001" if row.p < 0.001 else f"{row.p:.3f}",
        f"{row.n:,}",
    ]


def meaning(row: ComparisonRow) -> Content:
    """A change in sign and word; "no clear change" says what this many examples could have shown."""
    if row.delta is None or row.low is None or row.high is None:
        return Content.styled("not compared", "$muted")
    if row.low <= 0 <= row.high:
        could = row.smallest_detectable
        seen = f"; could see ≥ {value(could)}" if could is not None else ""
        return Content(f"= no clear change{seen}")
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
    return f"{show(low, places)}…{show(high, places)}"


def _digits(found: float | None) -> int:
    size = abs(found or 0.0)
    return 3 if size < 10 else 2 if size < 100 else 1


# The lines under the table: everything about the selected one


def explained(entry: Entry | None, width: int) -> list[Content]:
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
        tested = "" if row.p is None else f"  p {row.p:.4f}"
        lines.append(
            join(
                [
                    f"delta {difference(row.delta)} [{interval(row.low, row.high, sign=True)}]  ",
                    meaning(row),
                    f"{tested}  paired on {row.n:,} {'examples' if entry.kind == 'metric' else 'questions'}",
                ]
            )
        )
    lines += [_cell(cell) for cell in entry.cells]
    return lines


def _cell(cell: Cell) -> Content:
    parts = [plain(f"{cut(cell.model, 24)} {value(cell.value)}")]
    if cell.low is not None:
        parts.append(Content(f"[{interval(cell.low, cell.high)}]"))
    if cell.n:
        parts.append(Content.styled(f"n {cell.n:,}", "$muted"))
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
