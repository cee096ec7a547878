"""People's annotations as training and evaluation data: preferences, corrections, tags, examples.

And pairs for people elsewhere, such as a crowd, who see two answers without their models.

Preference pairs have the shape that TRL's DPOTrainer reads (`prompt`, `chosen`, `rejected`, each a list of
chat messages), corrections that of its SFTTrainer (`messages`).
"""

import hashlib
import re
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.stats.family import majority
from store.read import evidence, history
from store.read.labels import answer_texts
from store.read.queues import AnnotatedExample, AnnotatedRow
from store.read.rows import ExampleRow
from store.records.run import OF_SUITES

Rows = Sequence[AnnotatedRow]
Examples = Mapping[int, AnnotatedExample]
_SIDES = {"left": "win", "right": "loss", "tie": "tie", "both_bad": "tie"}


@dataclass(frozen=True, slots=True)
class Written:
    """Records to write, and the number of annotations without one, by reason."""

    records: list[dict[str, Any]]
    skipped: dict[str, int]


def annotation_records(rows: Rows, examples: Examples) -> Written:
    """Everything that people said, one record each."""
    return Written([_said(row, examples[row.example_id]) for row in rows], {})


def preference_records(rows: Rows, examples: Examples) -> Written:
    """One pair for each example and two models that most people decided between, and for each correction the
    corrected answer against the one that the model gave.
    """
    skipped: defaultdict[str, int] = defaultdict(int)
    records = []
    for (example_id, first, second), said in _by_pair(rows).items():
        example = examples[example_id]
        outcome = majority([_seen_from(first, row) for row in {row.annotator: row for row in said}.values()])
        if outcome == "tie":
            skipped["a tie, both bad, or no majority"] += 1
            continue
        winner, loser = (first, second) if outcome == "win" else (second, first)
        chosen, rejected = example.answers.get(winner), example.answers.get(loser)
        if chosen is None or rejected is None:
            skipped["an answer is missing"] += 1
        elif chosen == rejected:
            skipped["both answers are the same"] += 1
        else:
            records.append(_pair(example, chosen, rejected))
    for row in _corrections(rows):
        given = examples[row.example_id].answers.get(row.left_id)
        if given is None or given == row.value:
            skipped["a correction without an answer to correct"] += 1
        else:
            records.append(_pair(examples[row.example_id], row.value, given))
    return Written(records, dict(skipped))


def correction_records(rows: Rows, examples: Examples) -> Written:
    """One conversation for each corrected answer."""
    return Written(
        [
            {
                "messages": [*examples[row.example_id].messages, _answer(row.value)],
                "id": examples[row.example_id].example,
            }
            for row in _corrections(rows)
        ],
        {},
    )


def tag_records(rows: Rows, examples: Examples) -> Written:
    """One record for each tagged answer, with all its tags and notes."""
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for row in rows:
        if row.kind not in ("tag", "note"):
            continue
        example = examples[row.example_id]
        record = found.setdefault(
            (row.example_id, row.about_id),
            {
                "id": example.example,
                "query": example.query,
                "category": example.category,
                "model": row.about,
                "response": example.answers.get(row.about_id),
                "tags": [],
                "notes": [],
            },
        )
        if row.value not in record[f"{row.kind}s"]:
            record[f"{row.kind}s"].append(row.value)
    return Written([record for record in found.values() if record["tags"]], {})


def example_records(
    rows: Rows, examples: Examples, tag: str | None = None, named: Sequence[int] | None = None
) -> Written:
    """The annotated examples as an eval set: those with a tag (or `tag`), a flag or a correction.

    Or those `named` by their ids in the store, annotated or not. A corrected answer is the first reference;
    the tags are kept as a field.
    """
    tags: defaultdict[int, list[str]] = defaultdict(list)
    corrected: dict[int, str] = {}
    chosen: dict[int, None] = {}
    for row in rows:
        wanted = row.value == tag if tag else row.kind in ("flag", "correction", "tag")
        if wanted and (row.kind == "tag" or not tag):
            chosen[row.example_id] = None
        if row.kind == "tag" and row.value not in tags[row.example_id]:
            tags[row.example_id].append(row.value)
        if row.kind == "correction":
            corrected[row.example_id] = row.value
    keys = chosen if named is None else named
    return Written([_example(examples[key], tags[key], corrected.get(key)) for key in keys], {})


@dataclass(frozen=True, slots=True)
class CrowdItem:
    """Two answers in an order that their `key` does not tell; it is found again by the key alone."""

    key: str
    example: ExampleRow
    models: tuple[int, int]
    texts: tuple[str, str]


def crowd_items(connection: history.Connection, run_id: int) -> tuple[list[CrowdItem], Counter[str]]:
    """Every candidate's answers beside every baseline's, in a random order; what is left out, by reason.

    Both orders are drawn by hashes that only this store can make: the first N items are a random sample.
    """
    models = history.models(connection, run_id)
    run = connection.execute("SELECT plan_hash, created FROM run WHERE id = ?", (run_id,)).fetchone()
    sides = [
        (one.id, other.id)
        for one in models
        if one.role == "candidate"
        for other in models
        if other.role == "baseline"
    ]
    texts = {(example, model): text for example, model, text in answer_texts(connection, run_id)}
    items, skipped = [], Counter[str]()
    for example in evidence.run_examples(connection, run_id):
        for pair in sides:
            both = [texts.get((example.id, model)) for model in pair]
            if example.split == OF_SUITES:
                skipped["the question is one of a suite"] += 1
            elif both[0] is None or both[1] is None:
                skipped["an answer is missing"] += 1
            elif both[0] == both[1]:
                skipped["both answers are the same"] += 1
            else:
                seed = f"{run[0]} {run[1]!r} {example.example} {pair}".encode("utf-8", "replace")
                drawn = hashlib.sha256(seed).hexdigest()
                swap = int(drawn[-1], 16) % 2 == 1
                first, second = (both[1], both[0]) if swap else (both[0], both[1])
                key = f"i{drawn[:15]}"  # with a letter first, no spreadsheet takes it for a number
                items.append(CrowdItem(key, example, pair[::-1] if swap else pair, (first, second)))
    return sorted(items, key=lambda item: item.key), skipped


def crowd_records(connection: history.Connection, run_id: int, sample: int | None = None) -> Written:
    """One row for each item, without a winner and an annotator yet."""
    items, skipped = crowd_items(connection, run_id)
    records = []
    for item in items[:sample]:
        turns = item.example.messages or []
        said = "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in turns[:-1])
        texts = (said, item.example.query, *item.texts)
        columns = ("conversation", "query", "answer_a", "answer_b")
        cells = dict(zip(columns, map(_inert, texts), strict=True))
        records.append({"item_id": item.key, **cells, "winner": "", "annotator": ""})
    return Written(records, dict(skipped))


def _inert(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if re.match(r"[=+@\t\r]|-(?! )", text) else text


def _said(row: AnnotatedRow, example: AnnotatedExample) -> dict[str, Any]:
    return {
        "id": example.example,
        "query": example.query,
        "category": example.category,
        "kind": row.kind,
        "value": row.value,
        "criterion": row.criterion,
        "left": row.left,
        "right": row.right,
        "annotator": row.annotator,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(row.created)),
        "queue": row.queue,
        "blind": row.blind,
        "control": row.control,
        "turn": row.turn,
        "seconds": row.seconds,
    }


def _by_pair(rows: Rows) -> dict[tuple[int, int, int], list[AnnotatedRow]]:
    found: defaultdict[tuple[int, int, int], list[AnnotatedRow]] = defaultdict(list)
    for row in rows:
        if row.kind == "preference" and row.right_id is not None and not row.control and not row.turn:
            first, second = sorted((row.left_id, row.right_id))
            found[row.example_id, first, second].append(row)
    return dict(found)


def _seen_from(model: int, row: AnnotatedRow) -> str:
    outcome = _SIDES[row.value]
    if outcome == "tie" or row.left_id == model:
        return outcome
    return "loss" if outcome == "win" else "win"


def _corrections(rows: Rows) -> list[AnnotatedRow]:
    """The newest correction of each answer."""
    found = {(row.example_id, row.left_id): row for row in rows if row.kind == "correction"}
    return list(found.values())


def _pair(example: AnnotatedExample, chosen: str, rejected: str) -> dict[str, Any]:
    return {
        "prompt": example.messages,
        "chosen": [_answer(chosen)],
        "rejected": [_answer(rejected)],
        "id": example.example,
    }


def _answer(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _example(example: AnnotatedExample, tags: Sequence[str], corrected: str | None) -> dict[str, Any]:
    references = [*([corrected] if corrected else []), *example.references]
    record: dict[str, Any] = {"id": example.example, "messages": example.messages, "references": references}
    record |= {name: value for name in ("label", "category") if (value := getattr(example, name)) is not None}
    for name in ("schema", "tests", "turns", "group", "tools"):
        if example.extra.get(name):
            record[name] = example.extra[name]
    if (calls := example.extra.get("calls")) is not None:
        possible = [{call["name"]: call["allowed"]} for call in calls if "allowed" in call]
        record |= {"ground_truth": possible} if possible else {"answers": calls}
    own = {name: value for name, value in (example.extra.get("extra") or {}).items() if name not in record}
    return own | record | ({"failures": list(tags)} if tags else {})
