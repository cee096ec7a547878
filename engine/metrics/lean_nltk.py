"""The parts of nltk and rouge-score that Assay uses, without the libraries that `import nltk` loads.

nltk's own start imports scikit-learn, pandas and SciPy for a classifier and a few statistics that nothing
here uses, each of them optional to it: 1.4 s of CPU in every process that scores, against 0.2 s without.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _absent(*names: str) -> Iterator[None]:
    """Lets imports of these packages fail as if they were not installed; those loaded already stay."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # import's own mark for "not to be found"
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with _absent("sklearn", "scipy"):
    from nltk.corpus import wordnet
    from nltk.stem.porter import PorterStemmer
    from nltk.stem.snowball import SnowballStemmer
    from nltk.tokenize.destructive import NLTKWordTokenizer
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer
    from nltk.translate.bleu_score import (
        SmoothingFunction,
        closest_ref_length,
        modified_precision,
        sentence_bleu,
    )
    from nltk.translate.meteor_score import single_meteor_score
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.scoring import fmeasure
    from rouge_score.tokenizers import Tokenizer as RougeTokenizer

__all__ = [
    "NLTKWordTokenizer", "PorterStemmer", "PunktParameters", "PunktSentenceTokenizer", "RougeScorer",
    "RougeTokenizer", "SmoothingFunction", "SnowballStemmer", "closest_ref_length", "fmeasure",
    "modified_precision", "sentence_bleu", "single_meteor_score", "wordnet",
]  # fmt: skip
