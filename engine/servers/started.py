"""A server that a run starts for one base: its start, its end, its answers, whichever engine it is.

It listens on loopback alone under a key of this process's making.
"""

import asyncio
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from engine.data.textfile import write_text
from engine.errors import CannotRun, Paused
from engine.servers.address import Address, Redactor, read_address
from engine.servers.client import Access, CallFailed, Client, Pool
from engine.servers.control import Server, clock, server_at
from engine.servers.engines import Engine, Holding
from engine.servers.keeper import GRACE_S
from engine.servers.transport import Broken, NoConnection, Transport
from engine.servers.wire import Reply
from store.read.live import STARTING

START_S = 1800.0  # for weights to be loaded and compiled
TIMEOUT_S = 600.0  # for answers that are not the plan's own, such as a text's log-probabilities
HAND_OVER = 0.5  # seconds: the longest that a caller waits for word
_RESTARTS = 1
_NOTICE_S = 5.0  # within which the end of a process is noticed
_LAST_LINES = 400
log = logging.getLogger("assay.engine")


class _Running:
    """One process of a server, from its start to its end."""

    def __init__(self, engine: Engine, holding: Holding) -> None:
        self.key = secrets.token_hex(24)  # which no command line takes for a flag
        self.engine = engine
        port = _free_port()
        self.address = f"http://127.0.0.1:{port}/v1"
        self.place: Server = server_at(self.address, None)
        self.ended = threading.Event()
        self.stage = "starting"
        self.why: str | None = None  # it was ended by us, and not by a stop
        self.answered = False
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._redact = Redactor(self.key)
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._orphaned: float | None = None  # since when
        self._folder = TemporaryDirectory(prefix="assay-engine-") if engine.reads_key_file else None
        file = None
        if self._folder is not None:
            file = Path(self._folder.name) / "config.yaml"  # in a folder that its owner alone can read
            write_text(file, f"api-key: {self.key}\n")
        command = engine.command(holding, port, file)
        self._started = threading.Event()
        # The keeper's parent is the thread that starts it: this one lives as long as the server.
        self._thread = threading.Thread(
            target=self._attend,
            args=(command, engine.environment(holding, self.key)),
            name="engine",
            daemon=True,
        )
        self._thread.start()
        self._started.wait()

    def _attend(self, command: list[str], environment: dict[str, str]) -> None:
        keeper = [sys.executable, "-P", "-m", "engine.servers", str(os.getpid())]
        try:
            self._process = subprocess.Popen(
                [*keeper, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            self._lines.append(f"OSError: {error}")
        finally:
            self._started.set()
        if self._process is not None and self._process.stdout is not None:
            for line in self._process.stdout:
                self._hear(line)
            self._process.wait()
        if self._folder is not None:
            self._folder.cleanup()
        self.ended.set()
        self.place.is_gone = True
        if not self._stopping:
            self.place.give_up(f"the {self.engine.name} server of this run has ended")

    def _hear(self, line: bytes) -> None:
        said = self._redact(line.decode("utf-8", "replace").rstrip().rpartition("\r")[2])[:2000]
        if said:
            self._lines.append(said)
            log.info("%s", said)
            stages = self.engine.stages
            self.stage = next((name for name, sign in stages if sign.search(said)), self.stage)

    @property
    def cause(self) -> str:
        """Why it ended, by the last line of its log that names an error."""
        if self.why:
            return self.why
        if told := self.engine.cause(list(self._lines)):
            return told[:600]
        code = self._process.returncode if self._process is not None else None
        by = f"killed by signal {code - 128}" if code is not None and code > 128 else f"exit code {code}"
        last = self._lines[-1][:300] if self._lines else "it said nothing"
        return f"{by}; its last line: {last}"

    def look(self) -> None:
        """Ends what a keeper left that was killed: the server is told to end then, and gets time for it."""
        if self._process is None or self._process.poll() is None or self.ended.is_set():
            return
        self._orphaned = self._orphaned or time.monotonic()
        if time.monotonic() - self._orphaned > GRACE_S:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def is_healthy(self, names: Sequence[str]) -> bool:
        """Whether it answers under the key, and has these models."""
        transport = self._to(read_address(self.address))
        try:
            answer = await transport.get("/models", 5.0)
        except (NoConnection, Broken, TimeoutError):
            return False
        finally:
            await transport.close()
        listed = answer.json() if answer.status == 200 else None
        try:
            return {entry["id"] for entry in (listed or {})["data"]} >= set(names)
        except (TypeError, KeyError):
            return False

    async def is_answering(self, name: str, timeout_s: float) -> bool:
        """Whether one of its models answers a short question now."""
        asked = {"model": name, "prompt": list(_TRIAL), "max_tokens": 1, "temperature": 0}
        native = self.engine.native
        transport = self._to(read_address(self.address)) if native is None else self._to_root()
        try:
            if native is None:
                answer = await transport.post("/completions", asked, timeout_s)
            else:
                answer = await transport.post(native.path, native.ask(asked), timeout_s)
        except (NoConnection, Broken, TimeoutError):
            return False
        finally:
            await transport.close()
        return answer.status == 200

    async def tokens(self, text: str) -> list[int] | None:
        """How it cuts a text; None where it does not tell."""
        transport = self._to_root()
        try:
            answer = await transport.post("/tokenize", {"content": text, "add_special": False}, TIMEOUT_S)
        except (NoConnection, Broken, TimeoutError):
            return None
        finally:
            await transport.close()
        told = answer.json() if answer.status == 200 else None
        found = told.get("tokens") if isinstance(told, dict) else None
        return found if isinstance(found, list) else None

    def _to(self, address: Address) -> Transport:
        return Transport(address, self.key)

    def _to_root(self) -> Transport:
        """For what is no part of the OpenAI API."""
        address = read_address(self.address)
        return self._to(replace(address, base=address.base.removesuffix("/v1")))

    def stop(self, why: str | None = None) -> None:
        """Ends it and all that it started; `why`: what was wrong with it, None for an ordinary stop."""
        self.why, self._stopping = why, why is None
        process = self._process
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        if not self.ended.wait(GRACE_S + _NOTICE_S):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        self._thread.join(_NOTICE_S)


class StartedServer:
    """A base with its adapters behind a server of this run's own; started when it is first asked.

    When it dies, or does not answer any more, it is started again once; then asking raises Paused with what
    its log says. `tell` gets what people should know ("info" or "warning", text), and `between` is called
    while it starts: what it raises ends the wait. For use from any thread.
    """

    def __init__(
        self,
        engine: Engine,
        holding: Holding,
        tell: Callable[[str, str], None] = lambda level, said: None,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self.engine = engine
        self.holding = holding
        self._tell = tell
        self._between = between
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._died = 0

    @property
    def load(self) -> tuple[int, int]:
        """How many requests it gets at once now, and how many it has."""
        if self._running is None:
            return 0, 0
        limiter = self._running.place.limiter
        return min(self.most, limiter.limit), limiter.active

    @property
    def most(self) -> int:
        """How many requests it gets at once."""
        return self.holding.slots or self.engine.most

    def ask(
        self,
        name: str,
        questions: Sequence[Mapping[str, Any]],
        most: int | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Iterator[list[tuple[int, Reply | CallFailed]]]:
        """The answers of one of its models to completion requests, by their places, as they come.

        A list may be empty: it is a moment to stop. A server that dies is started again, and asked for the
        rest. Raises CannotRun when it cannot be started, and Paused when it died again.
        """
        left = dict(enumerate(questions))
        most = min(self.most, most or self.most)
        while left:
            running = self._ready()
            try:
                for batch in _asked(running, name, left, most, timeout_s):
                    for place, reply in batch:
                        del left[place]
                        running.answered |= isinstance(reply, Reply)
                    yield batch
                    running.look()
                    outage = running.place.breaker.outage
                    # One that dies refuses connections before its end is noticed.
                    if outage is not None and not running.ended.wait(_NOTICE_S):
                        if running.answered and (yield from _is_up(running, name, timeout_s)):
                            running.place.answers_others()
                        else:
                            running.stop(f"it did not answer any more: {outage.reason}")
                    if running.ended.is_set():
                        break  # a request that began since then would wait for an address that nobody has
            except CannotRun as error:
                # Requests fail before the end of the process is noticed.
                if not running.ended.wait(0 if isinstance(error, Paused) else _NOTICE_S):
                    raise

    def next_logprobs(self, name: str, prompts: Sequence[Sequence[int]]) -> list[dict[int, float]]:
        """The log-probability of every token after each prompt, by token."""
        whole = {"max_tokens": 1, "temperature": 0, **FOLLOWING}
        found: dict[int, dict[int, float]] = {}
        # One after another: in a batch the last bits differ, and an adapter without effect would have some.
        for batch in self.ask(name, [{"prompt": list(ids), **whole} for ids in prompts], 1):
            found |= {place: following(self.engine, reply) for place, reply in batch}
        return [found[place] for place in range(len(prompts))]

    def tokens(self, text: str) -> list[int] | None:
        """How the engine itself cuts a text, without special tokens; None where it does not tell."""
        if not self.engine.tokenizes:
            return None
        return asyncio.run(self._ready().tokens(text))

    def close(self) -> None:
        """Ends the server; asking starts it again."""
        with self._lock:
            if self._running is not None:
                self._running.stop()
                self._running = None

    def _ready(self) -> _Running:
        while not self._lock.acquire(timeout=HAND_OVER):
            self._between()
        try:
            if self._running is not None and not self._running.ended.is_set():
                return self._running
            if self._running is not None:
                self._count_death(self._running)
            self._running = self._start()
            return self._running
        finally:
            self._lock.release()

    def _count_death(self, running: _Running) -> None:
        self._died += 1
        if self._died > _RESTARTS:
            raise Paused(
                f"{self.engine.name}, serving {self.holding.base.name}, died again: {running.cause}",
                "the run's log has all it said; correct the cause, then resume; finished answers are saved",
            )
        said = f"{self.engine.name}, serving {self.holding.base.name}, died and is started again"
        self._tell("warning", f"{said}: {running.cause}")

    def _start(self) -> _Running:
        begun, since, said = time.monotonic(), clock(time.time()), self.holding.base.name
        engine = f"{self.engine.name} {self.engine.version}"
        running = _Running(self.engine, self.holding)
        try:
            while True:
                running.place.awaited = f"{self.engine.name}{STARTING}{said} since {since}: {running.stage}"
                self._between()
                if asyncio.run(running.is_healthy(self.holding.names)):
                    break
                running.look()
                if running.ended.wait(HAND_OVER):
                    raise CannotRun(
                        f"{engine} could not serve {said}: {running.cause}",
                        "the run's log has all its lines; correct the cause, then resume",
                    )
                if time.monotonic() - begun > START_S:
                    raise CannotRun(
                        f"{engine} did not begin to serve {said} within {START_S:.0f} s ({running.stage})"
                    )
            running.place.awaited = None
            if self.holding.adapters:
                self._hold_apart(running)
        except BaseException:
            running.place.awaited = None
            running.stop()
            raise
        self._tell("info", f"{engine} serves {said} after {time.monotonic() - begun:.0f} s")
        return running

    def _hold_apart(self, running: _Running) -> None:
        """Refuses a server on which models that share a batch get one another's answers."""
        trial = {"prompt": list(_TRIAL), "max_tokens": 1, "temperature": 0, **FOLLOWING}
        names = self.holding.names
        alone = {name: _only(self.engine, _asked(running, name, {0: trial}, 1, TIMEOUT_S)) for name in names}
        with Pool[tuple[str, dict[int, float]]](lambda: _nothing()) as pool:
            for name in names * _TRIALS:
                pool.start(_tried(running, name, trial))
            mixed = [pool.next() for _ in names * _TRIALS]
        for name, found in mixed:
            apart = {other: distance(found, alone[other]) for other in names}
            nearest = min(apart.values())
            if nearest < apart[name]:
                raise CannotRun(
                    f"{self.engine.label} answers with other weights when models share a batch",
                    f'use engine = "transformers", or another version of {self.engine.name}',
                )


_TRIAL = (3, 1, 4, 1, 5, 9, 2, 6)
_TRIALS = 4  # of each model in the mixed batch
_TRIAL_S = 30.0  # for the answer of a server that is suspected not to give any


async def _nothing() -> None:
    pass


def _is_up(
    running: _Running, name: str, timeout_s: float
) -> Generator[list[tuple[int, Reply | CallFailed]], None, bool]:
    """Whether it answers now; each list that is yielded is empty, a moment to stop."""
    with Pool[bool](lambda: _nothing()) as pool:
        pool.start(running.is_answering(name, min(timeout_s, _TRIAL_S)))
        while not (found := pool.batch(HAND_OVER)):
            yield []
    return found[0]


async def _tried(running: _Running, name: str, trial: Mapping[str, Any]) -> tuple[str, dict[int, float]]:
    client = Client(_access(running, name, running.engine.most, TIMEOUT_S), set())
    try:
        return name, following(running.engine, await client.complete(trial))
    finally:
        await client.close()


def _only(engine: Engine, batches: Iterator[list[tuple[int, Reply | CallFailed]]]) -> dict[int, float]:
    (reply,) = [reply for batch in batches for _, reply in batch]
    return following(engine, reply)


def _access(running: _Running, name: str, most: int, timeout_s: float) -> Access:
    return Access(
        who=running.engine.name,
        server=running.address,
        model=name,
        key_variable=None,
        concurrency=most,
        timeout_s=timeout_s,
        retries=4,
        api="completions",
        key=running.key,
        native=running.engine.native,
    )


def _asked(
    running: _Running, name: str, questions: Mapping[int, Mapping[str, Any]], most: int, timeout_s: float
) -> Iterator[list[tuple[int, Reply | CallFailed]]]:
    """Asks one process; raises what the client raises, after what was answered before."""
    client = Client(_access(running, name, most, timeout_s), set())

    async def answer(place: int, question: Mapping[str, Any]) -> tuple[int, Reply | CallFailed]:
        try:
            return place, await client.complete(question)
        except CallFailed as error:
            return place, error

    waiting = iter(list(questions.items()))
    with Pool[tuple[int, Reply | CallFailed]](client.close) as pool:
        while True:
            while (
                not pool.is_ending and pool.under_way < 2 * most and (item := next(waiting, None)) is not None
            ):
                pool.start(answer(*item))
            if not (pool.under_way or pool.is_ending):
                return
            yield pool.batch(HAND_OVER)


def choice_of(engine: Engine, reply: Reply | CallFailed) -> Mapping[str, Any]:
    """The answer as it was sent. Raises CannotRun where there is none, or a setting was not applied to it."""
    if isinstance(reply, CallFailed):
        raise CannotRun(f"{engine.name} does not answer: {reply.reason}")
    if reply.rejected or reply.choice is None:
        raise CannotRun(f"{engine.name} does not apply {', '.join(reply.rejected or ())}", engine.newer)
    return reply.choice


# Asks for the log-probability of every token that may follow.
FOLLOWING: Mapping[str, Any] = {"logprobs": -1, "return_tokens_as_token_ids": True}


def following(engine: Engine, reply: Reply | CallFailed) -> dict[int, float]:
    """The log-probability of every token that may follow, where FOLLOWING asked for it."""
    try:
        (top,) = choice_of(engine, reply)["logprobs"]["top_logprobs"]
        return {int(token.removeprefix("token_id:")): float(value) for token, value in top.items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise CannotRun(
            f"{engine.name}'s answer has no log-probabilities of all tokens", engine.newer
        ) from None


def distance(one: Mapping[int, float], other: Mapping[int, float]) -> float:
    """The largest difference between the log-probabilities of a token."""
    return max((abs(value - other.get(token, _LEAST)) for token, value in one.items()), default=0.0)


_LEAST = -9999.0  # what vLLM writes for no probability at all


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
