"""chrF gives sacrebleu's numbers, for one response and over a set, and its signature."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.chrf import CHRF

from engine.data.example import Example
from engine.metrics.overlap import NO_CHARACTERS, ChrF, chrf_parts, combine_chrf
from engine.models.model import Response

CHRF2 = CHRF()
TEXTS = st.one_of(st.text("abc de", max_size=30), st.text(max_size=30))
REFERENCES = st.lists(TEXTS.filter(lambda text: bool(text.strip())), min_size=1, max_size=3)


def example(*references: str) -> Example:
    return Example("e", "q", ({"role": "user", "content": "q"},), references)


@given(REFERENCES, TEXTS)
@settings(deadline=None)
def test_one_response_equals_sacrebleu(references: list[str], answer: str) -> None:
    sentence, corpus = ChrF().score(example(*references), Response("e", answer, 1, 1, "stop", 0.1))
    assert sentence.value == corpus.value
    # sacrebleu strips the ends of a segment, which chrF ignores anyway.
    assert sentence.value == pytest.approx(CHRF2.sentence_score(answer, references).score / 100, abs=1e-12)


@given(st.lists(st.tuples(TEXTS.filter(lambda text: bool(text.strip())), TEXTS), min_size=1, max_size=6))
@settings(deadline=None)
def test_a_set_equals_sacrebleu(pairs: list[tuple[str, str]]) -> None:
    references, answers = map(list, zip(*pairs, strict=True))
    total = np.array([chrf_parts(reference, answer) for reference, answer in pairs]).sum(axis=0)
    expected = CHRF2.corpus_score(answers, [references]).score / 100
    assert float(combine_chrf(total)) == pytest.approx(expected, abs=1e-12)


def test_the_signature_is_sacrebleus() -> None:
    CHRF2.corpus_score(["a"], [["a"]])
    signature = CHRF2.get_signature().format().partition("|version")[0].removeprefix("nrefs:1|")
    assert all(signature in measure.source for measure in ChrF().measures), signature


def test_many_letters_do_not_overflow() -> None:
    text = "".join(map(chr, range(0x4E00, 0x9000)))
    assert combine_chrf(np.array(chrf_parts(text, text))) == 1.0


def test_references_without_a_character_leave_nothing_to_score() -> None:
    scores = ChrF().score(example(" ", "\n"), Response("e", "a", 1, 1, "stop", 0.1))
    assert {score.reason for score in scores} == {NO_CHARACTERS}
