"""A run's judges: their work and cost, their win rates, and how far to trust those."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from engine.decision import judges
from engine.decision.judges import Said
from engine.stats.family import Interval, share_of
from store.read.judging import JudgeUse, JudgingResults, RankingRow
from store.read.rows import WinRateRow
from store.reviewing import OwnDecision
from tui.sections.overview import judge_name

OUTCOMES = ("win", "tie", "loss")
FIGURES = {
    "raw": "same verdict",
    "raw_without_ties": "same, both decided",
    "kappa": "kappa",
    "alpha": "Krippendorff's alpha",
    "spearman": "Spearman",
    "kendall": "Kendall's tau-b",
}
_POINTS = {"win": 1.0, "loss": 0.0, "tie": 0.5, "both_bad": 0.5}
GRADES = (1, 5)  # that people rate answers with
PAUSE = 300.0  # seconds; who looked longer was away
_FEWEST = 3


def gate_in_words(
    low: float, high: float, gate: float, *, labelled: int, examples: int, needed: int | None
) -> str:
    """Whether the corrected win rate meets the gate, or how many random labels it needs.

    `low` and `high` bound the corrected win rate. `needed` labels in all would settle it; None: no number on
    these examples does.
    """
    if low >= gate:
        return f"The gate of {100 * gate:g}% is met by the corrected win rate."
    if high < gate:
        return f"The gate of {100 * gate:g}% is missed by the corrected win rate."
    open_ = f"Inconclusive at the gate of {100 * gate:g}%"
    if needed is None:
        return f"{open_}, and labels on all examples would not settle it."
    if needed > examples:
        return f"{open_}: needs about {needed:,} random labels, more than the {examples:,} examples here."
    more = max(0, needed - labelled)
    return f"{open_}: needs about {more:,} more random labels ({needed:,} in all)."


@dataclass(frozen=True, slots=True)
class OwnFigures:
    """A person's own figures, shares with Wilson's interval; `left` and `again` are of blind decisions."""

    outcomes: dict[str, int]
    won: Interval  # of the candidate, a tie and both bad being half
    judged: float | None  # the judge's win rate on the same examples
    left: Interval  # of those that preferred a side
    again: Interval  # repeats that got the same answer
    seconds: float | None  # median


def own_figures(said: Sequence[OwnDecision]) -> OwnFigures:
    """Of all of a person's preferences between two models, repeats included, oldest first."""
    labels = {row.example_id: row for row in said if not row.control}
    repeats = {row.example_id: row for row in said if row.control}
    outcomes = {name: sum(row.outcome == name for row in labels.values()) for name in _POINTS}
    sides = [row.side for row in (*labels.values(), *repeats.values()) if row.blind and row.side]
    both = [(labels[key].outcome, row.outcome) for key, row in repeats.items() if key in labels]
    judged = [_POINTS[row.judged] for row in labels.values() if row.judged in _POINTS]
    timed = [row.seconds for row in said if row.seconds is not None]
    return OwnFigures(
        outcomes,
        share_of(sum(_POINTS[row.outcome] for row in labels.values()), len(labels)),
        sum(judged) / len(judged) if judged else None,
        share_of(sides.count("left"), len(sides)),
        share_of(sum(first == second for first, second in both), len(both)),
        seconds_each(timed) if len(timed) > 2 else median(timed) if timed else None,
    )


def seconds_each(seconds: Sequence[float]) -> float | None:
    """Seconds for a decision: the median, which one long look does not move; None before the third."""
    looked = [each for each in seconds if 0 <= each <= PAUSE]
    return median(looked) if len(looked) >= _FEWEST else None


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """A candidate against a baseline by one judge, over whole answers; `turns` are the same turn by turn.

    `orders_agree` is the share of pairs on which both orders give the same verdict; None for a panel.
    """

    name: str
    row: WinRateRow
    turns: tuple[WinRateRow, ...]
    orders_agree: float | None
    said: tuple[Said, ...]


@dataclass(frozen=True, slots=True)
class JudgeReport:
    """One judge; `name` marks one that is not a language model, `said` applies to all its verdicts."""

    row: JudgeUse
    name: str
    model: str
    part_of: str | None
    cost: str
    said: tuple[Said, ...]
    agreement: tuple[Said, ...]
    pairs: tuple[JudgedPair, ...]
    ranking: tuple[RankingRow, ...]

    def statements(self, full: bool = False) -> list[Said]:
        """The statements about the judge; of its single pairs only reasons for doubt, unless `full`."""
        of_pairs = [
            Said(f"{pair.name}: {each.text}", each.warns)
            for pair in self.pairs
            for each in pair.said
            if full or each.warns
        ]
        return [*self.said, *self.agreement, *of_pairs]


@dataclass(frozen=True, slots=True)
class JudgingSection:
    rows: JudgingResults
    judges: tuple[JudgeReport, ...]

    @property
    def win_rates(self) -> Sequence[WinRateRow]:
        """Over whole answers and conversations first, then turn by turn."""
        return self.rows.win_rates

    @property
    def names(self) -> Mapping[str, str]:
        """How each judge is shown."""
        return {judge.row.name: judge.name for judge in self.judges}


def judging(rows: JudgingResults) -> JudgingSection:
    return JudgingSection(rows, tuple(_judge(rows, judge) for judge in rows.judges))


def _judge(rows: JudgingResults, judge: JudgeUse) -> JudgeReport:
    details = judge.details or {}
    own = [row for row in rows.win_rates if row.judge == judge.name]
    return JudgeReport(
        row=judge,
        name=judge_name(judge.name, judge.is_language_model),
        model=str(details.get("model") or ""),
        part_of=details.get("part_of"),
        cost=judges.cost(judge),
        said=tuple(judges.about_judge(rows, judge)),
        agreement=tuple(judges.agreement(rows, judge)),
        pairs=tuple(_pair(rows, row, own) for row in own if row.turn == 0),
        ranking=tuple(judges.ranking_of(rows, judge.name)),
    )


def _pair(rows: JudgingResults, row: WinRateRow, own: Sequence[WinRateRow]) -> JudgedPair:
    name = judges.subject(row)
    orders = judges.audit_of(rows, row.judge, "consistency", name)
    is_panel = judges.is_panel(rows, row.judge)
    turns = (turn for turn in own if turn.turn > 0 and judges.subject(turn) == name)
    agree = None if orders is None or is_panel else orders.value
    return JudgedPair(name, row, tuple(turns), agree, tuple(judges.about_match(rows, row)))
