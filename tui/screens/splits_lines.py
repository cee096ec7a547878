"""How the Splits screen writes sizes, leaks and the test split's ledger."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from textual.content import Content

from store.rows import LeakRow, SplitUseRow
from tui.text import MISSING, age, bar, cut, fit, join, one_line, plain, wrap
from tui.widgets.table import Column, Columns

_NAME = 18
_COUNT = 9
_GAP = "  "
_LABEL = 7
LEAKS = Columns(
    Column("example", 14, grow=1),
    Column("same", 20),
    Column("training line", 13, align="right"),
    Column("training text", 24, grow=4),
)
FOUND_BY = {"query": "query", "reference": "reference", "both": "query and reference"}


def sizes(summary: Mapping[str, Any] | None, width: int) -> list[Content]:
    """Both sets' sizes by split and by category, as counts with bars."""
    if not summary:
        return [Content.styled("the data was not read yet", "$muted")]
    evaluation, training = summary.get("evaluation"), summary.get("training")
    room = max(12, (width - _NAME - 2 * len(_GAP)) // 2)
    lines = [_sets(summary, evaluation, training, room)]
    for key in ("by_split", "by_category"):
        if key == "by_category":
            lines.append(Content.styled("by category", "$heading"))
        ours, theirs = _counts(evaluation, key), _counts(training, key)
        for name in dict.fromkeys([*ours, *theirs]):
            cells = [_share(counts.get(name, 0), counts, room) for counts in (ours, theirs) if counts]
            lines.append(join([fit(f"  {name}", _NAME), *cells], _GAP))
    return lines


def _sets(summary: Mapping[str, Any], evaluation: Any, training: Any, room: int) -> Content:
    """The files and their totals, above their columns."""
    ours = f"{_total(evaluation)} in {summary.get('examples_file') or 'the eval set'}"
    theirs = "no training data in the plan"
    if training:
        theirs = f"{_total(training)} in {summary.get('train_file') or 'the training set'}"
    cells = [fit(plain(cut(text, room), "bold"), room) for text in (f"eval  {ours}", f"train  {theirs}")]
    return join([Content.styled(f"{'by split':<{_NAME}}", "$heading"), *cells], _GAP)


def _total(found: Any) -> str:
    return f"{found['total']:,}" if found else MISSING


def _counts(found: Any, key: str) -> dict[str, int]:
    return dict(found[key]) if found and key in found else {}


def _share(count: int, counts: Mapping[str, int], room: int) -> Content:
    total = sum(counts.values())
    share = count / total if total else 0.0
    filled, empty = bar(share, max(4, room - _COUNT - 6))
    return join(
        [
            fit(f"{count:,}", _COUNT - 1, "right"),
            " ",
            Content.styled(filled, "$good"),
            Content.styled(empty, "$rule"),
            f"{share:>5.0%} ",
        ]
    )


def selection(summary: Mapping[str, Any] | None, eval_set: str | None) -> Content:
    """Which eval set, and what of it this run evaluates."""
    if not summary or eval_set is None:
        return Content.styled("no eval set yet", "$muted")
    selected, split = summary.get("selected"), summary.get("split") or "all"
    which = "all examples" if split == "all" else f"the {split} split"
    parts = [f"eval set {eval_set}", f"evaluated: {selected if selected is not None else MISSING} of {which}"]
    return plain(" · ".join(parts))


def leak_summary(summary: Mapping[str, Any] | None, leaks: Sequence[LeakRow]) -> Content:
    """Whether examples stand in the training data. Where nothing was searched, nothing is claimed."""
    if not summary:
        return Content("")
    if not summary.get("training"):
        return Content.styled("! leaks were not searched for: the plan names no training data", "$warn")
    if not leaks:
        return Content.styled("+ no example stands in the training data word for word", "$good")
    total = summary.get("selected") or _total(summary.get("evaluation"))
    asked = {leak.example for leak in leaks if leak.field != "reference"}
    answered = {leak.example for leak in leaks} - asked
    parts = []
    if asked:
        parts.append(plain(f"! {_stand(len(asked), total)} in the training data", "bold $bad"))
    if answered:
        only = "by their answer alone" if asked else "in the training data by their answer alone"
        parts.append(plain(f"! {_stand(len(answered), total)} {only}", "$warn"))
    return join(parts, "  ")


def _stand(count: int, total: int | str) -> str:
    return f"{count:,} of {total} {'stands' if count == 1 else 'stand'}"


def leak_row(leak: LeakRow, width: int) -> Content:
    found_by = FOUND_BY.get(leak.field, leak.field)
    how = found_by if leak.tier == "identical" else f"{found_by}, {leak.tier} {leak.score:.2f}"
    return LEAKS.row([leak.example, how, f"{leak.train_line:,}", one_line(leak.excerpt)], width)


def leak_sides(leak: LeakRow, width: int) -> list[Content]:
    """The example and the training text that it was found in, one under the other."""
    return [
        *_labelled("eval", f"{leak.example}: {leak.query}", width),
        *_labelled("train", f"line {leak.train_line:,}: {leak.excerpt}", width),
    ]


def _labelled(label: str, text: str, width: int) -> list[Content]:
    lines = wrap(plain(text), width - _LABEL)
    head, indent = Content.styled(f"{label:<{_LABEL}}", "$heading"), Content(" " * _LABEL)
    return [join([indent if place else head, line]) for place, line in enumerate(lines)]


def ledger(uses: Sequence[SplitUseRow], now: float, width: int) -> list[Content]:
    """Who looked at a locked split, when and why, the newest first."""
    if not uses:
        return [Content.styled("the test split of this eval set was not used yet", "$muted")]
    times = "once" if len(uses) == 1 else f"{len(uses)} times"
    lines = [Content.styled(f"locked splits of this eval set were used {times}", "$heading")]
    for use in uses:
        day = time.strftime("%Y-%m-%d", time.gmtime(use.created))
        where = f"run {use.run_id}" if use.run_id is not None else ""
        parts = [use.split, day, age(max(0.0, now - use.created)), use.user, where, use.reason]
        lines.append(one_line(cut("  " + " · ".join(part for part in parts if part), width)))
    return lines
