"""A run's judges: their work and cost, their win rates, and how far to trust those."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.decision import judges
from engine.decision.judges import Said
from store.read.judging import JudgeUse, JudgingResults, RankingRow
from store.read.rows import WinRateRow
from tui.sections.overview import judge_name


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
