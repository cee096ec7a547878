"""The pane under the Compare screen's table: what the selected line measures, says, and leaves out."""

from collections.abc import Sequence

from textual.content import Content

from store.read.rows import WinRateRow
from tui.screens.compare.data import Cell, Forgot, Judged, Measured
from tui.screens.compare.families import Entry
from tui.screens.compare.lines import difference, interval, meaning, value, won
from tui.sections.declaration import DIRECTION, declared
from tui.text.gate import cut, join, number, plain, wrap

HINT = Content.styled("enter opens or folds a family, z all of them", "$muted")


def brief(entry: Entry | None, width: int) -> list[Content]:
    """What it measures, and what is missing of it: two lines at most, of one style each."""
    if isinstance(entry, Measured):
        about = plain(cut(f"{DIRECTION[entry.direction]}; {entry.meaning}", width), "$muted")
        return [about, *_gaps(entry.gaps, width)]
    if isinstance(entry, Judged):
        return _judged(entry.row)[-1:]
    if isinstance(entry, Forgot):
        reason = f" ({entry.row.reason})" if entry.row.reason else ""
        return [plain(cut(f"{entry.row.aspect}: {entry.row.said}{reason}", width))]
    return [HINT, *_gaps(entry.gaps, width)] if entry is not None else []


def _gaps(gaps: Sequence[str], width: int) -> list[Content]:
    return [plain(cut("! " + " · ".join(gaps), width), "$warn")] if gaps else []


def explained(entry: Entry | None, width: int) -> list[Content]:
    """All numbers, wrapped."""
    if isinstance(entry, Measured):
        return [line for part in _measured(entry) for line in wrap(part, width)]
    if isinstance(entry, Judged):
        return [line for part in _judged(entry.row) for line in wrap(part, width)]
    return brief(entry, width)


def declaration(entry: Entry | None, width: int) -> list[Content]:
    """What the selected measure declares of itself, wrapped."""
    if not isinstance(entry, Measured):
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


def _measured(entry: Measured) -> list[Content]:
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
