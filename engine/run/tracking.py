"""Sending runs to experiment trackers, in processes of their own, so that no tracker can hold or break a run.

A worker starts `assay track RUN` when its run has ended. What the store knows is sent under a key that the
run has in every store: sent again, it brings the same run of the tracker up to date, so that a sending that
was killed at any moment is simply done again. What could not be sent waits, and is tried again, later each
time, when another run starts or the app does.
"""

import contextlib
import hashlib
import io
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import KEY_SHAPE, AssayError, BadInput, CannotRun
from engine.run.trackers import SENDERS, TrackedRun, place_of
from store.errors import StoreError
from store.read.history import tracks, waiting_tracks
from store.records import Run, Track
from store.session import opened

if TYPE_CHECKING:
    from engine.plan.plan import Tracking

WAITS = (2.0, 10.0)  # seconds between the tries of one sending
LIMIT_S = 300  # of one try
_SOON, _DAY = 60.0, 86_400.0  # seconds after which a waiting one is due, at first and at last
_CUT_OFF = "the process that sent it ended before it said how that went"
_LONGEST = 500  # characters of a reason
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|USERNAME", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^/@\s]*@|(?<=[?&])[^=&\s]*(?:key|token|secret|password)[^=&\s]*=[^&\s]*", re.I)


def key_of(run: Run) -> str:
    """What names a run in trackers: the same for it in every store, and no other's."""
    return hashlib.sha256(f"{run.created!r} {run.plan_hash} {run.name}".encode()).hexdigest()[:16]


def tracking_of(run: Run) -> "Tracking | None":
    """The [track] table of the plan as it was stored, whatever else it names may be gone by now."""
    from engine.plan.paths import Context
    from engine.plan.plan import Tracking

    table = tomllib.loads(run.plan).get("track") if run.plan else None
    return Tracking.model_validate(table, context=Context(Path(run.plan_folder))) if table else None


def send(store: Path, run_id: int, tracked: TrackedRun, tracker: str) -> Track:
    """Sends a run to one tracker, or brings it up to date there; returns where it then stands.

    Raises StoreError where that cannot be recorded, and BadInput while another process sends it.
    """
    from engine.plan.plan import lacking

    with _alone(store / f"run-{run_id}-{tracker}.lock"):
        row = _row(store, run_id, tracker)
        if lacks := lacking(tracker):  # another shell may have it
            attempts = row.attempts + 1
            return _keep(store, replace(row, status="waiting", attempts=attempts, reason="; ".join(lacks)))
        for wait in (*WAITS, None):
            row = replace(row, status="waiting", attempts=row.attempts + 1, reason=_CUT_OFF)
            _keep(store, row)
            row = _attempt(row, tracked)
            if row.status != "waiting":
                return _keep(store, replace(row, attempts=0 if row.status == "sent" else row.attempts))
            _keep(store, row)
            if wait is None:
                break
            time.sleep(wait)
    return row


def _attempt(row: Track, tracked: TrackedRun) -> Track:
    said = io.StringIO()  # what the library prints may hold an address with its key
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), _limited():
            place = place_of(row.tracker, tracked)
            row = replace(row, place=place, tracked=row.tracked if place == row.place else None)
            return replace(row, tracked=SENDERS[row.tracker](tracked), status="sent", reason=None)
    except BadInput as error:
        return replace(
            row, status="failed", reason=without_keys(": ".join(filter(None, (error.message, error.hint))))
        )
    except Exception as error:  # whatever a tracker raises is its own, and no error of the run
        said_of_it = f"{type(error).__name__}: {error}"
        return replace(row, status="waiting", reason=without_keys(said_of_it))


def without_keys(text: str) -> str:
    """One line for people without what an address or the environment holds of users and keys."""
    from engine.servers.address import Redactor

    line = KEY_SHAPE.sub("[key]", _USER.sub("", " ".join(text.split())))
    for name, value in os.environ.items():
        if _SECRET.search(name):
            line = Redactor(value)(line)
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _row(store: Path, run_id: int, tracker: str) -> Track:
    with opened(store) as connection:
        found = {row.tracker: row for row in tracks(connection, run_id)}
    new = Track(run_id=run_id, tracker=tracker, place="", status="waiting", updated=time.time())
    return found.get(tracker, new)


def _keep(store: Path, row: Track) -> Track:
    from store.write import one_transaction

    row = replace(row, updated=time.time())
    with one_transaction(store) as transaction:
        transaction.put(row)
    return row


@contextlib.contextmanager
def _alone(file: Path) -> Iterator[None]:
    """One process at a time sends a run to a tracker; the next waits for it, since it may know more."""
    from store.database import hold

    deadline = time.monotonic() + 4 * LIMIT_S
    while (lock := hold(file)) is None:
        if time.monotonic() > deadline:
            raise BadInput(f"{file.name}: another process sends this run", "wait until it has ended")
        time.sleep(0.1)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        os.close(lock)


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """Ends a tracker that hangs with an error; one that does not come back for that, with the process."""

    def over(*_: object) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(30)
        raise CannotRun(f"it did not answer within {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def start_tracking(store: Path, run: Run) -> list[subprocess.Popen[bytes]]:
    """Has a run sent to the trackers of its plan, each by a process of its own that nobody waits for.

    What it cannot do it leaves: a run never fails for its tracker.
    """
    with contextlib.suppress(AssayError, StoreError, OSError, ValueError):
        plan = tracking_of(run)
        return [_start(store, run.id, tracker) for tracker in dict.fromkeys(plan.to if plan else ())]
    return []


def start_waiting(store: Path) -> None:
    """As `start_due`, of all that wait in a store."""
    with contextlib.suppress(StoreError), opened(store) as connection:
        start_due(store, waiting_tracks(connection))


def start_due(store: Path, rows: Sequence[Track]) -> None:
    """Has those of the waiting ones sent again for which it is time."""
    for row in rows:
        if time.time() - row.updated >= _pause(row):
            with contextlib.suppress(OSError):
                _start(store, row.run_id, row.tracker)


def _pause(row: Track) -> float:
    return min(_DAY, _SOON * 2.0 ** min(row.attempts, 20))


def _start(store: Path, run_id: int, tracker: str) -> subprocess.Popen[bytes]:
    words: list[Any] = ["track", run_id, "--to", tracker, "--store", store]
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "assay", *map(str, words)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONSAFEPATH": "1"},
        start_new_session=True,
    )
