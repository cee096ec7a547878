"""How small a change an eval set of some size can show."""

from math import sqrt

_Z = 1.959964 + 0.841621  # two-sided 5 %, power 80 %
AGREEMENT = 0.875  # of models that differ by a fine-tune, on seven examples of eight


def smallest_change(examples: int, agreement: float = AGREEMENT) -> float:
    """The smallest difference between two models' rates that so many paired examples show, from 0 to 1.

    For a yes-or-no measure, at 5 % two-sided and 80 % power. `agreement` is the share of examples on which
    both models do equally well: only the others tell them apart (McNemar's variance for small differences).
    Raises ValueError without examples.
    """
    if examples < 1:
        raise ValueError("no example, no comparison")
    return min(_Z * sqrt((1 - agreement) / examples), 1.0)
