"""Variants of the overlap metrics: each equals its library to 1e-9, under a name and signature of its own."""

import warnings
from collections.abc import Sequence
from typing import Any

import nltk
import numpy as np
import pytest
from nltk.translate.bleu_score import SmoothingFunction, corpus_bleu, sentence_bleu
from nltk.translate.meteor_score import single_meteor_score
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from engine.data.example import Example
from engine.errors import BadInput
from engine.metrics.load import load_metric
from engine.metrics.metric import Metric, Score
from engine.metrics.text import unicode_words
from engine.models.model import Response

# Answers with their references, of every length that a rule treats in its own way.
SHARED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("The cats are sitting on the mat today.", ("The cat sat on the mat today.", "Cats sit on mats.")),
    ("the cat", ("the cat sat on the mat",)),
    ("cat", ("cat", "dog")),
    ("dogs", ("one two three four",)),
    ("It rained, and rained; then the sun came out.", ("It rained and then the sun came out.",)),
    ("one two three four five six seven", ("one two three four six seven", "seven six five four three")),
    ("Line one runs.\nLine two running (hi).", ("Line one ran.\nLine two runs (hi).",)),
    ("a b c x y z d e f", ("a b c d e f", "x y z", "a x b y")),
)


def scored(metric: Metric, answer: str, references: Sequence[str]) -> list[Score]:
    example = Example(
        "e", "q", ({"role": "user", "content": "q"},), tuple(references), extra={"language": "en"}
    )
    return metric.score(example, Response("e", answer, 1, 1, "stop", 0.5))


def measured(name: str, **settings: Any) -> tuple[dict[str, list[float | None]], dict[str, float]]:
    """Every measure's values over the shared answers, and the value of the whole set."""
    metric = load_metric(name, settings)
    rows = [scored(metric, answer, references) for answer, references in SHARED]
    values = {
        measure.name: [row[place].value for row in rows] for place, measure in enumerate(metric.measures)
    }
    totals = {}
    for place, measure in enumerate(metric.measures):
        parts = [found for row in rows if (found := row[place].additive()) is not None]
        if parts:
            totals[measure.name] = float(measure.combine(np.array(parts).sum(axis=0)))
    return values, totals


def close(expected: Any) -> Any:
    return pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("stemmer", [True, False])
def test_rouge_with_and_without_stemmer(stemmer: bool) -> None:
    values, _ = measured("rouge", stemmer=stemmer, scores=["f1", "precision", "recall"])
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=stemmer)
    expected = [scorer.score_multi(references, answer) for answer, references in SHARED]
    unstemmed = "" if stemmer else "_unstemmed"
    for name in expected[0]:
        assert values[f"{name}{unstemmed}"] == close([row[name].fmeasure for row in expected])
        assert values[f"{name}{unstemmed}_precision"] == close([row[name].precision for row in expected])
        assert values[f"{name}{unstemmed}_recall"] == close([row[name].recall for row in expected])


@pytest.mark.parametrize("smoothing", range(8))
def test_bleu_as_nltk_smooths_it(smoothing: int) -> None:
    variant = "" if smoothing == 1 else f"_smooth{smoothing}"
    method = getattr(SmoothingFunction(), f"method{smoothing}")
    for metric, orders in (("bleu", (4,)), ("bleu_orders", (1, 2, 3))):
        values, totals = measured(metric, smoothing=smoothing)
        for order in orders:
            prefix = "bleu" if order == 4 else f"bleu{order}"
            pairs = [([text.split() for text in references], answer.split()) for answer, references in SHARED]
            weights = (1 / order,) * order
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = [_nltk(references, answer, weights, method) for references, answer in pairs]
                corpus = (
                    corpus_bleu([one for one, _ in pairs], [one for _, one in pairs], weights, method)
                    if smoothing < 5
                    else None
                )
            assert values[f"{prefix}_sentence{variant}"] == [
                None if one is None else close(one) for one in expected
            ]
            assert totals.get(f"{prefix}_corpus{variant}") == (None if corpus is None else close(corpus))


def _nltk(references: list[list[str]], answer: list[str], weights: Any, method: Any) -> float | None:
    try:
        return float(sentence_bleu(references, answer, weights, method))
    except (AssertionError, IndexError):
        return None


@pytest.mark.parametrize(
    ("settings", "variant"),
    [
        ({}, ""),
        ({"tokenize": "intl"}, "_intl"),
        ({"tokenize": "char", "lowercase": True}, "_char_lc"),
        ({"smooth": "floor"}, "_floor0.10"),
        ({"smooth": "add-k"}, "_add-k1.00"),
        ({"smooth": "add-k", "smooth_value": 0.3}, "_add-k0.30"),
        ({"smooth": "none"}, "_none"),
    ],
)
@pytest.mark.parametrize("effective", [True, False])
def test_sacrebleu_with_its_signature(settings: dict[str, Any], variant: str, effective: bool) -> None:
    values, totals = measured("sacrebleu", **settings, effective_order=effective)
    library = {
        "tokenize": settings.get("tokenize", "13a"),
        "lowercase": settings.get("lowercase", False),
        "smooth_method": settings.get("smooth", "exp"),
        "smooth_value": settings.get("smooth_value"),
    }
    sentence, corpus = BLEU(**library, effective_order=effective), BLEU(**library)
    name = f"sacrebleu_sentence{variant}" + "_noeff" * (not effective)
    expected = [
        sentence.sentence_score(answer, list(references)).score / 100 for answer, references in SHARED
    ]
    assert values[name] == close(expected)
    answers = [answer for answer, _ in SHARED]
    longest = max(len(references) for _, references in SHARED)
    columns = [[refs[place] if place < len(refs) else None for _, refs in SHARED] for place in range(longest)]
    assert totals[f"sacrebleu_corpus{variant}"] == close(corpus.corpus_score(answers, columns).score / 100)
    metric = load_metric("sacrebleu", {**settings, "effective_order": effective})
    signature = corpus.get_signature().format().partition("|")[2].rpartition("|")[0]
    assert signature in metric.measures[1].source


def test_the_best_reference_alone_is_truthfulqas_bleu_max() -> None:
    values, _ = measured("sacrebleu", tokenize="intl", effective_order=False, references="best")
    library = BLEU(tokenize="intl", smooth_method="exp")
    expected = [
        max(library.corpus_score([answer], [[one]]).score / 100 for one in references)
        for answer, references in SHARED
    ]
    assert values["sacrebleu_sentence_intl_noeff_best"] == close(expected)
    values, _ = measured("bleu", references="best")
    method = SmoothingFunction().method1
    expected = [
        max(sentence_bleu([one.split()], answer.split(), smoothing_function=method) for one in references)
        for answer, references in SHARED
    ]
    assert values["bleu_sentence_best"] == close(expected)


@pytest.mark.parametrize(
    ("settings", "variant"),
    [
        ({}, ""),
        ({"word_order": 2}, "_word2"),
        ({"beta": 1, "word_order": 1}, "_word1_beta1"),
        ({"char_order": 4}, "_char4"),
    ],
)
def test_chrf_with_words_and_other_weights(settings: dict[str, int], variant: str) -> None:
    values, totals = measured("chrf", **settings)
    library = CHRF(**settings)
    expected = [library.sentence_score(answer, list(references)).score / 100 for answer, references in SHARED]
    assert values[f"chrf_sentence{variant}"] == close(expected)
    stats = []
    for answer, references in SHARED:
        stats.append(library._compute_segment_statistics(answer, library._extract_reference_info(references)))
    assert totals[f"chrf_corpus{variant}"] == close(library._compute_f_score(np.sum(stats, axis=0)) / 100)


def test_meteor_with_other_parameters() -> None:
    values, _ = measured("meteor", alpha=0.8, gamma=0.4)
    stemmer = nltk.PorterStemmer()
    without = type("Without", (), {"synsets": lambda self, word: []})()
    expected = [
        max(
            single_meteor_score(
                unicode_words(one),
                unicode_words(answer),
                stemmer=stemmer,
                wordnet=without,
                alpha=0.8,
                gamma=0.4,
            )
            for one in references
        )
        for answer, references in SHARED
    ]
    assert values["meteor_stem_alpha0.8_gamma0.4"] == close(expected)


@pytest.mark.parametrize(
    ("metric", "settings", "message"),
    [
        ("rouge", {"stemmer": 1}, "metrics.rouge.stemmer: found 1; allowed: true, false"),
        ("rouge", {"scores": ["f2"]}, "metrics.rouge.scores"),
        ("rouge", {"scores": []}, "metrics.rouge.scores"),
        ("bleu", {"smoothing": 8}, "metrics.bleu.smoothing: found 8; allowed: 0, 1"),
        ("bleu_orders", {"references": "first"}, "allowed: joint, best"),
        ("sacrebleu", {"smooth": "floor", "smooth_value": 0}, "a number above 0"),
        ("chrf", {"beta": 0}, "metrics.chrf.beta: found 0; allowed: a whole number from 1"),
        ("meteor", {"alpha": 2}, "metrics.meteor.alpha"),
    ],
)
def test_a_setting_that_no_library_has_is_refused(
    metric: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        load_metric(metric, settings)
