"""A run's judges in a terminal: what they did and cost, their win rates, and how far to believe those."""

from collections.abc import Iterable

from engine.decision import judges
from engine.decision.judges import Said
from store.read.judging import JudgeRow
from store.read.rows import WinRateRow
from tui.sections.summary import Summary
from tui.sections.words import judge_name
from tui.text.gate import MISSING
from tui.text.output import Column, heading, interval, number, paragraph, print_table

LEGEND = (
    "first: how often the first place won (0.5 is no bias) · agree: pairs on which both orders agree · "
    "level: the win rate at equal length"
)


def print_judging(summary: Summary, *, full: bool) -> None:
    """Judges, win rates with reasons for doubt, agreement and rankings; `full` adds every figure in words."""
    if not summary.judges:
        return
    _judges(summary.judges)
    for judge in summary.judges:
        _say(f"{judge.name}: ", judges.about_judge(summary.judging, judge))
        if full or judge.parts:
            _say(f"{judge.name}: ", judges.agreement(summary.judging, judge))
    for judge in summary.judges:
        _win_rates(summary, judge, full=full)
    if summary.win_rates:
        paragraph(LEGEND)
    for judge in summary.judges:
        if full or not (judge.details or {}).get("part_of"):
            _ranking(summary, judge)


def _judges(rows: Iterable[JudgeRow]) -> None:
    heading("Judges")
    columns = [Column("judge"), Column("kind"), Column("model"), Column("calls", True)]
    columns += [Column("failed", True), Column("cached", True), Column("cost", True)]
    print_table(columns, [_judge(row) for row in rows])


def _judge(row: JudgeRow) -> list[str]:
    details = row.details or {}
    if row.parts:
        return [row.name, row.kind, f"{len(row.parts)} judges", MISSING, MISSING, MISSING, MISSING]
    within = f", in {details['part_of']}" if details.get("part_of") else ""
    counts = [f"{count:,}" for count in (row.calls, row.failed, row.from_cache)]
    return [row.name, row.kind + within, str(details.get("model") or ""), *counts, judges.cost(row)]


def _say(about: str, said: Iterable[Said]) -> None:
    for statement in said:
        paragraph(f"{about}{statement.text}", "    ", "  ! " if statement.warns else "    ")


def _win_rates(summary: Summary, judge: JudgeRow, *, full: bool) -> None:
    rows = [row for row in summary.win_rates if row.judge == judge.name]
    if not rows:
        return
    heading(f"Win rate by judge {judge_name(judge.name, judge.is_language_model)}")
    columns = [Column("candidate"), Column("against"), Column("win rate", True), Column("w/l/t", True)]
    columns += [Column(title, True) for title in ("failed", "first", "agree", "level")]
    whole = [row for row in rows if row.turn == 0]
    print_table(
        columns,
        [
            cells
            for row in whole
            for cells in [
                _cells(summary, row),
                *(_cells(summary, turn) for turn in rows if _is_turn(turn, row)),
            ]
        ],
    )
    for row in whole:
        about = f"{judges.subject(row)}: " if len(whole) > 1 else ""
        if row.reason:
            paragraph(f"{about}{row.reason}", "    ")
        _say(about, [said for said in judges.about_match(summary.judging, row) if full or said.warns])


def _is_turn(row: WinRateRow, whole: WinRateRow) -> bool:
    return row.turn > 0 and (row.candidate, row.baseline) == (whole.candidate, whole.baseline)


def _cells(summary: Summary, row: WinRateRow) -> list[str]:
    panel = judges.is_panel(summary.judging, row.judge)
    orders = judges.audit_of(summary.judging, row.judge, "consistency", judges.subject(row))
    return [
        f"  turn {row.turn}" if row.turn else row.candidate,
        row.baseline,
        f"{number(row.win_rate)} {interval(row.low, row.high).replace(',', '')}".strip(),
        f"{row.wins}/{row.losses}/{row.ties}",
        str(row.failed),
        number(row.position_bias),
        MISSING if row.turn or orders is None or panel else number(orders.value),
        number(row.length_controlled),
    ]


def _ranking(summary: Summary, judge: JudgeRow) -> None:
    rows = judges.ranking_of(summary.judging, judge.name)
    if not rows:
        return
    heading(f"Ranking by judge {judge.name} (Bradley-Terry, on Elo's scale)")
    columns = [Column("model"), Column("strength", True), Column("95% interval", True), Column("n", True)]
    print_table(
        columns,
        [
            [row.model, number(row.strength), interval(row.low, row.high) or row.reason or "", str(row.n)]
            for row in rows
        ],
    )
