"""Each person's own figures, as `P` in Review shows them: win rate, habit of one side, consistency, pace."""

from dataclasses import asdict
from typing import Any

from store.read import history
from store.read.history import Connection
from store.read.labels import labelled_pairs, preferences
from store.read.reviewing import own_decisions


def own_values(connection: Connection, run_id: int) -> list[dict[str, Any]]:
    """One record for each person and pair of models; shares have value, low, high and n."""
    from tui.screens.review.own import own_figures

    names = {model.id: model.name for model in history.models(connection, run_id)}
    return [
        {"annotator": person, "candidate": names[pair[0]], "baseline": names[pair[1]]}
        | asdict(own_figures(own_decisions(connection, run_id, *pair, person)))
        for pair in labelled_pairs(connection, run_id)
        for person in sorted({row.annotator for row in preferences(connection, run_id, *pair)})
    ]
