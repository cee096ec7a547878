"""Benchmark tasks as lm-eval ran them."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from store.records.columns import KEY, Mentions, Record, Refers


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBenchmarkScore(Record):
    """One benchmark task's metric for one model, as lm-eval computed it."""

    INDEXES: ClassVar = {"benchmarkscore_identity": ("identity",)}

    model_id: Annotated[int, KEY, Refers("model", "CASCADE")]
    task: Annotated[str, KEY]
    metric: Annotated[str, KEY]
    filter: Annotated[str, KEY] = "none"
    value: float | None = None
    stderr: float | None = None
    n: int
    version: str
    shots: int | None = None
    higher_is_better: bool
    task_hash: str | None = None
    reason: str | None = None
    # A hash of all that decides the value: weights, task, shots, limit, template.
    identity: str | None = None
    reused_from: Annotated[int | None, Mentions("run")] = (
        None  # the run that measured it, where this one did not have to
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBenchmarkSample(Record):
    """One benchmark question as one model answered it; the hashes say which samples may be paired."""

    model_id: Annotated[int, KEY, Refers("model", "CASCADE")]
    task: Annotated[str, KEY]
    metric: Annotated[str, KEY]
    filter: Annotated[str, KEY] = "none"
    doc_id: Annotated[int, KEY]
    doc_hash: str
    prompt_hash: str
    target_hash: str
    value: float | None = None
    question: str
    target: str
    answer: str
