"""What a run recorded of its data: how much, what was left out, and what its questions cover."""

from collections.abc import Iterator
from dataclasses import dataclass

from store.read.rows import RunDetail

MOST = 20  # groups of questions


@dataclass(frozen=True, slots=True)
class Coverage:
    """Groups of like questions with each set's share of them, in per cent; or why there are none."""

    sets: tuple[str, ...] = ()
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()
    gaps: tuple[str, ...] = ()
    reason: str | None = None


def data_facts(run: RunDetail) -> Iterator[tuple[str, str]]:
    """Names and values, leaks aside."""
    found = run.data_summary or {}
    if found.get("selected") is not None:
        yield "examples evaluated", f"{found['selected']:,}, split {found.get('split', 'all')}"
    if training := found.get("train_file"):
        yield "training data", f"{training} {str(found.get('train_sha256') or '')[:12]}".strip()
    if found.get("answers_seen"):
        yield "answers that training has seen", f"{found['answers_seen']:,}"
    if found.get("similar"):
        yield "like a training question, with another answer", f"{found['similar']:,}"
    if found.get("duplicates"):
        yield "examples that are there twice", f"{found['duplicates']:,}"
    for row in found.get("excluded") or []:
        yield f"left out: {row['example']}", f"{row['reason'] or 'no reason given'} ({row['user']})"
    if (smallest := found.get("detectable")) is not None:
        yield "smallest change that so many examples show", f"{smallest:.1%}"


def coverage(run: RunDetail) -> Coverage | None:
    """None for a run that recorded none."""
    found = (run.data_summary or {}).get("coverage")
    if not found:
        return None
    if "clusters" not in found:
        return Coverage(reason=str(found.get("reason") or "not recorded"))
    sizes: dict[str, int] = found["sizes"]
    groups = tuple(
        (str(cluster["label"]), tuple(f"{cluster['sizes'][name] / sizes[name]:.0%}" for name in sizes))
        for cluster in found["clusters"][:MOST]
    )
    gaps = tuple(
        f"{gap['label']}: {gap['wanted']:.0%} of what users ask, {gap['found']:.0%} of the eval set; "
        f"about {gap['missing']:,} examples are missing"
        for gap in found["gaps"]
    )
    return Coverage(tuple(sizes), groups, gaps)
