"""Part of the first phase: which examples stand in the training data, or in eval sets from before."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from engine.data.example import Example
from engine.data.leak import TIERS, Leak, Search, is_counted
from engine.data.leakage import find_leaks, read_training
from engine.data.rows import data_rows
from engine.phases.work import Meter, Work
from store import tables

_NAMED = 5  # examples that an event names
LEAKED, NOT_LEAKED = "leaked", "not leaked"  # slices


def training_leaks(work: Work, chosen: Sequence[Example], meter: Meter) -> list[Leak]:
    """What of the examples the training data hold, by all tiers, leaks and look-alikes; they stream past.

    The tier of meaning needs the plan's embedding model. A run that is asked to stop does so in between.
    """
    data = work.plan.data
    if data.train is None:
        return []

    def progress(rows: int) -> None:
        meter.reach(rows)
        work.checkpoint()

    return find_leaks(read_training(data.train, data.fields), chosen, _meaning(work, chosen), progress)


def _meaning(work: Work, chosen: Sequence[Example]) -> Search | None:
    folder = work.plan.data.embedding_model
    if folder is None:
        return None
    import torch

    from engine.data.meaning import LocalEmbedder, Meaning

    return Meaning(chosen, LocalEmbedder(folder, "cuda" if torch.cuda.is_available() else "cpu"))


def leak_summary(leaks: Sequence[Leak] | None, *, by_meaning: bool) -> dict[str, Any]:
    """Counts of examples, for the run's data summary; None where there was nothing to search.

    A tier that was not searched has None: without `by_meaning`, that of meaning.
    """
    if leaks is None:
        return dict.fromkeys(("leaked", "leaks_by_tier", "answers_seen", "similar"))
    counted = [leak for leak in leaks if leak.counts]
    tiers, similar = Counter(leak.tier for leak in counted), sum(leak.similar for leak in leaks)
    return {
        "leaked": len(counted),
        "leaks_by_tier": {tier: tiers[tier] if tier != "meaning" or by_meaning else None for tier in TIERS},
        "answers_seen": len(leaks) - len(counted) - similar,
        "similar": similar,
    }


def leak_rows(run_id: int, leaks: Sequence[Leak], ids: dict[str, int]) -> list[dict[str, Any]]:
    """The leaks that count, as the store keeps them."""
    return [
        {
            "run_id": run_id,
            "example_id": ids[leak.example_id],
            "tier": leak.tier,
            "score": leak.score,
            "train_line": leak.train_line,
            "field": leak.field,
            "excerpt": leak.excerpt,
            "train_text": leak.train_text,
        }
        for leak in leaks
        if leak.counts
    ]


def leaked_tiers(work: Work) -> dict[str, str]:
    """The examples of the run that leaked, each with the tier that found it."""
    names = {place: example for example, place in work.example_ids.items()}
    rows = work.recorder.rows(tables.Leak, run_id=work.recorder.run_id)
    return {names[row["example_id"]]: row["tier"] for row in rows if is_counted(row["tier"], row["field"])}


def leak_slices(work: Work) -> dict[str, list[str]]:
    """The examples that leaked and those that did not, as two slices; none unless there are some of each."""
    tiers = leaked_tiers(work)
    parts: dict[str, list[str]] = {LEAKED: [], NOT_LEAKED: []}
    for example in work.examples:
        parts[LEAKED if example.id in tiers else NOT_LEAKED].append(example.id)
    return parts if all(parts.values()) else {}


def earlier_leaks(work: Work, chosen: Sequence[Example]) -> list[dict[str, Any]]:
    """How many of the examples stand in each of the plan's earlier eval sets: [{file, leaked}]."""
    found = []
    for file in work.plan.data.earlier:
        leaks = find_leaks(data_rows(file, work.plan.data.fields), chosen)
        names = [leak.example_id for leak in leaks if leak.counts]
        found.append({"file": file.name, "leaked": len(names)})
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            which = ", ".join(names[:_NAMED]) + more
            work.recorder.event(
                "warning", "data", f"{len(names)} of {len(chosen)} examples stand in {file.name} too: {which}"
            )
        work.checkpoint()
    return found
