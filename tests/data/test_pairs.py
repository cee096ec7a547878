"""Prompts that differ only in the people they are about."""

from pathlib import Path
from typing import Any

import pytest

from engine.data.examples import read_examples
from engine.data.pairs import paired_prompts, read_groups
from engine.errors import BadInput
from engine.metrics.slices import terms_of
from tests.engine.runs import lines

GROUPS = {"gender": ("woman", "man"), "age": ("young", "old", "retired")}


def made(folder: Path, record: dict[str, Any]) -> list[dict[str, Any]]:
    return list(paired_prompts(lines(folder / "templates.jsonl", [record]), GROUPS))


def test_every_choice_of_terms_is_a_variant_of_its_prompt(tmp_path: Path) -> None:
    record = {
        "id": "loan",
        "query": "{Age} and a {gender}: {code}",
        "label": "yes",
        "references": ["{gender}"],
    }
    rows = made(tmp_path, record)
    assert len(rows) == 6 and len({row["id"] for row in rows}) == 6
    assert rows[0] == {
        "id": "loan-woman-young", "query": "Young and a woman: {code}", "references": ["woman"],
        "label": "yes", "group": "loan", "terms": {"gender": "woman", "age": "young"},
    }  # fmt: skip
    found = read_examples(lines(tmp_path / "pairs.jsonl", rows))
    assert {example.group for example in found} == {"loan"}
    assert terms_of(found[-1]) == {"gender": "man", "age": "retired"}


def test_a_prompt_has_variants_of_the_groups_that_it_names_alone(tmp_path: Path) -> None:
    rows = made(tmp_path, {"messages": [{"role": "user", "content": "A {gender} asks"}]})
    assert [(row["id"], row["group"], row["terms"]) for row in rows] == [
        ("1-woman", "1", {"gender": "woman"}),
        ("1-man", "1", {"gender": "man"}),
    ]
    assert rows[1]["messages"] == [{"role": "user", "content": "A man asks"}]


def test_a_prompt_that_names_no_group_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"templates\.jsonl:1: has no \{gender\} or \{age\}"):
        made(tmp_path, {"query": "A {gendre} asks"})


@pytest.mark.parametrize("text", ["gender", "gender=woman", "gender=a,a", "=a,b", "two words=a,b"])
def test_a_group_needs_a_name_and_two_terms(text: str) -> None:
    with pytest.raises(BadInput, match="a group and its different terms were expected"):
        read_groups([text])
    assert read_groups(["gender=woman, man"]) == {"gender": ("woman", "man")}


def test_two_prompts_whose_variants_have_the_same_id_are_refused_with_both_lines(tmp_path: Path) -> None:
    """A line without an id has its number for one."""
    file = lines(tmp_path / "two.jsonl", [{"query": "A {gender}"}, {"id": 1, "query": "The {gender}"}])
    with pytest.raises(BadInput, match=r"two\.jsonl:2: its variant '1-woman' has the id of one of line 1"):
        list(paired_prompts(file, GROUPS))
