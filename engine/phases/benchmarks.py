"""lm-eval tasks on every set of weights, and candidates against baselines question by question."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.benchmarks.results import ASKED, LONGEST, NO_COMMAND, KnownTask, TaskResult, asked_as
from engine.compare.benchmarks import BenchmarkQuestion, Key, Measured, compare_scores, group_samples
from engine.compare.comparison import Comparison
from engine.models import cores
from engine.models.gguf_file import is_gguf
from engine.models.prompt import PINNED_DATE
from engine.phases.generate import Loader
from engine.phases.scoring.perplexity import why_unmeasured
from engine.phases.work import Meter, Piece, Work, closed_after
from engine.plan.plan import Benchmarks, Model
from store import database, records
from store.read import history, runs
from store.read.rows import GROUPS

if TYPE_CHECKING:  # a check of a plan writes nothing, and needs no SQLAlchemy
    from store.write import Transaction

PHASE = "benchmarks"


def first_with_weights(work: Work, model: Model) -> Model:
    """The model that is benchmarked for all that have its weights, and whose template is told the same."""
    templated = work.plan.benchmarks is None or work.plan.benchmarks.apply_chat_template

    def asked(one: Model) -> tuple[object, ...]:
        return one.weights, one.chat_template_kwargs if templated else None

    return next(other for other in work.plan.models if asked(other) == asked(model))


def is_benchmarked(work: Work, model: Model) -> bool:
    """Whether tasks run on this model: it has weights here that tell likelihoods, and no model before it is
    asked the same.
    """
    return why_unmeasured(work.plan, model) is None and first_with_weights(work, model) is model


def pieces(work: Work, models: list[Model]) -> Iterator[Piece]:
    """The tasks of every set of weights; how many requests a task makes is known once it is loaded."""
    settings = work.plan.benchmarks
    for model in models:
        if settings is not None and is_benchmarked(work, model):
            yield from (Piece(PHASE, _item(model, task), "questions", 0) for task in settings.tasks)


def benchmark(work: Work, model: Model, loader: Loader) -> None:
    settings = work.plan.benchmarks
    assert settings is not None
    if not is_benchmarked(work, model):
        return
    model_id = work.model_ids[model.name]
    done = _done(work, model_id)
    todo = [task for task in settings.tasks if task not in done]
    if not todo:
        return
    fingerprint = loader.open(model).fingerprint
    _keep_asked(work, model, settings)
    at_hand = _earlier(work, fingerprint, model_id) if work.cache else {}
    report = _reporter(work, model)
    with closed_after(loader.tasks(model, settings, todo, report, frozenset(at_hand))) as results:
        for result in results:
            if isinstance(result, KnownTask):
                _reuse(work, model, result, at_hand[result.identity])
            else:
                _store(work, model_id, result)
            work.checkpoint()


def _keep_asked(work: Work, model: Model, settings: Benchmarks) -> None:
    details = work.recorder.rows(records.StoredModel, id=work.model_ids[model.name])[0].details or {}
    limit, context = work.plan.compute.max_model_len, details.get("context")
    is_less = details.get("engine") and limit and (context is None or limit < context)
    asked = how_asked(model, settings, details) | ({LONGEST: limit} if is_less else {})
    work.recorder.set_model(work.model_ids[model.name], details={**details, ASKED: asked})


def how_asked(model: Model, settings: Benchmarks, details: Mapping[str, Any]) -> dict[str, Any]:
    """How the tasks are asked: the flags with which lm_eval gives the same numbers, or why none do."""
    applied = settings.apply_chat_template and bool(details.get("template"))
    asked = {"apply_chat_template": applied, "limit": settings.limit}
    if reason := _inexact(model, details, applied):
        return {**asked, NO_COMMAND: reason}
    file = Path(str(model.path))
    adapter = None if model.adapter is None else str(model.adapter)
    arguments = {
        **({"pretrained": str(file.parent), "gguf_file": file.name} if is_gguf(file) else {}),
        "revision": model.revision,
        "peft": adapter,
        "tokenizer": adapter if (details.get("adapter") or {}).get("own_tokenizer") else None,
        "dtype": details.get("dtype"),
        "trust_remote_code": model.trust_remote_code or None,
        "chat_template_args": (model.chat_template_kwargs or None) if applied else None,
    }
    told = {"pretrained": model.path} | {
        name: value for name, value in arguments.items() if value is not None
    }
    flags = {
        "--include_path": settings.include,
        "--num_fewshot": settings.shots,
        "--limit": settings.limit,
        "--batch_size": settings.batch_size,
    }
    found = [
        *("--model", "hf", "--model_args", json.dumps(told, ensure_ascii=False)),
        *("--tasks", ",".join(settings.tasks)),
        *(part for flag, value in flags.items() if value is not None for part in (flag, str(value))),
        *(["--apply_chat_template", "--fewshot_as_multiturn", "true"] if applied else []),
    ]
    return {**asked, "command": found}


def _inexact(model: Model, details: Mapping[str, Any], applied: bool) -> str | None:
    """Why lm_eval 0.4.13 cannot load what was measured here."""
    if applied and PINNED_DATE in details.get("notes", ()):
        return "it tells the chat template today's date"
    if details.get("engine"):
        return f"{details['engine']} answered, whose last bits differ from those of transformers"
    if model.quantize:
        return "it quantises no weights as it loads them"
    if is_gguf(Path(str(model.path))) and details.get("quantisation"):
        return "it computes with a GGUF file's packed weights, which rounds otherwise"
    if model.adapter is None:
        return None
    if not model.adapter.is_dir() and model.adapter_revision != model.revision:
        return "it loads base and adapter at one revision"
    if details.get("tokens") != details.get("vocabulary"):
        return "under an adapter it cuts the model's vocabulary to the tokenizer's"
    return None


def _item(model: Model, task: str) -> str:
    return f"{model.name} · {task}"


def _done(work: Work, model_id: int) -> set[str]:
    """Tasks and groups that are stored; a tag is known by its members alone."""
    done = work.recorder.column(records.StoredBenchmarkScore, "task", model_id=model_id)
    return done | _groups(work, model_id).keys()


def _groups(work: Work, model_id: int) -> dict[str, list[str]]:
    details = work.recorder.rows(records.StoredModel, id=model_id)[0].details or {}
    return dict(details.get(GROUPS) or {})


def _earlier(work: Work, fingerprint: str, model_id: int) -> dict[str, runs.EarlierRow]:
    with closing(history.attach(database.connect(work.store))) as connection:
        return runs.earlier(connection, fingerprint, model_id)


def _reporter(work: Work, model: Model) -> Callable[[str, int, int], None]:
    """A line of progress for each task, which every model's first report of a task gives its total."""
    meters: dict[str, Meter] = {}

    def report(task: str, answered: int, total: int) -> None:
        if task not in meters:
            meters[task] = work.meter(PHASE, _item(model, task), "questions", total=total, done=0)
            _announce(work, task, total)
        meters[task].reach(answered, total=total)
        cores.adapt()  # a task may take hours

    return report


def _announce(work: Work, task: str, total: int) -> None:
    """The same task asks the models to come about as much."""
    ahead = [
        replace(row, total=total)
        for model in work.plan.models
        for row in work.recorder.rows(
            records.Progress, run_id=work.recorder.run_id, phase=PHASE, item=_item(model, task)
        )
        if row.started is None
    ]
    work.recorder.put(ahead)


def _store(work: Work, model_id: int, result: TaskResult) -> None:
    scores = [
        records.StoredBenchmarkScore(model_id=model_id, **asdict(score), identity=result.identity)
        for score in result.scores
    ]
    samples = [
        records.StoredBenchmarkSample(model_id=model_id, **asdict(sample)) for sample in result.samples
    ]
    with work.recorder.transaction() as transaction:
        members = {name: list(own) for name, own in result.members.items()}
        _append(work, transaction, model_id, scores, samples, members)


def _reuse(work: Work, model: Model, known: KnownTask, found: runs.EarlierRow) -> None:
    """Copies a previous run's results with their samples, so that this run is complete.

    A group's members come along where they had been asked by themselves, under identities of their own.
    """
    recorder, model_id = work.recorder, work.model_ids[model.name]
    groups = _groups(work, found.model_id)
    within = set(groups.get(known.task, ()))
    rows = [
        row
        for row in recorder.rows(records.StoredBenchmarkScore, model_id=found.model_id)
        if row.identity == known.identity or within.issuperset(groups.get(row.task, (row.task,)))
    ]
    measured = {row.reused_from or found.run_id for row in rows}
    scores = [replace(row, model_id=model_id, reused_from=row.reused_from or found.run_id) for row in rows]
    samples = [
        replace(row, model_id=model_id)
        for task in dict.fromkeys(row.task for row in rows)
        for row in recorder.rows(records.StoredBenchmarkSample, model_id=found.model_id, task=task)
    ]
    tasks = {row.task for row in rows}
    members = {name: own for name, own in groups.items() if name == known.task or name in tasks}
    with recorder.transaction() as transaction:
        _append(work, transaction, model_id, scores, samples, members)
    runs = " and ".join(f"run {run}" for run in sorted(measured))
    recorder.event("info", PHASE, f"{known.task} of {model.name}: reused from {runs}, with the same weights")
    answered = len({(row.task, row.doc_id) for row in samples})
    meter = work.meter(PHASE, _item(model, known.task), "questions", total=answered, done=0)
    meter.advance(answered, remembered=answered)


def _append(
    work: Work,
    transaction: "Transaction",
    model_id: int,
    scores: list[records.StoredBenchmarkScore],
    samples: list[records.StoredBenchmarkSample],
    members: dict[str, list[str]],
) -> None:
    """A task that is already stored, as a member of another named group, stays unchanged."""
    done = work.recorder.column(records.StoredBenchmarkScore, "task", model_id=model_id)
    transaction.append([row for row in scores if row.task not in done])
    transaction.append([row for row in samples if row.task not in done])
    if members:
        details = work.recorder.rows(records.StoredModel, id=model_id)[0].details or {}
        details |= {GROUPS: (details.get(GROUPS) or {}) | members}
        transaction.update(records.StoredModel, model_id, details=details)


def benchmark_comparisons(work: Work) -> list[Comparison]:
    """Every benchmark metric of every candidate against each set of baseline weights."""
    if work.plan.benchmarks is None:
        return []
    baselines: dict[str, Model] = {}
    for model in work.plan.baselines:
        baselines.setdefault(first_with_weights(work, model).name, model)
    scores = {model.name: _measured(work, model) for model in work.plan.models}
    return [
        compare_scores(
            candidate.name, baseline.name, key, ours, scores[baseline.name][key], work.plan.data.seed
        )
        for candidate in work.plan.candidates
        for baseline in baselines.values()
        for key, ours in scores[candidate.name].items()
        if key in scores[baseline.name]
    ]


def _measured(work: Work, model: Model) -> dict[Key, Measured]:
    benchmarked = first_with_weights(work, model) if model.kind == "local" else model
    model_id = work.model_ids[benchmarked.name]
    samples: dict[Key, dict[BenchmarkQuestion, float]] = defaultdict(dict)
    for sample in work.recorder.rows(records.StoredBenchmarkSample, model_id=model_id):
        if sample.value is not None:
            question = BenchmarkQuestion(sample.task, sample.doc_id, sample.prompt_hash, sample.target_hash)
            samples[Key(sample.task, sample.metric, sample.filter)][question] = sample.value
    details = work.recorder.rows(records.StoredModel, id=model_id)[0].details or {}
    found = {}
    for row in work.recorder.rows(records.StoredBenchmarkScore, model_id=model_id):
        key = Key(row.task, row.metric, row.filter)
        found[key] = Measured(
            value=row.value,
            stderr=row.stderr,
            n=row.n,
            version=row.version,
            shots=row.shots,
            higher_is_better=row.higher_is_better,
            task_hash=row.task_hash,
            samples=group_samples(key, row.value, samples, details.get(GROUPS) or {}),
            asked=asked_as(details),
            cut=row.value is not None and row.reason is not None,
        )
    return found
