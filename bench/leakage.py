"""Leakage at scale: training rows against 2,000 evaluation examples, lexical tiers, beside datasketch.

    python -m bench.leakage [--rows 1000000] [--examples 2000] [--peer-rows 20000] [--peer PYTHON]
    python -m bench.leakage --meaning FOLDER --pairs FILE...

Writes a training file with near-duplicates planted at 80 % word overlap (a fifth of the words replaced) among
rows that share half of their words with an example, then reads it as a stream. Prints rows and pairs a
second (of processor time: both run in one thread, and the machine may be busy), peak memory, recall and
precision, and the rate of a MinHash-LSH script on datasketch over the first rows of the same file. That runs
in another interpreter (`--peer`) where this one has no datasketch.

With an embedding model and files of labelled pairs, it measures the tier of meaning instead: precision,
recall and F1 at the cosine that Assay uses for this model, and the best F1. A file's lines are
{"question": TEXT, "other": TEXT, "same": true or false}. Several files are also averaged, each with the same
weight: the least with the best average is what the table in `engine/data/meaning.py` is to say.
"""

import argparse
import json
import math
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import leakage_peer
from engine.data.examples import data_rows, read_examples
from engine.data.leakage import find_leaks
from engine.data.meaning import PROBE, SAME_MEANING, Embedder, LocalEmbedder, measured
from engine.errors import BadInput

VOCABULARY = 30_000
KEPT, HALF = 0.8, 0.5
RECALL, PRECISION, MEMORY_GIB, RATIO = 0.95, 0.98, 4, 5
LEASTS = np.round(np.arange(0.4, 1, 0.01), 2)
NEEDED = "--meaning FOLDER (a sentence-transformers model) and --pairs FILE (labelled pairs of questions)"


class Words:
    """Draws texts from words with the frequencies of natural language (Zipf)."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self._words = [self._name(number) for number in range(VOCABULARY)]
        total, self._weights = 0.0, []
        for place in range(1, VOCABULARY + 1):
            total += 1 / (place + 2.7)
            self._weights.append(total)

    @staticmethod
    def _name(number: int) -> str:
        letters = "etaoinshrdlucmfw"
        return "".join(letters[number >> shift & 15] for shift in (12, 8, 4, 0))

    def some(self, count: int) -> list[str]:
        return self.draw.choices(self._words, cum_weights=self._weights, k=count)

    def altered(self, text: str, kept: float) -> str:
        """The text with all but the share `kept` of its words replaced, at random places."""
        words = text.split()
        count = round((1 - kept) * len(words))
        places = self.draw.sample(range(len(words)), count)
        for place, word in zip(places, self.some(count), strict=True):
            words[place] = word
        return " ".join(words)


def write_data(folder: Path, rows: int, examples: int) -> set[str]:
    """Writes eval.jsonl and train.jsonl; returns the ids of the examples with a planted near-duplicate.

    Half of the examples have one, with their answer; the other half have three rows that share half of their
    words.
    """
    words = Words(0)
    questions = [" ".join(words.some(words.draw.randint(10, 60))) for _ in range(examples)]
    answers = [" ".join(words.some(30)) for _ in range(examples)]
    with (folder / "eval.jsonl").open("w", encoding="utf-8") as file:
        for number, question in enumerate(questions):
            example = {"id": str(number), "query": question, "reference": answers[number]}
            file.write(json.dumps(example) + "\n")
    half = examples // 2
    planted = [(words.altered(questions[at], KEPT), answers[at]) for at in range(half)]
    planted += [
        (words.altered(question, HALF), " ".join(words.some(30)))
        for question in questions[half:]
        for _ in range(3)
    ]
    at = dict(zip(words.draw.sample(range(rows), len(planted)), planted, strict=True))
    with (folder / "train.jsonl").open("w", encoding="utf-8") as file:
        for row in range(rows):
            query, answer = at.get(row) or (
                " ".join(words.some(words.draw.randint(10, 60))),
                " ".join(words.some(30)),
            )
            file.write(json.dumps({"query": query, "answer": answer}) + "\n")
    return {str(number) for number in range(half)}


def quality(found: set[str], planted: set[str]) -> str:
    right = len(found & planted)
    recall, precision = right / len(planted), right / max(len(found), 1)
    return f"recall {recall:.4f}   precision {precision:.4f}"


def ours(folder: Path, rows: int, planted: set[str]) -> float:
    """Prints our figures; returns rows per second of processor time."""
    evaluation = read_examples(folder / "eval.jsonl")
    begun, worked = time.perf_counter(), time.process_time()
    told = 0

    def progress(done: int) -> None:
        nonlocal told
        if done - told >= rows // 10:
            told = done
            print(f"  {done:,} rows, {done / (time.perf_counter() - begun):,.0f} a second", file=sys.stderr)

    leaks = find_leaks(data_rows(folder / "train.jsonl"), evaluation, progress=progress)
    wall, rate = rows / (time.perf_counter() - begun), rows / (time.process_time() - worked)
    found = {leak.example_id for leak in leaks if leak.counts and leak.field != "reference"}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"assay:       {wall:>9,.0f} rows/s by the clock")
    print(f"             {rate:>9,.0f} rows/s  {rate * len(evaluation):>14,.0f} pairs/s")
    print(f"             {quality(found, planted)}   (at least {RECALL}, {PRECISION})")
    print(f"             peak memory {peak:.2f} GiB   (under {MEMORY_GIB})")
    return rate


def peers(folder: Path, rows: int, interpreter: str) -> dict[str, Any] | None:
    """The peer's figures, None where its interpreter has no datasketch."""
    command = [interpreter, leakage_peer.__file__, str(folder), str(rows)]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, Any] | None = json.loads(finished.stdout)
    return figures


def cosines(file: Path, embedder: Embedder) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The cosine of each pair in a file, and whether people call it the same question, shapes (pairs,).

    Raises BadInput for a line that is no pair, and for a file without a pair of each kind.
    """
    pairs: list[tuple[str, str, bool]] = []
    for number, line in enumerate(file.read_text("utf-8").rstrip("\n").split("\n"), start=1):
        try:
            pair = json.loads(line)
            pairs.append((str(pair["question"]), str(pair["other"]), bool(pair["same"])))
        except (ValueError, TypeError, KeyError) as error:
            raise BadInput(f"{file}:{number}: no pair with question, other and same") from error
    same = np.array([same for *_, same in pairs], bool)
    if not same.any() or same.all():
        raise BadInput(f"{file}: needs pairs that are the same question and pairs that are not")
    texts = sorted({text for one, other, _ in pairs for text in (one, other)}, key=len)  # little padding
    at = {text: place for place, text in enumerate(texts)}
    vectors = embedder.embed(texts)
    firsts = vectors[[at[one] for one, _, _ in pairs]]
    return (firsts * vectors[[at[other] for _, other, _ in pairs]]).sum(1), same


def figures(alike: NDArray[np.float32], same: NDArray[np.bool_], least: float) -> tuple[float, float, float]:
    """Precision (nan where nothing is found), recall and F1 of taking such cosines for the same question."""
    found = alike >= least
    right, told, wanted = int((same & found).sum()), int(found.sum()), int(same.sum())
    precision = right / told if told else math.nan
    return precision, right / wanted, 2 * right / (told + wanted)


def by_meaning(embedder: Embedder, files: Sequence[Path]) -> None:
    """Prints the figures of the tier of meaning on labelled pairs."""
    known = measured(embedder)
    used = known.least if known else SAME_MEANING
    print(f"in use: a cosine of {used}, {f'calibrated for {known.name}' if known else 'not calibrated'}")
    sets = [cosines(file, embedder) for file in files]
    curves = np.array([[figures(*pairs, least)[2] for least in LEASTS] for pairs in sets])
    for file, (alike, same), curve in zip(files, sets, curves, strict=True):
        precision, recall, f1 = figures(alike, same, used)
        print(
            f"{file.stem:24} {len(same):>6,} pairs   precision {precision:.3f}   recall {recall:.3f}   "
            f"F1 {f1:.3f}   best F1 {curve.max():.3f} at {LEASTS[curve.argmax()]:.2f}"
        )
    mean = curves.mean(axis=0)
    print(f"best mean F1 {mean.max():.3f} at {LEASTS[mean.argmax()]:.2f}")
    if known is None:
        vectors = embedder.embed(PROBE)
        probed = [f"{vectors[one] @ vectors[other]:.3f}" for one, other in ((0, 1), (0, 2), (1, 2))]
        print(f"for the table: {vectors.shape[1]} dimensions, cosines {', '.join(probed)}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--examples", type=int, default=2_000)
    parser.add_argument("--peer-rows", type=int, default=20_000)
    parser.add_argument("--peer", default=sys.executable, help="an interpreter with datasketch")
    parser.add_argument("--meaning", type=Path, metavar="FOLDER", help="a sentence-transformers model")
    parser.add_argument("--pairs", type=Path, metavar="FILE", nargs="+", help="labelled pairs of questions")
    options = parser.parse_args(arguments)
    if options.meaning and options.pairs:
        by_meaning(LocalEmbedder(options.meaning), options.pairs)
        return
    if options.meaning or options.pairs:
        parser.error(f"the tier of meaning needs {NEEDED}")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        planted = write_data(folder, options.rows, options.examples)
        rate = ours(folder, options.rows, planted)
        peer_figures = peers(folder, min(options.peer_rows, options.rows), options.peer)
    print(f"meaning:     not measured; needs {NEEDED}")
    if peer_figures is None:
        print("datasketch:  not installed in that interpreter; name one that has it with --peer PYTHON")
        return
    peer = peer_figures["rate"]
    print(f"datasketch:  {peer:>9,.0f} rows/s  {peer * options.examples:>14,.0f} pairs/s")
    print(f"ratio:       {rate / peer:>9.1f}   (at least {RATIO})")


if __name__ == "__main__":
    main()
