"""Made traffic: eight weeks of a help desk, seeded, in which a test changes what it is about."""

import random
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.traffic.periods import DAY, start_of
from store import database
from store.records import TrafficEvent, TrafficFeedback
from store.traffic import add

FIRST = start_of(1_780_000_000, 7)  # a Monday
WEEKS = 8
NOW = FIRST + WEEKS * 7 * DAY

TOPICS = (
    "Where is the parcel of order {n}, it should have come yesterday?",
    "How do I change the delivery address of order {n} before it ships?",
    "I want a refund for the broken lamp of order {n}, what must I do?",
    "My password does not work any more, how do I reset account {n}?",
    "Please send me the invoice for order {n} once again by mail.",
)
ANSWER = "Thank you for asking. Open your account page and follow the steps that it shows. {more}"
MORE = "We will send a message as soon as anything changes with it. "
REFUSAL = "I'm sorry, but I can't help with that request."


@dataclass(frozen=True)
class Week:
    """What one week's traffic is like."""

    events: int = 60
    model: str = "helper"
    version: str | None = "v1"
    variant: str | None = None
    refused: float = 0.02
    thumbs_up: float = 0.85
    corrected: float = 0.05
    latency: float = 1.0
    malformed: float = 0.05
    cut: float = 0.0
    longer: int = 0  # sentences
    topics: Sequence[str] = TOPICS
    new_topic: str | None = None
    new_share: float = 0.4
    longer_on_new: int = 0
    json: bool = False


def events(
    week_of: Callable[[int], Week], weeks: int = WEEKS, seed: int = 0
) -> Iterator[tuple[TrafficEvent, TrafficFeedback | None]]:
    """Each week's events, each a user's own, with what was said of half of them."""
    chance = random.Random(seed)
    for number in range(weeks):
        week = week_of(number)
        for place in range(week.events):
            is_new = week.new_topic is not None and chance.random() < week.new_share
            topic = week.new_topic if is_new and week.new_topic else chance.choice(week.topics)
            query = topic.format(n=chance.randrange(10**6))
            more = chance.randrange(3) + week.longer + (week.longer_on_new if is_new else 0)
            answer = ANSWER.format(more=MORE * more)
            refuses = chance.random() < week.refused
            if week.json and chance.random() >= week.malformed:
                answer = f'{{"answer": "{answer}"}}'
            name = f"{week.variant}-{number}-{place}"
            turns: list[dict[str, Any]] = [{"role": "user", "content": query}]
            if week.json:
                turns.insert(0, {"role": "system", "content": "Answer as a JSON object with one key."})
            event = TrafficEvent(
                id=f"e-{name}",
                time=FIRST + (number + (place + 0.5) / week.events) * 7 * DAY,
                received=NOW,
                source="test",
                model=week.model,
                version=week.version,
                variant=week.variant,
                question=query,
                messages=turns,
                response=REFUSAL if refuses else answer,
                finish_reason="length" if chance.random() < week.cut else "stop",
                latency_s=week.latency * chance.lognormvariate(0, 0.3),
                user=f"u-{name}",
            )
            said = chance.random()
            feedback = TrafficFeedback(
                id=f"f-{name}",
                event_id=event.id,
                time=event.time + 60,
                received=NOW,
                thumbs=1 if chance.random() < week.thumbs_up else -1,
                correction="It is another page." if chance.random() < week.corrected else None,
            )
            yield event, feedback if said < 0.5 else None


def store(folder: Path, *series: Callable[[int], Week], weeks: int = WEEKS) -> sqlite3.Connection:
    """A store with the traffic of one variant or several."""
    database.prepare(folder)
    connection = database.connect(folder)
    for number, week_of in enumerate(series):
        made = list(events(week_of, weeks, seed=number))
        add(connection, [event for event, _ in made], [said for _, said in made if said])
    return connection


def changed(after: int, **change: Any) -> Callable[[int], Week]:
    """Traffic that is one thing up to a week, from 0, and another from there on."""
    same = {name: value for name, value in change.items() if name == "json"}
    return lambda number: replace(Week(**same), **change) if number >= after else Week(**same)
