"""How fast a plan's models answer here, measured on a few of its own examples."""

import time
from collections.abc import Iterator, Sequence

from engine.data.example import Example
from engine.errors import AssayError
from engine.models.holder import Holder
from engine.models.model import Generator, Response
from engine.models.server import ServerModel
from engine.models.turns import converse
from engine.phases.generate import settings_of
from engine.plan.finding import Finding, in_words
from engine.plan.plan import Model, Plan

PROMPTS = 8


def measure(plan: Plan, examples: Sequence[Example]) -> Iterator[Finding]:
    """A finding for each model that answers here or behind a server, with its pace and the time for all.

    The first answer stands for loading, the others for the pace; a run, with more at a time, is faster.
    """
    step = max(1, len(examples) // (PROMPTS + 1))
    few = list(examples[::step][: PROMPTS + 1])
    holder = Holder(None)
    try:
        for model in plan.models:
            if model.kind != "recorded" and len(few) > 1:
                yield _measured(plan, model, holder, few, len(examples))
    finally:
        holder.close()


def _measured(plan: Plan, model: Model, holder: Holder, few: list[Example], count: int) -> Finding:
    subject = f"time of {model.name}"
    try:
        generator = _open(plan, model, holder)
        first, loading = _timed(plan, generator, few[:1])
        others, seconds = _timed(plan, generator, few[1:])
    except AssayError as error:
        return Finding("error", subject, error.message, error.hint)
    if unanswered := [response for response in (*first, *others) if response.text is None]:
        reason = f"{len(unanswered)} of {len(few)} prompts got no answer: {unanswered[0].reason}"
        return Finding("warning", subject, reason)
    tokens = sum(response.tokens_out or 0 for response in others)
    pace = len(others) / seconds
    speeds = f"{pace:.1f} answers and {tokens / seconds:,.0f} tokens a second"
    return Finding(
        "ok",
        subject,
        f"first answer after {in_words(loading)}, then {speeds}: at most {in_words(loading + count / pace)} "
        f"for all {count:,}",
    )


def _open(plan: Plan, model: Model, holder: Holder) -> Generator:
    if model.kind == "server":
        generation = plan.generation
        return ServerModel(
            model, concurrency=generation.concurrency, timeout_s=generation.timeout_s, patient=False
        )
    return holder.model(model)


def _timed(plan: Plan, generator: Generator, examples: list[Example]) -> tuple[list[Response], float]:
    began = time.monotonic()
    batches = converse(generator, examples, settings_of(plan.generation))
    return [response for batch in batches for response in batch], time.monotonic() - began
