"""Checks of form: each passes and fails with a reason, from the plan and from the example."""

import numpy as np
import pytest

from engine.data.example import Example
from engine.errors import BadInput
from engine.metrics.checks import CHECKS, NO_CHECKS, NOT_ASKED, Instructions, make_check
from engine.metrics.load import load_metric
from engine.metrics.metric import Score
from engine.models.model import Response

GERMAN = "Der Drucker ist nicht an und das Papier ist auf dem Boden."


def score(answer: str | None, metric: Instructions, **extra: object) -> dict[str, Score]:
    example = Example("e7", "q", ({"role": "user", "content": "q"},), extra=extra)
    found = metric.score(example, Response("e7", answer, 1, 1, "stop", 0.1, reason="timed out"))
    return {one.measure: one for one in found}


@pytest.mark.parametrize(
    ("name", "told", "good", "bad", "fault"),
    [
        ("json", True, '{"a": 1}', "Sure: {}", "not JSON"),
        ("json", "fenced", "```json\n{}\n```", "Sure:\n```json\n{}\n```", "not JSON"),
        ("json", "anywhere", "Sure:\n```json\n{}\n```", "Sure.", "no JSON"),
        ("regex", r"^\d+$", "42", "forty", "does not match"),
        ("max_words", 2, "two words", "now three words", "3 words"),
        ("min_words", 2, "two words", "one", "1 words"),
        ("max_chars", 3, "abc", "abcd", "4 characters"),
        ("required", ["Kind regards", "ÄRGER"], "ärger … kind regards", "hello", "'Kind regards'"),
        ("forbidden", "as an AI", "hello", "As an AI model", "'as an AI'"),
        ("language", "de", GERMAN, "The printer is not on and that is it.", "written in en, not de"),
        ("numbered_list", True, "Steps:\n1. one\n2) two", "- one\n- two\n1.5 is a number", "numbered list"),
        ("heading", True, "# Title\ntext", "#hashtag", "heading"),
        ("code_block", True, "So:\n```python\nx = 1\n```", "```python\nx = 1", "code block"),
    ],
)
def test_each_check_passes_and_fails_with_a_reason(
    name: str, told: object, good: str, bad: str, fault: str
) -> None:
    check = make_check(name, told, "plan")
    assert check(good) is None
    assert fault in (check(bad) or "")
    assert name == "forbidden" or name.startswith("max") or check("") is not None


@pytest.mark.parametrize(
    ("phrase", "answer", "holds"),
    [
        ("no", "I know another way.", False),
        ("no", "No, thanks", True),
        ("as an AI", "As  an\nAI model", True),
        ("C++", "in C++.", True),
        ("...", "so... what", True),
        ("ja", "das Jahr", False),
        ("да", "вода", False),
        ("着火", "打印机着火了", True),
    ],
)
def test_a_forbidden_phrase_is_found_as_whole_words(phrase: str, answer: str, holds: bool) -> None:
    assert (make_check("forbidden", [phrase], "plan")(answer) is not None) == holds


@pytest.mark.parametrize(
    ("language", "answer"),
    [
        ("fa", "چاپگر در طبقه دوم کار نمی‌کند و کاغذ هم تمام شده است."),
        ("uk", "Принтер на другому поверсі не працює, бо в ньому немає паперу."),
        ("vi", "Máy in ở tầng hai không hoạt động vì đã hết giấy."),
        ("pl", "Drukarka na drugim piętrze nie działa, bo skończył się papier."),
    ],
)
def test_many_languages_are_recognised(language: str, answer: str) -> None:
    assert make_check("language", language, "plan")(answer) is None


@pytest.mark.parametrize(
    ("language", "answer"),
    [("en", "Yes."), ("nb", "Hei, hvordan har du det i dag?"), ("xx", GERMAN), ("de", "42")],
)
def test_a_language_that_cannot_be_told_is_missing_with_a_reason(language: str, answer: str) -> None:
    scores = score(answer, Instructions(), checks={"language": language, "max_words": 50})
    assert scores["check_language"].value is None
    assert "language" in (scores["check_language"].reason or "")
    assert (scores["checks_passed"].value, scores["checks_passed"].parts) == (1.0, (1.0, 1.0))
    assert scores["checks_all"].value is None
    failed = score(answer, Instructions(), checks={"language": language, "min_words": 50})
    assert failed["checks_all"].value == 0.0


def test_every_check_has_a_rate_of_its_own() -> None:
    assert {f"check_{name}" for name in CHECKS} <= {measure.name for measure in Instructions().measures}


def test_the_plans_checks_and_the_examples_count_together() -> None:
    metric = Instructions(max_words=3, heading=True)
    assert [measure.name for measure in metric.measures] == [
        "checks_passed", "checks_all", "checks_passed_loose", "checks_all_loose", "check_max_words",
        "check_heading",
    ]  # fmt: skip
    scores = score("# five words are too many", metric, checks={"required": ["many"]})
    assert scores["checks_passed"].value == pytest.approx(2 / 3)
    assert scores["checks_passed"].parts == (2.0, 3.0)
    assert scores["checks_all"].value == 0.0
    assert "max_words: 6 words" in (scores["checks_all"].reason or "")
    assert score("# a", metric, checks={"max_words": 1})["check_max_words"].value == 0.0


def test_a_check_that_is_not_asked_for_is_missing_not_passed() -> None:
    scores = score("text", Instructions(), checks={"max_words": 5})
    assert (scores["check_json"].value, scores["check_json"].reason) == (None, NOT_ASKED)
    assert scores["checks_passed"].value == 1.0
    assert {one.reason for one in score("text", Instructions()).values()} == {NO_CHECKS}
    assert {one.reason for one in score(None, Instructions(), checks={"json": True}).values()} == {
        "timed out"
    }


@pytest.mark.parametrize(
    ("checks", "answer"),
    [
        ({"forbidden": "sorry"}, "I am sorry."),
        ({"max_words": 1}, "two words"),
        ({"max_chars": 3}, "**four**"),
        ({"language": "de"}, "This is clearly an English sentence about the weather in spring.\nOk"),
    ],
)
def test_no_blank_or_shortened_answer_makes_a_failed_check_pass_or_unknown(
    checks: dict[str, object], answer: str
) -> None:
    scores = score(answer, Instructions(), checks=checks)
    assert (scores["checks_all"].value, scores["checks_all_loose"].value) == (0.0, 0.0)


def test_the_rate_over_the_set_weighs_checks_not_responses() -> None:
    metric = Instructions()
    rows = [
        score("a b", metric, checks={"max_words": 1})["checks_passed"],
        score("a b", metric, checks={"max_words": 2, "max_chars": 3, "min_words": 1})["checks_passed"],
    ]
    total = np.array([row.additive() for row in rows]).sum(axis=0)
    assert float(metric.measures[0].combine(total)) == pytest.approx(3 / 4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_word": 3}, r"unknown check \"max_word\" \(did you mean \"max_words\"\?\)"),
        ({"max_words": -1}, r"metrics\.checks\.max_words: expected a whole number"),
        ({"json": False}, "expected true"),
        ({"required": []}, "expected a phrase"),
        ({"required": [1]}, "expected a phrase"),
        ({"language": "klingon!"}, "expected a language"),
        ({"regex": "["}, "not a regular expression"),
    ],
)
def test_wrong_checks_of_the_plan_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load_metric("checks", settings)


def test_a_wrong_check_of_an_example_makes_its_scores_missing() -> None:
    scores = score("text", Instructions(), checks={"max_wrods": 3})
    assert all(one.value is None and "checks of example e7" in (one.reason or "") for one in scores.values())
    assert score("text", Instructions(), checks=["json"])["checks_all"].value is None
