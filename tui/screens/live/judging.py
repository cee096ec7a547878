"""How the judging goes, on the Live screen: each judge's pace, cost and failures, and its win rates."""

from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content

from engine.decision import judges
from store.read.judging import FailureRow, JudgeRow
from store.read.rows import ProgressRow, WinRateRow
from tui.sections.eta import Recent, rate
from tui.text.gate import cut, fit, join, one_line, plain
from tui.widgets.win_rate_bar import band, key

REASONS = 3  # kinds of failures that are named
BESIDE = 112  # cells from which on a match's band stands beside its numbers
NUMBERS = 78  # cells of those
BAND = 60  # cells of a band at most


@dataclass(frozen=True, slots=True)
class JudgingSoFar:
    """What has been judged until now."""

    judges: list[JudgeRow]
    rates: list[WinRateRow]
    failures: list[FailureRow]


def judging(
    found: JudgingSoFar,
    progress: Sequence[ProgressRow],
    width: int,
    *,
    gate: float | None = None,
    recent: Recent | None = None,
) -> list[Content]:
    """A line for each judge's calls, then its matches with the bands in which their win rates lie.

    `gate` is the win rate that the plan asks for.
    """
    lines = []
    for judge in found.judges:
        rates = [row for row in found.rates if row.judge == judge.name]
        if not rates and not judge.calls:
            continue
        note = "" if judge.is_language_model else ", not a language model: it compares with the references"
        what = "Win rate by " if judge.kind == "pairwise" else "Scores by "
        name = plain(cut(judge.name, 24), "bold")
        lines.append(join([_heading(what), name, _heading(note)]))
        if judge.is_language_model and not judge.parts:
            lines += [fit(line, width) for line in _calls(judge, found.failures, progress, recent)]
        for place, row in enumerate(rates):
            lines += _match(row, width, gate, explained=place == 0)
    return lines


def _heading(text: str) -> Content:
    return Content.styled(text, "$heading")


def _calls(
    judge: JudgeRow, failures: list[FailureRow], progress: Sequence[ProgressRow], recent: Recent | None
) -> list[Content]:
    """Pace, cost and counts; then why calls failed."""
    cached = f", {judge.from_cache:,} from the cache" if judge.from_cache else ""
    cost = "cost unknown" if judges.cost(judge) == "unknown" else f"{judges.cost(judge)} so far"
    pace = rate([row for row in progress if _is_under_way(row, judge.name)], recent)
    parts = [f"{judge.calls:,} calls{cached}", cost, "" if pace is None else f"{pace:.1f} calls/s"]
    lines = [Content.styled("  " + " · ".join(filter(None, parts)), "$muted")]
    reasons = [row for row in failures if row.judge == judge.name]
    if reasons:
        said = " · ".join(f"{row.calls:,} × {row.failure}" for row in reasons[:REASONS])
        more = " · others" if len(reasons) > REASONS else ""
        lines.append(one_line(f"  ! {judge.failed:,} failed: {said}{more}", "$bad"))
    return lines


def _is_under_way(row: ProgressRow, judge: str) -> bool:
    """Whether this is the judge's piece of work, and it is being done."""
    own = row.item == judge or row.item.startswith(f"{judge} · ")
    return row.phase == "judge" and own and row.started is not None and row.done < row.total


def _match(row: WinRateRow, width: int, gate: float | None, *, explained: bool) -> list[Content]:
    """One match's numbers and its band: on one line where there is room for both."""
    numbers = _win_rate(row)
    if row.win_rate is None:
        return [numbers]
    meaning = join(["  ", key(gate)]) if explained else Content("")
    if width >= BESIDE:
        cells = min(BAND, width - NUMBERS - 2 - key(gate).cell_length)
        return [join([fit(numbers, NUMBERS), band(row.win_rate, row.low, row.high, cells, gate), meaning])]
    cells = min(BAND, width - 6 - key(gate).cell_length)
    return [numbers, join(["    ", band(row.win_rate, row.low, row.high, cells, gate), meaning])]


def _win_rate(row: WinRateRow) -> Content:
    name = join([one_line(row.candidate), " against ", one_line(row.baseline)])
    counts = f"{row.wins} win {row.ties} tie {row.losses} loss"
    failed = Content.styled(f" {row.failed} failed", "$bad") if row.failed else Content("")
    if row.win_rate is None or row.low is None or row.high is None:
        return join(["  ", fit(name, 22), " ", counts, failed, plain(f"  {row.reason or 'no verdict yet'}")])
    won = f"{row.win_rate:.1%} [{100 * row.low:.1f}, {100 * row.high:.1f}]"
    first = "" if row.position_bias is None else f"1st {row.position_bias:.0%}"
    biased = row.position_bias is not None and judges.is_biased(row.position_bias)
    place = Content.styled(f"!{first}", "$warn") if biased else Content(first)
    return join(["  ", fit(name, 22), " ", fit(won, 20), " ", fit(place, 9), " ", counts, failed])
