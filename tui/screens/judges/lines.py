"""How the Judges screen writes its lines."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from textual.content import Content

from engine.decision import judges
from engine.decision.judges import Said
from store.read.judging import DisputeRow, JudgeRow, Judging, MeanRow, RankingRow
from store.read.rows import WinRateRow
from tui.text.gate import MISSING, cut, fit, join, one_line, plain, wrap
from tui.widgets.table import Column, Columns

STRIP = 24  # cells of a ranking's strip
_SIGNS = {
    "win": Content.styled("+ win", "$good"),
    "loss": Content.styled("− loss", "$bad"),
    "tie": Content("= tie"),
}


@lru_cache(maxsize=1)
def columns() -> Columns:
    """A judge's line; model and prompt stand there where there is room for them."""
    return Columns(
        Column("judge", 12, grow=2),
        Column("kind", 9),
        Column("model", 16, grow=1, drop=2),
        Column("prompt", 8, drop=1),
        Column("n", 5, align="right"),
        Column("win rate or score", 17),
        Column("agree", 5, align="right"),
        Column("1st", 5, align="right"),
        Column("level", 5, align="right"),
        Column("fail", 4, align="right"),
        Column("cost", 7, align="right"),
        gap=1,
    )


def draw(judge: JudgeRow, found: Judging, candidate: str, baseline: str, width: int) -> Content:
    """One judge on one match; of a judge of single responses its mean score of the candidate."""
    rate = judges.rate_of(found, judge.name, candidate, baseline)
    mean = judges.mean_of(found, judge.name, candidate)
    n, result = _rate(rate) if judge.kind == "pairwise" else _mean(mean)
    failed = f"!{judge.failed}" if judge.failed > judges.MANY_FAILED * judge.calls else f"{judge.failed}"
    return columns().row(
        [
            judge.name,
            judge.kind,
            str((judge.details or {}).get("model") or MISSING),
            judge.prompt_hash.removeprefix("imported:")[:8],
            n,
            result,
            _agreement(found, rate),
            _marked(rate.position_bias if rate else None, judges.is_biased),
            _marked(
                rate.length_controlled if rate else None,
                lambda _: rate is not None and judges.is_shifted(rate),
            ),
            MISSING if judge.parts else failed,
            judges.cost(judge),
        ],
        width,
    )


def _rate(rate: WinRateRow | None) -> tuple[str, str]:
    if rate is None:
        return MISSING, MISSING
    if rate.win_rate is None:
        return "0", cut(rate.reason or "no verdict yet", 17)
    return f"{rate.wins + rate.losses + rate.ties:,}", judges.share(rate.win_rate, rate.low, rate.high)


def _mean(mean: MeanRow | None) -> tuple[str, str]:
    return (MISSING, MISSING) if mean is None else (f"{mean.n:,}", judges.mean(mean))


def _agreement(found: Judging, rate: WinRateRow | None) -> str:
    if rate is None or judges.is_panel(found, rate.judge):
        return MISSING
    audit = judges.audit_of(found, rate.judge, "consistency", judges.subject(rate))
    return _marked(audit.value if audit else None, lambda value: value < judges.HALF)


def _marked(value: float | None, warns: Callable[[float], bool]) -> str:
    """A share, behind a mark where it is a reason for doubt."""
    if value is None:
        return MISSING
    return f"{'!' if warns(value) else ''}{value:.0%}"


def about(judge: JudgeRow | None, found: Judging, candidate: str, baseline: str, width: int) -> list[Content]:
    """Everything about one judge on one match in words, the reasons for doubt first."""
    if judge is None:
        return []
    said = list(_said(judge, found, candidate, baseline))
    lines = [_title(judge, width)]
    for statement in sorted(said, key=lambda each: not each.warns):
        sign, style = ("! ", "$warn") if statement.warns else ("· ", "")
        first, *rest = wrap(one_line(statement.text, style), width - 2) or [Content("")]
        lines += [join([plain(sign, style), first]), *(join(["  ", line]) for line in rest)]
    return [*lines, *ranking(judges.ranking_of(found, judge.name), width)]


def _title(judge: JudgeRow, width: int) -> Content:
    details = judge.details or {}
    words = [str(details.get("model") or "")] if details.get("model") != judge.name else []
    words += [f"prompt {judge.prompt_hash[:8]}"] if not judge.parts else []
    if isinstance(details.get("criteria"), dict) and details["criteria"]:
        words.append(f"rubric {', '.join(details['criteria'])}")
    if judge.calls:
        words.append(f"{judge.calls:,} calls, {judge.from_cache:,} cached")
    if judge.seconds is not None:
        words.append(f"{judge.seconds:.2g} s a call")
    if judge.reported_models:
        words.append(f"says it is {judge.reported_models}")
    rest = one_line("  " + " · ".join(filter(None, words)), "$muted")
    return fit(join([plain(cut(judge.name, 24), "bold"), rest]), width)


def _said(judge: JudgeRow, found: Judging, candidate: str, baseline: str) -> Iterator[Said]:
    if rate := judges.rate_of(found, judge.name, candidate, baseline):
        yield from judges.about_match(found, rate)
    for row in found.win_rates:
        if row.turn and (row.judge, row.candidate, row.baseline) == (judge.name, candidate, baseline):
            won = judges.share(row.win_rate, row.low, row.high)
            yield Said(f"turn {row.turn} alone: {won}, {row.wins}/{row.losses}/{row.ties} win/loss/tie")
    means = [row for row in found.means if row.judge == judge.name]
    if means:
        yield Said("mean scores: " + " · ".join(f"{row.model} {judges.mean(row)}" for row in means))
    yield from judges.about_judge(found, judge)
    yield from judges.agreement(found, judge)


def ranking(rows: Sequence[RankingRow], width: int) -> list[Content]:
    """Strengths on one scale, each with its interval as a strip."""
    ends = [end for row in rows for end in (row.low, row.strength, row.high) if end is not None]
    if not ends:
        return []
    name = min(24, max(len(cut(row.model, 24)) for row in rows))
    lines = [Content.styled("Ranking (Bradley-Terry, on Elo's scale)", "$heading")]
    for row in rows:
        said = f"{row.strength:,.0f}" if row.strength is not None else row.reason or "no reason was recorded"
        held = "" if row.low is None or row.high is None else f" [{row.low:.0f}, {row.high:.0f}]"
        strip = _strip(row, min(ends), max(ends))
        lines.append(fit(join([fit(row.model, name), "  ", strip, plain(f"  {said}{held}")]), width))
    return lines


def _strip(row: RankingRow, lowest: float, highest: float) -> Content:
    """The interval as a line with the strength on it."""
    if row.strength is None:
        return Content(" " * STRIP)

    def cell(value: float) -> int:
        return round((value - lowest) / ((highest - lowest) or 1.0) * (STRIP - 1))

    low, high = cell(row.low or row.strength), cell(row.high or row.strength)
    cells = ["─" if low <= place <= high else " " for place in range(STRIP)]
    cells[cell(row.strength)] = "●"
    return Content.styled("".join(cells), "$good")


def disputed(judge: JudgeRow | None, rows: Sequence[DisputeRow]) -> list[DisputeRow]:
    """What this judge sees differently from another, or what the parts of a panel do, widest gap first."""
    if judge is None:
        return []
    if judge.parts:
        return [row for row in rows if {row.one, row.other} <= set(judge.parts)]
    return [
        row if row.one == judge.name else _turned(row) for row in rows if judge.name in (row.one, row.other)
    ]


def _turned(row: DisputeRow) -> DisputeRow:
    """The other judge first."""
    return replace(row, one=row.other, said=row.other_said, other=row.one, other_said=row.said)


def dispute(row: DisputeRow, width: int) -> Content:
    """One pair that two judges see differently."""
    against = f" against {cut(row.baseline, 10)}" if row.baseline else ""
    turn = f" turn {row.turn}" if row.turn else ""
    parts: list[Content | str] = [
        fit(row.example, 7), " ", fit(f"{cut(row.candidate, 10)}{against}{turn}", 29), " ",
        fit(row.one, 12), " ", fit(_verdict(row.said), 6), " ", fit(row.other, 12), " ",
        fit(_verdict(row.other_said), 6), " ", one_line(row.query, "$muted"),
    ]  # fmt: skip
    return fit(join(parts), width)


def _verdict(said: str) -> Content:
    """An outcome with its sign, or a score."""
    return _SIGNS.get(said) or plain(said)
