"""What the collector takes: requests and events a second, and how long an answer takes.

    python -m bench.collector [SECONDS]

A collector in a process of its own, on a new store in the folder for temporary files; 1, 8 and 32 clients on
connections that stay open, each of which sends its next request when the last one is answered, so when its
events are on disk. Events have a question of 200 and an answer of 800 characters. Above the table is how long
the disk takes to write a page for good, which no answer can beat. The CPU time is the collector's own, which
depends less than the rest on what else the machine does.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil

TOKEN = "bench-0c8a61"
CONNECTIONS, BATCHES = (1, 8, 32), (1, 50)
SECONDS = 5.0


@contextmanager
def collecting(folder: Path) -> Iterator[tuple[int, psutil.Process]]:
    """The port of a collector that runs for the block, and its process."""
    arguments = ["collect", "--port", "0", "--rate", "1000000", "--store", str(folder)]
    process = subprocess.Popen(
        [sys.executable, "-m", "assay", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "ASSAY_COLLECT_TOKEN": TOKEN},
    )
    assert process.stderr is not None
    with process:
        line = process.stderr.readline()
        yield int(line.rpartition(":")[2]), psutil.Process(process.pid)
        process.terminate()


def request(name: str, batch: int) -> bytes:
    events = [
        {
            "id": f"{name}-{place}",
            "prompt": f"{name} {place} ".ljust(200, "q"),
            "response": "a" * 800,
            "model": "support-v3",
            "user": f"user {place}",
            "latency_ms": 350,
            "tokens_out": 160,
        }
        for place in range(batch)
    ]
    body = json.dumps(events if batch > 1 else events[0]).encode()
    head = (
        "POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def client(port: int, name: str, batch: int, until: float) -> list[float]:
    """The seconds that each request took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    took: list[float] = []
    while time.perf_counter() < until:
        sent = request(f"{name}-{len(took)}", batch)
        begun = time.perf_counter()
        writer.write(sent)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 202 "), head
        length = re.search(rb"content-length: (\d+)", head)
        assert length
        await reader.readexactly(int(length[1]))
        took.append(time.perf_counter() - begun)
    writer.close()
    return took


async def measure(port: int, connections: int, batch: int, seconds: float) -> tuple[float, np.ndarray]:
    """Requests a second, and the seconds that each took."""
    begun = time.perf_counter()
    clients = (
        client(port, f"{connections}-{batch}-{place}", batch, begun + seconds) for place in range(connections)
    )
    took = np.array([one for each in await asyncio.gather(*clients) for one in each])
    return len(took) / (time.perf_counter() - begun), took


def page_for_good(folder: Path, times: int = 50) -> float:
    """The median of the seconds that the disk takes to write 4 KiB for good."""
    took = []
    with (folder / "page").open("wb", buffering=0) as file:
        for _ in range(times):
            begun = time.perf_counter()
            file.write(os.urandom(4096))
            os.fsync(file.fileno())
            took.append(time.perf_counter() - begun)
    return float(np.median(took))


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    with tempfile.TemporaryDirectory() as place:
        print(f"a page on disk: {page_for_good(Path(place)) * 1e3:.2f} ms")
        print("  events  connections  requests/s  events/s   p50 ms   p99 ms  CPU ms a request")
        with collecting(Path(place) / "store") as (port, process):
            asyncio.run(measure(port, 1, 1, 0.5))  # what is imported and made once is part of no figure
            for batch in BATCHES:
                for connections in CONNECTIONS:
                    before = process.cpu_times()
                    rate, took = asyncio.run(measure(port, connections, batch, seconds))
                    after = process.cpu_times()
                    used = after.user + after.system - before.user - before.system
                    p50, p99 = np.percentile(took, [50, 99]) * 1e3
                    print(
                        f"{batch:8}{connections:13}{rate:12,.0f}{rate * batch:10,.0f}{p50:9.1f}{p99:9.1f}"
                        f"{used / len(took) * 1e3:18.2f}"
                    )


if __name__ == "__main__":
    main()
