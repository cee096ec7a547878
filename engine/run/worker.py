"""The process that executes one run, apart from any terminal: `python -P -m engine.run --store DIR RUN`.

It owns the run through a lock that the kernel releases when it dies, tells the store that it lives, what the
machine does and which server it waits for, handles requests to pause, cancel and retry, and records a status
at the end. Killed at any moment, it loses at most the current piece of work.
"""

import argparse
import logging
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from engine.errors import AssayError, CannotRun, Paused, refused
from engine.phases.work import Stopped
from engine.run.tracking import start_tracking, start_waiting
from engine.servers import control
from store import records
from store.errors import StoreError
from store.write import Recorder

BEAT = 1.0  # seconds between heartbeats
RETRY = "retry"  # the request of a person who knows that the server is back
PHASE_END = "finish_phase"  # the request to pause once the phase in hand is done
log = logging.getLogger("assay.worker")


class Pulse(threading.Thread):
    """Heartbeat, requests and vitals, in parallel with the work."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(name="pulse", daemon=True)
        self._recorder = recorder
        self._over = threading.Event()
        self.request: str | None = None
        self.signal: str | None = None  # that asked for the pause, in a person's place
        self.ends_with_phase = False

    def run(self) -> None:
        from engine.models.vitals import Sensors

        sensors = Sensors()
        while not self._over.wait(BEAT):
            try:
                run = self._recorder.run()
                self._leave_to_another(run)
                self._recorder.set_run(heartbeat=time.time(), waiting=control.waiting())
                rows = [row | {"run_id": self._recorder.run_id} for row in sensors.read()]
                self._recorder.put([records.Vitals(**row) for row in rows])
            except StoreError as error:
                log.warning("no heartbeat: %s", error)
                continue
            control.allow(run.concurrency)
            self._hear(run.request)

    def _leave_to_another(self, run: records.Run) -> None:
        """Ends the process where another worker took the run over while this one could not be heard."""
        owner = run.worker_pid, run.worker_host
        if run.worker_pid is not None and owner != (os.getpid(), socket.gethostname()):
            log.error("process %d on %s has taken the run over", *owner)
            os._exit(CannotRun.exit_code)

    def _hear(self, asked: str | None) -> None:
        if asked == RETRY:
            control.try_again()
            self._recorder.answered(asked)
            return
        self.ends_with_phase = asked == PHASE_END
        if asked == PHASE_END:
            return
        self.request = self.request or asked
        if self.request:
            # Who waits for a server would hear of it only when that is back.
            control.interrupt(f"a {self.request} was asked for")

    def told(self, number: int) -> None:
        """A batch system or an operator ends the process: it pauses first."""
        self.request = "pause"
        self.signal = f"its worker was told to end by {signal.Signals(number).name}"

    def stop(self) -> None:
        self._over.set()
        self.join()


def work(store: Path, run_id: int) -> int:
    """Executes the run; returns the exit code: 0 when it finished or was stopped, 3 when it failed."""
    try:
        recorder = Recorder(store, run_id)
    except StoreError as error:
        log.error("%s", error)
        return CannotRun.exit_code
    try:
        _refuse_code_from_elsewhere(recorder.run())
    except AssayError as error:
        code = _fail(recorder, str(error))
        recorder.close()
        return code
    if not recorder.claim(os.getpid(), socket.gethostname()):
        log.info("run %d is finished or belongs to another worker", run_id)
        recorder.close()
        return 0
    pulse = Pulse(recorder)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: pulse.told(number))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    recorder.set_run(log=str(Path("logs") / f"run-{run_id}.log"))
    pulse.start()
    start_waiting(store)
    try:
        return _execute(recorder, store, pulse)
    finally:
        pulse.stop()
        recorder.close()


def _refuse_code_from_elsewhere(run: records.Run) -> None:
    from engine.run.launch import refuse_code_from_elsewhere

    if run.status not in ("finished", "cancelled"):
        refuse_code_from_elsewhere(run)


def _execute(recorder: Recorder, store: Path, pulse: Pulse) -> int:
    from engine.run.execute import execute

    try:
        execute(recorder, store, lambda: pulse.request, lambda: pulse.ends_with_phase)
    except Stopped as stopped:
        reason = stopped.reason or pulse.signal
        return _stop(recorder, stopped.request, reason, signalled=pulse.signal is not None)
    except Paused as error:
        return _pause(recorder, pulse, str(error))
    except (AssayError, StoreError) as error:
        return _fail(recorder, str(error))
    except Exception as error:  # the last line of defence: the run must not stay "running" for ever
        log.exception("unexpected")
        if reason := refused(error):
            return _fail(recorder, reason)
        return _fail(recorder, f"unexpected {type(error).__name__}; the log has the details")
    recorder.set_run(status="finished", request=None, finished=time.time(), waiting=None)
    log.info("run %d finished", recorder.run_id)
    start_tracking(store, recorder.run())
    return 0


def _stop(recorder: Recorder, request: str, error: str | None = None, *, signalled: bool = False) -> int:
    status = "cancelled" if request == "cancel" else "paused"
    if status == "paused" and signalled and recorder.run().priority is not None:
        status = "queued"  # the queue goes on with it, after a reboot too
    finished = time.time() if status == "cancelled" else None
    recorder.set_run(
        status=status, request=None, finished=finished, heartbeat=None, error=error, waiting=None
    )
    log.info("run %d %s", recorder.run_id, status)
    return 0


def _pause(recorder: Recorder, pulse: Pulse, reason: str) -> int:
    """The run waits for a person, who asked for that or else sees the reason."""
    if pulse.request is not None:
        return _stop(recorder, pulse.request, pulse.signal, signalled=pulse.signal is not None)
    recorder.event("warning", "run", reason)
    return _stop(recorder, "pause", reason)


def _fail(recorder: Recorder, message: str) -> int:
    log.error("%s", message)
    try:
        recorder.event("error", "run", message)
        recorder.set_run(status="failed", request=None, error=message, waiting=None)
    except StoreError as error:
        log.error("the failure could not be recorded: %s", error)
        recorder.last_words(message)
    return CannotRun.exit_code


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -P -m engine.run")
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("run", type=int)
    arguments = parser.parse_args()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    for client in ("httpx", "httpx2"):
        # A line for each of a hundred thousand requests would bury the one that matters.
        logging.getLogger(client).setLevel(logging.WARNING)
    sys.exit(work(arguments.store, arguments.run))
