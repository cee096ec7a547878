"""The sample models' card: recipes and measured scores as Markdown."""

from samples import training
from samples.recipes import Adapter, Recipe
from samples.scoring import Scores
from samples.world import SKILLS

_INTRODUCTION = """# Sample models

A tiny Llama-architecture base model ({parameters:,} parameters, byte-level BPE tokenizer with a chat
template) and three LoRA adapters (rank {rank}, on every linear layer). They exist to show and to test
evaluations; they are of no use for anything else. All their training text is written by
`samples/world.py`, `samples/tickets.py` and `samples/corpus.py`; nothing was taken from elsewhere.

The base knows four general skills and has never seen a ticket answered. The adapters answer support
tickets with a JSON object. `python -m samples.make_models` makes the weights again and writes this file,
scores included (seeded; CPU, one thread; other library versions or machines give slightly other numbers).

## Recipe

| weights | steps | batch | learning rate | seed | lessons |
|---|---:|---:|---:|---:|---|
"""

_MEASURED = """
## Measured scores

Greedy generation on the held-out eval sets (`samples/eval`), in percent. General: answers that equal the
reference, of all questions and by skill. Domain: answers that meet the JSON schema; of all, those that
also have the right category; those that equal the reference.

"""

_HELD_OUT = """
## Held out by construction

No evaluation question stands in any text that a model was trained on. For lists and tickets, whole
combinations are held out. A sum or a fact is held out in one of its four phrasings: the model has met it in
the other three, so these two skills measure what is remembered under a new wording, not reasoning about
unseen numbers.

## Planted leaks

The last six lines of `samples/train/tickets.jsonl` were added after training, for a check of leakage to
find: two tickets of `samples/eval/domain.jsonl` word for word, two nearly so, one quoted in an answer, and
one whose answer is quoted in a question. No adapter has learned from them: no answer is better for it.
"""


def model_card(
    base: Recipe, adapters: dict[str, Adapter], measured: dict[str, Scores], parameters: int
) -> str:
    """The card as Markdown; `measured` by model name, `parameters` of the base."""
    recipes = [_recipe_row("base", base, "general questions, texts to repeat, plain text")]
    recipes += [_recipe_row(name, adapter.recipe, _lessons(adapter)) for name, adapter in adapters.items()]
    purposes = [f"- `{name}` {adapter.purpose}.\n" for name, adapter in adapters.items()]
    header = _row(["model", "general", *SKILLS, "domain: valid", "right category", "exact"])
    rule = "|---|" + "---:|" * (len(SKILLS) + 4) + "\n"
    rows = [_scores_row(name, scores) for name, scores in measured.items()]
    introduction = _INTRODUCTION.format(parameters=parameters, rank=training.LORA_RANK)
    return "".join([introduction, *recipes, "\n", *purposes, _MEASURED, header, rule, *rows, _HELD_OUT])


def _lessons(adapter: Adapter) -> str:
    if adapter.domain_share == 1.0:
        return "tickets"
    return f"{adapter.domain_share:.0%} tickets, {1 - adapter.domain_share:.0%} general questions"


def _recipe_row(name: str, recipe: Recipe, lessons: str) -> str:
    numbers = (recipe.steps, recipe.batch, recipe.rate, recipe.seed)
    return _row([name, *(str(number) for number in numbers), lessons])


def _scores_row(name: str, scores: Scores) -> str:
    shares = [
        scores.general,
        *(scores.skills.get(skill) for skill in SKILLS),
        scores.valid,
        scores.right_label,
        scores.exact,
    ]
    return _row([name, *("–" if share is None else f"{100 * share:.1f}" for share in shares)])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |\n"
