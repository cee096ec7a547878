"""First phase: which examples, from which version of which eval set, and whether training has seen them."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from engine.data.leakage import exact_leaks, read_training
from engine.data.lock import refuse_used_test, training_edited
from engine.data.manifest import file_hash
from engine.data.split import sample, splits
from engine.data.summary import summarise
from engine.errors import BadInput
from engine.examples import Example, eval_set_version, read_examples
from engine.person import user_name
from engine.phases.work import Work
from store import tables

_EXTRA = ("schema", "tests", "turns", "group", "line", "extra")


def prepare(work: Work) -> None:
    """Selects and records the run's examples once; a resumed run evaluates the same ones."""
    run_id = work.recorder.run_id
    if not work.recorder.rows(tables.RunExample, run_id=run_id):
        _record(work)
    _load(work)


def _record(work: Work) -> None:
    data, recorder = work.plan.data, work.recorder
    everything = read_examples(data.examples, data.fields)
    version = eval_set_version(everything)
    train_hash = file_hash(data.train) if data.train else None
    if data.split == "test":
        _keep_lock(work, version, train_hash)
    places = splits(everything, data.ratios, data.seed)
    members = {example.id: split for example, split in zip(everything, places, strict=True)}
    chosen = _select(work, everything, members)
    with recorder.transaction() as transaction:
        transaction.ensure(
            tables.Example, [example_row(example, version, place) for place, example in enumerate(everything)]
        )
    ids = {row["example"]: row["id"] for row in recorder.rows(tables.Example, eval_set=version)}
    meter = work.meter("data", data.examples.name, "examples", total=len(chosen), done=0)
    leaks = exact_leaks(_training(work), chosen)
    summary = summarise(everything, _training(work) if data.train else None, data.ratios, data.seed)
    recorder.set_run(
        eval_set=version,
        eval_set_file=data.examples.name,
        seed=work.plan.generation.seed,
        data_summary=summary.as_dict()
        | {
            "version": version,
            "examples_file": data.examples.name,
            "train_file": data.train.name if data.train else None,
            "train_sha256": train_hash,
            "selected": len(chosen),
            "split": data.split,
            "leaked": sum(leak.field != "reference" for leak in leaks) if data.train else None,
            "answers_seen": sum(leak.field == "reference" for leak in leaks) if data.train else None,
        },
    )
    with recorder.transaction() as transaction:
        transaction.append(
            tables.Leak,
            [
                {
                    "run_id": recorder.run_id,
                    "example_id": ids[leak.example_id],
                    "tier": leak.tier,
                    "score": leak.score,
                    "train_line": leak.train_line,
                    "field": leak.field,
                    "excerpt": leak.excerpt,
                }
                for leak in leaks
            ],
        )
        if data.split == "test":
            transaction.append(tables.SplitUse, [_ledger(work, version)])
        transaction.append(
            tables.RunExample,
            [
                {
                    "run_id": recorder.run_id,
                    "position": place,
                    "example_id": ids[example.id],
                    "split": members[example.id],
                }
                for place, example in enumerate(chosen)
            ],
        )
    meter.reach(len(chosen))


def _keep_lock(work: Work, version: str, train_hash: str | None) -> None:
    """Refuses a test split used before unless the plan is final, and tells of training data edited since."""
    uses = [
        use
        for use in work.recorder.rows(tables.SplitUse, eval_set=version, split="test")
        if use["run_id"] != work.recorder.run_id
    ]
    refuse_used_test(version, uses, work.plan.data.final)
    hashes: dict[int, str] = {}
    for run_id in {use["run_id"] for use in uses} - {None}:
        for run in work.recorder.rows(tables.Run, id=run_id):
            if known := (run["data_summary"] or {}).get("train_sha256"):
                hashes[run_id] = known
    for run_id in training_edited(train_hash, hashes) if train_hash else ():
        work.recorder.event(
            "warning", "data", f"the training file was edited after run {run_id} had used the test split"
        )


def _training(work: Work) -> Iterator[Example]:
    """The training examples, read anew at each call: they may be too many to keep."""
    data = work.plan.data
    return read_training(data.train, data.fields) if data.train else iter(())


def _select(work: Work, everything: list[Example], members: Mapping[str, str]) -> list[Example]:
    data = work.plan.data
    chosen = [example for example in everything if data.split in ("all", members[example.id])]
    if not chosen:
        raise BadInput(
            f"{data.examples}: no example is in the {data.split} split",
            'use split = "all", or more examples',
        )
    if data.sample is not None:
        chosen = sample(chosen, data.sample, data.seed)
    limit = work.options.get("limit")
    return chosen[:limit] if limit else chosen


def example_row(example: Example, version: str, place: int) -> dict[str, Any]:
    """An example as the store keeps it; `place` is its position in the eval set."""
    return {
        "eval_set": version,
        "example": example.id,
        "position": place,
        "query": example.query,
        "messages": list(example.messages),
        "references": list(example.references),
        "label": example.label,
        "category": example.category,
        "extra": {name: getattr(example, name) for name in _EXTRA},
    }


def _ledger(work: Work, version: str) -> dict[str, Any]:
    return {
        "run_id": work.recorder.run_id,
        "eval_set": version,
        "split": "test",
        "user": user_name(),
        "reason": f"run of {work.plan.name}",
        "created": time.time(),
    }


def _load(work: Work) -> None:
    chosen = work.recorder.rows(tables.RunExample, run_id=work.recorder.run_id)
    version = work.recorder.run()["eval_set"]
    rows = {row["id"]: row for row in work.recorder.rows(tables.Example, eval_set=version)}
    for member in chosen:
        row = rows[member["example_id"]]
        extra = row["extra"]
        work.examples.append(
            Example(
                id=row["example"],
                query=row["query"],
                messages=tuple(row["messages"]),
                references=tuple(row["references"]),
                label=row["label"],
                category=row["category"],
                schema=extra["schema"],
                tests=tuple(extra["tests"]),
                turns=tuple(extra["turns"]),
                group=extra["group"],
                line=extra["line"],
                extra=extra["extra"],
            )
        )
        work.example_ids[row["example"]] = row["id"]
