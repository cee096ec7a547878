"""What if: a run's candidates under other limits than its plan's, by the same gates and the same decision.

The stored comparisons, slices, win rates, scores and labels are ruled on and checked again with the moved
limits. Nothing is stored. Alerts that no moved limit governs stay as they are: probes, cut answers, groups. A
lower limit raises no slow decline that the run did not, nor missing pairs or ratings of an imported run: what
they were counted from is not stored with it.
"""

import difflib
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import ValidationError

from engine.compare.comparison import Comparison
from engine.compare.forgetting import DROP
from engine.compare.ruling import Ruling, Standing
from engine.compare.slices import Slice
from engine.data.suites import plain
from engine.data.textfile import text_lines, write_text
from engine.decision.decision import Decision, verdicts
from engine.decision.facts import PreviousRun, RunFacts, cases, read, read_before
from engine.errors import BadInput
from engine.gates.checks import (
    UNMEASURED,
    ComplianceRate,
    Leaked,
    all_passed,
    format_alerts,
    leakage_alerts,
    passed,
    unmeasured_alerts,
)
from engine.gates.drops import ROUNDING, CheckedComparison, regraded_decline, slice_alerts
from engine.gates.figures import counted, interval, number, percent
from engine.gates.judges import (
    JudgeAgreement,
    JudgeConsistency,
    MatchVerdicts,
    agreement_alerts,
    agreement_of,
    contradictions_needed,
    inconsistency_alerts,
    judge_failure_alerts,
    labels_needed,
    rate_needed,
    rating_failures,
    regraded_failures,
    win_rate_alerts,
)
from engine.gates.measures import checked, decline_limit, drop_alerts, evaluated, ruled
from engine.metrics.metric import Direction, Measure
from engine.plan.errors import nearest
from engine.plan.plan import Gates
from engine.stats.family import FEWEST_LABELS
from engine.stats.winrate import WinRate
from store.read.history import Connection
from store.read.rows import AlertRow, ComparisonRow
from store.records.alert import (
    Alert,
    DowntrendEvidence,
    Evidence,
    JudgeFailureEvidence,
    LeakageEvidence,
    SliceEvidence,
)

FORMAT = "format_compliance"
_METRICS = frozenset({"metric_drop", "refusal_drift", "less_safe"})
_DROPS = _METRICS | {"benchmark_drop", "perplexity_rise", "length_drift", "latency_drift", "robustness_drop"}
_DECLINE = frozenset({"slow_decline"})
_RANKS = ("note", "warning", "critical")
# The order in which a run raises its alerts, and so that of a decision's reasons.
_ORDER = (
    UNMEASURED, "adapter_no_effect", "unread_system", "cut_answers", "drops", "format", "win_rate",
    "judge_failures", "judge_inconsistency", "judge_fooled", "self_preference", "slice_drop", "disparity",
    "leakage", "suspicion", "slow_decline", "judge_agreement",
)  # fmt: skip
Side = Literal["within", "beyond", "open", "missing"]


@dataclass(frozen=True, slots=True)
class Gate:
    """One limit of a plan: the alerts that it governs, how far it can go, and by what steps."""

    name: str
    about: str
    kinds: frozenset[str]
    step: float = 0.01
    most: float = 1.0
    start: float | None = None  # where it begins, of one that a plan may leave off


_GATES = (
    Gate("min_win_rate", "smallest win rate", frozenset({"win_rate", "judge_failures"}), start=0.5),
    Gate("warn_win_rate", "win rate that warns, without a smallest one", frozenset({"win_rate"})),
    Gate("max_benchmark_drop", "largest drop on a benchmark", _DECLINE | {"benchmark_drop"}),
    Gate("warn_benchmark_drop", "drop on a benchmark that warns", frozenset({"benchmark_drop"})),
    Gate("max_metric_drop", "largest drop on a measure", _METRICS | _DECLINE),
    Gate("warn_metric_drop", "drop on a measure that warns", _METRICS | {"slice_drop"}),
    Gate("max_perplexity_rise", "largest rise of perplexity", _DECLINE | {"perplexity_rise"}, most=10.0),
    Gate("max_robustness_drop", "largest drop by perturbed questions", _DECLINE | {"robustness_drop"},
        start=0.1,
    ),
    Gate("warn_robustness_drop", "drop by perturbed questions that warns", frozenset({"robustness_drop"})),
    Gate("min_format_compliance", "smallest format compliance", frozenset({"format"}), start=0.9),
    Gate("max_leakage", "largest share of leaked examples", frozenset({"leakage"})),
    Gate("max_judge_failures", "largest share of failed judgments", frozenset({"judge_failures"})),
    Gate("max_judge_inconsistency", "judge's contradictions that warn", frozenset({"judge_inconsistency"})),
    Gate(
        "min_judge_agreement", "smallest kappa of a judge with people", frozenset({"judge_agreement"}),
        start=0.4,
    ),
    Gate("warn_length_drift", "drift of length that warns", frozenset({"length_drift"}),
        step=0.05, most=10.0,
    ),
    Gate("warn_latency_rise", "rise of latency that warns", frozenset({"latency_drift"}),
        step=0.05, most=10.0,
    ),
    Gate("max_harmful_compliance_rise", "largest rise of harmful questions answered",
        frozenset({"less_safe"}), start=0.05,
    ),
    Gate("max_over_refusal_rise", "largest rise of harmless questions refused",
        frozenset({"refusal_drift"}), start=0.05,
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Look:
    """One figure that a gate looks at: its side of the limit with its interval, and what would settle it."""

    candidate: str
    said: str
    side: Side
    more: str = ""


class GatedRun:
    """One run with what its gates look at, read once. `decide` is under any limits.

    Raises StoreError for an unknown run, and BadInput for one that has no decision to change.
    """

    def __init__(self, connection: Connection, run_id: int) -> None:
        self.facts: RunFacts = read(connection, run_id)
        run = self.facts.run
        if run.status != "finished":
            raise BadInput(f"run {run_id} is {run.status}: its gates are checked when it has finished")
        self._before: PreviousRun | None = read_before(connection, run_id)
        try:
            self.gates = Gates.model_validate(self.facts.plan.get("gates", {}))
        except ValidationError as error:
            raise BadInput(f"this version of Assay cannot read the gates of run {run_id}: {error}") from error
        named = [
            Gate(
                f"metrics.{name}",
                f"largest drop of {name}, relative",
                _DECLINE | {"metric_drop", "perplexity_rise"},
            )
            for name in self.gates.metrics
        ]
        # A plan without perturbations has no use for a limit on them, and is refused with one.
        perturbed = any(row.measure.startswith(DROP) for row in self.facts.metrics)
        gates = [gate for gate in _GATES if perturbed or "robustness_drop" not in gate.kinds]
        self.known = {gate.name: gate for gate in (*gates, *named)}
        self._matches: list[JudgeAgreement] = []
        with suppress(BadInput):  # nobody labelled anything
            self._matches = agreement_of(connection, run_id).matches
        self._measures = {
            row.measure: Measure(
                row.measure, cast("Direction", row.direction), row.low, row.high, row.unit, frozenset(),
                row.version, row.source, row.meaning,
            )
            for row in self.facts.metrics
        }  # fmt: skip
        candidates = {model.name for model in self.facts.models if model.role == "candidate"}
        found = [] if run.imported else rating_failures(connection, run_id)
        self._ratings = [each for each in found if each.model in candidates]
        self.stored = self.decide({})

    # Limits

    def limit(self, name: str, gates: Gates) -> float | None:
        """A limit's value; None where the gate is off."""
        if name.startswith("metrics."):
            return gates.metrics[name.removeprefix("metrics.")].max
        value: float | None = getattr(gates, name)
        return value

    def moved(self, limits: Mapping[str, float | None]) -> Gates:
        """The plan's gates with these limits in their place; a warning's limit follows one that it passes.

        Raises BadInput for an unknown gate and a value that it cannot have.
        """
        values: dict[str, Any] = self.gates.model_dump()
        for name, value in limits.items():
            gate = self.known.get(name)
            if gate is None:
                raise BadInput(
                    f'the run has no gate "{name}"{nearest(name, self.known)}',
                    f"its gates: {', '.join(self.known)}",
                )
            if value is None and gate.start is None:
                raise BadInput(f"{name} cannot be off: a plan has no way to say so", "move it out of the way")
            if value is not None and not 0 <= value <= gate.most:
                raise BadInput(f"{name} is {value:g}", f"it may be 0 to {gate.most:g}")
            if name.startswith("metrics."):
                of = values["metrics"][name.removeprefix("metrics.")]
                of |= {"max": value} | ({"warn": min(of["warn"], value)} if of["warn"] is not None else {})
            else:
                values[name] = value
        for kind in ("benchmark", "metric"):
            warn, most = f"warn_{kind}_drop", f"max_{kind}_drop"
            if warn in limits and most not in limits:
                values[most] = max(values[most], values[warn])
            values[warn] = min(values[warn], values[most])
        return Gates.model_validate(values)

    def changes(self, gates: Gates) -> dict[str, float | None]:
        """The limits that differ from the plan's."""
        now = {name: self.limit(name, gates) for name in self.known}
        return {name: value for name, value in now.items() if value != self.limit(name, self.gates)}

    @property
    def plan_file(self) -> Path:
        run = self.facts.run
        return Path(run.plan_folder) / run.plan_file

    def plan_diff(self, moved: Mapping[str, float | None]) -> tuple[list[str], str | None]:
        """What writing these limits would change in the plan's file, or why they cannot be written."""
        if self.facts.run.imported:
            return [], f"the run was imported from {self.facts.run.imported}: it has no plan"
        try:
            return diff_of(self.plan_file, moved), None
        except BadInput as error:
            return [], str(error).split("\n")[0]

    # The decision

    def decide(self, limits: Mapping[str, float | None]) -> list[Decision]:
        """The decisions under these limits, the best first; the stored ones where none differs."""
        return verdicts(cases(self.facts_under(limits)), self._before)

    def facts_under(self, limits: Mapping[str, float | None]) -> RunFacts:
        """What the run would have stored under these limits; what it did where none differs."""
        gates = self.moved(limits)
        kinds = frozenset[str]().union(*(self.known[name].kinds for name in self.changes(gates)))
        if not kinds:
            return self.facts
        comparisons, benchmarks = self._ruled(gates)
        candidates = [model.name for model in self.facts.models if model.role == "candidate"]
        checks = (comparisons, benchmarks, gates, self._measures)
        rates, scores = self._rates(), self._compliances()
        looked_at = evaluated(*checks)
        if gates.min_win_rate is not None:
            looked_at |= {item.candidate for item in rates if item.rate.win_rate is not None}
        if gates.min_format_compliance is not None:
            looked_at |= {item.candidate for item in scores if item.value is not None}
        raised = [
            *drop_alerts(*checks),
            *win_rate_alerts(rates, gates, candidates),
            *judge_failure_alerts(self._rates(parts=True), gates),
            *self._missing(gates),
            *inconsistency_alerts(self._consistencies(), gates),
            *format_alerts(scores, gates, candidates),
            *self._leakage(gates),
            *slice_alerts(self._slices(), [*comparisons, *benchmarks], gates, self._measures),
            *self._declines(gates),
            *agreement_alerts(self._matches, gates.min_judge_agreement),
            *unmeasured_alerts(candidates, looked_at),
        ]
        alerts = self._alerts(raised, kinds | {UNMEASURED})
        outcomes = {name: passed(cast("list[Alert]", alerts), name) for name in candidates}
        models = [
            replace(model, passed=outcomes[model.name]) if model.name in outcomes else model
            for model in self.facts.models
        ]
        return replace(
            self.facts,
            run=replace(self.facts.run, passed=all_passed(outcomes.values())),
            models=models,
            comparisons=[
                _with_ruling(row, made)
                for row, made in zip(
                    self._in_order(self.facts.comparisons), [*comparisons, *benchmarks], strict=True
                )
            ],
            alerts=alerts,
        )

    @staticmethod
    def _in_order(rows: Sequence[ComparisonRow]) -> list[ComparisonRow]:
        """Those that are no benchmarks first, as gates take them."""
        return sorted(rows, key=lambda row: row.kind == "benchmark")

    def _ruled(self, gates: Gates) -> tuple[list[Comparison], list[Comparison]]:
        wanted = {item.name for item in fields(Comparison)} - {"worst", "ruling"}
        made = [
            Comparison(**{name: getattr(row, name) for name in wanted})
            for row in self._in_order(self.facts.comparisons)
        ]
        return ruled(
            [item for item in made if item.kind != "benchmark"],
            [item for item in made if item.kind == "benchmark"],
            gates,
            self._measures,
        )

    def _rates(self, parts: bool = False) -> list[MatchVerdicts]:
        found = self.facts.judging
        part = {judge.name for judge in found.judges if (judge.details or {}).get("part_of")}
        baselines = {model.name for model in self.facts.models if model.role == "baseline"}
        return [
            MatchVerdicts(
                row.judge,
                row.candidate,
                row.baseline,
                WinRate(**{item.name: getattr(row, item.name) for item in fields(WinRate)}),
                row.reason,
                is_language_model=row.is_language_model,
            )
            for row in found.win_rates
            if not row.turn and row.baseline in baselines and (parts or row.judge not in part)
        ]

    def _consistencies(self) -> list[JudgeConsistency]:
        audits = {
            (row.judge, row.subject): row for row in self.facts.judging.audits if row.measure == "consistency"
        }
        found = []
        for item in self._rates(parts=True):
            row = audits.get((item.judge, f"{item.candidate} against {item.baseline}"))
            if row is not None and item.is_language_model:
                sides = (item.judge, item.candidate, item.baseline)
                found.append(JudgeConsistency(*sides, row.value, row.low, row.high, row.n))
        return found

    def _compliances(self) -> list[ComplianceRate]:
        names = {model.name for model in self.facts.models if model.role == "candidate"}
        return [
            ComplianceRate(row.model, row.value, row.low, row.high, row.n, row.reason)
            for row in self.facts.scores
            if row.measure == FORMAT and row.model in names
        ]

    def _leakage(self, gates: Gates) -> Iterator[Alert]:
        for alert in self.facts.alerts:
            found = alert.evidence
            if isinstance(found, LeakageEvidence) and found.n:
                leaked = Leaked(found.example_ids, found.tiers, found.n)
                yield from leakage_alerts(leaked, {alert.candidate: found.differences}, gates)

    def _missing(self, gates: Gates) -> Iterator[Alert]:
        """Ratings, and pairs of an imported run, that failed or are missing."""
        for each in self._ratings:
            yield from each.alerts(gates)
        known = {(each.measure, each.model) for each in self._ratings}
        for alert in self.facts.alerts:
            found = alert.evidence
            is_missing = isinstance(found, JudgeFailureEvidence) and found.wins is None
            if is_missing and (alert.measure, alert.candidate) not in known:
                regraded = regraded_failures(alert, self.gates, gates)
                yield from [] if regraded is None else [regraded]

    def _declines(self, gates: Gates) -> Iterator[Alert]:
        compared = {
            (row.candidate, row.measure): row
            for row in self._in_order(self.facts.comparisons)
            if row.delta is not None
        }
        for alert in self.facts.alerts:
            found, row = alert.evidence, compared.get((alert.candidate, alert.measure))
            if isinstance(found, DowntrendEvidence):
                at, limit = found.baseline_value, None
                if row is not None and at is not None:
                    limit = decline_limit(row, self._measures.get(row.measure), at, gates)
                regraded = regraded_decline(alert, limit)
                yield from [] if regraded is None else [regraded]

    def _slices(self) -> list[Slice]:
        return [
            Slice(
                row.slice,
                Comparison(
                    row.candidate, row.baseline, row.measure, cast("Direction", row.direction), "metric",
                    row.candidate_value, row.baseline_value, row.delta, row.low, row.high, None, row.n, None,
                    row.reason,
                    ruling=Ruling(
                        cast("Standing", row.standing), row.family, row.family_size, row.p,
                        row.low_corrected, row.high_corrected, row.needed,
                    ),
                ),
            )
            for row in self.facts.slices
            if row.measure in self._measures
        ]  # fmt: skip

    def _alerts(self, raised: Sequence[Alert], kinds: frozenset[str]) -> list[AlertRow]:
        """The stored alerts, those of these kinds raised anew; what was accepted and is no worse stays so."""
        stored = {_key(alert): alert for alert in self.facts.alerts}
        alerts = [alert for alert in self.facts.alerts if alert.kind not in kinds]
        for alert in raised:
            known = stored.get(_key(alert))
            if alert.kind not in kinds:
                continue
            if known is None:
                known = AlertRow(
                    run_id=self.facts.run.id or 0, run_name=self.facts.run.name, severity=alert.severity,
                    kind=alert.kind, candidate=alert.candidate, baseline=alert.baseline,
                    measure=alert.measure, message=alert.message, created=0.0, evidence=alert.evidence,
                )  # fmt: skip
            elif _RANKS.index(alert.severity) > _RANKS.index(known.severity):
                known = replace(known, acknowledged=None, acknowledged_by=None, note=None)
            alerts.append(
                replace(
                    known,
                    severity=alert.severity,
                    message=alert.message,
                    evidence=_with_examples(alert, known),
                )
            )
        places = {_key(alert): place for place, alert in enumerate(raised)}

        def order(alert: AlertRow) -> tuple[bool, int, int, int]:
            kind = "drops" if alert.kind in _DROPS else alert.kind
            group = _ORDER.index(kind) if kind in _ORDER else len(_ORDER)
            rank = -_RANKS.index(alert.severity)
            return alert.acknowledged is not None, rank, group, places.get(_key(alert), len(places))

        return sorted(alerts, key=order)

    # How sure

    def looks(self, limits: Mapping[str, float | None]) -> dict[str, list[Look]]:
        """All that each gate looks at under these limits, what fails first; nothing where it is off."""
        gates = self.moved(limits)
        rulings = checked(*self._ruled(gates), gates, self._measures)
        sides: tuple[Side, ...] = ("beyond", "missing", "open", "within")
        found = {}
        for name, gate in self.known.items():
            limit = self.limit(name, gates)
            looks = [] if limit is None else [*self._looks(gate, limit, gates, rulings)]
            found[name] = sorted(looks, key=lambda look: sides.index(look.side))
        return found

    def _looks(
        self, gate: Gate, limit: float, gates: Gates, rulings: Sequence[CheckedComparison]
    ) -> Iterator[Look]:
        if gate.kinds & _DROPS:
            for item in rulings:
                warns = gate.name.startswith("warn_")
                own = item.limits.warning if warns else item.limits.critical
                if gate.name in _governing(item, gates) and own is not None:
                    yield _drop_look(item, own)
        elif gate.name == "min_win_rate" or (gate.name == "warn_win_rate" and gates.min_win_rate is None):
            rates = self._rates()
            for match in rates:
                yield _rate_look(match, limit, warns=gate.name == "warn_win_rate")
            if gate.name == "min_win_rate":
                yield from self._without("wins: nothing was judged", {item.candidate for item in rates})
        elif gate.name == "min_format_compliance":
            scores = self._compliances()
            for score in scores:
                said = f"{FORMAT} {_share(score.value, score.low, score.high)}, n {score.n:,}"
                yield _share_look(score.candidate, said, score.value, limit, least=True)
            yield from self._without(f"{FORMAT}: not measured", {item.candidate for item in scores})
        elif gate.name == "max_leakage":
            for alert in self.facts.alerts:
                found = alert.evidence
                if isinstance(found, LeakageEvidence) and found.share is not None:
                    said = f"{found.leaked} of {found.n} examples leaked ({percent(found.share)})"
                    yield _share_look(alert.candidate, said, found.share, limit)
        elif gate.name == "max_judge_failures":
            for match in self._rates(parts=True):
                total = match.rate.wins + match.rate.losses + match.rate.ties + match.rate.failed
                said = f"{match.rate.failed} of {total} by {match.judge} against {match.baseline} failed"
                yield _share_look(match.candidate, said, match.rate.failed / total if total else None, limit)
            for rated in self._ratings:
                said = f"{rated.failed} of {rated.asked} ratings of {rated.measure} failed or are missing"
                yield _share_look(rated.model, said, rated.share, limit)
        elif gate.name == "max_judge_inconsistency":
            for row in self._consistencies():
                yield _contradictions_look(row, limit)
        elif gate.name == "min_judge_agreement":
            for agreement in self._matches:
                yield _kappa_look(agreement, limit)

    def _without(self, said: str, known: Collection[str]) -> Iterator[Look]:
        """The candidates of which a gate that must be met knows nothing."""
        for model in self.facts.models:
            if model.role == "candidate" and model.name not in known:
                yield Look(model.name, said, "missing")


def _with_examples(alert: Alert, known: AlertRow) -> Evidence:
    """The evidence with the examples that the run found behind it, which no limit changes."""
    if isinstance(known.evidence, SliceEvidence) and isinstance(alert.evidence, SliceEvidence):
        return replace(known.evidence, measures=alert.evidence.measures)
    ids = getattr(known.evidence, "example_ids", ())
    return replace(alert.evidence, example_ids=ids) if ids else alert.evidence  # type: ignore[call-arg]


def _key(alert: Alert | AlertRow) -> tuple[str | None, ...]:
    found = alert.evidence
    of: list[str | None] = [getattr(found, "judge", None), getattr(found, "slice", None)]
    if isinstance(found, JudgeFailureEvidence) and found.wins is None:
        of.append("missing")
    return alert.kind, alert.candidate, alert.baseline, alert.measure, *of


def _with_ruling(row: ComparisonRow, made: Comparison) -> ComparisonRow:
    assert made.ruling is not None and (row.candidate, row.measure) == (made.candidate, made.measure)
    return replace(row, **made.ruling.stored())


def _governing(item: CheckedComparison, gates: Gates) -> tuple[str, ...]:
    """The gates that a checked comparison is held to."""
    if item.comparison.measure in gates.metrics:
        return (f"metrics.{item.comparison.measure}",)
    own = {
        "refused_harmful": "max_harmful_compliance_rise",
        "refused_harmless": "max_over_refusal_rise",
    }.get(plain(item.comparison.measure))
    if own is not None and getattr(gates, own) is not None:
        return (own, "warn_metric_drop")
    return {
        "benchmark_drop": ("max_benchmark_drop", "warn_benchmark_drop"),
        "perplexity_rise": ("max_perplexity_rise",),
        "robustness_drop": ("max_robustness_drop", "warn_robustness_drop"),
        "length_drift": ("warn_length_drift",),
        "latency_drift": ("warn_latency_rise",),
    }.get(item.kind, ("max_metric_drop", "warn_metric_drop"))


def _drop_look(item: CheckedComparison, limit: float) -> Look:
    """A worsening with its interval; `limit` in the terms of the item's own limits."""
    compared, ruling = item.comparison, item.ruling
    named = f"{compared.measure} against {compared.baseline}"
    if compared.delta is None or item.drop is None:
        return Look(compared.candidate, f"{named}: {compared.reason or 'not compared'}", "missing")
    said = f"{named} {number(compared.baseline_value)} → {number(compared.candidate_value)}"
    is_more = item.drop > limit + ROUNDING
    if ruling.low is None or ruling.high is None:
        return Look(compared.candidate, f"{said}, no interval", "open" if is_more else "within")
    in_unit = limit * abs(compared.baseline_value or 0.0) if item.limits.relative else limit
    ends = (-ruling.high, -ruling.low) if compared.direction == "higher" else (ruling.low, ruling.high)
    p = "" if ruling.p is None else ", p < 0.001" if ruling.p < 0.001 else f", p {ruling.p:.3f}"
    said += f", {interval(ruling.low, ruling.high, sign=True)}{p}"
    if is_more and ruling.is_decided:
        return Look(compared.candidate, said, "beyond")
    furthest = max(map(abs, ends)) if item.way == "either" else ends[1]
    if not is_more and furthest <= in_unit + ROUNDING:
        return Look(compared.candidate, said, "within")
    more = f"needs about {ruling.needed:,} examples" if ruling.needed else ""
    return Look(compared.candidate, said, "open", more)


def _rate_look(match: MatchVerdicts, limit: float, *, warns: bool) -> Look:
    """A minimum is failed by the rate itself, a warning's limit only where its whole interval is below."""
    rate = match.rate
    named = f"wins against {match.baseline} by {match.judge}"
    if rate.win_rate is None:
        return Look(match.candidate, f"{named}: {match.reason or 'nothing was judged'}", "missing")
    said = f"{named} {_share(rate.win_rate, rate.low, rate.high)}"
    is_less: Side = "open" if warns else "beyond"
    if rate.low is None or rate.high is None:
        return Look(match.candidate, f"{said}, no interval", "within" if rate.win_rate >= limit else is_less)
    if rate.low >= limit or rate.high < limit:
        return Look(match.candidate, said, "within" if rate.low >= limit else "beyond")
    needed = rate_needed(rate, limit)
    more = f"needs about {needed:,} examples" if needed else ""
    return Look(match.candidate, said, is_less if rate.win_rate < limit else "open", more)


def _contradictions_look(row: JudgeConsistency, limit: float) -> Look:
    named = f"{row.judge} contradicts itself against {row.baseline}"
    if row.value is None or row.low is None or row.high is None:
        return Look(row.candidate, f"{named}: not measured", "missing")
    said = f"{named} in {_share(1 - row.value, 1 - row.high, 1 - row.low)}, n {row.n:,}"
    if 1 - row.high > limit or 1 - row.low <= limit:
        return Look(row.candidate, said, "beyond" if 1 - row.high > limit else "within")
    needed = contradictions_needed(row, limit)
    return Look(row.candidate, said, "open", f"needs about {needed:,} examples" if needed else "")


def _kappa_look(match: JudgeAgreement, limit: float) -> Look:
    raters = match.calibration.against_people
    kappa, named = raters.kappa, f"kappa of {match.judge} with people against {match.baseline}"
    if raters.pairs < FEWEST_LABELS:
        said = f"{named}: {counted(raters.pairs, 'labelled pair')}"
        return Look(match.candidate, said, "open", f"{FEWEST_LABELS} labelled pairs are needed")
    if kappa.value is None:
        return Look(match.candidate, f"{named}: {kappa.reason or 'not measured'}", "missing")
    spread = "" if kappa.low is None or kappa.high is None else f" [{kappa.low:.2f}, {kappa.high:.2f}]"
    said = f"{named} {kappa.value:.2f}{spread}, n {kappa.n:,}"
    if kappa.low is None or kappa.high is None:
        return Look(match.candidate, f"{said}, no interval", "within" if kappa.value >= limit else "open")
    if kappa.low < limit <= kappa.high:
        needed = labels_needed(match, limit)
        return Look(match.candidate, said, "open", f"needs about {needed:,} labels" if needed else "")
    return Look(match.candidate, said, "within" if kappa.low >= limit else "beyond")


def _share_look(candidate: str, said: str, value: float | None, limit: float, *, least: bool = False) -> Look:
    if value is None:
        return Look(candidate, said, "missing")
    fails = value < limit if least else value > limit
    return Look(candidate, said, "beyond" if fails else "within")


def _share(value: float | None, low: float | None, high: float | None) -> str:
    spread = "" if low is None or high is None else f" [{percent(low)}, {percent(high)}]"
    return f"{percent(value)}{spread}"


# The plan's file

_HEADER = re.compile(r"\s*\[")
_COMMENT = re.compile(r"\s*(#.*)?$")


def plan_with(file: Path, limits: Mapping[str, float | None]) -> tuple[str, str]:
    """A plan's text as it is, and with these limits under [gates]; comments and everything else stay.

    Raises BadInput where the file cannot be read, or where its gates are written in a way that only a person
    can edit.
    """
    text = "".join(line for _, line in text_lines(file))
    try:
        wanted = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadInput(f"{file}: is not TOML: {error}", "fix it, then write the limits again") from error
    edited, is_table = text, True
    for name, value in limits.items():
        path = ["gates", *name.split(".", 1)]
        edited = _edited(edited, path, value)
        is_table = is_table and _set(wanted, path, value)
    with suppress(tomllib.TOMLDecodeError):
        if is_table and tomllib.loads(edited) == wanted:
            return text, edited
    lines = ", ".join(
        f"{name} = {'off (delete it)' if value is None else _said(value)}" for name, value in limits.items()
    )
    raise BadInput(f"{file}: its gates are not written line by line", f"set them there yourself: {lines}")


def _said(value: float) -> str:
    return f"{value:.15g}"


def _set(table: dict[str, Any], path: Sequence[str], value: float | None) -> bool:
    """Sets a key of a file's tables, or takes it out; False where a table of its path is none."""
    *tables, key = path
    for name in tables:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            return False
    if value is None:
        table.pop(key, None)
    else:
        table[key] = float(_said(value))
    return True


def _edited(text: str, path: Sequence[str], value: float | None) -> str:
    """The text with one key of one table set, or taken out; at the table's end where it is new."""
    *tables, key = path
    lines, end = text.split("\n"), "\r" if "\r\n" in text else ""
    start, after = _table_lines(lines, tables)
    if start is None:
        if value is None:
            return text
        new = ("", f"[{'.'.join(tables)}]", f"{_key_written(key)} = {_said(value)}", "")
        return f"{end}\n".join((text.rstrip(), *new))
    assigned = re.compile(r"(\s*[\"']?" + re.escape(key) + r"[\"']?\s*=\s*)([-+\w.]+)(\s*(?:#.*)?)$")
    for place in range(start + 1, after):
        if found := assigned.match(lines[place]):
            lines[place : place + 1] = [] if value is None else [f"{found[1]}{_said(value)}{found[3]}"]
            return "\n".join(lines)
    if value is not None:
        last = max(n for n in range(start, after) if n == start or not _COMMENT.match(lines[n]))
        line = f"{_key_written(key)} = {_said(value)}"
        is_end = last == len(lines) - 1  # of the file, without a line end
        lines[last : last + 1] = [lines[last] + end, line] if is_end else [lines[last], line + end]
    return "\n".join(lines)


def _table_lines(lines: Sequence[str], tables: Sequence[str]) -> tuple[int | None, int]:
    """Where a table's header stands, if anywhere, and the first line after the table."""
    header = re.compile(r"\s*\[\s*" + r"\s*\.\s*".join(map(re.escape, tables)) + r"\s*\]\s*(#.*)?$")
    start = next((place for place, line in enumerate(lines) if header.match(line)), None)
    rest = range(0 if start is None else start + 1, len(lines))
    return start, next((place for place in rest if _HEADER.match(lines[place])), len(lines))


def gate_line(text: str, alert: AlertRow) -> int | None:
    """The line of a plan, from 1, with the limit that an alert is about; None where it is the default."""
    lines = text.splitlines()
    paths = [("gates", "metrics", alert.measure), ("gates", "metrics")]
    paths += [("gates", gate.name) for gate in _GATES if alert.kind in gate.kinds]
    for *tables, key in paths:
        start, after = _table_lines(lines, tables)
        about = alert.measure if key == "metrics" else ""
        assigned = re.compile(r"\s*[\"']?" + re.escape(key) + r"[\"']?\s*=")
        for place in range(after if start is None else start + 1, after):
            if assigned.match(lines[place]) and about in lines[place]:
                return place + 1
    return None


def _key_written(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else f'"{key}"'


def diff_of(file: Path, limits: Mapping[str, float | None]) -> list[str]:
    """What `write_limits` would change in a plan's file, as a unified diff with a line around, headless."""
    before, after = (text.splitlines() for text in plan_with(file, limits))
    return list(difflib.unified_diff(before, after, lineterm="", n=1))[2:]


def write_limits(file: Path, limits: Mapping[str, float | None]) -> None:
    """Writes the limits into a plan's file. Raises BadInput where that cannot be done."""
    _, edited = plan_with(file, limits)
    write_text(file, edited, "write them there yourself")
