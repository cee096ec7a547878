"""Splits and samples follow an example's identity and nothing else."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.example import Example, query_id
from engine.data.split import sample, split_of, splits

RATIOS = (0.6, 0.2, 0.2)


def asked(query: str, own_id: str | None = None, group: str | None = None) -> Example:
    messages = ({"role": "user", "content": query},)
    return Example(id=own_id or query_id(query), query=query, messages=messages, group=group)


rows = st.builds(
    asked,
    st.sampled_from([f"question {n}" for n in range(6)]),
    st.none() | st.sampled_from([f"row {n}" for n in range(6)]),
    st.none() | st.sampled_from(["thread 1", "thread 2", "thread 3"]),
)


@given(st.permutations([asked(f"q{n}", None if n % 2 else f"id{n}") for n in range(20)]))
def test_order_never_moves_an_example(examples: list[Example]) -> None:
    assert dict(zip([e.id for e in examples], splits(examples, RATIOS), strict=True)) == {
        e.id: split_of(e, RATIOS) for e in examples
    }


@given(st.text(min_size=1), st.text(), st.text(), st.integers(0, 10**6))
def test_metadata_edits_never_move_an_example(query: str, label: str, category: str, line: int) -> None:
    example = asked(query)
    edited = replace(example, label=label, category=category, line=line, references=(label,), extra={"a": 1})
    assert split_of(edited, RATIOS) == split_of(example, RATIOS)


def test_an_edited_question_stays_where_its_own_id_is() -> None:
    pairs = [(asked(f"qestion {n}", f"id{n}"), asked(f"Question {n}?", f"id{n}")) for n in range(200)]
    assert all(split_of(before, RATIOS) == split_of(after, RATIOS) for before, after in pairs)


@given(st.lists(st.integers(0, 500), unique=True, min_size=1), st.lists(st.integers(501, 999), unique=True))
def test_growth_never_moves_an_example(old: list[int], new: list[int]) -> None:
    examples = [asked(f"question {n}", f"id{n}" if n % 3 else None) for n in old]
    grown = examples + [asked(f"question {n}", f"id{n}" if n % 3 else None) for n in new]
    assert splits(grown, RATIOS)[: len(examples)] == splits(examples, RATIOS)


@given(st.lists(rows, max_size=30), st.integers(0, 5))
def test_neither_copies_nor_groups_straddle(examples: list[Example], seed: int) -> None:
    assigned = splits(examples, RATIOS, seed)
    by_query: dict[str, set[str]] = {}
    by_group: dict[str, set[str]] = {}
    for example, split in zip(examples, assigned, strict=True):
        by_query.setdefault(example.query, set()).add(split)
        if example.group:
            by_group.setdefault(example.group, set()).add(split)
    assert all(len(found) == 1 for found in [*by_query.values(), *by_group.values()])


def test_copies_that_differ_in_case_and_white_space_are_one_question() -> None:
    for n in range(200):
        copies = (asked(f"Where is order {n}?"), asked(f"  where is\tORDER {n}? "))
        assert split_of(copies[0], RATIOS) == split_of(copies[1], RATIOS)


@pytest.mark.parametrize("seed", [0, 1])
def test_ratios_are_met_within_sampling_error(seed: int) -> None:
    counts = Counter(split_of(asked(f"q{n}"), (0.7, 0.1, 0.2), seed) for n in range(20_000))
    assert counts["train"] == pytest.approx(14_000, abs=300)
    assert counts["validation"] == pytest.approx(2_000, abs=200)
    assert counts["test"] == pytest.approx(4_000, abs=250)


def test_a_ratio_of_zero_gets_nothing() -> None:
    found = Counter(split_of(asked(f"q{n}"), (0.7, 0.3, 0.0)) for n in range(5_000))
    assert found.keys() == {"train", "validation"}


def test_another_seed_is_another_split() -> None:
    examples = [asked(f"q{n}") for n in range(100)]
    assert splits(examples, RATIOS, 0) != splits(examples, RATIOS, 1)


@given(st.permutations([asked(f"q{n}") for n in range(30)]), st.integers(1, 40))
def test_a_sample_is_the_same_whatever_the_order(examples: list[Example], count: int) -> None:
    chosen = sample(examples, count, seed=3)
    assert len(chosen) == min(count, 30)
    assert {e.id for e in chosen} == {
        e.id for e in sample(sorted(examples, key=lambda e: e.id), count, seed=3)
    }
    assert chosen == [e for e in examples if e in chosen]


def test_a_grown_file_keeps_its_sample_except_for_who_is_displaced() -> None:
    examples = [asked(f"q{n}") for n in range(100)]
    before, after = sample(examples[:90], 20), sample(examples, 20)
    kept = {e.id for e in before} & {e.id for e in after}
    newcomers = {e.id for e in after} - {e.id for e in before}
    assert newcomers <= {e.id for e in examples[90:]}
    assert len(kept) == 20 - len(newcomers)
