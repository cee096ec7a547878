"""Results files of lm-evaluation-harness, those of 0.4 and those from before.

From 0.4 on `results` has "acc,none" and "acc_stderr,none" (metric, filter); before it was "acc" and
"acc_stderr", without filters, groups, counts or directions. A folder may hold one model's files, or a results
root with a folder for each model. Several files of one model are taken together, the newest where they meet.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from engine.benchmarks.results import BenchmarkSample, BenchmarkScore, leaves, members_of, number, scores_of
from engine.data.textfile import read_text
from engine.errors import BadInput
from engine.formats.lm_eval_samples import Lines, read_samples

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
    """One model's scores in all files that name it; `notes` are for people."""

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
    models: dict[str, BenchmarkedModel] = {}
    read = [(_date(found, file), file, found) for file, found in _files(path)]
    for date, file, found in sorted(read, key=lambda entry: (entry[0], entry[1])):
        name = _model_name(found, file)
        facts = {key: found[key] for key in _FACTS if found.get(key) is not None}
        facts |= {"config": _table(found, "config")}
        model = models.setdefault(name, BenchmarkedModel(name, file, date, facts))
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
    named = sorted(path.rglob("results*.json"))
    for file in named:
        yield file, _read(file)
    # `--output_path NAME.json` writes NAME_<date>.json.
    others = [] if named else [(file, found) for file in sorted(path.rglob("*.json"))
                               if "results" in (found := _json(file))]  # fmt: skip
    for file, found in others:
        _hold(file, found)
        yield file, found
    if not named and not others:
        raise BadInput(f"{path}: holds no results file of lm-eval", _NOT_LM_EVAL)


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
    lines: dict[str, Lines] = {}
    if with_samples:
        stamp = _STAMP.search(file.stem)
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


def _counted(score: BenchmarkScore, lines: Mapping[str, Lines]) -> BenchmarkScore:
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
                reason=None if shown is not None else f"the file has {value!r:.40}, which is no number",
            )


def _questions(metric: str, share: float | None, error: float | None) -> int:
    """n of a share from its standard error, sqrt(p (1 - p) / (n - 1)); 0 where the two don't tell it."""
    if metric not in _SHARES or not share or not error or not 0 < share < 1:
        return 0
    n = round(share * (1 - share) / error**2) + 1
    right = share * n
    return n if abs(right - round(right)) < 1e-6 * n else 0


def _model_name(found: Found, file: Path) -> str:
    """What the model is called there: adapter, hub id, or the end of a path."""
    config = _table(found, "config")
    given = config.get("model_args") or {}
    if isinstance(given, str):
        given = dict(part.split("=", 1) for part in given.split(",") if "=" in part)
    named: Iterable[Any] = (
        given.get("peft"), given.get("delta"), found.get("model_name"), given.get("pretrained"),
        given.get("model"), config.get("model"), file.parent.name,
    )  # fmt: skip
    name = next((str(item).strip() for item in named if item and str(item).strip()), "model")
    # A hub id has two parts already; of a path the last two say which it is.
    return "/".join(Path(name).parts[-2:]).lstrip("/") or name


def _date(found: Found, file: Path) -> float:
    """When it was measured, in seconds since the epoch."""
    date = number(found.get("date"))
    if date is not None:
        return date
    stamp = _STAMP.search(file.stem)
    day, _, clock = stamp[1].partition("T") if stamp else ("", "", "")
    try:
        return datetime.fromisoformat(f"{day}T{clock.replace('-', ':')}").timestamp()
    except ValueError:
        return file.stat().st_mtime


def _table(found: Found, key: str) -> dict[str, Any]:
    table = found.get(key)
    return table if isinstance(table, dict) else {}
