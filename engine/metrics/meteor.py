"""METEOR: words aligned with a reference exactly, by stem and, for English, by WordNet's synonyms."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from engine.data.example import Example
from engine.metrics.language import check_language, language_of
from engine.metrics.lean_nltk import SnowballStemmer, single_meteor_score, wordnet
from engine.metrics.metric import Score, fraction, gap, missing
from engine.metrics.overlap import NO_WORDS
from engine.metrics.text import porter_stem, unicode_words
from engine.models.model import Response

NO_WORDNET = (
    "WordNet's data is not on this machine (python -m nltk.downloader wordnet installs it); "
    "meteor_stem needs none"
)
NOT_ENGLISH = "WordNet's synonyms are English; meteor_stem measures other languages"
_SOURCE = "Banerjee & Lavie 2005, Lavie & Agarwal 2007; nltk meteor_score"
_STEMMERS = {
    "ar": "arabic", "da": "danish", "de": "german", "es": "spanish", "fi": "finnish", "fr": "french",
    "hu": "hungarian", "it": "italian", "nl": "dutch", "no": "norwegian", "nb": "norwegian",
    "pt": "portuguese", "ro": "romanian", "ru": "russian", "sv": "swedish",
}  # fmt: skip


class _Stemmer:
    """A stemmer as nltk expects it: Porter for English as nltk has it, Snowball elsewhere, or none."""

    def __init__(self, language: str) -> None:
        self.stem: Callable[[str], str] = _unstemmed
        if language == "en":
            self.stem = porter_stem
        elif language in _STEMMERS:
            self.stem = lru_cache(maxsize=200_000)(SnowballStemmer(_STEMMERS[language]).stem)


class _NoSynonyms:
    """A WordNet without an entry."""

    def synsets(self, word: str) -> list[Any]:
        return []


class _Synonyms:
    """nltk's WordNet, each word looked up once."""

    def __init__(self) -> None:
        self.synsets = lru_cache(maxsize=50_000)(wordnet.synsets)


def meteor(
    reference: Sequence[str], response: Sequence[str], language: str = "en", synonyms: bool = False
) -> float:
    """METEOR of two lists of words, 0 to 1, with the stemmer of the language; nltk's parameters.

    `synonyms` asks WordNet too, and raises LookupError where its data is missing.
    """
    words = _synonyms() if synonyms else _NoSynonyms()
    value: float = single_meteor_score(reference, response, stemmer=_stemmer(language), wordnet=words)
    return value


def has_wordnet() -> bool:
    """Whether WordNet's data can be read here."""
    try:
        wordnet.ensure_loaded()
    except LookupError:
        return False
    return True


class Meteor:
    """METEOR with WordNet for English, and with stems only for every language.

    Setting: `language` of the eval set ("de"); an example's own `language` comes first, and without either
    that of its reference, English where it is uncertain. Version 2: py3langid detects the language.
    """

    measures = (
        fraction(
            "meteor",
            "words that match a reference exactly, by stem or by synonym, in few pieces (English)",
            f"{_SOURCE} with WordNet",
            needs=["references"],
            unit="METEOR",
            version="2",
        ),
        fraction(
            "meteor_stem",
            "words that match a reference exactly or by stem, in few pieces (any language)",
            f"{_SOURCE} without WordNet; Porter or Snowball stemmer by language",
            needs=["references"],
            unit="METEOR",
            version="2",
        ),
    )

    def __init__(self, language: str | None = None) -> None:
        self._language = check_language(language, "metrics.meteor.language")
        self._wordnet = has_wordnet()

    def score(self, example: Example, response: Response) -> list[Score]:
        if response.text is None or not example.references:
            return missing(self.measures, gap(example, response))
        references = [tokens for text in example.references if (tokens := unicode_words(text))]
        if not references:
            return missing(self.measures, NO_WORDS)
        language = language_of(example, self._language, example.references[0])
        given = unicode_words(response.text)
        stems = max(meteor(reference, given, language) for reference in references)
        return [self._with_synonyms(references, given, language), Score("meteor_stem", stems)]

    def _with_synonyms(
        self, references: Sequence[Sequence[str]], given: Sequence[str], language: str
    ) -> Score:
        if language != "en":
            return Score("meteor", None, NOT_ENGLISH)
        if not self._wordnet:
            return Score("meteor", None, NO_WORDNET)
        value = max(meteor(reference, given, synonyms=True) for reference in references)
        return Score("meteor", value)


@lru_cache
def _stemmer(language: str) -> _Stemmer:
    return _Stemmer(language)


@lru_cache
def _synonyms() -> _Synonyms:
    return _Synonyms()


def _unstemmed(word: str) -> str:
    return word
