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


TONES = ["positive", "negative", "neutral"]
CHINESE_TONES = ["积极", "消极", "中性"]


@pytest.mark.parametrize(
    ("labels", "text", "label"),
    [
        (TONES, "It isn’t positive", None),
        (TONES, "It isn't positive.", None),
        (TONES, "This cannot be positive", None),
        (TONES, "It is not at all positive", None),
        (TONES, "far from positive", None),
        (TONES, "It is far from being positive", None),
        (TONES, "hardly positive", None),
        (TONES, "I don't think this review is positive", None),
        (TONES, "not positive or negative", None),
        (TONES, "neither positive nor negative", None),
        (TONES, "not negative but positive", "positive"),
        (TONES, "It is not negative, it is positive", "positive"),
        (TONES, "not only positive", "positive"),
        (TONES, "no doubt positive", "positive"),
        (TONES, "Not positive. Negative.", "negative"),
        (TONES, "anything but positive", None),
        (TONES, "rather than positive, negative", "negative"),
        (TONES, "negative rather than positive", "negative"),
        (TONES, "Positive? No, negative.", "negative"),
        (TONES, "Positive is not the right label; negative is.", "negative"),
        (TONES, "It isnt positive", None),
        (TONES, "by no means positive", None),
        (TONES, "never positive", None),
        (TONES, "it's not neutral it's positive", "positive"),
        (TONES, "I would not call this positive", None),
        (TONES, "There is nothing positive here", None),
        (TONES, "I doubt it is positive", None),
        (TONES, "without a doubt positive", "positive"),
        (TONES, "The service was not great. Sentiment: positive", "positive"),
        (TONES, "not bad: positive", "positive"),
        (TONES, "positive", "positive"),
        (TONES, "This is no longer positive", None),
        (TONES, "less than positive", None),
        (TONES, "positive, not negative", "positive"),
        (TONES, "Not negative", None),
        (TONES, "not positive and not neutral, negative", "negative"),
        (TONES, "I can't say it's positive", None),
        (TONES, "This should not be labelled as positive", None),
        (TONES, "Nothing negative here, so it is positive", "positive"),
        (TONES, "It's not that it is negative; positive", "positive"),
        (TONES, "ain't positive", None),
        (TONES, "The label is not “positive”", None),
        (TONES, "not **positive**", None),
        (TONES, "It isn't negative - it's positive", "positive"),
        (TONES, "The text does not contain complaints and is positive", "positive"),
        (TONES, "This does not express negative feelings. It's positive", "positive"),
        (CHINESE_TONES, "不积极", None),
        (CHINESE_TONES, "不属于积极", None),
        (CHINESE_TONES, "这不是积极的", None),
        (CHINESE_TONES, "并非积极", None),
        (CHINESE_TONES, "非常积极", "积极"),
        (CHINESE_TONES, "不是消极而是积极", "积极"),
        (CHINESE_TONES, "不错，积极", "积极"),
        (CHINESE_TONES, "我不认为这是积极的", None),
        (CHINESE_TONES, "既不积极也不消极", None),
        (CHINESE_TONES, "没有积极情绪", None),
        (CHINESE_TONES, "积极", "积极"),
        (CHINESE_TONES, "情感：积极", "积极"),
        (CHINESE_TONES, "不能算是积极", None),
        (CHINESE_TONES, "毫无疑问是积极", "积极"),
        (CHINESE_TONES, "不仅积极", "积极"),
        (["positiv", "negativ"], "nicht positiv", None),
        (["positiv", "negativ"], "Das ist nicht wirklich positiv", None),
        (["positiv", "negativ"], "weder positiv noch negativ", None),
        (["positiv", "negativ"], "nicht positiv, sondern negativ", "negativ"),
        (["positiv", "negativ"], "kaum positiv", None),
        (["positiv", "negativ"], "keineswegs positiv", None),
        (["positiv", "negativ"], "nicht nur positiv", "positiv"),
        (["positif", "négatif"], "Ce n'est pas positif", None),
        (["positif", "négatif"], "Ce n’est pas du tout positif", None),
        (["positif", "négatif"], "ni positif ni négatif", None),
        (["positif", "négatif"], "Ce n'est pas négatif mais positif", "positif"),
        (["positif", "négatif"], "jamais positif", None),
        (["positivo", "negativo"], "no es positivo", None),
        (["positivo", "negativo"], "No parece positivo", None),
        (["positivo", "negativo"], "no es negativo sino positivo", "positivo"),
        (["positivo", "negativo"], "non è positivo", None),
        (["positivo", "negativo"], "não é positivo", None),
        (["positivo", "negativo"], "ni positivo ni negativo", None),
        (["positivo", "negativo"], "nunca positivo", None),
        (["yes", "no"], "No.", "no"),
        (["yes", "no"], "I would not say yes", None),
        (["yes", "no"], "Not yes", None),
        (["yes", "no"], "It is not a no, so yes", "yes"),
        (["yes", "no"], "The answer is no", "no"),
        (["yes", "no"], "no, not yes", "no"),
        (["yes", "no"], "Yes, no doubt", "yes"),
        (["yes", "no"], "I do not know", None),
        (["yes", "no"], "not sure, maybe yes", "yes"),
        (["肯定", "否定"], "肯定ではない", None),
        (["肯定", "否定"], "肯定ではありません", None),
        (["肯定", "否定"], "否定です", "否定"),
        (["toxic", "not toxic"], "It is not toxic", "not toxic"),
        (["spam", "ham"], "This is not spam, it's ham", "ham"),
        (["spam", "ham"], "not spam", None),
        (["olumlu", "olumsuz"], "olumlu değil", None),
        (["позитив", "негатив"], "это не позитив", None),
        (["A", "B"], "Not A but B", "B"),
        (["A", "B"], "The answer cannot be A.", None),
        (TONES, "It is **not** positive", None),
        (TONES, "no one would call this positive", None),
        (CHINESE_TONES, "这条评论不是积极的", None),
        # A word that only begins like a denial denies nothing.
        (TONES, "Lymph NODE positive", "positive"),
        (TONES, "nose positive swab", "positive"),
        (TONES, "a notable positive", "positive"),
        (["positivo", "negativo"], "La NOta positivo", "positivo"),
        (["positiv", "negativ"], "Die Bewertung ist insgesamt noch positiv", "positiv"),
        (["positiv", "negativ"], "gerade noch als positiv", "positiv"),
        (["positiv", "negativ"], "noch nie so positiv", "positiv"),
        (TONES, "No it is positive", "positive"),
        (TONES, "No this is a positive review", "positive"),
        (TONES, "no I would say positive", "positive"),
        (TONES, "I have never seen such a positive review", "positive"),
        (TONES, "A guest has never been so positive", "positive"),
        (TONES, "There is no such positive review", None),
        (TONES, "It can't be anything but positive", "positive"),
        (TONES, "It cannot possibly be anything other than positive", "positive"),
        (TONES, "This is nothing less than positive", "positive"),
        (TONES, "nothing if not positive", "positive"),
        (TONES, "I don't doubt that it is positive", "positive"),
        (TONES, "It can't not be positive", "positive"),
        (TONES, "no, it is not positive", None),
        (TONES, "no it isn't positive", None),
        (CHINESE_TONES, "不得不说是积极的", "积极"),
        (CHINESE_TONES, "不能不说是积极的", "积极"),
        (CHINESE_TONES, "没有不积极的", "积极"),
        (TONES, "beyond doubt positive", "positive"),
        (TONES, "There is little doubt that it is positive", "positive"),
        (["positivo", "negativo"], "no es nunca positivo", None),
    ],
)
def test_a_label_that_is_denied_is_never_the_answer(labels: list[str], text: str, label: str | None) -> None:
    finder = LabelFinder(labels)
    place = finder.find(text)
    assert (None if place is None else finder.labels[place]) == label


@pytest.mark.parametrize("text", ["not" + " a" * 28 + ", positive", "不" + "是" * 50 + "，positive"])
def test_what_stands_after_a_denial_is_read_once(text: str) -> None:
    assert LabelFinder(TONES).find(text) is not None


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
