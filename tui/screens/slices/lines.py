"""How the Slices screen writes its lines."""

from collections.abc import Sequence
from functools import lru_cache

from textual.content import Content

from store.read.slices import SliceRow, SliceScoreRow
from tui.screens.compare.lines import difference, interval, value
from tui.text.gate import MISSING, cut, join, plain, wrap
from tui.widgets.table import Column, Columns

_WORDS = {
    "worse": ("− worse", "bold $bad"),
    "better": ("+ better", "bold $good"),
    "more": ("≠ more", "$warn"),
    "less": ("≠ less", "$warn"),
    "inconclusive": ("= inconclusive", ""),
    "no worse": ("= no worse", ""),
    "at the floor": ("= at the floor", ""),
    "not tested": ("– not tested", "$muted"),
    "missing": ("– none", "$muted"),
}


@lru_cache(maxsize=16)
def columns(baseline: str, candidate: str, measure: bool) -> Columns:
    """The columns, with the measure's name among them where the slices are those of several."""
    named = [Column("measure", 15, grow=1)] if measure else []
    return Columns(
        Column("slice", 18, grow=2),
        *named,
        Column("n", 4, align="right"),
        Column(baseline, 7, align="right"),
        Column(candidate, 7, align="right"),
        Column("delta", 6, align="right"),
        Column("95% CI", 14, align="right", drop=1 if measure else 0),
        Column("p", 6, align="right"),
        Column("", 14),
        gap=1,
    )


def draw(row: SliceRow, layout: Columns, width: int, *, measure: bool) -> Content:
    """One slice."""
    cells: list[Content | str] = [row.slice.removeprefix("prompt of ")]
    if measure:
        cells.append(row.measure)
    return layout.row(
        [
            *cells,
            f"{row.n:,}",
            value(row.baseline_value),
            value(row.candidate_value),
            difference(row.delta),
            interval(row.low, row.high, sign=True),
            _sure(row.p),
            Content.styled(*_WORDS[row.standing]),
        ],
        width,
    )


def explained(row: SliceRow | None, scores: Sequence[SliceScoreRow], width: int) -> list[Content]:
    """The selected slice in full: the difference, and each model's value on it."""
    if row is None:
        return []
    said = f"{difference(row.delta)} [{interval(row.low, row.high, sign=True)}]"
    sure = "" if row.p is None else f", p {_sure(row.p)} (Holm)"
    first = [plain(f"{row.slice} · {row.measure} ", "bold")]
    if row.delta is None:
        first.append(plain(f"not compared: {row.reason or 'no reason was recorded'}", "$warn"))
    else:
        first.append(plain(f"{said} on {row.n:,} examples{sure}"))
    found = [
        score
        for score in scores
        if (score.measure, score.slice) == (row.measure, row.slice)
        and score.model in (row.candidate, row.baseline)
    ]
    lines = [join(first), join([_score(score) for score in found], " · ")]
    return [part for line in lines for part in wrap(line, width)]


def _sure(p: float | None) -> str:
    if p is None:
        return MISSING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _score(score: SliceScoreRow) -> Content:
    name = cut(score.model, 24)
    if score.value is None:
        return plain(f"{name} none: {score.reason or 'no reason was recorded'}", "$warn")
    gaps = f", {score.missing} missing: {score.reason or 'no reason was recorded'}" if score.missing else ""
    rest = "" if score.p is None or score.p >= 0.05 else " ≠ the rest"
    return plain(f"{name} {value(score.value)} [{interval(score.low, score.high)}] n {score.n}{gaps}{rest}")
