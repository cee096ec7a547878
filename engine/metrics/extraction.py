"""Extraction: the requested entities, tags and lists in a response."""

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

from engine.data.example import Example
from engine.metrics.json_values import JsonNotFound, find_json
from engine.metrics.metric import Score, combine_f1, fraction, gap, missing, no_text
from engine.metrics.text import normalise_answer, words
from engine.models.model import Response

NO_ENTITIES = 'neither "entities" of the example nor a reference is a list of {"text", "type"}'
NO_LIST = 'neither "items" of the example nor a reference is a list'
NOT_ENTITIES = 'the response is not a list of {"text", "type"}'
TOO_MANY = "too many entities to compare"
_LIMIT = 1_000_000  # entities x entities
_TYPE_KEYS = ("type", "label", "entity", "category")
_TEXT_KEYS = ("text", "span", "word", "value", "name")
_BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,4}[.)])\s+")
NO_TAGS = "the reference is not a sequence of tags such as B-PER I-PER O"
_OUTSIDE = "O"


class Entity(NamedTuple):
    """One entity: its type, its normalised text, and its position (end exclusive) if known."""

    type: str
    text: str
    place: tuple[int, int] | None = None


class Extracted(NamedTuple):
    """Additive counts: entities found correctly, found, and expected."""

    right: int
    found: int
    wanted: int

    def score(self, measure: str, reason: str | None) -> Score:
        total = self.found + self.wanted
        return Score(measure, 2 * self.right / total if total else 1.0, reason, tuple(map(float, self)))


def read_entities(value: Any) -> list[Entity] | None:
    """Entities from JSON: a list of {"text", "type"} with or without "start" and "end", the same under
    "entities", or {"TYPE": ["text", …]}. None for anything else.
    """
    if isinstance(value, dict) and isinstance(value.get("entities"), list):
        value = value["entities"]
    if isinstance(value, dict):
        pairs = [(kind, text) for kind, texts in value.items() for text in _as_list(texts)]
        if not all(isinstance(text, str) for _, text in pairs):
            return None
        return [Entity(kind.casefold(), normalise_answer(text)) for kind, text in pairs]
    if not isinstance(value, list):
        return None
    entities = [_entity(item) for item in value]
    return None if None in entities else [entity for entity in entities if entity is not None]


def exact_counts(wanted: Sequence[Entity], given: Sequence[Entity]) -> Extracted:
    """Entities of the same type with the same place; by their texts unless both sides give all places."""
    identity = _by_place if _all_placed(wanted, given) else _by_text
    shared = Counter(map(identity, wanted)) & Counter(map(identity, given))
    return Extracted(shared.total(), len(given), len(wanted))


def overlap_counts(wanted: Sequence[Entity], given: Sequence[Entity]) -> Extracted:
    """The same where sharing a character (by their texts: a word) is enough; each entity is matched once."""
    placed = _all_placed(wanted, given)
    left = list(wanted)
    right = 0
    # Entities found exactly are matched first, so that none of them is taken by a neighbour.
    for entity in sorted(given, key=lambda entity: entity not in wanted):
        same = [other for other in left if _overlap(other, entity, placed)]
        if same:
            left.remove(entity if entity in same else same[0])
            right += 1
    return Extracted(right, len(given), len(wanted))


class Entities:
    """Micro F1 of entities, by exact span and type, and by overlap.

    The expected ones are in the example's `entities`, else as JSON in its references (the best counts).
    """

    measures = (
        fraction(
            "entity_f1", "entities with the right span and type", "Tjong Kim Sang & De Meulder 2003",
            needs=["references"], unit="F-measure", combine=combine_f1, version="2",
        ),
        fraction(
            "entity_overlap_f1", "entities of the right type that overlap the wanted span", "rule",
            needs=["references"], unit="F-measure", combine=combine_f1, version="2",
        ),
    )  # fmt: skip

    def score(self, example: Example, response: Response) -> list[Score]:
        options = [
            entities
            for value in _wanted(example, "entities")
            if (entities := read_entities(value)) is not None
        ]
        if not options:
            return missing(self.measures, NO_ENTITIES)
        if response.text is None:
            return missing(self.measures, no_text(response))
        given, reason = _found_entities(response.text)
        if max(map(len, options)) * len(given) > _LIMIT:
            return missing(self.measures, TOO_MANY)
        exact = _best([exact_counts(wanted, given) for wanted in options])
        overlap = _best([overlap_counts(wanted, given) for wanted in options])
        return [exact.score("entity_f1", reason), overlap.score("entity_overlap_f1", reason)]


class SetF1:
    """Micro F1 of the items of a list in any order; repeated items count once.

    The expected ones are in the example's `items`, else in its references as a JSON list or as lines (the
    best counts).
    """

    measures = (
        fraction(
            "set_f1", "items of the list that are right, after SQuAD's normalisation", "rule",
            needs=["references"], unit="F-measure", combine=combine_f1, version="2",
        ),
    )  # fmt: skip

    def score(self, example: Example, response: Response) -> list[Score]:
        own = example.extra.get("items")
        options = (
            [_items(own)] if isinstance(own, list) else [read_items(text) for text in example.references]
        )
        if not options:
            return missing(self.measures, NO_LIST)
        if response.text is None:
            return missing(self.measures, no_text(response))
        given = read_items(response.text)
        counts = [Extracted(len(wanted & given), len(given), len(wanted)) for wanted in options]
        return [_best(counts).score("set_f1", None)]


def read_items(text: str) -> set[str]:
    """The items of a list as people and models write it: JSON, lines with or without bullets, or by comma."""
    try:
        value = find_json(text)
    except JsonNotFound:
        value = None
    if isinstance(value, list):
        return _items(value)
    lines = [line for line in text.splitlines() if line.strip()]
    pieces = [_BULLET.sub("", line) for line in lines] if len(lines) > 1 else re.split("[,;、，]", text)
    return _items(pieces)


def _items(values: Sequence[Any]) -> set[str]:
    return {item for value in values if (item := normalise_answer(_BULLET.sub("", str(value))))}


def _wanted(example: Example, key: str) -> list[Any]:
    """The example's own value under a key, else each reference's JSON."""
    if key in example.extra:
        return [example.extra[key]]
    values = []
    for text in example.references:
        try:
            values.append(find_json(text))
        except JsonNotFound:
            continue
    return values


def _found_entities(text: str) -> tuple[list[Entity], str | None]:
    try:
        given = read_entities(find_json(text))
    except JsonNotFound as error:
        return [], str(error)
    return (given, None) if given is not None else ([], NOT_ENTITIES)


def _entity(item: Any) -> Entity | None:
    if not isinstance(item, dict):
        return None
    kind = next((item[key] for key in _TYPE_KEYS if isinstance(item.get(key), str)), None)
    text = next((item[key] for key in _TEXT_KEYS if isinstance(item.get(key), str)), None)
    start, end = item.get("start"), item.get("end")
    place = (start, end) if isinstance(start, int) and isinstance(end, int) else None
    if kind is None or (text is None and place is None):
        return None
    return Entity(kind.casefold(), normalise_answer(text or ""), place)


def _best(counts: Sequence[Extracted]) -> Extracted:
    return max(counts, key=lambda count: count.score("", None).value or 0.0)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _all_placed(*sides: Sequence[Entity]) -> bool:
    return all(entity.place is not None for side in sides for entity in side)


def _by_place(entity: Entity) -> Hashable:
    return entity.type, entity.place


def _by_text(entity: Entity) -> Hashable:
    return entity.type, entity.text


def _overlap(first: Entity, second: Entity, placed: bool) -> bool:
    if first.type != second.type:
        return False
    if placed and first.place and second.place:
        return first.place[0] < second.place[1] and second.place[0] < first.place[1]
    return first.text == second.text or not set(words(first.text)).isdisjoint(words(second.text))


Span = tuple[str, int, int]  # an entity's type, its first and its last token


def spans(tags: Sequence[str]) -> set[Span]:
    """Entities as seqeval's default (conlleval's rule) reads them: an I- without its B- begins one too.

    L- and U- are read as E- and S-, which seqeval's default does not do.
    """
    from seqeval.metrics.sequence_labeling import get_entities

    return {(kind, first, last) for kind, first, last in get_entities([_iobes(tag) for tag in tags])}


def strict_spans(tags: Sequence[str]) -> set[Span]:
    """Entities as seqeval's strict mode reads them by IOB2: B- first, then I- of its type.

    Other prefixes, for which seqeval refuses the sequence, are outside any entity.
    """
    from seqeval import scheme

    known = [tag if tag[:2] in ("B-", "I-") else _OUTSIDE for tag in tags]
    [found] = scheme.Entities([known], scheme.IOB2).entities
    return {(entity.tag, entity.start, entity.end - 1) for entity in found}


def read_tags(text: str) -> list[str] | None:
    """The tags in a text, a JSON list or between white space or commas; None for anything else."""
    try:
        value = find_json(text)
    except JsonNotFound:
        value = text.replace(",", " ").split()
    if not isinstance(value, list) or not all(isinstance(tag, str) and _is_tag(tag) for tag in value):
        return None
    return value


class Tags:
    """Entity F1 of tag sequences, micro-averaged, by seqeval's default rule and by its strict one (IOB2)."""

    measures = (
        fraction(
            "tag_f1", "entities tagged with the right tokens and type", "seqeval f1_score, its default",
            needs=["references"], unit="F-measure", combine=combine_f1, version="2",
        ),
        fraction(
            "tag_f1_strict", "the same, where only B- begins an entity", "seqeval f1_score, strict, IOB2",
            needs=["references"], unit="F-measure", combine=combine_f1, version="2",
        ),
        fraction(
            "tag_accuracy", "tokens with the right tag", "seqeval accuracy_score",
            needs=["references"], version="2",
        ),
    )  # fmt: skip

    def score(self, example: Example, response: Response) -> list[Score]:
        if response.text is None or not example.references:
            return missing(self.measures, gap(example, response))
        wanted = read_tags(example.references[0])
        if wanted is None:
            return missing(self.measures, NO_TAGS)
        given, reason = _aligned(read_tags(response.text), len(wanted))
        right = sum(one == other for one, other in zip(wanted, given, strict=True))
        return [
            _tag_f1("tag_f1", spans(wanted), spans(given), reason),
            _tag_f1("tag_f1_strict", strict_spans(wanted), strict_spans(given), reason),
            Score(
                "tag_accuracy",
                right / len(wanted) if wanted else 1.0,
                reason,
                (float(right), float(len(wanted))) if wanted else None,
            ),
        ]


def _aligned(tags: list[str] | None, length: int) -> tuple[list[str], str | None]:
    """As many tags as the reference has: further ones are cut, missing ones are outside any entity."""
    if tags is None:
        return ["" for _ in range(length)], "the response is not a sequence of tags"
    reason = None if len(tags) == length else f"{len(tags)} tags for {length} tokens"
    return [*tags, *("" for _ in range(length - len(tags)))][:length], reason


def _tag_f1(name: str, wanted: set[Span], given: set[Span], reason: str | None) -> Score:
    parts = (float(len(wanted & given)), float(len(given)), float(len(wanted)))
    total = parts[1] + parts[2]
    return Score(name, 2 * parts[0] / total if total else 1.0, reason, parts)


def _is_tag(tag: str) -> bool:
    prefix, _, kind = tag.partition("-")
    return tag == _OUTSIDE or (prefix in set("BIESLU") and bool(kind))


def _iobes(tag: str) -> str:
    """A tag as seqeval's default reads it; a place without a tag is outside any entity."""
    return {"L": "E", "U": "S"}.get(tag[:1], tag[:1]) + tag[1:] if tag else _OUTSIDE
