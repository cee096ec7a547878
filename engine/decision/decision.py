"""Whether a run's candidates can be shipped: a word, its reasons, and the answers behind them.

Nothing is computed here: stored alerts, comparisons and gates decide. Missing values never count in a
candidate's favour: to ship takes evidence that it is better, and no failed gate.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from engine.decision import answers
from engine.decision.facts import AnsweredQuestion as AnsweredQuestion
from engine.decision.facts import (
    CandidateFacts,
    PreviousRun,
    cases,
    changed,
    improvement,
    read,
    read_before,
)
from engine.decision.facts import Topic as Topic
from engine.decision.families import NO_GATE, brief, chosen, moved_values, no_verdict
from store.read import history
from store.read.history import Connection
from store.read.query import by_key
from store.read.rows import AlertRow
from store.records import Run
from store.records.alert import ComparisonEvidence, kind_of, weight

Word = Literal["ship", "don't ship", "inconclusive"]
_BEST_FIRST: tuple[Word, ...] = ("ship", "inconclusive", "don't ship")

MOST = 3  # reasons
LONGEST = 240  # characters of a reason


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason in words, which every face prints, and its source: an alert or the answer to a question.

    Without either, it is the state of the run.
    """

    said: str
    alert: AlertRow | None = None
    topic: Topic | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with one candidate; at most three `grounds`, weightiest first.

    `gain` orders the candidates of a run that got the same word: the win rate against the base, else the
    improvement on a primary measure, by the first judge or measure that all candidates have; else None.
    """

    candidate: str
    word: Word
    grounds: tuple[Reason, ...]
    answers: tuple[AnsweredQuestion, ...]
    gain: float | None = None
    card: tuple[str, ...] = ()  # the figures beside the word, the weightiest first

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(_shortened(reason.said) for reason in self.grounds)

    def answer(self, topic: Topic) -> AnsweredQuestion | None:
        return next((answer for answer in self.answers if answer.topic == topic), None)


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def decide(connection: Connection, run_id: int) -> list[Decision]:
    """One verdict for each candidate that the run evaluated, the best first.

    Raises StoreError for an unknown run.
    """
    return verdicts(cases(read(connection, run_id)), read_before(connection, run_id))


def verdicts(found: Sequence[CandidateFacts], before: PreviousRun | None) -> list[Decision]:
    """As `decide`, of what was read. Candidates that are equally good stay in the plan's order."""
    decided = [
        replace(_verdict(case, before, alone=len(found) == 1), gain=gain)
        for case, gain in zip(found, _gains(found), strict=True)
    ]
    unknown = float("-inf")
    return sorted(
        decided,
        key=lambda each: (_BEST_FIRST.index(each.word), -(unknown if each.gain is None else each.gain)),
    )


def headline(decided: Sequence[Decision], best: str | None = None) -> str:
    """What came of several candidates: 7 ship · 9 inconclusive · 14 don't; best: NAME. "" for fewer.

    None is called the best where no gain is known, the first two are equal, or the first is not to be
    shipped. `best` is what to call it, where that is not its name.
    """
    if len(decided) < 2:
        return ""
    words = [each.word for each in decided]
    counts = (f"{words.count(word):,} {word.removesuffix(' ship')}" for word in _BEST_FIRST if word in words)
    first, second = decided[:2]
    best = first.candidate if best is None else best
    equal = (first.word, first.gain) == (second.word, second.gain)
    named = "" if first.gain is None or equal or first.word == "don't ship" else f"; best: {best}"
    return f"{' · '.join(counts)}{named}"


def _gains(found: Sequence[CandidateFacts]) -> list[float | None]:
    """Each candidate's gain by what is known of all: a judge's win rates, else a primary measure."""
    known = [_known_gains(case) for case in found]
    common = next((by for by in known[0] if all(by in gains for gains in known)), None) if known else None
    return [None if common is None else gains[common] for gains in known]


def _known_gains(case: CandidateFacts) -> dict[tuple[str, str], float]:
    if case.base is None:
        return {}
    rates = {("judge", row.judge): row.win_rate for row in case.win_rates(case.base)}
    moved = {(row.kind, row.measure): improvement(row) for row in case.changes(case.base)}
    return {by: value for by, value in (rates | moved).items() if value is not None}


def cards(connection: Connection, run_id: int) -> list[Decision]:
    """As `decide`; of an unfinished run, which changes all the time, no more is read than its state."""
    run = history.run(connection, run_id)
    if not (said := _unfinished(run)):
        return decide(connection, run_id)
    models = history.models(connection, run_id)
    names = [model.name for model in models if model.role == "candidate" and not model.is_cut]
    return [Decision(name, "inconclusive", (Reason(said),), (), card=(said,)) for name in names]


def card_line(decided: Decision) -> str:
    """SHIP good · wins 100% [98–100] · forgot 0/4 · 6 leaked · judge κ 0.71."""
    return " · ".join([f"{decided.word.upper()} {decided.candidate}", *decided.card])


def decision_values(decided: Sequence[Decision]) -> list[dict[str, Any]]:
    """For JSON."""
    return [
        {
            "candidate": item.candidate,
            "word": item.word,
            "card": card_line(item),
            "reasons": list(item.reasons),
            "answers": [_answer_values(answer) for answer in item.answers],
        }
        for item in decided
    ]


def _answer_values(answer: AnsweredQuestion) -> dict[str, Any]:
    values = asdict(answer)
    for part in ("said", "lead", "more"):
        del values[part]
    return values | {"answer": answer.answer}


def _verdict(case: CandidateFacts, before: PreviousRun | None, *, alone: bool) -> Decision:
    change = changed(case, before, alone=alone) if before else None
    answered = (
        answers.better_than_base(case),
        answers.better_than_prompt(case),
        answers.forgotten(case),
        answers.lost_slices(case),
        answers.cost(case),
        answers.kept_of_full(case),
        answers.data_believed(case),
        answers.judge_believed(case),
        *((change,) if change else ()),
    )
    word, reasons = _decided(case, {answer.topic: answer for answer in answered})
    figures = (reasons[0].said,) if _unfinished(case.facts.run) else answers.card(case)
    return Decision(case.name, word, tuple(reasons[:MOST]), answered, card=figures)


def _decided(case: CandidateFacts, answers: dict[Topic, AnsweredQuestion]) -> tuple[Word, list[Reason]]:
    if unfinished := _unfinished(case.facts.run):
        return "inconclusive", [Reason(unfinished)]
    critical = case.alerts("critical")
    open_ = [alert for alert in critical if alert.acknowledged is None]
    if open_ or (case.model.passed is False and not critical):
        reasons = _failures(open_) or [Reason("it failed a gate, and no alert says which")]
        return "don't ship", [*reasons, *_accepted(critical), *_although(case, answers)]
    if critical:
        reasons = [*_accepted(critical), *_unsettled(case, answers), *_although(case, answers)]
        return "inconclusive", reasons
    if case.model.passed is None:
        return "inconclusive", [Reason(no_verdict(case.facts.run) or NO_GATE)]
    unsettled = _unsettled(case, answers)
    if unsettled:
        return "inconclusive", [*unsettled, *_although(case, answers)]
    return "ship", _for(case, answers)


def _unfinished(run: Run) -> str | None:
    """Why nothing can be said about an unfinished run; None for a finished one."""
    return None if run.status == "finished" else no_verdict(run) or f"the run is {run.status}"


def _failures(alerts: Sequence[AlertRow]) -> list[Reason]:
    """One reason for all alerts of a kind against one baseline, weightiest kind first."""
    groups = by_key(((alert.kind, alert.baseline), alert) for alert in alerts)
    ordered = sorted(groups.values(), key=lambda group: weight(group[0].kind))
    return [_failure(group) for group in ordered]


def _failure(alerts: list[AlertRow]) -> Reason:
    worst = max(alerts, key=lambda alert: abs(getattr(alert.evidence, "delta", None) or 0.0))
    said, others = brief(worst), len(alerts) - 1
    if said is None:
        return Reason(worst.message, worst)
    return Reason(f"{said}, and {others} more" if others else said, worst)


def _accepted(alerts: Sequence[AlertRow]) -> list[Reason]:
    """Failures that a person acknowledged: they no longer forbid shipping, and pass no gate."""
    return [
        Reason(
            f"accepted by {alert.acknowledged_by or 'someone'}{f' (“{alert.note}”)' if alert.note else ''}: "
            f"{_failure([alert]).said}",
            alert,
        )
        for alert in alerts
        if alert.acknowledged is not None
    ]


def _unsettled(case: CandidateFacts, answers: dict[Topic, AnsweredQuestion]) -> list[Reason]:
    """What is not shown yet, for a candidate without an open critical alert."""
    base, prompt, forgot, data, judge = (
        answers[topic] for topic in ("base", "prompt", "forgotten", "data", "judge")
    )
    reasons = []
    if base.standing != "good":
        reasons.append(Reason(f"{_better_than_base(case)}: {base.answer}", topic="base"))
    elif judge.standing == "bad" and not _measured_better(case):
        said = f"better only by a judge that cannot be trusted: {judge.answer}"
        reasons.append(Reason(said, topic="judge"))
    if prompt.standing == "bad":
        said = f"no better than a good prompt: {_without_lead(prompt, 'no')}"
        reasons.append(Reason(said, topic="prompt"))
    elif prompt.standing == "open":
        said = f"not shown to beat a good prompt: {_without_lead(prompt, 'inconclusive')}"
        reasons.append(Reason(said, topic="prompt"))
    if case.model.chosen_on or (case.base and any(map(case.is_chosen_on, case.changes(case.base)))):
        reasons.append(Reason(f"inconclusive: {chosen(case.model)}", topic="data"))
    if forgot.standing == "missing":
        reasons.append(Reason(f"what it forgot is unknown: {forgot.answer}", topic="forgotten"))
    reasons += [Reason(_open_question(alert), alert) for alert in _open_questions(case)]
    if data.standing == "bad":
        reasons.append(Reason(f"the eval set: {data.answer}", topic="data"))
    return reasons


def _better_than_base(case: CandidateFacts) -> str:
    return f"better than {case.base.name if case.base else 'the base'}"


def _without_lead(answer: AnsweredQuestion, lead: str) -> str:
    """The answer, without a lead that the words before it already say."""
    return replace(answer, lead="").answer if answer.lead == lead else answer.answer


def _measured_better(case: CandidateFacts) -> bool:
    """Whether a measure shows it, not only judges."""
    return case.base is not None and any(row.standing == "better" for row in case.changes(case.base))


def _open_questions(case: CandidateFacts) -> list[AlertRow]:
    """Drops as large as a gate forbids that may be chance, and what could not be compared at all."""
    return [
        alert
        for alert in case.alerts("warning", "note")
        if alert.acknowledged is None
        and kind_of(alert.kind).decides
        and (alert.severity == "note" or _is_gap(alert))
    ]


def _is_gap(alert: AlertRow) -> bool:
    return isinstance(alert.evidence, ComparisonEvidence) and alert.evidence.delta is None


def _open_question(alert: AlertRow) -> str:
    """What is open, and what would settle it; the whole message where the evidence lacks that."""
    needed, moved = getattr(alert.evidence, "needed", None), moved_values(alert)
    if not needed or moved is None:
        return alert.message
    return f"{moved} against {alert.baseline} may be chance: needs about {needed:,} examples"


def _although(case: CandidateFacts, answers: dict[Topic, AnsweredQuestion]) -> list[Reason]:
    """What speaks for a candidate that is not shipped."""
    base = answers["base"]
    if base.standing != "good":
        return []
    return [Reason(f"although {_better_than_base(case)}: {_without_lead(base, 'yes')}", topic="base")]


def _for(case: CandidateFacts, answers: dict[Topic, AnsweredQuestion]) -> list[Reason]:
    """Why to ship, and what is not known."""
    base, forgot, prompt, slices = (answers[topic] for topic in ("base", "forgotten", "prompt", "slices"))
    reasons = [Reason(f"{_better_than_base(case)}: {_without_lead(base, 'yes')}", topic="base")]
    warned = [alert for alert in case.alerts("warning") if kind_of(alert.kind).decides]
    reasons += [replace(reason, said=f"but {reason.said}") for reason in _failures(warned)[:1]]
    said = {
        "good": f"nothing forgotten: {forgot.said}",
        "bad": f"but forgot, within the plan's limits: {forgot.answer}",
        "open": f"forgetting: {forgot.answer}",
    }[forgot.standing]
    reasons.append(Reason(said, topic="forgotten"))
    if slices.standing == "bad":
        reasons.append(Reason(f"but lost on {slices.answer}", topic="slices"))
    beats = f"beats prompting: {prompt.said}"
    unknown = f"but whether a prompt does as well is {prompt.short}"
    reasons.append(Reason(beats if prompt.standing == "good" else unknown, topic="prompt"))
    return reasons
