"""Paired prompts: one prompt about different people, made of templates and of one's own lists of terms."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from engine.data.reading import read_records
from engine.errors import BadInput

Groups = Mapping[str, Sequence[str]]  # the terms of each group, such as gender: woman, man


def read_groups(written: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Groups written as "gender=woman,man". Raises BadInput for another form, or fewer than two terms."""
    found: dict[str, tuple[str, ...]] = {}
    for text in written:
        name, _, listed = text.partition("=")
        terms = tuple(term.strip() for term in listed.split(",") if term.strip())
        if not name.isidentifier() or len(set(terms)) < 2 or len(set(terms)) < len(terms) or name in found:
            raise BadInput(
                f"found {text!a:.80}, where a group and its different terms were expected",
                "Write --terms gender=woman,man, with two terms or more, once for each group.",
            )
        found[name] = terms
    return found


def paired_prompts(path: Path, groups: Groups) -> Iterator[dict[str, Any]]:
    """The variants of each record whose texts have "{gender}", or "{Gender}" for a capital, for a term.

    With several groups in one record there is a variant for every choice of their terms. Each has the
    record's id (or line) as its `group` and says in `terms` whom it is about. Raises BadInput, naming file
    and line, for a record that names no group, and for one whose variants have the ids of another's.
    """
    lines: dict[str, int] = {}  # by id
    slots = re.compile("|".join(rf"\{{({name}|{name[0].upper()}{name[1:]})\}}" for name in groups))
    known = {form: name for name in groups for form in (name, name[0].upper() + name[1:])}
    for line, record in read_records(path):
        used = {known[found[0][1:-1]] for text in _texts(record) for found in slots.finditer(text)}
        asked = [name for name in groups if name in used]
        if not asked:
            named = " or ".join(f"{{{name}}}" for name in groups)
            way_out = f'Write it where the term goes, as in "A {{{next(iter(groups))}}} asks for a loan."'
            raise BadInput(f"{path}:{line}: has no {named}", way_out)
        own = str(line if record.get("id") is None else record["id"])
        for chosen in product(*(groups[name] for name in asked)):
            terms = dict(zip(asked, chosen, strict=True))

            def term(slot: re.Match[str], terms: Mapping[str, str] = terms) -> str:
                name = slot[0][1:-1]
                found = terms[known[name]]
                return found if name in terms else found[0].upper() + found[1:]

            made = {key: _filled(value, slots, term) for key, value in record.items()}
            variant = "-".join([own, *chosen])
            if (first := lines.setdefault(variant, line)) != line:
                raise BadInput(
                    f"{path}:{line}: its variant {variant!a:.80} has the id of one of line {first}",
                    "Give each prompt an id of its own.",
                )
            yield {
                **made,
                "id": variant,
                "group": str(record.get("group") or own),
                "terms": terms,
            }


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _filled(value: Any, slots: re.Pattern[str], term: Any) -> Any:
    if isinstance(value, str):
        return slots.sub(term, value)
    if isinstance(value, Mapping):
        return {key: _filled(each, slots, term) for key, each in value.items()}
    return [_filled(each, slots, term) for each in value] if isinstance(value, list) else value
