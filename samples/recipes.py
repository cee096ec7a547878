"""How each of the sample models is trained."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """One run of the training loop: AdamW with warm-up and cosine decay."""

    steps: int
    batch: int
    rate: float
    """The highest learning rate."""
    seed: int


@dataclass(frozen=True)
class Adapter:
    """One sample adapter."""

    purpose: str
    recipe: Recipe
    domain_share: float
    """Share of the lessons that are tickets; the others repeat general questions."""


BASE = Recipe(steps=3000, batch=64, rate=3e-3, seed=1)

ADAPTERS = {
    "good": Adapter(
        "learns the tickets and rehearses the general skills",
        Recipe(steps=500, batch=32, rate=3e-3, seed=2),
        domain_share=0.5,
    ),
    "overfit": Adapter(
        "learns the tickets alone, too long and too fast, and forgets the rest",
        Recipe(steps=600, batch=32, rate=1e-2, seed=3),
        domain_share=1.0,
    ),
    "no-effect": Adapter(
        "is saved before its first training step: every LoRA B matrix is zero",
        Recipe(steps=0, batch=32, rate=1e-3, seed=4),
        domain_share=1.0,
    ),
}
