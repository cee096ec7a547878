"""Whether a run's eval set can be believed, in a terminal: leaks, scores without them, the test lock."""

from collections.abc import Iterator, Mapping
from typing import Any

from engine.data.leak import TIER_WORDS
from engine.decision.facts import primary
from tui.sections.summary import Summary
from tui.text.gate import percent
from tui.text.output import heading, number, paragraph

LEAKED, NOT_LEAKED = "leaked", "not leaked"  # slices
_SHIFTED = 0.25  # a population stability index from which on a set has moved


def print_data(summary: Summary) -> None:
    """Nothing for a run that has not read its data yet."""
    found = summary.run.data_summary
    if not found or found.get("selected") is None:
        return
    heading("Data")
    for line in (*_size(found), *_leaks(found), *_without(summary), *_itself(found), *_lock(summary)):
        paragraph(line, "    ", "  ")


def _size(found: Mapping[str, Any]) -> Iterator[str]:
    split = found.get("split") or "all"
    which = "" if split == "all" else f" of the {split} split"
    smallest = found.get("detectable")
    seen = "" if smallest is None else f", which can show changes from {percent(smallest)} on"
    yield f"{_count(found['selected'], 'example')}{which}{seen}"
    if skipped := found.get("skipped"):
        are = "is" if skipped == 1 else "are"
        yield f"! {_count(skipped, 'record')} of the file could not be read and {are} left out"
    if left_out := found.get("excluded"):
        names = ", ".join(
            f"{row['example']} ({row['user']}: {row['reason'] or 'no reason'})" for row in left_out[:3]
        )
        more = f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
        yield f"left out, since people excluded them: {names}{more}"


def _leaks(found: Mapping[str, Any]) -> Iterator[str]:
    leaked, total = found.get("leaked"), found["selected"]
    if leaked is None:
        yield "? leaks were not searched for: the plan names no training data"
        return
    tiers = [
        f"{n} {TIER_WORDS.get(tier, tier)}" for tier, n in (found.get("leaks_by_tier") or {}).items() if n
    ]
    stand = "stands" if leaked == 1 else "stand"
    if leaked:
        by = f": {', '.join(tiers)}" if tiers else ""
        yield f"! {leaked:,} of {total:,} ({leaked / total:.1%}) {stand} in the training data{by}"
    else:
        yield f"+ none of the {total:,} stands in the training data"
    if similar := found.get("similar"):
        is_ = "is" if similar == 1 else "are"
        yield f"{similar:,} more {is_} like a training question with another answer: a template, no leak"
    if answers := found.get("answers_seen"):
        have = "has" if answers == 1 else "have"
        yield f"{answers:,} more {have} an answer that stands there under another question: not counted"


def _without(summary: Summary) -> Iterator[str]:
    """Each candidate's main measures with all examples and without those that leaked."""
    clean = {(row.model, row.measure): row.value for row in summary.slice_scores if row.slice == NOT_LEAKED}
    if not clean:
        return
    yield "main measures with all examples → without those that leaked:"
    for model in summary.candidates:
        parts = []
        for measure in primary(summary.metrics):
            score, without = summary.score(model.name, measure), clean.get((model.name, measure))
            if score is not None and score.value is not None and without is not None:
                change = number(without - score.value, sign=True)
                parts.append(f"{measure} {number(score.value)} → {number(without)} ({change})")
        if parts:
            yield f"  {model.name}: {', '.join(parts)}"


def _itself(found: Mapping[str, Any]) -> Iterator[str]:
    if pairs := found.get("duplicates"):
        yield f"! {_count(pairs, 'pair')} of examples are nearly one and the same: they weigh double"
    for row in found.get("earlier") or ():
        if row["leaked"]:
            yield f"! {row['leaked']:,} stand in the earlier eval set {row['file']} too"
    coverage = found.get("coverage") or {}
    if gaps := coverage.get("gaps"):
        lacking = ", ".join(f"{gap['label']} ({gap['wanted']:.0%} of the log)" for gap in gaps[:3])
        yield f"! production asks what the eval set lacks: {lacking}"
    for name, drift in (coverage.get("drift") or {}).items():
        moved = [kind for kind in ("length", "category", "cluster") if (drift.get(kind) or 0) >= _SHIFTED]
        other = {"train": "training data", "log": "query log"}.get(name, name)
        if moved:
            yield f"! the {other} lie apart from the eval set in {', '.join(moved)}: PSI {_psi(drift, moved)}"


def _psi(drift: Mapping[str, Any], kinds: list[str]) -> str:
    return ", ".join(f"{drift[kind]:.2f}" for kind in kinds)


def _lock(summary: Summary) -> Iterator[str]:
    if (summary.run.data_summary or {}).get("split") != "test":
        return
    uses = len(summary.test_uses)
    times = {1: "once", 2: "twice"}.get(uses, f"{uses} times")
    others = (
        ": by this run alone"
        if uses == 1
        else ", this run included: its numbers are worth less with each use"
    )
    yield f"{'+' if uses == 1 else '!'} the test split was used {times}{others}"


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
