"""Writes an imported run into the store, with the figures computed from its grades and verdicts."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.data.example import Example, eval_set_version
from engine.formats.records import Grade, Imported, ImportedMatch, ImportedMeasure
from engine.gates.judges import (
    MatchVerdicts,
    judge_failure_alerts,
    missing_pairs_alert,
    rating_failure_alert,
)
from engine.judges.audit import Judged
from engine.judges.judge import WHOLE
from engine.phases.data import example_row
from engine.phases.judging.audits import kinship, leanings, ranking, shared_rates
from engine.phases.judging.shared import match_name
from engine.plan.plan import Gates
from engine.stats.intervals import OPEN, SHARE, Ends, Interval, bootstrap_interval
from engine.stats.length_control import length_controlled
from engine.stats.winrate import POINTS, Winner, WinRate, position_bias, win_rate
from store import records
from store.read.query import by_key
from store.records.alert import Alert
from store.write import Transaction


def points_of(match: ImportedMatch) -> float | None:
    if match.outcome == "failed":
        return None
    return match.points if match.points is not None else POINTS[match.outcome]


def summary(grades: Iterable[Grade], ends: Ends = OPEN) -> dict[str, Any]:
    """The mean over all scores; the interval resamples questions, whose turns belong together."""
    by_example: dict[str, list[float]] = defaultdict(list)
    failures: list[str] = []
    for grade in grades:
        if grade.score is None:
            failures.append(grade.failure or "no score")
        else:
            by_example[grade.example].append(grade.score)
    found = mean([(sum(scores), float(len(scores))) for scores in by_example.values()], ends)
    reason = max(set(failures), key=failures.count) if failures else None
    n = sum(len(scores) for scores in by_example.values())
    return asdict(found) | {"n": n, "missing": len(failures), "reason": reason}


def mean(parts: list[tuple[float, float]], ends: Ends = OPEN) -> Interval:
    values = np.array(parts).reshape(-1, 2)
    return bootstrap_interval(values, lambda sums: sums[..., 0] / sums[..., 1], ends=ends)


def of_conversations(matches: Sequence[ImportedMatch]) -> list[ImportedMatch]:
    """The verdicts on whole conversations of which only turns were judged: the last turn's."""
    last: dict[tuple[str, str], int] = defaultdict(int)
    for match in matches:
        own = last[match.judge, match.example]
        # Where one verdict is on the whole, no turn stands for it.
        last[match.judge, match.example] = -1 if own < 0 or not match.turn else max(own, match.turn)
    return [
        replace(match, turn=WHOLE)
        for match in matches
        if match.turn and match.turn == last[match.judge, match.example]
    ]


def _on_shared(grades: list[Grade]) -> str:
    """The models' means over what all of them were graded on, as a sentence."""
    scores: dict[str, dict[tuple[str, int], float]] = defaultdict(dict)
    for grade in grades:
        if grade.score is not None:
            scores[grade.model][grade.example, grade.turn] = grade.score
    shared = set.intersection(*map(set, scores.values())) if scores else set()
    if not shared or len(scores) < len({grade.model for grade in grades}):
        return " No question was graded for all models."
    means = (f"{model} {np.mean([own[place] for place in shared]):.2f}" for model, own in scores.items())
    return f" On the {len(shared):,} that all models share: {', '.join(means)}."


def slices(grades: list[Grade], examples: Mapping[str, Example]) -> dict[str, list[Grade]]:
    """By category and by turn, as MT-Bench reports them."""
    found: dict[str, list[Grade]] = defaultdict(list)
    for grade in grades:
        category = examples[grade.example].category
        if category:
            found[f"category: {category}"].append(grade)
        if grade.turn:
            found[f"turn {grade.turn}"].append(grade)
    return {name: own for name, own in found.items() if len(own) < len(grades)}


def _alpaca_eval_rate(judge_id: int, subject: str, preferences: list[float | None]) -> records.Audit:
    """AlpacaEval's own length-controlled win rate: the mean over all of its rows."""
    known = [value for value in preferences if value is not None]
    whole = len(known) == len(preferences)
    return records.Audit(
        judge_id=judge_id,
        measure="alpaca_eval_lc",
        subject=subject,
        value=float(np.mean(known)) if whole else None,
        n=len(preferences),
        reason=None if whole else f"{len(known):,} of {len(preferences):,} rows have a glm_preference",
    )


ABSENT = "graded for other models, and not for this one"
_SCALES: dict[str | None, Ends] = {"1-10": (1.0, 10.0), "1-5": (1.0, 5.0)}
_GAME_COLUMNS = (
    "turn", "order", "winner", "raw", "failure", "candidate_score", "baseline_score", "confidence", "cost",
    "latency_s",
)  # fmt: skip


class Writer:
    """Writes one run inside the given transaction."""

    def __init__(self, transaction: Transaction, imported: Imported) -> None:
        self._transaction = transaction
        self._imported = imported
        self._models: dict[str, int] = {}
        self._examples: dict[str, int] = {}
        self._judges: dict[str, int] = {}
        self._alerts: list[Alert] = []  # those that a run here raises without a plan's gates

    def write(self, name: str, path: Path) -> int:
        run_id = self._run(name, path)
        self._write_examples(run_id)
        self._write_models(run_id, path)
        self._write_judges(run_id)
        self._write_games()
        self._write_grades(run_id)
        self._transaction.append(
            [
                records.StoredAlert(run_id=run_id, created=time.time(), **asdict(alert))
                for alert in self._alerts
            ]
        )
        for note in self._imported.notes:
            self._transaction.append(
                records.Event(run_id=run_id, time=time.time(), level="warning", phase="data", message=note)
            )
        return run_id

    def _run(self, name: str, path: Path) -> int:
        now = time.time()
        examples = list(self._imported.examples.values())
        return self._transaction.insert(
            records.Run(
                name=name,
                status="finished",
                created=now,
                started=now,
                finished=now,
                plan="",
                plan_hash="",
                plan_folder=str(path.absolute().parent),
                plan_file="",
                options={"imported": self._imported.source},
                eval_set=eval_set_version(examples),
                eval_set_file=str(path),
            )
        )

    def _write_examples(self, run_id: int) -> None:
        examples = list(self._imported.examples.values())
        version = eval_set_version(examples)
        self._transaction.ensure(
            [
                records.StoredExample(**example_row(example, version, place))
                for place, example in enumerate(examples)
            ]
        )
        known = self._transaction.rows(records.StoredExample, eval_set=version)
        self._examples = {row.example: row.id for row in known}
        self._transaction.append(
            [
                records.RunExample(
                    run_id=run_id, position=place, example_id=self._examples[example.id], split=None
                )
                for place, example in enumerate(examples)
            ]
        )

    def _write_models(self, run_id: int, path: Path) -> None:
        notes = [f"read from {path.name}", *self._imported.notes]
        for place, name in enumerate(self._imported.models):
            role = "baseline" if name in self._imported.baselines else "candidate"
            self._models[name] = self._transaction.insert(
                records.StoredModel(
                    run_id=run_id,
                    name=name,
                    role=role,
                    kind="recorded",
                    position=place,
                    details={"kind": "recorded", "file": str(path), "notes": notes},
                )
            )
        now = time.time()
        self._transaction.append(
            [
                records.StoredResponse(
                    model_id=self._models[model],
                    example_id=self._examples[example],
                    text=turns[-1] if turns else None,
                    turns=list(turns) if len(turns) > 1 else None,
                    reason=None if turns else "the file holds no answer",
                    created=now,
                )
                for (model, example), turns in self._imported.answers.items()
            ]
        )
        self._transaction.append(
            [
                records.StoredSample(
                    model_id=self._models[model],
                    example_id=self._examples[example],
                    sample=number,
                    text=text,
                    reason=None if text is not None else "the file holds no answer",
                    created=now,
                )
                for (model, example), texts in self._imported.samples.items()
                for number, text in enumerate(texts, start=1)
            ]
        )

    def _write_judges(self, run_id: int) -> None:
        for grader in self._imported.graders.values():
            judge = records.StoredJudge(
                run_id=run_id,
                name=grader.name,
                kind=grader.kind,
                is_language_model=grader.is_language_model,
                prompt_hash=f"imported:{self._imported.source}",
                details=grader.details,
            )
            self._judges[grader.name] = self._transaction.insert(judge)
            if grader.is_language_model:
                models = [(name, name) for name in self._imported.models]
                judge = replace(judge, id=self._judges[grader.name])
                self._transaction.append(kinship(judge, models))

    def _write_games(self) -> None:
        now = time.time()
        self._transaction.append(
            [
                records.StoredJudgment(
                    **self._sides(game.judge, game.candidate, game.baseline),
                    **({key: getattr(game, key) for key in _GAME_COLUMNS}),
                    example_id=self._examples[game.example],
                    created=now,
                )
                for game in self._imported.games
            ]
        )
        self._transaction.append(
            [
                records.Verdict(
                    **self._sides(match.judge, match.candidate, match.baseline),
                    example_id=self._examples[match.example],
                    turn=match.turn,
                    outcome=match.outcome,
                    consistent=match.consistent,
                    reason="a judgment failed" if match.outcome == "failed" else None,
                )
                for match in (*self._imported.matches, *of_conversations(self._imported.matches))
            ]
        )
        groups = by_key(
            ((match.judge, match.candidate, match.baseline), match)
            for match in (*self._imported.matches, *self._imported.repeated_matches)
        )
        self._rank()
        for sides, matches in groups.items():
            self._audit(sides, matches)
            # Turn 0 holds all of them together, as these tools count; then every turn by itself.
            for turn in sorted({0, *(match.turn for match in matches)}):
                chosen = [match for match in matches if turn in (0, match.turn)]
                row = records.StoredWinRate(**self._win_rate(sides, turn, chosen))
                self._transaction.append(row)
                if turn == 0:
                    rate = WinRate(**{key: getattr(row, key) for key in WinRate.__slots__})
                    self._alerts += judge_failure_alerts([MatchVerdicts(*sides, rate)], Gates())
        self._transaction.append(
            [
                _alpaca_eval_rate(self._judges[judge], match_name(candidate, baseline), found)
                for (judge, candidate, baseline), found in self._imported.glm_preferences.items()
                if any(value is not None for value in found)
            ]
        )
        played: dict[str, dict[tuple[str, str], dict[tuple[str, int], float]]] = defaultdict(dict)
        for (judge, candidate, baseline), matches in groups.items():
            if baseline in self._imported.baselines:
                known = [(match.example, match.turn, points_of(match)) for match in matches]
                played[judge][candidate, baseline] = {
                    (example, turn): point for example, turn, point in known if point is not None
                }
        for judge, points in played.items():
            self._transaction.append(shared_rates(self._judges[judge], points, Gates().max_judge_failures))
        for (judge, candidate, baseline), matches in groups.items():
            if baseline in self._imported.baselines:
                others = [own for sides, own in groups.items() if (sides[0], sides[2]) == (judge, baseline)]
                places = {(match.example, match.turn) for own in others for match in own}
                absent = len(places) - len({(match.example, match.turn) for match in matches})
                self._alerts += missing_pairs_alert(judge, candidate, baseline, absent, len(places), Gates())

    def _rank(self) -> None:
        """Each judge's ranking of the models; the turns of an example count as one comparison."""
        points: dict[str, dict[str, dict[tuple[str, str], list[float]]]] = {}
        for match in self._imported.matches:
            if (point := points_of(match)) is not None:
                examples = points.setdefault(match.judge, {}).setdefault(match.example, {})
                examples.setdefault((match.candidate, match.baseline), []).append(point)
        for judge, judged in points.items():
            played = [
                {sides: sum(own) / len(own) for sides, own in compared.items()}
                for compared in judged.values()
            ]
            self._transaction.append(ranking(self._judges[judge], self._models, played))

    def _audit(self, sides: tuple[str, str, str], matches: list[ImportedMatch]) -> None:
        judge, candidate, baseline = sides
        texts = [(self._text(candidate, match), self._text(baseline, match)) for match in matches]
        # Two equal texts say nothing of a judge's leanings: they stand for texts that are not both known.
        known = [(one, other) if one is not None and other is not None else ("", "") for one, other in texts]
        judged = [
            Judged(match.outcome, match.consistent, *pair) for match, pair in zip(matches, known, strict=True)
        ]
        subject = match_name(candidate, baseline)
        self._transaction.append(leanings(self._judges[judge], subject, judged))
        graded = [match.points for match in matches if match.points is not None]
        if len(graded) > 1:
            error = float(np.std(graded, ddof=1)) / len(graded) ** 0.5
            self._transaction.append(
                records.Audit(
                    judge_id=self._judges[judge], measure="standard_error", subject=subject, value=error,
                    n=len(graded),
                )
            )  # fmt: skip

    def _text(self, model: str, match: ImportedMatch) -> str | None:
        """What was judged: a turn's answer, or all of a conversation's; None where it is unknown."""
        turns = self._imported.answers.get((model, match.example), ())
        chosen = turns[match.turn - 1 : match.turn] if match.turn else turns
        return "\n".join(chosen) if chosen else None

    def _sides(self, judge: str, candidate: str, baseline: str) -> dict[str, Any]:
        return {
            "judge_id": self._judges[judge],
            "candidate_id": self._models[candidate],
            "baseline_id": self._models[baseline],
        }

    def _win_rate(
        self, sides: tuple[str, str, str], turn: int, matches: list[ImportedMatch]
    ) -> dict[str, Any]:
        counted = win_rate([match.outcome for match in matches])
        points = [points_of(match) for match in matches]
        graded = Interval(counted.win_rate, counted.low, counted.high, 0)
        if any(match.points is not None for match in matches):
            known = [point for point in points if point is not None]
            graded = mean([(point, 1.0) for point in known], SHARE)
        candidate, baseline = sides[1:]
        texts = [[self._text(model, match) for match in matches] for model in (candidate, baseline)]
        ours, theirs = ([None if text is None else len(text) for text in side] for side in texts)
        controlled = length_controlled(points, ours, theirs)
        return self._sides(*sides) | {
            "turn": turn,
            "wins": counted.wins,
            "losses": counted.losses,
            "ties": counted.ties,
            "failed": counted.failed,
            "win_rate": graded.value,
            "low": graded.low,
            "high": graded.high,
            "position_bias": self._position_bias(sides, turn),
            "length_controlled": controlled.value,
            "length_controlled_low": controlled.low,
            "length_controlled_high": controlled.high,
            "length_controlled_reason": controlled.reason,
            "reason": None if graded.value is not None else "every judgment failed",
        }

    def _position_bias(self, sides: tuple[str, str, str], turn: int) -> float | None:
        winners: dict[tuple[str, int], dict[str, Winner | None]] = defaultdict(dict)
        for game in self._imported.games:
            if (game.judge, game.candidate, game.baseline) == sides and turn in (0, game.turn):
                winners[game.example, game.turn][game.order] = game.winner
        pairs = [
            (both["candidate_first"], both["baseline_first"]) for both in winners.values() if len(both) == 2
        ]
        return position_bias(pairs).rate

    def _write_grades(self, run_id: int) -> None:
        now = time.time()
        self._transaction.append(
            [
                records.StoredRating(
                    judge_id=self._judges[grade.judge],
                    model_id=self._models[grade.model],
                    example_id=self._examples[grade.example],
                    turn=grade.turn,
                    score=grade.score,
                    raw=grade.raw,
                    failure=grade.failure,
                    created=now,
                )
                for grade in self._imported.grades
            ]
        )
        by_judge: dict[str, list[Grade]] = defaultdict(list)
        for grade in (*self._imported.grades, *self._imported.repeated_grades):
            by_judge[grade.judge].append(grade)
        measures = {measure.name: measure for measure in self._imported.measures.values()}
        by_measure = {f"judge:{judge}": grades for judge, grades in by_judge.items()}
        for judge in by_judge:
            details = self._imported.graders[judge].details
            measures[f"judge:{judge}"] = ImportedMeasure(
                f"judge:{judge}", *_SCALES.get(details.get("scale"), OPEN), unit="points",
                source=details["note"],
                meaning="mean of the judge's scores; several turns of one question count each",
            )  # fmt: skip
        for score in self._imported.scores:
            by_measure.setdefault(score.judge, []).append(score)
        for place, (name, grades) in enumerate(by_measure.items()):
            row = asdict(measures[name]) | {"measure": name, "position": place, "version": "1"}
            del row["name"]
            self._transaction.append(records.StoredMetric(run_id=run_id, settings={}, **row))
            self._summarise(name, (measures[name].low, measures[name].high), grades)

    def _summarise(self, measure: str, ends: Ends, grades: list[Grade]) -> None:
        """A measure by model; what was graded of other models and not of this one is missing."""
        places = dict.fromkeys((grade.example, grade.turn) for grade in grades)
        for model in self._imported.models:
            own = [grade for grade in grades if grade.model == model]
            if own:
                there = {(grade.example, grade.turn) for grade in own}
                absent = [place for place in places if place not in there]
                own += [Grade(measure, model, *place, None, "", ABSENT) for place in absent]
                reasons = Counter(grade.failure or "no score" for grade in own if grade.score is None)
                shared = _on_shared(grades) if absent else ""
                self._alerts += rating_failure_alert(measure, model, reasons, len(own), Gates(), shared)
                row: dict[str, Any] = {"model_id": self._models[model], "measure": measure}
                self._transaction.append(records.ModelScore(**row, **summary(own, ends)))
                sliced = [
                    row | {"slice": name, "p": None} | summary(chosen, ends)
                    for name, chosen in slices(own, self._imported.examples).items()
                ]
                self._transaction.append([records.SliceScore(**each) for each in sliced])
                self._transaction.append([records.StoredScore(**each) for each in self._scores(row, own)])

    def _scores(self, row: dict[str, Any], grades: list[Grade]) -> list[dict[str, Any]]:
        """The measure example by example; in a mean over examples each turn's score counts once."""
        by_example: dict[str, list[Grade]] = defaultdict(list)
        for grade in grades:
            by_example[grade.example].append(grade)
        rows = []
        for example, own in by_example.items():
            found = summary(own)
            value, n = found["value"], found["n"]
            known = (
                {"reason": None, "parts": [value * n, float(n)]}
                if n
                else {"reason": found["reason"], "parts": None}
            )
            rows.append(row | {"example_id": self._examples[example], "value": value} | known)
        return rows
