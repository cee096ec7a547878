"""Part of the last phase: everything in a run that a gate or a standing check looks at, put to it."""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.compare.comparison import Comparison
from engine.gates.checks import (
    AdapterEffect,
    FormatCompliance,
    format_alerts,
    probe_alerts,
    unmeasured_alerts,
)
from engine.gates.judges import (
    JudgeConsistency,
    MatchVerdicts,
    inconsistency_alerts,
    judge_failure_alerts,
    win_rate_alerts,
)
from engine.gates.measures import drop_alerts
from engine.judges.judge import WHOLE
from engine.metrics.metric import Measure
from engine.phases.audits import kin_alerts
from engine.phases.constant import constant_alerts
from engine.phases.judging import match_name
from engine.phases.ratings import rating_alerts
from engine.phases.reference import EarlierRun
from engine.phases.work import Work
from engine.stats.winrate import WinRate
from store import tables
from store.records.alert import Alert

FORMAT = "format_compliance"
_TOLD = 20  # ids of examples behind an alert


def run_alerts(
    work: Work,
    measures: Mapping[str, Measure],
    comparisons: Sequence[Comparison],
    benchmarks: Sequence[Comparison],
    earlier: EarlierRun,
    summaries: Sequence[Mapping[str, Any]],
) -> list[Alert]:
    """The alerts of the gates and checks, but those on slices, disparities, the data and the history."""
    gates = work.plan.gates
    candidates = [model.name for model in work.plan.candidates]
    verdicts = _verdicts(work)
    judged = {item.candidate for item in verdicts if item.rate.win_rate is not None}
    return [
        *unmeasured_alerts(candidates, [*comparisons, *benchmarks], judged),
        *probe_alerts(_effects(work)),
        *drop_alerts(
            [*comparisons, *earlier.metrics],
            [*benchmarks, *earlier.benchmarks],
            gates,
            {**earlier.measures, **measures},
        ),
        *format_alerts(_compliances(work, summaries), gates, candidates),
        *win_rate_alerts(verdicts, gates, candidates),
        *judge_failure_alerts(_verdicts(work, parts=True), gates),
        *inconsistency_alerts(_consistencies(work), gates),
        *constant_alerts(work),
        *kin_alerts(work),
        *rating_alerts(work),
    ]


def _verdicts(work: Work, parts: bool = False) -> list[MatchVerdicts]:
    """The win rates that the plan's gates are about: of panels and cascades, their `parts` on demand."""
    baselines = {work.model_ids[model.name] for model in work.plan.baselines}
    names = {place: name for name, place in work.model_ids.items()}
    return [
        MatchVerdicts(
            judge["name"],
            names[row["candidate_id"]],
            names[row["baseline_id"]],
            WinRate(**{key: row[key] for key in WinRate.__slots__}),
            row["reason"],
            _judged(work, row, outcome="loss"),
            judge["is_language_model"],
        )
        for judge in work.recorder.rows(tables.Judge, run_id=work.recorder.run_id)
        if parts or not judge["details"].get("part_of")
        for row in work.recorder.rows(tables.WinRate, judge_id=judge["id"], turn=WHOLE)
        if row["baseline_id"] in baselines
    ]


def _judged(work: Work, match: Mapping[str, Any], **equal: Any) -> tuple[str, ...]:
    """The first examples of a match whose verdict is so and so."""
    names = {place: example for example, place in work.example_ids.items()}
    sides = {key: match[key] for key in ("judge_id", "candidate_id", "baseline_id")}
    rows = work.recorder.rows(tables.Verdict, **sides, turn=WHOLE, **equal)
    return tuple(names[row["example_id"]] for row in rows[:_TOLD])


def _consistencies(work: Work) -> list[JudgeConsistency]:
    """How often each language model that judges pairs kept to its word when the answers changed places."""
    found = []
    for judge in work.recorder.rows(tables.Judge, run_id=work.recorder.run_id, kind="pairwise"):
        audits = {
            row["subject"]: row
            for row in work.recorder.rows(tables.Audit, judge_id=judge["id"], measure="consistency")
        }
        for candidate in work.plan.candidates:
            for baseline in work.plan.baselines:
                row = audits.get(match_name(candidate.name, baseline.name))
                if row is not None and judge["is_language_model"]:
                    match = {
                        "judge_id": judge["id"],
                        "candidate_id": work.model_ids[candidate.name],
                        "baseline_id": work.model_ids[baseline.name],
                    }
                    figures = (row["value"], row["low"], row["high"], row["n"])
                    contradicted = _judged(work, match, consistent=False)
                    sides = (judge["name"], candidate.name, baseline.name)
                    found.append(JudgeConsistency(*sides, *figures, contradicted))
    return found


def _effects(work: Work) -> list[AdapterEffect]:
    candidates = {model.name for model in work.plan.candidates}
    return [
        AdapterEffect(row["name"], row["probe"]["max_difference"], row["probe"]["prompts"])
        for row in work.recorder.rows(tables.Model, run_id=work.recorder.run_id)
        if row["name"] in candidates and row["probe"] is not None
    ]


def _compliances(work: Work, summaries: Sequence[Mapping[str, Any]]) -> list[FormatCompliance]:
    names = {work.model_ids[model.name]: model.name for model in work.plan.candidates}
    return [
        FormatCompliance(
            names[row["model_id"]], row["value"], row["low"], row["high"], row["n"], row["reason"]
        )
        for row in summaries
        if row["measure"] == FORMAT and row["model_id"] in names
    ]
