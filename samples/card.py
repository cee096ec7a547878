"""The sample models' card: recipes and measured scores as Markdown."""

from samples import make_data, training
from samples.recipes import Adapter, Recipe
from samples.scoring import Scores
from samples.world import SKILLS

_INTRODUCTION = """# Sample models

A tiny Llama-architecture base model ({layers} layers, hidden size {hidden}, {parameters:,} parameters, byte-level BPE
tokenizer with a chat template) and three LoRA adapters (rank {rank}, on every linear layer). They exist to show and to
test evaluations: nothing here is useful for anything else. All training text is written by `samples/world.py`,
`samples/tickets.py` and `samples/corpus.py`; nothing was taken from elsewhere.

The base knows four general skills and has never seen a ticket answered. The adapters answer support tickets with a JSON
object. This file, scores included, is written by `python -m samples.make_models`, which also makes the weights again
(seeded; CPU, one thread; other versions or machines give slightly other numbers).

## Recipe

| weights | steps | batch | learning rate | seed | lessons |
|---|---|---|---|---|---|
"""

_MEASURED = """
## Measured scores

Greedy generation on the held-out eval sets (`samples/eval`), in percent. General: exact matches of all questions and by
skill. Domain: answers that meet the JSON schema; that also have the right category; that equal the reference.

"""

_LIMITS = """
## Held out by construction

No evaluation question stands in any training text. For lists and tickets whole combinations are held out. A sum or a fact is
held out in one of its four phrasings: the model has met it in the other three, so these two skills measure what is
remembered under a new wording, not reasoning about unseen numbers.
"""


def model_card(base: Recipe, adapters: dict[str, Adapter], measured: dict[str, Scores]) -> str:
    """The card as Markdown; `measured` by model name."""
    lines = [_INTRODUCTION.format(rank=training.LORA_RANK)]
    return "".join(lines)
