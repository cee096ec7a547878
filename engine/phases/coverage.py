"""Part of the first phase: what the eval set asks beside the other sets, and where it repeats itself."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from engine.data.coverage import Coverage, cover, gaps
from engine.data.drift import drift
from engine.data.duplicates import conflicts, copies
from engine.data.example import Example
from engine.data.rows import data_rows
from engine.data.survey import question, thinned
from engine.errors import BadInput
from engine.phases.work import Work

SAMPLED = 3000  # rows of each set, chosen by hash: enough for shares, and a matter of a second
_TOLD = 5  # pairs that an event names
_SHOWN, _LENGTH = 2, 160  # typical questions of a cluster, and characters of each


def coverage(work: Work, everything: Sequence[Example], trained: Sequence[Example]) -> dict[str, Any]:
    """Clusters of what is asked, what the eval set lacks of the query log, how far the sets lie apart.

    For JSON; sizes are those of the SAMPLED rows. What cannot be grouped has a `reason` in its place.
    """
    data = work.plan.data
    sets: dict[str, Sequence[Example]] = {"eval": everything, "train": trained}
    if len(everything) > SAMPLED:
        sets["eval"] = thinned(everything, SAMPLED, data.seed)
    if data.queries is not None:
        asked = (row for row in data_rows(data.queries, data.fields) if row.query.strip())
        sets["log"] = thinned(asked, SAMPLED, data.seed)
    sets = {name: rows for name, rows in sets.items() if rows}
    try:
        return _covered(sets, data.seed)
    except BadInput as error:
        return {"reason": error.message}


def _covered(sets: Mapping[str, Sequence[Example]], seed: int) -> dict[str, Any]:
    texts = {name: [question(row) for row in rows] for name, rows in sets.items()}
    found = cover(texts, seed=seed)
    lacking = gaps(found, "log", "eval") if "log" in sets else []
    return {
        "sizes": {name: len(rows) for name, rows in sets.items()},
        "clusters": [
            {
                "label": cluster.label,
                "sizes": cluster.sizes,
                "examples": [text[:_LENGTH] for text in cluster.examples[:_SHOWN]],
            }
            for cluster in found.clusters
        ],
        "gaps": [asdict(gap) | {"label": found.clusters[gap.cluster].label} for gap in lacking],
        "drift": {name: _drift(name, sets, texts, found, seed) for name in sets if name != "eval"},
    }


def _drift(
    name: str,
    sets: Mapping[str, Sequence[Example]],
    texts: Mapping[str, Sequence[str]],
    found: Coverage,
    seed: int,
) -> dict[str, Any]:
    ours, theirs = ([row.category for row in sets[one]] for one in ("eval", name))
    members = found.members["eval"].tolist(), found.members[name].tolist()
    return asdict(drift(texts["eval"], texts[name], (ours, theirs), members, seed))


def repeated(work: Work, everything: Sequence[Example]) -> int:
    """How many pairs of examples are one example twice; these and contradictions are told with lines."""
    pairs = copies(everything)
    same = [(everything[pair.first], everything[pair.second]) for pair in pairs]
    _tell(work, "examples ask nearly the same and expect the same, so that they weigh double", same)
    _tell(work, "examples ask the same and expect different answers", list(conflicts(everything)))
    return len(pairs)


def _tell(work: Work, what: str, pairs: Sequence[tuple[Example, Example]]) -> None:
    if not pairs:
        return
    lines = "; ".join(f"{one.line} and {other.line}" for one, other in pairs[:_TOLD])
    more = f"; and {len(pairs) - _TOLD} more pairs" if len(pairs) > _TOLD else ""
    work.recorder.event("warning", "data", f"{what}: lines {lines}{more}")
