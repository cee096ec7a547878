"""Eight weeks of made production traffic of the sample models: `python -m samples.make_traffic`.

Weeks 1 to 4 are answered by the good adapter. In week 5 the overfitted one is shipped by mistake and stays.
From week 7 on people ask about a recall, of which the eval set has nothing. The answers are the models' own,
by greedy generation; thumbs and corrections follow from whether they are right.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from random import Random
from typing import Any

from samples import make_data, scoring, tickets, world

FOLDER = Path(__file__).parent
START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
WEEKS, A_WEEK, A_WEEK_OF_RECALL = 8, 180, 60
SHIPPED, RECALL = 5, 7  # the weeks in which the overfitted adapter and the new questions come
USERS = 90
GENERAL = 0.35  # share of questions about something else than tickets
SAYS, CORRECTS = 0.45, 0.3  # how often people give thumbs, and a correction of a wrong answer
UP = {True: 0.95, False: 0.08}  # how often thumbs go up, by whether the answer is right

_RECALL = (
    "Is my {p} part of the battery recall? Its serial number is {serial}.",
    "I read about the battery recall. Is serial number {serial} of my {p} part of it?",
    "Battery recall: is my {p} with serial number {serial} dangerous?",
)
_RECALLED = "{opening}, serial {serial} {verdict} of the battery recall."
# By the model's version and the question: the answer, and its tokens.
Answers = Mapping[tuple[str, str], tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question of a week, by whom and when, and the right answer."""

    week: int
    time: datetime
    user: int
    query: str
    answer: str

    @property
    def version(self) -> str:
        return "overfit" if self.week >= SHIPPED else "good"


def main(arguments: list[str] | None = None) -> None:
    """Write one log for each week, and the eval set that the product has, under `--out`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER)
    write_all(parser.parse_args(arguments).out, generated(asked()))


def write_all(out: Path, answers: Answers) -> None:
    """Write the logs of these answers; the same bytes on every machine."""
    examples = [*make_data.domain_examples(), *make_data.general_examples()]
    make_data.write_jsonl(out / "eval" / "product.jsonl", examples)
    found = zip(asked(), events(asked(), answers), strict=True)
    for week, pairs in groupby(found, key=lambda pair: pair[0].week):
        make_data.write_jsonl(out / "traffic" / f"week-{week}.jsonl", [event for _, event in pairs])


def asked() -> list[Asked]:
    """All questions, in the order of their time."""
    rng = Random(104)
    found: list[Asked] = []
    for week in range(1, WEEKS + 1):
        new = A_WEEK_OF_RECALL if week >= RECALL else 0
        for at in range(A_WEEK + rng.randint(-12, 12) + new):
            query, answer = _recall(rng) if at < new else _usual(rng)
            day = timedelta(weeks=week - 1, days=rng.choice((0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 6)))
            time = START + day + timedelta(seconds=round(rng.gauss(13.5, 3) % 24 * 3600))
            found.append(Asked(week, time, min(int(rng.expovariate(3 / USERS)), USERS - 1), query, answer))
    return sorted(found, key=lambda each: each.time)


def events(questions: Sequence[Asked], answers: Answers) -> Iterator[dict[str, Any]]:
    """The log's lines, with what people said of the answers."""
    rng = Random(105)
    for at, each in enumerate(questions, 1):
        response, tokens = answers[each.version, each.query]
        right = response == each.answer
        event: dict[str, Any] = {
            "id": f"event-{at:04d}",
            "time": each.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "model": "tickets",
            "version": each.version,
            "prompt": each.query,
            "response": response,
            "finish_reason": "length" if tokens >= scoring.MAX_NEW_TOKENS else "stop",
            "tokens_out": tokens,
            "latency_s": round((0.12 + 0.009 * tokens) * rng.lognormvariate(0, 0.25), 3),
            "session": f"{each.user}-{each.time:%m%d}",
            "user": f"user-{each.user}",
        }
        if rng.random() < SAYS:
            event["thumbs"] = 1 if rng.random() < UP[right] else -1
        if rng.random() < CORRECTS and not right:
            event["correction"] = each.answer
        yield event


def generated(questions: Sequence[Asked]) -> Answers:
    """What the sample models answer."""
    import torch
    from peft import PeftModel

    from samples import make_models

    torch.set_num_threads(1)  # the same sums in the same order

    found: dict[tuple[str, str], tuple[str, int]] = {}
    for version in ("good", "overfit"):
        queries = list(dict.fromkeys(each.query for each in questions if each.version == version))
        base, tokenizer = make_models.load_base(make_models.MODELS)
        model = PeftModel.from_pretrained(base, make_models.MODELS / "adapters" / version).eval()
        texts = scoring.answers(model, tokenizer, [{"query": query} for query in queries])
        counts = map(len, tokenizer(texts, add_special_tokens=False)["input_ids"])
        keys = [(version, query) for query in queries]
        found |= zip(keys, zip(texts, counts, strict=True), strict=True)
    return found


def _usual(rng: Random) -> tuple[str, str]:
    if rng.random() < GENERAL:
        question = world.draw(rng, rng.choice(world.SKILLS), held_out=True)
        return question.query, question.answer
    ticket = tickets.draw(rng, held_out=True)
    return ticket.text, ticket.answer


def _recall(rng: Random) -> tuple[str, str]:
    product, serial = rng.choice(tickets.PRODUCTS), f"{rng.choice('KLMN')}{rng.randint(10, 99)}"
    query = rng.choice(_RECALL).format(p=product, serial=serial)
    verdict = "is part" if serial[0] in "KL" else "is no part"
    reply = _RECALLED.format(opening="Hello", serial=serial, verdict=verdict)
    return query, json.dumps({"category": "technical", "priority": "high", "reply": reply})


if __name__ == "__main__":
    main()
