"""What Assay's way of running lm-eval tasks adds to lm-eval's own time, side by side on the same weights.

    python -m bench.harness [ROUNDS]

On the samples' model, which answers in under two milliseconds a question, so that what is added shows as much
as it ever can, and on a random one sixteen times its size (8 layers of 512), which is small still.

Both sides find and load the same local tasks and answer them with one loaded model at one batch size, in
turns, on one thread; lm-eval takes all tasks at once, Assay one after the other, stored as they come, with
progress and a hash of every request. What lm-eval's `simple_evaluate` spends on listing the installed
packages is on neither side. The best round of each counts, by the clock and by the processor's time, of
which the second is the one to look at on a busy machine. Both must find the same numbers.
"""

import logging
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import datasets
import torch
import yaml
from lm_eval import evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import LlamaConfig, LlamaForCausalLM

from engine.benchmarks.harness import TaskResult, run_tasks
from engine.models.local import LocalBase, LocalModel
from engine.plan.plan import Benchmarks, Model

SAMPLES = Path(__file__).parent.parent / "samples"
TASKS = ("sample_facts", "sample_arithmetic", "sample_sorting", "sample_copying")
BATCH = 16
BUDGET = 0.05
ROUNDS = 9

Scores = dict[str, float]


def with_lm_eval(model: LocalModel, include: Path) -> Scores:
    """The four lines of lm-eval's own documentation, on weights that are loaded already."""
    with model.active() as active:
        manager = TaskManager(include_path=str(include), include_defaults=False)
        asked = HFLM(pretrained=active, tokenizer=model.tokenizer, batch_size=BATCH)
        found: Any = evaluate(
            asked, manager.load(list(TASKS)), bootstrap_iters=1000,
            apply_chat_template=bool(model.tokenizer.chat_template), fewshot_as_multiturn=True,
        )  # fmt: skip
    return {task: next(value for key, value in values.items() if key.endswith(",none"))
            for task, values in found["results"].items()}  # fmt: skip


def with_assay(model: LocalModel, include: Path) -> Scores:
    settings = Benchmarks(tasks=TASKS, include=include, batch_size=BATCH)
    results = [result for result in run_tasks(model, settings, TASKS, lambda task, done, total: None)
               if isinstance(result, TaskResult)]  # fmt: skip
    return {result.task: result.scores[0].value or 0.0 for result in results}


def copied_tasks(folder: Path) -> Path:
    """The samples' tasks with the data's whole path, which lm-eval needs."""
    for file in (SAMPLES / "benchmarks").glob("*.yaml"):
        config = yaml.safe_load(file.read_text())
        data = config["dataset_kwargs"]["data_files"]
        data["test"] = str(file.parent / data["test"])
        # Both sides start without what `datasets` remembers of an earlier round.
        config["dataset_kwargs"]["cache_dir"] = str(folder / "cache")
        (folder / file.name).write_text(yaml.safe_dump(config))
    return folder


@dataclass(frozen=True, slots=True)
class Round:
    scores: Scores
    wall: float  # seconds by the clock
    processor: float  # seconds of the processor


def timed(side: Callable[[LocalModel, Path], Scores], model: LocalModel) -> Round:
    with TemporaryDirectory() as folder:
        include = copied_tasks(Path(folder))
        wall, processor = time.perf_counter(), time.process_time()
        scores = side(model, include)
        return Round(scores, time.perf_counter() - wall, time.process_time() - processor)


def main() -> None:
    torch.set_num_threads(1)
    os.environ["DISABLE_MULTIPROC"] = "1"
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    count = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with TemporaryDirectory() as folder:
        for name, path in (("samples", SAMPLES / "models" / "base"), ("larger", larger(Path(folder)))):
            model = LocalBase(str(path), device="cpu").generator(
                Model(name=name, role="baseline", path=str(path))
            )
            print(f"model {name}")
            compare(model, count if name == "samples" else max(1, count // 3))


def larger(folder: Path) -> Path:
    """A random model with the samples' tokenizer and template."""
    base = SAMPLES / "models" / "base"
    config = LlamaConfig.from_pretrained(base)
    config.update({"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 8, "head_dim": 128})
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(base / file, folder / file)
    return folder


def compare(model: LocalModel, count: int) -> None:
    """Prints both sides' best of so many rounds."""
    sides = {"lm-eval": with_lm_eval, "assay": with_assay}
    for side in sides.values():
        timed(side, model)  # what is imported and loaded once is part of no figure
    rounds: dict[str, list[Round]] = {name: [] for name in sides}
    for place in range(count):
        # In turns, and each side first as often as the other.
        for name in list(sides)[:: 1 if place % 2 else -1]:
            rounds[name].append(timed(sides[name], model))
    walls = {name: min(one.wall for one in own) for name, own in rounds.items()}
    processors = {name: min(one.processor for one in own) for name, own in rounds.items()}
    for name in sides:
        print(f"{name:8} {walls[name]:.2f} s by the clock, {processors[name]:.2f} s of the processor")
    added = [best["assay"] / best["lm-eval"] - 1 for best in (walls, processors)]
    print(f"added: {added[0]:+.1%} by the clock, {added[1]:+.1%} of the processor (budget {BUDGET:.0%})")
    theirs, ours = (rounds[name][0].scores for name in sides)
    print("the same numbers" if theirs == ours else f"OTHER NUMBERS: {theirs} and {ours}")


if __name__ == "__main__":
    main()
