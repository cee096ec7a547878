"""First phase: which examples, from which version of which eval set, and whether training has seen them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from engine.data.examples import Example, eval_set_version
from engine.data.excluded import without_excluded
from engine.data.leak import Leak
from engine.data.leakage import read_training
from engine.data.manifest import file_hash
from engine.data.power import smallest_change
from engine.data.selection import in_part, part_name, whole_set
from engine.data.split import sample, splits
from engine.data.summary import summarise
from engine.data.thinning import Thinned
from engine.errors import BadInput
from engine.phases.coverage import SAMPLED, coverage, repeated
from engine.phases.leaks import earlier_leaks, leak_rows, leak_summary, training_leaks
from engine.phases.lock import hold_lock, ledger_row
from engine.phases.work import Meter, Work
from store import tables
from store.exclusions import excluded
from store.session import opened

_EXTRA = ("schema", "tests", "turns", "group", "line", "extra")
_NAMED = 5  # examples that an event names
_STRETCH = 2048  # training rows between two looks at whether the run is to stop


def prepare(work: Work) -> None:
    """Selects and records the run's examples once; a resumed run evaluates the same ones."""
    run_id = work.recorder.run_id
    if not work.recorder.rows(tables.RunExample, run_id=run_id):
        _record(work)
    _load(work)


def _record(work: Work) -> None:
    data, recorder = work.plan.data, work.recorder
    skipped: list[BadInput] = []
    whole = whole_set(data, skipped)
    _tell_skipped(work, skipped)
    everything, left_out = _without_excluded(work, whole)
    version = eval_set_version(everything)
    file_version = eval_set_version(whole) if left_out else version
    train_hash = file_hash(data.train) if data.train else None
    on_test = data.split == "test"
    edited = hold_lock(work, version, file_version, train_hash) if on_test else []
    places = splits(everything, data.ratios, data.seed)
    members = {example.id: split for example, split in zip(everything, places, strict=True)}
    chosen = _select(work, everything)
    with recorder.transaction() as transaction:
        transaction.ensure(
            tables.Example, [example_row(example, version, place) for place, example in enumerate(everything)]
        )
    ids = {row["example"]: row["id"] for row in recorder.rows(tables.Example, eval_set=version)}
    searched = _search(work, everything, chosen)
    recorder.set_run(
        eval_set=version,
        eval_set_file=data.examples.name,
        seed=work.plan.generation.seed,
        data_summary=searched.summary
        | {
            "version": version,
            "file_version": file_version,
            "examples_file": data.examples.name,
            "examples_path": str(data.examples),
            "train_file": data.train.name if data.train else None,
            "train_sha256": train_hash,
            "train_edited_after": edited,
            "selected": len(chosen),
            "split": data.split,
            "fold": data.fold,
            "excluded": left_out,
            "skipped": len(skipped),
            "detectable": smallest_change(len(chosen)),
        },
    )
    with recorder.transaction() as transaction:
        transaction.append(tables.Leak, leak_rows(recorder.run_id, searched.leaks, ids))
        if on_test:
            transaction.append(tables.SplitUse, [ledger_row(work, version)])
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


def _tell_skipped(work: Work, skipped: list[BadInput]) -> None:
    for error in skipped[:_NAMED]:
        work.recorder.event("warning", "data", f"left out, as skip_bad asks: {error.message}")
    if len(skipped) > _NAMED:
        work.recorder.event("warning", "data", f"{len(skipped) - _NAMED} more records are left out")


def _without_excluded(work: Work, whole: list[Example]) -> tuple[list[Example], list[dict[str, Any]]]:
    """The examples that nobody took out, and who took out the others and why."""
    with opened(work.store) as connection:
        kept, left_out = without_excluded(whole, excluded(connection))
    if not kept:
        raise BadInput(
            f"{work.plan.data.examples}: people excluded every example of it",
            "Put some back: x on the Splits screen of a run that had them.",
        )
    if left_out:
        people = ", ".join(sorted({word.user for _, word in left_out}))
        names = [example.id for example, _ in left_out[:_NAMED]]
        more = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
        work.recorder.event(
            "info", "data", f"left out, since {people} excluded them: {', '.join(names)}{more}"
        )
    return kept, [
        {"example": example.id, "reason": word.reason, "user": word.user} for example, word in left_out
    ]


@dataclass(frozen=True, slots=True)
class _Searched:
    """What was found out about the data, for the run's data summary, and the leaks."""

    summary: dict[str, Any]
    leaks: list[Leak]


def _search(work: Work, everything: list[Example], chosen: list[Example]) -> _Searched:
    """Reads the training data twice, as a stream: what is in them, then what of the examples is."""
    data = work.plan.data
    unit = "training rows" if data.train else "examples"
    meter = work.meter("data", data.examples.name, unit, total=0 if data.train else len(chosen), done=0)
    few = Thinned(SAMPLED, data.seed)
    training = few.through(_counted(work, meter)) if data.train else None
    summary = summarise(everything, training, data.ratios, data.seed)
    if summary.training is not None and not summary.training.total:
        # To have found nothing in no data would read as a clean bill.
        raise BadInput(f"{data.train}: holds no training row", "Name another file, or leave train out.")
    leaks = training_leaks(work, chosen, meter)
    found = {
        **summary.as_dict(),
        **leak_summary(leaks if data.train else None, by_meaning=data.embedding_model is not None),
        "earlier": earlier_leaks(work, chosen),
        "duplicates": repeated(work, everything),
        "coverage": coverage(work, everything, few.rows),
    }
    meter.reach(summary.training.total if summary.training else len(chosen))
    return _Searched(found, leaks)


def _counted(work: Work, meter: Meter) -> Iterator[Example]:
    """The training examples; how many there are is told as they are counted."""
    data = work.plan.data
    assert data.train is not None
    count = 0
    for count, row in enumerate(read_training(data.train, data.fields), start=1):
        if count % _STRETCH == 0:
            meter.reach(0, total=count)
            work.checkpoint()
        yield row
    meter.reach(0, total=count)


def _select(work: Work, everything: list[Example]) -> list[Example]:
    data = work.plan.data
    chosen = in_part(everything, data)
    if not chosen:
        way_out = "use fewer folds, or more examples" if data.folds else 'use split = "all", or more examples'
        raise BadInput(f"{data.examples}: no example is in {part_name(data)}", way_out)
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
