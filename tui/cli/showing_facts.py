"""What a run's models took, and their errors label by label, in a terminal."""

from store.read.rows import ModelRow
from tui.sections.facts import NOT_FOUND, known_costs, labels
from tui.sections.summary import Summary
from tui.text.gate import MISSING
from tui.text.output import Column, heading, number, paragraph, print_table


def print_costs(summary: Summary) -> None:
    """Adapter size, GPU memory and energy; one line for models of which the same is known."""
    alike: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for model, found in known_costs(summary.models):
        alike.setdefault(tuple(found.items()), []).append(model)
    if alike:
        heading("What it took")
    for facts, models in alike.items():
        paragraph(f"{', '.join(models)}: {'; '.join(f'{name} {value}' for name, value in facts)}", "  ", "")


def print_labels(summary: Summary, *, full: bool) -> None:
    """Every model's F1 by label; `full` adds each model's precision and recall, and what it answered."""
    tables = {model.name: {row.name: row for row in labels(model)} for model in summary.models}
    found = {name: table for name, table in tables.items() if table}
    if not found:
        return
    heading("F1 by label")
    support = {name: row.support for table in found.values() for name, row in table.items()}
    columns = [Column("label"), Column("examples", True), *(Column(name, True) for name in found)]
    print_table(
        columns,
        [
            [
                label,
                str(count),
                *(number(table[label].f1) if label in table else MISSING for table in found.values()),
            ]
            for label, count in support.items()
        ],
    )
    for model in summary.models if full else ():
        _print_model(model)


def _print_model(model: ModelRow) -> None:
    """Precision and recall, then examples by label (down) and answer (across)."""
    rows = labels(model)
    if not rows:
        return
    heading(f"{model.name}: examples by label and answer")
    names = [*(row.name for row in rows), NOT_FOUND]
    columns = [Column("label"), Column("precision", True), Column("recall", True)]
    print_table(
        [*columns, *(Column(f"→ {name}", True) for name in names)],
        [[row.name, number(row.precision), number(row.recall), *map(str, row.answers)] for row in rows],
    )
