"""The ground: what everything that the store holds is, each thing described once.

A record is a frozen dataclass; its fields are the columns of its table, and the hints in their annotations
say how they are stored. The tables are made from the records (`store.schema`), rows are written from them
(`store.write`) and read into them (`store.read`). Standard library only.

Rows are appended and stay; what changes in place is a run's status and request, an alert's acknowledgement,
and the two live tables (progress and vitals), which describe the present and nothing else.
Times are seconds since the epoch (UTC). A missing value is None and has its reason beside it.
"""

from store.records.alert import StoredAlert
from store.records.answers import (
    CorpusScore,
    Disparity,
    Metric,
    Model,
    ModelScore,
    Response,
    Score,
    SliceScore,
)
from store.records.benchmarks import BenchmarkSample, BenchmarkScore
from store.records.columns import Record
from store.records.compared import Comparison, SliceComparison
from store.records.data import Example, Exclusion, Leak, RunExample, SplitUse
from store.records.judging import Audit, Judge, Judgment, Ranking, Rating, Verdict, WinRate
from store.records.people import Annotation, FailureTag, ReviewPlace, RunMark
from store.records.run import Event, Progress, Run, Vitals

# Parents before children.
RECORDS: tuple[type[Record], ...] = (
    *(Run, Example, Model, Metric, Judge, RunExample, Progress, Vitals, Event, Leak, StoredAlert),
    *(RunMark, Annotation, ReviewPlace, SplitUse, Exclusion, FailureTag),
    *(Response, Score, ModelScore, SliceScore, CorpusScore, Disparity, BenchmarkScore, BenchmarkSample),
    *(Comparison, SliceComparison, Judgment, Verdict, WinRate, Rating, Ranking, Audit),
)

__all__ = [
    "RECORDS",
    "Annotation",
    "Audit",
    "BenchmarkSample",
    "BenchmarkScore",
    "Comparison",
    "CorpusScore",
    "Disparity",
    "Event",
    "Example",
    "Exclusion",
    "FailureTag",
    "Judge",
    "Judgment",
    "Leak",
    "Metric",
    "Model",
    "ModelScore",
    "Progress",
    "Ranking",
    "Rating",
    "Record",
    "Response",
    "ReviewPlace",
    "Run",
    "RunExample",
    "RunMark",
    "Score",
    "SliceComparison",
    "SliceScore",
    "SplitUse",
    "StoredAlert",
    "Verdict",
    "Vitals",
    "WinRate",
]
