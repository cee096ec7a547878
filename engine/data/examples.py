"""Evaluation examples, read from the files that people have."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from engine.data.example import Example, eval_set_version, normalise, query_id
from engine.data.reading import read_records
from engine.data.shapes import example_from
from engine.data.textfile import OnBad
from engine.errors import BadInput

__all__ = ["Example", "eval_set_version", "normalise", "read_examples"]


def read_examples(
    path: Path, fields: Mapping[str, str] | None = None, on_bad: OnBad | None = None
) -> list[Example]:
    """All examples of a file, in its order; `fields` maps names of FIELDS to the file's own columns.

    An example without an id gets `query_id`; further ones with the same query get "-2", "-3" … Raises
    BadInput naming file and line: a broken record, no shape that is known, an id that stands twice, no
    example at all, or a mapped column that no record has. With `on_bad`, it is told of
    records that are broken or have no shape or an id that stands twice, and they are left out.
    """
    fields = fields or {}
    examples: list[Example] = []
    columns: set[str] = set()
    lines: dict[str, int] = {}
    for record in read_records(path, on_bad):
        columns.update(record[1])
        try:
            example = example_from(path, record, fields)
            _refuse_id(path, example, lines)
        except BadInput as error:
            if on_bad is None:
                raise
            on_bad(error)
        else:
            examples.append(example)
    if not examples:
        raise BadInput(f"{path}: holds no example", "Write one JSON object per line.")
    for name, column in fields.items():
        if column not in columns:
            raise BadInput(
                f'{path}: no record has the column "{column}", named for "{name}" in the plan\'s data.fields',
                f"Its columns: {', '.join(sorted(columns))}",
            )
    copies: dict[str, int] = {}
    return [
        example if example.id else replace(example, id=_free_id(example, copies, lines))
        for example in examples
    ]


def _refuse_id(path: Path, example: Example, lines: dict[str, int]) -> None:
    """Raises BadInput for an id that an earlier example has; `lines` are those of the ids so far."""
    if example.id in lines:
        raise BadInput(
            f'{path}:{example.line}: id "{example.id}" is already the id of line {lines[example.id]}',
            "Give each example an id of its own, or leave the ids out.",
        )
    if example.id:
        lines[example.id] = example.line


def _free_id(example: Example, copies: dict[str, int], taken: Mapping[str, int]) -> str:
    derived = query_id(example.query)
    while True:
        copies[derived] = copies.get(derived, 0) + 1
        name = derived if copies[derived] == 1 else f"{derived}-{copies[derived]}"
        if name not in taken:
            return name
