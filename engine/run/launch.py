"""Putting a run on its way: the plan is checked and stored, then a worker of its own takes it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from engine.errors import BadInput
from engine.phases.work import PHASES
from engine.plan.plan import Plan, read_plan
from engine.plan.sweep import members_of
from engine.preflight.check import check
from store.read import history
from store.read.references import REFERENCES
from store.session import opened
from store.write import create_run

# Threads that wait for each other sleep instead of spinning: on a machine whose cores are busy, the spinning
# of a worker's own threads made it four times slower.
_PATIENT = {"OMP_WAIT_POLICY": "passive"}
# A file of the user's with the name of a module must not be imported in its place by any process of a run.
_SAFE = {"PYTHONSAFEPATH": "1"}


def create(
    plan_path: Path,
    store: Path,
    *,
    limit: int | None = None,
    only: str | None = None,
    cache: bool = True,
    fold: int | None = None,
    against: str | None = None,
) -> int:
    """Stores a queued run of the plan, or of one of its folds, and returns its id.

    `against` is the earlier run that its candidates are held against: "accepted", "best", or a run's id or
    name. Raises BadInput with everything that is wrong with the plan and what it names, before anything is
    stored, and StoreError for a run that is not there.
    """
    if only is not None and only not in PHASES:
        raise BadInput(f"there is no phase {only!r}", f"the phases are {', '.join(PHASES)}")
    plan = read_plan(plan_path, fold)
    _refuse_what_cannot_run(plan, store)
    options = {
        "limit": limit,
        "only": only,
        "cache": cache,
        "swept": members_of(plan.models),
        "fold": fold,
        "against": against and _reference(store, against),
    }
    name = plan.name if fold is None else f"{plan.name}, fold {fold}"
    return _queue(plan, store, name, plan_path.name, options)


def create_again(plan: Plan, store: Path, name: str, file: str, options: dict[str, Any]) -> int:
    """Stores a queued run of a plan that ran before, under the same name, and returns its id.

    Raises BadInput with everything that cannot run any more, before anything is stored.
    """
    _refuse_what_cannot_run(plan, store)
    return _queue(plan, store, name, file, options)


def _queue(plan: Plan, store: Path, name: str, file: str, options: dict[str, Any]) -> int:
    return create_run(
        store,
        {
            "name": name,
            "status": "queued",
            "plan": plan.text,
            "plan_hash": plan.hash,
            "plan_folder": str(plan.folder),
            "plan_file": file,
            "options": options,
        },
    )


def start(store: Path, run_id: int) -> int:
    """Starts the worker in a session of its own, so that it outlives the terminal; returns its process id."""
    log = log_file(store, run_id)
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with log.open("ab") as output:
        log.chmod(0o600)
        worker = subprocess.Popen(
            [sys.executable, "-P", "-m", "engine.run", "--store", str(store), str(run_id)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=_PATIENT | os.environ | _SAFE,
            start_new_session=True,
            close_fds=True,
        )
    return worker.pid


def log_file(store: Path, run_id: int) -> Path:
    return store / "logs" / f"run-{run_id}.log"


def _reference(store: Path, against: str) -> str:
    """The word, or the id of the run that was named."""
    if against in REFERENCES:
        return against
    with opened(store) as connection:
        return str(history.find_run(connection, against))


def _refuse_what_cannot_run(plan: Plan, store: Path) -> None:
    wrong = [finding for finding in check(plan, store) if finding.level == "error"]
    if wrong:
        lines = "\n".join(f"  {finding.subject}: {finding.message}" for finding in wrong)
        hints = "; ".join(dict.fromkeys(finding.hint for finding in wrong if finding.hint))
        raise BadInput(f"{plan.file} cannot run:\n{lines}", hints)
