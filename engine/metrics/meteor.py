"""METEOR: words aligned with a reference exactly, by stem and, for English, by WordNet's synonyms."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

from engine.data.example import Example
from engine.errors import BadInput
from engine.metrics.language import check_language, language_of
from engine.metrics.lean_nltk import SnowballStemmer, single_meteor_score, wordnet
from engine.metrics.metric import Score, fraction, gap, missing
from engine.metrics.overlap import NO_WORDS
from engine.metrics.text import porter_stem, unicode_words
from engine.models.model import Response

NO_WORDNET = (
    "WordNet's data is not on this machine: `python -m nltk.downloader wordnet` gets it, or copy "
    "corpora/wordnet.zip into a folder that NLTK_DATA names; meteor_stem needs none"
)
NOT_ENGLISH = "WordNet's synonyms are English; meteor_stem measures other languages"
_SOURCE = "Banerjee & Lavie 2005, Lavie & Agarwal 2007; nltk meteor_score"
_USUAL = MappingProxyType({"alpha": 0.9, "beta": 3.0, "gamma": 0.5})  # nltk's parameters
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
    reference: Sequence[str],
    response: Sequence[str],
    language: str = "en",
    synonyms: bool = False,
    parameters: Mapping[str, float] = _USUAL,
) -> float:
    """METEOR of two lists of words, 0 to 1, with the stemmer of the language.

    `synonyms` asks WordNet too, and raises LookupError where its data is missing.
    """
    words = _synonyms() if synonyms else _NoSynonyms()
    value: float = single_meteor_score(
        reference, response, stemmer=_stemmer(language), wordnet=words, **parameters
    )
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

    Settings: `language` of the eval set ("de"); an example's own `language` comes first, and without either
    that of its reference, English where it is uncertain. `alpha`, `beta` and `gamma`, the weight of recall,
    the power and the weight of the penalty for pieces: others than nltk's stand in the names. Version 2:
    py3langid detects the language.
    """

    def __init__(
        self, language: str | None = None, alpha: float = 0.9, beta: float = 3.0, gamma: float = 0.5
    ) -> None:
        self._language = check_language(language, "metrics.meteor.language")
        self._wordnet = has_wordnet()
        told = {"alpha": alpha, "beta": beta, "gamma": gamma}
        for name, value in told.items():
            high = np.inf if name == "beta" else 1.0
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= high:
                limit = "a number from 0" + " to 1" * (name != "beta")
                raise BadInput(f"metrics.meteor.{name}: found {value!r}; allowed: {limit}")
        self._parameters = {name: float(value) for name, value in told.items()}
        variant = "".join(
            f"_{name}{value:g}" for name, value in self._parameters.items() if value != _USUAL[name]
        )
        parameters = ", ".join(f"{name} {value:g}" for name, value in self._parameters.items())
        source = f"{_SOURCE}, {parameters}, "
        self.measures = (
            fraction(
                f"meteor{variant}",
                "words that match a reference exactly, by stem or by synonym, in few pieces (English)",
                f"{source}with WordNet",
                needs=["references"],
                unit="METEOR",
                version="2",
            ),
            fraction(
                f"meteor_stem{variant}",
                "words that match a reference exactly or by stem, in few pieces (any language)",
                f"{source}without WordNet; Porter or Snowball stemmer by language",
                needs=["references"],
                unit="METEOR",
                version="2",
            ),
        )

    def score(self, example: Example, response: Response) -> list[Score]:
        if response.text is None or not example.references:
            return missing(self.measures, gap(example, response))
        references = [tokens for text in example.references if (tokens := unicode_words(text))]
        if not references:
            return missing(self.measures, NO_WORDS)
        language = language_of(example, self._language, example.references[0])
        given = unicode_words(response.text)
        with_synonyms, stem = (measure.name for measure in self.measures)
        return [
            self._with_synonyms(with_synonyms, references, given, language),
            Score(stem, self._best(references, given, language, synonyms=False)),
        ]

    def _with_synonyms(
        self, name: str, references: Sequence[Sequence[str]], given: Sequence[str], language: str
    ) -> Score:
        if language != "en":
            return Score(name, None, NOT_ENGLISH)
        if not self._wordnet:
            return Score(name, None, NO_WORDNET)
        return Score(name, self._best(references, given, language, synonyms=True))

    def _best(
        self, references: Sequence[Sequence[str]], given: Sequence[str], language: str, synonyms: bool
    ) -> float:
        return max(meteor(one, given, language, synonyms, self._parameters) for one in references)


@lru_cache
def _stemmer(language: str) -> _Stemmer:
    return _Stemmer(language)


@lru_cache
def _synonyms() -> _Synonyms:
    return _Synonyms()


def _unstemmed(word: str) -> str:
    return word
