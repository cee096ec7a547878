"""Copies and leaks in large families of similar questions: bounded work, whole findings."""

import random
from collections.abc import Sequence

import pytest

from engine.data.duplicates import copies, duplicates
from engine.data.example import Example
from engine.data.leakage import find_leaks
from engine.data.near import NearIndex, candidates
from engine.data.words import same_but_for_typing

MANY = 3_000


def example(place: int, query: str, *references: str) -> Example:
    messages = ({"role": "user", "content": query},)
    return Example(f"e{place}", query, messages, references, line=place + 1)


def family(count: int, answers: Sequence[str] = ()) -> list[Example]:
    asked = "Please say whether the following number is prime or not prime: {}"
    return [example(n, asked.format(n), *answers[n % 2 : n % 2 + 1]) for n in range(count)]


def test_a_family_of_similar_questions_is_one_group() -> None:
    [group] = duplicates(family(MANY))
    assert group.places == tuple(range(MANY))
    assert 0.7 <= group.score < 1


def test_a_family_with_two_labels_is_two_groups_of_copies() -> None:
    groups = copies(family(MANY, ("yes", "no")))
    assert [len(group.places) for group in groups] == [MANY // 2, MANY // 2]
    assert groups[0].places[:3] == (0, 2, 4)


def test_a_family_filled_in_otherwise_has_no_copies() -> None:
    assert not copies([example(n, f"Where is order {n}?", f"In hall {n * 7}") for n in range(MANY)])


def test_copies_planted_in_a_family_of_templates_are_all_found() -> None:
    draw = random.Random(3)
    rooms, goods = [f"room{n}" for n in range(60)], [f"lamp{n}" for n in range(60)]
    slots = draw.sample([(room, good) for room in rooms for good in goods], MANY)
    asked = "Dear shop, can you tell me whether the {1} is still kept in the {0} of your store today"
    examples = [example(n, asked.format(*slot), f"item {n}") for n, slot in enumerate(slots)]
    planted = draw.sample(range(MANY), 40)
    for at, place in enumerate(planted):
        query = asked.format(*slots[place]).replace("can you tell", "can you please tell")
        examples.append(example(MANY + at, query, f"Item {place}"))
    found = {group.places for group in copies(examples)}
    assert found == {(place, MANY + at) for at, place in enumerate(planted)}


def test_reworded_copies_are_found_in_a_family_whose_words_are_all_common() -> None:
    draw = random.Random(5)
    names = [f"name{n}" for n in range(20)]
    slots = draw.sample(
        [(name, a, b) for name in names for a in range(2, 110) for b in range(2, 110)], 12_000
    )
    asked = "{0} has {1} boxes with {2} pencils in each. How many pencils has {0} got?"
    family = [example(n, asked.format(*slot), f"item {n}") for n, slot in enumerate(slots)]
    planted = draw.sample(range(len(family)), 40)
    reworded = [
        example(n, "So " + family[n].query.replace(" has ", " has exactly ", 1), f"Item {n}") for n in planted
    ]
    assert {group.places[0] for group in copies([*family, *reworded])} == set(planted)
    assert {leak.example_id for leak in find_leaks(reworded, family) if leak.counts} == {
        f"e{n}" for n in planted
    }


def test_copies_of_which_a_quarter_is_changed_are_found_in_a_large_family_of_templates() -> None:
    draw = random.Random(3)
    slots = [[f"{part}{place}" for place in range(150)] for part in ("name", "item", "city", "sum", "why")]
    said = "a customer named {} bought the {} in the city of {} and then paid {} dollars for it because of {}"
    texts = [said.format(*map(draw.choice, slots)) for _ in range(9_000)]
    wanted, changed = draw.sample(range(len(texts)), 60), []
    for place in wanted:
        own = texts[place].split()
        for at in draw.sample(range(len(own)), 5):
            own[at] = f"new{at}"
        changed.append(" ".join(own))
    found = {(match.document, match.text) for match in NearIndex(texts).search(changed)}
    assert sum(pair in found for pair in enumerate(wanted)) >= 55


def test_many_equal_questions_are_one_group_with_score_one() -> None:
    [group] = copies([example(n, "What do you sell?", "Lamps and chairs") for n in range(MANY)])
    assert (len(group.places), group.score) == (MANY, 1.0)


def test_a_leaked_question_is_found_among_many_of_its_template() -> None:
    evaluation = [
        example(n, f"Tom has {n} boxes of {n * 3} pens. How many?", f"#### {n}") for n in range(500)
    ]
    train = [
        example(n, f"Tom has {n} boxes of {n * 3} pens. How many?", f"#### {n}") for n in range(1000, MANY)
    ]
    train.append(example(0, "Tom has 77 boxs of 231 pens. How many?", "That makes 77."))
    [leak] = [leak for leak in find_leaks(train, evaluation) if leak.counts]
    assert (leak.example_id, leak.tier) == ("e77", "near")


def test_a_text_is_compared_with_a_bounded_number_of_others() -> None:
    texts = [row.query for row in family(MANY)]
    found = list(NearIndex(texts).search(texts[:50], long_runs=False))
    assert len(found) <= 50 * candidates(MANY)


def test_a_small_set_is_compared_whole() -> None:
    texts = [row.query for row in family(150)]
    assert len(list(NearIndex(texts).search(texts, long_runs=False))) == 150 * 150


def test_two_words_of_a_megabyte_are_compared_at_once() -> None:
    one, other = "a" * 10**6, "b" + "a" * (10**6 - 1)
    assert same_but_for_typing([one], [other]) is None
    assert same_but_for_typing([one], [one]) == 1.0
    assert not duplicates([example(0, one), example(1, other)])
    assert not find_leaks([example(0, one, "x" * 10**6)], [example(1, other, "y" * 10**6)])


def test_a_search_for_copies_stops_when_it_is_told_to() -> None:
    class Enough(Exception):
        pass

    seen = 0

    def checkpoint() -> None:
        nonlocal seen
        seen += 1
        if seen == 3:
            raise Enough

    with pytest.raises(Enough):
        copies(family(MANY), checkpoint)
    assert seen == 3
