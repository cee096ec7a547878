"""Single responses judged: ratings, and their scores as measures that compare like any metric's.

A judge's overall score is the measure "judge:<name>"; each criterion of its rubric, and each turn of
conversations, is one more.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from math import sqrt
from statistics import variance
from typing import Any

from engine.data.example import Example, eval_set_version
from engine.gates.judges import NOT_SAMPLED, rating_failures
from engine.judges.judge import WHOLE, Item, Rater, Rating, RatingCall
from engine.judges.questions import asked_turns, grades_harm, of_suites, seen_by, selected, turns_of
from engine.metrics.metric import Measure
from engine.phases.judging.shared import (
    Given,
    figures,
    given_answers,
    measure_name,
    paid,
    readable,
    report_failure,
    tell_rejected,
    until_stopped,
)
from engine.phases.work import Piece, Work
from engine.plan.plan import Judge as JudgePlan
from engine.plan.plan import Model
from store import records
from store.records.alert import Alert
from store.records.judging import HARM
from store.session import opened

KIND = "pointwise"
NOT_STATED = "the judge's answer does not state it"
_SOURCE = "LLM-as-a-judge, single answer grading (Zheng et al. 2023)"


def rate(work: Work, settings: JudgePlan, rater: Rater, judge_id: int) -> None:
    """Rates every model's responses to the judge's examples; what is stored already is not asked again."""
    _declare_measures(work)
    sheets = [_Sheet(work, settings, rater, judge_id, model) for model in work.plan.models]
    for sheet in sheets:
        sheet.fill()
    # What else the answers state is known once they are there.
    _declare_measures(work)
    for sheet in sheets:
        sheet.store_absent()
    if settings.repeat > 1:
        work.recorder.put(_noise(work, judge_id, settings.repeat))


def _noise(work: Work, judge_id: int, repeat: int) -> records.Audit:
    """The judge's own noise: how far its scores of one answer lie apart, pooled over all answers."""
    known = [
        [score for score in row.repeats or () if score is not None]
        for row in work.recorder.rows(records.StoredRating, judge_id=judge_id)
    ]
    # Of two scores and more: an answer's own variance, weighted by its degrees of freedom.
    several = [scores for scores in known if len(scores) > 1]
    free = sum(len(scores) - 1 for scores in several)
    spread = sqrt(sum(variance(scores) * (len(scores) - 1) for scores in several) / free) if free else None
    return records.Audit(
        judge_id=judge_id,
        measure="repeat_noise",
        value=spread,
        n=len(several),
        reason=None if free else "no answer has two scores",
        details={"repeat": repeat},
    )


def rating_pieces(work: Work, settings: JudgePlan) -> Iterator[Piece]:
    """One rater's work, for the announcement."""
    examples = selected(work.plan, settings, seen_by(settings, work.examples, work.suites))
    count = sum(len(asked_turns(settings, len(turns_of(example)))) for example in examples)
    for model in work.plan.models:
        yield Piece("judge", _item(settings.name, model), "ratings", count)


def rating_measures(work: Work) -> list[Measure]:
    """The measures that this run's ratings give, in the order of its judges."""
    turns = max((len(turns_of(example)) for example in work.examples), default=0)
    rows = work.recorder.rows(records.StoredJudge, run_id=work.recorder.run_id)
    of_harm = {judge.name for judge in work.plan.judges if grades_harm(judge)}
    return [
        measure
        for row in rows
        if row.kind == KIND
        for source in [HARM if row.name in of_harm else _SOURCE]
        for measure in (*_measures_of(row, turns, source), *_extra_measures(work, row))
    ]


def _extra_measures(work: Work, judge: records.StoredJudge) -> Iterator[Measure]:
    """A measure for each other field of the judge's answers; truth values are shares, no end is better."""
    details = judge.details or {}
    values: dict[str, set[float]] = {}
    for row in work.recorder.rows(records.StoredRating, judge_id=judge.id):
        for name, value in (row.scores or {}).items():
            if name not in details["criteria"]:
                values.setdefault(name, set()).add(value)
    for name, found in values.items():
        low, high = (0.0, 1.0) if found <= {0.0, 1.0} else (None, None)
        said = f"Mean of {name!r} in the answers of {judge.name} ({details['model']})"
        version = f"{details['model']} {judge.prompt_hash}"
        label = measure_name(judge.name, name)
        yield Measure(label, "none", low, high, "", frozenset(), version, _SOURCE, said)


def rating_alerts(work: Work) -> list[Alert]:
    """Raters of which too many ratings failed, as a warning for each candidate."""
    candidates = {model.name for model in work.plan.candidates}
    with opened(work.store) as connection:
        found = rating_failures(connection, work.recorder.run_id)
    return [alert for each in found if each.model in candidates for alert in each.alerts(work.plan.gates)]


def _measures_of(judge: records.StoredJudge, turns: int, source: str) -> list[Measure]:
    details, name = judge.details or {}, judge.name
    version = f"{details['model']} {judge.prompt_hash}"

    directions = details.get("directions", {})

    def measure(label: str, scale: tuple[int, int], meaning: str, of: str = "") -> Measure:
        low, high = map(float, scale)
        said = f"{meaning} by {name} ({details['model']}), {low:g} to {high:g}"
        better = directions.get(of, "higher")
        return Measure(label, better, low, high, "points", frozenset(), version, source, said)

    whole = details["scale"]
    return [
        measure(measure_name(name), whole, "Mean score given"),
        *(
            measure(measure_name(name, criterion), scale, f"Mean grade for {criterion} given", criterion)
            for criterion, scale in details["criteria"].items()
        ),
        *(
            measure(measure_name(name, turn=turn), whole, f"Mean score of turn {turn} given")
            for turn in range(1, turns + 1)
        ),
    ]


def _declare_measures(work: Work) -> None:
    """Appends the measures to the stored ones, which a resumed run leaves unchanged."""
    known = work.recorder.column(records.StoredMetric, "measure", run_id=work.recorder.run_id)
    new = [measure for measure in rating_measures(work) if measure.name not in known]
    of = {
        measure: {"questions": eval_set_version(asked)} for measure, asked in suite_scores(work, new).items()
    }
    work.declare([(measure, of.get(measure, {})) for measure in new], start=len(known))


def suite_scores(work: Work, rated: Sequence[Measure]) -> dict[Measure, list[Example]]:
    """Those of these measures that are also taken of suites' questions, with these questions."""
    found: dict[Measure, list[Example]] = {}
    for judge in work.plan.judges:
        if asked := of_suites(judge, work.suites):
            name = measure_name(judge.name)
            found |= {item: asked for item in rated if item.name == name or item.name.startswith(f"{name}:")}
    return found


def _item(judge: str, model: Model) -> str:
    return f"{judge} · {model.name}"


class _Sheet:
    """One rater on one model's responses."""

    def __init__(self, work: Work, settings: JudgePlan, rater: Rater, judge_id: int, model: Model) -> None:
        self._work = work
        self._settings = settings
        self._rater = rater
        self._model = model
        self._model_id = work.model_ids[model.name]
        self._sides = {"judge_id": judge_id, "model_id": self._model_id}
        self._all = seen_by(settings, work.examples, work.suites)
        self._examples = selected(work.plan, settings, self._all)
        self._turns = max((len(turns_of(example)) for example in work.examples), default=0)
        self._done: dict[tuple[int, int], float | None] = {
            (row.example_id, row.turn): row.score
            for row in work.recorder.rows(records.StoredRating, **self._sides)
        }

    def fill(self) -> None:
        work = self._work
        given = given_answers(work, self._model)
        self._store_missing(given)
        calls = [
            RatingCall(item, turn)
            for item in self._items(given)
            for turn in asked_turns(self._settings, item.turn_count)
        ]
        title = _item(self._rater.name, self._model)
        meter = work.meter("judge", title, "ratings", total=len(calls), done=len(self._done))
        todo = (call for call in calls if self._key(call) not in self._done)
        rejected: list[str] = []
        asked = readable(work, self._sides["judge_id"], self._rater.rate(todo))
        for rating in until_stopped(work, asked):
            rejected = tell_rejected(work, self._sides["judge_id"], self._rater, rejected)
            self._store(rating)
            meter.advance(1, **paid([rating]))

    def store_absent(self) -> None:
        """Why an answer gives no value of a field that others have."""
        [judge] = self._work.recorder.rows(records.StoredJudge, id=self._sides["judge_id"])
        names = [measure.name for measure in _extra_measures(self._work, judge)]
        with self._work.recorder.transaction() as transaction:
            transaction.ensure(
                [
                    records.StoredScore(**self._score_row(place, name, None, NOT_STATED))
                    for place, turn in self._done
                    if turn == WHOLE
                    for name in names
                ]
            )

    def _items(self, given: Mapping[int, Given]) -> Iterator[Item]:
        for example in self._examples:
            answer = given.get(self._work.example_ids[example.id])
            if answer is not None:
                yield Item(example, self._model.name, answer.text, answer.turns)

    def _key(self, call: RatingCall) -> tuple[int, int]:
        return self._work.example_ids[call.item.example.id], call.turn

    def _store(self, rating: Rating) -> None:
        """A rating and the scores that it gives become durable together."""
        place, turn = self._key(rating.call)
        self._done[place, turn] = rating.score
        row: dict[str, Any] = self._sides | {
            "example_id": place,
            "turn": turn,
            "score": rating.score,
            "repeats": list(rating.repeats) or None,
            "scores": rating.extra | rating.scores or None,
            "created": time.time(),
            **figures(rating),
        }
        with self._work.recorder.transaction() as transaction:
            transaction.append(records.StoredRating(**row))
            transaction.append(
                [
                    records.StoredScore(**self._score_row(place, name, value, rating.failure))
                    for name, value in self._values(turn, rating.score, rating.scores)
                ]
            )
            # Turns have a score alone; the last one's would stand for the whole conversation.
            others = rating.extra.items() if turn == WHOLE else ()
            transaction.append(
                [
                    records.StoredScore(
                        **self._score_row(place, measure_name(self._rater.name, name), value, None)
                    )
                    for name, value in others
                    if name not in self._rater.criteria
                ]
            )
            transaction.append([records.StoredScore(**row) for row in self._mean_of_turns(place, rating)])
        report_failure(self._work, self._rater.name, rating.call.item.example, rating.failure)

    def _mean_of_turns(self, place: int, rating: Rating) -> list[dict[str, Any]]:
        """The overall score where turns alone are judged, once all are: in a mean each turn counts once."""
        turns = asked_turns(self._settings, rating.call.item.turn_count)
        if WHOLE in turns or any((place, turn) not in self._done for turn in turns):
            return []
        scores = [score for turn in turns if (score := self._done[place, turn]) is not None]
        name = measure_name(self._rater.name)
        if not scores:
            return [self._score_row(place, name, None, rating.failure)]
        parts = [sum(scores), float(len(scores))]
        return [self._score_row(place, name, parts[0] / parts[1], None) | {"parts": parts}]

    def _store_missing(self, given: Mapping[int, Given]) -> None:
        """Why there will be no rating: of what is not in the sample, or was not answered."""
        rows: list[dict[str, Any]] = []
        sample = {example.id for example in self._examples}
        for example in self._all:
            place = self._work.example_ids[example.id]
            for turn in range(1 + self._turns):
                if reason := self._unrated(example, turn, given.get(place), example.id in sample):
                    rows += [
                        self._score_row(place, name, None, reason) for name, _ in self._values(turn, None, {})
                    ]
        with self._work.recorder.transaction() as transaction:
            transaction.ensure([records.StoredScore(**row) for row in rows])

    def _unrated(self, example: Example, turn: int, given: Given | None, in_sample: bool) -> str | None:
        if turn > len(turns_of(example)):
            return f"the example has no turn {turn}"
        if not in_sample:
            return NOT_SAMPLED
        if given is None:
            return f"{self._model.name} gave no response"
        return f"{self._model.name} gave no response to turn {turn}" if turn > len(given.turns) else None

    def _values(
        self, turn: int, score: float | None, scores: Mapping[str, float]
    ) -> list[tuple[str, float | None]]:
        """The measures that one rating gives, with their values."""
        name = self._rater.name
        if turn:
            return [(measure_name(name, turn=turn), score)]
        grades = [(measure_name(name, each), scores.get(each)) for each in self._rater.criteria]
        return [(measure_name(name), score), *grades]

    def _score_row(self, place: int, measure: str, value: float | None, reason: str | None) -> dict[str, Any]:
        return {
            "model_id": self._model_id,
            "measure": measure,
            "example_id": place,
            "value": value,
            "reason": reason,
            "parts": None,
        }
