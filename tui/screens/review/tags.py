"""The list of failure tags as a menu: a letter sets one, the same letter takes it off."""

from collections.abc import Collection, Sequence

from store.read.failures import TagRow
from tui.widgets.menu import Choice

NEW = ""  # what stands for a tag that is not on the list yet
LONGEST = 60


def tag_choices(offered: Sequence[TagRow], mine: Collection[str]) -> list[Choice[str]]:
    """The tags on offer, those that are set marked."""
    rows = [
        Choice(
            tag.letter or "",
            f"{'✓' if tag.name in mine else ' '} {tag.name}",
            tag.name,
            f"{tag.answers:,} in {tag.runs:,} run{'' if tag.runs == 1 else 's'}",
        )
        for tag in offered
    ]
    return [*rows, Choice("+", "  a new tag", NEW)]


def tag_name(text: str) -> str:
    """A name as it is kept: one line, no longer than fits on a screen."""
    return " ".join(text.encode("utf-8", "replace").decode().split())[:LONGEST]
