"""Judges and models behind a server, beside the bare openai SDK in a plain semaphore loop.

    python -m bench.judge [SECONDS]

A server in a process of its own answers every request after 200 ms. Calls a second and CPU a call of our
judges and served models, and of the bare SDK with either of its transports, at 8, 64 and 256 requests at
once; the server's own ceiling, met by raw sockets without latency; the process's memory over 100,000 calls;
and the calls a second while every answer is committed to a store.
"""

import asyncio
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from bench.judge_server import ANSWER
from engine.data.example import Example
from engine.judges.answers import Parsed, parse_pairwise
from engine.judges.asking import Answered, Question, ServerAsker
from engine.models.model import Response, Settings
from engine.models.server import ServerModel
from engine.plan.plan import Judge, Model
from engine.servers import control
from engine.servers.wire import Reply
from store import records
from store.write import Recorder, create_run

RESPONSE_FORMAT = {
    "type": "json_schema",
    "json_schema": {
        "name": "verdict",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {
                "reasoning": {"type": "string"},
                "winner": {"type": "string", "enum": ["A", "B", "tie"]},
            },
            "required": ["reasoning", "winner"],
            "additionalProperties": False,
        },
    },
}
LATENCY_S = 0.2
SECONDS = 12.0
WARM_UP = 0.25  # of the calls: growth to the full number at once is not the pace
CONCURRENCY = (8, 64, 256)
MANY = 100_000
MESSAGES = [
    {"role": "system", "content": "You compare two responses. " * 20},
    {"role": "user", "content": "Which of these two is better? " * 60},
]


@dataclass
class Pace:
    """Calls a second after the warm-up, and over everything; CPU seconds of this process a call."""

    steady: float
    whole: float
    cpu: float


@contextmanager
def server(latency_s: float) -> Iterator[str]:
    """A server in another process; yields its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.judge_server", str(latency_s)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def spec(url: str, concurrency: int) -> Judge:
    return Judge.model_validate(
        {"name": "bench", "server": url, "model": "judge", "concurrency": concurrency}
    )


def question(number: int) -> Question[int]:
    return Question(
        about=number,
        key=str(number),
        messages=MESSAGES,
        response_format=RESPONSE_FORMAT,
        problem=_problem,
        repair=lambda answer, problem, last: MESSAGES,
    )


def _problem(reply: Reply) -> str | None:
    parsed = parse_pairwise(reply.text)
    return None if isinstance(parsed, Parsed) else parsed.reason


def paced(results: Iterable[object], count: int) -> Pace:
    """Goes through `count` results and takes the time."""
    began, cpu = time.perf_counter(), time.process_time()
    warm = round(count * WARM_UP)
    middle = began
    done = 0
    for _ in results:
        done += 1
        if done == warm:
            middle = time.perf_counter()
    assert done == count, (done, count)
    ended = time.perf_counter()
    return Pace(
        (count - warm) / (ended - middle), count / (ended - began), (time.process_time() - cpu) / count
    )


def ours(url: str, concurrency: int, count: int) -> Iterator[Answered[int]]:
    for answered in ServerAsker(spec(url, concurrency), None).ask(map(question, range(count))):
        assert answered.failure is None, answered.failure
        yield answered


def answered(url: str, concurrency: int, count: int) -> Iterator[Response]:
    """The same question as a served model of a plan is asked it."""
    model = Model(name="bench", role="candidate", server=url, model="judge", system=MESSAGES[0]["content"])
    examples = [Example(str(number), MESSAGES[1]["content"], (MESSAGES[1],)) for number in range(count)]
    generator = ServerModel(model, concurrency=concurrency)
    for batch in generator.generate(examples, Settings(max_new_tokens=1024)):
        for response in batch:
            assert response.text is not None, response.reason
            yield response


def bare_openai(url: str, concurrency: int, count: int, *, aiohttp: bool = False) -> Pace:
    """The loop that people write: a semaphore, a gather, the SDK's own parsing; on httpx, or on aiohttp."""
    from httpx2 import Limits
    from openai import AsyncOpenAI, DefaultAioHttpClient

    request: Any = {
        "model": "judge",
        "messages": MESSAGES,
        "temperature": 0,
        "max_tokens": 1024,
        "response_format": RESPONSE_FORMAT,
    }

    async def work() -> Pace:
        limit = asyncio.Semaphore(concurrency)
        ends: list[float] = []
        async with AsyncOpenAI(
            base_url=url,
            api_key="none",
            max_retries=0,
            timeout=60.0,
            http_client=DefaultAioHttpClient(limits=Limits(max_connections=0)) if aiohttp else None,
        ) as client:

            async def call() -> None:
                async with limit:
                    completion = await client.chat.completions.create(**request)
                    assert completion.choices[0].message.content
                    ends.append(time.perf_counter())

            began, cpu = time.perf_counter(), time.process_time()
            await asyncio.gather(*(call() for _ in range(count)))
        warm = round(count * WARM_UP)
        return Pace(
            (count - warm) / (ends[-1] - ends[warm - 1]),
            count / (ends[-1] - began),
            (time.process_time() - cpu) / count,
        )

    return asyncio.run(work())


def ceiling(connections: int, seconds: float) -> float:
    """What the server can do at most, asked without latency through raw sockets: requests a second."""
    body = b"x" * 3000
    request = b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body

    async def ask(port: int, until: float) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        done = 0
        while time.perf_counter() < until:
            writer.write(request)
            await reader.readexactly(len(ANSWER))
            done += 1
        writer.close()
        return done

    async def work(port: int) -> float:
        until = time.perf_counter() + seconds
        return sum(await asyncio.gather(*(ask(port, until) for _ in range(connections)))) / seconds

    with server(0.0) as url:
        return asyncio.run(work(int(url.rpartition(":")[2].partition("/")[0])))


def stored(answers: Iterable[Answered[int]], folder: Path) -> Iterator[Answered[int]]:
    """Commits every answer on its own, as a run does with a judgment."""
    run_id = create_run(folder, records.Run(name="b", plan="", plan_hash="", plan_folder="", plan_file=""))
    recorder = Recorder(folder, run_id)
    try:
        for answered in answers:
            recorder.event("info", "judge", answered.reply.text)
            yield answered
    finally:
        recorder.close()


def memory(url: str) -> list[tuple[int, float]]:
    """Resident MB after each tenth of many calls."""
    process = psutil.Process()
    found = []
    for done, _ in enumerate(ours(url, 64, MANY), start=1):
        if done % (MANY // 10) == 0:
            found.append((done, process.memory_info().rss / 1e6))
    return found


def show(name: str, concurrency: int, pace: Pace) -> None:
    allowed = concurrency / LATENCY_S
    print(
        f"| {name} | {concurrency} | {allowed:,.0f} | {pace.steady:,.0f} | {pace.steady / allowed:.1%} "
        f"| {pace.whole:,.0f} | {1000 * pace.cpu:.2f} |",
        flush=True,
    )


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    print(f"the server's own ceiling: {ceiling(64, 3.0):,.0f} requests/s (raw sockets, no latency)\n")
    print("| way | at once | allowed calls/s | calls/s | of allowed | with warm-up | CPU ms a call |")
    print("|---|---|---|---|---|---|---|")
    ways: list[tuple[str, Callable[[str, int, int], Pace]]] = [
        ("assay", lambda url, at_once, count: paced(ours(url, at_once, count), count)),
        ("assay, a model", lambda url, at_once, count: paced(answered(url, at_once, count), count)),
        ("openai, semaphore", bare_openai),
        ("openai on aiohttp, semaphore", partial(bare_openai, aiohttp=True)),
    ]
    with server(LATENCY_S) as url, tempfile.TemporaryDirectory() as folder:
        for concurrency in CONCURRENCY:
            count = round(concurrency / LATENCY_S * seconds)
            for name, way in ways:
                show(name, concurrency, way(url, concurrency, count))
                control.forget()
        count = round(64 / LATENCY_S * seconds)
        show("assay, each stored", 64, paced(stored(ours(url, 64, count), Path(folder)), count))
    with server(0.0) as url:
        print("\nmemory: " + ", ".join(f"{done:,} calls {size:.0f} MB" for done, size in memory(url)))
    assert threading.active_count() == 1


if __name__ == "__main__":
    main()
