"""Agreement between judges and people in words: the figures' names, and whether a gate is settled."""

OUTCOMES = ("win", "tie", "loss")
FIGURES = {
    "raw": "same verdict",
    "raw_without_ties": "same, both decided",
    "kappa": "kappa",
    "alpha": "Krippendorff's alpha",
    "spearman": "Spearman",
    "kendall": "Kendall's tau-b",
}


def gate_in_words(
    low: float, high: float, gate: float, *, labelled: int, examples: int, needed: int | None
) -> str:
    """Whether the corrected win rate meets the gate, or how many random labels would settle it.

    `low` and `high` bound the corrected win rate. `needed` labels in all would settle it; None: no number on
    these examples does.
    """
    if low >= gate:
        return f"The gate of {100 * gate:g} % is met, as people would judge."
    if high < gate:
        return f"The gate of {100 * gate:g} % is missed, as people would judge."
    open_ = f"The gate of {100 * gate:g} % is not settled"
    if needed is None:
        return f"{open_}, and no number of labels on these examples settles it."
    if needed > examples:
        return f"{open_}: it takes about {needed:,} random labels, more than the {examples:,} examples here."
    more = max(0, needed - labelled)
    return f"{open_}: about {more:,} more random labels would settle it ({needed:,} in all)."
