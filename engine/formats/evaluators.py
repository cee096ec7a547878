"""Answers with scores of other evaluators: Inspect, lighteval, deepeval, HELM and garak.

None of their packages is needed. What they print beyond the mean of a score is not read.
"""

import re
import struct
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.data.cells import listed
from engine.data.choices import choices_of
from engine.data.example import Example, query_id
from engine.data.reading import read_records
from engine.data.textfile import Unpacking
from engine.errors import BadInput
from engine.formats.records import UNKNOWN_QUESTION, Grade, Imported, ImportedMeasure, decoded, document

Table = Mapping[str, Any]
_HUGE = 1e100  # no score: its square has no place in a float


@dataclass(slots=True)
class ScoredAnswer:
    """One answer of one model with its scores; a score that is missing has its reason beside it."""

    task: str
    id: str | None
    model: str
    asked: tuple[str, ...]
    answers: tuple[str, ...]
    scores: dict[str, float | None]
    targets: tuple[str, ...] = ()
    reason: str = "the file holds no score"
    reasons: dict[str, str] = field(default_factory=dict)  # of single scores


@dataclass(slots=True)
class Evaluation:
    """What files hold; `lower` names the measures of which less is better. `finished`: not cut off."""

    source: str
    rows: list[ScoredAnswer] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lower: set[str] = field(default_factory=set)
    finished: bool = True


def read_evaluation(kind: str, path: Path) -> Imported:
    """The answers of one tool's file or folder as recorded outputs. Raises BadInput naming the file."""
    files = sorted(path.rglob(FILES[kind][0])) if path.is_dir() else [path]
    read = []
    for file in files:
        one = Evaluation(kind)
        try:
            FILES[kind][1](one, file)
        except _DAMAGED as error:
            raise BadInput(f"{file}: is not as {kind} writes it: {error}", FILES[kind][2]) from error
        read.append((file, one))
    found = _together(kind, read)
    if not found.rows:
        raise BadInput(f"{path}: holds no answers with scores of {kind}", FILES[kind][2])
    return _imported(found)


# What reading a file of another shape, or a damaged archive, raises.
_DAMAGED = (
    AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError, ValueError, struct.error,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def _together(kind: str, read: Sequence[tuple[Path, Evaluation]]) -> Evaluation:
    """Of several files of one task and model the last finished one counts, without one the last.

    They are repeats, not answers to average.
    """
    found = Evaluation(kind)
    counts: dict[tuple[str, str], tuple[Path, Evaluation]] = {}
    several: dict[tuple[str, str], str] = {}
    for file, one in read:
        found.notes += one.notes
        found.lower |= one.lower
        for about in {(row.task, row.model) for row in one.rows}:
            later = about not in counts or one.finished or not counts[about][1].finished
            if about in counts:
                several[about] = "last" if later else "last finished one"
            if later:
                counts[about] = file, one
    for (task, model), which in sorted(several.items()):
        name = counts[task, model][0].name
        found.notes.append(f"{task}, {model}: in several files; the {which}, {name}, counts")
    for _, one in read:
        found.rows += [row for row in one.rows if counts[row.task, row.model][1] is one]
    return found


def _imported(found: Evaluation) -> Imported:
    """Measures are called `task:score`, and with several tasks examples `task/id`, their task as category.

    The score of an example with several answers is their mean, as in Inspect and HELM.
    """
    imported = Imported(found.source, notes=found.notes)
    several = len({row.task for row in found.rows}) > 1
    said: dict[tuple[str, str, str], list[tuple[float | None, str]]] = {}
    known: dict[str, dict[str, None]] = {}
    for row in found.rows:
        known.setdefault(row.task, {}).update(dict.fromkeys(row.scores))
    for row in found.rows:
        own = row.id if row.id is not None else query_id("\n".join(row.asked))
        start = key = f"{row.task}/{own}" if several else own
        asked = row.asked or (UNKNOWN_QUESTION,)
        message = {"role": "user", "content": asked[0]}
        category, turns = (row.task if several else None), (asked if len(asked) > 1 else ())
        example = Example(key, asked[0], (message,), row.targets, category=category, turns=turns)
        number = 1
        # The id of another question, of this model or another one, is another example.
        while imported.examples.setdefault(key, example).query != asked[0]:
            number += 1
            key = f"{start}-{number}"
            example = replace(example, id=key)
        imported.add_model(row.model)
        if (row.model, key) not in imported.answers:
            imported.answers[row.model, key] = row.answers
        else:
            imported.samples.setdefault((row.model, key), []).append(row.answers[-1] if row.answers else None)
        for name in known[row.task]:
            said.setdefault((f"{row.task}:{name}", row.model, key), []).append(
                (row.scores.get(name), row.reasons.get(name, row.reason))
            )
    for (measure, model, key), given in said.items():
        direction = "lower" if measure in found.lower else "higher"
        meaning = f"the mean over its examples, as {found.source} scored them"
        source = f"read from the files of {found.source}"
        imported.measures.setdefault(
            measure, ImportedMeasure(measure, direction=direction, source=source, meaning=meaning)
        )
        values = [value for value, _ in given if value is not None]
        mean = sum(values) / len(values) if values else None
        imported.scores.append(Grade(measure, model, key, 0, mean, "", None if values else given[0][1]))
    return imported


def _table(value: object, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadInput(f"{place}: expected an object")
    return value


def _finite(value: object) -> float | None:
    """A number or truth value; None for anything else."""
    if not isinstance(value, int | float) or not abs(value) < _HUGE:
        return None
    return float(value)


def _id(record: Table) -> str | None:
    return None if record.get("id") is None else str(record["id"])


# Inspect

# As its value_to_float: grades as they are written, words in any case.
_GRADES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
_WORDS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
_ZSTANDARD = 93  # zip's number for it, which zipfile knows from Python 3.14 on


def _inspect(found: Evaluation, path: Path) -> None:
    """A log: `.eval`, which is a zip of JSON files, or one JSON file. Epochs are several answers."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            if file.read(2) == b"PK":
                raise BadInput(f"{path}: is a zip without its end", "Copy the log again, whole.")
        log = _table(document(path), str(path))
        if "eval" not in log:
            raise BadInput(f"{path}: is no log of Inspect: it has no key 'eval'")
        samples = enumerate(log.get("samples") or (), start=1)
        _inspect_log(found, path, log, ((f"{path}: sample {place}", each) for place, each in samples))
        return
    with zipfile.ZipFile(path) as packed:
        unpacking = Unpacking(path)
        names = packed.namelist()
        head = next((name for name in ("header.json", "_journal/start.json") if name in names), None)
        if head is None:
            raise BadInput(f"{path}: is no log of Inspect: it has no header.json")
        log = _table(decoded(_member(packed, head, unpacking), f"{path}: {head}"), f"{path}: {head}")
        inside = [name for name in names if re.fullmatch(r"samples/[^/]+(?:\.json|/sample\.json)", name)]
        _inspect_log(
            found, path, log,
            ((f"{path}: {name}", _inspect_sample(packed, name, unpacking)) for name in inside),
        )  # fmt: skip


def _inspect_sample(packed: zipfile.ZipFile, name: str, unpacking: Unpacking) -> Any:
    sample = decoded(_member(packed, name, unpacking), f"{packed.filename}: {name}")
    if isinstance(sample, dict) and name.endswith("/sample.json"):
        # Its attachments are lists of texts, numbered on from file to file.
        prefix = name.removesuffix("sample.json") + "attachments/"
        parts = [each for each in packed.namelist() if re.fullmatch(re.escape(prefix) + r"\d+\.json", each)]
        parts.sort(key=lambda each: int(each[len(prefix) : -len(".json")]))
        texts = [text for each in parts for text in decoded(_member(packed, each, unpacking), each)]
        sample["attachments"] = {str(place): text for place, text in enumerate(texts)}
    return sample


def _member(packed: zipfile.ZipFile, name: str, unpacking: Unpacking) -> str:
    """The text of one file in a zip, also where it is packed with Zstandard."""
    entry = packed.getinfo(name)
    unpacking.add(entry.file_size)
    if entry.compress_type != _ZSTANDARD:
        content = packed.read(entry)
    else:
        import pyarrow as arrow

        assert packed.fp is not None
        packed.fp.seek(entry.header_offset + 26)  # the local header's lengths of name and extra field
        skipped = sum(struct.unpack("<HH", packed.fp.read(4)))
        packed.fp.seek(entry.header_offset + 30 + skipped)
        source = arrow.BufferReader(packed.fp.read(entry.compress_size))
        content = arrow.CompressedInputStream(source, "zstd").read(entry.file_size)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"{packed.filename}: {name}: is not UTF-8") from error


def _inspect_log(found: Evaluation, path: Path, log: Table, samples: Iterable[tuple[str, Any]]) -> None:
    spec = _table(log.get("eval"), f"{path}: eval")
    task, model = str(spec.get("task") or path.stem), str(spec.get("model") or path.stem)
    divided = set[str]()  # scores with parts
    for place, sample in samples:
        sample = _table(sample, place)
        own = dict(sample.get("scores") or {})
        values = {name: value for score, each in own.items() for name, value in _inspect_values(score, each)}
        divided |= {*own} - {*values}
        failed = sample.get("error")
        reason = "no score that is a number"
        if isinstance(failed, dict):
            reason = f"the sample failed: {failed.get('message', '')}"[:200]
        output, attached = sample.get("output") or {}, sample.get("attachments") or {}
        choices = output.get("choices") or ()
        text = output.get("completion") or (_spoken(choices[0].get("message")) if choices else None)
        targets = sample.get("target") or ()
        found.rows.append(
            ScoredAnswer(
                task, _id(sample), model, (_question(sample, attached),),
                () if text is None else (_attached(text, attached),),
                values, tuple(map(str, targets if isinstance(targets, list) else [targets])), reason,
            )
        )  # fmt: skip
    # A score that has parts elsewhere, and here no value, is no measure beside them.
    for row in found.rows:
        row.scores = {
            name: value for name, value in row.scores.items() if value is not None or name not in divided
        }
    if not any(row.scores for row in found.rows):
        found.rows = [replace(row, scores=dict.fromkeys(_inspect_named(log))) for row in found.rows]
    reducers = (spec.get("config") or {}).get("epochs_reducer") or ["mean"]
    if reducers != ["mean"] and (spec.get("config") or {}).get("epochs", 1) != 1:
        found.notes.append(
            f"{path.name}: epochs are averaged here, and reduced by {', '.join(reducers)} there"
        )
    found.finished = log.get("status") == "success"
    if not found.finished:
        count = len(found.rows)
        found.notes.append(f"{path.name}: status {log.get('status') or 'unfinished'}, {count} samples")


def _inspect_named(log: Table) -> Iterator[str]:
    """The scores of a log in which no sample has any; its results name the parts of one beside it."""
    for score in (log.get("results") or {}).get("scores") or ():
        name, scorer = score.get("name"), score.get("scorer")
        if name:
            yield name if scorer in (None, name) else f"{scorer}:{name}"


def _inspect_values(name: str, score: Any) -> Iterator[tuple[str, float | None]]:
    """A score as a number, as in Inspect's means; of a score with parts each, but no texts and lists."""
    value = score.get("value") if isinstance(score, dict) else score
    if isinstance(value, dict):
        for part, each in value.items():
            number = _inspect_value(each)
            if number is not None or not isinstance(each, str | list | dict):
                yield f"{name}:{part}", number
    else:
        yield name, _inspect_value(value)


def _inspect_value(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            known = _GRADES.get(value, _WORDS.get(value.lower()))
            return _finite(float(value)) if known is None else known
        except ValueError:
            return None
    return _finite(value)


def _question(sample: Table, attachments: Table) -> str:
    """The text that was asked, or the user's last message, with the choices below it."""
    given = sample.get("input")
    if isinstance(given, list):
        users = [turn for turn in given if isinstance(turn, dict) and turn.get("role") == "user"]
        given = _spoken(users[-1]) or "" if users else ""
    text = _attached(str(given), attachments)
    choices = choices_of({"choices": sample.get("choices")})
    return text if choices is None else choices.asked(text)


def _spoken(message: Any) -> str | None:
    """A message's text, without its pictures and reasoning."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, list):
        return "\n".join(str(part["text"]) for part in content if isinstance(part, dict) and part.get("text"))
    return content if isinstance(content, str) else None


def _attached(text: str, attachments: Table) -> str:
    name = text.removeprefix("attachment://")
    return text if name == text else str(attachments.get(name, text))


# lighteval


def _lighteval(found: Evaluation, path: Path) -> None:
    """One task's details: `details/MODEL/DATE/details_TASK_DATE.parquet`, of new and old versions."""
    named = re.fullmatch(r"details_(.+?)_\d{4}-\d\d-\d\dT[\d.-]+", path.stem)
    if named is None:
        raise BadInput(f"{path}: is no file of lighteval's details", FILES["lighteval"][2])
    model = path.absolute().parents[1]
    name = model.name
    if model.parent.name != "details" and model.parent.parent.name == "details":
        name = f"{model.parent.name}/{name}"
    for row, record in read_records(path):
        place = f"{path}:{row}"
        values = {key: listed(value) if isinstance(value, str) else value for key, value in record.items()}
        doc = values.get("doc", values)
        answer, metric = values.get("model_response", values), values.get("metric", values.get("metrics"))
        doc, answer, metric = _table(doc, place), _table(answer, place), _table(metric, f"{place}: metric")
        asked = doc.get("query", doc.get("example", doc.get("full_prompt")))
        choices, gold = doc.get("choices") or (), doc.get("gold_index")
        golds = gold if isinstance(gold, list) else [gold]
        right = [str(choices[at]) for at in golds if isinstance(at, int) and 0 <= at < len(choices)]
        texts = answer.get("text", answer.get("predictions")) or ()
        texts = texts if isinstance(texts, list) else [texts]
        scores = {key: _finite(value) for key, value in metric.items()}
        own = doc.get("id")
        found.rows.append(
            ScoredAnswer(
                named[1], None if own in (None, "") else str(own), name,
                () if asked is None else (str(asked),), (str(texts[0]),) if texts else (), scores,
                tuple(right or map(str, doc.get("gold") or ())),
            )
        )  # fmt: skip


# deepeval


def _deepeval(found: Evaluation, path: Path) -> None:
    """A test run: `.deepeval/.latest_run_full.json`. Its file does not name the model."""
    run = _table(document(path), str(path))
    run = _table(run.get("testRunData", run), str(path))
    model = (run.get("hyperparameters") or {}).get("model") or "model"
    cases = [*(run.get("testCases") or ()), *(run.get("conversationalTestCases") or ())]
    for place, case in enumerate(cases, start=1):
        case = _table(case, f"{path}: test case {place}")
        turns = [(turn.get("role"), str(turn.get("content"))) for turn in case.get("turns") or ()]
        asked = [text for role, text in turns if role == "user"] or [str(case.get("input", ""))]
        said = [text for role, text in turns if role == "assistant"]
        answer = case.get("actualOutput")
        expected = case.get("expectedOutput")
        scores: dict[str, float | None] = {}
        errors: dict[str, str] = {}
        for data in case.get("metricsData") or ():
            name, score, limit = (
                str(data.get("name")),
                _finite(data.get("score")),
                _finite(data.get("threshold")),
            )
            scores[name] = score
            if data.get("error"):
                errors[name] = str(data["error"])[:200]
            # It does not say which way is up, but whether a score on either side of the threshold succeeds.
            if score is None or limit is None or score == limit:
                continue
            if data.get("success") is (score < limit):
                found.lower.add(f"deepeval:{name}")
        found.rows.append(
            ScoredAnswer(
                "deepeval", str(case["name"]) if case.get("name") else None, str(model), tuple(asked),
                tuple(said or ([] if answer is None else [str(answer)])), scores,
                () if expected is None else (str(expected),), reasons=errors,
            )
        )  # fmt: skip


# HELM

_BOOKKEEPING = re.compile(
    r"num_|inference_|training_|finish_reason_|prompt_truncated|batch_size|max_prob|logprob|predicted_index"
    r"|.*token_cost|bits_per_byte|perplexity|estimated_"
)


def _helm(found: Evaluation, path: Path) -> None:
    """A run's scenario_state.json with the per_instance_stats.json beside it. Trials are several answers."""
    state = _table(document(path), str(path))
    spec = _table(state.get("adapter_spec"), f"{path}: adapter_spec")
    model = str(spec.get("model") or spec.get("model_deployment") or path.parent.name)
    task = re.sub(r"[:,]model=[^,]*|(?<=:)model=[^,]*,?", "", path.parent.name) or path.parent.name
    stats = path.parent / "per_instance_stats.json"
    scores: dict[tuple[str, int], dict[str, float | None]] = defaultdict(dict)
    for each in document(stats) if stats.exists() else ():
        for stat in each.get("stats") or ():
            name = stat.get("name") or {}
            if not name.get("perturbation") and not _BOOKKEEPING.match(str(name.get("name"))):
                place = str(each.get("instance_id")), int(each.get("train_trial_index") or 0)
                scores[place][str(name.get("name"))] = _finite(stat.get("mean"))
    for number, request in enumerate(state.get("request_states") or (), start=1):
        instance = _table(request.get("instance"), f"{path}: request state {number}: instance")
        if instance.get("perturbation"):
            continue
        trial, own = int(request.get("train_trial_index") or 0), _id(instance)
        completions = (request.get("result") or {}).get("completions") or ()
        right = [
            str(reference["output"]["text"])
            for reference in instance.get("references") or ()
            if "correct" in (reference.get("tags") or ())
        ]
        found.rows.append(
            ScoredAnswer(
                task, own, model, (str((instance.get("input") or {}).get("text", "")),),
                tuple(str(completion["text"]) for completion in completions[:1]),
                scores.get((str(own), trial), {}), tuple(right),
            )
        )  # fmt: skip


Reader = Callable[[Evaluation, Path], None]

# garak

_THRESHOLD = 0.5  # garak's own, from which a detector's score is a hit


def _garak(found: Evaluation, path: Path) -> None:
    """A report: attempts of each probe with their detectors' scores; what was not evaluated is not read.

    A measure is the share of hits, attacks that succeeded, with the threshold of the report's run.
    """
    threshold, model, waiting, began = _THRESHOLD, path.stem.removesuffix(".report"), set[str](), False
    for line, record in read_records(path):
        place, kind = f"{path}:{line}", record.get("entry_type")
        if kind == "start_run setup":
            began = True
            named = [
                next((str(record[key]) for key in keys if record.get(key)), "")
                for keys in (("plugins.target_type", "plugins.model_type"),
                             ("plugins.target_name", "plugins.model_name"))
            ]  # fmt: skip
            model = " ".join(filter(None, named)) or model
            set_to = _finite(record.get("run.eval_threshold"))
            threshold = _THRESHOLD if set_to is None else set_to
        elif kind == "attempt" and record.get("status") == 2:
            waiting.discard(str(record.get("uuid")))
            _garak_attempt(found, place, record, model, threshold)
        elif kind == "attempt":
            waiting.add(str(record.get("uuid")))
    if not began and not found.rows:
        raise BadInput(f"{path}: is no report of garak: it has no start of a run and no evaluated attempt")
    if waiting:
        count = "1 attempt was" if len(waiting) == 1 else f"{len(waiting):,} attempts were"
        found.notes.append(f"{path.name}: {count} not evaluated, and left out")
        found.finished = False


def _garak_attempt(found: Evaluation, place: str, record: Table, model: str, threshold: float) -> None:
    probe, outputs = record.get("probe_classname"), record.get("outputs")
    results = _table(record.get("detector_results"), f"{place}: detector_results")
    if not isinstance(probe, str) or not isinstance(outputs, list):
        raise BadInput(f"{place}: an attempt needs probe_classname and outputs")
    asked = _garak_asked(record.get("prompt"))
    own = record.get("seq")
    for number, output in enumerate(outputs):
        text = _garak_text(output)
        scores: dict[str, float | None] = {}
        for detector, graded in results.items():
            grade = _finite(graded[number]) if isinstance(graded, list) and number < len(graded) else None
            scores[detector] = None if grade is None else float(grade >= threshold)
            found.lower.add(f"{probe}:{detector}")
        found.rows.append(
            ScoredAnswer(
                probe, str(own) if isinstance(own, int) and own >= 0 else None, model, asked,
                () if text is None else (text,), scores, reason="the detector gave no score",
            )
        )  # fmt: skip


def _garak_asked(prompt: Any) -> tuple[str, ...]:
    """The user's turns of a prompt: a text in older reports, one message, or a conversation."""
    turns = prompt.get("turns") if isinstance(prompt, dict) else None
    if not isinstance(turns, list):
        return tuple(filter(None, [_garak_text(prompt)]))
    said = (_garak_text(turn.get("content")) for turn in turns if turn.get("role") == "user")
    return tuple(filter(None, said))


def _garak_text(message: Any) -> str | None:
    value = message.get("text") if isinstance(message, dict) else message
    return value if isinstance(value, str) else None


# Of each tool the files in a folder, their reader, and what to name.
FILES: dict[str, tuple[str, Reader, str]] = {
    "inspect": ("*.eval", _inspect, "Name a log (.eval or .json), or a folder of .eval logs."),
    "lighteval": (
        "details_*.parquet", _lighteval,
        "Run lighteval with --save-details, and name its folder details/ or one details_*.parquet.",
    ),
    "deepeval": (".latest_run_full.json", _deepeval, "Name .deepeval/.latest_run_full.json."),
    "garak": ("*.report.jsonl", _garak, "Name a garak.UUID.report.jsonl, or a folder of them."),
    "helm": ("scenario_state.json", _helm, "Name a run's folder, or benchmark_output/runs/SUITE."),
}  # fmt: skip
