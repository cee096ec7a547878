"""Versions of eval sets, from files and from the store, and what changed between two of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.data.example import Example, eval_set_version
from engine.data.examples import read_examples
from engine.data.files import is_dataset
from engine.errors import BadInput
from store.errors import StoreError
from store.read import history
from store.read.eval_sets import eval_sets, version_examples
from store.read.rows import ExampleRow

_COMPARED = (
    "messages",
    "references",
    "label",
    "category",
    "schema",
    "tests",
    "turns",
    "group",
    "extra",
    "tools",
    "calls",
)


@dataclass(frozen=True, slots=True)
class Edit:
    """One id in both versions with other content: `changed` names the fields."""

    before: Example
    after: Example
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VersionDiff:
    """From version `before` to version `after`; `unchanged` and the edited make up what both share."""

    before: str
    after: str
    added: tuple[Example, ...]
    removed: tuple[Example, ...]
    edited: tuple[Edit, ...]
    unchanged: int


def version_diff(before: Sequence[Example], after: Sequence[Example]) -> VersionDiff:
    """Added, removed and edited examples, told apart by id; the place in the file does not count."""
    earlier = {example.id: example for example in before}
    later = {example.id: example for example in after}
    edited = tuple(_edits(earlier, after))
    return VersionDiff(
        before=eval_set_version(before),
        after=eval_set_version(after),
        added=tuple(example for example in after if example.id not in earlier),
        removed=tuple(example for example in before if example.id not in later),
        edited=edited,
        unchanged=len(earlier.keys() & later.keys()) - len(edited),
    )


def _edits(earlier: dict[str, Example], after: Sequence[Example]) -> Iterator[Edit]:
    for example in after:
        old = earlier.get(example.id)
        if old is None:
            continue
        changed = tuple(name for name in _COMPARED if getattr(old, name) != getattr(example, name))
        if changed:
            yield Edit(old, example, changed)


SHORTEST = 4  # digits that may stand for a version


@dataclass(frozen=True, slots=True)
class EvalSet:
    """One version: where it was found, in a person's words, and its examples."""

    name: str
    version: str
    examples: tuple[Example, ...]


def find_eval_set(
    connection: history.Connection | None, text: str, fields: Mapping[str, str] | None = None
) -> EvalSet:
    """The eval set that a person means: a file, a version or its first digits, or a run by id or name.

    `connection` is None where there is no store: then it can only be a file. Raises BadInput for what is none
    of these, and what `read_examples` raises.
    """
    path = Path(text)
    if path.is_file() or is_dataset(path):
        examples = tuple(read_examples(path, fields))
        return EvalSet(path.name, eval_set_version(examples), examples)
    version = None if connection is None else _known_version(connection, text)
    if connection is None or version is None:
        raise BadInput(
            f"{text}: is no file, and no version or run of this store",
            "`assay versions` lists the versions, `assay runs` the runs; --store DIR names another store",
        )
    found = version_examples(connection, version)
    return EvalSet(text, version, tuple(_example(row) for row in found))


def _known_version(connection: history.Connection, text: str) -> str | None:
    matching = [row.version for row in eval_sets(connection) if row.version.startswith(text.lower())]
    if len(text) >= SHORTEST and matching:
        if len(matching) > 1:
            raise BadInput(f"{text}: stands for {len(matching)} versions", f"name one: {', '.join(matching)}")
        return matching[0]
    try:
        run = history.run(connection, history.find_run(connection, text))
    except StoreError:
        return None
    return run.eval_set


def _example(row: ExampleRow) -> Example:
    extra = row.extra or {}
    return Example(
        id=row.example,
        query=row.query,
        messages=tuple(row.messages or ()),
        references=tuple(row.references or ()),
        label=row.label,
        category=row.category,
        schema=extra.get("schema"),
        tests=tuple(extra.get("tests") or ()),
        turns=tuple(extra.get("turns") or ()),
        group=extra.get("group"),
        line=extra.get("line") or 0,
        extra=extra.get("extra") or {},
        tools=tuple(extra.get("tools") or ()),
        calls=tuple(extra.get("calls") or ()),
    )
