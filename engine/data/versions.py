"""What changed between two versions of an eval set."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engine.data.example import Example, eval_set_version

_COMPARED = ("messages", "references", "label", "category", "schema", "tests", "turns", "group", "extra")


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
