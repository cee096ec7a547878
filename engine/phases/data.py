"""The data phase: the examples, the version of their eval set, and those that are in the training data.

It also reports coverage and duplicates, and records runs on the test split in the log of the test lock.
"""

import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engine.data.coverage import Coverage, cover, drift, gaps, question, thinned
from engine.data.duplicates import conflicts, copies
from engine.data.example import Example, eval_set_version, is_synthetic
from engine.data.examples import data_rows
from engine.data.leak import TIERS, Leak, Search, is_counted
from engine.data.leakage import find_leaks, read_training
from engine.data.split import Thinned, splits, summarise
from engine.data.suites import suite_of
from engine.data.unused import unused_columns
from engine.data.versions import example_of, file_hash, refuse_used_test, training_edited
from engine.errors import BadInput
from engine.metrics.slices import of_the_set
from engine.metrics.suites import unscored
from engine.models import cores
from engine.phases.work import FOLLOW, Meter, Work
from engine.plan.selection import (
    asked,
    asked_of_suites,
    in_part,
    part_name,
    whole_set,
    without_excluded,
)
from engine.stats.family import smallest_change
from store import records
from store.people import excluded, user_name
from store.read.datasets import test_uses
from store.records.run import OF_SUITES
from store.session import opened

SAMPLED = 3000  # rows of each set, chosen by hash: enough for shares, and a matter of a second
_TOLD = 5  # groups that an event names, and lines of each
_SHOWN, _LENGTH = 2, 160  # typical questions of a cluster, and characters of each


def coverage(work: Work, everything: Sequence[Example], trained: Sequence[Example]) -> dict[str, Any]:
    """Clusters of what is asked, what the eval set lacks of the query log, how far the sets lie apart.

    For JSON; sizes are those of the SAMPLED rows. What cannot be grouped has a `reason` in its place.
    """
    data = work.plan.data
    sets: dict[str, Sequence[Example]] = {"eval": everything, "train": trained}
    if len(everything) > SAMPLED:
        sets["eval"] = thinned(everything, SAMPLED, data.seed)
    if data.queries is not None:
        asked = (row for row in data_rows(data.queries, data.fields) if row.query.strip())
        sets["log"] = thinned(asked, SAMPLED, data.seed)
    sets = {name: rows for name, rows in sets.items() if rows}
    try:
        return _covered(sets, data.seed)
    except BadInput as error:
        return {"reason": error.message}


def _covered(sets: Mapping[str, Sequence[Example]], seed: int) -> dict[str, Any]:
    texts = {name: [question(row) for row in rows] for name, rows in sets.items()}
    found = cover(texts, seed=seed)
    lacking = gaps(found, "log", "eval") if "log" in sets else []
    return {
        "sizes": {name: len(rows) for name, rows in sets.items()},
        "clusters": [
            {
                "label": cluster.label,
                "sizes": cluster.sizes,
                "examples": [text[:_LENGTH] for text in cluster.examples[:_SHOWN]],
            }
            for cluster in found.clusters
        ],
        "gaps": [asdict(gap) | {"label": found.clusters[gap.cluster].label} for gap in lacking],
        "drift": {name: _drift(name, sets, texts, found, seed) for name in sets if name != "eval"},
    }


def _drift(
    name: str,
    sets: Mapping[str, Sequence[Example]],
    texts: Mapping[str, Sequence[str]],
    found: Coverage,
    seed: int,
) -> dict[str, Any]:
    ours, theirs = ([row.category for row in sets[one]] for one in ("eval", name))
    members = found.members["eval"].tolist(), found.members[name].tolist()
    return asdict(drift(texts["eval"], texts[name], (ours, theirs), members, seed))


def repeated(work: Work, everything: Sequence[Example]) -> int:
    """The number of near-duplicate groups; these and contradictions are reported with their lines."""
    groups = copies(everything, work.checkpoint)
    same = [[everything[place] for place in group.places] for group in groups]
    _tell(work, "near-duplicate questions with the same answer, which count more than once", same, "groups")
    _tell(work, "equal questions with different answers", list(conflicts(everything)), "pairs")
    return len(groups)


def _tell(work: Work, what: str, groups: Sequence[Sequence[Example]], unit: str) -> None:
    if not groups:
        return
    lines = "; ".join(_lines(group) for group in groups[:_TOLD])
    more = f"; and {len(groups) - _TOLD} more {unit}" if len(groups) > _TOLD else ""
    work.recorder.event("warning", "data", f"{what}: lines {lines}{more}")


def _lines(group: Sequence[Example]) -> str:
    if len(group) > _TOLD:
        return f"{', '.join(str(one.line) for one in group[:_TOLD])} and {len(group) - _TOLD} more"
    *others, last = (str(one.line) for one in group)
    return f"{', '.join(others)} and {last}"


def training_leaks(work: Work, chosen: Sequence[Example], meter: Meter) -> list[Leak]:
    """The examples found in the training data, by all tiers, leaks and similar ones; the rows are streamed.

    The tier of meaning needs the plan's embedding model. A run that is asked to stop does so in between.
    """
    data = work.plan.data
    if data.train is None:
        return []

    def progress(rows: int) -> None:
        meter.reach(rows)
        work.checkpoint()

    return find_leaks(read_training(data.train, data.fields), chosen, _meaning(work, chosen), progress)


def _meaning(work: Work, chosen: Sequence[Example]) -> Search | None:
    folder = work.plan.data.embedding_model
    if folder is None:
        return None
    import torch

    from engine.data.meaning import LocalEmbedder, Meaning

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        cores.compute()
    embedder = LocalEmbedder(folder, device)
    search = Meaning(chosen, embedder, work.plan.data.meaning_least)
    work.recorder.event("info" if search.calibrated else "warning", "data", search.rule)
    return search


def leak_summary(leaks: Sequence[Leak] | None, *, by_meaning: bool) -> dict[str, Any]:
    """Counts of examples, for the run's data summary; None where there was nothing to search.

    A tier that was not searched has None: without `by_meaning`, that of meaning.
    """
    if leaks is None:
        return dict.fromkeys(("leaked", "leaks_by_tier", "answers_seen", "similar", "similar_ids"))
    counted = [leak for leak in leaks if leak.counts]
    alike = [leak.example_id for leak in leaks if leak.similar]
    tiers, similar = Counter(leak.tier for leak in counted), len(alike)
    return {
        "leaked": len(counted),
        "leaks_by_tier": {tier: tiers[tier] if tier != "meaning" or by_meaning else None for tier in TIERS},
        "answers_seen": len(leaks) - len(counted) - similar,
        "similar": similar,
        "similar_ids": alike,
    }


def leak_rows(run_id: int, leaks: Sequence[Leak], ids: dict[str, int]) -> list[dict[str, Any]]:
    """The leaks that count, as the store keeps them."""
    return [
        {
            "run_id": run_id,
            "example_id": ids[leak.example_id],
            "tier": leak.tier,
            "score": leak.score,
            "train_line": leak.train_line,
            "field": leak.field,
            "excerpt": leak.excerpt,
            "train_text": leak.train_text,
        }
        for leak in leaks
        if leak.counts
    ]


def leaked_tiers(work: Work) -> dict[str, str]:
    """The examples of the run that leaked, each with the tier that found it."""
    names = {place: example for example, place in work.example_ids.items()}
    rows = work.recorder.rows(records.StoredLeak, run_id=work.recorder.run_id)
    return {names[row.example_id]: row.tier for row in rows if is_counted(row.tier, row.field)}


def slices_of_set(work: Work) -> dict[str, list[str]]:
    """The slices about the eval set rather than what is asked: leaked or not, similar to training or not,
    synthetic or not. Questions of suites are in none: the training data are not searched for them.
    """
    alike = (work.recorder.run().data_summary or {}).get("similar_ids") or ()
    beside = {example.id for example in work.suites}
    own = [example for example in work.examples if example.id not in beside]
    written = {example.id for example in own if is_synthetic(example)}
    return of_the_set([example.id for example in own], leaked_tiers(work), set(alike), written)


def earlier_leaks(work: Work, chosen: Sequence[Example]) -> list[dict[str, Any]]:
    """The number of examples that are in each of the plan's earlier eval sets: [{file, leaked}]."""
    found = []
    for file in work.plan.data.earlier:
        leaks = find_leaks(data_rows(file, work.plan.data.fields), chosen)
        names = [leak.example_id for leak in leaks if leak.counts]
        found.append({"file": file.name, "leaked": len(names)})
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            which = ", ".join(names[:_NAMED]) + more
            work.recorder.event(
                "warning", "data", f"{len(names)} of {len(chosen)} examples are also in {file.name}: {which}"
            )
        work.checkpoint()
    return found


def hold_lock(work: Work, version: str, file_version: str, train_hash: str | None) -> list[int]:
    """Refuses a test split used before unless the plan is final, and tells of training data edited since.

    Returns the runs that had used the test split before the training data were edited.
    """
    with opened(work.store) as connection:
        uses = test_uses(connection, version, file_version)
    refuse_used_test(version, uses, work.plan.data.final)
    if train_hash is None:
        return []
    hashes: dict[int, str] = {}
    for run_id in {use.run_id for use in uses if use.run_id is not None}:
        for run in work.recorder.rows(records.Run, id=run_id):
            if known := (run.data_summary or {}).get("train_sha256"):
                hashes[run_id] = known
    edited = training_edited(train_hash, hashes)
    for run_id in edited:
        work.recorder.event(
            "warning", "data", f"the training file was edited after run {run_id} had used the test split"
        )
    return edited


def ledger_row(work: Work, version: str) -> dict[str, Any]:
    """This run's use of the test split."""
    return {
        "run_id": work.recorder.run_id,
        "eval_set": version,
        "split": "test",
        "user": user_name(),
        "reason": f"run of {work.plan.name}",
        "created": time.time(),
    }


_EXTRA = ("schema", "tests", "turns", "group", "line", "extra")
_RARE = ("tools", "calls")  # stored where an example has them
_NAMED = 5  # examples that an event names
_STRETCH = 2048  # training rows between two looks at whether the run is to stop


def prepare(work: Work) -> None:
    """Selects and records the run's examples once; a resumed run evaluates the same ones."""
    run_id = work.recorder.run_id
    if not work.recorder.rows(records.RunExample, run_id=run_id):
        _record(work)
    _load(work)


def _record(work: Work) -> None:
    data, recorder = work.plan.data, work.recorder
    skipped: list[BadInput] = []
    whole = whole_set(data, skipped)
    _tell_skipped(work, skipped)
    for found in unused_columns(whole, data.fields):
        recorder.event("warning", "data", f"{found.message}: {found.way_out}")
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
            [
                records.StoredExample(**example_row(example, version, place))
                for place, example in enumerate(everything)
            ]
        )
    ids = {row.example: row.id for row in recorder.rows(records.StoredExample, eval_set=version)}
    asked_too = _of_suites(work, {example.id for example in everything})
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
            "synthetic": sum(map(is_synthetic, chosen)),
            "split": data.split,
            "fold": data.fold,
            "excluded": left_out,
            "skipped": len(skipped),
            "detectable": smallest_change(len(chosen)),
        }
        | ({"suites": asked_too.summary} if asked_too.summary else {}),
    )
    with recorder.transaction() as transaction:
        transaction.append(
            [records.StoredLeak(**row) for row in leak_rows(recorder.run_id, searched.leaks, ids)]
        )
        if on_test:
            transaction.append(records.SplitUse(**ledger_row(work, version)))
        transaction.append(
            [
                records.RunExample(
                    run_id=recorder.run_id,
                    position=place,
                    example_id=ids[example.id],
                    split=members[example.id],
                )
                for place, example in enumerate(chosen)
            ]
        )
        transaction.append(
            [
                records.RunExample(
                    run_id=recorder.run_id, position=place, example_id=example_id, split=OF_SUITES
                )
                for place, example_id in enumerate(asked_too.example_ids, len(chosen))
            ]
        )


@dataclass(frozen=True, slots=True)
class _Suites:
    """The questions of the plan's suites as they are stored; `summary` None where it names none."""

    example_ids: Sequence[int] = ()
    summary: dict[str, Any] | None = None


def _of_suites(work: Work, own: Collection[str]) -> _Suites:
    """Raises BadInput like `suite_questions`; `own` are the ids of the plan's examples."""
    if not work.plan.data.suites:
        return _Suites()
    with opened(work.store) as connection:
        out = excluded(connection)
    beside = asked_of_suites(work.plan.data, work.store, out, own, work.options.get("limit"))
    found = beside.questions
    version = eval_set_version(found)
    recorder = work.recorder
    with recorder.transaction() as transaction:
        transaction.ensure(
            [
                records.StoredExample(**example_row(example, version, place))
                for place, example in enumerate(found)
            ]
        )
    ids = {row.example: row.id for row in recorder.rows(records.StoredExample, eval_set=version)}
    counted = Counter(map(suite_of, found))
    said = ", ".join(f"{name} {count:,}" for name, count in counted.items())
    more = f"; {beside.torn} left out, since suites label them both ways" if beside.torn else ""
    more += f"; {beside.excluded} left out, excluded by people" if beside.excluded else ""
    recorder.event("info", "data", f"questions of suites: {said}{more}")
    rubrics = [judge.rubric for judge in work.plan.judges if judge.kind == "pointwise"]
    for name, needed in unscored(found, work.plan.metrics.settings, rubrics).items():
        recorder.event("warning", "data", f"nothing scores {name}: that takes {needed}")
    left_out = {"torn": beside.torn, "excluded": beside.excluded}
    summary = {"version": version, "questions": dict(counted), **left_out}
    return _Suites([ids[example.id] for example in found], summary)


def _tell_skipped(work: Work, skipped: list[BadInput]) -> None:
    for error in skipped[:_NAMED]:
        work.recorder.event("warning", "data", f"left out (skip_bad): {error.message}")
    if len(skipped) > _NAMED:
        work.recorder.event("warning", "data", f"{len(skipped) - _NAMED} more records are left out")


def _without_excluded(work: Work, whole: list[Example]) -> tuple[list[Example], list[dict[str, Any]]]:
    """The examples that are not excluded, and for the others who excluded them and why."""
    with opened(work.store) as connection:
        kept, left_out = without_excluded(whole, excluded(connection))
    if not kept:
        raise BadInput(
            f"{work.plan.data.examples}: people excluded all its examples",
            "Restore some: x on the Splits screen of a run that had them.",
        )
    if left_out:
        people = ", ".join(sorted({word.user for _, word in left_out}))
        names = [example.id for example, _ in left_out[:_NAMED]]
        more = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
        work.recorder.event("info", "data", f"left out, excluded by {people}: {', '.join(names)}{more}")
    return kept, [
        {"example": example.id, "reason": word.reason, "user": word.user} for example, word in left_out
    ]


@dataclass(frozen=True, slots=True)
class _Searched:
    """The findings about the data, for the run's data summary, and the leaks."""

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
    """The training examples; their number is shown as they are counted."""
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
    chosen = asked(everything, data, work.options.get("limit"))
    if not chosen:
        way_out = "use fewer folds, or more examples" if data.folds else 'use split = "all", or more examples'
        raise BadInput(f"{data.examples}: no example is in {part_name(data)}", way_out)
    return chosen


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
        "extra": {name: getattr(example, name) for name in _EXTRA}
        | {
            name: value
            for name in _RARE
            if (value := getattr(example, name)) or (name, value) == ("calls", ())
        },
    }


def _load(work: Work) -> None:
    chosen = work.recorder.rows(records.RunExample, run_id=work.recorder.run_id)
    version = work.recorder.run().eval_set
    rows = {row.id: row for row in work.recorder.rows(records.StoredExample, eval_set=version)}
    suites = (work.recorder.run().data_summary or {}).get("suites")
    beside = work.recorder.rows(records.StoredExample, eval_set=suites["version"]) if suites else ()
    asked_too = {row.id: row for row in beside}
    for member in chosen:
        of_suite = member.split == OF_SUITES
        row = (asked_too if of_suite else rows)[member.example_id]
        (work.suites if of_suite else work.examples).append(example_of(row))
        work.example_ids[row.example] = row.id
    if FOLLOW in work.options:
        everything = [example_of(row) for row in sorted(rows.values(), key=lambda row: row.position)]
        work.validation = in_part(everything, work.plan.data)
