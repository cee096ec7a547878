"""Texts as TF-IDF vectors over words, by scikit-learn, which is imported when one is made."""

from collections.abc import Sequence
from typing import Any

from engine.data.words import words
from engine.errors import BadInput

_MOST_WORDS = 20_000


class Vectors:
    """A vocabulary learned from texts, without numbers and English function words.

    Where the texts have no others, those count too. Vectors have length 1, so that their products are
    cosines. Raises BadInput when no text has a word.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer

        def telling(text: str) -> list[str]:
            return [word for word in words(text) if word not in ENGLISH_STOP_WORDS and not word.isdigit()]

        # A word that stands in one text of many groups nothing.
        least = 2 if len(texts) > 200 else 1
        analyzer = telling if any(telling(text) for text in texts) else words
        self._vectoriser: Any = TfidfVectorizer(
            analyzer=analyzer, sublinear_tf=True, max_features=_MOST_WORDS, min_df=least
        )
        try:
            self._vectoriser.fit(texts)
        except ValueError as error:
            raise BadInput(f"the questions cannot be grouped by their words: {error}") from error
        self.words: list[str] = self._vectoriser.get_feature_names_out().tolist()

    def of(self, texts: Sequence[str]) -> Any:
        """A sparse matrix, shape (texts, words)."""
        return self._vectoriser.transform(texts)
