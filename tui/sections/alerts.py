"""A run's alerts, and examples behind them: real questions with the answers of both models."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from engine.decision.families import advice
from store.read import answers, history
from store.read.answers import AnswerCaseRow
from store.read.history import Connection
from store.read.rows import AlertRow, BenchmarkSampleRow
from store.records.alert import kind_of
from tui.text.output import number

WITH_EXAMPLES = 30  # alerts whose examples are read
MOST = 4  # examples behind one alert
LONGEST = 700  # characters of a text
_BENCHMARK = re.compile(r"(.+) · (.+?)(?: \((.+)\))?")


@dataclass(frozen=True, slots=True)
class AlertExample:
    """One example; `answers` are texts with the name of their model, `remark` says what it shows."""

    name: str
    question: str
    expected: str
    answers: tuple[tuple[str, str], ...]
    remark: str = ""


@dataclass(frozen=True, slots=True)
class AlertsSection:
    """Open and severe alerts come first; by its id `advice` says what to do, `examples` are behind."""

    rows: Sequence[AlertRow]
    advice: Mapping[int, str] = field(default_factory=dict)
    examples: Mapping[int, Sequence[AlertExample]] = field(default_factory=dict)

    def of(self, candidate: str) -> list[AlertRow]:
        return [alert for alert in self.rows if alert.candidate == candidate]

    def behind(self, alert: AlertRow) -> Sequence[AlertExample]:
        return self.examples.get(alert.id, ())


def with_examples(connection: Connection, alerts: AlertsSection) -> AlertsSection:
    """The same alerts with examples behind the first WITH_EXAMPLES."""
    found = {alert.id: behind(connection, alert) for alert in alerts.rows[:WITH_EXAMPLES]}
    return replace(alerts, examples=found)


def advised(connection: Connection, rows: Sequence[AlertRow]) -> dict[int, str]:
    """What people do about each alert, by its id."""
    details = {
        (run_id, model.name): model.details
        for run_id in {row.run_id for row in rows}
        for model in history.models(connection, run_id)
    }
    return {row.id: advice(row, details.get((row.run_id, row.candidate))) for row in rows}


def behind(connection: Connection, alert: AlertRow) -> list[AlertExample]:
    """The examples behind an alert, the clearest first; none where it rests on no single answer."""
    if kind_of(alert.kind).opens == "leaks":
        return list(_leaks(connection, alert))
    if alert.baseline is not None and (key := _BENCHMARK.fullmatch(alert.measure)):
        task = (key[1], key[2], key[3] or "none")
        rows = answers.benchmark_cases(connection, alert.run_id, alert.candidate, alert.baseline, task, MOST)
        return [_benchmark(row, alert) for row in rows]
    return [_answered(row, alert) for row in _answers(connection, alert)]


def _answers(connection: Connection, alert: AlertRow) -> list[AnswerCaseRow]:
    if named := list(getattr(alert.evidence, "example_ids", ())[:MOST]):
        return answers.answer_cases(
            connection, alert.run_id, alert.candidate, alert.baseline, alert.measure, named
        )
    judge = getattr(alert.evidence, "judge", None)
    if judge is None or alert.baseline is None:
        return []
    pair = (connection, alert.run_id, alert.candidate, alert.baseline, str(judge))
    if kind_of(alert.kind).opens == "missing answers":
        return answers.lost_cases(*pair, "failed", MOST)
    return answers.lost_cases(*pair, "loss", MOST) or answers.lost_cases(*pair, "tie", MOST)


def _answered(row: AnswerCaseRow, alert: AlertRow) -> AlertExample:
    sides = [(alert.candidate, row.candidate_answer, row.candidate_reason, row.candidate_thinking)]
    if alert.baseline is not None:
        sides.insert(0, (alert.baseline, row.baseline_answer, row.baseline_reason, row.baseline_thinking))
    answers = []
    for name, answer, reason, thinking in sides:
        answers += [(f"{name}, reasoning", cut(thinking))] if thinking else []
        answers.append((name, _text(answer, reason)))
    values = ""
    if row.candidate_value is not None and row.baseline_value is not None:
        values = f"{alert.measure} {number(row.baseline_value)} → {number(row.candidate_value)}"
    expected = "\n".join(row.references or []) or row.label or ""
    return AlertExample(row.example, cut(row.query), cut(expected), tuple(answers), values)


def _benchmark(row: BenchmarkSampleRow, alert: AlertRow) -> AlertExample:
    answers = ((alert.baseline or "", cut(row.baseline_answer)), (alert.candidate, cut(row.candidate_answer)))
    values = f"{number(row.baseline_value)} → {number(row.candidate_value)}"
    return AlertExample(f"question {row.doc_id}", cut(row.question), cut(row.target), answers, values)


def _leaks(connection: Connection, alert: AlertRow) -> Iterator[AlertExample]:
    for row in answers.leak_cases(connection, alert.run_id, MOST):
        found = (f"training line {row.train_line}", cut(row.train_text or row.excerpt))
        remark = f"{row.tier}: its {row.field} was found"
        yield AlertExample(
            row.example, cut(row.query), cut("\n".join(row.references or [])), (found,), remark
        )


def _text(answer: str | None, reason: str | None) -> str:
    return f"missing: {reason or 'not recorded'}" if answer is None else cut(answer)


def cut(text: str) -> str:
    """At most LONGEST characters, with how many are left out."""
    left = len(text) - LONGEST
    return text if left <= 0 else f"{text[:LONGEST]}… ({left:,} more characters)"
