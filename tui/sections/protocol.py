"""The facts needed to repeat a run, in sections of names and values, and whether a rerun got its numbers."""

import math
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from engine.decision.facts import model_costs
from engine.decision.families import family_of
from store.read import history
from store.read.history import Connection
from store.read.judging import JudgeUse, judging
from store.read.rows import BenchmarkRow, ModelRow
from store.records import Run, SplitUse, StoredMetric
from tui.sections.measures import declared
from tui.sections.overview import judge_name
from tui.text.output import iso, moment, number

EXACT = 1e-9  # relative: what the order of a sum may change
TOLD = 5  # differences that are named
RERUN_OF = "rerun_of"

Key = tuple[str, ...]
Value = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Repetition:
    """`same` numbers are equal in both runs; `differences` name the others. Times are left out."""

    of: int
    same: int
    differences: tuple[str, ...]

    @property
    def said(self) -> str:
        total = self.same + len(self.differences)
        if not self.differences:
            return f"rerun of run {self.of}: all {total:,} numbers are the same (times are left out)"
        more = len(self.differences) - TOLD
        named = "; ".join(self.differences[:TOLD]) + (f"; and {more:,} more" if more > 0 else "")
        return f"rerun of run {self.of}: {len(self.differences):,} of {total:,} numbers differ: {named}"


def repetition(connection: Connection, run: Run) -> Repetition | None:
    """A finished rerun compared with the run that it repeats; None for a run that is no rerun.

    Raises StoreError when the previous run is gone from the store.
    """
    earlier = (run.options or {}).get(RERUN_OF)
    if earlier is None or run.status != "finished":
        return None
    before, after = dict(_numbers(connection, int(earlier))), dict(_numbers(connection, run.id))
    keys = list(dict.fromkeys((*before, *after)))
    differing = [key for key in keys if not _alike(before.get(key), after.get(key))]
    told = tuple(f"{' '.join(key)} {_said(before.get(key))} → {_said(after.get(key))}" for key in differing)
    return Repetition(int(earlier), len(keys) - len(differing), told)


def _numbers(connection: Connection, run_id: int) -> Iterator[tuple[Key, Value]]:
    """Scores, win rates and benchmarks, each with how many examples it rests on."""
    sources = {row.measure: row.source for row in history.metrics(connection, run_id)}
    for score in history.model_scores(connection, run_id):
        if family_of(score.measure, sources.get(score.measure, "")) != "efficiency":
            yield (score.model, score.measure), (score.value, score.n, score.missing)
    for row in judging(connection, run_id).win_rates:
        key = (row.judge, row.candidate, row.baseline, f"turn {row.turn}", "win rate")
        yield key, (row.win_rate, row.wins, row.losses, row.ties, row.failed)
    for task in history.benchmarks(connection, run_id):
        yield (task.model, task.task, task.metric, task.filter), (task.value, task.n)


def _alike(before: Value | None, after: Value | None) -> bool:
    if before is None or after is None or len(before) != len(after):
        return False
    return all(
        first == second
        if first is None or second is None
        else math.isclose(first, second, rel_tol=EXACT, abs_tol=EXACT)
        for first, second in zip(before, after, strict=True)
    )


def _said(value: Value | None) -> str:
    return "absent" if value is None else number(value[0])


_FACTS = (
    "path", "server", "model", "outputs", "run", "commit", "architecture", "parameters", "quantisation",
    "dtype", "attention", "engine", "device", "device_map", "vocabulary", "tokens", "tokenizer",
    "tokenization", "template", "chat_template_kwargs", "batching", "system",
)  # fmt: skip
_ADAPTER = (
    "path", "commit", "hash", "peft_type", "r", "lora_alpha", "use_dora", "use_rslora", "own_tokenizer",
)  # fmt: skip
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
    run: Run,
    models: Sequence[ModelRow],
    judges: Sequence[JudgeUse],
    metrics: Sequence[StoredMetric],
    benchmarks: Sequence[BenchmarkRow],
    uses: Sequence[SplitUse],
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
        "machine": ((name, _protocol_said(environment[name])) for name in _MACHINE if environment.get(name)),
        "files": ((file, f"SHA-256 {known}") for file, known in (environment.get("files") or {}).items()),
        "libraries": _libraries(environment),
    }
    found = [ProtocolTable(title, tuple(rows)) for title, rows in tables.items()]
    return [table for table in found if table.rows]


def plan_tables(run: Run) -> dict[str, Any]:
    """The plan as its tables; none where it is no TOML, as with an imported run."""
    try:
        return tomllib.loads(run.plan)
    except tomllib.TOMLDecodeError:
        return {}


def _plan(run: Run) -> Iterator[tuple[str, str]]:
    yield "run", f"{run.id}, {run.name}"
    yield "started", iso(run.started) or "not yet"
    yield "finished", iso(run.finished) or run.status
    yield "plan", run.plan_file
    yield "plan, SHA-256", run.plan_hash
    yield "folder", run.plan_folder
    asked = {name: value for name, value in (run.options or {}).items() if value not in (None, {}, [])}
    if asked:
        yield "options", ", ".join(f"{name} {_protocol_said(value)}" for name, value in asked.items())
    yield "seed of generation", str(run.seed)
    if not run.imported:
        yield "repeat it", f"assay rerun {run.id}"


def _data(run: Run, plan: dict[str, Any], uses: Sequence[SplitUse]) -> Iterator[tuple[str, str]]:
    yield "eval set", run.eval_set_file or run.no_data
    yield "version of the eval set", run.eval_set or run.no_data
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


def _lock(uses: Sequence[SplitUse]) -> str:
    tests = [use for use in uses if use.split == "test"]
    if not tests:
        return "0: nobody has looked at it or run on it"
    newest = max(tests, key=lambda use: use.created)
    return f"{len(tests):,}, the last by {newest.user} on {moment(newest.created)} UTC ({newest.reason})"


def _model(model: ModelRow, environment: dict[str, Any]) -> str:
    details = model.details or {}
    facts = [model.kind, f"fingerprint {model.fingerprint or 'not known'}"]
    facts += [f"{name} {_protocol_said(details[name])}" for name in _FACTS if details.get(name) is not None]
    adapter = details.get("adapter")
    if isinstance(adapter, dict):
        facts += [f"adapter {name} {adapter[name]}" for name in _ADAPTER if adapter.get(name) is not None]
    config = (environment.get("training_configs") or {}).get(model.name)
    facts += [f"training config {_protocol_said(config)}"] if config else []
    return "; ".join([*facts, *(f"{name} {value}" for name, value in model_costs(model))])


def _judge(judge: JudgeUse) -> str:
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
            yield name, _protocol_said(value)


def _protocol_said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_protocol_said(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_protocol_said, value))
    return str(value)
