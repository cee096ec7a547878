"""The test lock: a test split that was used is not tuned on again without saying so."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from engine.errors import BadInput


def refuse_used_test(version: str, uses: Sequence[Mapping[str, Any]], final: bool) -> None:
    """Raises BadInput when the test split of this eval set was used before and the plan is not final.

    `uses` are rows of the ledger (`user`, `reason`, `created` as a Unix time), of other runs and of looks.
    """
    if final or not uses:
        return
    last = max(uses, key=lambda use: use["created"])
    day = time.strftime("%Y-%m-%d", time.localtime(last["created"]))
    times = "once" if len(uses) == 1 else f"{len(uses)} times"
    raise BadInput(
        f"the test split of eval set {version} was used {times} before, last on {day} by {last['user']}: "
        f"{last['reason']}",
        'Iterate on split = "validation"; for a last measurement say final = true in [data].',
    )


def training_edited(current: str, earlier: Mapping[int, str]) -> list[int]:
    """The runs on the test split whose training file was another: `earlier` is its hash by run.

    Training data edited after a look at the test split may have been edited because of it.
    """
    return sorted(run for run, sha256 in earlier.items() if sha256 != current)
