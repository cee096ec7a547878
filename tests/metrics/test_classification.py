"""Labels found in free text and JSON, and summaries equal to scikit-learn's from additive parts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, confusion_matrix, f1_score, matthews_corrcoef

from engine.data.example import Example
from engine.errors import BadInput
from engine.metrics.classification import (
    NO_LABEL,
    NO_LABELS,
    NOT_FOUND,
    Classification,
    LabelFinder,
    confusion,
    per_class,
)
from engine.metrics.metric import Score
from engine.models.model import Response
from engine.stats.intervals import bootstrap_interval
from engine.stats.paired import compare

LABELS = ["a", "b", "c", "d"]
ABSENT = "(none)"
PAIRS = st.lists(
    st.tuples(st.sampled_from(LABELS), st.sampled_from([*LABELS, ABSENT])), min_size=2, max_size=30
)


def score(label: str | None, answer: str | None, metric: Classification) -> list[Score]:
    example = Example("e", "q", ({"role": "user", "content": "q"},), label=label)
    return metric.score(example, Response("e", answer, 1, 1, "stop", 0.1, reason="timed out"))


def parts_of(pairs: list[tuple[str, str]], measure: int = 2) -> np.ndarray:
    metric = Classification(LABELS)
    return np.array([score(truth, answer, metric)[measure].additive() for truth, answer in pairs])


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("No.", "no"),
        ("Not sure", "not sure"),
        ("I am not sure, I would say no", "not sure"),
        ("no, not sure at all", "no"),
        ("It is not a yes", None),
        ("It isn't yes, it is no", "no"),
        ("I know nothing", None),
        ("**YES**", "yes"),
        ("yes-man", None),
        ("The answer is: yes", "yes"),
        ("Ｙｅｓ", "yes"),
        ("", None),
    ],
)
def test_labels_that_hold_one_another_are_told_apart(text: str, label: str | None) -> None:
    finder = LabelFinder(["no", "not sure", "yes"])
    place = finder.find(text)
    assert (None if place is None else finder.labels[place]) == label


@pytest.mark.parametrize(
    ("labels", "text", "label"),
    [
        (["toxic", "safe"], "This is non-toxic.", None),
        (["-1", "0", "1"], "-1", "-1"),
        (["1", "2"], "1.5", None),
        (["C", "C++"], "I'd use C++ here", "C++"),
        (["正面", "负面"], "答案是正面的", "正面"),
    ],
)
def test_whole_words_only(labels: list[str], text: str, label: str | None) -> None:
    finder = LabelFinder(labels)
    place = finder.find(text)
    assert (None if place is None else finder.labels[place]) == label


@given(PAIRS)
@settings(deadline=None)
def test_summaries_equal_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    truths, answers = zip(*pairs, strict=True)
    present = sorted((set(truths) | set(answers)) - {ABSENT})
    measures = {measure.name: measure for measure in Classification.measures}
    total = parts_of(pairs).sum(axis=0)
    for name, average in (("macro_f1", "macro"), ("weighted_f1", "weighted")):
        expected = f1_score(truths, answers, labels=present, average=average, zero_division=0)
        assert float(measures[name].combine(total)) == pytest.approx(expected, abs=1e-12)
    assert float(measures["mcc"].combine(total)) == pytest.approx(
        matthews_corrcoef(truths, answers), abs=1e-12
    )
    kappa = float(measures["kappa"].combine(total))
    if len(set(truths) | set(answers)) > 1:
        assert kappa == pytest.approx(cohen_kappa_score(truths, answers), abs=1e-12)
    else:
        assert np.isnan(kappa)


@given(PAIRS)
@settings(deadline=None)
def test_confusion_and_table_equal_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    truths, answers = zip(*pairs, strict=True)
    parts = parts_of(pairs)
    expected = confusion_matrix(truths, answers, labels=[*LABELS, ABSENT])[:4]
    assert np.array_equal(confusion(parts), expected)
    each = f1_score(truths, answers, labels=LABELS, average=None, zero_division=0)
    rows = per_class(parts, LABELS)
    assert [row.f1 for row in rows] == pytest.approx(each, abs=1e-12)
    assert [row.support for row in rows] == [truths.count(label) for label in LABELS]
    assert all((row.recall is None) == (row.support == 0) for row in rows)


def test_a_response_without_a_label_is_wrong_and_counted() -> None:
    accuracy, absent, *_ = score("a", "I can't say", Classification(LABELS))
    assert (accuracy.value, absent.value, absent.reason) == (0.0, 1.0, NOT_FOUND)


def test_the_label_may_stand_in_json() -> None:
    metric = Classification(["billing", "access"], field="result.category")
    hit = score("billing", 'Sure: {"result": {"category": "Billing"}}', metric)
    assert hit[0].value == 1.0
    wrong = score("billing", '{"result": {"category": "other"}}', metric)
    assert (wrong[0].value, wrong[1].value, wrong[1].reason) == (0.0, 1.0, "found 'other'")
    for text in (
        "billing",
        '{"category": "billing"}',
        "[" * 100_000,
        '{"result": {"category": ["billing"]}}',
    ):
        assert score("billing", text, metric)[1].value == 1.0


def test_what_cannot_be_scored_is_missing() -> None:
    for label, answer, metric, reason in (
        ("a", "a", Classification(), NO_LABELS),
        (None, "a", Classification(LABELS), NO_LABEL),
        ("z", "a", Classification(LABELS), "the example's label 'z' is none of the plan's labels"),
        ("a", None, Classification(LABELS), "timed out"),
    ):
        assert {(one.value, one.reason) for one in score(label, answer, metric)} == {(None, reason)}


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"labels": "a"}, "expected a list"),
        ({"labels": ["a", 1]}, "expected a list"),
        ({"labels": ["a", "A "]}, "the same except for case"),
        ({"labels": ["a"], "field": 3}, "expected a key"),
    ],
)
def test_wrong_settings_are_refused(settings_: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Classification(**settings_)  # type: ignore[arg-type]


def test_macro_f1_is_resampled_from_its_parts() -> None:
    combine = Classification.measures[2].combine
    good = parts_of([("a", "a"), ("b", "b"), ("c", "c"), ("d", "a")] * 20)
    bad = parts_of([("a", "a"), ("b", "a"), ("c", "a"), ("d", ABSENT)] * 20)
    interval = bootstrap_interval(bad, combine)
    assert interval.low is not None and interval.low < float(interval.value or 0) < float(interval.high or 0)
    assert (compare(good, bad, combine).p or 1) < 0.01
