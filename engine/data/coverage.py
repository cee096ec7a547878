"""What the queries are about, in clusters, and what one set of them asks that another lacks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.split import order_of
from engine.data.vectors import Vectors
from engine.errors import BadInput

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
    """A cluster that one set asks for and another lacks: its shares there, and how many texts are missing."""

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
    wanted = clusters or min(max(isqrt(len(learned) // 2), 2), MOST_CLUSTERS)
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


def gaps(coverage: Coverage, asked: str, against: str, least: float = 0.01, ratio: float = 0.5) -> list[Gap]:
    """Clusters with at least `least` of the set `asked` whose share in `against` is below `ratio` of that.

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
        if wanted[number] >= least and found[number] < ratio * wanted[number]
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
    queues: dict[int, list[int]] = {}
    for place in sorted(first.values(), key=lambda at: order_of(texts[at], seed)):
        queues.setdefault(int(members[place]), []).append(place)
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
