"""Blind review: who stands on which side, what is left out of what the screen gets, and repeated items.

What is hidden never reaches the screen: it is taken out where it is read.
"""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b

from store.read.answers import PairView
from store.read.queues import QUEUES, QueueItem
from store.read.rows import AnnotationRow, ResponseRow

EVERY = 14  # items to a repeat: 7 %
SMALLEST = 8  # a queue of fewer items has no repeats
_NEAREST, _FURTHEST = 5, 12  # items between an item and its repeat, one way
_FLIPPED = {"left": "right", "right": "left"}
_OF_ONE = ("thumbs", "rating", "tag", "correction")


def _drawn(*parts: object) -> int:
    """A number that is the same for the same parts, on every machine."""
    text = "\0".join(map(str, parts)).encode("utf-8", "replace")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


def swapped(person: str, run_id: int, example: str, control: bool) -> bool:
    """Whether the candidate stands on the left for this person."""
    return bool(_drawn("side", person, run_id, example, control) & 1)


def with_controls(items: Sequence[QueueItem], person: str, run_id: int) -> list[QueueItem]:
    """The queue with some earlier items once more, never directly after themselves."""
    if len(items) < SMALLEST:
        return list(items)
    found: list[QueueItem] = []
    for place, item in enumerate(items):
        found.append(item)
        if (place + 1) % EVERY == 0 or (place + 1 == len(items) and place + 1 < EVERY):
            back = _NEAREST + _drawn("repeat", person, run_id, item.example) % (_FURTHEST - _NEAREST + 1)
            found.append(replace(items[max(0, place - back)], control=True))
    return found


def tells_nothing(queue: str) -> bool:
    """Whether being in a queue says nothing of how the models did."""
    return queue not in QUEUES or QUEUES[queue].blind


def masked(view: PairView, person: str, control: bool, *, swap: bool) -> PairView:
    """The pair with nothing but the answers, and what this person said of them."""
    left, right = (view.candidate, view.baseline) if swap else (view.baseline, view.candidate)
    own = [note for note in view.annotations if note.annotator == person]
    return replace(
        view,
        baseline=_nameless(left, "left"),
        candidate=_nameless(right, "right"),
        scores=[],
        verdicts=[],
        judgments=[],
        ratings=[],
        annotations=[note for note in own if note.control == control],
    )


def _nameless(response: ResponseRow | None, side: str) -> ResponseRow | None:
    """An answer without its model's name, trace, speed and length in tokens, by which one might know it."""
    if response is None:
        return None
    hidden = "no answer" if response.reason else None
    return replace(
        response, model=side, tokens_in=None, tokens_out=None, latency_s=None, cached=False, reason=hidden,
        thinking=None, thinking_tokens=None,
    )  # fmt: skip


def as_shown(notes: Sequence[AnnotationRow], left_id: int, *, control: bool) -> list[AnnotationRow]:
    """What people said, in the sides as they stand now: for others they may have stood the other way round.

    Repeats only show on the repeated item itself.
    """
    shown = [note for note in notes if note.control == control]
    return [
        replace(note, value=_FLIPPED[note.value])
        if note.kind == "preference" and note.value in _FLIPPED and note.left_id != left_id
        else note
        for note in shown
    ]


def about(note: AnnotationRow, left_id: int, names: tuple[str, str]) -> str:
    """Which answer a decision about a single one means; "" of those about the pair."""
    if note.kind not in _OF_ONE or note.right_id is not None:
        return ""
    return names[0] if note.left_id == left_id else names[1]
