"""What watching production traffic tells, as typed data: a row for each variant and period, day or week.

Standard library only, so that screens may import it; `engine.traffic.watch` computes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from store.records import TrafficAlert

DAY = 86_400.0  # seconds
_MONDAY = 4 * DAY  # the first after the start of 1970, a Thursday
FEWEST = 10  # events, and whose events they are, below which a period has no figure and takes part in no test


def start_of(time: float, days: int) -> float:
    """The start, in seconds since 1970, of the period that a time is in; weeks begin on Mondays, in UTC."""
    length = days * DAY
    return (time - _MONDAY) // length * length + _MONDAY


@dataclass(frozen=True, slots=True)
class Watched:
    """A measure of traffic. `better` says which way is better, `needs` what its figure is missing without."""

    name: str
    title: str
    unit: Literal["events", "share", "characters", "s", "distance", "points"]
    better: Literal["higher", "lower", "none"]
    needs: str = "no event has what it needs"

    @property
    def is_share(self) -> bool:
        return self.unit == "share"


MEASURES = (
    Watched("events", "events", "events", "none"),
    Watched("length", "length (median)", "characters", "none", "no event has a response"),
    Watched("latency_median", "latency (median)", "s", "lower", "no event tells its latency"),
    Watched("latency_p95", "latency (95th percentile)", "s", "lower", "no event tells its latency"),
    Watched("cut", "cut at the token limit", "share", "lower", "no event tells why its answer ended"),
    Watched("refused", "refusals", "share", "none", "no answer is in a language with rules for refusals"),
    Watched("well_formed", "in the format asked for", "share", "higher", "no question asks for a format"),
    Watched(
        "same_language", "in the question's language", "share", "higher", "no text is long enough to tell"
    ),
    Watched("thumbs_up", "thumbs up", "share", "higher", "nobody gave a thumb"),
    Watched("corrected", "corrected by people", "share", "lower", "nobody has corrected any answer yet"),
    Watched("rating", "rating (mean)", "points", "higher", "nobody rated an answer"),
    Watched(
        "reviewed", "good by review", "share", "higher", "nobody labelled an answer of its random sample"
    ),
    Watched("judge", "judge (mean)", "points", "higher", "no judge rated this week's random sample"),
    Watched("distance", "distance from the eval set (mean)", "distance", "none", "no eval set was named"),
)
OF_SAMPLE = ("reviewed", "judge")  # what people and judges said of a week's random sample
QUESTIONS = "questions"  # the measure of alerts on what is asked
BY_NAME: Mapping[str, Watched] = {measure.name: measure for measure in MEASURES}
CAUSES: Mapping[str | None, str] = {
    "input": "people ask something else",
    "model": "another model or version answers",
    "format": "answers are not in the format asked for",
    "latency": "answers are slower",
    None: "nothing here tells the cause",
}


@dataclass(frozen=True, slots=True)
class TrafficFigure:
    """One measure's value with its 95 % interval over n events; `reason` says why one of them is missing."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class QuestionShift:
    """How far a period's questions differ from the reference's in one respect.

    `psi` is the population stability index; chance alone keeps it below `chance` in 95 % of periods of this
    size. `p` is that of a test of homogeneity. All None, with a reason, where it cannot be told.
    """

    respect: str  # clusters, prompt length, or a trait of the question
    psi: float | None
    chance: float | None
    p: float | None
    n: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PeriodRow:
    """One variant in one period: what its traffic was, and how its questions differ from the reference's.

    `models` counts events by model and version. `tested`: it was held against the reference, as it is once it
    is over and the reference stands. `shifts` are those from the reference, `from_eval_set` those from there.
    """

    start: float  # seconds since 1970
    days: int
    variant: str  # "": events that name none
    events: int
    units: int  # users, else sessions, else events
    models: Mapping[str, int]
    figures: Mapping[str, TrafficFigure]
    is_over: bool
    is_reference: bool = False
    tested: bool = False
    shifts: Sequence[QuestionShift] = ()
    from_eval_set: Sequence[QuestionShift] = ()

    @property
    def end(self) -> float:
        return self.start + self.days * DAY


@dataclass(frozen=True, slots=True)
class UncoveredCluster:
    """Questions of the newest periods that are alike and that no question of the eval set is like.

    `expected` is how many the eval set would hold, were it asked as the traffic is; `examples` are the most
    typical ones, each with its event's id.
    """

    name: str
    events: int
    share: float
    expected: float
    first: float  # when the first of them was asked
    examples: Sequence[tuple[str, str]]
    event_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class TrafficWatch:
    """Everything that was found. `rows` are by variant and time, `references` one row a variant."""

    days: int
    rows: Sequence[PeriodRow]
    references: Mapping[str, PeriodRow]
    reference: str  # what the reference is, in words
    alerts: Sequence[TrafficAlert]  # the newest first
    uncovered: Sequence[UncoveredCluster] = ()
    eval_set: str | None = None
    measured: int = 0  # events that were new to the rules
    remarks: Sequence[str] = field(default_factory=tuple)

    @property
    def open_alerts(self) -> list[TrafficAlert]:
        return [alert for alert in self.alerts if alert.acknowledged is None]

    def of(self, variant: str) -> list[PeriodRow]:
        """One variant's rows, the oldest first."""
        return [row for row in self.rows if row.variant == variant]

    @property
    def variants(self) -> list[str]:
        return list(dict.fromkeys(row.variant for row in self.rows))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def watch_of(values: Mapping[str, Any]) -> TrafficWatch:
    """The result again that `TrafficWatch.as_dict` made JSON of."""

    def row(told: Mapping[str, Any]) -> PeriodRow:
        figures = {name: TrafficFigure(**figure) for name, figure in told["figures"].items()}
        shifts = {
            name: [QuestionShift(**shift) for shift in told[name]] for name in ("shifts", "from_eval_set")
        }
        return PeriodRow(**{**told, **shifts, "figures": figures})

    return TrafficWatch(
        **{
            **values,
            "rows": [row(told) for told in values["rows"]],
            "references": {name: row(told) for name, told in values["references"].items()},
            "alerts": [TrafficAlert(**told) for told in values["alerts"]],
            "uncovered": [
                UncoveredCluster(**{**told, "examples": [(event, text) for event, text in told["examples"]]})
                for told in values["uncovered"]
            ],
        }
    )
