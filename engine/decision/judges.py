"""What there is to say about a judge: its biases, its agreement with others, its cost."""

from collections.abc import Iterator
from math import sqrt
from typing import NamedTuple

from engine.gates.figures import MISSING, percent
from store.read.judging import AuditRow, JudgeUse, JudgingResults, MeanRow, RankingRow, SharedRow
from store.read.rows import WinRateRow
from store.records.judging import REFUSAL_RULES, SHARED_RATES, WITHOUT_SYNTHETIC

MANY_FAILED = 0.10  # share of failed pairs above which a rate covers the easy pairs only
HALF = 0.5  # share of pairs below which a judge's orders agree too rarely
PLACE = 0.10  # how far from even the first position's share may be
SHIFT = 0.05  # how far the LC win rate may be from the raw one
UNLIKE = 0.4  # Krippendorff's alpha below which judges hardly agree
FOOLED = 0.10  # win rate of a constant, empty answer above which a judge is fooled
MOST = 3  # reasons for failed calls that are listed

_TRAITS = {
    "longer_wins": "longer answers",
    "markdown_wins": "answers with more Markdown",
    "addresses_judge_wins": "answers addressing the judge",
}
_AGREEMENT = {
    "cohen_kappa": "kappa",
    "raw_agreement": "same verdict",
    "krippendorff_alpha": "Krippendorff's alpha",
    "spearman": "rank correlation",
}


class Said(NamedTuple):
    """One statement about a judge; `warns` where it is a reason for doubt."""

    text: str
    warns: bool = False


def subject(row: WinRateRow) -> str:
    return f"{row.candidate} against {row.baseline}"


def audit_of(found: JudgingResults, judge: str, measure: str, about: str) -> AuditRow | None:
    return next((r for r in found.audits if (r.judge, r.measure, r.subject) == (judge, measure, about)), None)


def rate_of(
    found: JudgingResults, judge: str, candidate: str, baseline: str, turn: int = 0
) -> WinRateRow | None:
    wanted = (judge, candidate, baseline, turn)
    return next(
        (row for row in found.win_rates if (row.judge, row.candidate, row.baseline, row.turn) == wanted), None
    )


def mean_of(found: JudgingResults, judge: str, model: str) -> MeanRow | None:
    return next((row for row in found.means if (row.judge, row.model) == (judge, model)), None)


def ranking_of(found: JudgingResults, judge: str) -> list[RankingRow]:
    """The judge's ranking of three or more models; empty for two, where the win rate says it all."""
    rows = [row for row in found.rankings if row.judge == judge]
    return rows if len(rows) > 2 else []


def is_panel(found: JudgingResults, judge: str) -> bool:
    """Whether it is a panel: its consistency is between judges, not between orders."""
    return audit_of(found, judge, "krippendorff_alpha", "all judges") is not None


def cost(judge: JudgeUse) -> str:
    """US dollars; an unknown cost is reported as unknown, never as 0."""
    if not judge.is_language_model:
        return "none"
    if judge.unpriced:
        return "unknown" if not judge.cost else f"${judge.cost:,.2f} + ?"
    return MISSING if judge.cost is None else f"${judge.cost:,.2f}"


def share(value: float | None, low: float | None, high: float | None) -> str:
    """A share with its interval in per cent: 66% [50, 79]."""
    if value is None:
        return MISSING
    if low is None or high is None:
        return f"{value:.0%}"
    return f"{value:.0%} [{100 * low:.0f}, {100 * high:.0f}]"


def mean(row: MeanRow) -> str:
    """A mean score with its interval: 6.20 [5.85, 6.55]."""
    if row.value is None:
        return row.reason or MISSING
    if row.low is None or row.high is None:
        return f"{row.value:.2f}"
    return f"{row.value:.2f} [{row.low:.2f}, {row.high:.2f}]"


def is_biased(first_place: float) -> bool:
    """Whether one position wins clearly more often than the other."""
    return abs(first_place - HALF) >= PLACE


def is_shifted(row: WinRateRow) -> bool:
    """Whether the LC win rate differs clearly from the raw one."""
    return (
        row.win_rate is not None
        and row.length_controlled is not None
        and abs(row.length_controlled - row.win_rate) > SHIFT
    )


def about_match(found: JudgingResults, row: WinRateRow) -> Iterator[Said]:
    """How far a win rate can be trusted: failures, order, position, length, Markdown."""
    total = row.wins + row.losses + row.ties + row.failed
    if row.failed:
        said = f"{row.failed:,} of {total:,} pairs failed and are left out"
        yield Said(said, row.failed > MANY_FAILED * total)
    if same := audit_of(found, row.judge, "identical", subject(row)):
        yield Said(f"{same.value or 0:,.0f} of {same.n:,} pairs are identical answers: ties without a call")
    yield from _about_orders(found, row)
    if row.length_controlled is not None:
        held = share(row.length_controlled, row.length_controlled_low, row.length_controlled_high)
        off = is_shifted(row)
        yield Said(f"LC win rate {held}" + (f", not {row.win_rate:.0%}" if off else ""), off)
    elif row.length_controlled_reason:
        yield Said(f"no LC win rate: {row.length_controlled_reason}")
    if real := audit_of(found, row.judge, WITHOUT_SYNTHETIC, subject(row)):
        won = f"{share(real.value, real.low, real.high)} of {real.n:,}" if real.n else real.reason or MISSING
        yield Said(f"without the synthetic examples: {won}", is_turned(row, real))
    if published := audit_of(found, row.judge, "alpaca_eval_lc", subject(row)):
        rate = MISSING if published.value is None else f"{published.value:.2%} over {published.n:,} rows"
        yield Said(f"AlpacaEval's own LC win rate: {published.reason or rate}")
    for measure, words in _TRAITS.items():
        if audit := audit_of(found, row.judge, measure, subject(row)):
            yield _about_trait(audit, words)
    error = audit_of(found, row.judge, "standard_error", subject(row))
    if error and error.value is not None:
        yield Said(f"standard error {error.value:.2%} of {error.n:,} graded preferences")
    if mean := audit_of(found, row.judge, "mean_win_rate", subject(row)):
        yield Said(f"mean over its judges' verdicts: {share(mean.value, mean.low, mean.high)}")
    if saved := audit_of(found, row.judge, "calls_saved", subject(row)):
        yield _about_saving(saved)


def is_turned(row: WinRateRow, other: AuditRow) -> bool:
    """Whether the candidate wins more than half of one and less than half of the other."""
    if row.win_rate is None or other.value is None:
        return False
    return (row.win_rate - HALF) * (other.value - HALF) < 0


def _about_orders(found: JudgingResults, row: WinRateRow) -> Iterator[Said]:
    if audit := audit_of(found, row.judge, "consistency", subject(row)):
        if audit.value is None:
            asked = row.is_language_model and not is_panel(found, row.judge)
            what = "position bias" if asked else "consistency"
            yield Said(f"{what} not known: {audit.reason or 'not recorded'}", asked)
        else:
            alike = f"{share(audit.value, audit.low, audit.high)} of {audit.n:,} pairs"
            if is_panel(found, row.judge):
                yield Said(f"all its judges agree on {alike}")
            else:
                yield Said(f"both orders agree on {alike}", audit.value < HALF)
    if row.position_bias is not None:
        biased = is_biased(row.position_bias)
        said = f"the answer shown first wins {percent(row.position_bias)} of the decided calls"
        yield Said(said + (": position bias" if biased else ""), biased)


def _about_trait(audit: AuditRow, words: str) -> Said:
    if audit.value is None:
        return Said(f"{words}: {(audit.reason or 'not recorded') if audit.n else 'none to measure'}")
    leans = audit.low is not None and audit.low > HALF
    return Said(f"{words} win {share(audit.value, audit.low, audit.high)} of {audit.n:,} decided", leans)


def _about_saving(audit: AuditRow) -> Said:
    by = (audit.details or {}).get("by")
    how = f" by {by}" if by else ""
    return Said(f"{audit.value or 0:,.0f} of {audit.n:,} calls saved{how}")


def about_judge(found: JudgingResults, judge: JudgeUse) -> Iterator[Said]:
    """What holds for all of a judge's verdicts: its panel or cascade, savings, self-preference."""
    details = judge.details or {}
    if judge.parts:
        yield Said(str(details.get("note") or "made of " + ", ".join(judge.parts)))
    yield from _about_failures(found, judge)
    if (details.get("settings") or {}).get("answer") == "tokens":
        yield Said("its verdicts are the likeliest by their tokens' probabilities: it writes no reasons")
    if details.get("asked_where_unsure"):
        yield Said(
            f"asked only where the judge before it in the {details.get('part_of')} was unsure: no win rate"
        )
    for audit in found.audits:
        if audit.judge != judge.name:
            continue
        if audit.measure == "calls_saved" and not audit.subject:
            yield _about_saving(audit)
        elif audit.measure == "constant_answer_wins":
            yield _about_boast(audit)
        elif audit.measure == SHARED_RATES:
            yield _about_shared(audit)
        elif audit.measure == "repeat_noise":
            yield _about_noise(audit)
        elif audit.measure == "self_preference":
            yield Said(f"same model family as {audit.subject}: it may prefer its own style", True)


def _about_shared(audit: AuditRow) -> Said:
    rates = (audit.details or {}).items()
    held = " · ".join(f"{name} {share(*rate)}" for name, rate in rates)
    over = f"over the {audit.n:,} judged for all: {held}" if audit.n else "no question was judged for all"
    return Said(f"win rates against {audit.subject} are not over the same questions; {over}", True)


def _about_failures(found: JudgingResults, judge: JudgeUse) -> Iterator[Said]:
    reasons = [row for row in found.failures if row.judge == judge.name]
    if reasons:
        said = "; ".join(f"{row.calls:,} × {row.failure}" for row in reasons[:MOST])
        more = "; others" if len(reasons) > MOST else ""
        warns = judge.failed > MANY_FAILED * judge.calls
        yield Said(f"{judge.failed:,} of {judge.calls:,} calls failed: {said}{more}", warns)


def _about_noise(audit: AuditRow) -> Said:
    repeat = int((audit.details or {}).get("repeat") or 1)
    asked = f"asked {repeat} times about each answer"
    if audit.value is None:
        return Said(f"{asked}: {audit.reason or 'not recorded'}")
    return Said(
        f"{asked}: its own noise is an SD of {audit.value:.2f} points over {audit.n:,} answers, "
        f"{audit.value / sqrt(repeat):.2f} in their means"
    )


def _about_boast(audit: AuditRow) -> Said:
    if audit.value is None:
        return Said(f"a constant, empty answer against {audit.subject}: {audit.reason or 'not recorded'}")
    won = share(audit.value, audit.low, audit.high)
    said = f"a constant, empty answer wins {won} of {audit.n:,} against {audit.subject}"
    return Said(said, audit.value > FOOLED)


def agreement(found: JudgingResults, judge: JudgeUse) -> Iterator[Said]:
    """A judge's agreement with each other judge: as measured, else as counted."""
    others = [other.name for other in found.judges if other.name != judge.name and not other.parts]
    for other in others if not judge.parts else ():
        subjects = {f"{judge.name} and {other}", f"{other} and {judge.name}"}
        measured = [row for row in found.audits if row.measure in _AGREEMENT and row.subject in subjects]
        measured += [
            row
            for row in found.audits
            if row.measure == "spearman"
            and (row.judge, row.subject) in ((judge.name, f"with {other}"), (other, f"with {judge.name}"))
        ]
        if measured:
            yield Said(f"with {other}: " + ", ".join(map(_agreed, sorted(measured, key=_order))))
        elif same := _shared(found, judge.name, other):
            yield Said(f"with {other}: same verdict on {same.alike / same.n:.0%} of {same.n:,}")
    yield from _about_rules(found, judge)
    for row in found.audits:
        if row.judge == judge.name and row.measure == "krippendorff_alpha":
            unlike = row.value is not None and row.value < UNLIKE
            yield Said(f"between its judges: {_agreed(row)}", unlike)


def _about_rules(found: JudgingResults, judge: JudgeUse) -> Iterator[Said]:
    """Its classes of refusals beside those of the rules: the figures, then a line for each of its classes."""
    rows = [row for row in found.audits if (row.judge, row.subject) == (judge.name, REFUSAL_RULES)]
    if not rows:
        return
    yield Said(f"with {REFUSAL_RULES}: " + ", ".join(map(_agreed, sorted(rows, key=_order))))
    table: dict[str, dict[str, int]] = (rows[0].details or {}).get("table") or {}
    for kind, counts in table.items():
        if total := sum(counts.values()):
            ruled = ", ".join(f"{n:,} {other}" for other, n in counts.items() if n)
            yield Said(f"{kind} by the judge on {total:,}; by the rules: {ruled}")


def _order(row: AuditRow) -> int:
    return list(_AGREEMENT).index(row.measure)


def _agreed(row: AuditRow) -> str:
    name = _AGREEMENT[row.measure]
    if row.value is None:
        return f"{name} not measured, {row.reason or 'no reason was recorded'}"
    if row.measure == "raw_agreement":
        return f"{name} on {row.value:.0%} of {row.n:,}"
    held = "" if row.low is None or row.high is None else f" [{row.low:.2f}, {row.high:.2f}]"
    return f"{name} {row.value:.2f}{held}"


def _shared(found: JudgingResults, one: str, other: str) -> SharedRow | None:
    """The verdicts that two judges share; None where there are none."""
    return next((row for row in found.shared if {row.one, row.other} == {one, other} and row.n), None)
