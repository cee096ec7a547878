"""Many measures on many slices at once: the values, intervals and tests that one at a time would give."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import hypergeom, ttest_ind

from engine.compare.slices import (
    MeasureColumn,
    Slice,
    SliceValue,
    column,
    compare_slices,
    places,
    slice_values,
)
from engine.metrics.classification import combine_macro_f1
from engine.metrics.metric import Measure
from engine.stats.paired import compare

ACCURACY = Measure("accuracy", "higher", 0.0, 1.0, "share", frozenset(), "1", "test", "test")
LENGTH = Measure("words", "none", 0.0, None, "words", frozenset(), "1", "test", "test")
LATENCY = Measure("latency_s", "lower", 0.0, None, "s", frozenset(), "1", "test", "test", independent=False)
MACRO = Measure(
    "macro_f1", "higher", 0.0, 1.0, "F", frozenset(), "1", "test", "test", combine=combine_macro_f1
)
MEMBERS = {
    "broken": [f"b{place}" for place in range(20)],
    "fixed": [f"f{place}" for place in range(20)],
    "same": [f"s{place}" for place in range(20)],
    "tiny": ["t0", "t1"],
}
IDS = [key for names in MEMBERS.values() for key in names]


def made(model: str, values: Mapping[str, float], measure: Measure = ACCURACY) -> MeasureColumn:
    return column(model, measure, {key: (value, 1.0) for key, value in values.items()}, IDS)


def sides(measure: Measure = ACCURACY) -> tuple[MeasureColumn, MeasureColumn]:
    after = {key: float(key[0] in "fs") for key in IDS}
    before = {key: float(key[0] in "bst") for key in IDS}
    return made("new", after, measure), made("old", before, measure)


def valued(one: MeasureColumn, members: Mapping[str, list[str]] = MEMBERS) -> dict[str, SliceValue]:
    return {item.name: item for item in slice_values([one], places(members, IDS))}


def compared(ours: MeasureColumn, theirs: MeasureColumn) -> dict[str, Slice]:
    return {item.name: item for item in compare_slices([(ours, theirs)], places(MEMBERS, IDS))}


def test_a_slice_has_its_value_interval_and_n() -> None:
    values = valued(sides()[0], {**MEMBERS, "empty": []})
    broken = values["broken"].interval
    assert (broken.value, broken.low, broken.n) == (0.0, 0.0, 20)
    assert broken.high == pytest.approx(0.161, abs=0.001)  # Wilson: 20 wrong ones are no proof of all wrong
    assert (values["tiny"].interval.n, values["tiny"].p) == (2, None)
    assert (values["empty"].interval.value, values["empty"].interval.n) == (None, 0)


def test_a_share_is_set_against_the_rest_by_fishers_test() -> None:
    from scipy.stats import hypergeom

    values = valued(sides()[0])
    tail = float(hypergeom.cdf(0, 62, 40, 20))
    assert values["broken"].p == pytest.approx(3 * 2 * tail)  # three slices are large enough
    assert (values["same"].p or 0) < 0.01


def test_another_mean_is_set_against_the_rest_by_welchs_test() -> None:
    numbers = np.random.default_rng(0).normal(size=len(IDS))
    numbers[:20] += 2
    values = valued(
        made("m", dict(zip(IDS, map(float, numbers), strict=True)), LENGTH), {"broken": MEMBERS["broken"]}
    )
    expected = ttest_ind(numbers[:20], numbers[20:], equal_var=False).pvalue
    assert values["broken"].p == pytest.approx(expected, rel=1e-9)


def test_what_is_no_mean_or_hangs_together_gets_no_p_value() -> None:
    parts = {key: (float(key[0] == "f"), 0.0, 1.0, 0.0, 1.0, 0.0, 0.0) for key in IDS}
    values = valued(column("m", MACRO, parts, IDS))
    assert values["broken"].p is None and values["fixed"].interval.value == 1.0
    timed = valued(sides(LATENCY)[0])
    assert {(item.p, item.interval.low) for item in timed.values()} == {(None, None)}


def test_candidate_and_baseline_differ_where_they_do() -> None:
    found = compared(*sides())
    assert set(found) == {"broken", "fixed", "same"}  # tiny has too few examples
    broken, same = found["broken"].comparison, found["same"].comparison
    assert (broken.candidate, broken.baseline, broken.n, broken.delta) == ("new", "old", 20, -1.0)
    assert broken.ruling is not None and broken.ruling.standing == "worse"
    assert broken.ruling.p is not None and broken.ruling.p < 0.001
    assert broken.worst[:1] == ("b0",)
    assert (same.delta, same.p) == (0.0, 1.0)
    assert same.low is not None and same.low == -(same.high or 0.0) < 0  # no evidence is no certainty


def test_p_values_are_corrected_for_the_number_of_slices() -> None:
    found = compared(*sides())
    broken = found["broken"].comparison
    assert broken.ruling is not None and broken.ruling.size == 3
    assert broken.ruling.p == pytest.approx(3 * (broken.p or 0))


def test_examples_like_training_questions_are_tested_against_those_unlike_them() -> None:
    """Those that leaked (right, all of them) are in neither part."""
    parts = {"similar to training": MEMBERS["broken"], "unlike training": MEMBERS["same"]}
    one = made("new", {key: float(key[0] in "bf" or key == "s0") for key in IDS})
    for found in valued(one, parts).values():
        assert found.p == pytest.approx(2 * hypergeom.cdf(1, 40, 21, 20))


def test_measures_of_no_gate_do_not_dilute_those_of_one() -> None:
    other = replace(LENGTH, name="digits")
    found = compare_slices([sides(), sides(LENGTH), sides(other)], places(MEMBERS, IDS))
    sizes = {item.comparison.measure: item.comparison.ruling.size for item in found if item.comparison.ruling}
    assert sizes == {"accuracy": 3, "words": 6, "digits": 6}


def test_examples_that_one_model_has_no_value_for_are_left_out() -> None:
    ours, theirs = sides()
    found = compared(made("new", {key: 0.0 for key in IDS if key != "b0"}), theirs)
    assert found["broken"].comparison.n == 19 and ours.present.all()
    assert compared(made("new", {}), theirs) == {}


def test_interval_and_test_are_those_of_one_comparison_at_a_time() -> None:
    draw = np.random.default_rng(1)
    values = [draw.normal(size=len(IDS)), draw.normal(size=len(IDS)) - 0.5]
    ours, theirs = (
        made(name, dict(zip(IDS, map(float, one), strict=True)), LENGTH)
        for name, one in zip("ab", values, strict=True)
    )
    found = compared(ours, theirs)["broken"].comparison
    parts = [np.column_stack([one[:20], np.ones(20)]) for one in values]
    expected = compare(parts[0], parts[1], LENGTH.combine)
    assert found.delta == pytest.approx(expected.delta)
    # One comparison by itself studentises so few values; slices take percentiles, corrected for their number.
    assert found.low == pytest.approx(expected.low or 0, abs=0.1)
    assert found.high == pytest.approx(expected.high or 0, abs=0.1)
    assert found.p == pytest.approx(expected.p or 0, abs=0.03)


def test_the_smallest_p_value_survives_many_slices() -> None:
    ids = [str(place) for place in range(4000)]
    members = {f"slice {place}": ids[place * 40 : place * 40 + 40] for place in range(100)}
    ours, theirs = (
        column(name, ACCURACY, {key: (float(name == "old" or int(key) >= 40), 1.0) for key in ids}, ids)
        for name in ("new", "old")
    )
    found = {item.name: item for item in compare_slices([(ours, theirs)], places(members, ids))}
    rulings = {name: item.comparison.ruling for name, item in found.items()}
    first = rulings.pop("slice 0")
    assert first is not None and (first.p or 1) < 0.001
    assert {ruling.p for ruling in rulings.values() if ruling is not None} == {1.0}
