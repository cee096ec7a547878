"""What scores, annotations and assessments of tracing tools say of an answer, where people gave them."""

import re
from typing import Any

from engine.formats.votes import THUMBS
from engine.traffic.exchanges import Raw

# Scores that a program sent for a person who used the product.
OF_USERS = re.compile(
    r"thumb|feedback|rating|star|vote|satisf|csat|(?<![a-z])user(?![a-z])|(?<![a-z])(?:dis)?likes?(?![a-z])",
    re.I,
)
_THUMB = re.compile(r"thumb|feedback|vote|(?<![a-z])(?:dis)?likes?(?![a-z])", re.I)
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
    if not by_person and not OF_USERS.search(name):
        return None
    said: Raw = {}
    if isinstance(comment, str) and comment.strip():
        said["comment"] = comment
    if isinstance(correction, str) and correction:
        return said | {"correction": correction}
    word = str(label).strip().lower() if isinstance(label, str) else ""
    text = value.strip() if isinstance(value, str) else ""
    if isinstance(value, bool) or (_is_number(value) and value in (1, 0, -1) and _THUMB.search(name)):
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


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
