"""The one rule: what a comparison says, corrected over its family."""

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from engine.compare.comparison import Comparison, compare_parts, from_paired
from engine.compare.ruling import BoundedComparison, Ruling, rule, rule_on_rate
from engine.gates.measures import ruled
from engine.metrics.metric import Measure
from engine.plan.plan import Gates
from engine.stats.family import holm
from engine.stats.paired import Paired
from engine.stats.winrate import win_rate

SCORE = Measure("score", "higher", 0.0, 1.0, "share", frozenset(), "1", "test", "right answers")


def compared(
    delta: float, width: float, p: float, n: int = 100, direction: str = "higher", base: float = 0.6
) -> Comparison:
    paired = Paired(base + delta, base, delta, delta - width, delta + width, p, n, 2.8 * width / 1.96)
    found = from_paired("tuned", "base", "score", "higher", "metric", paired)
    return replace(found, direction=direction)


def only(comparison: Comparison, allowed: float | None = None) -> Ruling:
    [ruling] = rule("checked", [BoundedComparison(comparison, (0.0, 1.0), allowed)])
    return ruling


@pytest.mark.parametrize(
    ("delta", "direction", "standing"),
    [(0.1, "higher", "better"), (-0.1, "higher", "worse"), (0.1, "lower", "worse"), (-0.1, "none", "less")],
)
def test_what_chance_does_not_explain_has_a_side(delta: float, direction: str, standing: str) -> None:
    ruling = only(compared(delta, 0.04, 0.001, direction=direction))
    assert (ruling.standing, ruling.is_decided, ruling.needed) == (standing, True, None)


def test_many_looks_are_corrected_for() -> None:
    """The same comparison alone is worse, and among five it is not."""
    close = compared(-0.1, 0.085, 0.02)
    assert only(close).standing == "worse"
    found = rule("checked", [BoundedComparison(close)] * 5)
    assert {item.standing for item in found} == {"inconclusive"}
    assert [item.p for item in found] == pytest.approx(holm([0.02] * 5))
    assert all(item.needed and item.needed > 100 and item.size == 5 for item in found)


def test_no_worse_takes_an_interval_within_the_limit() -> None:
    narrow, wide = compared(-0.01, 0.02, 0.4), compared(-0.01, 0.08, 0.8)
    assert only(narrow, allowed=0.05).standing == "no worse"
    assert only(narrow).standing == "inconclusive"
    assert only(wide, allowed=0.05).standing == "inconclusive"
    assert only(compared(-0.04, 0.005, 0.001), allowed=0.05).standing == "worse"  # a limit is no other test


def test_no_worse_is_corrected_over_the_comparisons_with_a_limit() -> None:
    """Ten drops within the limit by plain intervals: ruled out together only where the sharpest allow it."""
    close, sharp = compared(-0.01, 0.038, 0.6), compared(-0.01, 0.01, 0.05)
    assert only(close, allowed=0.05).standing == "no worse"

    def together(*items: Comparison, without: int = 0) -> list[Ruling]:
        asked = [BoundedComparison(item, (0.0, 1.0), 0.05) for item in items]
        return rule("checked", [*asked, *[BoundedComparison(close)] * without])

    assert {ruling.standing for ruling in together(*[close] * 10)} == {"inconclusive"}
    mixed = together(close, *[sharp] * 9)
    assert {ruling.standing for ruling in mixed[1:]} == {"no worse"}
    for ruling in (*mixed, *together(*[close] * 10)):
        assert ruling.low is not None and ruling.high is not None and ruling.low < 0 < ruling.high
        assert (ruling.low >= -0.05) == (ruling.standing == "no worse")


def test_a_value_at_the_floor_cannot_be_lost() -> None:
    nothing = {str(place): (0.0, 1.0) for place in range(20)}
    found = compare_parts("tuned", "base", SCORE, nothing, nothing)
    assert found.low is not None and found.low < 0
    assert only(found, allowed=0.05).standing == "at the floor"
    gained = {str(place): (float(place < 2), 1.0) for place in range(20)}
    gain = only(compare_parts("tuned", "base", SCORE, gained, nothing), allowed=0.05)
    assert gain.standing == "inconclusive" and gain.needed is not None and gain.needed > 20
    right = {str(place): (1.0, 1.0) for place in range(20)}
    assert only(compare_parts("tuned", "base", SCORE, right, right), allowed=0.05).standing == "inconclusive"
    many = {str(place): (1.0, 1.0) for place in range(400)}
    assert only(compare_parts("tuned", "base", SCORE, many, many), allowed=0.05).standing == "no worse"


def test_what_was_not_measured_is_missing_and_what_has_no_interval_not_tested() -> None:
    untested = replace(compared(-0.1, 0.04, 0.001), low=None, high=None, p=None)
    assert only(untested).standing == "not tested"
    assert only(replace(untested, delta=None)).standing == "missing"


def test_few_values_do_not_say_how_many_it_takes() -> None:
    assert only(compared(-0.1, 0.3, 0.4, n=7)).needed is None
    assert only(compared(-0.1, 0.3, 0.4, n=8)).needed is not None


def test_a_corrected_interval_keeps_within_the_range() -> None:
    found = rule("checked", [BoundedComparison(compared(-0.9, 0.08, 0.01), (0.0, 1.0))] * 30)
    assert min(item.low or 0.0 for item in found) == -1.0


def test_what_a_gate_checks_is_a_family_of_its_own() -> None:
    """Measures that nobody asked about do not dilute those that a gate checks."""
    rng = np.random.default_rng(0)
    words = replace(SCORE, name="words", low=None, high=None, direction="none")
    parts = [
        {str(place): (float(value), 1.0) for place, value in enumerate(rng.random(50))} for _ in range(2)
    ]
    items = [compare_parts("tuned", "base", measure, *parts) for measure in (SCORE, words)]
    found, _ = ruled(items, [], Gates(), {"score": SCORE, "words": words})
    rulings = [item.ruling for item in found if item.ruling]
    assert [(ruling.family, ruling.size) for ruling in rulings] == [("checked", 1), ("unchecked", 1)]


def test_the_rule_costs_no_heavy_library() -> None:
    code = "import sys, engine.compare.ruling\n"
    code += "print({'numpy', 'torch', 'scipy', 'sqlmodel', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_win_rate_is_corrected_for_all_of_the_candidates_win_rates() -> None:
    sixty = {"wins": 72, "losses": 48, "win_rate": 0.6, "low": 0.51, "high": 0.69}
    said = [rule_on_rate(SimpleNamespace(**sixty, looks=looks)) for looks in (1, 4)]
    assert said == ["better", "inconclusive"]
    lost = SimpleNamespace(wins=16, losses=64, win_rate=0.2, low=0.1, high=0.3, looks=4)
    assert rule_on_rate(lost) == "worse"
    nothing = SimpleNamespace(wins=0, losses=0, win_rate=None, low=None, high=None, looks=1)
    assert rule_on_rate(nothing) == "missing"


@pytest.mark.parametrize(
    ("wins", "ties", "said"), [(4, 0, "inconclusive"), (4, 4, "inconclusive"), (6, 0, "better")]
)
def test_a_handful_of_verdicts_says_better_only_where_the_sign_test_does(
    wins: int, ties: int, said: str
) -> None:
    rate = win_rate(["win"] * wins + ["tie"] * ties)
    counted = {"wins": wins, "losses": 0, "win_rate": rate.win_rate, "low": rate.low, "high": rate.high}
    assert rule_on_rate(SimpleNamespace(**counted, looks=1)) == said


def test_equal_comparisons_get_equal_rulings_whatever_their_order() -> None:
    same = {f"e{n}": (1.0, 1.0) for n in range(80)}
    items = [compare_parts("tuned", "base", SCORE, same, same) for _ in range(4)]
    rulings = rule("checked", [BoundedComparison(item, (0.0, 1.0), 0.05) for item in items])
    assert len({(ruling.standing, ruling.low, ruling.high) for ruling in rulings}) == 1
