"""The test lock: a test split that was used is not tuned on again without saying so."""

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from engine.errors import BadInput


class RecordedUse(Protocol):
    """A row of the ledger; `created` is a Unix time."""

    @property
    def user(self) -> str: ...

    @property
    def reason(self) -> str: ...

    @property
    def created(self) -> float: ...


def refuse_used_test(version: str, uses: Sequence[RecordedUse], final: bool) -> None:
    """Raises BadInput when the test split of this eval set was used before and the plan is not final.

    `uses` are of other runs and of looks.
    """
    if final or not uses:
        return
    raise BadInput(
        f"the test split of eval set {version} was used {used_before(uses)}",
        'Iterate on split = "validation"; for a last measurement say final = true in [data].',
    )


def used_before(uses: Sequence[RecordedUse]) -> str:
    """How often, and who did last: "twice before, last on 2025-01-31 by mira: run of support"."""
    last = max(uses, key=lambda use: use.created)
    day = time.strftime("%Y-%m-%d", time.localtime(last.created))
    times = {1: "once", 2: "twice"}.get(len(uses), f"{len(uses)} times")
    return f"{times} before, last on {day} by {last.user}: {last.reason}"


def training_edited(current: str, earlier: Mapping[int, str]) -> list[int]:
    """The runs on the test split whose training file was another: `earlier` is its hash by run.

    Training data edited after a look at the test split may have been edited because of it.
    """
    return sorted(run for run, sha256 in earlier.items() if sha256 != current)
