"""The command on the size of an eval set: plan-size."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from engine.errors import BadInput
from engine.stats.family import (
    AGREEMENT,
    CRITICAL_Z,
    DETECTABLE,
    FEWEST,
    LEVEL,
    POWER,
    examples_for,
    smallest_change,
    smallest_difference,
    spread_of_shares,
)
from store.read import history
from store.read.trends import Named
from store.session import opened
from tui.cli.common import Json, Store, store_folder
from tui.cli.history import find_measure
from tui.text.gate import MISSING, percent
from tui.text.output import Column, number, out, paragraph, print_json, print_table

USUAL = (50, 100, 200, 500, 1_000, 2_000, 5_000)  # examples, where nothing is asked for
MOST = 1_000_000_000  # examples: no eval set has more
ALIKE = "both models are right, or both wrong, on"
EVEN = 0.5  # the win rate of two models that are as good

Difference = Annotated[
    list[float] | None,
    typer.Option("--difference", metavar="D", help="How many examples show it; 0.05 is 5 points of a share."),
]
Examples = Annotated[
    list[int] | None, typer.Option("--examples", metavar="N", help="The smallest difference that N show.")
]
Agreement = Annotated[
    float | None,
    typer.Option(
        "--agreement",
        metavar="SHARE",
        help=f"Examples on which both models are right, or both wrong [default: {AGREEMENT}]",
    ),
]
Discordant = Annotated[
    float | None, typer.Option("--discordant", metavar="SHARE", help="The others: 1 less the agreement.")
]
Deviation = Annotated[
    float | None,
    typer.Option("--deviation", metavar="SD", help="Standard deviation of the examples' differences."),
]
Rate = Annotated[
    list[float] | None,
    typer.Option("--win-rate", metavar="RATE", help="How many examples tell a win rate from 0.5."),
]
Ties = Annotated[
    float | None, typer.Option("--ties", metavar="SHARE", help="Pairs that the judge calls a tie.")
]
FromRun = Annotated[
    str | None, typer.Option("--run", metavar="RUN", help="Take the spread of --measure in this run.")
]
OfMeasure = Annotated[
    str | None, typer.Option("--measure", metavar="NAME", help="A measure of that run, or part of its name.")
]
Looks = Annotated[
    int | None,
    typer.Option(
        "--looks", min=1, max=10_000, help="Comparisons looked at together [default: 1, or the run's]"
    ),
]


@dataclass(frozen=True, slots=True)
class Spread:
    """How far the examples' differences scatter, and the largest difference that goes with it.

    `deviation` is None for the usual agreement, which gives way to larger differences, and where `reason`
    says that nothing is known. Of a run: its two models, and how many examples it had.
    """

    deviation: float | None = None
    most: float = math.inf
    looks: int = 1
    candidate: str | None = None
    baseline: str | None = None
    n: int | None = None
    reason: str | None = None

    def needed(self, difference: float) -> int | None:
        """About how many examples show it."""
        deviation = self.deviation
        if self.reason:
            return None
        if difference > self.most:
            raise BadInput(
                f"a difference of {difference:g} cannot be: it is {self.most:g} at most",
                "choose a smaller difference, or fewer examples on which the models do equally well",
            )
        if deviation is None:
            deviation = spread_of_shares(max(1 - AGREEMENT, difference))
        if deviation / difference > math.sqrt(MOST) / DETECTABLE:
            raise BadInput(
                f"a difference of {difference:g} takes more than {MOST:,} examples",
                "choose a larger difference",
            )
        return examples_for(difference, deviation, self.looks)

    def smallest(self, examples: int) -> float | None:
        """The smallest difference that they show; None where there can be none."""
        if self.reason:
            return None
        if self.deviation is None:
            found = smallest_change(examples, self.looks)
        else:
            found = smallest_difference(examples, self.deviation, self.looks)
        return found if found < self.most else None


def plan_size(
    context: typer.Context,
    difference: Difference = None,
    examples: Examples = None,
    agreement: Agreement = None,
    discordant: Discordant = None,
    deviation: Deviation = None,
    win_rate: Rate = None,
    ties: Ties = None,
    run: FromRun = None,
    measure: OfMeasure = None,
    looks: Looks = None,
    json: Json = False,
    store: Store = None,
) -> None:
    """Say how many examples an eval set needs, or what difference a number of them can show."""
    of_wins = win_rate is not None or ties is not None
    given = {
        "--agreement": agreement is not None,
        "--discordant": discordant is not None,
        "--deviation": deviation is not None,
        "--win-rate and --ties": of_wins,
        "--run": run is not None,
    }
    named = [name for name, is_given in given.items() if is_given]
    if len(named) > 1:
        raise BadInput(f"{' and '.join(named[:2])} both say how far examples scatter", "give one of them")
    if (run is None) != (measure is None):
        raise BadInput("--run and --measure go together", "assay plan-size --run RUN --measure NAME")
    differences = [_positive("--difference", value) for value in difference or ()]
    counts = [_counted(value) for value in examples or ()]
    spreads = [Spread(most=1.0, looks=looks or 1)]
    said = f"{ALIKE} {percent(AGREEMENT)} of the examples, or on as many as a larger difference leaves"
    is_share, best = True, 0.0
    if run is not None and measure is not None:
        with opened(store_folder(context, store)) as connection:
            run_id = history.find_run(connection, run)
            name, spreads = _of_run(connection, run_id, measure, looks)
        fewest = min(spread.n or 0 for spread in spreads)
        said, is_share = f"examples scatter in {name} as the {fewest} of run {run_id}", False
    elif deviation is not None:
        spreads = [Spread(_positive("--deviation", deviation), looks=looks or 1)]
        said, is_share = f"the examples' differences have a standard deviation of {number(deviation)}", False
    elif of_wins:
        decided = 1 - _share("--ties", ties or 0.0)
        differences += [_from_even(rate, decided) for rate in win_rate or ()]
        spreads = [Spread(spread_of_shares(decided) / 2, decided / 2, looks or 1)]
        said, best = f"the judge calls {percent(ties or 0.0)} of the pairs a tie", EVEN
    elif agreement is not None or discordant is not None:
        known = 1 - _share("--agreement", agreement) if agreement is not None else discordant
        differing = _positive("--discordant", known or 0.0)
        if differing > 1:
            raise BadInput(f"--discordant {differing:g} is no share", "give a number from 0 to 1")
        spreads = [Spread(spread_of_shares(differing), differing, looks or 1)]
        said = f"{ALIKE} {percent(1 - differing)} of the examples"
    if not differences and not counts:
        counts = list(USUAL)
    rows = [(spread, _sizes(spread, differences, counts)) for spread in spreads]
    if json:
        values = [_values(spread, sizes) for spread, sizes in rows]
        print_json({"level": LEVEL, "power": POWER, "assumed": said, "rows": values})
        return
    _print(rows, best, is_share=is_share)
    _explain(rows, said)


Size = tuple[float | None, int | None]  # a difference, and how many examples show it


def _sizes(spread: Spread, differences: Sequence[float], counts: Sequence[int]) -> list[Size]:
    sizes: list[Size] = [(value, spread.needed(value)) for value in differences]
    return sizes + [(spread.smallest(count), count) for count in counts]


def _of_run(
    connection: history.Connection, run_id: int, measure: str, looks: int | None
) -> tuple[str, list[Spread]]:
    """The measure's name, and its spread between each candidate and each baseline.

    Without `looks`, as many comparisons are looked at together as in the run.
    """
    found: list[tuple[str, Spread]] = []
    for row in history.comparisons(connection, run_id):
        error = None if row.smallest_detectable is None else row.smallest_detectable / DETECTABLE
        size = looks or row.family_size or 1
        found.append((row.measure, _spread(row.candidate, row.baseline, error, row.n, size, row.reason)))
    for rate in history.win_rates(connection, run_id):
        n = rate.wins + rate.losses + rate.ties
        half = None if rate.low is None or rate.high is None else (rate.high - rate.low) / 2
        spread = half and half / CRITICAL_Z
        item = _spread(rate.candidate, rate.baseline, spread, n, looks or rate.looks, rate.reason)
        found.append((f"win rate ({rate.judge})", item))
    names = dict.fromkeys(name for name, _ in found)
    if not names:
        raise BadInput(f"run {run_id} compares no models", "choose a run with a baseline and a candidate")
    wanted = find_measure(measure, [Named(name, "none", 1) for name in names], f"run {run_id} has no").name
    return wanted, [spread for name, spread in found if name == wanted]


def _spread(
    candidate: str, baseline: str, error: float | None, n: int, looks: int, reason: str | None
) -> Spread:
    """From a standard error over n examples."""
    if error and n >= FEWEST:
        return Spread(error * math.sqrt(n), math.inf, looks, candidate, baseline, n)
    why = f"{n} examples are too few to say how far they scatter" if n < FEWEST else reason
    return Spread(None, 0.0, looks, candidate, baseline, n, why or "all examples differ alike")


def _positive(option: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise BadInput(f"{option} {value:g} is nothing to plan for", "give a number above 0")
    return value


def _share(option: str, value: float) -> float:
    if not 0 <= value < 1:
        raise BadInput(f"{option} {value:g} leaves no example to tell models apart", "give 0 to below 1")
    return value


def _counted(value: int) -> int:
    if not FEWEST <= value <= MOST:
        raise BadInput(f"--examples {value}: must be from {FEWEST} to {MOST:,}", "fewer show no difference")
    return value


def _from_even(rate: float, decided: float) -> float:
    """How far a win rate is from that of models that are as good."""
    if not EVEN < rate <= 1:
        raise BadInput(f"--win-rate {rate:g} is nothing to plan for", "give a share above 0.5, up to 1")
    if rate - EVEN > decided / 2:
        raise BadInput(f"--win-rate {rate:g} cannot be with so many ties", "give fewer --ties")
    return rate - EVEN


def _values(spread: Spread, sizes: Sequence[Size]) -> dict[str, Any]:
    return {
        "candidate": spread.candidate,
        "baseline": spread.baseline,
        "deviation": spread.deviation,
        "n": spread.n,
        "looks": spread.looks,
        "reason": spread.reason,
        "sizes": [{"difference": difference, "examples": count} for difference, count in sizes],
    }


def _print(rows: Sequence[tuple[Spread, list[Size]]], best: float, *, is_share: bool) -> None:
    is_of_run = any(spread.candidate for spread, _ in rows)
    models = [Column("candidate"), Column("baseline")] if is_of_run else []
    sizes = [Column("win rate" if best else "difference", True), Column("examples", True)]
    print_table([*models, *sizes], list(_cells(rows, best, is_of_run=is_of_run, is_share=is_share)))
    for spread, _ in rows:
        if spread.reason:
            paragraph(f"{spread.candidate} against {spread.baseline}: {spread.reason}")


def _cells(
    rows: Sequence[tuple[Spread, list[Size]]], best: float, *, is_of_run: bool, is_share: bool
) -> Iterator[list[str]]:
    for spread, sizes in rows:
        for difference, count in sizes:
            if difference is None:
                shown = MISSING
            elif best:
                shown = percent(best + difference)
            else:
                shown = f"{100 * difference:.1f} points" if is_share else number(difference)
            known = MISSING if count is None else f"{count:,}"
            named = [spread.candidate or "", spread.baseline or ""] if is_of_run else []
            yield [*named, shown, known]


def _explain(rows: Sequence[tuple[Spread, list[Size]]], said: str) -> None:
    looked = max(spread.looks for spread, _ in rows)
    among = f" among {looked} comparisons" if looked > 1 else ""
    out()
    paragraph(f"To be shown in {POWER:.0%} of runs at {LEVEL:.0%}, two-sided{among}, if {said}.")
    if any(difference is None and not spread.reason for spread, sizes in rows for difference, _ in sizes):
        paragraph(f"{MISSING}: more than two such models can differ by.")
