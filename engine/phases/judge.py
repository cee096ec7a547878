"""Judges grade candidate against baseline in both orders, and verdicts follow; then panels and audits.

A judge of kind "pointwise" scores single responses instead: see `judging.ratings`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np

from engine.judges.chat import PointwiseJudge
from engine.judges.judge import ORDERS, WHOLE, PairJudge
from engine.judges.load import load_judge
from engine.judges.preflight import left_out
from engine.judges.questions import digest, matches, selected, turns_of
from engine.metrics.refusals import Kind, classify
from engine.phases.judging.audits import probe_item, probe_judge, record_audits
from engine.phases.judging.pairs import Matchup, play_until_settled, record_win_rates
from engine.phases.judging.ratings import rate, rating_pieces
from engine.phases.judging.shared import as_begun, declare_judge, given_answers, match_item, match_name
from engine.phases.work import Piece, Work
from engine.plan.plan import Judge as JudgePlan
from engine.stats.agreement import Agreement, cohen_kappa, krippendorff_alpha, raw_agreement, spearman
from engine.stats.intervals import SHARE, bootstrap_interval
from engine.stats.winrate import POINTS, Outcome
from store import records
from store.read.query import by_key
from store.records.judging import IDENTICAL, REFUSAL_RULES

Place = tuple[int, int, int, int]  # candidate, baseline, example, turn


@dataclass(frozen=True, slots=True)
class Part:
    """A judge that is part of another: its row, and its verdicts by place."""

    row: records.StoredJudge
    verdicts: dict[Place, records.Verdict]

    @property
    def name(self) -> str:
        return self.row.name


def part(work: Work, name: str) -> Part:
    (row,) = work.recorder.rows(records.StoredJudge, run_id=work.recorder.run_id, name=name)
    return Part(row, verdicts_of(work, row.id))


def verdicts_of(work: Work, judge_id: int) -> dict[Place, records.Verdict]:
    return {
        (row.candidate_id, row.baseline_id, row.example_id, row.turn): row
        for row in work.recorder.rows(records.Verdict, judge_id=judge_id)
    }


def record_combined(
    work: Work, name: str, parts: Sequence[Part], verdicts: Mapping[Place, dict[str, Any]], note: str
) -> int:
    """Replaces the combined judge, marks its parts as such, and returns its id.

    A part's own win rate is shown, but the plan's gates are about the whole.
    """
    found = work.recorder.rows(records.StoredJudge, run_id=work.recorder.run_id, name=name)
    names = [each.name for each in parts]
    with work.recorder.transaction() as transaction:
        if found:
            judge_id = int(found[0].id)
        else:
            judge_id = transaction.insert(
                records.StoredJudge(
                    run_id=work.recorder.run_id,
                    name=name,
                    kind="pairwise",
                    is_language_model=any(each.row.is_language_model for each in parts),
                    prompt_hash=digest([each.row.prompt_hash for each in parts]),
                    details={
                        "kind": "pairwise", "model": " + ".join(names), "server": None, "settings": {},
                        "parts": names, "note": note,
                    },
                )
            )  # fmt: skip
        for each in parts:
            transaction.update(
                records.StoredJudge, each.row.id, details={**(each.row.details or {}), "part_of": name}
            )
        transaction.clear(records.Verdict, judge_id=judge_id)
        transaction.append(
            [
                records.Verdict(
                    judge_id=judge_id,
                    candidate_id=place[0],
                    baseline_id=place[1],
                    example_id=place[2],
                    turn=place[3],
                    **verdict,
                )
                for place, verdict in verdicts.items()
            ]
        )
    return judge_id


def majority(outcomes: Sequence[Outcome]) -> Outcome:
    """The majority outcome; a tie where no outcome has most votes, "failed" without any vote.

    A judge that failed has no vote.
    """
    votes = Counter(outcome for outcome in outcomes if outcome != "failed").most_common()
    if not votes:
        return "failed"
    if len(votes) > 1 and votes[0][1] == votes[1][1]:
        return "tie"
    return votes[0][0]


def by_place(parts: Sequence[Part]) -> dict[Place, list[records.Verdict | None]]:
    """Every place that a part has a verdict on, with all parts' verdicts in their order."""
    places: dict[Place, None] = {}
    for each in parts:
        places |= dict.fromkeys(each.verdicts)
    found: dict[Place, list[records.Verdict | None]] = defaultdict(list)
    for place in places:
        found[place] = [each.verdicts.get(place) for each in parts]
    return dict(found)


PANEL = "panel"


def panel(work: Work, names: Sequence[str]) -> int | None:
    """Writes the verdicts of the named judges of pairs together, by majority; the panel's id.

    None where the plan wants no panel, or there are fewer than two judges.
    """
    if work.plan.judging.panel is False or len(names) < 2:
        return None
    parts = [part(work, name) for name in names]
    verdicts: dict[Any, dict[str, Any]] = {}
    for place, said in by_place(parts).items():
        outcomes: list[Outcome] = ["failed" if row is None else row.outcome for row in said]
        outcome = majority(outcomes)
        counted = {each for each in outcomes if each != "failed"}
        verdicts[place] = {
            "outcome": outcome,
            "consistent": len(counted) == 1 if counted else None,
            "reason": "every judge failed" if outcome == "failed" else None,
        }
    judge_id = record_combined(
        work, PANEL, parts, verdicts, f"the majority of {len(parts)} judges; a tie without one"
    )
    work.recorder.put(
        [records.Audit(judge_id=judge_id, **row) for row in [*_agreement(parts), *_means(work, parts)]]
    )
    return judge_id


def agreement_of_raters(work: Work) -> None:
    """How far the raters of single responses agree, two at a time, over all that both rated."""
    rows = [
        row
        for row in work.recorder.rows(records.StoredJudge, run_id=work.recorder.run_id)
        if row.kind == "pointwise"
    ]
    scores = {
        row.id: {
            (rating.model_id, rating.example_id, rating.turn): rating.score
            for rating in work.recorder.rows(records.StoredRating, judge_id=row.id)
        }
        for row in rows
    }
    for one, other in combinations(rows, 2):
        places = sorted(scores[one.id].keys() & scores[other.id].keys())
        first, second = ([scores[row.id][place] for place in places] for row in (one, other))
        found = spearman(first, second)
        work.recorder.put(records.Audit(judge_id=one.id, **_figure("spearman", f"with {other.name}", found)))


REFUSALS = "refusals"  # the metric
REFUSAL_KINDS: tuple[Kind, ...] = ("refusal", "partial", "compliance")  # from the rubric's lowest grade


def agreement_on_refusals(work: Work) -> None:
    """How far raters who class refusals agree with the wording rules, answer by answer.

    Only where the plan measures refusals by their wording too.
    """
    if REFUSALS not in work.plan.metrics.use:
        return
    ruled = {
        (work.model_ids[model.name], place): classify(given.text)
        for model in work.plan.models
        for place, given in given_answers(work, model).items()
        if not given.turns
    }
    for row in work.recorder.rows(records.StoredJudge, run_id=work.recorder.run_id):
        if tuple(((row.details or {}).get("criteria") or {}).get("refusal", ())) != (1, len(REFUSAL_KINDS)):
            continue
        said: list[tuple[Kind, Kind]] = []
        for rating in work.recorder.rows(records.StoredRating, judge_id=row.id, turn=WHOLE):
            grade = (rating.scores or {}).get("refusal")
            rules = ruled.get((rating.model_id, rating.example_id))
            if grade is not None and rules is not None:
                said.append((REFUSAL_KINDS[round(grade) - 1], rules))
        judged, by_rules = [one for one, _ in said], [other for _, other in said]
        counts = Counter(said)
        table = {one: {other: counts[one, other] for other in REFUSAL_KINDS} for one in REFUSAL_KINDS}
        for measure, figure in (("raw_agreement", raw_agreement), ("cohen_kappa", cohen_kappa)):
            found = _figure(measure, REFUSAL_RULES, figure(judged, by_rules))
            work.recorder.put(records.Audit(judge_id=row.id, details={"table": table}, **found))


def _agreement(parts: Sequence[Part]) -> list[dict[str, Any]]:
    table = by_place(parts)
    said = [[_counted(row) for row in column] for column in zip(*table.values(), strict=True)]
    figures = []
    for one, other in combinations(range(len(parts)), 2):
        subject = f"{parts[one].name} and {parts[other].name}"
        figures.append(_figure("raw_agreement", subject, raw_agreement(said[one], said[other])))
        figures.append(_figure("cohen_kappa", subject, cohen_kappa(said[one], said[other])))
    figures.append(_figure("krippendorff_alpha", "all judges", krippendorff_alpha(said)))
    return figures


def _counted(row: records.Verdict | None) -> str | None:
    return None if row is None or row.outcome == "failed" else row.outcome


def _figure(measure: str, subject: str, found: Agreement) -> dict[str, Any]:
    return {"measure": measure, "subject": subject, **asdict(found)}


def _means(work: Work, parts: Sequence[Part]) -> list[dict[str, Any]]:
    """The win rate over every single judge's verdict, in addition to the majority's."""
    names = {place: name for name, place in work.model_ids.items()}
    by_match: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for (candidate, baseline, _, turn), said in by_place(parts).items():
        points = [POINTS[row.outcome] for row in said if row is not None and row.outcome in POINTS]
        if points and turn == 0:
            by_match.setdefault((candidate, baseline), []).append((sum(points) / len(points), 1.0))
    figures = []
    for (candidate, baseline), means in by_match.items():
        found = bootstrap_interval(
            np.array(means), lambda sums: sums[..., 0] / sums[..., 1], work.plan.data.seed, ends=SHARE
        )
        subject = match_name(names[candidate], names[baseline])
        figures.append({"measure": "mean_win_rate", "subject": subject, "reason": None, **asdict(found)})
    return figures


CASCADE = "cascade"
CLOSE = 1.0  # points between the two scores from which on a verdict is not close
SURE = 0.75  # probability of the winner from which on a verdict is sure


def cascade(work: Work) -> int | None:
    """Plays the later judges of the plan's cascade, and writes what all of them decided; its id.

    The first judge has played all matches. An example goes on to the next judge when the orders disagree, a
    judgment failed, the scores are at most one point apart in both orders, or a winner's probability is below
    0.75. The last judge to see an example decides it.
    """
    names = work.plan.judging.cascade
    if len(names) < 2:
        return None
    by_name = {settings.name: settings for settings in work.plan.judges}
    total = saved = 0
    for before, name in pairwise(names):
        made, possible = _next_judge(work, by_name[name], before)
        total, saved = total + possible, saved + possible - made
    parts = [part(work, name) for name in names]
    decided: dict[Place, dict[str, Any]] = {}
    for each in parts:
        decided |= {
            place: {"outcome": row.outcome, "consistent": row.consistent, "reason": row.reason}
            for place, row in each.verdicts.items()
        }
    note = f"{' then '.join(names)}: each judge sees the pairs where the previous one is uncertain"
    judge_id = record_combined(work, CASCADE, parts, decided, note)
    work.recorder.put(
        records.Audit(
            judge_id=judge_id,
            measure="calls_saved",
            subject="",
            value=float(saved),
            n=total,
            details={"by": "asking the cheaper judge first"},
        )
    )
    return judge_id


def _next_judge(work: Work, settings: JudgePlan, before: str) -> tuple[int, int]:
    """Plays one judge on what the one before left open; calls made, and calls that all would have been."""
    grader = load_judge(as_begun(work, settings), work.cache)
    if not hasattr(grader, "judge"):
        raise AssertionError("a cascade takes only pairwise judges")
    judge_id = declare_judge(work, settings.name, grader)
    _mark(work, judge_id)
    (row,) = work.recorder.rows(records.StoredJudge, run_id=work.recorder.run_id, name=before)
    examples = selected(work.plan, settings, work.examples)
    made = possible = 0
    for candidate, baseline in matches(work.plan):
        match = Matchup(work, grader, judge_id, candidate, baseline)
        unsure = _unsure(work, {**match.sides, "judge_id": row.id})
        chosen = [example for example in examples if work.example_ids[example.id] in unsure]
        match.play_all(match.pairs(chosen))
        made += sum(len(ORDERS) * (1 + len(turns_of(example))) for example in chosen)
        possible += sum(len(ORDERS) * (1 + len(turns_of(example))) for example in examples)
        work.recorder.event(
            "info",
            "judge",
            f"{settings.name} was asked about {len(chosen)} of {len(examples)} examples of {match.name}: "
            f"{before} was certain of the others",
        )
    probe_judge(work, settings, grader, judge_id)
    return made, possible


def _mark(work: Work, judge_id: int) -> None:
    """Says in the judge's row that it never saw the easy examples."""
    (row,) = work.recorder.rows(records.StoredJudge, id=judge_id)
    with work.recorder.transaction() as transaction:
        transaction.update(
            records.StoredJudge, judge_id, details={**(row.details or {}), "asked_where_unsure": True}
        )


def _unsure(work: Work, sides: dict[str, int]) -> set[int]:
    """The examples on which a judge was uncertain, for the whole or any turn."""
    unsure = {
        row.example_id
        for row in work.recorder.rows(records.Verdict, **sides)
        if row.consistent is not True and row.reason != IDENTICAL
    }
    judgments = by_key(
        ((row.example_id, row.turn), row) for row in work.recorder.rows(records.StoredJudgment, **sides)
    )
    return unsure | {place for (place, _), both in judgments.items() if _is_close(both)}


def _is_close(both: list[records.StoredJudgment]) -> bool:
    gaps = [
        abs(row.candidate_score - row.baseline_score)
        for row in both
        if row.candidate_score is not None and row.baseline_score is not None
    ]
    close = len(gaps) == len(both) and all(gap <= CLOSE for gap in gaps)
    return close or any(row.confidence is not None and row.confidence < SURE for row in both)


def judge(work: Work, settings: JudgePlan) -> None:
    grader = load_judge(as_begun(work, settings), work.cache)
    judge_id = declare_judge(work, settings.name, grader)
    if isinstance(grader, PointwiseJudge):
        rate(work, settings, grader, judge_id)
    else:
        compare_pairs(work, settings, grader, judge_id)


def compare_pairs(work: Work, settings: JudgePlan, grader: PairJudge, judge_id: int) -> None:
    """One judge of pairs on all matches, and its win rates."""
    examples = selected(work.plan, settings, work.examples)
    for candidate, baseline in matches(work.plan):
        match = Matchup(work, grader, judge_id, candidate, baseline)
        if settings.stop_early:
            play_until_settled(work, match, examples)
        else:
            match.play_all(match.pairs(examples))
    probe_judge(work, settings, grader, judge_id)
    record_win_rates(work, judge_id)


def judge_pieces(work: Work, settings: JudgePlan) -> Iterator[Piece]:
    """One judge's work, for the announcement."""
    if settings.kind == "pointwise":
        yield from rating_pieces(work, settings)
        return
    # What the dearer judges of a cascade are asked is known once the cheaper ones have answered.
    later = settings.name in work.plan.judging.cascade[1:]
    examples = [] if later else selected(work.plan, settings, work.examples)
    count = sum(len(ORDERS) * (1 + len(turns_of(example))) for example in examples)
    for candidate, baseline in matches(work.plan):
        yield Piece("judge", match_item(settings.name, candidate, baseline), "judgments", count)
    if settings.constant_probe is not None:
        count = len(ORDERS) * min(settings.constant_probe, len(work.examples))
        yield Piece("judge", probe_item(settings.name), "judgments", count)


LEFT_OUT = "judges_left_out"  # in the run's options: reasons by name


def asked_judges(work: Work) -> list[JudgePlan]:
    """The plan's judges without those that this run leaves out."""
    silent = _silent(work)
    return [settings for settings in work.plan.judges if settings.name not in silent]


def _silent(work: Work) -> dict[str, str]:
    """As `left_out`; a judge that was asked before is not left out halfway."""
    begun = {row.name for row in work.recorder.rows(records.StoredJudge, run_id=work.recorder.run_id)}
    found = left_out(work.plan, work.examples)
    return {name: reason for name, reason in found.items() if name not in begun}


def judge_all(work: Work) -> None:
    """Every judge of the plan, the dearer ones of a cascade only where they are needed."""
    later = set(work.plan.judging.cascade[1:])
    asked, silent = asked_judges(work), _silent(work)
    if silent != work.options.get(LEFT_OUT, {}):
        for name, reason in silent.items():
            work.recorder.event("warning", "judge", f"{name} is not asked: {reason}")
        work.options[LEFT_OUT] = silent
        work.recorder.set_run(options=work.options)
    for settings in asked:
        if settings.name not in later:
            judge(work, settings)
    # The embedded rule is no language model: its vote would turn a model's verdicts into ties.
    alone = [
        settings.name
        for settings in asked
        if settings.kind == "pairwise"
        and not settings.embedded
        and settings.name not in work.plan.judging.cascade
    ]
    together = cascade(work)
    if together is not None:
        record_win_rates(work, together)
    else:
        speaking = panel(work, alone)
        if speaking is not None:
            record_win_rates(work, speaking)
    agreement_of_raters(work)
    agreement_on_refusals(work)
    record_audits(work)
