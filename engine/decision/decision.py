"""Whether a run's candidates can be shipped: a word, its reasons, and the answers behind them.

Several candidates are ordered by what they gained, and set against each other by what that cost them.
Nothing is computed here: stored alerts, comparisons and gates decide. Missing values never count in a
candidate's favour: to ship takes evidence that it is better, and no failed gate.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from engine.compare.forgetting import corpus_aspect, general_corpus
from engine.compare.ruling import rule_on_rate
from engine.decision import answers
from engine.decision.answers import synthetic_doubt
from engine.decision.facts import AnsweredQuestion as AnsweredQuestion
from engine.decision.facts import (
    CandidateFacts,
    PreviousRun,
    bounds,
    cases,
    changed,
    improvement,
    read,
    read_before,
)
from engine.decision.facts import Topic as Topic
from engine.decision.families import NO_GATE, advice, brief, chosen, moved_values, no_verdict
from engine.plan.training_config import Value, setting
from store.read import history
from store.read.history import Connection
from store.read.query import by_key
from store.read.rows import AlertRow, ComparisonRow, WinRateRow
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
    `advice` is what people do about the weightiest alert among the grounds.
    """

    candidate: str
    word: Word
    grounds: tuple[Reason, ...]
    answers: tuple[AnsweredQuestion, ...]
    gain: float | None = None
    card: tuple[str, ...] = ()  # the figures beside the word, the weightiest first
    advice: str = ""

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
    """Each candidate's gain where it is known of all."""
    gains = [gain.value for gain in _measured_gains(found)[1]]
    return [None if None in gains else gain for gain in gains]


@dataclass(frozen=True, slots=True)
class Coordinate:
    """One figure of a candidate with its 95 % interval by itself; without a `value` there is a `reason`.

    `allowed` is the largest worsening within the plan's gate; None without one.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    standing: str = "missing"
    reason: str | None = None
    allowed: float | None = None


By = tuple[str, str]  # what a gain is measured by: "judge" and its name, or a comparison's kind and measure


def _measured_gains(found: Sequence[CandidateFacts]) -> tuple[By | None, list[Coordinate]]:
    """What most candidates have a gain by, a judge's win rates before a primary measure, and the gains."""
    known = [_known_gains(case) for case in found]
    counts = Counter(by for gains in known for by, gain in gains.items() if gain.value is not None)
    # Of equally many the first that a candidate has.
    by = max(counts, key=counts.__getitem__, default=None)
    unknown = [Coordinate(None, reason=_no_gain(case, by)) for case in found]
    return by, [gains.get(by, none) if by else none for gains, none in zip(known, unknown, strict=True)]


def _no_gain(case: CandidateFacts, by: By | None) -> str:
    if case.base is None:
        return "there is no baseline to compare with"
    if by is None:
        return f"no judge and no measure of quality has compared it with {case.base.name}"
    return f"{by[1]} has not compared it with {case.base.name}"


def _known_gains(case: CandidateFacts) -> dict[By, Coordinate]:
    if case.base is None:
        return {}
    rates = {("judge", row.judge): _rate(row) for row in case.win_rates(case.base)}
    return rates | {(row.kind, row.measure): _improved(row) for row in case.changes(case.base)}


def _rate(row: WinRateRow) -> Coordinate:
    reason = None if row.win_rate is not None else row.reason or "nothing was judged"
    return Coordinate(row.win_rate, row.low, row.high, rule_on_rate(row), reason)


def _improved(row: ComparisonRow) -> Coordinate:
    low, high = bounds(row) or (None, None)
    value = improvement(row)
    if value is None or not math.isfinite(value):
        unknown = "no reason was recorded" if value is None else "it is not a finite number"
        return Coordinate(None, reason=row.reason or unknown)
    return Coordinate(value, low, high, row.standing, None, row.allowed)


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """One candidate: what it gained and forgot, and the training settings that its record tells.

    `is_front`: no other has gained as much and forgotten as little, and differs. By the values, which may
    differ by chance.
    """

    candidate: str
    word: Word
    gain: Coordinate
    forgotten: Coordinate
    step: int | None = None
    rank: Value = None
    lr: Value = None
    is_front: bool = False

    @property
    def reason(self) -> str | None:
        """Why it is not drawn."""
        reasons = [
            f"{name}: {found.reason}"
            for name, found in (("gain", self.gain), ("forgetting", self.forgotten))
            if found.value is None
        ]
        return "; ".join(reasons) or None


@dataclass(frozen=True, slots=True)
class TradeOff:
    """What the candidates of a run gained and forgot, in the order of their steps, else of the plan.

    `gain` is a win rate, else the improvement on a measure; `forgotten` the worsening on what must not be
    forgotten, in the measure's unit: above 0 something was lost. Both against each candidate's base. A limit
    is that of the plan's gate, in the same unit; None where there is none, or none is known.
    """

    gain: str
    forgotten: str
    points: tuple[SweepPoint, ...]
    least_gain: float | None = None
    most_forgotten: float | None = None
    even: float = 0.0  # the gain of a candidate that is as good as its base

    @property
    def drawn(self) -> list[SweepPoint]:
        return [point for point in self.points if point.reason is None]

    @property
    def missing(self) -> list[SweepPoint]:
        return [point for point in self.points if point.reason is not None]


def trade_off(found: Sequence[CandidateFacts], decided: Sequence[Decision]) -> TradeOff:
    """Gain by what orders the candidates, forgetting by what a sweep holds them to by default."""
    words = {verdict.candidate: verdict.word for verdict in decided}
    by, gains = _measured_gains(found)
    measure, forgotten = _measured_losses(found)
    points = [
        SweepPoint(
            case.name,
            words[case.name],
            gain,
            lost,
            case.model.step,
            setting(case.model.details, "rank"),
            setting(case.model.details, "lr"),
        )
        for case, gain, lost in zip(found, gains, forgotten, strict=True)
    ]
    front = _front(points)
    ordered = sorted(points, key=lambda point: (point.step is None, point.step or 0))
    kind, name = by or ("", "")
    return TradeOff(
        f"win rate ({name})" if kind == "judge" else f"improvement of {name}" if name else "gain",
        corpus_aspect(measure) if measure else "forgetting",
        tuple(replace(point, is_front=point.candidate in front) for point in ordered),
        *_limits(found, by, forgotten, gains),
        even=0.5 if kind == "judge" else 0.0,
    )


def _measured_losses(found: Sequence[CandidateFacts]) -> tuple[str, list[Coordinate]]:
    """The measure of what must not be forgotten that most candidates have, and how much worse each is."""
    compared = [_on_general(case) for case in found]
    corpus = general_corpus(
        row.measure.partition(":")[2] for rows in compared for row in rows if row.kind == "corpus"
    )
    tasks = [row.measure for rows in compared for row in rows if row.kind == "benchmark"]
    names = [f"perplexity:{corpus}", f"bits_per_byte:{corpus}"] if corpus else tasks[:1]
    # One measure for all: perplexities do not compare between tokenizers, and have another unit than bits.
    known = [
        row.measure for rows in compared for row in rows if row.delta is not None and row.measure in names
    ]
    measure = max(names, key=known.count, default="")
    rows = [next((row for row in own if row.measure == measure), None) for own in compared]
    return measure, [_lost(row, measure) for row in rows]


def _on_general(case: CandidateFacts) -> list[ComparisonRow]:
    """The comparisons on corpora and benchmarks with the base, else with the first that has any.

    Baselines that share their weights are benchmarked once, under the first one's name.
    """
    own = [row for row in case.facts.comparisons if row.candidate == case.name and row.kind != "metric"]
    base = case.base.name if case.base else ""
    against = base if any(row.baseline == base for row in own) else next((row.baseline for row in own), base)
    return [row for row in own if row.baseline == against]


def _lost(row: ComparisonRow | None, measure: str) -> Coordinate:
    if row is None:
        said = (
            f"{corpus_aspect(measure)} was not" if measure else "neither a general corpus nor a benchmark was"
        )
        return Coordinate(None, reason=f"{said} compared")
    found = _improved(row)
    value, low, high = (None if end is None else 0.0 - end for end in (found.value, found.high, found.low))
    return replace(found, value=value, low=low, high=high)


def _front(points: Iterable[SweepPoint]) -> set[str]:
    """The candidates that none beats on both axes."""
    known = [
        (gain, lost, point.candidate)
        for point in points
        if (gain := point.gain.value) is not None and (lost := point.forgotten.value) is not None
    ]
    return {
        name
        for gain, lost, name in known
        if not any(g >= gain and f <= lost and (g, f) != (gain, lost) for g, f, _ in known)
    }


def _limits(
    found: Sequence[CandidateFacts], by: By | None, lost: Sequence[Coordinate], gains: Sequence[Coordinate]
) -> tuple[float | None, float | None]:
    """The least gain and the most forgetting that gates allow."""
    if by is None or by[0] != "judge":
        drop = _limit(gains)
        return None if drop is None else 0.0 - drop, _limit(lost)
    gates = found[0].facts.plan.get("gates")
    asked = gates.get("min_win_rate") if isinstance(gates, dict) else None
    return float(asked) if isinstance(asked, int | float) else None, _limit(lost)


def _limit(found: Iterable[Coordinate]) -> float | None:
    """None where it differs between candidates, as it may relative to different baselines."""
    limits = {each.allowed for each in found if each.value is not None}
    return limits.pop() if len(limits) == 1 else None


def trade_off_values(found: TradeOff) -> dict[str, Any]:
    """For JSON."""
    return {
        "gain": found.gain,
        "forgotten": found.forgotten,
        "least_gain": found.least_gain,
        "most_forgotten": found.most_forgotten,
        "points": [
            {
                **{name: getattr(point, name) for name in ("candidate", "word", "step", "rank", "lr")},
                "on_front": point.is_front,
                **{
                    f"{name}{end and '_'}{end}": getattr(axis, end or "value")
                    for name, axis in (("gain", point.gain), ("forgotten", point.forgotten))
                    for end in ("", "low", "high")
                },
                "reason": point.reason,
            }
            for point in found.points
        ],
    }


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
            "advice": item.advice or None,
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
        *(answer for answer in (answers.safe(case), answers.robust(case)) if answer),
        *((change,) if change else ()),
    )
    word, reasons = _decided(case, {answer.topic: answer for answer in answered})
    figures = (reasons[0].said,) if _unfinished(case.facts.run) else answers.card(case)
    grounds = tuple(reasons[:MOST])
    first = next((reason.alert for reason in grounds if reason.alert), None)
    to_do = advice(first, case.model.details) if first else ""
    return Decision(case.name, word, grounds, answered, card=figures, advice=to_do)


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
    if doubt := synthetic_doubt(case):
        reasons.append(Reason(f"but {doubt}", topic="data"))
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
