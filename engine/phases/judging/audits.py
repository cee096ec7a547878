"""Audits of the judges themselves: biases, family, rankings, and the constant-answer probe.

After Zheng et al. 2024, "Cheating automatic LLM benchmarks: null models achieve high win rates".
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from engine.data.example import is_synthetic
from engine.judges.answers import verdict
from engine.judges.audit import Judged, audit, kin
from engine.judges.judge import ORDERS, WHOLE, Call, Pair, PairJudge
from engine.judges.questions import drawn, matches
from engine.phases.judging.pairs import decided_points
from engine.phases.judging.shared import given_answers, match_name, paid, until_stopped
from engine.phases.work import Work
from engine.plan.plan import Judge as JudgePlan
from engine.stats.winrate import POINTS, Outcome, Points, bradley_terry, share, win_rate
from store import records
from store.records.alert import Alert, ConstantAnswerEvidence, KinEvidence
from store.records.judging import IDENTICAL, SHARED_RATES, WITHOUT_SYNTHETIC

MEASURE = "constant_answer_wins"
TOLERATED = 0.10
NAME = "a constant answer"
BOAST = (
    "Thank you for this excellent question. The following answer is complete, accurate and well structured: "
    "it covers every aspect of your request in depth, is easy to follow, and leaves nothing open. I have "
    "checked each point with care, so that you can rely on it fully. Please let me know if there is anything "
    "else that I can do for you."
)


def probe_judge(work: Work, settings: JudgePlan, grader: PairJudge, judge_id: int) -> None:
    """Compares the constant answer with the first baseline on a seeded sample of examples, in both orders.

    Each finished example is kept at once, so that nothing is asked twice.
    """
    if settings.constant_probe is None:
        return
    baseline = work.plan.baselines[0]
    answers = given_answers(work, baseline)
    chosen = [
        example
        for example in drawn(work.plan.data.seed, work.examples)
        if work.example_ids[example.id] in answers
    ][: settings.constant_probe]
    known = _known(work, judge_id, baseline.name)
    pairs = [
        Pair(example, NAME, BOAST, baseline.name, answers[work.example_ids[example.id]].text)
        for example in chosen
        if example.id not in known
    ]
    meter = work.meter(
        "judge", probe_item(settings.name), "judgments", total=2 * len(chosen), done=2 * len(known)
    )
    winners: dict[str, dict[str, str | None]] = defaultdict(dict)
    calls = (Call(pair, order) for pair in pairs for order in ORDERS)
    for judgment in until_stopped(work, grader.judge(calls)):
        example = judgment.call.pair.example.id
        winners[example][judgment.call.order] = judgment.winner
        if len(winners[example]) == len(ORDERS):
            known[example] = verdict(*(winners[example][order] for order in ORDERS))
            _record(work, judge_id, baseline.name, known)
        meter.advance(1, **paid([judgment]))


def probe_item(judge: str) -> str:
    """How the progress of the probe is called."""
    return f"{judge} · {NAME}"


def constant_alerts(work: Work) -> list[Alert]:
    """A warning for judges that let the constant answer win more often than one in ten."""
    alerts = []
    for judge in work.recorder.rows(records.StoredJudge, run_id=work.recorder.run_id):
        for row in work.recorder.rows(records.Audit, judge_id=judge.id, measure=MEASURE):
            if row.value is not None and row.value > TOLERATED:
                message = (
                    f"{judge.name} gave a fixed, empty answer a win rate of {row.value:.1%} against "
                    f"{row.subject} (n = {row.n}): it can be fooled. "
                    "Use a stricter rubric, references, or another judge."
                )
                evidence = ConstantAnswerEvidence(
                    judge=judge.name,
                    win_rate=row.value,
                    low=row.low,
                    high=row.high,
                    n=row.n,
                )
                alerts += [
                    Alert("warning", "judge_fooled", model.name, row.subject, "win_rate", message, evidence)
                    for model in work.plan.candidates
                ]
    return alerts


def _known(work: Work, judge_id: int, baseline: str) -> dict[str, Outcome]:
    rows = work.recorder.rows(records.Audit, judge_id=judge_id, measure=MEASURE, subject=baseline)
    return dict((rows[0].details or {})["outcomes"]) if rows else {}


def _record(work: Work, judge_id: int, baseline: str, outcomes: dict[str, Outcome]) -> None:
    found = win_rate(list(outcomes.values()), work.plan.data.seed)
    row: dict[str, Any] = {
        "judge_id": judge_id,
        "measure": MEASURE,
        "subject": baseline,
        "value": found.win_rate,
        "low": found.low,
        "high": found.high,
        "n": found.wins + found.losses + found.ties,
        "reason": None if found.win_rate is not None else "every judgment failed",
        "details": {"outcomes": outcomes},
    }
    work.recorder.put(records.Audit(**row))


_OUTCOMES: dict[float, Outcome] = {1.0: "win", 0.5: "tie", 0.0: "loss"}  # as in POINTS
KIN: Final = "self_preference"


def record_audits(work: Work) -> None:
    """Writes the leanings of every judge of pairs, its ranking of the models, and who is of its family."""
    models = {model.name: work.model_ids[model.name] for model in work.plan.models}
    for judge in work.recorder.rows(records.StoredJudge, run_id=work.recorder.run_id):
        if judge.kind == "pairwise":
            verdicts = work.recorder.rows(records.Verdict, judge_id=judge.id, turn=WHOLE)
            for subject, judged in _judged(work, verdicts).items():
                work.recorder.put(leanings(judge.id, subject, judged, work.plan.data.seed))
            allowed = work.plan.gates.max_judge_failures
            uneven = shared_rates(judge.id, decided_points(work, judge), allowed, work.plan.data.seed)
            written = {work.example_ids[each.id] for each in work.examples if is_synthetic(each)}
            asked = without_synthetic(work, judge, written) if written else []
            with work.recorder.transaction() as transaction:
                for measure in (SHARED_RATES, WITHOUT_SYNTHETIC):
                    transaction.clear(records.Audit, judge_id=judge.id, measure=measure)
                transaction.append([*uneven, *asked])
            work.recorder.put(ranking(judge.id, models, _played(work, verdicts), work.plan.data.seed))
        if judge.is_language_model:
            work.recorder.put(kinship(judge, _made_of(work)))


def without_synthetic(
    work: Work, judge: records.StoredJudge, written: Collection[int]
) -> list[records.Audit]:
    """A judge's win rates over the examples that no model wrote, which the set may have none of."""
    found = []
    for candidate, baseline in matches(work.plan):
        points = decided_points(work, judge).get((candidate.name, baseline.name), {})
        own = [_OUTCOMES[value] for (_, example), value in points.items() if example not in written]
        rate = win_rate(own, work.plan.data.seed)
        reason = "no verdict on an example that is not synthetic" if points else "not all were judged"
        found.append(
            records.Audit(
                judge_id=judge.id,
                measure=WITHOUT_SYNTHETIC,
                subject=match_name(candidate.name, baseline.name),
                value=rate.win_rate,
                low=rate.low,
                high=rate.high,
                n=len(own),
                reason=None if own else reason,
            )
        )
    return found


def shared_rates(
    judge_id: int, points: Mapping[tuple[str, str], Mapping[Any, float]], allowed: float, seed: int = 0
) -> list[records.Audit]:
    """Of each baseline, the candidates' win rates over the pairs that all of them have a verdict on, where
    one lacks more than the `allowed` share of those that any has.

    `points` by candidate and baseline, each by what was compared.
    """
    found = []
    for baseline in dict.fromkeys(baseline for _, baseline in points):
        own = {candidate: each for (candidate, other), each in points.items() if other == baseline}
        if min(map(len, own.values())) >= (1 - allowed) * len(set().union(*own.values())):
            continue
        shared = set.intersection(*map(set, own.values()))
        rates = {
            candidate: share([(each[place], 1.0) for place in shared], seed)
            for candidate, each in own.items()
        }
        details = {name: [rate.value, rate.low, rate.high] for name, rate in rates.items()}
        found.append(
            records.Audit(
                judge_id=judge_id, measure=SHARED_RATES, subject=baseline, n=len(shared), details=details
            )
        )
    return found


def leanings(judge_id: int, subject: str, judged: Sequence[Judged], seed: int = 0) -> list[records.Audit]:
    """What one judge's verdicts on one match show about the judge."""
    return [
        records.Audit(judge_id=judge_id, subject=subject, **asdict(figure)) for figure in audit(judged, seed)
    ]


def ranking(
    judge_id: int, model_ids: Mapping[str, int], played: Sequence[Points], seed: int = 0
) -> list[records.Ranking]:
    """One judge's ranking of the models that it compared, from the points of each example."""
    return [
        records.Ranking(
            judge_id=judge_id,
            model_id=model_ids[found.model],
            turn=WHOLE,
            strength=found.strength,
            low=found.low,
            high=found.high,
            n=found.n,
            reason=found.reason,
        )
        for found in bradley_terry(list(model_ids), played, seed)
    ]


def kinship(judge: records.StoredJudge, models: Iterable[tuple[str, str | None]]) -> list[records.Audit]:
    """The models, each with what it is made of, that are of the judge's family."""
    related = kin((judge.details or {}).get("model"), models)
    reason = "judge and models are of one family by name: how much that matters is not measured"
    audit_ = records.Audit(
        judge_id=judge.id, measure=KIN, subject=", ".join(related), n=len(related), reason=reason
    )
    return [audit_] if related else []


def kin_alerts(work: Work) -> list[Alert]:
    """A note for each candidate that a judge of its own family grades."""
    alerts = []
    for judge in work.recorder.rows(records.StoredJudge, run_id=work.recorder.run_id):
        related = _related(work, judge)
        for model in work.plan.candidates:
            if model.name in related:
                message = (
                    f"{judge.name} ({(judge.details or {})['model']}) is of the same family as {model.name}: "
                    "judges tend to prefer answers of their own family. Add a judge of another family."
                )
                evidence = KinEvidence(judge=judge.name, kin=tuple(related))
                alerts.append(Alert("note", KIN, model.name, None, "win_rate", message, evidence))
    return alerts


def _judged(work: Work, verdicts: list[records.Verdict]) -> Mapping[str, list[Judged]]:
    """By match, what was judged of it and how."""
    names = {place: name for name, place in work.model_ids.items()}
    texts = {
        work.model_ids[model.name]: {place: given.text for place, given in given_answers(work, model).items()}
        for model in work.plan.models
    }
    matches: dict[str, list[Judged]] = defaultdict(list)
    for row in verdicts:
        place = row.example_id
        candidate, baseline = texts.get(row.candidate_id, {}), texts.get(row.baseline_id, {})
        if place in candidate and place in baseline:
            matches[match_name(names[row.candidate_id], names[row.baseline_id])].append(
                Judged(
                    row.outcome,
                    row.consistent,
                    candidate[place],
                    baseline[place],
                    asked=row.reason != IDENTICAL,
                )
            )
    return matches


def _played(work: Work, verdicts: list[records.Verdict]) -> list[Points]:
    names = {place: name for name, place in work.model_ids.items()}
    examples: dict[int, dict[tuple[str, str], float]] = defaultdict(dict)
    for row in verdicts:
        if row.outcome in POINTS:
            sides = names[row.candidate_id], names[row.baseline_id]
            examples[row.example_id][sides] = POINTS[row.outcome]
    return [*examples.values()]


def _made_of(work: Work) -> list[tuple[str, str | None]]:
    return [(model.name, model.path or model.model) for model in work.plan.models]


def _related(work: Work, judge: records.StoredJudge) -> list[str]:
    if not judge.is_language_model:
        return []
    return kin((judge.details or {}).get("model"), _made_of(work))
