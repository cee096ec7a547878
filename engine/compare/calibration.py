"""Can the judge be believed? People's labels on some examples against its verdicts on all.

A label of a person and a verdict of the judge are win, loss or tie of the candidate; "both bad" is a tie.
Several people's labels of one example count as their majority, or as a tie.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import ceil

from engine.stats.agreement import (
    Agreement,
    cohen_kappa,
    fleiss_kappa,
    kendall,
    krippendorff_alpha,
    pairwise_agreement,
    raw_agreement,
    spearman,
)
from engine.stats.family import majority
from engine.stats.intervals import share_of, wilson
from engine.stats.ppi import Corrected, corrected_mean, labels_to_settle
from store.read.query import by_key

POINTS = {"win": 1.0, "tie": 0.5, "both_bad": 0.5, "loss": 0.0}
_Z2 = 3.8415  # the normal quantile of 97.5 %, squared: Wilson's bound of 0 in n is _Z2 / (n + _Z2)
RANDOM = "random"  # the queue that is a random sample
_BINS = 10  # of a calibration curve


@dataclass(frozen=True, slots=True)
class HumanLabel:
    """What one person said of one example."""

    example: str
    annotator: str
    outcome: str  # win loss tie both_bad
    category: str | None = None
    queue: str | None = None


@dataclass(frozen=True, slots=True)
class Raters:
    """Raters' agreement; `pairs` counts the examples that at least two of them rated."""

    pairs: int
    raw: Agreement  # ties count as an outcome
    raw_without_ties: Agreement  # where both decided
    kappa: Agreement  # Cohen's of two raters, Fleiss' of more
    alpha: Agreement  # Krippendorff's, nominal
    spearman: Agreement
    kendall: Agreement


@dataclass(frozen=True, slots=True)
class Calibration:
    """One judge against people, on one candidate against one baseline."""

    against_people: Raters
    between_people: dict[str, Raters]  # "ann and bob", and "all" of three or more
    confusion: dict[str, dict[str, dict[str, int]]]  # category ("" all) → people's outcome → judge's → count
    corrected: Corrected
    to_settle: int | None  # labels in all that settle the gate


@dataclass(frozen=True, slots=True)
class CriterionAgreement:
    """One criterion of a judge: mean distance from people's ratings, and rank correlation."""

    name: str
    n: int
    difference: float | None  # judge less people
    distance: float | None  # mean absolute difference
    spearman: Agreement


def calibrate(
    labels: Sequence[HumanLabel], judged: Mapping[str, str], gate: float | None = None, seed: int = 0
) -> Calibration:
    """A judge's verdicts by example (failed ones left out) against people's labels.

    `gate` is the plan's minimum win rate, for the number of labels that would settle it.
    """
    by_example = _by_example(labels)
    people = {example: majority([label.outcome for label in said]) for example, said in by_example.items()}
    shared = [example for example in people if example in judged]
    ours, theirs = [people[example] for example in shared], [judged[example] for example in shared]
    drawn = {label.example for label in labels if label.queue == RANDOM} | _all_of(people, judged)
    sample = [example for example in shared if example in drawn]
    numbers = (
        [_points(by_example[example]) for example in sample],
        [POINTS[judged[example]] for example in sample],
        [POINTS[outcome] for example, outcome in judged.items() if example not in drawn],
    )
    corrected = _as_rate(corrected_mean(*numbers), *numbers[:2])
    return Calibration(
        against_people=two_raters(ours, theirs, seed),
        between_people=_between(by_example, seed),
        confusion=_confusion(by_example, shared, people, judged),
        corrected=corrected,
        to_settle=_to_settle(*numbers, corrected.value, gate) if gate is not None else None,
    )


def two_raters(first: Sequence[str | None], second: Sequence[str | None], seed: int = 0) -> Raters:
    """Two raters' outcomes on the same examples, None where one did not rate."""
    ours, theirs = [_plain(value) for value in first], [_plain(value) for value in second]
    decided = [
        (one, other) if "tie" not in (one, other) else (None, None)
        for one, other in zip(ours, theirs, strict=True)
    ]
    points, others = ([None if value is None else POINTS[value] for value in side] for side in (ours, theirs))
    return Raters(
        pairs=sum(one is not None and other is not None for one, other in zip(ours, theirs, strict=True)),
        raw=raw_agreement(ours, theirs, seed),
        raw_without_ties=raw_agreement([one for one, _ in decided], [other for _, other in decided], seed),
        kappa=cohen_kappa(ours, theirs, seed),
        alpha=krippendorff_alpha([ours, theirs], seed=seed),
        spearman=spearman(points, others, seed),
        kendall=kendall(points, others, seed),
    )


def criteria(
    people: Mapping[tuple[str, str], Mapping[str, float]],
    judge: Mapping[tuple[str, str], Mapping[str, float]],
    seed: int = 0,
) -> list[CriterionAgreement]:
    """By criterion, the judge's scores against people's mean ratings of the same answers, worst first.

    Both map an answer (example, model) to its scores by criterion, on the same scale.
    """
    both = people.keys() & judge.keys()
    names = dict.fromkeys(name for answer in sorted(both) for name in people[answer])
    found = []
    for name in names:
        pairs = [
            (judge[answer][name], people[answer][name])
            for answer in sorted(both)
            if name in judge[answer] and name in people[answer]
        ]
        apart = [theirs - ours for theirs, ours in pairs]
        ranks = spearman([one for one, _ in pairs], [other for _, other in pairs], seed)
        found.append(
            CriterionAgreement(
                name,
                len(pairs),
                sum(apart) / len(apart) if apart else None,
                sum(map(abs, apart)) / len(apart) if apart else None,
                ranks,
            )
        )
    return sorted(found, key=lambda item: -(item.distance or 0.0))


def _as_rate(found: Corrected, people: Sequence[float], judged: Sequence[float]) -> Corrected:
    """The same with intervals within 0 and 1, and never of zero width.

    The labels alone have the interval of a share. A judge that agreed with all labels has no spread, which is
    not certainty: Wilson's interval says how often the next one may differ.
    """
    low, high = found.low, found.high
    alone = share_of(sum(people), len(people)) if people else found.labels_alone
    if not found.unlabelled and found.value is not None:
        low, high = alone.low, alone.high
    elif low is not None and high is not None and list(people) == list(judged):
        differing = wilson(0, len(people)).high or 0.0
        low, high = low - differing, high + differing
    return replace(
        found,
        value=_within(found.value),
        low=_within(low),
        high=_within(high),
        labels_alone=replace(alone, low=_within(alone.low), high=_within(alone.high)),
    )


def _to_settle(
    people: Sequence[float], judged: Sequence[float], rest: Sequence[float], value: float | None, gate: float
) -> int | None:
    """How many labels would settle the gate if further ones are like these."""
    if list(people) != list(judged):
        return labels_to_settle(people, judged, rest, gate)
    apart = abs(value - gate) if value is not None else 0.0
    return ceil(_Z2 * (1 - apart) / apart) if 0 < apart < 1 else None


def _within(share: float | None) -> float | None:
    return None if share is None else min(1.0, max(0.0, share))


def _plain(outcome: str | None) -> str | None:
    return "tie" if outcome == "both_bad" else outcome


@dataclass(frozen=True, slots=True)
class CurveBin:
    """What people said where the judge's value is from `low` to `high`; both means, with people's interval.

    People's value is the share of the judge's verdicts that they give too, or their mean rating.
    """

    low: float
    high: float
    n: int
    judge: float
    people: float
    people_low: float | None
    people_high: float | None


def confidence_bins(pairs: Sequence[tuple[float, bool]]) -> list[CurveBin]:
    """Of (a verdict's confidence, whether people gave the same one): ten bins from 0 to 1, none empty.

    The interval is Wilson's.
    """
    found = []
    for place in range(_BINS):
        own = [pair for pair in pairs if min(_BINS - 1, int(pair[0] * _BINS)) == place]
        if own:
            right, mean = sum(same for _, same in own), sum(value for value, _ in own) / len(own)
            people = wilson(right, len(own))
            ends = place / _BINS, (place + 1) / _BINS
            found.append(CurveBin(*ends, len(own), mean, right / len(own), people.low, people.high))
    return found


def score_bins(pairs: Sequence[tuple[float, float]]) -> list[CurveBin]:
    """Of (the judge's score, people's rating) of the same answers: a bin for each whole score."""
    found = []
    for score in sorted({round(one) for one, _ in pairs}):
        own = [pair for pair in pairs if round(pair[0]) == score]
        judge, people = (sum(side) / len(own) for side in zip(*own, strict=True))
        found.append(CurveBin(score, score, len(own), judge, people, None, None))
    return found


def _by_example(labels: Sequence[HumanLabel]) -> dict[str, list[HumanLabel]]:
    return by_key((label.example, label) for label in labels)


def _points(said: Sequence[HumanLabel]) -> float:
    """What people gave the candidate on average: 1 a win, half a tie."""
    return sum(POINTS[label.outcome] for label in said) / len(said)


def _all_of(people: Mapping[str, str], judged: Mapping[str, str]) -> set[str]:
    """Every example if people labelled them all: then no queue selected among them."""
    return set(people) if judged.keys() <= people.keys() else set()


_CROWD = 6  # people of whom every two are compared
_SHARED = 10  # examples that two of more people must share to be compared


def _between(by_example: Mapping[str, Sequence[HumanLabel]], seed: int) -> dict[str, Raters]:
    said = {
        example: {label.annotator: label.outcome for label in labels}
        for example, labels in by_example.items()
    }
    names = sorted({name for each in said.values() for name in each})
    found = {}
    shared = Counter(both for each in said.values() for both in combinations(sorted(each), 2))
    for one, other in combinations(names, 2):
        if len(names) > _CROWD and shared[one, other] < _SHARED:
            continue
        found[f"{one} and {other}"] = two_raters(
            [each.get(one) for each in said.values()], [each.get(other) for each in said.values()], seed
        )
    if len(names) > 2:
        found["all"] = _several(said, names, seed)
    return found


def _several(said: Mapping[str, Mapping[str, str]], names: Sequence[str], seed: int) -> Raters:
    rows = [[_plain(each.get(name)) for name in names] for each in said.values()]
    rated = [[value for value in row if value is not None] for row in rows]
    shared = [row for row in rated if len(row) > 1]
    decided = [[value for value in row if value != "tie"] for row in shared]
    none = Agreement(None, None, None, 0, "ranks are compared two people at a time")
    return Raters(
        pairs=len(shared),
        raw=pairwise_agreement(shared, seed),
        raw_without_ties=pairwise_agreement(decided, seed),
        kappa=fleiss_kappa(shared, seed),
        alpha=krippendorff_alpha([list(column) for column in zip(*rows, strict=True)], seed=seed),
        spearman=none,
        kendall=none,
    )


def _confusion(
    by_example: Mapping[str, Sequence[HumanLabel]],
    shared: Sequence[str],
    people: Mapping[str, str],
    judged: Mapping[str, str],
) -> dict[str, dict[str, dict[str, int]]]:
    table: dict[str, dict[str, dict[str, int]]] = {}
    for example in shared:
        category = by_example[example][0].category
        for name in ("", category) if category else ("",):
            cells = table.setdefault(name, {}).setdefault(people[example], {})
            cells[judged[example]] = cells.get(judged[example], 0) + 1
    return table
