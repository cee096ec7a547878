"""Splitting at scale: rows a second of `assay split`, from the file to the three files and the manifest.

    python -m bench.splitting [--rows 500000]

The rate is of processor time, since the machine may be busy; one thread does all of it.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.leakage import Words
from engine.data.partition import Options, partition, write

LEAST = 50_000  # rows a second


def write_rows(file: Path, rows: int) -> None:
    """Questions of 5 to 25 words with answers of 20, an id, a category and a thread of four rows."""
    words = Words(0)
    with file.open("w", encoding="utf-8") as target:
        for row in range(rows):
            record = {
                "id": f"row-{row}",
                "query": " ".join(words.some(words.draw.randint(5, 25))),
                "answer": " ".join(words.some(20)),
                "category": "abcd"[row % 4],
                "thread": f"thread-{row // 4}",
            }
            target.write(json.dumps(record) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=500_000)
    rows = parser.parse_args(arguments).rows
    kinds = {
        "by id": Options(),
        "by group": Options(group="thread"),
        "stratified": Options(stratify=True),
        "five folds": Options(folds=5),
    }
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "data.jsonl"
        write_rows(file, rows)
        for number, (name, options) in enumerate(kinds.items()):
            begun = time.process_time()
            write(partition(file, options), Path(place) / str(number))
            print(f"{name:12}{rows / (time.process_time() - begun):>9,.0f} rows/s   (at least {LEAST:,})")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.2f} GiB")


if __name__ == "__main__":
    main()
