"""METEOR gives nltk's numbers; without WordNet by stems, under a name of its own, in many languages."""

from pathlib import Path

import nltk
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.corpus import wordnet
from nltk.corpus.reader.wordnet import WordNetCorpusReader
from nltk.corpus.util import LazyCorpusLoader
from nltk.stem.snowball import SnowballStemmer
from nltk.translate.meteor_score import single_meteor_score

from engine.data.example import Example
from engine.errors import BadInput
from engine.metrics import meteor as module
from engine.metrics.meteor import NO_WORDNET, NOT_ENGLISH, Meteor, meteor
from engine.models.model import Response

WORDS = ["the", "printer", "printers", "printing", "is", "on", "fire", "fires", "running", "ran"]
TOKENS = st.lists(st.sampled_from(WORDS), max_size=12)


class NoSynonyms:
    def synsets(self, word: str) -> list[str]:
        return []


def scores(
    reference: str, answer: str, metric: Meteor | None = None, **extra: str
) -> dict[str, float | None]:
    example = Example("e", "q", ({"role": "user", "content": "q"},), (reference,), extra=extra)
    found = (metric or Meteor()).score(example, Response("e", answer, 1, 1, "stop", 0.1))
    return {score.measure: score.value for score in found}


@given(TOKENS, TOKENS)
@settings(deadline=None)
def test_stems_alone_equal_nltk(reference: list[str], answer: list[str]) -> None:
    expected = single_meteor_score(reference, answer, wordnet=NoSynonyms())
    assert meteor(reference, answer) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.sampled_from(["принтер", "принтера", "горит", "горят", "не"]), max_size=8), st.data())
@settings(deadline=None)
def test_russian_equals_nltk_with_its_snowball_stemmer(reference: list[str], data: st.DataObject) -> None:
    answer = data.draw(st.permutations(reference))
    expected = single_meteor_score(
        reference, answer, stemmer=SnowballStemmer("russian"), wordnet=NoSynonyms()
    )
    assert meteor(reference, answer, "ru") == pytest.approx(expected, abs=1e-12)


def test_the_language_decides_which_words_are_the_same() -> None:
    assert scores("принтеры горят", "принтер горят")["meteor_stem"] > 0.9  # type: ignore[operator]
    german = Meteor(language="de")
    assert scores("die Häuser", "die Haus", german)["meteor_stem"] > 0.9  # type: ignore[operator]
    assert scores("die Häuser", "die Haus", language="fi")["meteor_stem"] < 0.9  # type: ignore[operator]
    assert scores("打印机着火了", "打印机着火了")["meteor_stem"] > 0.9  # type: ignore[operator]


def test_a_wrong_language_is_refused() -> None:
    with pytest.raises(BadInput, match=r"metrics\.meteor\.language"):
        Meteor(language="german please")


def test_without_wordnet_the_measure_of_that_name_is_missing() -> None:
    metric = Meteor()
    if metric._wordnet:
        pytest.skip("WordNet's data is installed here")
    example = Example("e", "q", ({"role": "user", "content": "q"},), ("a printer",))
    synonyms, stems = metric.score(example, Response("e", "a printer", 1, 1, "stop", 0.1))
    assert (synonyms.value, synonyms.reason) == (None, NO_WORDNET)
    assert stems.value is not None


def test_with_wordnet_synonyms_count_for_english_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_wordnet(tmp_path / "corpora" / "wordnet")
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    fresh = LazyCorpusLoader("wordnet", WordNetCorpusReader, None)
    monkeypatch.setattr(module, "wordnet", fresh)
    module._synonyms.cache_clear()
    try:
        english = scores("buy a car", "buy a auto", language="en")
        assert english["meteor"] == pytest.approx(single_meteor_score(["a"] * 3, ["a"] * 3))
        assert english["meteor_stem"] < english["meteor"]  # type: ignore[operator]
        example = Example("e", "q", ({"role": "user", "content": "q"},), ("ein Auto",))
        synonyms, _ = Meteor("de").score(example, Response("e", "ein Auto", 1, 1, "stop", 0.1))
        assert synonyms.reason == NOT_ENGLISH
    finally:
        module._synonyms.cache_clear()


def test_nltk_itself_has_the_corpus_that_is_asked_for() -> None:
    assert wordnet.__name__ == "wordnet" or hasattr(wordnet, "synsets")


def _write_wordnet(folder: Path) -> None:
    """A WordNet of one synset, {car, auto}, in the format of the real one."""
    folder.mkdir(parents=True)
    license_lines = "".join(f"  {number} licence\n" for number in range(1, 3))
    offset = len(license_lines)
    synset = f"{offset:08d} 06 n 02 car 0 auto 0 000 | a motor vehicle  \n"
    for kind in ("noun", "verb", "adj", "adv"):
        noun = kind == "noun"
        index = "".join(f"{word} n 1 0 1 0 {offset:08d}  \n" for word in ("auto", "car")) if noun else ""
        (folder / f"index.{kind}").write_text(license_lines + index)
        (folder / f"data.{kind}").write_text(license_lines + (synset if noun else ""))
        (folder / f"{kind}.exc").write_text("")
    (folder / "lexnames").write_text("".join(f"{place:02d}\tname.{place}\t1\n" for place in range(45)))
    (folder / "index.sense").write_text("")
    (folder / "cntlist.rev").write_text("")
