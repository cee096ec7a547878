"""A run's sweep in a terminal: every checkpoint with its rank, those that were cut too."""

from store.read.rows import ModelRow
from tui.sections.summary import Summary
from tui.text.gate import MISSING
from tui.text.output import Column, heading, interval, number, paragraph, print_table


def print_sweep(summary: Summary) -> None:
    """The checkpoints from the best to the worst, by what they were cut by; nothing without a sweep."""
    swept = sorted((model for model in [*summary.models, *summary.cut] if model.sweep), key=_rank)
    if not swept:
        return
    asked = swept[0].sweep or {}
    heading(f"Sweep of {len(swept)} checkpoints by {asked['measure']} on {asked['sample']} examples")
    columns = [Column("rank", True), Column("checkpoint"), Column(asked["measure"], True)]
    columns += [Column("95% interval", True), Column("n", True), Column("result")]
    print_table(columns, [_cells(model) for model in swept])
    if summary.cut:
        paragraph(
            f"{len(summary.cut)} were cut after this and are evaluated no further; the run's verdict rests "
            f"on the {len(swept) - len(summary.cut)} that were kept."
        )


def _rank(model: ModelRow) -> tuple[bool, int]:
    rank = (model.sweep or {})["rank"]
    return rank is None, rank or 0


def _cells(model: ModelRow) -> list[str]:
    fared = model.sweep or {}
    result = "kept" if fared["kept"] else "cut"
    return [
        MISSING if fared["rank"] is None else str(fared["rank"]),
        model.name,
        number(fared["value"]),
        interval(fared["low"], fared["high"]),
        str(fared["n"]),
        f"{result}: {fared['reason']}" if fared["reason"] else result,
    ]
