"""A run's benchmarks as lm-evaluation-harness 0.4 writes them: a folder of results and samples a model."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from engine.benchmarks.results import GROUPS
from engine.errors import BadInput
from engine.formats.records import write_lines
from store.read import benchmarks, history
from store.read.benchmarks import SampleRow
from store.read.history import Connection
from store.read.rows import BenchmarkRow, ModelRow

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
    try:
        for model in history.models(connection, run_id):
            own = [score for score in scores if score.model == model.name]
            samples = benchmarks.samples(connection, model.id) if own else []
            place = folder / (_UNSAFE.sub("__", model.name) or "model")
            if own:
                written.append(place / f"results_{stamp}.json")
                place.mkdir(parents=True, exist_ok=True)
                written[-1].write_text(json.dumps(_results(model, own, date), indent=2), encoding="utf-8")
            for task, rows in groupby(samples, key=lambda row: row.task):
                written.append(place / f"samples_{_UNSAFE.sub('__', task)}_{stamp}.jsonl")
                write_lines(written[-1], _lines(list(rows)))
    except OSError as error:
        raise BadInput(f"{folder} cannot be written: {error.strerror}", "choose another folder") from error
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


def _lines(rows: Sequence[SampleRow]) -> Iterator[dict[str, Any]]:
    """A line for each filter and document, filter by filter as lm-eval has them."""
    for _, found in groupby(rows, key=lambda row: (row.filter, row.doc_id)):
        same = list(found)
        row = asdict(same[0])
        yield {
            "doc_id": row["doc_id"],
            "doc": {"question": row["question"]},
            "target": row["target"],
            "arguments": {"gen_args_0": {"arg_0": row["question"]}},
            "resps": [[row["answer"]]],
            "filtered_resps": [row["answer"]],
            "filter": row["filter"],
            "metrics": [item.metric for item in same],
            **{key: row[key] for key in ("doc_hash", "prompt_hash", "target_hash")},
            **{item.metric: item.value for item in same},
        }
