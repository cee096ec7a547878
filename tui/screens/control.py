"""Starting, resuming, pausing and cancelling runs from the app, and how much they may do at once.

Runs are put on their way by the command line in a process of its own: reading a plan and checking what it
names imports libraries that have no place in the app's process. Everything else is one short write.
"""

from collections.abc import Callable
from typing import Any

from textual.app import App

from tui.screens.base import AssayScreen, MessageScreen, Workbench
from tui.screens.choosing import run_command

MOST_DIGITS = 4  # of a number of calls at once


class Control:
    """What the keys of Runs and Live do to a run; answers are said on the screen in front."""

    def __init__(self, app: App[Any], workbench: Workbench) -> None:
        self._app = app
        self._workbench = workbench

    def start(self, plan: str) -> None:
        """Starts a run of the plan in this file."""
        if plan.strip():
            self._call("run", plan.strip())

    def resume(self, run_id: int) -> None:
        self._call("resume", str(run_id))

    def pause(self, run_id: int) -> None:
        self._request(run_id, "pause", "pauses after its current piece of work")

    def pause_after_phase(self, run_id: int) -> None:
        self._request(run_id, "finish_phase", "stops when its phase is done")

    def set_concurrency(self, run_id: int, text: str) -> None:
        """Lets the run ask each server for so many answers at once; 0 or nothing: as its plan says."""
        from store.people import set_concurrency

        calls = text.strip() or "0"
        if not calls.isdecimal() or len(calls) > MOST_DIGITS:
            self._say("enter 1 to 9999, or 0 for the plan's value", error=True)
            return
        allowed = int(calls) or None
        said = f"sends at most {allowed:,} requests in parallel" if allowed else "uses its plan's concurrency"
        self._write(set_concurrency, run_id, allowed, done=f"run {run_id} {said}")

    def retry(self, run_id: int) -> None:
        """Has the worker ask the server that it waits for again at once."""
        self._request(run_id, "retry", "tries again now")

    def cancel(self, run_id: int) -> None:
        """Cancels the run once the person has said yes."""
        if self._is_read_only():
            return
        if self._workbench.front is not None:
            self._workbench.front.confirm(
                f"Cancel run {run_id}? Finished work is kept.",
                lambda: self._request(run_id, "cancel", "is being cancelled"),
            )

    def _request(self, run_id: int, what: str, done: str) -> None:
        from store.people import request

        self._write(request, run_id, what, done=f"run {run_id} {done}")

    def _write(self, query: Callable[..., None], *values: object, done: str) -> None:
        if self._workbench.front is not None and not self._is_read_only():
            self._workbench.front.write(query, *values, done=done)

    def _is_read_only(self) -> bool:
        if self._workbench.store.read_only:
            self._say("opened with --read-only: runs are left as they are", error=True)
        return self._workbench.store.read_only

    def _say(self, text: str, *, error: bool = False) -> None:
        if self._workbench.front is not None:
            self._workbench.front.say(text, error=error)

    def _call(self, command: str, what: str) -> None:
        if self._is_read_only():
            return
        self._say("checking the plan …" if command == "run" else "resuming …")
        self._app.run_worker(self._run_command(command, what))

    async def _run_command(self, command: str, what: str) -> None:
        ended = await run_command(command, what, "--detach", store=self._workbench.store.folder)
        front = self._workbench.front
        if front is None:
            return
        if ended.code == 0:
            front.say("started" if command == "run" else "resumed")
            self._workbench.store.touched()
            return
        text = (ended.errors or ended.out).strip()
        self._app.push_screen(MessageScreen(f"`assay {command}` did not work", text))


NO_RUN = "there is no run under the cursor"


class RunControls(AssayScreen):
    """A screen with keys that resume, pause and cancel a run."""

    @property
    def controlled(self) -> int | None:
        """The run that the keys are for."""
        raise NotImplementedError

    def action_resume(self) -> None:
        self._control(self.assay.control.resume)

    def action_pause(self) -> None:
        self._control(self.assay.control.pause)

    def action_cancel(self) -> None:
        self._control(self.assay.control.cancel)

    def _control(self, act: Callable[[int], None]) -> None:
        if self.controlled is not None:
            act(self.controlled)
        else:
            self.say(NO_RUN, error=True)
