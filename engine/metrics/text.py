"""Tokenizes and normalises text in every script.

English text is tokenized as SQuAD does it. Beyond ASCII that rule finds no words where a script puts no space
between them, so there the rules here apply.
"""

import re
import string
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.metrics.lean_nltk import PorterStemmer


# Thai, Lao, Myanmar, Khmer, Kana, Han: scripts that put no space between words.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_ARTICLES = re.compile(r"\b(a|an|the)\b")

# Porter's algorithm costs far more than everything else in ROUGE, and texts repeat their words.


@lru_cache(maxsize=200_000)
def porter_stem(word: str) -> str:
    """The word's stem (Porter 1980, with nltk's extensions)."""
    return str(_porter().stem(word))


@lru_cache(maxsize=1)
def _porter() -> "PorterStemmer":
    # Loaded with the first stem: the screens only split words and do not need it.
    from engine.metrics.lean_nltk import PorterStemmer

    return PorterStemmer()


def spaced(text: str) -> str:
    """The text with spaces around each character of a script without word spaces."""
    return text if text.isascii() else _UNSPACED.sub(r" \g<0> ", text)


def unicode_words(text: str) -> list[str]:
    """Runs of letters, marks and digits in any script, in lower case after NFKC.

    Chinese, Japanese, Thai and other unspaced scripts give one token per character.
    """
    folded = unicodedata.normalize("NFKC", text).lower()
    return spaced("".join(map(_word_character, folded))).split()


def words(text: str) -> list[str]:
    """Tokens between white space, case and punctuation kept; unspaced scripts by the character."""
    return spaced(text).split()


def normalise_answer(text: str) -> str:
    """SQuAD's normal form of an answer, widened to Unicode.

    NFKC; case folded; punctuation (ASCII's and Unicode's) deleted; the articles a, an, the deleted; white
    space collapsed. On ASCII text it equals `normalize_answer` of the SQuAD 1.1 evaluation script, but for
    one thing: a text that consists of nothing else keeps its articles, or its punctuation, for else the
    option "A" would equal an empty answer, and "+" would equal "-".
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    unpunctuated = "".join(char for char in folded if not _is_punctuation(char))
    bare = _ARTICLES.sub(" ", unpunctuated)
    return next((kept for form in (bare, unpunctuated, folded) if (kept := " ".join(form.split()))), "")


@lru_cache(maxsize=100_000)
def _word_character(char: str) -> str:
    """The character if words are made of it, nothing for invisible joiners, else a space."""
    category = unicodedata.category(char)
    if category[0] in "LMN":
        return char
    return "" if category == "Cf" else " "


def _is_punctuation(char: str) -> bool:
    return char in string.punctuation or unicodedata.category(char).startswith("P")
