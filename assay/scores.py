"""Rows from Python scored and judged, by a plan's metrics and judges."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.tables import ResultTable, in_one_class, paragraph_html, table_html
from engine.errors import BadInput

if TYPE_CHECKING:
    from engine.run.judged import JudgedRow, JudgedRows
    from engine.run.outputs import ScoredRows

Row = Mapping[str, Any]
MetricNames = str | Sequence[str] | Mapping[str, Mapping[str, Any]]


class ScoreTable:
    """The scores of rows: `totals` measure by measure with 95 % intervals, `rows` one by one.

    `classes` is a classifier's table by label. `table["exact_match"]` is one measure's line of `totals`.
    """

    def __init__(self, found: "ScoredRows") -> None:
        self.found = found
        self.totals = ResultTable(total.values() for total in found.totals)
        self.rows = ResultTable(
            {"id": identity, "metric": score.measure, "value": score.value, "reason": score.reason}
            for _, identity, scores in found.examples
            for score in scores
        )
        self.classes = ResultTable(asdict(row) | {"answers": answers} for row, answers in found.classes)

    def __getitem__(self, measure: str) -> dict[str, Any]:
        for total in self.totals:
            if total["metric"] == measure:
                return total
        raise KeyError(f"{measure}: it has {', '.join(total['metric'] for total in self.totals)}")

    def to_pandas(self) -> Any:
        """The scores one by one as a pandas DataFrame."""
        return self.rows.to_pandas()

    def to_arrow(self) -> Any:
        """The scores one by one as an Arrow table."""
        return self.rows.to_arrow()

    def _repr_html_(self) -> str:
        return table_html({key: value for key, value in row.items() if key != "notes"} for row in self.totals)


@in_one_class()
def score(rows: Iterable[Row], metrics: MetricNames) -> ScoreTable:
    """Scores rows of `query`, `response` and `reference` (or `references`, `label`, `messages` … as in data
    files); a response of None is missing, a list are samples of one answer.

    `metrics` are names, or names with their settings as in a plan: {"code": {"k": [1, 10]}}. Nothing is
    stored. Raises AssayError naming the row, the metric or the setting.
    """
    from engine.run.outputs import score_rows

    settings: Mapping[str, Mapping[str, Any]] = metrics if isinstance(metrics, Mapping) else {}
    names = [metrics] if isinstance(metrics, str) else list(dict.fromkeys(metrics))
    if not names:
        raise BadInput("no metric was named", "`assay metrics` lists them")
    for name, chosen in settings.items():
        if not isinstance(chosen, Mapping):
            raise BadInput(f"metrics.{name}: its settings are {type(chosen).__name__}", "give a dict, or {}")
    return ScoreTable(score_rows(rows, names, settings))


def compare_scores(older: ScoreTable, newer: ScoreTable) -> dict[str, Any]:
    """The newer table as the candidate, on the rows that both have and the measures that both mean alike."""
    from engine.compare.comparison import Scores, compare_measures
    from engine.gates.measures import ruled
    from engine.plan.plan import Gates
    from tui.report.json import one_comparison

    tables = older.found, newer.found
    before, after = ({total.measure.name: total.measure for total in table.totals} for table in tables)
    reasons = {
        name: "only one table has it"
        if name not in before or name not in after
        else "it was measured in another version or with other settings"
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name) or older.found.settings[name] != newer.found.settings[name]
    }
    measures = {name: measure for name, measure in after.items() if name not in reasons}
    parts = [
        {
            name: {
                key: additive
                for key, _, scores in table.examples
                for one in scores
                if one.measure == name and (additive := one.additive()) is not None
            }
            for name in measures
        }
        for table in tables
    ]
    made = [Scores(measure, parts[1][name], parts[0][name]) for name, measure in measures.items()]
    found, _ = ruled(compare_measures("b", "a", made), [], Gates(), measures)
    return {
        "comparisons": [one_comparison(item) for item in found],
        "incomparable": [{"what": name, "reason": reason} for name, reason in reasons.items()],
    }


class JudgmentTable:
    """What a judge said: `rows` one by one with the calls behind them, `totals` the win rate of pairs.

    `cost`: US dollars for new answers (None where a price is unknown); what came from the cache cost nothing.
    """

    def __init__(self, found: "JudgedRows") -> None:
        self.judge = dict(found.judge)
        self.rows = ResultTable(_values(row, self.judge["kind"]) for row in found.rows)
        self.totals = ResultTable([dict(found.rate)] if found.rate else [])
        self.cost = None if found.unpriced else found.cost

    def to_pandas(self) -> Any:
        """The rows as a pandas DataFrame."""
        return self.rows.to_pandas()

    def to_arrow(self) -> Any:
        """The rows as an Arrow table."""
        return self.rows.to_arrow()

    def _repr_html_(self) -> str:
        rows = [{key: value for key, value in row.items() if key != "judgments"} for row in self.rows]
        cost = "cost unknown" if self.cost is None else f"${self.cost:,.4f}"
        return table_html(self.totals) + table_html(rows) + paragraph_html(f"{self.judge['model']}, {cost}")


def _values(row: "JudgedRow", kind: str) -> dict[str, Any]:
    calls = []
    for call in row.judgments:
        values = {name: value for name, value in asdict(call).items() if name not in ("call", "raw")}
        values["flags"] = list(call.flags)
        calls.append(values | ({} if kind == "pointwise" else {"order": getattr(call.call, "order", None)}))
    said: dict[str, Any] = (
        {"score": row.score, "scores": dict(row.scores or {})}
        if kind == "pointwise"
        else {"outcome": row.outcome, "consistent": row.consistent}
    )
    return {"id": row.example.id, **said, "reason": row.reason, "judgments": calls}


@in_one_class()
def judge(
    pairs: Iterable[Row],
    judge: Mapping[str, Any] | str = "reference",
    *,
    store: str | os.PathLike[str] | None = None,
    max_cost: float | None = None,
    prices: str | os.PathLike[str] | None = None,
) -> JudgmentTable:
    """Has a judge compare pairs, rows of `query`, `candidate` and `baseline` (with `reference` where there is
    one), in both orders; or, with kind = "pointwise", score rows of `query` and `response`.

    `judge` is a judge's table as in a plan, or "reference". Its key comes from the environment variable that
    `api_key_env` names. Its answers are kept in the store's cache [$ASSAY_STORE, or the nearest `.assay/`]
    and are not paid for twice. Beyond `max_cost` US dollars nothing is asked; `prices` is a price file as in
    a plan. Raises AssayError naming the row or the key, at `max_cost`, and where the judge cannot be reached.
    """
    from engine.run.judged import judge_rows, read_judge
    from store.database import locate

    cache = locate(None if store is None else os.fspath(store), Path.cwd()) / "cache"
    spec = read_judge(judge, Path.cwd())
    return JudgmentTable(
        judge_rows(pairs, spec, cache, max_cost=max_cost, prices=None if prices is None else Path(prices))
    )
