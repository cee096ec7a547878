"""The ground: what everything that the store holds is, each thing described once.

A record is a frozen dataclass; its fields are the columns of its table, and the hints in their annotations
say how they are stored. The tables are made from the records (`store.schema`), rows are written from them
(`store.write`) and read into them (`store.read`). Standard library only.

Rows are appended and stay; what changes in place is a run's status and request, an alert's acknowledgement,
and the two live tables (progress and vitals), which describe the present and nothing else.
A record is named like its table; "Stored" tells it from the engine's own class of that name.
Times are seconds since the epoch (UTC). A missing value is None and has its reason beside it.
"""

from store.records.alert import StoredAlert
from store.records.columns import Record
from store.records.judging import (
    Annotation,
    Audit,
    FailureTag,
    Ranking,
    ReviewPlace,
    RunMark,
    StoredJudge,
    StoredJudgment,
    StoredRating,
    StoredWinRate,
    Verdict,
)
from store.records.results import (
    CorpusScore,
    ModelScore,
    SliceComparison,
    SliceScore,
    StoredBenchmarkSample,
    StoredBenchmarkScore,
    StoredComparison,
    StoredDisparity,
    StoredMetric,
    StoredModel,
    StoredResponse,
    StoredSample,
    StoredScore,
    StoredVariant,
    StoredVariantAnswer,
    StoredVariantScore,
)
from store.records.run import (
    Event,
    Exclusion,
    Progress,
    Run,
    RunExample,
    SplitUse,
    StoredExample,
    StoredLeak,
    Track,
    Vitals,
)
from store.records.traffic import (
    EvalProposal,
    TrafficAlert,
    TrafficEvent,
    TrafficFeedback,
    TrafficMeasures,
    TrafficReceipt,
    TrafficWeek,
)

# Parents before children.
RECORDS: tuple[type[Record], ...] = (
    *(
        Run,
        StoredExample,
        StoredModel,
        StoredMetric,
        StoredJudge,
        RunExample,
        Progress,
        Vitals,
        Event,
        StoredLeak,
        StoredAlert,
    ),
    *(RunMark, Annotation, ReviewPlace, SplitUse, Exclusion, FailureTag),
    *(
        StoredResponse,
        StoredSample,
        StoredScore,
        StoredVariant,
        StoredVariantAnswer,
        StoredVariantScore,
        ModelScore,
        SliceScore,
        CorpusScore,
        StoredDisparity,
        StoredBenchmarkScore,
        StoredBenchmarkSample,
    ),
    *(
        StoredComparison,
        SliceComparison,
        StoredJudgment,
        Verdict,
        StoredWinRate,
        StoredRating,
        Ranking,
        Audit,
    ),
    *(TrafficEvent, TrafficFeedback, TrafficReceipt, TrafficMeasures, TrafficWeek, TrafficAlert),
    *(EvalProposal, Track),
)

__all__ = [
    "RECORDS", "Annotation", "Audit", "CorpusScore", "EvalProposal", "Event", "Exclusion", "FailureTag",
    "ModelScore", "Progress", "Ranking", "Record", "ReviewPlace", "Run", "RunExample", "RunMark",
    "SliceComparison", "SliceScore", "SplitUse", "StoredAlert", "StoredBenchmarkSample",
    "StoredBenchmarkScore", "StoredComparison", "StoredDisparity", "StoredExample", "StoredJudge",
    "StoredJudgment", "StoredLeak", "StoredMetric", "StoredModel", "StoredRating", "StoredResponse",
    "StoredSample", "StoredScore", "StoredVariant", "StoredVariantAnswer", "StoredVariantScore",
    "StoredWinRate", "Track", "TrafficAlert", "TrafficEvent", "TrafficFeedback", "TrafficMeasures",
    "TrafficReceipt", "TrafficWeek", "Verdict", "Vitals",
]  # fmt: skip
