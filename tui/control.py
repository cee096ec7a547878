"""Starting, resuming, pausing and cancelling runs from the app.

Runs are put on their way by the command line in a process of its own: reading a plan and checking what it
names imports libraries that have no place in the app's process. The other two are one short write.
"""

import asyncio
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui.app import AssayApp


class Control:
    """What the keys of Runs and Live do to a run; answers are said on the screen in front."""

    def __init__(self, app: "AssayApp") -> None:
        self._app = app

    def start(self, plan: str) -> None:
        """Starts a run of the plan in this file."""
        if plan.strip():
            self._call("run", plan.strip())

    def resume(self, run_id: int) -> None:
        self._call("resume", str(run_id))

    def pause(self, run_id: int) -> None:
        self._request(run_id, "pause", "pauses after its current piece of work")

    def retry(self, run_id: int) -> None:
        """Has the worker ask the server that it waits for again at once."""
        self._request(run_id, "retry", "tries again now")

    def cancel(self, run_id: int) -> None:
        """Cancels the run once the person has said yes."""
        if self._app.front is not None:
            self._app.front.confirm(
                f"Cancel run {run_id}? What is finished is kept.",
                lambda: self._request(run_id, "cancel", "is being cancelled"),
            )

    def _request(self, run_id: int, what: str, done: str) -> None:
        from store.history import request

        if self._app.front is not None:
            self._app.front.write(request, run_id, what, done=f"run {run_id} {done}")

    def _say_read_only(self) -> None:
        if self._app.front is not None:
            self._app.front.say("opened with --read-only: runs are left as they are", error=True)

    def _call(self, command: str, what: str) -> None:
        if self._app.store.read_only:
            self._say_read_only()
            return
        if self._app.front is not None:
            self._app.front.say("checking the plan …" if command == "run" else "resuming …")
        self._app.run_worker(self._run_command(command, what))

    async def _run_command(self, command: str, what: str) -> None:
        words = ("-m", "tui", command, what, "--detach", "--store", str(self._app.store.folder))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, errors = await process.communicate()
        front = self._app.front
        if front is None:
            return
        if process.returncode == 0:
            front.say("started" if command == "run" else "resumed")
            self._app.store.touched()
            return
        from tui.screens.message import MessageScreen

        text = (errors or out).decode(errors="replace").strip()
        self._app.push_screen(MessageScreen(f"`assay {command}` did not work", text))
