"""Errors label by label, in the pane under the Compare screen's table."""

from collections.abc import Sequence

from textual.content import Content

from store.read.rows import ModelRow
from tui.screens.compare.lines import value
from tui.sections.measures import NOT_FOUND, LabelRow, labels
from tui.text.gate import cut, plain

MISTAKES = 3  # wrong answers that are named for each label


def label_lines(models: Sequence[ModelRow], candidate: str, baseline: str, width: int) -> list[Content]:
    """A line for each label: F1 of both, and the candidate's precision, recall and commonest mistakes."""
    tables = {model.name: {row.name: row for row in labels(model)} for model in models}
    before, after = tables.get(baseline, {}), tables.get(candidate, {})
    return [plain(cut(_line(row, before.get(name), list(after)), width)) for name, row in after.items()]


def _line(row: LabelRow, before: LabelRow | None, names: list[str]) -> str:
    was = "–" if before is None else value(before.f1)
    facts = f"precision {value(row.precision)}, recall {value(row.recall)}, n {row.support:,}"
    mistakes = [
        (count, name)
        for count, name in zip(row.answers, [*names, NOT_FOUND], strict=True)
        if count and name != row.name
    ]
    said = ", ".join(f"{name} {count:,}" for count, name in sorted(mistakes, reverse=True)[:MISTAKES])
    return f"{row.name}: F1 {was} → {value(row.f1)} · {facts}{f' · taken for {said}' if said else ''}"
