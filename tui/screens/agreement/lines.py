"""The lines of the agreement screen: a judge's agreement with people, its corrected win rate, confusion."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from textual.content import Content

from store.read.rows import WinRateRow
from tui.text.gate import MISSING, cut, fit, join, one_line, percent, plain, wrap
from tui.widgets.win_rate_bar import band, key

FIGURES = {
    "raw": "same verdict",
    "raw_without_ties": "same, both decided",
    "kappa": "kappa",
    "alpha": "Krippendorff's alpha",
    "spearman": "Spearman",
    "kendall": "Kendall's tau-b",
}
OUTCOMES = ("win", "tie", "loss")
TITLE, CELLS = 20, 21  # of the figures' names, and of each column of them
BAND = 60

Found = Mapping[str, Any]  # a part of what `assay agreement --json` prints


class Confused(NamedTuple):
    """What the judge said where people said one outcome; of all categories where `category` is ""."""

    category: str
    people: str
    judge: tuple[int, ...]  # by OUTCOMES

    @property
    def differ(self) -> int:
        return sum(self.judge) - self.judge[OUTCOMES.index(self.people)]


def heading(text: str) -> Content:
    return Content.styled(text, "$heading")


def match_line(match: Found, place: int, count: int) -> Content:
    """Which judge and match is shown, and who labelled it."""
    who = ", ".join(match["annotators"])
    return join(
        [
            plain(cut(match["judge"], 24), "bold"),
            "  ",
            one_line(f"{cut(match['candidate'], 16)} against {cut(match['baseline'], 16)}"),
            Content.styled(f"  {place + 1} of {count}  " if count > 1 else "  ", "$muted"),
            one_line(f"labels by {who}", "$muted"),
        ]
    )


def figures(match: Found, rate: WinRateRow | None, width: int) -> list[Content]:
    """Agreement first, then the three win rates on one scale, then what is missing and why."""
    raters = {"judge and people": match} | match["between_people"]
    shown = dict(list(raters.items())[: max(1, (width - TITLE) // (CELLS + 1))])
    more = len(raters) - len(shown)
    heads = [heading(fit(names, CELLS, "right").plain) for names in shown]
    lines = [join([heading("agreement".ljust(TITLE)), *heads], " ")]
    pairs = [fit(f"{item['pairs']:,}", CELLS, "right") for item in shown.values()]
    lines.append(join([fit("pairs", TITLE), *pairs], " "))
    for name, title in FIGURES.items():
        cells = [fit(figure(item[name]), CELLS, "right") for item in shown.values()]
        lines.append(join([fit(title, TITLE), *cells], " "))
    if more:
        lines.append(Content.styled(f"and {more} more: `assay agreement` lists them", "$muted"))
    lines += [Content(""), *_win_rates(match, rate, width)]
    return [*lines, *_reasons(raters, width)]


def figure(found: Found) -> str:
    if found["value"] is None:
        return MISSING
    if found["low"] is None or found["high"] is None:
        return f"{found['value']:.2f}"
    return f"{found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"


def _win_rates(match: Found, rate: WinRateRow | None, width: int) -> list[Content]:
    found, gate = match["corrected_win_rate"], match["min_win_rate"]
    alone = found["labels_alone"]
    low, high = (rate.low, rate.high) if rate is not None else (None, None)
    rows = [
        ("the judge alone", found["judge_alone"], low, high),
        ("people alone", alone["value"], alone["low"], alone["high"]),
        ("corrected", found["value"], found["low"], found["high"]),
    ]
    cells = min(BAND, width - TITLE - CELLS - 2)
    lines = [join([heading("win rate".ljust(TITLE)), " " * CELLS, key(gate)], " ")]
    for title, value, start, end in rows:
        said = share(value, start, end)
        lines.append(
            join([fit(title, TITLE), fit(said, CELLS, "right"), band(value, start, end, cells, gate)], " ")
        )
    said = settled(match)
    if said:
        lines += wrap(plain(said), width)
    return lines


def share(value: float | None, low: float | None, high: float | None) -> str:
    if value is None or low is None or high is None:
        return percent(value)
    return f"{value:.1%} [{100 * low:.0f}, {100 * high:.0f}]"


def settled(match: Found) -> str:
    """What the corrected win rate says of the gate, or how many more labels would let it."""
    found, gate, needed = match["corrected_win_rate"], match["min_win_rate"], match["labels_to_settle"]
    if found["value"] is None:
        return f"Not corrected: {found['reason']}." if found["reason"] else ""
    if gate is None:
        return ""
    if found["low"] >= gate:
        return f"The gate of {100 * gate:g} % is met, as people would judge."
    if found["high"] < gate:
        return f"The gate of {100 * gate:g} % is missed, as people would judge."
    unsettled = f"The gate of {100 * gate:g} % is not settled"
    if needed is None:
        return f"{unsettled}, and no number of labels on these examples settles it."
    examples = found["labelled"] + found["unlabelled"]
    if needed > examples:
        return (
            f"{unsettled}: it takes about {needed:,} random labels, more than the {examples:,} examples here."
        )
    more = max(0, needed - found["labelled"])
    return f"{unsettled}: about {more:,} more random labels would settle it ({needed:,} in all)."


def _reasons(raters: Mapping[str, Found], width: int) -> list[Content]:
    """Why figures are missing, each reason once."""
    why: dict[str, list[str]] = {}
    for item in raters.values():
        for name, title in FIGURES.items():
            if item[name]["value"] is None and title not in why.setdefault(item[name]["reason"] or "", []):
                why[item[name]["reason"] or ""].append(title)
    return [
        line
        for reason, titles in why.items()
        if reason
        for line in wrap(plain(f"{MISSING} {', '.join(titles)}: {reason}", "$muted"), width)
    ]


def misread(criteria: Mapping[str, Sequence[Found]], width: int) -> list[Content]:
    """The criterion of each rubric that its judge reads least like people."""
    lines = []
    for judge, items in criteria.items():
        worst = next((item for item in items if item["distance"] is not None), None)
        if worst is not None:
            apart = f"{worst['distance']:.2f} apart over {worst['n']:,} answers, {worst['difference']:+.2f}"
            ranks = f"rank correlation {figure(worst['spearman'])}"
            said = f"{judge} misreads “{worst['name']}” most: {apart} on average; {ranks}"
            lines += wrap(one_line(said), width)
    return lines


def confused(match: Found) -> list[Confused]:
    """The confusion table as rows, all categories together first."""
    return [
        Confused(category, people, tuple(table[people].get(said, 0) for said in OUTCOMES))
        for category, table in sorted(match["confusion"].items())
        for people in OUTCOMES
        if people in table
    ]


def confusion_heading(width: int) -> Content:
    """Over the rows: what the judge said of the same examples."""
    said = [fit(f"judge: {outcome}", 12, "right") for outcome in OUTCOMES]
    return heading(join(["  ", fit("people said", _room(width)), *said]).plain)


def draw(row: Confused, width: int) -> Content:
    name = f"{row.people}, {row.category}" if row.category else row.people
    cells = []
    for outcome, count in zip(OUTCOMES, row.judge, strict=True):
        style = "$good" if outcome == row.people else "$bad" if count else "$muted"
        sign = "" if outcome == row.people or not count else "≠ "
        cells.append(fit(Content.styled(f"{sign}{count:,}", style), 12, "right"))
    return join([fit(name, _room(width + 2)), *cells])


def _room(width: int) -> int:
    return max(12, min(40, width - 2 - 36))
