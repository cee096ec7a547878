"""Results and samples of lm-evaluation-harness: read, written into the store as runs, and exported.

From 0.4 on `results` has "acc,none" and "acc_stderr,none" (metric, filter); before it was "acc" and
"acc_stderr", without filters, groups, counts or directions. A folder may hold one model's files, or a results
root with a folder for each model. Several files of one model are merged, the newest wins. Samples are in
`samples_<task>_<date>.jsonl` beside the results.
"""

import json
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from engine.benchmarks.results import (
    BenchmarkSample,
    BenchmarkScore,
    arguments,
    asked_as,
    hash_of_lines,
    hash_text,
    leaves,
    members_of,
    number,
    samples_of,
    scores_of,
)
from engine.compare.benchmarks import BenchmarkQuestion, Key, Measured, compare_scores, group_samples
from engine.compare.comparison import Comparison, stored
from engine.data.textfile import read_text, writing
from engine.errors import BadInput
from engine.formats.records import FileRecord, rows, write_lines
from engine.gates.checks import all_passed, passed, unmeasured_alerts
from engine.gates.measures import drop_alerts, evaluated, ruled
from engine.metrics.calibration import NAME as CALIBRATION
from engine.phases.scoring.calibration import CalibrationResult, TaskLog, add_tasks
from engine.phases.work import declared
from engine.plan.paths import says_little
from engine.plan.plan import Gates
from store import records
from store.read import history, runs
from store.read.history import Connection
from store.read.rows import GROUPS, BenchmarkRow, ModelRow
from store.write import Transaction

_HASHES = ("doc_hash", "prompt_hash", "target_hash")


@dataclass(frozen=True, slots=True)
class SampleLines:
    """A task's samples, and lm-eval's hash of all of them."""

    samples: list[BenchmarkSample]
    task_hash: str


def read_samples(folder: Path, stamp: str | None, found: Mapping[str, Any]) -> dict[str, SampleLines]:
    """The samples of every task in a results file that has some; `stamp` is the date in its name.

    Raises BadInput naming file, line and key.
    """
    read = {}
    for task, values in found["results"].items():
        file = _file_of(folder, task, stamp)
        if file is not None:
            lines = [_completed(row, values) for row in rows(file)]
            try:
                read[task] = SampleLines(list(samples_of(task, lines)), hash_of_lines(lines))
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                raise BadInput(
                    f"{file}: are not lm-eval's samples: {error}", "Leave out --samples."
                ) from error
    return read


def _file_of(folder: Path, task: str, stamp: str | None) -> Path | None:
    if stamp is not None:
        names = [f"samples_{task}_{stamp}.jsonl"]
    else:
        dated = sorted(folder.glob(f"samples_{task}_[0-9][0-9][0-9][0-9]-*.jsonl*"), reverse=True)
        names = [*(file.name.removesuffix(".gz") for file in dated), f"samples_{task}.jsonl"]
    files = (folder / f"{name}{packed}" for name in names for packed in ("", ".gz"))
    return next((file for file in files if file.is_file()), None)


def _completed(row: FileRecord, scores: Mapping[str, Any]) -> dict[str, Any]:
    """A line with what lines of older versions lack: the filter, the metrics' names, the hashes."""
    row.whole("doc_id")
    for key in ("arguments", "filtered_resps"):
        if not isinstance(row.values.get(key), list | dict):
            raise row.wrong(key, "is missing: is this a samples file of lm-eval?")
    line = {"filter": "none", "target": "", **row.values}
    named = {key.partition(",")[0] for key in scores}
    line.setdefault("metrics", [key for key in row.values if key in named])
    asked = arguments(line)
    if not asked or not asked[0]:
        raise row.wrong("arguments", "is empty")
    if not all(isinstance(line.get(key), str) for key in _HASHES):
        content = (line.get("doc"), asked[0][0], str(line["target"]))
        line |= dict(zip(_HASHES, map(hash_text, content), strict=True))
    return line


Found = dict[str, Any]
Slot = tuple[str, str, str]  # task, metric, filter

_STAMP = re.compile(r"_(\d{4}-\d\d-\d\dT[\d.:-]+)$")
# Names under which lm-eval before 0.4 had what is better when it is small.
_LOWER = re.compile(r"(.*_)?(perplexity|ppl|bits_per_byte|brier_score|wer|ter|loss|mae|mse)")
# Right or wrong, question by question: their standard error tells how many questions there were.
_SHARES = {"acc", "acc_norm", "exact_match", "em"}
_FACTS = (
    "lm_eval_version", "transformers_version", "git_hash", "date", "model_source", "system_instruction",
    "chat_template_sha", "fewshot_as_multiturn",
)  # fmt: skip
_NOT_LM_EVAL = "Name a results_*.json that lm-eval wrote, or the folder that it wrote it into."


@dataclass(slots=True)
class BenchmarkedModel:
    """One model's scores from all files that name it; `notes` are for people."""

    name: str
    file: Path
    date: float
    facts: dict[str, Any]
    scores: dict[Slot, BenchmarkScore] = field(default_factory=dict)
    samples: dict[str, list[BenchmarkSample]] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_lm_eval(path: Path, with_samples: bool) -> list[BenchmarkedModel]:
    """The models in a results file or in a folder of them. Raises BadInput naming file and key."""
    models: dict[EvaluatedModel, BenchmarkedModel] = {}
    read = [(_date(found, file), file, found) for file, found in _files(path)]
    identities = {file: _identity(found, file) for _, file, found in read}
    names = _names(list(identities.values()))
    for date, file, found in sorted(read, key=lambda entry: (entry[0], entry[1])):
        own = identities[file]
        facts = {key: found[key] for key in _FACTS if found.get(key) is not None}
        facts |= {"config": _without_keys(_table(found, "config"))}
        if own in models and not own.arguments:
            _refuse_clash(models[own], file, found)
        model = models.setdefault(own, BenchmarkedModel(names[own], file, date, facts))
        _add(model, file, found, with_samples)
        model.date, model.facts = date, facts
    if with_samples and not any(model.samples for model in models.values()):
        raise BadInput(
            f"{path}: there are no samples_*.jsonl of these results",
            "Leave out --samples, or run lm-eval with --log_samples.",
        )
    return list(models.values())


def _files(path: Path) -> Iterator[tuple[Path, Found]]:
    if not path.is_dir():
        yield path, _read(path)
        return
    named = sorted([*path.rglob("results*.json"), *path.rglob("results*.json.gz")])
    for file in named:
        yield file, _read(file)
    # `--output_path NAME.json` writes NAME_<date>.json.
    rest = [] if named else sorted([*path.rglob("*.json"), *path.rglob("*.json.gz")])
    others = [(file, found) for file in rest if "results" in (found := _json(file))]
    for file, found in others:
        _hold(file, found)
        yield file, found
    if not named and not others:
        raise BadInput(f"{path}: has no results file of lm-eval", _NOT_LM_EVAL)


def _read(file: Path) -> Found:
    found = _json(file)
    _hold(file, found)
    return found


def _json(file: Path) -> Found:
    if file.suffix == ".jsonl":
        raise BadInput(f"{file}: holds lines, not results", _NOT_LM_EVAL + " --samples reads the lines too.")
    text = read_text(file)
    try:
        found = json.loads(text, strict=False)
        json.dumps(found, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
        said = "ends in the middle" if cut else f"is not JSON: {error.msg}"
        hint = "The file was cut off: copy it again." if cut else _NOT_LM_EVAL
        raise BadInput(f"{file}:{error.lineno}: {said}", hint) from error
    except (RecursionError, UnicodeEncodeError) as error:
        raise BadInput(f"{file}: is not a results file of lm-eval", _NOT_LM_EVAL) from error
    return found if isinstance(found, dict) else {}


def _hold(file: Path, found: Found) -> None:
    """Refuses what is not shaped as lm-eval's results are."""
    results = found.get("results")
    if not isinstance(results, dict):
        raise BadInput(f'{file}: is not a results file of lm-eval: it has no table "results"', _NOT_LM_EVAL)
    for task, values in results.items():
        if not isinstance(values, dict):
            raise BadInput(f"{file}: results.{task}: found {values!r:.60}, expected a table of metrics")
    if not any(isinstance(value, int | float) for values in results.values() for value in values.values()):
        raise BadInput(f"{file}: holds no scores", _NOT_LM_EVAL)
    for key in ("groups", "group_subtasks", "configs", "versions", "n-shot", "higher_is_better", "n-samples"):
        if not isinstance(found.get(key) or {}, dict):
            raise BadInput(f"{file}: {key}: found {found[key]!r:.60}, expected a table")


def _add(model: BenchmarkedModel, file: Path, found: Found, with_samples: bool) -> None:
    lines: dict[str, SampleLines] = {}
    if with_samples:
        stamp = _STAMP.search(_stem(file))
        lines = read_samples(file.parent, stamp[1] if stamp else None, found)
    hashes = {task: own.task_hash for task, own in lines.items()}
    hashes |= {task: str(value) for task, value in _table(found, "task_hashes").items()}
    scores = list(scores_of(found, hashes) if _is_new(found) else _old_scores(found))
    again = sorted({score.task for score in scores} & {slot[0] for slot in model.scores})
    if again:
        model.notes.append(f"{', '.join(again)}: in several files; the newest, {file.name}, counts")
    model.scores = {slot: score for slot, score in model.scores.items() if slot[0] not in again}
    model.scores |= {(score.task, score.metric, score.filter): _counted(score, lines) for score in scores}
    members = members_of(found)
    model.groups |= {name: leaves(name, members) for name in members}
    for score in scores:
        model.samples.pop(score.task, None)
    model.samples |= {task: own.samples for task, own in lines.items()}
    single = {score.task for score in scores} - members.keys()
    if with_samples and (without := sorted(single - lines.keys())):
        model.notes.append(f"no samples of {', '.join(without)} beside {file.name}")


def _counted(score: BenchmarkScore, lines: Mapping[str, SampleLines]) -> BenchmarkScore:
    own = lines.get(score.task)
    n = len({sample.doc_id for sample in own.samples}) if own else 0
    return replace(score, n=n) if not score.n and n else score


def _is_new(found: Found) -> bool:
    return any("," in key for values in found["results"].values() for key in values)


def _old_scores(found: Found) -> Iterator[BenchmarkScore]:
    shots = _table(found, "config").get("num_fewshot")
    for task, values in found["results"].items():
        for metric, value in values.items():
            if metric.endswith("_stderr") or isinstance(value, dict | list):
                continue
            shown, error = number(value), number(values.get(f"{metric}_stderr"))
            yield BenchmarkScore(
                task=task,
                metric=metric,
                filter="none",
                value=shown,
                stderr=error,
                n=_questions(metric, shown, error),
                version=str(_table(found, "versions").get(task, "")),
                shots=shots if isinstance(shots, int) else None,
                higher_is_better=_LOWER.fullmatch(metric) is None,
                reason=None if shown is not None else f"the file has {value!r:.40}, which is not a number",
            )


def _questions(metric: str, share: float | None, error: float | None) -> int:
    """n of a share from its standard error, sqrt(p (1 - p) / (n - 1)); 0 where the two don't tell it."""
    if metric not in _SHARES or not share or not error or not 0 < share < 1:
        return 0
    n = round(share * (1 - share) / error**2) + 1
    right = share * n
    return n if abs(right - round(right)) < 1e-6 * n else 0


# Arguments that say how a model was run, and not which it is.
_HOW_RUN = {
    "device", "device_map", "device_map_option", "batch_size", "max_batch_size", "trust_remote_code",
    "parallelize", "tensor_parallel_size", "data_parallel_size", "pipeline_parallel_size", "cache_dir",
    "gpu_memory_utilization", "max_memory_per_gpu", "max_cpu_memory", "offload_folder", "gpus",
    "num_concurrent", "max_retries", "timeout", "base_url", "tokenizer_backend", "tokenized_requests",
    "token", "api_key", "use_fast_tokenizer", "swap_space",
}  # fmt: skip
_SECRET = re.compile(r"(^|[,\s])((?:\w*token|\w*api_key|\w*password|\w*secret)=)[^,\s]*", re.IGNORECASE)


class EvaluatedModel(NamedTuple):
    """Which model a file is of: what it is called there, in full, and the arguments that load it."""

    name: str
    arguments: tuple[tuple[str, str], ...]

    @property
    def short(self) -> str:
        """A hub id has two parts already; of a path the last two say which it is, unless both say little."""
        last = [part for part in re.split(r"[/\\]+", self.name) if part][-2:]
        return self.name if all(map(says_little, last)) else "/".join(last)


def _identity(found: Found, file: Path) -> EvaluatedModel:
    """By its adapter, hub id or path, revision, quantisation, dtype and all else that it was loaded with."""
    config = _table(found, "config")
    given = config.get("model_args") or {}
    if isinstance(given, str):
        given = dict(part.strip().split("=", 1) for part in given.split(",") if "=" in part)
    if not isinstance(given, dict):
        given = {}
    named: Iterable[Any] = (
        given.get("peft"), given.get("delta"), found.get("model_name"), given.get("pretrained"),
        given.get("model"), config.get("model"), file.parent.name,
    )  # fmt: skip
    name = next((str(item).strip() for item in named if item and str(item).strip()), "model")
    arguments = {key: str(value) for key, value in given.items() if key not in _HOW_RUN and value is not None}
    # The content of weights on the hub, where the file tells it.
    arguments |= {key: str(config[key]) for key in ("model_sha", "peft_sha") if config.get(key)}
    if not arguments and found.get("model_name"):
        arguments = {"model_name": str(found["model_name"])}
    return EvaluatedModel(name, tuple(sorted(arguments.items())))


def _names(identities: Iterable[EvaluatedModel]) -> dict[EvaluatedModel, str]:
    """The shortest name that tells each model from the others: a path's end, all of it, what loads it."""
    distinct = list(dict.fromkeys(identities))
    names = {}
    for item in distinct:
        alike = [other for other in distinct if other.short == item.short]
        same = [set(other.arguments) for other in alike if other.name == item.name]
        told = [
            f"{key}={value}" for key, value in item.arguments if not all((key, value) in own for own in same)
        ]
        names[item] = " ".join([item.short if len(alike) == 1 else item.name, *told])
    return names


def _refuse_clash(known: BenchmarkedModel, file: Path, found: Found) -> None:
    """Raises BadInput where two files that name no model hold the same task."""
    if both := sorted({slot[0] for slot in known.scores} & found["results"].keys()):
        which = ", ".join(both[:3])
        raise BadInput(
            f"{known.file} and {file}: both have {which}, and neither says which model it is of",
            "Import them one by one, each with a name: assay import lm-eval FILE --name NAME.",
        )


def _without_keys(config: dict[str, Any]) -> dict[str, Any]:
    """lm-eval writes the arguments as they were given, tokens included."""
    given = config.get("model_args")
    if isinstance(given, str):
        return {**config, "model_args": _SECRET.sub(r"\1\2…", given)}
    if isinstance(given, dict):
        kept = {key: "…" if _SECRET.search(f"{key}=x") else value for key, value in given.items()}
        return {**config, "model_args": kept}
    return config


def _stem(file: Path) -> str:
    return file.name.removesuffix(".gz").removesuffix(".json")


def _date(found: Found, file: Path) -> float:
    """When it was measured, in seconds since the epoch."""
    date = number(found.get("date"))
    if date is not None:
        return date
    stamp = _STAMP.search(_stem(file))
    day, _, clock = stamp[1].partition("T") if stamp else ("", "", "")
    try:
        return datetime.fromisoformat(f"{day}T{clock.replace('-', ':')}").timestamp()
    except ValueError:
        return file.stat().st_mtime


def _table(found: Found, key: str) -> dict[str, Any]:
    table = found.get(key)
    return table if isinstance(table, dict) else {}


def write_run(
    transaction: Transaction, name: str, path: Path, models: Sequence[BenchmarkedModel], baseline: str | None
) -> int:
    """One run with these models, in which all others are compared with the baseline; returns its id."""
    date = max(model.date for model in models)
    row: dict[str, Any] = {
        "name": name,
        "status": "finished",
        "created": date,
        "started": date,
        "finished": date,
        "plan": "",
        "plan_hash": "",
        "plan_folder": str(path.absolute().parent),
        "plan_file": "",
        "options": {"imported": "lm-eval", "baseline": baseline},
        "eval_set_file": str(path),
    }
    run_id = transaction.insert(records.Run(**row))
    ids = {}
    for place, model in enumerate(models):
        role = "baseline" if model.name == baseline else "candidate"
        ids[model.name] = _write_model(transaction, run_id, place, role, model)
    if baseline is not None:
        _compare(transaction, run_id, ids, models, baseline)
    return run_id


def _write_model(
    transaction: Transaction, run_id: int, place: int, role: str, model: BenchmarkedModel
) -> int:
    details = {
        "kind": "recorded",
        "file": str(model.file),
        "notes": [f"read from {model.file.name}", *model.notes],
        "lm_eval": model.facts,
        GROUPS: {group: list(members) for group, members in model.groups.items()},
    }
    model_id = transaction.insert(
        records.StoredModel(
            run_id=run_id, name=model.name, role=role, kind="recorded", position=place, details=details
        )
    )
    transaction.append(
        [records.StoredBenchmarkScore(model_id=model_id, **asdict(score)) for score in model.scores.values()]
    )
    samples = (sample for own in model.samples.values() for sample in own)
    transaction.append(
        [records.StoredBenchmarkSample(model_id=model_id, **asdict(sample)) for sample in samples]
    )
    return model_id


def _compare(
    transaction: Transaction,
    run_id: int,
    ids: Mapping[str, int],
    models: Sequence[BenchmarkedModel],
    baseline: str,
) -> None:
    """Does the work of a run's last phase, with the default gates of a plan."""
    measured = {model.name: _measured(model) for model in models}
    candidates = [model.name for model in models if model.name != baseline]
    comparisons = [
        compare_scores(candidate, baseline, key, ours, measured[baseline][key])
        for candidate in candidates
        for key, ours in measured[candidate].items()
        if key in measured[baseline]
    ]
    trusted = _calibration(models, ids, candidates, baseline)
    # Without a plan nobody asked for their gate: they are a family of their own, which no gate checks.
    others, comparisons = ruled(trusted.comparisons, comparisons, Gates(), {})
    looked_at = evaluated([], comparisons, Gates(), {})
    alerts = [*unmeasured_alerts(candidates, looked_at), *drop_alerts([], comparisons, Gates(), {})]
    transaction.append([records.StoredComparison(**_row(item, ids)) for item in [*comparisons, *others]])
    transaction.append([records.ModelScore(**row) for row in trusted.scores])
    transaction.append([declared(run_id, *item) for item in enumerate(trusted.measures)])
    for name, curves in trusted.curves.items():
        details = transaction.rows(records.StoredModel, id=ids[name])[0].details or {}
        transaction.update(records.StoredModel, ids[name], details=details | {CALIBRATION: curves})
    now = time.time()
    transaction.append([records.StoredAlert(run_id=run_id, created=now, **asdict(alert)) for alert in alerts])
    outcomes = {name: passed(alerts, name) for name in candidates}
    for name, outcome in outcomes.items():
        transaction.update(records.StoredModel, ids[name], passed=outcome)
    transaction.update(records.Run, run_id, passed=all_passed(outcomes.values()))


def _calibration(
    models: Sequence[BenchmarkedModel], ids: Mapping[str, int], candidates: Sequence[str], baseline: str
) -> CalibrationResult:
    """Of the tasks with choices whose samples were read; the members of a group are in the group's."""
    found = CalibrationResult()
    tasks = dict.fromkeys(slot[0] for model in models for slot in model.scores)
    members = {
        name for model in models for group, own in model.groups.items() for name in own if name != group
    }
    logged = {model.name: TaskLog(model.samples, model.groups) for model in models}
    add_tasks(found, ids, [task for task in tasks if task not in members], logged, (candidates, [baseline]))
    return found


def _measured(model: BenchmarkedModel) -> dict[Key, Measured]:
    samples: dict[Key, dict[BenchmarkQuestion, float]] = defaultdict(dict)
    for own in model.samples.values():
        for item in own:
            question = BenchmarkQuestion(item.task, item.doc_id, item.prompt_hash, item.target_hash)
            samples[Key(item.task, item.metric, item.filter)][question] = item.value
    found = {}
    for score in model.scores.values():
        key = Key(score.task, score.metric, score.filter)
        found[key] = Measured(
            value=score.value,
            stderr=score.stderr,
            n=score.n,
            version=score.version,
            shots=score.shots,
            higher_is_better=score.higher_is_better,
            task_hash=score.task_hash,
            samples=group_samples(key, score.value, samples, model.groups),
            asked=asked_as({"lm_eval": model.facts}),
        )
    return found


def _row(comparison: Comparison, ids: Mapping[str, int]) -> dict[str, Any]:
    row = stored(comparison)
    row["candidate_id"] = ids[row.pop("candidate")]
    row["baseline_id"] = ids[row.pop("baseline")]
    return row


_UNSAFE = re.compile(r"[^\w.+-]+")


def export_lm_eval(connection: Connection, run_id: int, folder: Path) -> list[Path]:
    """Writes `<model>/results_<date>.json` and `samples_<task>_<date>.jsonl`; returns the files.

    Raises BadInput for a run without benchmarks and a folder that cannot be written.
    """
    scores = history.benchmarks(connection, run_id)
    if not scores:
        raise BadInput(f"run {run_id} holds no benchmarks to export")
    run = history.run(connection, run_id)
    date = run.finished or run.created
    stamp = datetime.fromtimestamp(date).isoformat().replace(":", "-")
    written = []
    with writing(folder) as parts:
        for model in history.models(connection, run_id):
            own = [score for score in scores if score.model == model.name]
            samples = runs.samples(connection, model.id) if own else []
            place = folder / (_UNSAFE.sub("__", model.name) or "model")
            if own:
                written.append(place / f"results_{stamp}.json")
                parts.open(written[-1]).write(json.dumps(_results(model, own, date), indent=2))
            for task, rows in groupby(samples, key=lambda row: row.task):
                written.append(place / f"samples_{_UNSAFE.sub('__', task)}_{stamp}.jsonl")
                write_lines(parts.open(written[-1]), _lines(list(rows)))
    return written


def _results(model: ModelRow, scores: Sequence[BenchmarkRow], date: float) -> dict[str, Any]:
    details = model.details or {}
    groups = {name: list(members) for name, members in (details.get(GROUPS) or {}).items()}
    by_task = {task: list(rows) for task, rows in groupby(scores, key=lambda row: row.task)}
    results = {task: _metrics(task, rows) for task, rows in by_task.items()}
    first = {task: rows[0] for task, rows in by_task.items()}
    single = {task: row for task, row in first.items() if task not in groups}
    facts = details.get("lm_eval") or {}
    config = facts.get("config") or {
        "model": "hf",
        "model_args": {"pretrained": details.get("path") or model.name},
        "model_dtype": details.get("dtype"),
        "device": details.get("device"),
    }
    return {
        **facts,
        "results": results,
        **({"groups": {name: results[name] for name in groups if name in results}} if groups else {}),
        "group_subtasks": groups,
        "configs": {
            task: {"task": task, "num_fewshot": row.shots, "metadata": {"version": row.version}}
            for task, row in single.items()
        },
        "versions": {task: row.version for task, row in first.items()},
        "n-shot": {task: row.shots for task, row in first.items() if row.shots is not None},
        "higher_is_better": {
            task: {row.metric: bool(row.higher_is_better) for row in rows} for task, rows in by_task.items()
        },
        "n-samples": {task: {"original": row.n, "effective": row.n} for task, row in single.items() if row.n},
        "config": config,
        "date": date,
        "task_hashes": {task: row.task_hash for task, row in single.items() if row.task_hash},
        "model_source": facts.get("model_source", "hf"),
        "model_name": model.name,
        "model_name_sanitized": _UNSAFE.sub("__", model.name),
    }


def _metrics(task: str, rows: Sequence[BenchmarkRow]) -> dict[str, Any]:
    metrics: dict[str, Any] = {"name": task, "alias": task, "sample_len": rows[0].n}
    for row in rows:
        metrics[f"{row.metric},{row.filter}"] = "N/A" if row.value is None else row.value
        metrics[f"{row.metric}_stderr,{row.filter}"] = "N/A" if row.stderr is None else row.stderr
    return metrics


def _lines(rows: Sequence[records.StoredBenchmarkSample]) -> Iterator[dict[str, Any]]:
    """A line for each filter and document, filter by filter as lm-eval has them."""
    for _, found in groupby(rows, key=lambda row: (row.filter, row.doc_id)):
        same = list(found)
        row = asdict(same[0])
        yield {
            "doc_id": row["doc_id"],
            "doc": {"question": row["question"]},
            **_asked_and_answered(same[0]),
            "filter": row["filter"],
            "metrics": [item.metric for item in same],
            **{key: row[key] for key in ("doc_hash", "prompt_hash", "target_hash")},
            **{item.metric: item.value for item in same},
        }


def _asked_and_answered(row: records.StoredBenchmarkSample) -> dict[str, Any]:
    """Target, requests and responses; of choices the store has the likelihoods, and the texts of two."""
    if row.likelihoods is None or row.correct is None:
        return {
            "target": row.target,
            "arguments": {"gen_args_0": {"arg_0": row.question}},
            "resps": [[row.answer]],
            "filtered_resps": [row.answer],
        }
    likeliest = row.likelihoods.index(max(row.likelihoods))
    texts = {place: f"(choice {place})" for place in range(len(row.likelihoods))}
    texts |= {likeliest: row.answer, row.correct: row.target}
    responses = [[likelihood, None] for likelihood in row.likelihoods]
    return {
        "target": str(row.correct),
        "arguments": {
            f"gen_args_{place}": {"arg_0": row.question, "arg_1": text} for place, text in texts.items()
        },
        "resps": [[response] for response in responses],
        "filtered_resps": responses,
    }
