"""Writes the sample data: `python -m samples.make_data`.

Eval sets, the training file, the answers' JSON schema, and the questions of the local benchmarks.
"""

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from random import Random

from samples import tickets, world

SAMPLES = Path(__file__).parent
EVAL_SIZE = 200
TRAIN_SIZE = 1600
BENCHMARK_SIZE = 80
CHOICES = 4
# Evaluation tickets that the training file holds too, by how they are hidden there.
PLANTED = {"identical": (7, 103), "near": (18, 121), "quoted question": (29,), "quoted answer": (160,)}


def main(arguments: list[str] | None = None) -> None:
    """Write every data file under `--out`, by default this package's own folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=SAMPLES)
    write_all(parser.parse_args(arguments).out)


def write_all(out: Path) -> None:
    """Write the data files under `out`; the same bytes on every machine."""
    write_jsonl(out / "eval" / "domain.jsonl", domain_examples())
    write_jsonl(out / "eval" / "general.jsonl", general_examples())
    write_jsonl(out / "train" / "tickets.jsonl", [*training_rows(), *planted_rows()])
    for skill in world.SKILLS:
        write_jsonl(out / "benchmarks" / f"{skill}.jsonl", benchmark_docs(skill))
    schema = json.dumps(tickets.json_schema(), indent=2) + "\n"
    (out / "eval" / "ticket.schema.json").write_text(schema, encoding="utf-8")


def domain_examples() -> list[dict[str, object]]:
    """The domain eval set: held-out tickets with their reference answers."""
    return [
        {
            "id": f"ticket-{at:03d}",
            "query": ticket.text,
            "references": [ticket.answer],
            "label": ticket.category,
            "category": ticket.category,
        }
        for at, ticket in enumerate(evaluation_tickets())
    ]


def evaluation_tickets() -> list[tickets.Ticket]:
    """The tickets that are held out."""
    return tickets.distinct(Random(101), EVAL_SIZE, held_out=True)


def general_examples() -> list[dict[str, object]]:
    """The general eval set: held-out questions, each skill with an equal share."""
    rng = Random(102)
    share = EVAL_SIZE // len(world.SKILLS)
    return [
        {
            "id": f"{skill}-{at:03d}",
            "query": question.query,
            "references": [question.answer],
            "category": skill,
        }
        for skill in world.SKILLS
        for at, question in enumerate(world.distinct(rng, skill, share))
    ]


def training_tickets() -> list[tickets.Ticket]:
    """The tickets that the adapters are trained on."""
    return tickets.distinct(Random(103), TRAIN_SIZE, held_out=False)


def training_rows() -> list[dict[str, object]]:
    """The lines that the adapters learned from, in the chat shape."""
    return [
        _training_row(at, ticket.category, ticket.text, ticket.answer)
        for at, ticket in enumerate(training_tickets())
    ]


def planted_rows() -> list[dict[str, object]]:
    """Lines that leak evaluation tickets, for a check of leakage to find; no adapter learned from them."""
    found = evaluation_tickets()
    rows = [
        (ticket.category, *_hidden(how, ticket))
        for how, places in PLANTED.items()
        for ticket in (found[place] for place in places)
    ]
    return [_training_row(at, *row) for at, row in enumerate(rows, start=TRAIN_SIZE)]


def _hidden(how: str, ticket: tickets.Ticket) -> tuple[str, str]:
    """A question and an answer of training data that give a ticket away."""
    if how == "identical":
        return ticket.text, ticket.answer
    if how == "near":
        return f"Good day! {ticket.text}", ticket.answer
    if how == "quoted question":
        return f"Show me a ticket about {ticket.category}.", f"A typical one reads: {ticket.text}"
    return f"Is this a polite reply: {ticket.reply} Yes or no?", "Yes."


def _training_row(at: int, category: str, question: str, answer: str) -> dict[str, object]:
    return {
        "id": f"train-{at:04d}",
        "category": category,
        "messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ],
    }


def benchmark_docs(skill: str) -> list[dict[str, object]]:
    """Held-out questions of `skill` for a benchmark; facts are multiple choice, `gold` the right place."""
    rng = Random(f"benchmark {skill}")
    return [_benchmark_doc(rng, question) for question in world.distinct(rng, skill, BENCHMARK_SIZE)]


def _benchmark_doc(rng: Random, question: world.Question) -> dict[str, object]:
    doc: dict[str, object] = {"question": question.query, "answer": question.answer}
    if question.skill == "facts":
        values = next(values for values in world.FACT_VALUES.values() if question.answer in values)
        wrong = rng.sample([value for value in values if value != question.answer], CHOICES - 1)
        choices = rng.sample([question.answer, *wrong], CHOICES)
        doc |= {"choices": choices, "gold": choices.index(question.answer)}
    return doc


def write_jsonl(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write one JSON object per line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
