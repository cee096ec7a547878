"""What sets ask and lack, how they differ, and what is suspicious about scores."""

import random

import numpy as np
import pytest

from engine.data.coverage import cover, draw, drift, gaps, psi, survey, thinned, two_sample
from engine.data.duplicates import conflicts, duplicates
from engine.data.example import Example
from engine.data.leak import all_jump, near_ceiling, prefers_original
from engine.data.versions import refuse_used_test, training_edited, version_diff
from engine.errors import BadInput
from engine.stats.family import smallest_change
from store.records import SplitUse

TOPICS = {
    "refund": ["refund for order {}", "money back for my order {}", "when is the refund of {} due"],
    "parcel": ["where is parcel {}", "shipping status of parcel {}", "track my parcel {}"],
    "login": [
        "password of account {} forgotten",
        "account {} locked after login",
        "login to account {} fails",
    ],
}


def asked(topic: str, count: int, seed: int = 0) -> list[str]:
    pick = random.Random(f"{topic}{seed}")
    return [pick.choice(TOPICS[topic]).format(pick.randint(0, 10**6)) for _ in range(count)]


def example(name: str, query: str, *references: str, category: str | None = None) -> Example:
    messages = ({"role": "user", "content": query},)
    return Example(name, query, messages, references=references, category=category)


def test_what_production_asks_and_the_eval_set_lacks_is_found_with_its_size() -> None:
    sets = {
        "eval": asked("refund", 60) + asked("parcel", 40),
        "log": asked("refund", 300, 1) + asked("parcel", 300, 1) + asked("login", 400, 1),
    }
    coverage = cover(sets, seed=1)
    assert sum(cluster.sizes["log"] for cluster in coverage.clusters) == 1000
    lacking = gaps(coverage, "log", "eval")
    found = [coverage.clusters[gap.cluster] for gap in lacking]
    assert sum(cluster.sizes["log"] for cluster in found if cluster.sizes["eval"] == 0) == 400
    assert all(
        "account" in text for cluster in found for text in cluster.examples if not cluster.sizes["eval"]
    )
    assert sum(gap.missing for gap in lacking) >= 40


def test_clusters_do_not_depend_on_the_order() -> None:
    texts = asked("refund", 50) + asked("login", 50)
    first, second = cover({"eval": texts}), cover({"eval": texts[::-1]})
    assert [cluster.label for cluster in first.clusters] == [cluster.label for cluster in second.clusters]
    assert first.members["eval"].tolist() == second.members["eval"].tolist()[::-1]


def test_a_sample_keeps_the_proportions_or_balances_them_and_repeats_no_question() -> None:
    texts = [f"refund {n}" for n in range(600)] + [f"login {n}" for n in range(200)] + ["parcel"] * 100
    members = np.repeat([0, 1, 2], [600, 200, 100])
    kept = draw(texts, members, 81)
    assert np.bincount(members[kept]).tolist() == [60, 20, 1]
    balanced = draw(texts, members, 81, balanced=True)
    assert np.bincount(members[balanced]).tolist() == [40, 40, 1]
    assert draw(texts, members, 81) == kept != draw(texts, members, 81, seed=1)
    assert len(draw(texts, members, 5000)) == 801


def test_one_question_alone_cannot_be_grouped() -> None:
    with pytest.raises(BadInput, match="fewer than two"):
        cover({"eval": ["a", "a"]})


def test_drift_is_nothing_between_halves_and_plain_between_topics() -> None:
    texts = asked("refund", 400)
    alike = drift(texts[::2], texts[1::2])
    assert alike.length < 0.1 and alike.classifier.p is not None and alike.classifier.p > 0.01
    moved = drift(asked("refund", 200), asked("login", 200), (["y"] * 200, ["x"] * 200))
    assert moved.classifier.accuracy == 1.0 and moved.classifier.p is not None and moved.classifier.p < 1e-9
    assert moved.vocabulary > 0.8 and moved.category is not None and moved.category > 0.25
    assert alike.category is None and alike.cluster is None
    assert drift(texts[:30], texts[30:60], ([None] * 30, ["x"] * 30)).category is None


def test_psi_is_symmetric_zero_for_equal_shares_and_finite_for_new_classes() -> None:
    assert psi("aabb" * 50, "abab" * 50) == 0
    assert psi("a" * 90 + "b" * 10, "a" * 50 + "b" * 50) == pytest.approx(
        psi("a" * 50 + "b" * 50, "a" * 90 + "b" * 10)
    )
    # Σ (q − p) ln(q / p) by hand for 0.9/0.1 against 0.5/0.5, before half counts
    assert psi("a" * 9000 + "b" * 1000, "ab" * 5000) == pytest.approx(0.8789, abs=1e-3)
    assert 0 < psi("aaaa", "bbbb") < 10


def test_too_few_texts_for_a_classifier_are_said_to_be_too_few() -> None:
    found = two_sample(["a b"] * 100, ["c d"] * 100)
    assert found.accuracy is None and found.reason is not None and "20 texts" in found.reason


def test_two_hundred_examples_show_a_seven_point_change() -> None:
    assert round(smallest_change(200), 2) == 0.07
    assert smallest_change(1) == 1
    # Models that agree on seven examples of eight cannot differ by more than the eighth.
    assert smallest_change(30) == pytest.approx(0.262, abs=0.001)
    with pytest.raises(ValueError):
        smallest_change(0)


def test_versions_differ_by_what_was_added_removed_and_edited() -> None:
    before = [example("a", "one", "x"), example("b", "two", "y"), example("c", "three")]
    after = [example("d", "four"), example("b", "two", "z", category="new"), example("a", "one", "x")]
    found = version_diff(before, after)
    assert ([e.id for e in found.added], [e.id for e in found.removed]) == (["d"], ["c"])
    assert [(edit.after.id, edit.changed) for edit in found.edited] == [("b", ("references", "category"))]
    assert found.unchanged == 1 and found.before != found.after
    same = version_diff(before, before[::-1])
    assert same.before == same.after and same.unchanged == 3


def test_copies_and_contradictions_inside_a_set_are_found() -> None:
    long = "please tell me how I can change the address of the order that I made in the shop last week"
    examples = [
        example("a", long, "x"),
        example("b", "something else entirely", "y"),
        example("c", long.replace("week", "month"), "z"),
        example("d", "Something  else entirely", "another"),
    ]
    assert [group.places for group in duplicates(examples)] == [(0, 2), (1, 3)]
    assert [(one.id, other.id) for one, other in conflicts(examples)] == [("b", "d")]


def test_a_survey_counts_and_serialises_what_it_found() -> None:
    evaluation = [example(str(n), text, "x") for n, text in enumerate(asked("refund", 50))]
    log = [example("", text) for text in asked("login", 60)]
    found = survey(evaluation, train=iter(log), log=log).as_dict()
    assert found["sizes"] == {"eval": 50, "train": 60, "log": 60}
    assert found["gaps"] and found["drift"].keys() == {"train", "log"}
    assert sum(cluster["sizes"]["eval"] for cluster in found["clusters"]) == 50


def test_a_long_stream_is_thinned_by_content() -> None:
    rows = [example("", text) for text in dict.fromkeys(asked("parcel", 300))]
    kept = thinned(iter(rows), 20)
    assert len(kept) == 20
    assert {row.query for row in thinned(reversed(rows), 20)} == {row.query for row in kept}
    assert len(thinned([rows[0]] * 5, 3)) == 3


def test_suspicion_is_a_hint_about_ceilings_joint_jumps_and_the_original_wording() -> None:
    [hint] = near_ceiling("base", {"mmlu": 0.97, "gsm8k": 0.4})
    assert (hint.subject, "hint" in hint.message) == ("mmlu", True)
    assert all_jump("tuned", {"a": 0.1, "b": 0.06, "c": 0.2})
    assert not all_jump("tuned", {"a": 0.1, "b": -0.01, "c": 0.2})
    assert not all_jump("tuned", {"a": 0.1, "b": 0.2})
    assert prefers_original("tuned", [0.5] * 12, [0.6] * 12)
    assert not prefers_original("tuned", [0.5, 0.7] * 6, [0.6, 0.6] * 6)
    assert not prefers_original("tuned", [0.5] * 5, [0.6] * 5)


def test_a_used_test_split_is_refused_unless_the_plan_is_final() -> None:
    uses = [
        SplitUse(run_id=1, eval_set="abc", split="test", user="ada", reason="run of v1", created=1.7e9),
        SplitUse(eval_set="abc", split="test", user="bob", reason="looked at examples", created=1.75e9),
    ]
    refuse_used_test("abc", [], final=False)
    refuse_used_test("abc", uses, final=True)
    with pytest.raises(BadInput, match=r"used twice before, last on 2025-06-15 by bob(.|\n)*final = true"):
        refuse_used_test("abc", uses, final=False)
    assert training_edited("f00", {4: "f00", 7: "ba5", 2: "ba5"}) == [2, 7]
