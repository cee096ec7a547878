"""How far two sets of queries lie apart: by length, words, category, cluster, and to a classifier."""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from math import log

import numpy as np

from engine.data.vectors import Vectors
from engine.data.words import words
from engine.errors import BadInput

FEW = 20  # texts of each set, below which a classifier says nothing
MOST = 2_000
FOLDS = 5
# The usual reading of a population stability index: below the first stable, above the second shifted.
PSI_LEVELS = (0.1, 0.25)


@dataclass(frozen=True, slots=True)
class TwoSample:
    """Whether a classifier tells two sets apart: accuracy (0.5 when they are alike) and p-value.

    All None, with a reason, where that cannot be asked.
    """

    accuracy: float | None
    p: float | None
    n: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Drift:
    """Population stability indices (0 when alike), the share of the second set's words that the first lacks.

    `category` is None unless both sets have categories, `cluster` where no clusters were given.
    """

    length: float
    vocabulary: float
    unseen_words: float
    category: float | None
    cluster: float | None
    classifier: TwoSample


def psi(expected: Iterable[Hashable], found: Iterable[Hashable]) -> float:
    """The population stability index of two samples of classes: Σ (q − p) ln(q / p), symmetric, 0 or more.

    Half a count is added to each class, so that one that a sample lacks does not make it infinite.
    """
    first, second = Counter(expected), Counter(found)
    classes = sorted(first.keys() | second.keys(), key=repr)
    if len(classes) < 2:
        return 0.0
    p = [(first[one] + 0.5) / (first.total() + 0.5 * len(classes)) for one in classes]
    q = [(second[one] + 0.5) / (second.total() + 0.5 * len(classes)) for one in classes]
    return sum((b - a) * log(b / a) for a, b in zip(p, q, strict=True))


def drift(
    first: Sequence[str],
    second: Sequence[str],
    categories: tuple[Sequence[str | None], Sequence[str | None]] | None = None,
    clusters: tuple[Sequence[int], Sequence[int]] | None = None,
    seed: int = 0,
) -> Drift:
    """How far the second set's texts lie from the first's. Raises ValueError when either is empty."""
    if not first or not second:
        raise ValueError("drift is between two sets of texts")
    split = [[words(text) for text in texts] for texts in (first, second)]
    lengths = [np.array([len(text) for text in texts]) for texts in split]
    edges = np.unique(np.quantile(lengths[0], np.linspace(0.1, 0.9, 9)))
    binned = [np.searchsorted(edges, one, "left").tolist() for one in lengths]
    used = [Counter(word for text in texts for word in text) for texts in split]
    unseen = sum(count for word, count in used[1].items() if word not in used[0])
    named = (
        categories
        if categories and all(any(one is not None for one in part) for part in categories)
        else None
    )
    return Drift(
        length=psi(*binned),
        vocabulary=_divergence(used[0], used[1]),
        unseen_words=unseen / max(used[1].total(), 1),
        category=psi(*named) if named else None,
        cluster=psi(*clusters) if clusters else None,
        classifier=two_sample(first, second, seed),
    )


def _divergence(first: Counter[str], second: Counter[str]) -> float:
    """The Jensen–Shannon divergence of two word distributions, in bits: 0 alike, 1 no word in common."""
    total = 0.0
    sums = max(first.total(), 1), max(second.total(), 1)
    for word in first.keys() | second.keys():
        p, q = first[word] / sums[0], second[word] / sums[1]
        for one in (p, q):
            if one:
                total += 0.5 * one * log(2 * one / (p + q), 2)
    return total


def two_sample(first: Sequence[str], second: Sequence[str], seed: int = 0) -> TwoSample:
    """The classifier two-sample test (Lopez-Paz and Oquab 2017): logistic regression over TF-IDF.

    Each set gives at most MOST different texts, both equally many; the accuracy is over FOLDS held-out parts,
    its p-value that of a fair coin doing as well. Texts in both sets count for neither.
    """
    common = set(first) & set(second)
    pools = [sorted(set(texts) - common) for texts in (first, second)]
    size = min(*map(len, pools), MOST)
    if size < FEW:
        return TwoSample(None, None, 2 * size, f"each set needs {FEW} texts that the other lacks")
    from scipy.stats import binomtest
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    generator = np.random.default_rng(seed)
    texts = [pool[at] for pool in pools for at in generator.choice(len(pool), size, replace=False)]
    labels = np.repeat([0, 1], size)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    try:
        matrix = Vectors(texts).of(texts)
    except BadInput as error:
        return TwoSample(None, None, 2 * size, error.message)
    told = cross_val_predict(LogisticRegression(max_iter=1000), matrix, labels, cv=folds)
    right = int((told == labels).sum())
    p = float(binomtest(right, 2 * size, 0.5, alternative="greater").pvalue)
    return TwoSample(right / (2 * size), p, 2 * size)
