"""ROUGE and BLEU give rouge-score's and nltk's numbers, and sense where those tools lose the text."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, corpus_bleu, sentence_bleu
from rouge_score.rouge_scorer import RougeScorer, lcs_ind
from sacrebleu.metrics.bleu import BLEU

from engine.data.example import Example
from engine.errors import BadInput
from engine.metrics.metric import Score
from engine.metrics.overlap import (
    NO_WORDS,
    TOO_LONG,
    Bleu,
    BleuOrders,
    Rouge,
    SacreBleu,
    _scorer,
    bleu_parts,
    combine_bleu,
    lcs_places,
    rouge,
)
from engine.models.model import Response

NAMES = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
SCORER = RougeScorer(NAMES, use_stemmer=True)
WORDS = ["the", "printer", "printers", "printing", "is", "on", "fire", "5", "A-b", "don't", "runs", "\n", "!"]
TEXTS = st.one_of(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=20).map(" ".join),
    st.text(st.characters(max_codepoint=127), max_size=40),
)
TOKENS = st.lists(st.sampled_from("abcde"), max_size=12)


def example(*references: str) -> Example:
    return Example("e", "q", ({"role": "user", "content": "q"},), references)


def response(text: str | None, reason: str | None = None) -> Response:
    return Response("e", text, 1, 1, "stop", 0.5, reason=reason)


def values(scores: list[Score]) -> list[float | None]:
    return [score.value for score in scores]


@given(TEXTS, TEXTS)
@settings(max_examples=300, deadline=None)
def test_rouge_equals_rouge_score_on_ascii(reference: str, answer: str) -> None:
    expected = SCORER.score(reference, answer)
    assert rouge(reference, answer) == tuple(expected[name].fmeasure for name in NAMES[:3])


@given(st.lists(TEXTS, max_size=5).map("\n".join), st.lists(TEXTS, max_size=5).map("\n".join))
@settings(max_examples=300, deadline=None)
def test_rouge_lsum_equals_rouge_score_line_by_line(reference: str, answer: str) -> None:
    expected = SCORER.score(reference, answer)["rougeLsum"].fmeasure
    found = _scorer(reference).lsum(reference, answer)
    assert found is not None and found[2] == pytest.approx(expected, abs=1e-12)


def test_rouge_lsum_of_two_endless_texts_is_missing_and_the_others_are_not() -> None:
    text = "one\ntwo\n" * 10_000
    *others, lsum = Rouge().score(example(text), response(text))
    assert (lsum.value, lsum.reason) == (None, TOO_LONG)
    assert values(others) == [1.0, 1.0, 1.0]


@given(
    st.lists(TEXTS.filter(lambda text: any(char.isalnum() for char in text)), min_size=1, max_size=4), TEXTS
)
@settings(max_examples=100, deadline=None)
def test_of_several_references_rouge_takes_the_best_for_each_measure(
    references: list[str], answer: str
) -> None:
    expected = SCORER.score_multi(references, answer)
    scores = Rouge().score(example(*references), response(answer))
    assert values(scores) == [expected[name].fmeasure for name in NAMES]


@given(TOKENS, TOKENS)
def test_the_common_subsequence_is_the_one_that_rouge_score_finds(
    first: list[str], second: list[str]
) -> None:
    assert lcs_places(first, second) == set(lcs_ind(first, second))


def test_rouge_l_of_long_runaway_text_is_quick_and_right() -> None:
    tokens = ["a", "b"] * 10_000
    longest = rouge(" ".join(tokens), " ".join(tokens[1:]))[2]
    n = len(tokens)
    assert longest == pytest.approx(2 * (n - 1) / (2 * n - 1), abs=1e-12)


@pytest.mark.parametrize(
    ("reference", "answer", "rouge1"),
    [
        ("Принтер горит", "принтер горит!", 1.0),
        ("Der Drucker heißt Größe", "der drucker heißt klein", 0.75),
        ("打印机着火了", "打印机", 2 * 1.0 * 0.5 / 1.5),
        ("プリンター", "プリンター", 1.0),
        ("ไฟไหม้", "ไฟไหม้", 1.0),
        ("हिन्दी भाषा", "हिन्दी", 2 * 1.0 * 0.5 / 1.5),
        ("café printers", "café printer", 1.0),
        ("ｃａｆé", "café", 1.0),
    ],
)
def test_rouge_sees_letters_beyond_ascii(reference: str, answer: str, rouge1: float) -> None:
    assert rouge(reference, answer)[0] == pytest.approx(rouge1)


def test_the_reference_alone_picks_the_tokenizer() -> None:
    plain, accented = "a printer burns", "a printer burns – ça va"
    assert rouge(plain, accented)[0] == SCORER.score(plain, accented)["rouge1"].fmeasure


def test_an_empty_response_scores_zero_and_an_absent_one_is_missing() -> None:
    for metric in (Rouge(), Bleu()):
        assert set(values(metric.score(example("a b"), response("")))) == {0.0}
        absent = metric.score(example("a b"), response(None, "out of memory"))
        assert [(score.value, score.reason) for score in absent] == [(None, "out of memory")] * len(absent)
        assert [score.measure for score in absent] == [measure.name for measure in metric.measures]


def test_without_a_reference_that_has_words_nothing_is_scored() -> None:
    for metric in (Rouge(), Bleu()):
        assert all(score.reason for score in metric.score(example(), response("a")))
        assert {score.reason for score in metric.score(example(" ", ""), response("a"))} == {NO_WORDS}


@given(st.lists(TOKENS.filter(bool), min_size=1, max_size=3), TOKENS)
@settings(deadline=None)
def test_sentence_bleu_equals_nltk(references: list[list[str]], answer: list[str]) -> None:
    expected = sentence_bleu(references, answer, smoothing_function=SmoothingFunction().method1)
    texts = [" ".join(tokens) for tokens in references]
    sentence, corpus = Bleu().score(example(*texts), response(" ".join(answer)))
    assert sentence.value == pytest.approx(expected, abs=1e-12)
    assert corpus.value == sentence.value


@given(
    st.lists(st.tuples(st.lists(TOKENS.filter(bool), min_size=1, max_size=3), TOKENS), min_size=1, max_size=6)
)
@settings(deadline=None)
def test_corpus_bleu_from_summed_parts_equals_nltk(pairs: list[tuple[list[list[str]], list[str]]]) -> None:
    expected = corpus_bleu(
        [references for references, _ in pairs],
        [answer for _, answer in pairs],
        smoothing_function=SmoothingFunction().method1,
    )
    parts = np.array([bleu_parts(references, answer).flat() for references, answer in pairs])
    assert float(combine_bleu(parts.sum(axis=0))) == pytest.approx(expected, abs=1e-12)


WEIGHTS = [(1.0,), (1 / 2,) * 2, (1 / 3,) * 3]


@given(
    st.lists(st.tuples(st.lists(TOKENS.filter(bool), min_size=1, max_size=3), TOKENS), min_size=1, max_size=6)
)
@settings(deadline=None)
def test_lower_orders_equal_nltk_too(pairs: list[tuple[list[list[str]], list[str]]]) -> None:
    metric, smoothing = BleuOrders(), SmoothingFunction().method1
    scored = [
        metric.score(example(*map(" ".join, references)), response(" ".join(answer)))
        for references, answer in pairs
    ]
    for order, weights in enumerate(WEIGHTS):
        sentence, corpus = metric.measures[2 * order : 2 * order + 2]
        assert (sentence.name, corpus.name) == (f"bleu{order + 1}_sentence", f"bleu{order + 1}_corpus")
        for (references, answer), scores in zip(pairs, scored, strict=True):
            expected = sentence_bleu(references, answer, weights=weights, smoothing_function=smoothing)
            assert scores[2 * order].value == pytest.approx(expected, abs=1e-12)
        total = np.array([scores[2 * order + 1].additive() for scores in scored]).sum(axis=0)
        expected = corpus_bleu(*zip(*pairs, strict=True), weights=weights, smoothing_function=smoothing)
        assert float(corpus.combine(total)) == pytest.approx(expected, abs=1e-12)


@given(
    st.lists(
        st.tuples(st.lists(TEXTS.filter(str.strip), min_size=1, max_size=3), TEXTS), min_size=1, max_size=6
    )
)
@settings(deadline=None)
def test_sacrebleu_gives_its_own_figures_for_one_response_and_for_a_set(
    pairs: list[tuple[list[str], str]],
) -> None:
    metric, corpus, sentence = SacreBleu(), BLEU(), BLEU(effective_order=True)
    scored = [metric.score(example(*references), response(answer)) for references, answer in pairs]
    for (references, answer), (single, _) in zip(pairs, scored, strict=True):
        expected = sentence.sentence_score(answer, references).score / 100
        assert single.value == pytest.approx(expected, abs=1e-9)
    widest = max(len(references) for references, _ in pairs)
    streams = [
        [references[place] if place < len(references) else None for references, _ in pairs]
        for place in range(widest)
    ]
    expected = corpus.corpus_score([answer for _, answer in pairs], streams).score / 100
    total = np.array([both[1].additive() for both in scored]).sum(axis=0)
    assert float(metric.measures[1].combine(total)) == pytest.approx(expected, abs=1e-9)


def test_sacrebleu_says_its_signature_and_refuses_an_unknown_tokenizer() -> None:
    corpus = BLEU()
    corpus.corpus_score(["a"], [["a"]])
    signature = corpus.get_signature().format()
    assert all(part in signature for part in SacreBleu().measures[1].source.rpartition(" ")[2].split("|"))
    assert "tok:zh" in SacreBleu(tokenize="zh").measures[0].source
    with pytest.raises(BadInput, match=r"metrics\.sacrebleu\.tokenize"):
        SacreBleu(tokenize="13b")


def test_corpus_bleu_is_no_average_of_sentences() -> None:
    metric = Bleu()
    scores = [
        metric.score(example("a b c d e f"), response("a b c d e f")),
        metric.score(example("g h i j"), response("x")),
    ]
    parts = np.array([score[1].additive() for score in scores])
    corpus = float(metric.measures[1].combine(parts.sum(axis=0)))
    assert corpus != pytest.approx(np.mean([score[0].value for score in scores]))
    many = metric.measures[1].combine(np.stack([parts.sum(axis=0), parts[0]]))
    assert many == pytest.approx([corpus, 1.0])
