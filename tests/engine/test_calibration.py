"""What people's labels say of a judge."""

import pytest
from sklearn.metrics import cohen_kappa_score

from engine.compare.calibration import (
    HumanLabel,
    calibrate,
    confidence_bins,
    criteria,
    score_bins,
    two_raters,
)
from engine.stats.agreement import pairwise_agreement
from engine.stats.family import kappa, majority, share_of, wilson


def labels(said: str, annotator: str = "ann", queue: str | None = "random") -> list[HumanLabel]:
    """One label an example, written as w l t b for win, loss, tie, both bad and - for none."""
    names = {"w": "win", "l": "loss", "t": "tie", "b": "both_bad"}
    return [
        HumanLabel(f"e{place}", annotator, names[each], "billing" if place % 2 else "refund", queue)
        for place, each in enumerate(said)
        if each != "-"
    ]


def verdicts(said: str) -> dict[str, str]:
    names = {"w": "win", "l": "loss", "t": "tie"}
    return {f"e{place}": names[each] for place, each in enumerate(said) if each != "-"}


@pytest.mark.parametrize(
    ("people", "judge"), [("wwltb", "wlltw"), ("wlwl", "lwlw"), ("wwww", "wwww"), ("", "")]
)
def test_kappa_without_its_interval_is_the_same(people: str, judge: str) -> None:
    said, judged = labels(people), verdicts(judge)
    both = [(majority([label.outcome]), judged[label.example]) for label in said]
    whole = calibrate(said, judged).against_people.kappa.value
    assert kappa(both) == (None if whole is None else pytest.approx(whole))


def test_a_judge_is_held_against_people_with_and_without_ties() -> None:
    found = calibrate(labels("wwltb"), verdicts("wlltw"))
    assert found.against_people.pairs == 5
    assert found.against_people.raw.value == pytest.approx(3 / 5)
    assert found.against_people.raw_without_ties.value == pytest.approx(2 / 3)
    expected = cohen_kappa_score(["w", "w", "l", "t", "t"], ["w", "l", "l", "t", "w"])
    assert found.against_people.kappa.value == pytest.approx(expected)


def test_a_failed_verdict_and_an_unlabelled_example_are_in_no_figure() -> None:
    found = calibrate(labels("w-l"), verdicts("www-"))
    assert found.against_people.pairs == 2
    assert found.against_people.raw.value == 0.5


def test_several_people_count_as_their_majority_and_a_draw_as_a_tie() -> None:
    assert majority(["win", "win", "loss"]) == "win"
    assert majority(["win", "loss"]) == "tie"
    assert majority(["both_bad", "tie", "win"]) == "tie"
    said = [*labels("ww", "ann"), *labels("wl", "bob"), *labels("ll", "eve")]
    found = calibrate(said, verdicts("wl"))
    assert found.against_people.raw.value == 1.0
    assert set(found.between_people) == {"ann and bob", "ann and eve", "bob and eve", "all"}
    assert found.between_people["ann and bob"].raw.value == 0.5
    assert found.between_people["all"].raw.value == pytest.approx(2 / 6)


def test_of_a_crowd_only_those_are_compared_who_share_enough() -> None:
    crowd = [HumanLabel("e0", f"p{place}", "win") for place in range(8)]
    both = [HumanLabel(f"e{place}", name, "win") for place in range(1, 10) for name in ("p0", "p1")]
    found = calibrate([*crowd, *both], {"e0": "win"})
    assert set(found.between_people) == {"p0 and p1", "all"}


def test_agreement_of_several_is_resampled_by_item() -> None:
    found = pairwise_agreement([["a", "a", "a"], ["a", "b", None], ["c", None, None]])
    assert (found.value, found.n) == (pytest.approx(3 / 4), 2)


def test_where_judge_and_people_differ_is_counted_by_category() -> None:
    found = calibrate(labels("wwll"), verdicts("wlwl"))
    assert found.confusion[""] == {"win": {"win": 1, "loss": 1}, "loss": {"win": 1, "loss": 1}}
    assert found.confusion["refund"] == {"win": {"win": 1}, "loss": {"win": 1}}
    assert found.confusion["billing"] == {"win": {"loss": 1}, "loss": {"loss": 1}}


def test_only_labels_of_the_random_queue_correct_the_judges_win_rate() -> None:
    judged = verdicts("w" * 200)
    worst = calibrate(labels("l" * 40, queue="worst"), judged, gate=0.55)
    assert worst.corrected.value is None and worst.corrected.reason is not None
    assert worst.corrected.judge_alone == 1.0
    drawn = calibrate(labels("wl" * 20), judged, gate=0.55)
    assert drawn.corrected.value == pytest.approx(0.5)
    assert drawn.corrected.labelled == 40 and drawn.corrected.unlabelled == 160


def test_a_judge_that_agreed_with_every_label_is_not_certain() -> None:
    same = "w" * 38 + "ll"
    found = calibrate(labels(same), verdicts(same + "w" * 60), gate=0.95)
    assert found.corrected.value == 1.0 and found.corrected.high == 1.0
    assert found.corrected.low == pytest.approx(1 - 3.8415 / 43.8415, abs=1e-4)
    assert found.to_settle == 73  # 3.84 / (73 + 3.84) is 0.05


def test_labels_that_are_all_alike_are_not_certain() -> None:
    found = calibrate(labels("w" * 40), verdicts("w" * 30 + "l" * 70)).corrected
    assert found.labels_alone.value == 1.0 and found.labels_alone.high == 1.0
    assert found.labels_alone.low == pytest.approx(0.912, abs=1e-3)
    assert found.value is not None and found.low is not None and found.high is not None
    assert 0 <= found.low <= found.value <= found.high <= 1
    everything = calibrate(labels("w" * 40, queue=None), verdicts("w" * 40)).corrected
    assert everything.low == pytest.approx(0.912, abs=1e-3)


def test_labels_of_every_example_need_no_queue() -> None:
    found = calibrate(labels("wl" * 20, queue=None), verdicts("w" * 40))
    assert found.corrected.value == 0.5
    assert found.corrected.reason == "every example was labelled"


def test_the_criterion_that_the_judge_misreads_stands_first() -> None:
    people = {(f"e{place}", "lora"): {"correct": float(place % 5 + 1), "polite": 3.0} for place in range(10)}
    judge = {
        answer: {"correct": 6 - scores["correct"], "polite": scores["polite"] + 0.5}
        for answer, scores in people.items()
    }
    found = criteria(people, judge)
    assert [item.name for item in found] == ["correct", "polite"]
    assert found[0].spearman.value == pytest.approx(-1.0)
    assert found[1].difference == pytest.approx(0.5)
    assert found[1].spearman.value is None and found[1].spearman.reason


def test_two_people_who_always_say_the_same_have_no_agreement_beyond_chance() -> None:
    found = two_raters(["win", "win"], ["win", "win"])
    assert found.raw.value == 1.0
    assert found.kappa.value is None and found.kappa.reason


def test_the_labels_alone_have_the_interval_that_review_shows() -> None:
    said = "w" * 14 + "l" * 5 + "t" * 3
    alone = calibrate(labels(said), verdicts(said)).corrected.labels_alone
    shown = share_of(14 + 3 / 2, 22)
    assert (alone.value, alone.low, alone.high) == pytest.approx((shown.value, shown.low, shown.high))


def test_a_confidence_curve_counts_agreement_in_bins_of_ten_per_cent() -> None:
    pairs = [(0.95, True), (1.0, True), (0.91, False), (0.55, False), (0.5, True)]
    low, high = confidence_bins(pairs)
    assert (low.low, low.high, low.n, low.people, low.judge) == (0.5, 0.6, 2, 0.5, pytest.approx(0.525))
    assert (high.low, high.high, high.n) == (0.9, 1.0, 3) and high.people == pytest.approx(2 / 3)
    interval = wilson(2, 3)
    assert (high.people_low, high.people_high) == (interval.low, interval.high)
    assert confidence_bins([]) == []


def test_a_score_curve_has_peoples_mean_rating_for_each_whole_score() -> None:
    three, four = score_bins([(3.0, 2.0), (3.4, 4.0), (4.0, 5.0)])
    assert (three.low, three.n, three.people, three.judge) == (3, 2, 3.0, pytest.approx(3.2))
    assert (four.low, four.n, four.people, four.people_low) == (4, 1, 5.0, None)
