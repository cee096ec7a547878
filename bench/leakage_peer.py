"""The same search as a plain script on datasketch: MinHash-LSH over three-word shingles, checked exactly.

    python bench/leakage_peer.py FOLDER ROWS

Imports nothing but the standard library and datasketch, so that any interpreter can run it. Prints JSON:
rows per second of processor time and the ids found, or null when datasketch is not installed.
"""

import importlib
import importlib.util
import json
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

PERMUTATIONS = 128
# A fifth of the words replaced leaves about half of the three-word shingles, a Jaccard similarity of a third.
THRESHOLD = 0.3
OVERLAP = 0.7


def shingles(text: str) -> set[bytes]:
    words = text.lower().split()
    return {" ".join(words[place : place + 3]).encode() for place in range(max(len(words) - 2, 1))}


def overlap(one: str, other: str) -> float:
    words, others = set(one.lower().split()), set(other.lower().split())
    return len(words & others) / max(len(words), len(others), 1)


def search(folder: Path, rows: int) -> dict[str, Any]:
    datasketch = importlib.import_module("datasketch")
    start = datasketch.MinHash(num_perm=PERMUTATIONS)

    def sketch(text: str) -> Any:
        made = start.copy()  # its permutations are drawn once, not for every text
        made.update_batch(shingles(text))
        return made

    index = datasketch.MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS)
    texts = {}
    with (folder / "eval.jsonl").open(encoding="utf-8") as file:
        for example in map(json.loads, file):
            for field in ("query", "reference"):
                texts[example["id"], field] = example[field]
                index.insert((example["id"], field), sketch(example[field]))
    found = set()
    begun = time.process_time()
    with (folder / "train.jsonl").open(encoding="utf-8") as file:
        for row in map(json.loads, islice(file, rows)):
            for text in (row["query"], row["answer"]):
                for key in index.query(sketch(text)):
                    if overlap(text, texts[key]) >= OVERLAP:
                        found.add(key[0])
    return {"rate": rows / (time.process_time() - begun), "found": sorted(found)}


if __name__ == "__main__":
    available = importlib.util.find_spec("datasketch") is not None
    print(json.dumps(search(Path(sys.argv[1]), int(sys.argv[2])) if available else None))
