"""Perplexity by token budget beside a plain loop of one text at a time, on the same weights.

    python -m bench.perplexity [MODEL]

200 texts of mixed length, most of them short, as references are. Both sides run here, on one thread of the
CPU or on the GPU where there is one, and give each text's likelihood; how far each side is at most from the
same weights in float64 is printed, relative to the text's likelihood: their float32 logits round differently.
Without a MODEL (a folder or hub id) a random Llama of 4 layers is made.
"""

import copy
import math
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from engine.metrics.perplexity import corpus_nll
from engine.models.local import LocalBase, LocalModel
from engine.plan.plan import Model
from tests.models.tiny import make_model

TEXTS = 200
BUDGET = 4.0
WORDS = ("the", "cat", "sat", "on", "mat", "and", "dog", "ran")


def texts(count: int = TEXTS) -> list[str]:
    """Nine in ten of 2 to 12 words, the others of up to 40."""
    draw = random.Random(0)
    lengths = [draw.randint(2, 12) if draw.random() < 0.9 else draw.randint(12, 40) for _ in range(count)]
    return [" ".join(draw.choices(WORDS, k=length)) for length in lengths]


def one_at_a_time(model: LocalModel, given: list[str]) -> list[float]:
    """The loop of the tutorials: tokenize, one forward pass with labels, loss times tokens."""
    found = []
    with model.active() as active, torch.inference_mode():
        for text in given:
            ids: Any = model.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
            ids = ids.to(active.device)
            found.append(float(active(ids, labels=ids).loss) * (ids.shape[1] - 1))
    return found


def exactly(model: LocalModel, given: list[str]) -> list[float]:
    """The same weights in float64, one text at a time."""
    found = []
    with model.active() as active, torch.inference_mode():
        double = copy.deepcopy(active).double()
        for text in given:
            ids: Any = model.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
            ids = ids.to(active.device)
            logits = double(ids).logits[0, :-1]
            found.append(float(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum")))
    return found


def apart(values: list[float], truth: list[float]) -> float:
    """The largest difference relative to the truth; not a number where a value is missing."""
    return float(
        torch.tensor([abs(one - true) / true for one, true in zip(values, truth, strict=True)]).max()
    )


def batched(model: LocalModel, given: list[str]) -> list[float]:
    found = {item.text: item.nll for item in corpus_nll(model, list(enumerate(given)))}
    return [found[place] or math.nan for place in range(len(given))]


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = sys.argv[1] if len(sys.argv) > 1 else str(make_model(Path(folder), layers=4, hidden=64))
        model = LocalModel(LocalBase(path, "float32"), Model(name="bench", role="baseline", path=path))
        given = texts()
        one_at_a_time(model, given[:8]), batched(model, given[:8])  # what is loaded once is part of no figure
        taken = []
        for side in (one_at_a_time, batched):
            rounds = []
            for _ in range(3):
                begun = time.perf_counter()
                values = side(model, given)
                rounds.append(time.perf_counter() - begun)
            taken.append((values, min(rounds)))
        truth = exactly(model, given)
    (loop, slow), (budget, quick) = taken
    print(
        f"{len(given)} texts on {model.base.device}: one at a time {slow:.2f} s, by token budget "
        f"{quick:.2f} s, {slow / quick:.1f}x (budget {BUDGET:.0f}x); at most {apart(loop, truth):.1e} and "
        f"{apart(budget, truth):.1e} from float64"
    )


if __name__ == "__main__":
    main()
