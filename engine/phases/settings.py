"""From what a plan says of generation to the settings that generators take."""

from engine.models.model import Settings
from engine.plan.plan import Generation


def settings_of(generation: Generation) -> Settings:
    return Settings(
        max_new_tokens=generation.max_new_tokens,
        temperature=generation.temperature,
        top_p=generation.top_p,
        seed=generation.seed,
        stop=generation.stop,
        batch_size=generation.batch_size,
        deterministic=generation.deterministic,
        overflow=generation.overflow,
        # A size that the plan names is a limit everywhere; left out, memory decides where it can.
        slots=generation.batch_size if "batch_size" in generation.model_fields_set else None,
    )
