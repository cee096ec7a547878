"""An eval set beside training data and a log of production queries: what `assay coverage` reports."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from engine.data.coverage import Coverage, Gap, cover, gaps
from engine.data.drift import Drift, drift
from engine.data.duplicates import Duplicate, conflicts, copies
from engine.data.example import Example, eval_set_version
from engine.data.leak import turns_of
from engine.data.power import smallest_change
from engine.data.split import order_of

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
    duplicates: list[Duplicate]
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
            "duplicates": [asdict(pair) for pair in self.duplicates],
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
