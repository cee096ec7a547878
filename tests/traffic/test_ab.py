"""Two variants of production's traffic: verdicts that hold at every look, and what makes them worthless."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import BadInput
from engine.traffic import events
from engine.traffic.ab import ABTest, ArmsCompared, compare
from engine.traffic.periods import DAY
from store import database
from store.read import history
from store.traffic import add

START = 1_767_571_200.0  # a Monday


class Served:
    """Traffic of two variants; the same seed makes the same."""

    def __init__(self, folder: Path) -> None:
        database.prepare(folder)
        self.connection = history.attach(database.connect(folder))
        self.rng = np.random.default_rng(7)
        self._rows: list[dict[str, Any]] = []

    def serve(
        self, variant: str | None, users: int, up: float, *, each: int = 1, first: int = 0, **more: Any
    ) -> None:
        """Events of so many users, each of whom likes an answer with that chance."""
        for user in range(first, first + users):
            for _ in range(each):
                spread = (user - first) / max(users - 1, 1) * 6.9  # from the first day to the last
                at = START + (spread + more.get("after", 0)) * DAY
                likes = bool(self.rng.random() < up)
                corrects = "correct" in more and self.rng.random() < more["correct"]
                words = int(self.rng.integers(5, 9)) * more.get("longer", 1)
                self._rows.append(
                    {
                        "prompt": f"question {len(self._rows)}",
                        "response": "word " * words if more.get("answered", True) else None,
                        "correction": "It is so." if corrects else None,
                        "model": more.get("model", "m"),
                        "variant": variant,
                        "time": at,
                        "thumbs": likes,
                        "latency_s": float(self.rng.lognormal(0, 0.5)),
                        "user": None if more.get("anonymous") else f"user {user}",
                    }
                )  # fmt: skip

    def compare(self, first: str = "a", second: str = "b", **more: Any) -> ABTest:
        pairs = [
            events.read(row, source="test", salt=b"0" * 32, received=START + 365 * DAY) for row in self._rows
        ]
        self._rows = []
        add(self.connection, [event for event, _ in pairs if event], [said for _, said in pairs if said])
        return compare(self.connection, first, second, **more)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    yield made
    made.connection.close()


def row(found: ABTest, measure: str) -> ArmsCompared:
    return next(each for each in found.measures if each.measure == measure)


def test_a_clear_difference_is_better_and_one_of_nothing_is_inconclusive(served: Served) -> None:
    served.serve("a", 300, 0.5)
    served.serve("b", 300, 0.8, first=300)
    found = served.compare()
    thumbs = row(found, "thumbs_up")
    assert thumbs.standing == "better" and thumbs.low is not None and thumbs.low > 0
    assert thumbs.delta == pytest.approx((thumbs.candidate_value or 0) - (thumbs.baseline_value or 0))
    assert row(served.compare("b", "a"), "thumbs_up").standing == "worse"
    latency = row(found, "latency")
    assert latency.standing == "inconclusive" and latency.needed is not None and latency.needed > 100
    assert (found.unit, found.design, found.in_both, found.remarks) == ("user", "between", 0, ())


def test_length_has_no_better_end(served: Served) -> None:
    served.serve("a", 60, 0.5)
    served.serve("b", 60, 0.5, first=60, longer=3)
    assert row(served.compare(), "length").standing == "more"


def test_few_users_are_not_tested_however_many_events_they_have(served: Served) -> None:
    served.serve("a", 5, 0.1, each=40)
    served.serve("b", 5, 0.9, each=40, first=5)
    thumbs = row(served.compare(), "thumbs_up")
    assert thumbs.standing == "not tested" and thumbs.p is None
    assert thumbs.reason == "one arm has 5, and 20 are needed"


def test_a_user_counts_once(served: Served) -> None:
    """One loud user with 500 thumbs down does not decide."""
    served.serve("a", 40, 0.6)
    served.serve("b", 40, 0.6, first=40)
    served.serve("b", 1, 0.0, each=500, first=40)
    thumbs = row(served.compare(), "thumbs_up")
    assert thumbs.standing == "inconclusive" and thumbs.units == (40, 40)


def test_arms_of_other_sizes_than_assigned_are_told_before_all_and_give_no_verdict(served: Served) -> None:
    served.serve("a", 420, 0.5)
    served.serve("b", 280, 0.9, first=420)
    found = served.compare()
    assert found.ratio.mismatched and found.ratio.chi2 == pytest.approx(28.0)
    assert found.ratio.p == pytest.approx(1.2e-7, rel=0.05)
    assert found.remarks[0].startswith("SAMPLE RATIO MISMATCH: b has 40.0% of the users, 50.0% were expected")
    assert {each.standing for each in found.measures} == {"not tested"}
    assert row(served.compare(expected=0.4), "thumbs_up").standing == "better"


def test_users_of_both_arms_are_left_out_and_counted(served: Served) -> None:
    served.serve("a", 100, 0.5)
    served.serve("b", 100, 0.5, first=90)
    found = served.compare()
    assert found.in_both == 10 and row(found, "thumbs_up").units == (90, 90)
    assert found.remarks == ("10 users saw both a and b and are left out",)


def test_where_most_users_see_both_each_is_compared_with_itself(served: Served) -> None:
    served.serve("a", 80, 0.3, each=4)
    served.serve("b", 80, 0.7, each=4)
    found = served.compare()
    thumbs = row(found, "thumbs_up")
    assert found.design == "within" and thumbs.standing == "better" and thumbs.units == (80, 80)
    assert found.ratio.counted == "events"


def test_only_the_time_in_which_both_were_served_counts(served: Served) -> None:
    served.serve("a", 100, 0.9)
    served.serve("a", 100, 0.5, first=100, after=7)
    served.serve("b", 100, 0.5, first=200, after=7)
    found = served.compare()
    assert found.since >= START + 7 * DAY and found.arms[0].left_out >= 100
    assert row(found, "thumbs_up").standing == "inconclusive"
    assert any("from when one of the two was not served" in remark for remark in found.remarks)


def test_variants_that_were_never_served_together_are_not_compared(served: Served) -> None:
    served.serve("a", 30, 0.5)
    served.serve("b", 30, 0.5, first=30, after=20)
    with pytest.raises(BadInput, match="never served at the same time"):
        served.compare()


def test_without_users_each_event_counts_and_that_is_said(served: Served) -> None:
    served.serve("a", 100, 0.4, anonymous=True)
    served.serve("b", 100, 0.4, anonymous=True)
    found = served.compare()
    assert found.unit == "event" and "intervals are too narrow" in found.remarks[0]


def test_weeks_are_told_apart_and_what_wears_off_is_named(served: Served) -> None:
    for place, up in enumerate((0.95, 0.5, 0.5)):
        served.serve("a", 250, 0.5, first=place * 500, after=7 * place)
        served.serve("b", 250, up, first=place * 500 + 250, after=7 * place)
    found = served.compare()
    thumbs = row(found, "thumbs_up")
    assert [week.n for week in thumbs.weeks] == [(250, 250)] * 3
    assert thumbs.early is not None and 0.3 < thumbs.early < 0.6
    assert any(remark.startswith("thumbs up: the first week's difference") for remark in found.remarks)


def test_models_are_compared_where_no_event_names_a_variant(served: Served) -> None:
    served.serve(None, 40, 0.5, model="one")
    served.serve(None, 40, 0.5, model="two", first=40)
    assert [arm.events for arm in served.compare("one", "two").arms] == [40, 40]


def test_what_cannot_be_compared_is_told_with_what_there_is(served: Served) -> None:
    served.serve("a", 3, 0.5)
    served.serve("b", 3, 0.5)
    with pytest.raises(BadInput, match="no answer of variant c"):
        served.compare("a", "c")
    with pytest.raises(BadInput, match="compared with itself"):
        served.compare("a", "a")
    with pytest.raises(BadInput, match="no event in that time"):
        served.compare(since=START + 300 * DAY)
    with pytest.raises(BadInput, match="between 0 and 1"):
        served.compare(expected=1.0)


def test_corrections_and_ratings_that_nobody_gave_are_no_measure(served: Served) -> None:
    served.serve("a", 30, 0.5)
    served.serve("b", 30, 0.5, first=30)
    measures = {each.measure for each in served.compare().measures}
    assert "corrected" not in measures and "rating" not in measures and "thumbs_up" in measures


def test_a_request_without_an_answer_has_nothing_to_correct(served: Served) -> None:
    served.serve("a", 40, 0.5, correct=0.5)
    served.serve("b", 40, 0.5, first=40, correct=0.5)
    rates = row(served.compare(), "corrected")
    served.serve("b", 40, 0.5, first=40, answered=False)
    assert row(served.compare(), "corrected").candidate_value == rates.candidate_value
