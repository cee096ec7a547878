"""Gates on judges: win rates, failures, and disagreement with themselves or with people."""

import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import cast

from engine.compare.calibration import (
    Calibration,
    CriterionAgreement,
    CurveBin,
    HumanLabel,
    calibrate,
    confidence_bins,
    criteria,
    score_bins,
)
from engine.errors import BadInput
from engine.judges.questions import OF_ANOTHER_KIND
from engine.plan.plan import Gates
from engine.stats.family import CRITICAL_Z, FEWEST_LABELS, examples_needed, majority
from engine.stats.winrate import WinRate
from store.read import history, judging, labels
from store.read.query import by_key
from store.read.rows import AlertRow
from store.records.alert import (
    AgreementEvidence,
    Alert,
    JudgeFailureEvidence,
    JudgeShareEvidence,
    Severity,
    WinRateEvidence,
)

KIND = "judge_agreement"


@dataclass(frozen=True, slots=True)
class JudgeAgreement:
    """One judge against people on one candidate and one baseline."""

    judge: str
    judge_id: int
    is_language_model: bool
    candidate: str
    baseline: str
    annotators: tuple[str, ...]
    calibration: Calibration
    win_rate_gate: float | None


@dataclass(frozen=True, slots=True)
class VoteAgreement:
    """People's single votes that a judge agrees with, over all pairs of models, as FastChat counts."""

    alike: int
    votes: int
    alike_decided: int  # where neither the vote nor the verdict is a tie
    decided: int


@dataclass(frozen=True, slots=True)
class JudgeCurve:
    """A judge's own value against what people said; without `bins` the `reason` says what is needed.

    `kind`: "confidence" of the decided verdicts on one pair of models, or "score" of single answers, which
    has no pair.
    """

    judge: str
    kind: str
    candidate: str | None
    baseline: str | None
    bins: list[CurveBin]
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class RunAgreement:
    """Every labelled pair of models, and how each pointwise judge applies the rubric's criteria."""

    matches: list[JudgeAgreement]
    criteria: dict[str, list[CriterionAgreement]]
    alerts: list[Alert]
    by_vote: dict[str, dict[int, VoteAgreement]]  # by judge and turn; only where a turn was voted on
    curves: list[JudgeCurve]


def agreement_of(connection: history.Connection, run_id: int, judge: str | None = None) -> RunAgreement:
    """Compares every pairwise judge, or the one named, with people's preferences.

    Raises StoreError for an unknown run, and BadInput when no judge has that name or nobody labelled
    anything.
    """
    run = history.run(connection, run_id)
    judges = history.judges(connection, run_id)
    chosen = [row for row in judges if judge in (None, row.name)]
    if not chosen:
        known = ", ".join(row.name for row in judges) or "none"
        raise BadInput(f"run {run_id} has no judge {judge!r}", f"its judges: {known}")
    gates = tomllib.loads(run.plan).get("gates", {})
    names = {row.id: row.name for row in history.models(connection, run_id)}
    matches = []
    votes: dict[str, list[tuple[int, str, str]]] = {}
    for candidate, baseline in labels.labelled_pairs(connection, run_id):
        rows = labels.preferences(connection, run_id, candidate, baseline)
        said = [
            HumanLabel(label.example, label.annotator, label.outcome, label.category, label.queue)
            for label in rows
            if not label.turn
        ]
        for row in chosen:
            verdicts = labels.verdicts(connection, row.id, candidate, baseline)
            if row.kind == "pointwise" or not verdicts:
                continue
            votes.setdefault(row.name, []).extend(
                (label.turn, label.outcome, verdicts[label.turn, label.example])
                for label in rows
                if (label.turn, label.example) in verdicts
            )
            judged = {example: outcome for (turn, example), outcome in verdicts.items() if not turn}
            if not said or not judged:
                continue
            found = calibrate(said, judged, gates.get("min_win_rate"))
            annotators = tuple(dict.fromkeys(label.annotator for label in said))
            sides = names[candidate], names[baseline]
            matches.append(
                JudgeAgreement(
                    row.name, row.id, row.is_language_model, *sides, annotators, found,
                    gates.get("min_win_rate"),
                )
            )  # fmt: skip
    read = {row.name: _criteria(connection, run_id, row.id) for row in chosen if row.kind == "pointwise"}
    by_criterion = {name: found for name, found in read.items() if found}
    by_vote = {name: _by_vote(own) for name, own in votes.items() if any(turn for turn, _, _ in own)}
    if not matches and not by_criterion and not by_vote:
        raise BadInput(
            f"nobody has labelled pairs of answers that a judge of run {run_id} has judged",
            f"label some with `assay review {run_id}`; those of the queue “random” also correct the win rate",
        )
    alerts = agreement_alerts(matches, gates.get("min_judge_agreement"))
    return RunAgreement(matches, by_criterion, alerts, by_vote, curves_of(connection, run_id, judge))


def curves_of(connection: history.Connection, run_id: int, judge: str | None = None) -> list[JudgeCurve]:
    """How far each judge's confidence or score goes with what people said, where they said something."""
    names = {row.id: row.name for row in history.models(connection, run_id)}
    rated: dict[tuple[int, int], dict[str, list[float]]] = {}
    for rating in labels.criteria(connection, run_id):
        own = rated.setdefault((rating.example_id, rating.model_id), {})
        own.setdefault(rating.criterion, []).append(rating.value)
    pairs = labels.labelled_pairs(connection, run_id)
    found = []
    for row in history.judges(connection, run_id):
        if judge not in (None, row.name):
            continue
        if row.kind == "pointwise":
            if rated:
                bins = score_bins(list(_rated_alike(labels.judged_criteria(connection, row.id), rated)))
                found.append(JudgeCurve(row.name, "score", None, None, bins, None if bins else NO_RATINGS))
            continue
        for candidate, baseline in pairs:
            judged = labels.verdicts(connection, row.id, candidate, baseline)
            if judged:
                sure = labels.confidences(connection, row.id, candidate, baseline)
                people = _majorities(labels.preferences(connection, run_id, candidate, baseline))
                shared = [
                    name for turn, name in judged if not turn and judged[0, name] != "tie" and name in people
                ]
                bins = confidence_bins(
                    [(sure[name], people[name] == judged[0, name]) for name in shared if name in sure]
                )
                reason = None if bins else NO_CONFIDENCE if shared else NO_LABELS
                found.append(
                    JudgeCurve(row.name, "confidence", names[candidate], names[baseline], bins, reason)
                )
    return found


NO_LABELS = "people's labels on answers that the judge decided between are needed"
NO_CONFIDENCE = (
    "the judge's confidence is needed, which comes with the probabilities of its answer's tokens: a local "
    'judge with answer = "tokens", or a server that returns logprobs'
)
NO_RATINGS = "people's ratings of answers that the judge scored are needed, by the same criteria"


def _majorities(rows: Sequence[labels.PreferenceRow]) -> dict[str, str]:
    """What most people said of whole answers, by example."""
    said: dict[str, list[str]] = {}
    for row in rows:
        if not row.turn:
            said.setdefault(row.example, []).append(row.outcome)
    return {example: majority(outcomes) for example, outcomes in said.items()}


def _rated_alike(
    judged: Sequence[labels.JudgedCriteriaRow], rated: Mapping[tuple[int, int], Mapping[str, Sequence[float]]]
) -> Iterator[tuple[float, float]]:
    """The judge's score and people's mean rating of an answer, by each criterion that both have."""
    for row in judged:
        for criterion, values in rated.get((row.example_id, row.model_id), {}).items():
            score = (row.scores or {"overall": row.score}).get(criterion)
            if score is not None:
                yield score, sum(values) / len(values)


def _by_vote(votes: Sequence[tuple[int, str, str]]) -> dict[int, VoteAgreement]:
    """From (turn, person's outcome, judge's); the earlier turns first, then whole conversations (0)."""
    found = {}
    for turn in sorted({turn for turn, _, _ in votes}, key=lambda turn: (not turn, turn)):
        said = [("tie" if vote == "both_bad" else vote, judged) for own, vote, judged in votes if own == turn]
        decided = [both for both in said if "tie" not in both]
        alike, alike_decided = (sum(vote == judged for vote, judged in each) for each in (said, decided))
        found[turn] = VoteAgreement(alike, len(said), alike_decided, len(decided))
    return found


def _criteria(connection: history.Connection, run_id: int, judge: int) -> list[CriterionAgreement]:
    people: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in labels.criteria(connection, run_id):
        answer = (str(row.example_id), str(row.model_id))
        people.setdefault(answer, {}).setdefault(row.criterion, []).append(row.value)
    means = {
        answer: {name: sum(values) / len(values) for name, values in ratings.items()}
        for answer, ratings in people.items()
    }
    judged = {
        (str(row.example_id), str(row.model_id)): row.scores
        for row in labels.judged_criteria(connection, judge)
        if row.scores
    }
    return criteria(means, judged)


def agreement_alerts(matches: Sequence[JudgeAgreement], gate: float | None) -> list[Alert]:
    """Those of all matches; none without a gate."""
    return [alert for match in matches for alert in _alerts(match, gate)]


def labels_needed(match: JudgeAgreement, gate: float) -> int | None:
    """About how many labels would tell a judge's kappa from the gate; None where too little is known."""
    kappa = match.calibration.against_people.kappa
    if kappa.value is None or kappa.low is None or kappa.high is None:
        return None
    return _needed((kappa.high - kappa.low) / 2, kappa.value - gate, kappa.n)


def _alerts(match: JudgeAgreement, gate: float | None) -> Sequence[Alert]:
    """Judges whose kappa with people is below the gate; a warning while the CI includes the gate."""
    raters = match.calibration.against_people
    kappa = raters.kappa
    if gate is None:
        return []
    if kappa.value is None or raters.pairs < FEWEST_LABELS:
        why = kappa.reason or f"{raters.pairs} labelled pairs are too few: {FEWEST_LABELS} are needed"
        message = f"Agreement of {match.judge} with people is inconclusive: {why}."
        return [_agreement_alert("note", match, gate, message)]
    if kappa.value >= gate:
        return []
    settled = kappa.high is not None and kappa.high < gate
    message = (
        f"{match.judge} disagrees with people about {match.candidate} against {match.baseline}: kappa is "
        f"{kappa.value:.2f} over {kappa.n} pairs"
    )
    if kappa.low is not None and kappa.high is not None:
        message += f" (95% CI {kappa.low:.2f} to {kappa.high:.2f})"
    message += f", below the {gate:.2f} that the plan requires."
    if not settled:
        message += " The CI includes the gate, so more labels may show that it is met."
    severity: Severity = "critical" if settled else "warning"
    return [_agreement_alert(severity, match, gate, message)]


def _agreement_alert(severity: Severity, match: JudgeAgreement, gate: float, message: str) -> Alert:
    kappa = match.calibration.against_people.kappa
    evidence = AgreementEvidence(kappa=kappa.value, low=kappa.low, high=kappa.high, n=kappa.n, required=gate)
    return Alert(severity, KIND, match.candidate, match.baseline, match.judge, message, evidence)


_CONSISTENCY = "consistency"


@dataclass(frozen=True, slots=True)
class MatchVerdicts:
    """One judge's verdicts on a candidate against a baseline, or the `reason` why there is no rate.

    `losses` are ids of examples that the candidate lost; `is_language_model` False is the embedded rule.
    """

    judge: str
    candidate: str
    baseline: str
    rate: WinRate
    reason: str | None = None
    losses: tuple[str, ...] = ()
    is_language_model: bool = True


def win_rate_alerts(
    verdicts: Sequence[MatchVerdicts], gates: Gates, candidates: Sequence[str]
) -> list[Alert]:
    """Win rates under the plan's minimum or, without a minimum, under its warning limit.

    Below the minimum, or missing: critical. Below the warning limit: a warning if the whole interval is,
    else a note with the number of examples needed.
    """
    found = [_below_minimum(item, gates) or _below_warning(item, gates) for item in verdicts]
    judged = {item.candidate for item in verdicts}
    unjudged = [name for name in candidates if name not in judged and gates.min_win_rate is not None]
    return [alert for alert in found if alert is not None] + [
        Alert(
            "critical",
            "win_rate",
            candidate,
            None,
            "win_rate",
            f"The win rate of {candidate} could not be computed: nothing was judged. "
            f"The plan requires {gates.min_win_rate:.1%}.",
            WinRateEvidence(),
        )
        for candidate in unjudged
    ]


def judge_failure_alerts(verdicts: Sequence[MatchVerdicts], gates: Gates) -> list[Alert]:
    """Judges with too many failures; critical where the plan decides by the win rate."""
    severity: Severity = "warning" if gates.min_win_rate is None else "critical"
    alerts = []
    for item in verdicts:
        failed, total = item.rate.failed, _total(item.rate)
        if not total or failed / total <= gates.max_judge_failures:
            continue
        message = (
            f"{failed} of {total} verdicts of {item.judge} on {item.candidate} against {item.baseline} "
            f"failed ({failed / total:.1%}; {_at_most(gates)} may). "
            "The win rate counts only the others."
        )
        alerts.append(
            Alert(
                severity,
                "judge_failures",
                item.candidate,
                item.baseline,
                "win_rate",
                message,
                JudgeFailureEvidence(
                    judge=item.judge,
                    wins=item.rate.wins,
                    losses=item.rate.losses,
                    ties=item.rate.ties,
                    failed=failed,
                    win_rate=item.rate.win_rate,
                    win_rate_low=item.rate.low,
                    win_rate_high=item.rate.high,
                    n=total,
                ),
            )
        )
    return alerts


def missing_pairs_alert(
    judge: str, candidate: str, baseline: str, absent: int, total: int, gates: Gates
) -> list[Alert]:
    """A candidate that was compared on too few of the pairs that others were compared on."""
    if not total or absent / total <= gates.max_judge_failures:
        return []
    message = (
        f"{judge} compared {candidate} with {baseline} on {total - absent} of the {total} questions that it "
        f"compared other models on ({absent / total:.1%} are missing; {_at_most(gates)} may): "
        "their win rates are not over the same questions."
    )
    evidence = JudgeFailureEvidence(judge=judge, failed=absent, n=total)
    return [Alert("warning", "judge_failures", candidate, baseline, "win_rate", message, evidence)]


def rating_failure_alert(
    measure: str, model: str, reasons: Mapping[str, int], asked: int, gates: Gates, more: str = ""
) -> list[Alert]:
    """A rater of whose ratings of a model too many are missing; `reasons` counts those by why."""
    judge = measure.removeprefix("judge:")
    failed = sum(reasons.values())
    if not asked or failed / asked <= gates.max_judge_failures:
        return []
    ordered = dict(Counter(reasons).most_common(5))
    message = (
        f"{failed} of {asked} ratings of {model} by {judge} failed or are missing ({failed / asked:.1%}; "
        f"{_at_most(gates)} may). Most often: {next(iter(ordered))}. "
        f"The scores count only the others.{more}"
    )
    evidence = JudgeFailureEvidence(judge=judge, failed=failed, n=asked, reasons=ordered)
    return [Alert("warning", "judge_failures", model, None, measure, message, evidence)]


NOT_SAMPLED = "not in the judge's sample"


@dataclass(frozen=True, slots=True)
class RatingFailures:
    """A candidate's ratings by a judge of single responses: of so many asked for, why some are missing."""

    measure: str
    model: str
    asked: int
    reasons: Mapping[str, int]

    @property
    def failed(self) -> int:
        return sum(self.reasons.values())

    @property
    def share(self) -> float | None:
        return self.failed / self.asked if self.asked else None

    def alerts(self, gates: Gates) -> list[Alert]:
        return rating_failure_alert(self.measure, self.model, self.reasons, self.asked, gates)


def rating_failures(connection: history.Connection, run_id: int) -> list[RatingFailures]:
    """Those of every judge of single responses on every candidate of a run."""
    counts = by_key(
        ((f"judge:{row.judge}", row.model), row)
        for row in judging.rating_counts(connection, run_id)
        if row.reason not in (NOT_SAMPLED, *OF_ANOTHER_KIND)
    )
    return [
        RatingFailures(
            *key, sum(row.n for row in own), {row.reason: row.n for row in own if row.reason is not None}
        )
        for key, own in counts.items()
    ]


def regraded_failures(alert: AlertRow, before: Gates, gates: Gates) -> Alert | None:
    """Missing ratings or pairs under another limit, from what the alert says; None: no longer too many.

    `before` are the gates that raised it.
    """
    found = alert.evidence
    assert isinstance(found, JudgeFailureEvidence)
    if found.failed_share is not None and found.failed_share <= gates.max_judge_failures:
        return None
    message = alert.message.replace(_at_most(before), _at_most(gates))
    severity = cast("Severity", alert.severity)
    return Alert(severity, alert.kind, alert.candidate, alert.baseline, alert.measure, message, found)


def _at_most(gates: Gates) -> str:
    return f"at most {gates.max_judge_failures:.1%}"


@dataclass(frozen=True, slots=True)
class JudgeConsistency:
    """How often a judge's verdict is the same in both orders, 0 to 1, over n examples."""

    judge: str
    candidate: str
    baseline: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    contradicted: tuple[str, ...] = ()  # ids of examples where the two orders disagree


def inconsistency_alerts(found: Sequence[JudgeConsistency], gates: Gates) -> list[Alert]:
    """Judges whose verdict depends on the order of the answers more often than the plan allows.

    A warning when the whole interval is above the limit, else a note.
    """
    limit = gates.max_judge_inconsistency
    alerts = []
    for item in found:
        if item.value is None or item.low is None or item.high is None or 1 - item.value <= limit:
            continue
        share, low, high = 1 - item.value, 1 - item.high, 1 - item.low
        said = (
            f"{item.judge} contradicts itself in {share:.1%} of its verdicts on {item.candidate} against "
            f"{item.baseline} when the two answers are swapped (95% CI {low:.1%} to {high:.1%}, "
            f"n = {item.n}); the plan allows {limit:.1%}. Contradictions count as ties."
        )
        settled = low > limit
        needed = None if settled else contradictions_needed(item, limit)
        message = said if settled else f"Inconclusive: {_needs(needed)}. {said}"
        evidence = JudgeShareEvidence(
            judge=item.judge,
            value=share,
            low=low,
            high=high,
            n=item.n,
            needed=needed,
            example_ids=item.contradicted,
        )
        alerts.append(
            Alert(
                "warning" if settled else "note",
                "judge_inconsistency",
                item.candidate,
                item.baseline,
                _CONSISTENCY,
                message,
                evidence,
            )
        )
    return alerts


def contradictions_needed(item: JudgeConsistency, limit: float) -> int | None:
    """About how many examples would tell a judge's contradictions from the limit; None where unknown."""
    if item.value is None or item.low is None or item.high is None:
        return None
    return _needed((item.high - item.low) / 2, 1 - item.value - limit, item.n)


def _total(rate: WinRate) -> int:
    return rate.wins + rate.losses + rate.ties + rate.failed


def _said(item: MatchVerdicts) -> str:
    rule = "" if item.is_language_model else " (a rule, not a language model)"
    return f"{item.candidate} against {item.baseline}, judged by {item.judge}{rule}"


def _below_minimum(item: MatchVerdicts, gates: Gates) -> Alert | None:
    minimum, rate = gates.min_win_rate, item.rate
    if minimum is None:
        return None
    counts = _counts(rate)
    if rate.win_rate is None:
        why = item.reason or f"no judgment succeeded ({counts})"
        said = f"The win rate of {_said(item)}, could not be computed: {why}."
        return _alert("critical", item, f"{said} The plan requires {minimum:.1%}.")
    said = f"{_said(item)}: win rate {rate.win_rate:.1%} ({_range(rate.low, rate.high)}{counts})"
    if rate.win_rate < minimum:
        message = f"{said}, below the {minimum:.1%} that the plan requires."
        needed = None
        if rate.high is not None and rate.high >= minimum:
            needed = rate_needed(rate, minimum)
            message += (
                f" Inconclusive, since the CI includes the minimum: {_needs(needed)}; "
                "more examples may show that it is met."
            )
        return _alert("critical", item, message, needed)
    if rate.low is not None and rate.low < minimum:
        needed = rate_needed(rate, minimum)
        message = (
            f"{said} meets the {minimum:.1%} that the plan requires, but its CI extends below: "
            f"{_needs(needed)}."
        )
        return _alert("note", item, message, needed)
    return None


def _below_warning(item: MatchVerdicts, gates: Gates) -> Alert | None:
    limit, rate = gates.warn_win_rate, item.rate
    if gates.min_win_rate is not None or limit is None or rate.win_rate is None or rate.win_rate >= limit:
        return None
    if rate.low is None or rate.high is None:
        return None
    said = (
        f"{_said(item)}: win rate {rate.win_rate:.1%} ({_range(rate.low, rate.high)}{_counts(rate)}), "
        f"below {limit:.1%}"
    )
    if rate.high < limit:
        return _alert("warning", item, f"{said}. The plan warns there.")
    needed = rate_needed(rate, limit)
    message = f"Inconclusive: {_needs(needed)}. {said}, but the CI includes it."
    return _alert("note", item, message, needed)


def _alert(severity: Severity, item: MatchVerdicts, message: str, needed: int | None = None) -> Alert:
    rate = item.rate
    evidence = WinRateEvidence(
        judge=item.judge,
        **asdict(rate),
        n=_total(rate) - rate.failed,
        reason=item.reason,
        needed=needed,
        example_ids=item.losses,
    )
    return Alert(severity, "win_rate", item.candidate, item.baseline, "win_rate", message, evidence)


def _counts(rate: WinRate) -> str:
    return f"{rate.wins} wins, {rate.losses} losses, {rate.ties} ties, {rate.failed} failed"


def _range(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"95% CI {low:.1%} to {high:.1%}, "


def rate_needed(rate: WinRate, threshold: float) -> int | None:
    """About how many examples would tell a win rate from a threshold; None where too little is known."""
    if rate.low is None or rate.high is None or rate.win_rate is None:
        return None
    return _needed((rate.high - rate.low) / 2, rate.win_rate - threshold, _total(rate) - rate.failed)


def _needed(half: float, distance: float, n: int) -> int | None:
    """About how many examples separate a share from a threshold; `half` is half its 95% CI over n."""
    return examples_needed(half / CRITICAL_Z, distance, n)


def _needs(needed: int | None) -> str:
    return f"needs about {needed:,} examples" if needed else "needs more examples"
