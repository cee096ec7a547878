"""How an eval set's queries compare with other sets: topic clusters, gaps and drift.

`assay coverage` reports it against training data and a log of production queries. Texts become TF-IDF vectors
by scikit-learn, which is imported when the first vectors are made.
"""

import heapq
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isqrt, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.duplicates import DuplicateGroup, conflicts, copies
from engine.data.example import Example, eval_set_version
from engine.data.leak import turns_of
from engine.data.split import order_of
from engine.data.words import words
from engine.errors import BadInput
from engine.stats.family import smallest_change
from store.read.query import by_key

_MOST_WORDS = 20_000


class Vectors:
    """A vocabulary learned from texts, without numbers and English function words.

    Where the texts have no others, those count too. Vectors have length 1, so that their products are
    cosines. Raises BadInput when no text has a word.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        # A word that occurs in only one text groups nothing.
        least = 2 if len(texts) > 200 else 1
        analyzer = telling_words if any(telling_words(text) for text in texts) else words
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


def telling_words(text: str) -> list[str]:
    """A text's words without numbers and English function words."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return [word for word in words(text) if word not in ENGLISH_STOP_WORDS and not word.isdigit()]


MOST_CLUSTERS = 20
LEARNED_FROM = 10_000  # texts of each set; the others are only counted
LABEL_WORDS = 3
SHOWN = 3


@dataclass(frozen=True, slots=True)
class Cluster:
    """Queries that share words: the words that set them apart, sizes by set, and the most typical queries."""

    label: str
    sizes: dict[str, int]
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Coverage:
    """`members[set][i]` is the cluster of that set's i-th text, as a place in `clusters` (largest first)."""

    clusters: tuple[Cluster, ...]
    members: dict[str, NDArray[np.int64]]

    def shares(self, name: str) -> NDArray[np.float64]:
        """The share of a set's texts in each cluster."""
        counts = np.bincount(self.members[name], minlength=len(self.clusters))
        shares: NDArray[np.float64] = counts / max(counts.sum(), 1)
        return shares


@dataclass(frozen=True, slots=True)
class Gap:
    """A cluster that one set asks about and another lacks: its shares there, and the missing texts."""

    cluster: int
    wanted: float
    found: float
    missing: int


def cover(sets: Mapping[str, Sequence[str]], clusters: int | None = None, seed: int = 0) -> Coverage:
    """Groups all sets' texts by TF-IDF and k-means into the same clusters.

    Without a number of clusters, about the square root of half the texts, at most MOST_CLUSTERS. The seed and
    the texts decide, not their order. Raises BadInput for fewer than two different texts.
    """
    from sklearn.cluster import MiniBatchKMeans

    learned = sorted({text for texts in sets.values() for text in _few(texts, seed)})
    if len(learned) < 2:
        raise BadInput("fewer than two different questions cannot be grouped")
    wanted = clusters or clusters_for(len(learned))
    vectors = Vectors(learned)
    matrix = vectors.of(learned)
    model: Any = MiniBatchKMeans(min(wanted, len(learned)), random_state=seed, n_init=3, batch_size=2048).fit(
        matrix
    )
    found = {
        name: np.asarray(model.predict(vectors.of(texts)), np.int64) for name, texts in sets.items() if texts
    }
    found |= {name: np.empty(0, np.int64) for name, texts in sets.items() if not texts}
    return _coverage(sets, found, vectors, model.cluster_centers_, matrix.mean(axis=0).A1)


def clusters_for(texts: int) -> int:
    """How many clusters so many texts are put into."""
    return min(max(isqrt(texts // 2), 2), MOST_CLUSTERS)


def _few(texts: Sequence[str], seed: int) -> Sequence[str]:
    if len(texts) <= LEARNED_FROM:
        return texts
    return sorted(set(texts), key=lambda text: order_of(text, seed))[:LEARNED_FROM]


def _coverage(
    sets: Mapping[str, Sequence[str]],
    found: Mapping[str, NDArray[np.int64]],
    vectors: Vectors,
    centres: NDArray[np.float64],
    middle: NDArray[np.float64],
) -> Coverage:
    sizes = {name: np.bincount(members, minlength=len(centres)) for name, members in found.items()}
    order = np.argsort(-sum(sizes.values(), np.zeros(len(centres), np.int64)), kind="stable")
    order = order[[any(size[number] for size in sizes.values()) for number in order]]
    place = np.full(len(centres), -1)
    place[order] = np.arange(len(order))
    clusters = []
    for number in order:
        above = centres[number] - middle
        telling = [word for word in np.argsort(-above, kind="stable")[:LABEL_WORDS] if above[word] > 0]
        clusters.append(
            Cluster(
                label=" · ".join(vectors.words[word] for word in telling),
                sizes={name: int(size[number]) for name, size in sizes.items()},
                examples=_typical(sets, found, vectors, centres[number], number),
            )
        )
    return Coverage(tuple(clusters), {name: place[members] for name, members in found.items()})


def _typical(
    sets: Mapping[str, Sequence[str]],
    found: Mapping[str, NDArray[np.int64]],
    vectors: Vectors,
    centre: NDArray[np.float64],
    number: int,
) -> tuple[str, ...]:
    """The texts nearest to the centre, of a few hundred."""
    texts = dict.fromkeys(
        sets[name][at] for name, members in found.items() for at in np.flatnonzero(members == number)[:200]
    )
    few = list(texts)
    nearness = vectors.of(few) @ centre
    return tuple(few[at] for at in np.argsort(-nearness, kind="stable")[:SHOWN])


def gaps(coverage: Coverage, asked: str, against: str) -> list[Gap]:
    """Clusters with 1 % or more of the set `asked` whose share in `against` is below half of that.

    `missing` is how many of its texts would have to be of the cluster for it to have that share. The widest
    gap goes first.
    """
    wanted, found = coverage.shares(asked), coverage.shares(against)
    total = len(coverage.members[against])
    lacking = [
        Gap(
            number,
            float(wanted[number]),
            float(found[number]),
            int(np.ceil((wanted[number] - found[number]) * total)),
        )
        for number in range(len(coverage.clusters))
        if wanted[number] >= 0.01 and found[number] < 0.5 * wanted[number]
    ]
    return sorted(lacking, key=lambda gap: gap.found - gap.wanted)


def draw(
    texts: Sequence[str], members: NDArray[np.int64], count: int, *, balanced: bool = False, seed: int = 0
) -> list[int]:
    """`count` places in `texts`, each question once, that keep the clusters' proportions or balance them.

    Within a cluster a hash of the text decides, so that neither order nor repetition does. Fewer than `count`
    come back where there are not so many different questions.
    """
    first: dict[str, int] = {}
    for place, text in enumerate(texts):
        first.setdefault(" ".join(text.casefold().split()), place)
    queues = by_key(
        (int(members[place]), place)
        for place in sorted(first.values(), key=lambda at: order_of(texts[at], seed))
    )
    weights = {cluster: 1.0 if balanced else float((members == cluster).sum()) for cluster in queues}
    chosen: list[int] = []
    taken = dict.fromkeys(queues, 0)
    while len(chosen) < count and queues:
        # The cluster furthest below its share (Sainte-Laguë), the lowest number where several are.
        cluster = max(sorted(queues), key=lambda one: weights[one] / (2 * taken[one] + 1))
        chosen.append(queues[cluster].pop(0))
        taken[cluster] += 1
        if not queues[cluster]:
            del queues[cluster]
    return sorted(chosen)


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
    """How far the second set's texts differ from the first's. Raises ValueError when either is empty."""
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


TOLD = 100_000  # characters of a question that are grouped by
TRAINING_ROWS = 20_000  # of the training data, chosen by hash: enough for shares


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found; `gaps` are what the log asks and the eval set lacks, `drifts` by the other set."""

    version: str
    sizes: dict[str, int]
    smallest_change: float
    coverage: Coverage
    gaps: list[Gap]
    drifts: dict[str, Drift]
    duplicates: list[DuplicateGroup]
    conflicts: list[tuple[Example, Example]]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        clusters = [asdict(cluster) for cluster in self.coverage.clusters]
        return {
            "version": self.version,
            "sizes": self.sizes,
            "smallest_change": self.smallest_change,
            "clusters": clusters,
            "gaps": [asdict(gap) | {"label": clusters[gap.cluster]["label"]} for gap in self.gaps],
            "drift": {name: asdict(found) for name, found in self.drifts.items()},
            "duplicates": [asdict(group) for group in self.duplicates],
            "conflicts": [[one.line, other.line] for one, other in self.conflicts],
        }


def survey(
    evaluation: Sequence[Example],
    train: Iterable[Example] | None = None,
    log: Sequence[Example] | None = None,
    clusters: int | None = None,
    seed: int = 0,
) -> Survey:
    """Compares the eval set with the others by what they ask; the training data are read as a stream."""
    others: dict[str, Sequence[Example]] = {}
    if train is not None:
        others["train"] = thinned(train, TRAINING_ROWS, seed)
    if log is not None:
        others["log"] = log
    sets = {"eval": evaluation, **{name: rows for name, rows in others.items() if rows}}
    texts = {name: [question(row) for row in rows] for name, rows in sets.items()}
    coverage = cover(texts, clusters, seed)
    return Survey(
        version=eval_set_version(evaluation),
        sizes={name: len(rows) for name, rows in sets.items()},
        smallest_change=smallest_change(len(evaluation)),
        coverage=coverage,
        gaps=gaps(coverage, "log", "eval") if "log" in sets else [],
        drifts={
            name: drift(
                texts["eval"],
                texts[name],
                ([row.category for row in evaluation], [row.category for row in rows]),
                (coverage.members["eval"].tolist(), coverage.members[name].tolist()),
                seed,
            )
            for name, rows in sets.items()
            if name != "eval"
        },
        duplicates=copies(evaluation),
        conflicts=list(conflicts(evaluation)),
    )


def question(example: Example) -> str:
    """The user's turns as one text, of which the first characters tell what it is about."""
    return "\n".join(turns_of(example, "user"))[:TOLD]


def thinned(rows: Iterable[Example], count: int, seed: int = 0) -> list[Example]:
    """At most `count` rows, chosen by a hash of the question: the same ones whatever the order."""
    numbered = ((order_of(row.query, seed), -place, row) for place, row in enumerate(rows))
    return [row for _, _, row in heapq.nsmallest(count, numbered)]


def sampled_records(
    log: Sequence[Example], places: Sequence[int], coverage: Coverage
) -> list[dict[str, Any]]:
    """Drawn rows as records of a new eval file, with their cluster; references are for a person to add."""
    members = np.asarray(coverage.members["log"])
    return [_record(log[place], coverage.clusters[int(members[place])].label) for place in places]


def _record(row: Example, cluster: str) -> dict[str, Any]:
    asked = {"query": row.query} if len(row.messages) == 1 else {"messages": list(row.messages)}
    known = {"references": list(row.references), "category": row.category, "group": row.group}
    return asked | {key: value for key, value in known.items() if value} | {"cluster": cluster}
