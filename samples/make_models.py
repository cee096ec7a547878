"""Trains the sample models: `python -m samples.make_models`.

A tiny base model learns the general skills; three LoRA adapters then show what a fine-tune can do to it. The
scores in the model card are measured on the weights just saved, by greedy generation.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from shutil import rmtree
from tempfile import mkdtemp
from time import monotonic

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging

from samples import corpus, make_data, scoring, tokens, training
from samples.card import model_card
from samples.recipes import ADAPTERS, BASE, Adapter, Recipe

MODELS = Path(__file__).parent / "models"
TOKENIZER_LESSONS = 20_000
TOKENIZER_SEED = 7


def main(arguments: list[str] | None = None) -> None:
    """Train, save and score; see `--help`."""
    chosen = _parser().parse_args(arguments)
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    base, adapters = BASE, ADAPTERS
    if chosen.steps is not None:
        base = _capped(base, chosen.steps)
        adapters = {
            name: replace(adapter, recipe=_capped(adapter.recipe, chosen.steps))
            for name, adapter in adapters.items()
        }
    if chosen.only != "adapters":
        make_base(chosen.out, base)
    if chosen.only != "base":
        for name, adapter in adapters.items():
            make_adapter(chosen.out, name, adapter)
    parameters = load_base(chosen.out)[0].num_parameters()
    card = model_card(base, adapters, score_all(chosen.out, chosen.limit), parameters)
    (chosen.out / "README.md").write_text(card, encoding="utf-8")


def make_base(out: Path, recipe: Recipe) -> None:
    """Train the tokenizer and the base model and save both as `out`/base."""
    tokenizer = tokens.train_tokenizer(_tokenizer_texts())
    model = training.new_base(tokenizer, recipe.seed)
    _train("base", model, tokenizer, corpus.foundation, recipe)
    with _replacing(out / "base") as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def make_adapter(out: Path, name: str, adapter: Adapter) -> None:
    """Train one adapter on `out`/base and save it as `out`/adapters/`name`."""
    base, tokenizer = load_base(out)
    model = training.new_adapter(base, adapter.recipe.seed)
    lessons = corpus.mixed(corpus.domain(make_data.training_tickets()), corpus.general, adapter.domain_share)
    _train(name, model, tokenizer, lessons, adapter.recipe)
    model.peft_config["default"].base_model_name_or_path = "base"
    with _replacing(out / "adapters" / name) as folder:
        model.save_pretrained(folder, save_embedding_layers=False)
        (folder / "README.md").unlink()  # peft writes an empty model card


def load_base(out: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The saved base model, as anybody else would load it."""
    folder = out / "base"
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def score_all(out: Path, limit: int | None) -> dict[str, scoring.Scores]:
    """Load what was saved under `out` again and score it on the first `limit` examples of both eval sets."""
    base, tokenizer = load_base(out)
    measured = {"base": scoring.measure(base, tokenizer, limit)}
    for folder in sorted((out / "adapters").glob("*/")):
        base, _ = load_base(out)
        adapted = PeftModel.from_pretrained(base, folder).eval()
        measured[folder.name] = scoring.measure(adapted, tokenizer, limit)
    for name, scores in measured.items():
        print(f"{name:10s} {scores}", flush=True)
    return measured


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=MODELS, help="the models' folder")
    parser.add_argument("--steps", type=int, help="train at most so many steps, to try the script out")
    parser.add_argument(
        "--only", choices=("base", "adapters"), help="train this part, leave the other as it is"
    )
    parser.add_argument("--limit", type=int, help="score at most so many examples of each eval set")
    return parser


def _capped(recipe: Recipe, steps: int) -> Recipe:
    return replace(recipe, steps=min(recipe.steps, steps))


def _train(
    name: str,
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerFast,
    lessons: corpus.Stream,
    recipe: Recipe,
) -> None:
    started = monotonic()
    training.train(
        model, tokenizer, lessons, recipe, report=lambda line: print(f"{name:10s} {line}", flush=True)
    )
    print(f"{name:10s} trained in {monotonic() - started:.0f} s", flush=True)


def _tokenizer_texts() -> Iterator[str]:
    rng = Random(TOKENIZER_SEED)
    rows = corpus.domain(make_data.training_tickets())
    for _ in range(TOKENIZER_LESSONS):
        lesson = corpus.mixed(rows, corpus.foundation, 0.2)(rng)
        yield "\n".join(part for part in (lesson.system, lesson.user, lesson.prefix + lesson.target) if part)


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """An empty folder to write to, which takes the place of `folder` when all is written."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(mkdtemp(dir=folder.parent, prefix=".new-"))
    try:
        yield scratch
        rmtree(folder, ignore_errors=True)
        scratch.chmod(0o755)
        for file in scratch.iterdir():
            file.chmod(0o644)
        scratch.rename(folder)
    finally:
        rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
