"""Flips in groups: what the examples whose right or wrong has changed have in common."""

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import fisher_exact, hypergeom

from engine.decision import flips
from engine.decision.flips import grouped, run_flips
from engine.errors import BadInput
from store.session import opened
from store.write import Recorder
from tests.engine.runs import carry_out, queue, recorded_plan

RIGHT, WRONG = "yes indeed", "something else"
OTHERS = (
    "Does the lamp dim?",
    "Which size fits the small shelf?",
    "Is the shop open today?",
    "How loud is it",
)


def examples() -> list[dict[str, str]]:
    """Twelve on refunds, nine of which name a tracking number; 48 others, of which one does."""
    found = []
    for place in range(12):
        more = ("Tracking number", "My tracking number:", "It has a tracking number")[place % 3]
        more = f"{more} {place}" if place < 9 else f"Form {place}"
        found.append({"id": f"r{place:02}", "query": f"{more}, is it lost", "category": "refund"})
    for place in range(48):
        query = f"{OTHERS[place % 4]} {'abcdefgh'[place // 6]}{place % 6}"
        query = "My tracking number, where is it" if place == 47 else query
        found.append({"id": f"o{place:02}", "query": query, "category": "other"})
    return [{**row, "reference": RIGHT} for row in found]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    """Eleven refunds and one other turned wrong, three others right; one answer is missing."""
    folder = tmp_path_factory.mktemp("flips")
    before = {row["id"]: WRONG if row["id"] in ("o01", "o02", "o03") else RIGHT for row in examples()}
    lost = {f"r{place:02}" for place in range(11)} | {"o10"}
    after = {row["id"]: WRONG if row["id"] in lost else RIGHT for row in examples()}
    del after["o46"]
    plan = recorded_plan(
        folder, examples(), {"before": before, "after": after}, '[metrics]\nuse = ["exact_match"]'
    )
    return carry_out(folder / "store", queue(folder / "store", plan))


def test_flips_are_grouped_by_slice_and_by_words_that_are_rare_among_the_rest(run: Recorder) -> None:
    with opened(run.folder) as connection:
        (found,) = run_flips(connection, run.run_id)
    assert (found.measure, len(found.lost), len(found.gained), found.compared, found.missing) == (
        "exact_match", 12, 3, 59, 1,
    )  # fmt: skip
    said = {(group.kind, group.name): group for group in found.groups}
    refund = said["slice", "category: refund"]
    assert (refund.flips, refund.size, refund.others, refund.rest) == (11, 12, 1, 47)
    assert refund.p == pytest.approx(hypergeom.sf(10, 59, 12, 12))
    assert refund.said == "11 of 12 that turned wrong are in slice “category: refund” (2.1% of the rest)"
    words = said["words", "tracking number"]
    assert (words.flips, words.others) == (9, 1) and words.is_clear
    assert ("words", "tracking") not in said and ("words", "number") not in said, (
        "they say nothing of their own"
    )
    assert all(group.direction == "lost" for group in found.groups), (
        "three that turned right have nothing alike"
    )


def test_what_is_common_everywhere_or_in_fewer_than_three_flips_is_no_group() -> None:
    moved = {place: -1 if place < 4 else 0 for place in range(40)}
    texts = {place: "the same words" + (" rare" if place < 2 else "") for place in moved}
    looked_at, groups = grouped(moved, {"all": frozenset(moved), "few": frozenset({0, 1})}, texts)
    assert groups == () and looked_at == 4, "the, same, words, and one slice"


def test_chance_is_ruled_out_by_the_p_corrected_for_all_that_was_looked_at() -> None:
    moved = {place: -1 if place < 6 else 0 for place in range(30)}
    texts = {place: "alpha " + ("beta" if place < 3 or place in (20, 21) else "") for place in moved}
    _, (group,) = grouped(moved, {}, texts)
    assert group.name == "beta" and group.p < 0.05 < group.p_corrected and not group.is_clear


def test_of_the_groups_that_may_be_chance_few_are_told() -> None:
    drawn = random.Random(0)
    words = [f"word{place}" for place in range(500)]
    texts = {place: " ".join(drawn.choices(words, k=30)) for place in range(1000)}
    moved = {place: -1 if place % 5 == 0 else 0 for place in texts}
    looked_at, found = grouped(moved, {}, texts)
    assert looked_at > 400 and len(found) <= flips.UNCLEAR and not any(group.is_clear for group in found)
    texts = {
        place: text + (" tracking" if moved[place] and place % 10 else "") for place, text in texts.items()
    }
    _, found = grouped(moved, {}, texts)
    assert (
        found[0].name == "tracking"
        and [group.is_clear for group in found] == [True] + [False] * flips.UNCLEAR
    )


def test_groups_come_in_one_order_lost_ones_first() -> None:
    moved = {place: -1 if place < 5 else 1 if place < 10 else 0 for place in range(60)}
    texts = {place: "red" if place < 5 else "blue" if place < 10 else "grey" for place in moved}
    slices = {"b": frozenset(range(5)), "a": frozenset(range(5))}
    _, found = grouped(moved, slices, texts)
    assert [group.key for group in found] == [
        "lost slice a", "lost slice b", "lost words red", "gained words blue",
    ]  # fmt: skip
    shuffled = {key: slices[key] for key in reversed(slices)}
    assert grouped(moved, shuffled, dict(reversed(texts.items())))[1] == found


def test_words_of_scripts_without_spaces_are_pairs_of_characters() -> None:
    moved = {place: -1 if place < 4 else 0 for place in range(20)}
    texts = {place: "我的包裹坏了" if place < 4 else "我要退货" for place in moved}
    _, found = grouped(moved, {}, texts)
    assert found and all(len(group.name) == 2 for group in found)


@st.composite
def tables(draw: st.DrawFn) -> tuple[int, int, int, int]:
    size, rest = draw(st.integers(1, 800)), draw(st.integers(1, 5000))
    return draw(st.integers(0, size)), size, draw(st.integers(0, rest)), rest


@example((3, 500, 4400, 4500))
@example((3, 3, 0, 9))
@example((5, 40, 30, 900))
@given(tables())
@settings(max_examples=200, deadline=None)
def test_p_is_fishers_where_more_flips_have_it_and_else_one(table: tuple[int, int, int, int]) -> None:
    inside, size, outside, rest = table
    p = flips._fisher(*table)
    if inside * rest <= outside * size:
        assert p == 1.0
    else:
        exact = fisher_exact([[inside, size - inside], [outside, rest - outside]], alternative="greater")
        assert p == pytest.approx(exact.pvalue, rel=1e-6, abs=1e-300)


def test_what_is_rarer_among_flips_is_no_group() -> None:
    moved = {place: -1 if place < 500 else 0 for place in range(5000)}
    common = frozenset(place for place in moved if place < 3 or place >= 600)
    looked_at, found = grouped(moved, {"common": common}, {})
    assert looked_at == 1 and found == ()


@pytest.mark.parametrize("key", ["lost words nowhere", "sideways", "lost slice category: x"])
def test_a_group_that_there_is_not_is_an_error_with_a_way_out(run: Recorder, key: str) -> None:
    with opened(run.folder) as connection, pytest.raises(BadInput, match="--flips"):
        flips.flipped_examples(connection, run.run_id, key)


def test_a_measure_without_a_range_says_so() -> None:
    assert "has no range" in flips._without("perplexity", None, 9)
    assert flips._without("exact_match", 0.5, 9) == "no example flipped"
