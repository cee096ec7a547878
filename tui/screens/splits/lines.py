"""What stands around the parts of the Splits screen: the judgement, their names, the others at a glance."""

from collections.abc import Mapping, Sequence
from typing import Any

from textual.content import Content

from engine.data.power import smallest_change
from tui.screens.splits.data import Data
from tui.screens.splits.leaks import by_tier
from tui.screens.splits.part import Part, flow, plural, times
from tui.text.gate import MISSING, fit, join, plain

# How a tier is called in a sentence.
_TIERS = {"identical": "identical", "near": "near", "ngram": "long shared n-gram", "meaning": "same meaning"}


def judgement(data: Data, width: int) -> list[Content]:
    """Whether the eval set can be trusted: what leaked, how often it was looked at, what it can show."""
    if not data.summary or data.eval_set is None:
        return [Content.styled("the data was not read yet", "$muted")]
    rest = []
    if answers := data.summary.get("answers_seen"):
        rest.append(plain(f"{plural(answers, 'answer')} seen alone"))
    if similar := data.summary.get("similar"):
        rest.append(plain(f"{similar:,} merely similar"))
    uses = sum(use.split == "test" for use in data.uses)
    rest.append(plain(f"test split used {times(uses)}") if uses else plain("test split not used yet"))
    rest += _power(data.summary)
    if data.pending:
        rest.append(plain(f"× {len(data.pending):,} excluded", "$good"))
    return [*flow(_leaked(data, width), width), *flow(rest, width)]


def _leaked(data: Data, width: int) -> list[Content]:
    """How many of the evaluated examples stand in the training data, by tier; unsearched is not clean."""
    summary = data.summary or {}
    if not summary.get("training"):
        return [plain("? leaks were not searched for: the plan names no training data", "$warn")]
    evaluated = summary.get("selected")
    total = MISSING if evaluated is None else f"{evaluated:,}"
    tiers = by_tier(data)
    leaked = sum(tiers.values())
    # Runs before tiers were counted searched for identical texts alone.
    searched = summary.get("leaks_by_tier")
    only = " (searched: identical texts)" if searched is None else ""
    if isinstance(searched, Mapping) and searched.get("meaning", 0) is None:
        only = " (same meaning: not searched)"
    if not leaked:
        return [plain(f"+ none of the {total} evaluated examples leaked{only}", "bold $good")]
    named = ", ".join(f"{count:,} {_TIERS[tier]}" for tier, count in tiers.items() if count)
    said = f"! {leaked:,} of {total} evaluated examples leaked: {named}{only}"
    if len(said) > width:
        said = said.replace(" evaluated examples", "")
    return [plain(said, "bold $bad")]


def _power(summary: Mapping[str, Any]) -> list[Content]:
    """The smallest change that so many examples can show."""
    count = summary.get("selected")
    if not count:
        return []
    change = summary.get("detectable") or smallest_change(count)
    return [plain(f"with {plural(count, 'example')} you can see a {change * 100:.0f}-point change")]


def tabs(parts: Sequence[Part], chosen: int) -> Content:
    """The parts' names with their keys and counts; brackets mark the one that is shown."""
    named = []
    for place, part in enumerate(parts):
        count = Content.styled(f" {part.note}", "$muted") if part.note else Content("")
        name = join([Content.styled(str(place + 1), "$key"), f" {part.name}", count])
        shown = place == chosen
        named.append(join(["[", name.stylize("bold"), "]"]) if shown else join([" ", name, " "]))
    return join(named, " ")


def glance(parts: Sequence[Part], chosen: int, width: int, height: int) -> list[Content]:
    """The parts that are not shown, each with its first rows, a blank line between them."""
    others = [(place, part) for place, part in enumerate(parts) if place != chosen]
    free = height - len(others) + 1
    rooms: dict[int, int] = {}
    # What needs the least is served first, and leaves to the others what it does not need.
    for left, (need, place) in enumerate(sorted((_need(part), place) for place, part in others)):
        rooms[place] = min(need, free // (len(others) - left))
        free -= rooms[place]
    lines = [
        line for place, part in others for line in [*_glance(place, part, width, rooms[place]), Content("")]
    ]
    return lines[:-1]


def _need(part: Part) -> int:
    """Lines to say all of a part."""
    return 3 + max(1, len(part.items))


def _glance(place: int, part: Part, width: int, room: int) -> list[Content]:
    """A part's name, its words, and its first rows with how many more there are."""
    key = Content.styled(str(place + 1), "$key")
    head = join([key, Content.styled(f" {part.name}", "bold"), Content.styled(f" {part.note}", "$muted")])
    if not part.items:
        return [head, *plain(part.empty, "$muted").wrap(max(1, width))][:room]
    above = [head, part.said(width), part.heading(width)]
    free = max(0, room - len(above))
    shown = part.items if len(part.items) <= free else part.items[: max(0, free - 1)]
    rows = [part.row(item, width) for item in shown]
    if len(shown) < len(part.items):
        rows.append(Content.styled(f"… {len(part.items) - len(shown):,} more", "$muted"))
    return [fit(line, width) for line in [*above, *rows][:room]]
