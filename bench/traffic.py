"""Events a second that `assay traffic import` reads and stores, and its peak memory, which must stay flat.

    python -m bench.traffic [EVENTS …]

Each size is imported by a process of its own from JSON lines of about 1.2 KB, then once more, where every
event is known already.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = (10_000, 100_000)
FLAT = 1.25  # times the memory of the smallest size
WORDS = (
    "order",
    "parcel",
    "invoice",
    "refund",
    "address",
    "account",
    "delivery",
    "4711",
    "please",
    "late",
    "where",
)

_IMPORT = """
import resource, sys, time
from pathlib import Path
from engine.traffic.events import salt
from engine.traffic.importing import import_traffic
from store import database
from store.session import opened
folder = Path(sys.argv[2])
database.prepare(folder)
started = time.perf_counter()
with opened(folder) as connection:
    found = import_traffic([Path(sys.argv[1])], connection, salt(folder))
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(time.perf_counter() - started, memory, found.added.new)
"""


def made(file: Path, events: int) -> None:
    """A log of so many chats, seeded."""
    rng = random.Random(7)
    with file.open("w") as log:
        for number in range(events):
            asked, answered = (" ".join(rng.choices(WORDS, k=count)) for count in (40, 80))
            turns = [{"role": "system", "content": "You help at a shop."}, {"role": "user", "content": asked}]
            row = {
                "id": f"chatcmpl-{number}",
                "time": 1_760_000_000 + number,
                "model": "helper",
                "messages": turns,
                "response": answered,
                "finish_reason": "stop",
                "tokens_in": 60,
                "tokens_out": 80,
                "latency_ms": rng.randrange(200, 4_000),
                "user": f"user-{rng.randrange(events // 10 + 1)}",
                "session": f"session-{number // 3}",
                **({"thumbs": rng.choice((1, 1, -1))} if number % 10 == 0 else {}),
            }
            log.write(json.dumps(row) + "\n")


def imported(file: Path, store: Path) -> tuple[float, float, int]:
    """Seconds, peak memory in MiB, and new events of one import."""
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT, str(file), str(store)], check=True, capture_output=True, text=True
    )
    seconds, memory, new = done.stdout.split()
    return float(seconds), float(memory), int(new)


def main() -> int:
    """Prints the figures; 1 where memory is not flat, or an event is missing."""
    sizes = [int(size) for size in sys.argv[1:]] or list(SIZES)
    first, healthy = 0.0, True
    print(f"{'events':>9}  {'log':>8}  {'events/s':>9}  {'again/s':>9}  {'peak':>8}")
    for size in sizes:
        with tempfile.TemporaryDirectory() as place:
            log = Path(place) / "log.jsonl"
            made(log, size)
            seconds, memory, new = imported(log, Path(place) / "store")
            again, more, none = imported(log, Path(place) / "store")
            peak = max(memory, more)
            first = first or peak
            healthy &= new == size and none == 0 and peak <= FLAT * first
            print(
                f"{size:9,}  {log.stat().st_size / 2**20:4.0f} MiB  {size / seconds:9,.0f}  "
                f"{size / again:9,.0f}  {peak:4.0f} MiB"
            )
    print("memory is flat" if healthy else f"memory is not flat (over {FLAT:g} times), or events are missing")
    return 0 if healthy else 1


if __name__ == "__main__":
    started = time.perf_counter()
    code = main()
    print(f"{time.perf_counter() - started:.0f} s")
    sys.exit(code)
