"""Preflight: everything a plan needs, looked at before a run starts. No torch, no model is loaded."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from engine.data.leakage import read_training
from engine.data.split import split_of
from engine.errors import AssayError, BadInput
from engine.examples import Example, read_examples
from engine.generate.adapter import check_adapter
from engine.generate.folder import check_model_folder, weight_shapes
from engine.generate.recorded import RecordedModel
from engine.metrics.metric import CLASH_WAY_OUT, clashes, load_metric
from engine.plan import Model, Plan
from engine.reach import Server, reach

Level = Literal["error", "warning", "ok"]

TRAINING_RECORDS = 1000  # how many of a training file are read here; a run reads all
LITTLE_DISK = 1 << 30  # bytes: a warning under it
NO_DISK = 50 << 20  # bytes: no run under it
# Activations, the KV cache of a batch and the library itself, as a share of the weights and a fixed part.
OVERHEAD, LIBRARY = 0.3, 1 << 30
_BITS = {"float32": 32, "bfloat16": 16, "float16": 16}
_STORED_BITS = {
    "F64": 64,
    "F32": 32,
    "F16": 16,
    "BF16": 16,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "I8": 8,
    "U8": 8,
    "I64": 64,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what it is, what was found, and the way out where it is wrong."""

    level: Level
    subject: str
    message: str
    hint: str = ""


def check(plan: Plan, store: Path) -> list[Finding]:
    """All findings, right ones too: data, metrics, models, servers, disk and memory."""
    findings: list[Finding] = []
    examples = _read_examples(plan, findings)
    findings += [*_data(plan, examples), *_metrics(plan, examples)]
    for model in plan.models:
        findings += _model(model, examples)
    findings += _servers(plan)
    findings += [*_judges(plan, examples), *_disk(store), *_memory(plan)]
    return findings


def check_benchmarks(plan: Plan) -> list[Finding]:
    """Whether lm-eval knows the plan's tasks and has their data here; importing it takes seconds."""
    if plan.benchmarks is None:
        return []
    from engine.benchmarks.harness import check_tasks

    problems = check_tasks(plan.benchmarks.tasks, plan.benchmarks.include)
    if not problems:
        return [Finding("ok", "benchmarks", f"{len(plan.benchmarks.tasks)} tasks and their data are at hand")]
    return [Finding("error", "benchmarks", problem) for problem in problems]


def _wrong(subject: str, error: AssayError) -> Finding:
    return Finding("error", subject, error.message, error.hint)


def _read_examples(plan: Plan, findings: list[Finding]) -> list[Example]:
    try:
        return read_examples(plan.data.examples, plan.data.fields)
    except BadInput as error:
        findings.append(_wrong("data.examples", error))
        return []


def _data(plan: Plan, examples: list[Example]) -> Iterator[Finding]:
    data = plan.data
    if examples:
        chosen = [
            example
            for example in examples
            if data.split in ("all", split_of(example, data.ratios, data.seed))
        ]
        message = f"{len(examples)} examples, {len(chosen)} of them in the split {data.split!r}"
        if chosen:
            yield Finding("ok", "data.examples", message)
        else:
            yield Finding("error", "data.examples", message, 'use split = "all", or more examples')
    if data.train is not None:
        try:
            read = sum(1 for _ in islice(read_training(data.train, data.fields), TRAINING_RECORDS))
        except BadInput as error:
            yield _wrong("data.train", error)
        else:
            yield Finding("ok", "data.train", f"its first {read} records can be read")


def _metrics(plan: Plan, examples: list[Example]) -> Iterator[Finding]:
    needing = []
    loaded = {}
    for name in plan.metrics.use:
        try:
            metric = load_metric(name, plan.metrics.settings.get(name, {}))
        except BadInput as error:
            yield _wrong(f"metrics.{name}", error)
        else:
            loaded[name] = metric
            needing += [name] * any("references" in measure.needs for measure in metric.measures)
    for problem in clashes(loaded):
        yield Finding("error", "metrics", problem, CLASH_WAY_OUT)
    bare = sum(not example.references for example in examples)
    if needing and bare:
        yield Finding(
            "warning",
            "metrics",
            f"{bare} of {len(examples)} examples have no reference: no {', '.join(needing)} there",
            "add references, or take the metrics out of `use`",
        )


def _model(model: Model, examples: list[Example]) -> Iterator[Finding]:
    subject = f"model {model.name}"
    try:
        if model.kind == "recorded":
            RecordedModel(model)
            yield Finding("ok", subject, f"{model.outputs} can be read")
        elif model.kind == "local":
            yield from _local(subject, model)
    except BadInput as error:
        yield _wrong(subject, error)


def _local(subject: str, model: Model) -> Iterator[Finding]:
    assert model.path is not None
    if not Path(model.path).is_dir():
        try:
            check_model_folder(model.path)
        except BadInput as error:
            yield Finding("warning", subject, f"{error.message} The run will try to fetch it.", error.hint)
            return
    check_model_folder(model.path)
    if model.adapter is None:
        yield Finding("ok", subject, "its files are whole")
        return
    check_adapter(model.path, model.adapter)
    yield Finding("ok", subject, f"its files are whole, and the adapter {model.adapter.name} fits them")


def _servers(plan: Plan) -> Iterator[Finding]:
    servers = [
        Server(f"model {model.name}", model.server, model.model, model.api_key_env)
        for model in plan.models
        if model.server is not None
    ] + [
        Server(f"judge {judge.name}", judge.server, judge.model, judge.api_key_env)
        for judge in plan.judges
        if judge.server is not None
    ]
    for answer in reach(servers):
        yield Finding(answer.level, answer.server.subject, answer.message, answer.hint)


def _judges(plan: Plan, examples: list[Example]) -> Iterator[Finding]:
    bare = sum(not example.references for example in examples)
    for judge in plan.judges:
        if not judge.embedded:
            continue
        yield Finding(
            "ok", f"judge {judge.name}", "the embedded rule: needs no server, is not a language model"
        )
        if bare:
            yield Finding(
                "warning",
                f"judge {judge.name}",
                f"{bare} of {len(examples)} examples have no reference, which it judges by",
                "add references, or a judge with a server",
            )


def _disk(store: Path) -> Iterator[Finding]:
    folder = store.absolute()
    while not folder.exists():
        folder = folder.parent
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        yield Finding(
            "error", "store", f"{store} cannot be written", "choose another folder with --store DIR"
        )
        return
    free = shutil.disk_usage(folder).free
    message = f"{free / (1 << 30):.1f} GiB free where {store} lies"
    hint = "free some space, or choose another folder with --store DIR"
    level: Level = "error" if free < NO_DISK else "warning" if free < LITTLE_DISK else "ok"
    yield Finding(level, "store", message, "" if level == "ok" else hint)


def _memory(plan: Plan) -> Iterator[Finding]:
    """The largest model of the plan against the memory that is free; models of different bases take turns."""
    needs = {}
    for model in plan.models:
        if model.path is None or not Path(model.path).is_dir():
            continue
        try:
            needs[model.name] = round(weight_bytes(Path(model.path), model.dtype) * (1 + OVERHEAD)) + LIBRARY
        except BadInput:
            continue  # told as a finding on that model
    if not needs:
        return
    name = max(needs, key=lambda model: needs[model])
    device, free = _free_memory(plan.model(name).device)
    message = (
        f"{name} needs about {needs[name] / (1 << 30):.1f} GiB; {device} has {free / (1 << 30):.1f} GiB free"
    )
    if needs[name] <= free:
        yield Finding("ok", "memory", message)
    else:
        yield Finding(
            "warning", "memory", message, 'lower batch_size, set dtype = "bfloat16", or free some memory'
        )


def weight_bytes(folder: Path, dtype: str) -> int:
    """The size in memory of a model's weights at a dtype of the plan ("auto" keeps the files' own)."""
    total = 0
    for stored, shape in weight_shapes(folder).values():
        count = 1
        for size in shape:
            count *= size
        total += count * _BITS.get(dtype, _STORED_BITS.get(stored, 32)) // 8
    return total


def _free_memory(device: str) -> tuple[str, int]:
    """The device that weights will lie on, and how many bytes of it are free."""
    from engine.vitals import Sensors

    rows = Sensors().read()
    place = f"GPU {device.partition(':')[2] or 0}"
    gpus = [row for row in rows if row["device"] == place and row["memory_total"] is not None]
    if device != "cpu" and gpus:
        return place, gpus[0]["memory_total"] - gpus[0]["memory_used"]
    import psutil

    return "this machine", int(psutil.virtual_memory().available)
