"""Where the questions of production traffic lie: in clusters, near or far from the eval set, or beyond it.

The clusters are learned from the questions of a third of the users in the first periods; comparisons are
between those of the others, in any period and in the eval set, since questions that the clusters were learned
from lie nearer to them than others of the same kind do. Words are hashed, so that a question of unheard words
is far from all others.
"""

import heapq
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.data.coverage import clusters_for, cover, gaps, question, telling_words
from engine.data.example import Example, eval_set_version
from engine.data.meaning import Embedder
from engine.data.split import order_of
from engine.data.words import words
from engine.errors import BadInput
from engine.metrics.slices import features
from engine.traffic.periods import QuestionShift, UncoveredCluster
from engine.traffic.samples import LEARNED_SHARE, NO_MODEL, Floats, Ints, Sample, shifts, unit_number
from store import monitor as writing
from store.read import monitor
from store.read.history import Connection
from store.read.monitor import AskedQuestion

RULES = 1
LEARNED_FROM = 5_000  # questions
SURVEYED = 10_000  # questions of the newest periods that are looked through for clusters
_AT_ONCE = 2_000
_COLUMNS = 1 << 18  # of hashed words
_UNLIKE = 0.02  # of the questions learned from lie so far from their centre; those that lie farther
UNLIKE = -1  # are in this cluster


class Vectorizer(Protocol):
    """Makes rows of length 1 of texts."""

    def rows(self, texts: Sequence[str]) -> Any: ...


class _Words:
    """TF-IDF over hashed words."""

    def __init__(self, texts: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

        self._hashed: Any = HashingVectorizer(
            analyzer=lambda text: telling_words(text) or words(text),
            n_features=_COLUMNS,
            alternate_sign=False,
            norm=None,
            dtype=np.float32,
        )
        self._weights: Any = TfidfTransformer(sublinear_tf=True).fit(self._hashed.transform(texts))

    def rows(self, texts: Sequence[str]) -> Any:
        return self._weights.transform(self._hashed.transform(texts))


class _Meaning:
    """The vectors of a local model."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def rows(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._embedder.embed(texts)


class Space:
    """Clusters of questions, and the eval set's questions among them; the seed and the texts decide it."""

    def __init__(
        self,
        learned: Sequence[str],
        evaluation: Sequence[str],
        embedder: Embedder | None = None,
        seed: int = 0,
    ) -> None:
        from sklearn.cluster import MiniBatchKMeans

        texts = sorted(set(learned))
        self._vectors: Vectorizer = _Meaning(embedder) if embedder else _Words(texts)
        rows = self._vectors.rows(texts)
        clusters = min(clusters_for(len(texts)), len(texts))
        model: Any = MiniBatchKMeans(clusters, random_state=seed, n_init=3, batch_size=2048).fit(rows)
        lengths = np.linalg.norm(model.cluster_centers_, axis=1, keepdims=True)
        self._centres: Floats = model.cluster_centers_ / np.where(lengths > 0, lengths, 1.0)
        self._least = float(np.quantile((rows @ self._centres.T).max(axis=1), _UNLIKE))
        self._evaluation = self._vectors.rows(list(evaluation)) if evaluation else None

    def place(self, texts: Sequence[str]) -> tuple[Ints, Floats | None]:
        """Each text's cluster, and its distance from the nearest question of the eval set, 0 to 1."""
        rows = self._vectors.rows(texts)
        alike = rows @ self._centres.T
        clusters = np.where(alike.max(axis=1) < self._least, UNLIKE, alike.argmax(axis=1)).astype(np.int64)
        if self._evaluation is None:
            return clusters, None
        near = rows @ self._evaluation.T
        nearest = near.max(axis=1)
        nearest = nearest.toarray().ravel() if hasattr(nearest, "toarray") else nearest
        return clusters, np.clip(1 - np.asarray(nearest, dtype=np.float64), 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Places:
    """What places questions, once it is needed, and the name of the space that it places them in."""

    name: str
    space: Callable[[], Space]


def places(
    connection: Connection,
    since: float,
    before: float,
    evaluation: Sequence[Example],
    embedder: tuple[str, Embedder] | None = None,
) -> Places | None:
    """The space that the questions of a time make; None where there are none to learn from.

    `embedder` has the name that tells it from others.
    """
    asked = monitor.asked(connection, since, before)
    learned = _some((each for each in asked if unit_number(each.unit) % LEARNED_SHARE == 0), LEARNED_FROM)
    if not learned:
        return None
    told = [RULES, embedder and embedder[0], eval_set_version(evaluation), [each.id for each in learned]]
    name = blake2b(json.dumps(told).encode(), digest_size=8).hexdigest()
    texts, questions = [_text(each) for each in learned], [question(example) for example in evaluation]
    return Places(name, cache(lambda: Space(texts, questions, embedder and embedder[1])))


def place_questions(
    connection: Connection, places: Places, progress: Callable[[int], None] | None = None
) -> None:
    """Gives each event its place in the space, but for those that have one there."""
    done = row = 0
    while portion := monitor.unplaced(connection, places.name, row, _AT_ONCE):
        texts = {each.id: _text(each) for each in portion}
        different = sorted(set(texts.values()))
        clusters, distances = places.space().place(different)
        at = {text: number for number, text in enumerate(different)}
        writing.place(
            connection,
            places.name,
            [
                (event, int(clusters[at[text]]), None if distances is None else float(distances[at[text]]))
                for event, text in texts.items()
            ],
        )
        done, row = done + len(portion), portion[-1].row
        if progress:
            progress(done)


def sample_of_set(evaluation: Sequence[Example], places: Places) -> Sample:
    """The eval set's questions as a sample that those of traffic are compared with."""
    # Each somebody else's, and none learned from.
    return _sample(evaluation, np.arange(len(evaluation)) * LEARNED_SHARE + 1, places.space())


def shifts_from_traffic(
    connection: Connection, since: float, before: float, examples: Sequence[Example]
) -> list[QuestionShift]:
    """How the examples' questions differ from those of a time's traffic in each respect; [] without any."""
    by_use: tuple[list[AskedQuestion], list[AskedQuestion]] = ([], [])
    for each in monitor.asked(connection, since, before):
        by_use[unit_number(each.unit) % LEARNED_SHARE == 0].append(each)
    others, learned = _some(by_use[False], SURVEYED), _some(by_use[True], LEARNED_FROM)
    if not others or not learned:
        return []
    space = Space([_text(each) for each in learned], ())
    units = np.array([unit_number(each.unit) for each in others])
    production = _sample([_asked(each) for each in others], units, space)
    own = np.arange(len(examples)) * LEARNED_SHARE + 1
    return shifts(production, _sample(examples, own, space))


def _sample(examples: Sequence[Example], units: Ints, space: Space) -> Sample:
    """Questions of those units by cluster and trait, without measures of answers."""
    clusters, _ = space.place([question(example) for example in examples])
    told = [frozenset(name for name in features(one) if not name.startswith("category")) for one in examples]
    return Sample(
        np.full(len(examples), np.nan),
        units,
        {},
        clusters,
        {name: np.array([name in own for own in told]) for name in sorted(set().union(*told))},
        np.full(len(examples), NO_MODEL, dtype=object),
    )


def _asked(each: AskedQuestion) -> Example:
    turns = json.loads(each.messages)
    said = [turn["content"] for turn in turns if turn.get("role") == "user"]
    return Example(each.id, said[-1] if said and isinstance(said[-1], str) else "", tuple(turns))


def _some(asked: Iterable[AskedQuestion], most: int) -> list[AskedQuestion]:
    """At most so many, chosen by a hash of the event: the same ones whatever the order."""
    return [each for _, _, each in heapq.nsmallest(most, ((order_of(a.id), a.id, a) for a in asked))]


def _text(asked: AskedQuestion) -> str:
    return question(_asked(asked))


def uncovered(
    connection: Connection, since: float, before: float, evaluation: Sequence[Example], seed: int = 0
) -> list[UncoveredCluster]:
    """The clusters of a time's questions in which the eval set has none, the largest first.

    The rules are those of `assay coverage`: a cluster has 1 % or more of what is asked.
    """
    surveyed = _some(monitor.asked(connection, since, before), SURVEYED)
    texts = [_text(asked) for asked in surveyed]
    asked = [question(example) for example in evaluation]
    try:
        coverage = cover({"eval": asked, "traffic": texts}, seed=seed)
    except BadInput:  # nothing that words could group
        return []
    members = coverage.members["traffic"]
    times = monitor.times_of(connection, [each.id for each in surveyed])
    found = []
    for gap in gaps(coverage, "traffic", "eval"):
        cluster = coverage.clusters[gap.cluster]
        if cluster.sizes["eval"] == 0:
            inside = [surveyed[place] for place in np.flatnonzero(members == gap.cluster)]
            by_text = {text: each.id for text, each in zip(texts, surveyed, strict=True)}
            found.append(
                UncoveredCluster(
                    cluster.label,
                    len(inside),
                    gap.wanted,
                    gap.wanted * len(evaluation),
                    min(times[each.id] for each in inside),
                    [(by_text[text], text) for text in cluster.examples if text in by_text],
                    [each.id for each in inside],
                )
            )
    return found
