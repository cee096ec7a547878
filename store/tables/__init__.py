"""The tables, one class for each thing that the vocabulary names.

Rows are appended and stay; what changes in place is a run's status and request, an alert's acknowledgement,
and the two live tables (progress and vitals), which describe the present and nothing else.
Times are seconds since the epoch (UTC). A missing value is NULL and has its reason beside it.
"""

from store.tables.answers import (
    CorpusScore,
    Disparity,
    Example,
    Metric,
    Model,
    ModelScore,
    Response,
    RunExample,
    Score,
    SliceComparison,
    SliceScore,
)
from store.tables.benchmarks import BenchmarkSample, BenchmarkScore
from store.tables.findings import Alert, Comparison, Leak
from store.tables.judging import Audit, Judge, Judgment, Ranking, Rating, Verdict, WinRate
from store.tables.people import Annotation, Exclusion, FailureTag, ReviewPlace, RunMark, SplitUse
from store.tables.runs import Event, Progress, Run, Vitals

__all__ = [
    "Alert",
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
    "Response",
    "ReviewPlace",
    "Run",
    "RunExample",
    "RunMark",
    "Score",
    "SliceComparison",
    "SliceScore",
    "SplitUse",
    "Verdict",
    "Vitals",
    "WinRate",
]
