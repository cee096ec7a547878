"""Results to share: the Hub's evaluation results, a model card's index, and records of Every Eval Ever.

The Hub keeps benchmarks' results in `.eval_results/*.yaml` of a model's repository, and others in the
`model-index` of its card. Every Eval Ever (0.3.0) has one JSON file for each model, with intervals, and JSON
lines of what it said to single examples. What has no value is in none of them.
"""

import hashlib
import json
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from engine.data.textfile import Parts, writing
from engine.errors import BadInput
from engine.formats.export import file_name
from engine.plan.paths import HUB_ID
from store.read import history
from store.read.history import Connection
from store.read.queues import is_right, is_verdict, signs
from store.read.rows import BenchmarkRow, ModelRow
from store.records import Run, StoredMetric
from store.transfer.export import records

HUB_RESULTS = "hf-eval-results"
VERSION = "0.3.0"  # of Every Eval Ever's schema
_SHARES = {"acc", "acc_norm", "exact_match", "em", "f1"}  # of most benchmarks; SQuAD 2.0 has percents


class Leaderboard(NamedTuple):
    """A benchmark that has a leaderboard on the Hub, and what lm-eval must have done to belong there."""

    data_set: str
    task_id: str  # in the data set's eval.yaml
    metric: str
    filters: tuple[str, ...]  # the first that was used counts
    questions: int


_GPQA = ("zeroshot", "n_shot", "cot_zeroshot", "cot_n_shot", "generative_n_shot")
_FILTERS = ("strict-match", "flexible-extract", "none")
LEADERBOARDS = {
    "gsm8k": Leaderboard("openai/gsm8k", "gsm8k", "exact_match", _FILTERS, 1_319),
    "gsm8k_cot": Leaderboard("openai/gsm8k", "gsm8k", "exact_match", _FILTERS, 1_319),
    "mmlu_pro": Leaderboard("TIGER-Lab/MMLU-Pro", "mmlu_pro", "exact_match", ("custom-extract",), 12_032),
} | {
    f"gpqa_diamond_{kind}": Leaderboard(
        "Idavidrein/gpqa", "diamond", metric, ("strict-match", "flexible-extract", "none"), 198
    )
    for kind in _GPQA
    for metric in ("acc" if kind in ("zeroshot", "n_shot") else "exact_match",)
}


class SharedFiles(NamedTuple):
    """The files that were written, and what was left out and why."""

    files: list[Path]
    left_out: list[str]


def share(kind: str, connection: Connection, run_id: int, folder: Path) -> SharedFiles:
    """Writes a run for the Hub or for Every Eval Ever into a folder.

    Raises BadInput for a run that has nothing of that kind, and a folder that cannot be written.
    """
    run, models = history.run(connection, run_id), history.models(connection, run_id)
    found = SharedFiles([], [])
    with writing(folder) as parts:
        for model in (model for model in models if model.role != "earlier" and not model.is_cut):
            SHARING[kind](connection, run, model, _Files(parts, folder, found))
    if not found.files:
        boards = f"it is about all questions of {', '.join(LEADERBOARDS)}" if kind == HUB_RESULTS else ""
        raise BadInput(f"run {run_id} has nothing for {kind}", "\n  ".join([*found.left_out, boards]).strip())
    return found


class _Files(NamedTuple):
    parts: Parts
    folder: Path
    found: SharedFiles

    def open(self, *place: str) -> Any:
        path = self.folder.joinpath(*place)
        self.found.files.append(path)
        return self.parts.open(path)


def _day(run: Run) -> str:
    return datetime.fromtimestamp(run.finished or run.created, UTC).date().isoformat()


def _eval_results(connection: Connection, run: Run, model: ModelRow, files: _Files) -> None:
    """Benchmarks with a leaderboard, all of whose questions were asked, in percent, as leaderboards are."""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    entries: dict[tuple[str, str], EvalResultEntry] = {}
    for row in _best(history.benchmarks(connection, run.id)):
        board = LEADERBOARDS.get(row.task)
        if row.model != model.name or (board is not None and row.metric != board.metric):
            continue
        if wrong := _unfit(row, board):
            files.found.left_out.append(f"{model.name}, {row.task} {row.metric}: {wrong}")
            continue
        assert board is not None and row.value is not None
        shots = "" if row.shots is None else f"{row.shots}-shot, "
        notes = f"{shots}{row.metric} ({row.filter}) of lm-eval's {row.task}, version {row.version}"
        entries.setdefault(
            (board.data_set, board.task_id),
            EvalResultEntry(board.data_set, board.task_id, 100 * row.value, date=_day(run), notes=notes),
        )
    if entries:
        with_values = eval_result_entries_to_yaml(list(entries.values()))
        text = yaml.safe_dump(with_values, sort_keys=False, allow_unicode=True)
        files.open(file_name(model.name), ".eval_results", "assay.yaml").write(text)


def _best(rows: Sequence[BenchmarkRow]) -> list[BenchmarkRow]:
    """Those of one task by the order of the filters that a leaderboard prefers."""

    def place(row: BenchmarkRow) -> int:
        filters = LEADERBOARDS[row.task].filters if row.task in LEADERBOARDS else ()
        return filters.index(row.filter) if row.filter in filters else len(filters)

    return sorted(rows, key=place)


def _unfit(row: BenchmarkRow, board: Leaderboard | None) -> str | None:
    if board is None:
        return "its data set has no leaderboard on the Hub that is known here"
    if row.filter not in board.filters:
        return f"its filter {row.filter} is not one that the leaderboard is about"
    if row.value is None or not math.isfinite(row.value):
        return row.reason or "it has no value"
    if row.n != board.questions:
        return f"{row.n:,} of {board.questions:,} questions were asked; the leaderboard is about all"
    return None


class _Result(NamedTuple):
    """A measure of one model, over the eval set or a benchmark."""

    measure: str
    data: str
    value: float
    low: float | None
    high: float | None
    stderr: float | None
    n: int
    direction: str
    bounds: tuple[float | None, float | None] | None  # of its range; None where that is not known
    unit: str
    meaning: str
    details: Mapping[str, str]

    @property
    def interval(self) -> tuple[float, float] | None:
        if (
            self.low is None
            or self.high is None
            or not (math.isfinite(self.low) and math.isfinite(self.high))
        ):
            return None
        return self.low, self.high


def _results(connection: Connection, run: Run, model: ModelRow, left_out: list[str]) -> Iterator[_Result]:
    """Everything with a value; what has none is told with its reason."""
    declared = {row.measure: row for row in history.metrics(connection, run.id)}
    data = _data(run)
    for score in history.model_scores(connection, run.id):
        known = declared.get(score.measure)
        if score.model == model.name and _has_value(
            model, score.measure, score.value, score.reason, left_out
        ):
            yield _Result(
                score.measure, data, score.value or 0.0, score.low, score.high, None, score.n,
                known.direction if known else "none", (known.low, known.high) if known else None,
                known.unit if known else "", known.meaning if known else "",
                {"version": known.version, "source": known.source} if known else {},
            )  # fmt: skip
    for rate in history.win_rates(connection, run.id):
        name = f"win rate over {rate.baseline} by {rate.judge}"
        if rate.candidate == model.name and _has_value(model, name, rate.win_rate, rate.reason, left_out):
            counts = {"wins": rate.wins, "losses": rate.losses, "ties": rate.ties, "failed": rate.failed}
            details = {"judge": rate.judge, "baseline": rate.baseline}
            yield _Result(
                name, data, rate.win_rate or 0.0, rate.low, rate.high, None,
                rate.wins + rate.losses + rate.ties, "higher", (0.0, 1.0), "proportion",
                "the share of wins, a tie being half", details | {key: str(n) for key, n in counts.items()},
            )  # fmt: skip
    for task in history.benchmarks(connection, run.id):
        name = f"{task.metric} ({task.filter})" if task.filter != "none" else task.metric
        said = f"{task.task} {name}"
        if task.model == model.name and _has_value(model, said, task.value, task.reason, left_out):
            details = {"harness": "lm-eval", "version": task.version}
            yield _Result(
                name, task.task, task.value or 0.0, None, None, task.stderr, task.n,
                "higher" if task.higher_is_better else "lower",
                (0.0, 1.0) if task.metric in _SHARES and 0 <= (task.value or 0.0) <= 1 else None, "",
                f"lm-eval's {name} on {task.task}",
                details if task.shots is None else details | {"shots": str(task.shots)},
            )  # fmt: skip


def _has_value(
    model: ModelRow, name: str, value: float | None, reason: str | None, left_out: list[str]
) -> bool:
    if value is not None and math.isfinite(value):
        return True
    left_out.append(f"{model.name}, {name}: {reason or 'not a finite number'}")
    return False


def _data(run: Run) -> str:
    return Path(run.eval_set_file).name if run.eval_set_file else run.name


def _model_index(connection: Connection, run: Run, model: ModelRow, files: _Files) -> None:
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=file_name(item.data),
            dataset_name=item.data,
            dataset_args={"version": run.eval_set} if run.eval_set and item.data == _data(run) else None,
            metric_type=item.measure,
            metric_value=item.value,
            metric_name=_with_interval(item),
        )
        for item in _results(connection, run, model, files.found.left_out)
    ]
    if results:
        card = ModelCardData(model_name=model.name, eval_results=results)
        files.open(file_name(model.name), "model-index.yaml").write(card.to_yaml() + "\n")


def _with_interval(item: _Result) -> str:
    parts = [f"95% CI {item.low:.4g} to {item.high:.4g}"] if item.interval else []
    parts += [] if item.stderr is None else [f"standard error {item.stderr:.4g}"]
    return f"{item.measure} ({', '.join([*parts, f'n = {item.n:,}'])})"


def _every_eval_ever(connection: Connection, run: Run, model: ModelRow, files: _Files) -> None:
    missing: list[str] = []
    results = list(_results(connection, run, model, missing))
    files.found.left_out.extend(missing)
    if not results:
        return
    model_id = _model_id(model)
    developer, _, short = model_id.partition("/")
    ended, collection = str(int(run.finished or run.created)), file_name(run.name)
    # A model of the Hub may stand in a run twice, as with two prompts.
    evaluation = f"{collection}.{file_name(model.name)}/{model_id}/{ended}"
    key = hashlib.sha256(f"{evaluation} {run.plan_hash} {run.created!r}".encode()).digest()
    name = str(uuid.UUID(bytes=key[:16], version=4))
    place = ("data", collection, file_name(developer), file_name(short))
    about = {"plan_sha256": run.plan_hash} | ({"without_a_value": "; ".join(missing)} if missing else {})
    record: dict[str, Any] = {
        "schema_version": VERSION,
        "evaluation_id": evaluation,
        "evaluation_timestamp": ended,
        "retrieved_timestamp": ended,
        "source_metadata": {
            "source_name": "Assay",
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "other",
            "additional_details": about,
        },
        "eval_library": {"name": "assay", "version": _libraries(run).get("assay", "unknown")},
        "model_info": {
            "name": model.name,
            "id": model_id,
            "additional_details": {
                "deployment_type": "self_deployed" if model.kind == "local" else "unknown",
                "model_availability": "unknown",
                "role": model.role,
                "fingerprint": model.fingerprint or "unknown",
            },
        },
        "evaluation_results": [_evaluation(run, item) for item in results],
    }  # fmt: skip
    if model.kind == "local" and (version := _libraries(run).get("transformers")):
        record["model_info"]["inference_engine"] = {"name": "transformers", "version": version}
    lines = _samples(connection, run, model, {item.measure for item in results if item.data == _data(run)})
    common = {"schema_version": VERSION, "evaluation_id": evaluation, "model_id": model_id}
    checksum, rows = hashlib.sha256(), 0
    for line in lines:
        if not rows:
            file = files.open(*place, f"{name}_samples.jsonl")
        text = json.dumps({**common, **line}, allow_nan=False) + "\n"
        file.write(text)
        checksum.update(text.encode())
        rows += 1
    if rows:
        record["detailed_evaluation_results"] = {
            "format": "jsonl",
            "file_path": "/".join((*place, f"{name}_samples.jsonl")),
            "hash_algorithm": "sha256",
            "checksum": checksum.hexdigest(),
            "total_rows": rows,
        }
    files.open(*place, f"{name}.json").write(json.dumps(record, indent=2, allow_nan=False) + "\n")


def _libraries(run: Run) -> Mapping[str, str]:
    found: Mapping[str, str] = (run.environment or {}).get("libraries") or {}
    return found


def _model_id(model: ModelRow) -> str:
    """The id on the Hub, where the model is what lies there, else one that no model has there."""
    details = model.details or {}
    path = str(details.get("path") or "")
    is_hub = HUB_ID.fullmatch(path) and path.count("/") == 1 and not details.get("adapter")
    return path if is_hub else f"local/{file_name(model.name)}"


def _result_id(measure: str, data: str) -> str:
    return f"{data}/{measure}"


def _evaluation(run: Run, item: _Result) -> dict[str, Any]:
    details = {**item.details, **({"direction": "none"} if item.direction == "none" else {})}
    metric: dict[str, Any] = {
        "evaluation_description": item.meaning,
        "metric_id": item.measure,
        "metric_name": item.measure,
        "lower_is_better": item.direction == "lower",
        "additional_details": details,
    }
    if item.unit:
        metric["metric_unit"] = item.unit
    if item.bounds is not None:
        low, high = item.bounds
        metric |= {
            "score_type": "continuous",
            "min_score": "-Infinity" if low is None else low,
            "max_score": "Infinity" if high is None else high,
        }
    uncertainty: dict[str, Any] = {"num_samples": item.n} if item.n else {}
    if item.interval is not None:
        low, high = item.interval
        uncertainty["confidence_interval"] = {"lower": low, "upper": high, "confidence_level": 0.95}
    if item.stderr is not None and math.isfinite(item.stderr):
        uncertainty["standard_error"] = {"value": item.stderr}
    source = {"dataset_name": item.data, "source_type": "other"}
    version = (
        {"additional_details": {"version": run.eval_set}} if run.eval_set and item.data == _data(run) else {}
    )
    return {
        "evaluation_result_id": _result_id(item.measure, item.data),
        "evaluation_name": item.data,
        "source_data": source | version,
        "metric_config": metric,
        "score_details": {"score": item.value, **({"uncertainty": uncertainty} if uncertainty else {})},
    }


def _samples(
    connection: Connection, run: Run, model: ModelRow, measures: set[str]
) -> Iterator[dict[str, Any]]:
    """One line for each example and measure that says right or wrong; the format has no place for others."""
    metrics = history.metrics(connection, run.id)
    own = [row for row in metrics if row.measure in measures and _says_right(connection, row, model)]
    if not own:
        return
    examples = {row["example"]: row for row in records(connection, run.id, "examples")}
    answers = {
        row["example"]: row for row in records(connection, run.id, "responses") if row["model"] == model.name
    }
    ends = {row.measure: signs(row.measure, metrics) for row in own}
    for score in records(connection, run.id, "scores"):
        end, answer = ends.get(score["measure"]), answers.get(score["example"])
        if score["model"] != model.name or end is None or score["value"] is None or answer is None:
            continue
        if answer["text"] is None or end["middle"] is None:
            continue
        right = is_right(score["value"], end["sign"], end["middle"])
        yield {
            "evaluation_name": _data(run),
            "evaluation_result_id": _result_id(score["measure"], _data(run)),
            **_asked(examples[score["example"]], answer),
            "answer_attribution": [],
            "evaluation": {
                "score": score["value"],
                "is_correct": right,
                "num_turns": len(answer["turns"] or [0]),
            },
            **_spent(answer),
        }


def _says_right(connection: Connection, metric: StoredMetric, model: ModelRow) -> bool:
    return metric.direction != "none" and is_verdict(connection, metric.measure, model.id, model.id)


def _asked(example: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    references = [str(text) for text in example["references"] or ()]
    hashed = json.dumps({"raw": example["query"], "reference": references}, sort_keys=True)
    found = {
        "sample_id": example["example"],
        "sample_hash": hashlib.sha256(hashed.encode()).hexdigest(),
        "input": {"raw": example["query"], "reference": references},
    }
    if len(answer["turns"] or ()) < 2:
        output = {"raw": [answer["text"]]} | (
            {"reasoning_trace": [answer["thinking"]]} if answer["thinking"] else {}
        )
        return found | {"interaction_type": "single_turn", "output": output, "messages": None}
    questions = (example["extra"] or {}).get("turns") or [example["query"]]
    said = [
        (role, text)
        for question, reply in zip(questions, answer["turns"], strict=False)
        for role, text in (("user", question), ("assistant", reply))
    ]
    messages = [{"turn_idx": at, "role": role, "content": text} for at, (role, text) in enumerate(said)]
    return found | {"interaction_type": "multi_turn", "output": None, "messages": messages}


def _spent(answer: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    given, made = answer["tokens_in"], answer["tokens_out"]
    if given is not None and made is not None:
        found["token_usage"] = {"input_tokens": given, "output_tokens": made, "total_tokens": given + made}
    if answer["latency_s"] is not None:
        found["performance"] = {"latency_ms": 1_000 * answer["latency_s"]}
    return found


SHARING = {
    HUB_RESULTS: _eval_results,
    "model-index": _model_index,
    "every-eval-ever": _every_eval_ever,
}
