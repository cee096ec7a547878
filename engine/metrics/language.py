"""Language detection by py3langid.

py3langid reads byte n-grams (Lui & Baldwin 2012) and gives a probability: 5 MB of model, loaded with the
first text in half a second, a tenth of a millisecond a text. A short text, and one between two similar
languages, stays undecided.
"""

import re
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING

from engine.data.example import Example
from engine.errors import BadInput

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

SURE = 0.5  # the probability from which on a language is told
_POSSIBLE = 0.05  # the probability from which on a language is not ruled out
_MENTIONED = 0.1
_SAMPLE = 4000  # characters: enough to tell, and quick on a runaway response
_NO_LANGUAGE = "zxx"  # py3langid's label for text that is in none, such as code
_NORWEGIAN = ("no", "nn", "nb")


class UnknownLanguage(Exception):
    """The language of a text is uncertain; the message says why."""


def detect(text: str) -> str | None:
    """The language of a text as a two-letter code, or None where it is uncertain."""
    language, probability = next(iter(_ranked(text[:_SAMPLE]).items()))
    return language if probability >= SURE and language != _NO_LANGUAGE else None


def is_in(text: str, language: str) -> tuple[bool, str]:
    """Whether a text is in a language, and the code of the language that it is in.

    Raises UnknownLanguage where the text allows both answers: too short, or in the language or its neighbour.
    """
    wanted = _folded(language)
    if wanted not in languages():
        raise UnknownLanguage(f"the language {language} is not among those that can be detected")
    ranked = _ranked(text[:_SAMPLE])
    first, probability = next(iter(ranked.items()))
    if probability >= SURE and first != _NO_LANGUAGE:
        if first == wanted:
            return True, first
        if ranked[wanted] < _POSSIBLE:
            return False, first
    likely = [f"{name} {share:.0%}" for name, share in list(ranked.items())[:2] if share >= _MENTIONED]
    guesses = f" (perhaps {', '.join(likely)})" if likely else ""
    raise UnknownLanguage(f"the language of the response is uncertain{guesses}")


def languages() -> tuple[str, ...]:
    """The two-letter codes of the detectable languages, sorted."""
    return tuple(sorted({_folded(name) for name in _identifier().nb_classes} - {_NO_LANGUAGE}))


def script_language(text: str) -> str:
    """The language to treat a text as: the detected one, else English."""
    return detect(text) or "en"


def language_of(example: Example, default: str | None, text: str) -> str:
    """The language that the example names (`language`), else the eval set's, else that of the text."""
    named = example.extra.get("language", default)
    return named.lower()[:2] if isinstance(named, str) and named else script_language(text)


def check_language(value: object, where: str) -> str | None:
    """A setting's language as a two-letter code, None when not set; BadInput for what is none."""
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch("[A-Za-z]{2}(-.*)?", value):
        raise BadInput(
            f'{where}: expected a language such as "de", found {value!r}.',
            "Languages are named by their two letters (ISO 639-1).",
        )
    return value.lower()[:2]


@lru_cache(maxsize=8)  # several measures ask of one answer and its question
def _ranked(text: str) -> dict[str, float]:
    """The probability of each language, the likeliest first."""
    ranked: list[tuple[str, float]] = _identifier().rank(text)
    norwegian = sum(probability for name, probability in ranked if name in _NORWEGIAN)
    others = ((name, probability) for name, probability in ranked if name not in _NORWEGIAN)
    return dict(sorted((*others, (_NORWEGIAN[0], norwegian)), key=itemgetter(1), reverse=True))


def _folded(language: str) -> str:
    """The code of a language: Bokmål and Nynorsk are both Norwegian."""
    return _NORWEGIAN[0] if language in _NORWEGIAN else language


@lru_cache(maxsize=1)
def _identifier() -> "LanguageIdentifier":
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    # Dialects and languages without a two-letter code would take probability from the ones asked for.
    identifier.set_languages([name for name in identifier.labels if len(name) == 2 or name == _NO_LANGUAGE])
    return identifier
