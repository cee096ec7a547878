"""Part of the first phase: the test lock, which a run on the test split has to pass and is entered in."""

import time
from typing import Any

from engine.data.lock import refuse_used_test, training_edited
from engine.phases.work import Work
from store import tables
from store.person import user_name
from store.read.lock import test_uses
from store.session import opened


def hold_lock(work: Work, version: str, file_version: str, train_hash: str | None) -> list[int]:
    """Refuses a test split used before unless the plan is final, and tells of training data edited since.

    Returns the runs that had used the test split before the training data were edited.
    """
    with opened(work.store) as connection:
        uses = test_uses(connection, version, file_version)
    refuse_used_test(version, uses, work.plan.data.final)
    if train_hash is None:
        return []
    hashes: dict[int, str] = {}
    for run_id in {use.run_id for use in uses if use.run_id is not None}:
        for run in work.recorder.rows(tables.Run, id=run_id):
            if known := (run["data_summary"] or {}).get("train_sha256"):
                hashes[run_id] = known
    edited = training_edited(train_hash, hashes)
    for run_id in edited:
        work.recorder.event(
            "warning", "data", f"the training file was edited after run {run_id} had used the test split"
        )
    return edited


def ledger_row(work: Work, version: str) -> dict[str, Any]:
    """This run's use of the test split."""
    return {
        "run_id": work.recorder.run_id,
        "eval_set": version,
        "split": "test",
        "user": user_name(),
        "reason": f"run of {work.plan.name}",
        "created": time.time(),
    }
