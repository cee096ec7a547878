"""Flips in groups: the slices and the words that examples whose right or wrong has changed have in common.

A group is a slice, a word or two neighbouring words of the question, which at least three flips of one
direction have and which are more frequent among them than among all other examples: Fisher's exact test,
one-sided, at most 0.05. Beside that p stands the one corrected for everything that was looked at (Holm), and
only that rules chance out.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from engine.errors import BadInput
from engine.gates.figures import percent
from engine.metrics.text import spaced, unicode_words
from engine.stats.family import LEVEL, holm
from store.read import evidence, history
from store.read.history import Connection
from store.read.queues import Known, QueueItem, candidates_for, flip, flips_by, known_of, signs
from store.read.rows import ModelRow

FEWEST = 3  # flips that have it
MOST, UNCLEAR = 40, 10  # groups that are told, and of one direction those that may be chance
_READ = 20_000  # characters of a question
_NEGLIGIBLE = 1e-16  # share of a sum

Kind = Literal["slice", "words"]
_DIRECTIONS: dict[str, int] = {"lost": -1, "gained": 1}  # as `flip` tells them


@dataclass(frozen=True, slots=True)
class FlipGroup:
    """Flips of one direction that a slice or words set apart: `flips` of `size`, and `others` of the `rest`.

    `lost` turned from right to wrong, `gained` from wrong to right; the rest are all other examples on which
    both models have a value. `p` is Fisher's, one-sided; `p_corrected` allows for all groups looked at.
    """

    direction: str
    kind: Kind
    name: str
    flips: int
    size: int
    others: int
    rest: int
    p: float
    p_corrected: float
    examples: tuple[int, ...]  # the store's ids of its flips, in the eval set's order

    @property
    def key(self) -> str:
        """What a queue is narrowed by, and a command is told."""
        return f"{self.direction} {self.kind} {self.name}"

    @property
    def is_clear(self) -> bool:
        """Whether chance is ruled out."""
        return self.p_corrected <= LEVEL

    @property
    def said(self) -> str:
        """What sets the flips apart, in a clause."""
        turned = {"lost": "turned wrong", "gained": "turned right"}[self.direction]
        having = "are in slice" if self.kind == "slice" else "contain"
        share = "" if self.share is None else f" ({percent(self.share)} of the rest)"
        return f"{self.flips:,} of {self.size:,} that {turned} {having} “{self.name}”{share}"

    @property
    def share(self) -> float | None:
        """Of the rest; None where there is none."""
        return self.others / self.rest if self.rest else None


@dataclass(frozen=True, slots=True)
class Flips:
    """The flips of a candidate against a baseline by one measure; without one, `reason` says why."""

    candidate: str
    baseline: str
    measure: str | None
    lost: tuple[int, ...]  # the store's ids of the examples that turned wrong, in the eval set's order
    gained: tuple[int, ...]  # right
    compared: int  # examples on which both have a value
    missing: int  # the others
    looked_at: int  # slices and words that enough flips have
    groups: tuple[FlipGroup, ...]
    reason: str | None = None


def run_flips(connection: Connection, run_id: int) -> list[Flips]:
    """Every candidate's flips against the run's first baseline."""
    candidates, baselines = _sides(connection, run_id)
    return [
        flips(connection, run_id, candidate, baseline)
        for candidate in candidates
        for baseline in baselines[:1]
    ]


def flipped_examples(
    connection: Connection,
    run_id: int,
    key: str,
    candidate: str | None = None,
    baseline: str | None = None,
    measure: str | None = None,
) -> list[int]:
    """The store's ids of a group's examples; the key "lost" or "gained" alone means all of that direction.

    Without names, the run's first candidate and baseline. Raises BadInput where there is no such model, and
    where no flip is in the group.
    """
    sides = []
    for role, name, models in zip(
        ("candidate", "baseline"), (candidate, baseline), _sides(connection, run_id), strict=True
    ):
        found = next((model for model in models if name in (None, model.name)), None)
        if found is None:
            known = ", ".join(model.name for model in models) or "none"
            raise BadInput(f"run {run_id} has no {role} {name or ''}".rstrip(), f"its {role}s: {known}")
        sides.append(found)
    measures = history.metrics(connection, run_id)
    ids = sides[0].id, sides[1].id
    measure = measure or flips_by(connection, measures, *ids)
    items = candidates_for(connection, run_id, *ids, measure=measure)
    known_signs = known_of(connection, run_id, *ids, "", **signs(measure, measures))
    held = [item.example_id for item in narrowed(connection, run_id, items, known_signs, key)]
    if not held:
        raise BadInput(
            f"no flip of {sides[0].name} against {sides[1].name} is in {key!r}",
            f"`assay show {run_id} --flips --json` names the groups",
        )
    return held


def _sides(connection: Connection, run_id: int) -> tuple[list[ModelRow], list[ModelRow]]:
    models = history.models(connection, run_id)
    return (
        [model for model in models if model.role == "candidate" and not model.is_cut],
        [model for model in models if model.role == "baseline"],
    )


def flips(
    connection: Connection,
    run_id: int,
    candidate: ModelRow,
    baseline: ModelRow,
    measure: str | None = None,
) -> Flips:
    """The groups of a pair's flips: lost ones first, then by p.

    `measure` None is the one that flips go by (`store.read.queues.flips_by`).
    """
    measures = history.metrics(connection, run_id)
    measure = measure or flips_by(connection, measures, candidate.id, baseline.id)
    items = candidates_for(connection, run_id, candidate.id, baseline.id, measure=measure)
    sides = signs(measure, measures)
    known = known_of(connection, run_id, candidate.id, baseline.id, "", **sides)
    moved = {item.example_id: flip(item, known) for item in items if item.difference is not None}
    names = candidate.name, baseline.name
    lost, gained = (tuple(key for key, way in moved.items() if way == sign) for sign in _DIRECTIONS.values())
    found = Flips(*names, measure, lost, gained, len(moved), len(items) - len(moved), 0, ())
    if not lost + gained:
        return replace(found, reason=_without(measure, sides["middle"], len(moved)))
    texts = {row.id: row.query for row in evidence.run_examples(connection, run_id) if row.id in moved}
    looked_at, groups = grouped(moved, _slices(connection, run_id), texts)
    return replace(found, looked_at=looked_at, groups=groups)


def _without(measure: str | None, middle: float | None, compared: int) -> str:
    if measure is None:
        return "no measure of this run has a better end"
    if middle is None:
        return f"{measure} has no range, so that no value of it is right or wrong"
    return "no example flipped" if compared else f"no example has a value of {measure} for both models"


def _slices(connection: Connection, run_id: int) -> Mapping[str, frozenset[int]]:
    from engine.metrics.slices import members  # with NumPy, for the few who ask

    return members(connection, run_id)


def grouped(
    moved: Mapping[int, int], slices: Mapping[str, frozenset[int]], texts: Mapping[int, str]
) -> tuple[int, tuple[FlipGroup, ...]]:
    """How many slices and words were looked at, and the groups among them.

    `moved` has for each example that both models have a value on −1 (lost), 1 (gained) or 0, in the eval
    set's order. It costs a pass over the questions.
    """
    words, pairs = ({example: read(text) for example, text in texts.items()} for read in (_words, _pairs))
    found: list[FlipGroup] = []
    for direction in _DIRECTIONS:
        found += _groups("slice", direction, moved, _by_example(slices, moved))
        alone = list(_groups("words", direction, moved, words))
        # "number is" says no more than "number" where "is" is as frequent among the rest.
        telling = {group.name for group in alone if group.p <= LEVEL}
        whole = {
            example: frozenset(pair for pair in own if " " not in pair or telling.issuperset(pair.split()))
            for example, own in pairs.items()
        }
        found += [*alone, *_groups("words", direction, moved, whole)]
    corrected = holm([group.p for group in found])
    ruled = [replace(group, p_corrected=p) for group, p in zip(found, corrected, strict=True)]
    return len(found), tuple(_distinct(sorted((group for group in ruled if group.p <= LEVEL), key=_order)))


def _groups(
    kind: Kind, direction: str, moved: Mapping[int, int], names: Mapping[int, frozenset[str]]
) -> Iterator[FlipGroup]:
    """Every name that enough flips of a direction have, with its p not yet corrected."""
    having: dict[str, list[int]] = {}
    size = 0
    for example, way in moved.items():
        if way == _DIRECTIONS[direction]:
            size += 1
            for name in names.get(example, ()):
                having.setdefault(name, []).append(example)
    wanted = {name for name, own in having.items() if len(own) >= FEWEST}
    others: Counter[str] = Counter()
    for example, way in moved.items():
        if way != _DIRECTIONS[direction]:
            others.update(names.get(example, frozenset()) & wanted)
    rest = len(moved) - size
    for name in sorted(wanted):
        p = _fisher(len(having[name]), size, others[name], rest)
        counts = len(having[name]), size, others[name], rest
        yield FlipGroup(direction, kind, name, *counts, p, p, tuple(having[name]))


def _by_example(slices: Mapping[str, frozenset[int]], examples: Iterable[int]) -> dict[int, frozenset[str]]:
    names: dict[int, set[str]] = {example: set() for example in examples}
    for name, members in slices.items():
        for example in members & names.keys():
            names[example].add(name)
    return {example: frozenset(own) for example, own in names.items()}


def _order(group: FlipGroup) -> tuple[bool, float, int, str, int, str]:
    return group.direction != "lost", group.p, -group.flips, group.kind, -len(group.name), group.name


def _distinct(groups: Iterable[FlipGroup]) -> list[FlipGroup]:
    """Without words that say of the same flips what a group before them says, at most `MOST`.

    Of those that may be chance only the `UNCLEAR` first of each direction: among thousands of words hundreds
    have a p below 0.05.
    """
    kept: list[FlipGroup] = []
    for group in groups:
        before = [other for other in kept if other.direction == group.direction]
        if not group.is_clear and sum(not other.is_clear for other in before) >= UNCLEAR:
            continue
        if group.kind == "slice" or not any(_covers(other, group) for other in before):
            kept.append(group)
    return kept[:MOST]


def _covers(before: FlipGroup, group: FlipGroup) -> bool:
    """Whether words have the same flips as others, or some of them and a word in common."""
    if before.kind == "slice":
        return False
    shares = not set(group.name.split()).isdisjoint(before.name.split())
    return group.examples == before.examples or (shares and set(group.examples) < set(before.examples))


def _words(text: str) -> frozenset[str]:
    """The words and numbers of a question. A single letter is none, nor a character of an unspaced script."""
    words = unicode_words(text[:_READ])
    return frozenset(word for word in words if (len(word) > 1 or word.isdigit()) and spaced(word) == word)


def _pairs(text: str) -> frozenset[str]:
    """Each two neighbouring words of a question; two characters of an unspaced script stand as one word."""
    words = unicode_words(text[:_READ])
    return frozenset(
        one + ("" if spaced(one) != one and spaced(other) != other else " ") + other
        for one, other in pairwise(words)
    )


def _fisher(inside: int, size: int, outside: int, rest: int) -> float:
    """P of at least `inside` of the `size` flips having what inside + outside of all examples have.

    1 where it is no more frequent among them than among all: that is never a group.
    """
    total, having = size + rest, inside + outside
    if inside * total <= having * size:  # no more frequent among flips, where the sum below underflows to 0
        return 1.0

    def choose(n: int, k: int) -> float:
        return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

    term = math.exp(choose(having, inside) + choose(total - having, size - inside) - choose(total, size))
    p = 0.0
    for count in range(inside, min(size, having) + 1):
        p += term
        rises = (having - count) * (size - count) / ((count + 1) * (total - having - size + count + 1))
        if rises < 1 and term < p * _NEGLIGIBLE:
            break
        term *= rises
    return min(1.0, p)


def narrowed(
    connection: Connection, run_id: int, items: Sequence[QueueItem], known: Known, key: str
) -> list[QueueItem]:
    """The flips among `items` that the group of this key holds, in their order."""
    direction, _, rest = key.partition(" ")
    kind, _, name = rest.partition(" ")
    own = [item for item in items if flip(item, known) == _DIRECTIONS.get(direction)]
    if not rest:
        return own
    if kind == "slice":
        members = _slices(connection, run_id).get(name, frozenset())
        return [item for item in own if item.example_id in members]
    texts = evidence.contents(connection, [item.example_id for item in own])
    read = _pairs if len(unicode_words(name)) > 1 else _words
    return [item for item in own if name in read(texts[item.example_id].query)]
