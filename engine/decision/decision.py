"""Whether a run's candidates can be shipped, from what the run stored: the word, its reasons, and answers.

Nothing is computed anew: alerts, comparisons and what the gates said decide. What is missing never counts for
a candidate; to ship one takes evidence that it is better, and no gate that failed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from engine.decision import quality as quality
from engine.decision import trust as trust
from engine.decision.changes import Before, changed, read_before
from engine.decision.facts import Answer as Answer
from engine.decision.facts import Case, Facts, cases, read
from engine.decision.facts import Standing as Standing
from engine.decision.facts import Topic as Topic
from store.read.history import Connection, as_values
from store.read.rows import AlertRow
from tui.sections.words import no_verdict
from tui.text.gate import cut, percent
from tui.text.output import number

Word = Literal["ship", "don't ship", "not settled"]

MOST = 3  # reasons
LONGEST = 240  # cells of a reason
# The heavier a kind of alert, the earlier; kinds that are not named here come last.
_WEIGHT = (
    "adapter_no_effect", "nothing_measured", "benchmark_drop", "metric_drop", "perplexity_rise", "win_rate",
    "format", "leakage", "judge_failures",
)  # fmt: skip
_FALLS = {
    "benchmark_drop": "forgot skills of",
    "metric_drop": "fell behind",
    "perplexity_rise": "predicts text worse than",
}
# A drop of these kinds that may be chance, or could not be looked at, keeps a candidate from being shipped.
_SETTLES = ("benchmark_drop", "metric_drop", "perplexity_rise", "win_rate")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with one candidate; `reasons` are at most three, the weightiest first."""

    candidate: str
    word: Word
    reasons: tuple[str, ...]
    answers: tuple[Answer, ...]

    def answer(self, topic: Topic) -> Answer | None:
        return next((answer for answer in self.answers if answer.topic == topic), None)


def decide(connection: Connection, run_id: int) -> list[Verdict]:
    """One verdict for each candidate that the run evaluated. Raises StoreError when there is no such run."""
    return verdicts(cases(read(connection, run_id)), read_before(connection, run_id))


def verdicts(found: Sequence[Case], before: Before | None) -> list[Verdict]:
    """As `decide`, of what was read."""
    return [_verdict(case, before, alone=len(found) == 1) for case in found]


def decision_values(decided: Sequence[Verdict]) -> list[dict[str, Any]]:
    """For JSON."""
    return [as_values(item) | {"answers": [as_values(answer) for answer in item.answers]} for item in decided]


def _verdict(case: Case, before: Before | None, *, alone: bool) -> Verdict:
    change = changed(case, before, alone=alone) if before else None
    answers = (
        quality.better_than_base(case),
        quality.better_than_prompt(case),
        quality.forgotten(case),
        quality.lost_slices(case),
        trust.cost(case),
        trust.kept_of_full(case),
        trust.data_believed(case),
        trust.judge_believed(case),
        *((change,) if change else ()),
    )
    word, reasons = _decided(case, {answer.topic: answer for answer in answers})
    return Verdict(case.name, word, tuple(cut(reason, LONGEST) for reason in reasons[:MOST]), answers)


def _decided(case: Case, answers: dict[Topic, Answer]) -> tuple[Word, list[str]]:
    if unfinished := _unfinished(case.facts):
        return "not settled", [unfinished]
    critical = case.alerts("critical")
    open_ = [alert for alert in critical if alert.acknowledged is None]
    if open_ or (case.model.passed is False and not critical):
        reasons = _failures(open_) or ["it failed a gate, and no alert says which"]
        return "don't ship", [*reasons, *_accepted(critical), *_although(answers)]
    if critical:
        return "not settled", [*_accepted(critical), *_unsettled(case, answers), *_although(answers)]
    if case.model.passed is None:
        return "not settled", [no_verdict(case.facts.run) or "it was not held to the plan's gates"]
    unsettled = _unsettled(case, answers)
    if unsettled:
        return "not settled", [*unsettled, *_although(answers)]
    return "ship", _for(case, answers)


def _unfinished(facts: Facts) -> str | None:
    """Why nothing can be said of a run yet; None of one that is finished."""
    return (
        None if facts.run.status == "finished" else no_verdict(facts.run) or f"the run is {facts.run.status}"
    )


def _failures(alerts: Sequence[AlertRow]) -> list[str]:
    """Critical alerts, one reason for all of a kind against one baseline, the weightiest first."""
    groups: dict[tuple[str, str | None], list[AlertRow]] = {}
    for alert in alerts:
        groups.setdefault((alert.kind, alert.baseline), []).append(alert)
    ordered = sorted(groups.values(), key=lambda group: _weight(group[0]))
    return [_failure(group) for group in ordered]


def _weight(alert: AlertRow) -> int:
    return _WEIGHT.index(alert.kind) if alert.kind in _WEIGHT else len(_WEIGHT)


def _failure(alerts: list[AlertRow]) -> str:
    worst = max(alerts, key=lambda alert: abs((alert.evidence or {}).get("delta") or 0.0))
    found, others = worst.evidence or {}, len(alerts) - 1
    if worst.kind == "win_rate" and found.get("win_rate") is not None:
        return f"win rate {percent(found['win_rate'])} against {worst.baseline} is under its limit"
    moved = _moved(worst)
    if worst.kind not in _FALLS or not moved:
        return _first_sentence(worst.message)
    n = f", n {found['n']:,}" if found.get("n") else ""
    more = f", and {others} more" if others else ""
    return f"{_FALLS[worst.kind]} {worst.baseline}: {moved}{n}{more}"


def _moved(alert: AlertRow) -> str:
    """Both values of what an alert is about; "" where it has none."""
    found = alert.evidence or {}
    ours, theirs = found.get("candidate_value"), found.get("baseline_value")
    return "" if ours is None or theirs is None else f"{alert.measure} {number(theirs)} → {number(ours)}"


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[^.\d])[.] |: ", text, maxsplit=1)[0].rstrip(".")


def _accepted(alerts: Sequence[AlertRow]) -> list[str]:
    """Failures that a person has taken note of: they no longer forbid, and no gate has passed by that."""
    return [
        f"accepted by {alert.acknowledged_by or 'somebody'}{f' (“{alert.note}”)' if alert.note else ''}: "
        f"{_failure([alert])}"
        for alert in alerts
        if alert.acknowledged is not None
    ]


def _unsettled(case: Case, answers: dict[Topic, Answer]) -> list[str]:
    """What is not shown yet of a candidate that nothing critical stands against."""
    base, prompt, data, judge = (answers[topic] for topic in ("base", "prompt", "data", "judge"))
    reasons = []
    if base.standing != "good":
        reasons.append(f"{base.question.removesuffix('?').lower()}: {base.answer}")
    elif judge.standing == "bad" and not _measured_better(case):
        reasons.append(f"better by a judge alone, which is not to be believed: {judge.answer}")
    if prompt.standing == "bad":
        reasons.append(f"no better than a good prompt: {prompt.answer.removeprefix('no: ')}")
    elif prompt.standing == "open":
        reasons.append(f"not shown to beat a good prompt: {prompt.answer.removeprefix('not settled: ')}")
    reasons += [_open_question(alert) for alert in _open_questions(case)]
    if data.standing == "bad":
        reasons.append(f"the eval set: {data.answer}")
    return reasons


def _measured_better(case: Case) -> bool:
    """Whether a measure shows it, and not the judges alone."""
    return case.base is not None and any(word == "better" for _, word in case.changes(case.base))


def _open_questions(case: Case) -> list[AlertRow]:
    """Falls as large as a gate forbids that may be chance, and what could not be compared at all."""
    return [
        alert
        for alert in case.alerts("warning", "note")
        if alert.acknowledged is None
        and alert.kind in _SETTLES
        and (alert.severity == "note" or _is_gap(alert))
    ]


def _is_gap(alert: AlertRow) -> bool:
    found = alert.evidence or {}
    return "delta" in found and found["delta"] is None


def _open_question(alert: AlertRow) -> str:
    """What is open in it, and what would settle that."""
    settle = re.search(r"[Aa]bout ([\d,]+) examples", alert.message)
    if settle and (moved := _moved(alert)):
        return f"{moved} against {alert.baseline} may be chance: needs about {settle[1]} examples"
    return alert.message.removeprefix("Not settled: ")


def _although(answers: dict[Topic, Answer]) -> list[str]:
    """What speaks for a candidate that is not shipped."""
    base = answers["base"]
    return (
        [f"although better than the base: {base.answer.removeprefix('yes: ')}"]
        if base.standing == "good"
        else []
    )


def _for(case: Case, answers: dict[Topic, Answer]) -> list[str]:
    """Why to ship; what is not known stands among the reasons as what it is."""
    base, forgot, prompt, slices = (answers[topic] for topic in ("base", "forgotten", "prompt", "slices"))
    reasons = [f"{base.question.removesuffix('?').lower()}: {base.answer.removeprefix('yes: ')}"]
    warned = [alert for alert in case.alerts("warning") if alert.kind in _SETTLES]
    reasons += [f"but {reason}" for reason in _failures(warned)[:1]]
    reasons.append(
        {
            "good": forgot.answer.replace("nothing seen", "nothing forgotten", 1),
            "bad": f"but forgot, within the plan's limits: {forgot.answer}",
            "open": f"forgetting: {forgot.answer}",
            "missing": f"but what it forgot was {forgot.answer}",
        }[forgot.standing]
    )
    if slices.standing == "bad":
        reasons.append(f"but lost on {slices.answer}")
    known = prompt.answer.partition(";")[0]
    reasons.append(
        known.replace("yes: a prompt alone", "better than a prompt, which alone", 1)
        if prompt.standing == "good"
        else f"but whether a prompt does as well is {known}"
    )
    return reasons
