"""What scores, annotations and assessments of tracing tools say of an answer, where people gave them."""

import re
from typing import Any

from engine.formats.votes import THUMBS
from engine.traffic.exchanges import Raw

# Words in the name of a score that a program sent for a person who used the product.
_THUMBS = {"thumb", "thumbs", "feedback", "vote", "votes", "like", "likes", "liked", "dislike", "dislikes"}
_RATINGS = {"rating", "ratings", "star", "stars", "satisfaction", "csat"}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_CORRECTION = re.compile(r"correct(ion|ed)|expected|reference|ideal", re.I)


def opinion(
    name: str,
    *,
    value: Any = None,
    label: Any = None,
    comment: Any = None,
    correction: Any = None,
    by_person: bool = False,
) -> Raw | None:
    """The feedback in a score of that name; None where no person gave it, or it says nothing of an answer.

    A score is a person's where its source says so, or its name: "user-feedback", "thumbs", "rating". Truth
    values, words such as "up" and "bad", and 1, 0 and -1 of a name such as "thumbs" are thumbs, other numbers
    ratings, other texts comments.
    """
    if not by_person and not is_of_users(name):
        return None
    said: Raw = {}
    if isinstance(comment, str) and comment.strip():
        said["comment"] = comment
    if isinstance(correction, str) and correction:
        return said | {"correction": correction}
    word = str(label).strip().lower() if isinstance(label, str) else ""
    text = value.strip() if isinstance(value, str) else ""
    if isinstance(value, bool) or (
        _is_number(value) and value in (1, 0, -1) and not _THUMBS.isdisjoint(_words(name))
    ):
        said["thumbs"] = int(value)
    elif _is_number(value) and not (word in THUMBS and not word.isdecimal()):
        said["rating"] = value
    elif word in THUMBS:
        said["thumbs"] = word
    elif text.lower() in THUMBS:
        said["thumbs"] = text
    elif text and _CORRECTION.search(name):
        said["correction"] = text
    elif (text or word) and "comment" not in said:
        said["comment"] = text or str(label)
    return said or None


def is_of_users(name: str, *, column: bool = False) -> bool:
    """Whether a score, or a `column` of a table with many, is called as one of the product's users."""
    return not _words(name).isdisjoint(_THUMBS | _RATINGS | (set() if column else {"user", "users"}))


def _words(name: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(name)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
