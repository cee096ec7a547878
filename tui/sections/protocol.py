"""Everything needed to repeat a run, as tables of names and values."""

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from engine.decision.costs import model_costs
from store.read.judging import JudgeRow
from store.read.rows import BenchmarkRow, MetricRow, ModelRow, RunDetail, SplitUseRow
from tui.sections.declaration import declared
from tui.sections.words import judge_name
from tui.text.output import iso, moment

_FACTS = (
    *("path", "server", "model", "outputs", "commit", "architecture", "parameters", "quantisation", "dtype"),
    *("attention", "device", "tokenizer", "template", "batching", "system"),
)
_ADAPTER = ("path", "hash", "peft_type", "r", "lora_alpha", "use_dora", "use_rslora")
_DATA = {
    "selected": "examples evaluated",
    "split": "split",
    "train_file": "training data",
    "train_sha256": "training data, SHA-256",
}
_MACHINE = ("python", "platform", "devices", "earlier_devices", "threads", "git_commit")


@dataclass(frozen=True, slots=True)
class ProtocolTable:
    title: str
    rows: tuple[tuple[str, str], ...]


def protocol(
    run: RunDetail,
    models: Sequence[ModelRow],
    judges: Sequence[JudgeRow],
    metrics: Sequence[MetricRow],
    benchmarks: Sequence[BenchmarkRow],
    uses: Sequence[SplitUseRow],
) -> list[ProtocolTable]:
    """The tables in the order in which a run goes; `uses` are those of its eval set's locked test split."""
    plan = plan_tables(run)
    environment = run.environment or {}
    tables = {
        "plan": _plan(run),
        "data": _data(run, plan, uses),
        "generation": _flat(plan.get("generation") or {}),
        "models": ((f"{model.role} {model.name}", _model(model, environment)) for model in models),
        "judges": ((judge.name, _judge(judge)) for judge in judges),
        "metrics": (
            (metric.measure, "; ".join(f"{name} {value}" for name, value in declared(metric)))
            for metric in metrics
        ),
        "benchmarks": _benchmarks(benchmarks),
        "machine": ((name, _said(environment[name])) for name in _MACHINE if environment.get(name)),
        "files": ((file, f"SHA-256 {known}") for file, known in (environment.get("files") or {}).items()),
        "libraries": _libraries(environment),
    }
    found = [ProtocolTable(title, tuple(rows)) for title, rows in tables.items()]
    return [table for table in found if table.rows]


def plan_tables(run: RunDetail) -> dict[str, Any]:
    """The plan as its tables; none where it is no TOML, as with an imported run."""
    try:
        return tomllib.loads(run.plan)
    except tomllib.TOMLDecodeError:
        return {}


def _plan(run: RunDetail) -> Iterator[tuple[str, str]]:
    yield "run", f"{run.id}, {run.name}"
    yield "started", iso(run.started) or "not yet"
    yield "finished", iso(run.finished) or run.status
    yield "plan", run.plan_file
    yield "plan, SHA-256", run.plan_hash
    yield "folder", run.plan_folder
    asked = {name: value for name, value in (run.options or {}).items() if value not in (None, {}, [])}
    if asked:
        yield "options", ", ".join(f"{name} {_said(value)}" for name, value in asked.items())
    yield "seed of generation", str(run.seed)
    if not run.imported:
        yield "repeat it", f"assay rerun {run.id}"


def _data(run: RunDetail, plan: dict[str, Any], uses: Sequence[SplitUseRow]) -> Iterator[tuple[str, str]]:
    yield "eval set", run.eval_set_file or "not read yet"
    yield "version of the eval set", run.eval_set or "not read yet"
    summary = run.data_summary or {}
    for key, name in _DATA.items():
        if summary.get(key) is not None:
            yield name, str(summary[key])
    asked = plan.get("data") or {}
    yield "seed of the data", str(asked.get("seed", 0))
    if "sample" in asked:
        yield "sample", str(asked["sample"])
    if excluded := summary.get("excluded"):
        yield "examples that people excluded", f"{len(excluded):,}"
    yield "uses of the test split", _lock(uses)


def _lock(uses: Sequence[SplitUseRow]) -> str:
    tests = [use for use in uses if use.split == "test"]
    if not tests:
        return "0: nobody has looked at it or run on it"
    newest = max(tests, key=lambda use: use.created)
    return f"{len(tests):,}, the last by {newest.user} on {moment(newest.created)} UTC ({newest.reason})"


def _model(model: ModelRow, environment: dict[str, Any]) -> str:
    details = model.details or {}
    facts = [model.kind, f"fingerprint {model.fingerprint or 'not known'}"]
    facts += [f"{name} {_said(details[name])}" for name in _FACTS if details.get(name) is not None]
    adapter = details.get("adapter")
    if isinstance(adapter, dict):
        facts += [f"adapter {name} {adapter[name]}" for name in _ADAPTER if adapter.get(name) is not None]
    config = (environment.get("training_configs") or {}).get(model.name)
    facts += [f"training config {_said(config)}"] if config else []
    return "; ".join([*facts, *(f"{name} {value}" for name, value in model_costs(model))])


def _judge(judge: JudgeRow) -> str:
    facts = [judge_name(judge.name, judge.is_language_model), judge.kind, f"prompt {judge.prompt_hash}"]
    if judge.reported_models:
        facts.append(f"answered as {judge.reported_models}")
    details = {k: v for k, v in (judge.details or {}).items() if k not in ("kind", "prompt_hash")}
    return "; ".join([*facts, *(f"{name} {value}" for name, value in _flat(details))])


def _benchmarks(rows: Sequence[BenchmarkRow]) -> Iterator[tuple[str, str]]:
    seen = set()
    for row in rows:
        key = f"{row.task} · {row.metric}" + ("" if row.filter == "none" else f" ({row.filter})")
        if key not in seen:
            seen.add(key)
            shots = "the task's default" if row.shots is None else str(row.shots)
            yield key, f"version {row.version}; shots {shots}; questions {row.n}"


def _libraries(environment: dict[str, Any]) -> Iterator[tuple[str, str]]:
    known = {"devices", "training_configs", "libraries", "files", *_MACHINE}
    yield from ((name, str(version)) for name, version in (environment.get("libraries") or {}).items())
    yield from _flat({name: value for name, value in environment.items() if name not in known})


def _flat(table: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        if value not in (None, "", [], {}):
            yield name, _said(value)


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_said(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_said, value))
    return str(value)
