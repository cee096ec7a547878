"""Reading what a rater answers: one score, or one per criterion of a rubric."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.judges.answers import ParseFailure, number, objects_with, reasoning_of, said
from engine.plan.rubric import Rubric

Scale = tuple[int, int]

_NUMBER = r"(-?\d+(?:\.\d+)?)"
_OUT_OF = r"(?:\s*(?:/|out of)\s*(\d+))?"
_FRACTION = re.compile(rf"\s*{_NUMBER}{_OUT_OF}\s*", re.IGNORECASE)
# Followed by the next key: at the end of a text that was cut off, 1 may be the start of 10.
_CUT_OFF = re.compile(rf'"score"\s*:\s*"?{_NUMBER}"?()(?=\s*[,}}])', re.IGNORECASE)
_BRACKETED = re.compile(rf"\[\[\s*{_NUMBER}{_OUT_OF}\s*\]\]", re.IGNORECASE)
_STATED = (
    r"^[^\w\n]{{0,9}}(?:(?:final|overall|total|my) ){{0,2}}(?:{names})[^\w\n]{{1,9}}?"
    rf"{_NUMBER.replace('{', '{{').replace('}', '}}')}{_OUT_OF}" + r"[^\w\n]{{0,9}}$"
)


@dataclass(frozen=True, slots=True)
class Scored:
    """One readable answer; `scores` by criterion, empty without a rubric; flags as in `Rating`."""

    score: float
    scores: dict[str, float]
    reasoning: str
    flags: tuple[str, ...] = ()


def parse_score(text: str, scale: Scale) -> Scored | ParseFailure:
    """Reads one score, which may stand in fences or prose, end in commas, or be cut off.

    Looked for in this order: a JSON object with a `score`; the score of one that is cut off or broken;
    `[[7]]` as in MT-Bench; a line "Score: 7/10" (or Rating, Grade). Two different scores in one of these
    forms, one off the scale, or "7/10" on a scale to 5 are failures: nothing is clamped or guessed.
    """
    text = said(text)
    if not text:
        return ParseFailure("the answer is empty")
    if answers := objects_with("score", text):
        grades = {_grade(answer["score"], scale, "score") for answer in answers}
        return _one(grades, reasoning_of(answers[-1]))
    for form in (_CUT_OFF, _BRACKETED, _stated("score|rating|grade")):
        grades = {_in_range(value, out_of, scale, "score") for value, out_of in form.findall(text)}
        if grades:
            return _one(grades, text)
    return ParseFailure("the answer holds no score")


def parse_rubric_scores(text: str, rubric: Rubric) -> Scored | ParseFailure:
    """Reads one grade per criterion: a JSON object's `scores`, else lines "criterion: 4/5".

    The score is the rubric's total of the grades; a total of the rater's own that is more than one point
    off is flagged. A criterion without a grade, or with one off its scale, makes the answer a failure.
    """
    text = said(text)
    if not text:
        return ParseFailure("the answer is empty")
    if answers := objects_with("scores", text):
        readings = [_grades(answer["scores"], rubric) for answer in answers]
        if any(reading != readings[0] for reading in readings):
            return ParseFailure("the answer gives different scores")
        return _totalled(readings[0], rubric, answers[-1].get("score"), reasoning_of(answers[-1]))
    return _totalled(_stated_grades(text, rubric), rubric, None, text)


def _one(grades: set[float | ParseFailure], reasoning: str) -> Scored | ParseFailure:
    if len(grades) > 1:
        return ParseFailure("the answer gives different scores")
    grade = grades.pop()
    return grade if isinstance(grade, ParseFailure) else Scored(grade, {}, reasoning)


def _grade(value: object, scale: Scale, name: str) -> float | ParseFailure:
    if isinstance(value, str) and (fraction := _FRACTION.fullmatch(value)):
        return _in_range(fraction[1], fraction[2] or "", scale, name)
    return _in_range(value, "", scale, name)


def _in_range(value: object, out_of: str, scale: Scale, name: str) -> float | ParseFailure:
    grade = number(value)
    if grade is None:
        return ParseFailure(f"{name} is no number")
    low, high = scale
    if not low <= grade <= high:
        return ParseFailure(f"{name} is {grade:g}; allowed: {low} to {high}")
    if out_of and int(out_of) != high:
        return ParseFailure(f"{name} is out of {out_of}; the scale is {low} to {high}")
    return grade


def _grades(value: Any, rubric: Rubric) -> dict[str, float] | ParseFailure:
    if not isinstance(value, dict):
        return ParseFailure("scores is no object of criteria and grades")
    given = {_plain(name): grade for name, grade in value.items()}
    return _complete(
        {
            criterion.name: _grade(given[_plain(criterion.name)], criterion.scale, criterion.name)
            for criterion in rubric.criteria
            if _plain(criterion.name) in given
        },
        rubric,
    )


def _stated_grades(text: str, rubric: Rubric) -> dict[str, float] | ParseFailure:
    grades: dict[str, float | ParseFailure] = {}
    for criterion in rubric.criteria:
        found = {
            _in_range(value, out_of, criterion.scale, criterion.name)
            for value, out_of in _stated(re.escape(criterion.name)).findall(text)
        }
        if len(found) > 1:
            return ParseFailure(f"the answer gives different scores for {criterion.name}")
        if found:
            grades[criterion.name] = found.pop()
    return _complete(grades, rubric) if grades else ParseFailure("the answer holds no scores")


def _complete(grades: Mapping[str, float | ParseFailure], rubric: Rubric) -> dict[str, float] | ParseFailure:
    missing = [criterion.name for criterion in rubric.criteria if criterion.name not in grades]
    if missing:
        return ParseFailure(f"there is no score for {', '.join(missing)}")
    whole: dict[str, float] = {}
    for name, grade in grades.items():
        if isinstance(grade, ParseFailure):
            return grade
        whole[name] = grade
    return whole


def _totalled(
    grades: dict[str, float] | ParseFailure, rubric: Rubric, own: object, reasoning: str
) -> Scored | ParseFailure:
    if isinstance(grades, ParseFailure):
        return grades
    total = rubric.total(grades)
    said_total = number(own)
    contradicts = said_total is not None and not abs(said_total - total) <= 1
    return Scored(total, grades, reasoning, ("contradicts_scores",) if contradicts else ())


def _stated(names: str) -> re.Pattern[str]:
    return re.compile(_STATED.format(names=names), re.IGNORECASE | re.MULTILINE)


def _plain(name: object) -> str:
    return re.sub(r"[\W_]+", " ", str(name)).strip().casefold()
