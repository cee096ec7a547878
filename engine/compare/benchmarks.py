"""One benchmark score against another: paired on the questions, else by standard errors."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from engine.benchmarks.results import EXAMPLES, LIMIT, LONGEST, leaves
from engine.compare.comparison import Comparison, compare_parts, from_paired, not_comparable
from engine.compare.ruling import ends_of_benchmark
from engine.metrics.metric import Direction, Measure
from engine.stats.paired import from_stderr

# Samples' mean against lm-eval's own figure: sums of floating point numbers in another order.
_ROUNDING = 1e-9

Values = Mapping[str, float]


class Key(NamedTuple):
    """Which score of a model: lm-eval's "metric,filter" of a task or group."""

    task: str
    metric: str
    filter: str


class BenchmarkQuestion(NamedTuple):
    """A document as a model was asked it: equal ones may be paired."""

    task: str
    doc_id: int
    prompt_hash: str
    target_hash: str


@dataclass(frozen=True, slots=True)
class Measured:
    """A score with what decides whether it may be compared; `samples` are empty for a results file alone.

    `n` 0: the number of documents is unknown. `asked` is that of `asked_as`. `cut` tells that texts were too
    long and were cut.
    """

    value: float | None
    stderr: float | None
    n: int
    version: str
    shots: int | None
    higher_is_better: bool
    task_hash: str | None
    samples: Mapping[BenchmarkQuestion, float] = field(default_factory=dict)
    asked: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


def measure_name(key: Key) -> str:
    """The measure as shown: "task · metric", with the filter where there is one."""
    return f"{key.task} · {key.metric}" + ("" if key.filter == "none" else f" ({key.filter})")


def group_samples(
    key: Key,
    value: float | None,
    samples: Mapping[Key, Mapping[BenchmarkQuestion, float]],
    groups: Mapping[str, Iterable[str]],
) -> Mapping[BenchmarkQuestion, float]:
    """The samples behind a score: a task's own, or a group's members' where its value is their mean.

    Groups that lm-eval weights by size are the mean over all documents; others weight members equally, and
    have no samples.
    """
    if key in samples or key.task not in groups or value is None:
        return samples.get(key, {})
    members = {name: tuple(own) for name, own in groups.items()}
    found = {
        question: sample
        for leaf in leaves(key.task, members)
        for question, sample in samples.get(key._replace(task=leaf), {}).items()
    }
    mean = sum(found.values()) / len(found) if found else None
    return found if mean is not None and abs(mean - value) <= _ROUNDING * max(1.0, abs(value)) else {}


def compare_scores(
    candidate: str, baseline: str, key: Key, ours: Measured, theirs: Measured, seed: int = 0
) -> Comparison:
    """The candidate's score minus the baseline's, or why they do not compare."""
    name, sides = measure_name(key), (candidate, baseline)
    direction: Direction = "higher" if ours.higher_is_better else "lower"
    values = ours.value, theirs.value
    if ours.samples and theirs.samples:
        shared = ours.samples.keys() & theirs.samples.keys()
        reason = _differ(ours, theirs) or ("" if shared else _asked(ours.samples, theirs.samples))
    else:
        shared = set()
        reason = _differ(ours, theirs) or _other_content(ours, theirs) or _other_count(ours, theirs)
        reason = reason or _missing(*sides, *values)
    if reason:
        return not_comparable(*sides, name, direction, "benchmark", reason, *values)
    if shared:
        least, most = ends_of_benchmark(*values)
        measure = Measure(
            name, direction, least, most, "", frozenset(), ours.version, "lm-evaluation-harness", name
        )
        parts = _parts(ours.samples), _parts(theirs.samples)
        return compare_parts(candidate, baseline, measure, *parts, kind="benchmark", seed=seed)
    return _by_errors(sides, name, direction, ours, theirs)


def _by_errors(
    sides: tuple[str, str], name: str, direction: Direction, ours: Measured, theirs: Measured
) -> Comparison:
    """As independent samples, which is all that standard errors alone allow."""
    assert ours.value is not None and theirs.value is not None
    known = [n for n in (ours.n, theirs.n) if n]
    paired = from_stderr(
        ours.value, ours.stderr, theirs.value, theirs.stderr, min(known) if len(known) == 2 else None
    )
    reason = None if paired.low is not None else "no interval: a standard error is missing, or both are 0"
    return from_paired(*sides, name, direction, "benchmark", paired, reason)


def _differ(ours: Measured, theirs: Measured) -> str:
    different = [
        f"{what}: {_said(first)} and {_said(second)}"
        for what, first, second in (
            ("task versions", theirs.version, ours.version),
            ("shots", theirs.shots, ours.shots),
            ("directions", theirs.higher_is_better, ours.higher_is_better),
            *((what, theirs.asked[what], ours.asked[what]) for what in theirs.asked if what in ours.asked),
        )
        if first != second
        and what != LIMIT  # of which the documents themselves tell
        and (what != EXAMPLES or ours.shots or theirs.shots)
        and (what != LONGEST or ours.cut or theirs.cut)
    ]
    return f"different {', '.join(different)}" if different else ""


def _other_content(ours: Measured, theirs: Measured) -> str:
    hashes = ours.task_hash, theirs.task_hash
    if None in hashes or hashes[0] == hashes[1]:
        return ""
    return "different documents, prompts or targets: the task's hash differs"


def _other_count(ours: Measured, theirs: Measured) -> str:
    """Without the questions, only a limit tells that the documents differ."""
    if ours.n and theirs.n:
        return f"different documents: {theirs.n:,} and {ours.n:,} of them" if ours.n != theirs.n else ""
    limits = theirs.asked.get(LIMIT, "none"), ours.asked.get(LIMIT, "none")
    return f"different limits: {limits[0]} and {limits[1]}" if limits[0] != limits[1] else ""


def _missing(candidate: str, baseline: str, ours: float | None, theirs: float | None) -> str:
    without = [name for name, value in ((candidate, ours), (baseline, theirs)) if value is None]
    return f"no value for {' and '.join(without)}" if without else ""


def _asked(ours: Iterable[BenchmarkQuestion], theirs: Iterable[BenchmarkQuestion]) -> str:
    """Why no question of one model was asked of the other."""
    before = {(item.task, item.doc_id): item for item in theirs}
    pairs = [(item, before[item.task, item.doc_id]) for item in ours if (item.task, item.doc_id) in before]
    if not pairs:
        return "they were asked different documents"
    prompts = sum(first.prompt_hash != second.prompt_hash for first, second in pairs)
    what = "prompts" if prompts else "targets"
    return f"different {what}: the hashes of all {len(pairs)} shared documents differ"


def _parts(samples: Mapping[BenchmarkQuestion, float]) -> dict[str, tuple[float, float]]:
    return {
        f"{item.doc_id} {item.prompt_hash} {item.target_hash} {item.task}": (value, 1.0)
        for item, value in samples.items()
    }


def _said(value: object) -> str:
    return "unknown" if value in (None, "") else str(value)
