"""Tagged sequences: entities as runs of B-, I- (E-, S-, L-, U-) tags, scored as seqeval does."""

from collections.abc import Sequence
from typing import NamedTuple

from engine.data.example import Example
from engine.metrics.answers import NotJson, find_json
from engine.metrics.measures import combine_f1, fraction, gap
from engine.metrics.metric import Score, missing
from engine.models.model import Response

NO_TAGS = "the reference is no sequence of tags such as B-PER I-PER O"
_OUTSIDE = "O"


class Span(NamedTuple):
    """One entity: its type, and its first and last token."""

    type: str
    first: int
    last: int


def spans(tags: Sequence[str]) -> set[Span]:
    """Entities as seqeval's default (conlleval's rule) reads them: an I- without its B- begins one too.

    An entity ends where the next tag is O, begins another entity, or has another type; E-, S-, L- and U- are
    understood.
    """
    found = set()
    before, kind, first = _OUTSIDE, "", 0
    for place, tag in enumerate([*tags, _OUTSIDE]):
        prefix, own = _parted(tag)
        if _ends(before, prefix, kind, own):
            found.add(Span(kind, first, place - 1))
        if _begins(before, prefix, kind, own):
            first = place
        before, kind = prefix, own
    return found


def strict_spans(tags: Sequence[str]) -> set[Span]:
    """Entities by the letter of IOB2, as seqeval's strict mode reads them: B- first, then I- of its type."""
    found = set()
    open_type, first = "", 0
    for place, tag in enumerate([*tags, _OUTSIDE]):
        prefix, kind = _parted(tag)
        if prefix == "I" and kind == open_type:
            continue
        if open_type:
            found.add(Span(open_type, first, place - 1))
        open_type, first = (kind, place) if prefix == "B" else ("", place)
    return found


def read_tags(text: str) -> list[str] | None:
    """The tags in a text, a JSON list or between white space or commas; None for anything else."""
    try:
        value = find_json(text)
    except NotJson:
        value = text.replace(",", " ").split()
    if not isinstance(value, list) or not all(isinstance(tag, str) and _is_tag(tag) for tag in value):
        return None
    return value


class Tags:
    """Entity F1 of tag sequences, micro-averaged, by seqeval's default rule and by its strict one (IOB2)."""

    measures = (
        fraction(
            "tag_f1", "entities tagged with the right tokens and type", "seqeval f1_score, its default",
            needs=["references"], unit="F-measure", combine=combine_f1,
        ),
        fraction(
            "tag_f1_strict", "the same, where only B- begins an entity", "seqeval f1_score, strict, IOB2",
            needs=["references"], unit="F-measure", combine=combine_f1,
        ),
        fraction("tag_accuracy", "tokens with the right tag", "seqeval accuracy_score", needs=["references"]),
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
            _f1("tag_f1", spans(wanted), spans(given), reason),
            _f1("tag_f1_strict", strict_spans(wanted), strict_spans(given), reason),
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
        return ["" for _ in range(length)], "the response is no sequence of tags"
    reason = None if len(tags) == length else f"{len(tags)} tags for {length} tokens"
    return [*tags, *("" for _ in range(length - len(tags)))][:length], reason


def _f1(name: str, wanted: set[Span], given: set[Span], reason: str | None) -> Score:
    parts = (float(len(wanted & given)), float(len(given)), float(len(wanted)))
    total = parts[1] + parts[2]
    return Score(name, 2 * parts[0] / total if total else 1.0, reason, parts)


def _is_tag(tag: str) -> bool:
    prefix, _, kind = tag.partition("-")
    return tag == _OUTSIDE or (prefix in set("BIESLU") and bool(kind))


def _parted(tag: str) -> tuple[str, str]:
    prefix, _, kind = tag.partition("-")
    return (prefix, kind) if kind else (_OUTSIDE, "")


def _ends(before: str, prefix: str, kind: str, own: str) -> bool:
    """Whether the entity that the tag before stands in is over."""
    if before == _OUTSIDE:
        return False
    return before in "ESLU" or prefix in "BSUO" or kind != own


def _begins(before: str, prefix: str, kind: str, own: str) -> bool:
    if prefix == _OUTSIDE:
        return False
    return prefix in "BSU" or before in "ESLUO" or kind != own
