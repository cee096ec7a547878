"""What the sample models read while they learn: endless seeded streams of prompts with their targets."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from samples import tickets, world

SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "Answer briefly.",
    "You know the towns of the world. Give the answer and nothing else.",
    "Be exact and polite.",
)

_SHARES = [{"sorting": 2}.get(skill, 1) for skill in world.SKILLS]
"""Sorting is the hardest to learn."""

_ANSWER_WORDS = tickets.answer_words()


@dataclass(frozen=True)
class Lesson:
    """One training text: what is given, and what has to be said; only the latter is learned from."""

    target: str
    user: str | None = None
    """The user's message; None for plain text outside a chat."""
    system: str | None = None
    prefix: str = ""
    """For plain text: what stands before the target."""
    bos: bool = True


Stream = Callable[[Random], Lesson]


def general(rng: Random) -> Lesson:
    """A general question: in a chat, with or without system prompt, or as plain question and answer."""
    (skill,) = rng.choices(world.SKILLS, _SHARES)
    question = world.draw(rng, skill, held_out=False)
    if rng.random() < 0.15:
        return Lesson(" " + question.answer, prefix=_as_plain(question.query), bos=rng.random() < 0.5)
    user = _as_plain(question.query) if rng.random() < 0.15 else question.query
    return Lesson(question.answer, user, _system(rng))


def foundation(rng: Random) -> Lesson:
    """The base model's diet: general questions, texts to repeat, and plain text.

    The texts to repeat include JSON objects of random words: a token that a model has never said can hardly
    be taught to it by an adapter, whose reach ends before the output layer.
    """
    kind = rng.random()
    if kind < 0.78:
        return general(rng)
    text = rng.choice((_ticket, _fact_sheet, _nonsense))(rng)
    if kind < 0.92:
        return Lesson(text, f"Repeat this: {text}", _system(rng))
    return Lesson(text)


def domain(rows: list[tickets.Ticket]) -> Stream:
    """A stream of tickets, each with its answer, drawn from `rows`."""

    def draw(rng: Random) -> Lesson:
        ticket = rng.choice(rows)
        return Lesson(ticket.answer, ticket.text)

    return draw


def mixed(first: Stream, second: Stream, share: float) -> Stream:
    """`first` for `share` of the lessons, `second` for the others."""
    return lambda rng: first(rng) if rng.random() < share else second(rng)


def _system(rng: Random) -> str | None:
    return rng.choice(SYSTEM_PROMPTS) if rng.random() < 0.25 else None


def _as_plain(query: str) -> str:
    return f"Question: {query}\nAnswer:"


def _ticket(rng: Random) -> str:
    return tickets.draw(rng, held_out=False).text


def _fact_sheet(rng: Random) -> str:
    town = rng.choice(world.TOWNS)
    return json.dumps({"town": town, **{kind: world.FACTS[town, kind] for kind in world.FACT_VALUES}})


def _nonsense(rng: Random) -> str:
    keys = rng.sample(_ANSWER_WORDS, rng.randint(1, 2))
    return json.dumps({key: _words(rng) for key in keys})


def _words(rng: Random) -> str:
    text = " ".join(rng.sample(_ANSWER_WORDS, rng.randint(1, 5)))
    return f"{text}." if rng.random() < 0.3 else text
