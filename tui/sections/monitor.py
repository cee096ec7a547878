"""What watching production traffic tells, in words: figures by measure and period, drift, gaps, alerts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import gmtime, strftime

from engine.gates.figures import LARGE, MISSING, counted, magnitude, number, percent, probability
from engine.traffic.periods import (
    BY_NAME,
    CAUSES,
    MEASURES,
    QUESTIONS,
    PeriodRow,
    QuestionShift,
    TrafficFigure,
    TrafficWatch,
    UncoveredCluster,
    Watched,
)
from store.records import TrafficAlert

NO_VARIANT = "traffic without a variant"
_FOLK = ((0.25, "shifted"), (0.1, "moderate"))  # the usual reading of a population stability index


@dataclass(frozen=True, slots=True)
class TrafficLine:
    """One measure of one variant: its figure in the reference, and in each period by the period's start."""

    measure: Watched
    reference: TrafficFigure | None
    figures: Mapping[float, TrafficFigure]
    alerts: Mapping[float, TrafficAlert]  # those that stand for a period

    @property
    def is_known(self) -> bool:
        return any(figure.value is not None for figure in self.figures.values())

    @property
    def reason(self) -> str:
        """Why no period has a value."""
        return next((figure.reason or "" for figure in self.figures.values()), "")


@dataclass(frozen=True, slots=True)
class VariantSection:
    """One variant's periods, the oldest first, and its measures."""

    name: str
    title: str
    rows: Sequence[PeriodRow]
    reference: PeriodRow | None
    reference_said: str
    lines: Sequence[TrafficLine]


@dataclass(frozen=True, slots=True)
class MonitorSection:
    """All variants, and the alerts with what each says."""

    watch: TrafficWatch
    variants: Sequence[VariantSection]
    alerts: Sequence[tuple[TrafficAlert, str]]


def monitor(watch: TrafficWatch) -> MonitorSection:
    """The section of what was found."""
    return MonitorSection(
        watch,
        [_variant(watch, name) for name in watch.variants],
        [(alert, alert_said(alert)) for alert in watch.alerts],
    )


def _variant(watch: TrafficWatch, name: str) -> VariantSection:
    rows, reference = watch.of(name), watch.references.get(name)
    own = [alert for alert in watch.alerts if alert.variant == name]
    lines = [
        TrafficLine(
            measure,
            reference.figures[measure.name] if reference and measure.unit != "events" else None,
            {row.start: row.figures[measure.name] for row in rows},
            {
                row.start: alert
                for alert in own
                for row in rows
                if alert.measure == measure.name and alert.start <= row.start < alert.evidence["until"]
            },
        )
        for measure in MEASURES
    ]
    said = f"{watch.reference}: {counted(reference.events, 'event')}" if reference else "no reference yet"
    return VariantSection(name, name or NO_VARIANT, rows, reference, said, lines)


def day(seconds: float) -> str:
    """A day in UTC."""
    return strftime("%Y-%m-%d", gmtime(seconds))


def value_said(value: float | None, unit: str) -> str:
    """A value in its unit, short enough for a table."""
    if value is None:
        return MISSING
    if unit == "share":
        return percent(value)
    if unit == "s":
        return f"{value:.2f}s" if value < 10 else f"{value:.0f}s"
    if unit in ("events", "characters"):
        return f"{value:,.0f}" if value < LARGE else magnitude(value)
    return number(value)


def figure_said(figure: TrafficFigure | None, unit: str) -> str:
    """A figure with its interval."""
    if figure is None or figure.value is None:
        return MISSING
    said = value_said(figure.value, unit)
    if figure.low is None or figure.high is None:
        return said
    low, high = (value_said(end, unit).rstrip("%s") for end in (figure.low, figure.high))
    return f"{said} [{low}, {high}]"


def alert_said(alert: TrafficAlert) -> str:
    """What an alert says: the figure beside its reference, how sure that is, and the likely cause."""
    told = alert.evidence
    many = f" over {told['periods']} periods" if told["periods"] > 1 else ""
    sure = f"adjusted p {told['p']:.1g}{many}, alarms below {told['level']:.1g}"
    if alert.measure == QUESTIONS:
        respects = "; ".join(shift_said(QuestionShift(**shift)) for shift in told["shifts"])
        what = f"{CAUSES['input']} than in {alert.reference}{': ' if respects else ''}{respects}"
    else:
        measure = BY_NAME[alert.measure]
        moved = "higher" if told["is_higher"] else "lower"
        now = TrafficFigure(told["value"], told["low"], told["high"], told["n"])
        before = value_said(told["reference"], measure.unit)
        what = (
            f"{measure.title} {moved}: {figure_said(now, measure.unit)} against {before} in {alert.reference}"
        )
        what += f"; likely cause: {_cause(alert)}"
    return f"{what} ({sure})"


def _cause(alert: TrafficAlert) -> str:
    words = CAUSES[alert.cause]
    models = alert.evidence["models"]
    if alert.cause == "model":
        return f"{words}: {', '.join(f'{name} ({count:,} events)' for name, count in models.items())}"
    return words


def shift_said(shift: QuestionShift) -> str:
    """One respect in which questions may differ, beside what chance alone gives."""
    if shift.psi is None:
        return f"{shift.respect}: {shift.reason}"
    chance = f", chance alone up to {shift.chance:.3f}" if shift.chance is not None else ""
    folk = next((word for level, word in _FOLK if shift.psi >= level), "stable")
    sure = f"{chance}; p {probability(shift.p)}"
    return f"{shift.respect}: PSI {shift.psi:.3f} ({folk} by the usual reading{sure})"


def uncovered_said(cluster: UncoveredCluster) -> str:
    """What is asked that the eval set has nothing of, and how much."""
    return (
        f"{cluster.name}: {counted(cluster.events, 'event')}, {percent(cluster.share)} of the newest "
        f"questions, since {day(cluster.first)}; an eval set asked alike would have about "
        f"{cluster.expected:.0f} of them"
    )


def shifts_said(row: PeriodRow) -> Iterator[str]:
    """How a period's questions differ, from the reference and from the eval set."""
    for name, found in (("the reference", row.shifts), ("the eval set", row.from_eval_set)):
        for shift in found:
            yield f"from {name}, {shift_said(shift)}"
