"""Starting, resuming, pausing and cancelling runs from the app, how much they may do at once, and what is
made of them: reports, exports, acceptances, repeats.

Runs are put on their way by the command line in a process of its own: reading a plan and checking what it
names imports libraries that have no place in the app's process. Everything else is one short write.
"""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual.app import App

from tui.screens.base import AssayScreen, MessageScreen, Workbench
from tui.screens.choosing import run_command
from tui.text.gate import cut

MOST_DIGITS = 4  # of a number of calls at once


class Control:
    """What the keys of Runs and Live do to a run; answers are said on the screen in front."""

    def __init__(self, app: App[Any], workbench: Workbench) -> None:
        self._app = app
        self._workbench = workbench
        self._under_way: set[tuple[str, str]] = set()  # commands that have not ended yet

    def start(self, plan: str) -> None:
        """Starts a run of the plan in this file, and shows it live unless the person went elsewhere."""
        if plan.strip():
            self._call("run", plan.strip())

    def is_starting(self, plan: str) -> bool:
        return ("run", plan) in self._under_way

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
        self._say("starting the run …" if command == "run" else "resuming …")
        if (command, what) not in self._under_way:
            self._under_way.add((command, what))
            self._app.run_worker(self._run_command(command, what))

    async def _run_command(self, command: str, what: str) -> None:
        asker = self._workbench.front
        words = (command, what, "--detach", *(["--json"] if command == "run" else []))
        try:
            ended = await run_command(*words, store=self._workbench.store.folder)
        finally:
            self._under_way.discard((command, what))
        front = self._workbench.front
        if front is None:
            return
        if ended.code:
            text = (ended.errors or ended.out).strip()
            self._app.push_screen(MessageScreen(f"`assay {command}` did not work", text))
            return
        self._workbench.store.touched()
        run_id = int(ended.table["id"]) if ended.table is not None else int(what)
        if command == "run" and front is asker:
            self._workbench.go("live", run_id)
        else:
            front.say(f"run {run_id} is {'started' if command == 'run' else 'resumed'}")


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


REPORTS = {".html": "html", ".md": "md", ".json": "json", ".xml": "junit"}


class RunSharing(RunControls):
    """A screen with keys that report on a run, accept it, export and repeat it, and bring others in.

    Each is the command of that name, which says how it went.
    """

    @property
    def accepted(self) -> str:
        """The candidate to accept; "" for the run's only one."""
        return ""

    def action_report(self) -> None:
        def answered(text: str) -> None:
            file = Path(text.strip()).expanduser()
            form = REPORTS.get(file.suffix.lower())
            if form is None:
                self.say(f"a report ends in {', '.join(REPORTS)}", error=True)
                return
            words = ("report", str(run_id), "--format", form, "--out", str(file))
            if file.exists():
                self.confirm(
                    f"{cut(file.name, 30)} exists. Write over it?",
                    lambda: self._do(words, f"{file} is written"),
                )
            else:
                self._do(words, f"{file} is written")

        if (run_id := self._wanted_run()) is not None:
            self.ask("report, as .html .md .json .xml", answered, value=f"run-{run_id}.html")

    def action_export(self) -> None:
        def answered(text: str) -> None:
            if text.strip():
                folder = str(Path(text.strip()).expanduser())
                self._do(("export", "runs", str(run_id), folder), f"run {run_id} is in {folder}")

        if (run_id := self._wanted_run()) is not None:
            self.ask("folder for the run's rows as JSON lines", answered, value=f"run-{run_id}")

    def action_import(self) -> None:
        def answered(text: str) -> None:
            try:
                words = shlex.split(text)
            except ValueError:
                self.say("a quotation mark is not closed", error=True)
                return
            if words:
                self._do(("import", *words), "imported")

        if not self._is_read_only():
            self.ask("kind and file, as: lm-eval results/", answered)

    def action_accept(self) -> None:
        if (run_id := self._wanted_run()) is None or self._is_read_only():
            return
        words = ("accept", str(run_id), *([self.accepted] if self.accepted else []))
        whom = cut(self.accepted, 40) or "the candidate"
        self.confirm(
            f"Accept {whom} of run {run_id} as the reference of later runs?",
            lambda: self._do(words, f"{whom} of run {run_id} is accepted"),
        )

    def action_rerun(self) -> None:
        if (run_id := self._wanted_run()) is not None and not self._is_read_only():
            words = ("rerun", str(run_id), "--detach")
            self.confirm(f"Repeat run {run_id}?", lambda: self._do(words, f"run {run_id} is being repeated"))

    def _wanted_run(self) -> int | None:
        if self.controlled is None:
            self.say(NO_RUN, error=True)
        return self.controlled

    def _is_read_only(self) -> bool:
        if self.assay.store.read_only:
            self.say("opened with --read-only: the store is left as it is", error=True)
        return self.assay.store.read_only

    def _do(self, words: tuple[str, ...], done: str) -> None:
        if any("\0" in word for word in words):  # no command can be given it
            self.say("a path with a NUL character cannot be used", error=True)
            return
        self.say("working …")
        self.run_worker(self._done(words, done), group="sharing")

    async def _done(self, words: tuple[str, ...], done: str) -> None:
        ended = await run_command(*words, store=self.assay.store.folder)
        if ended.code > 1:
            self.app.push_screen(MessageScreen(f"`assay {words[0]}` did not work", ended.complaint))
            return
        self.say(done)
        self.assay.store.touched()
        self.reload()
