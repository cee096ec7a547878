"""Remarks on a run's models: how they answered, noise, differing tokenizers."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from engine.decision.judges import audit_of, share, subject
from engine.gates.figures import MISSING, number, percent
from engine.servers.wire import dropped
from store.read.answers import AnswerCount, LongTexts
from store.read.judging import JudgeUse, JudgingResults
from store.read.query import by_key
from store.read.rows import BenchmarkRow, ModelRow
from store.records import Run
from store.records.judging import WITHOUT_SYNTHETIC
from tui.sections.data import DataSection
from tui.sections.protocol import Repetition

# The facts in which a candidate and a baseline of one base agree, and what they are called.
_SHARED = {
    "architecture": "architecture",
    "vocabulary": "size of vocabulary",
    "tokenizer": "tokenizer",
    "tokenization": "tokenization",
    "template": "chat template",
    "dtype": "dtype",
    "attention": "attention",
    "quantisation": "quantisation",
}


def remarks(
    run: Run,
    models: Sequence[ModelRow],
    judging: JudgingResults,
    answers: Sequence[AnswerCount],
    data: DataSection,
    repetition: Repetition | None,
    long: Sequence[LongTexts],
    benchmarks: Sequence[BenchmarkRow],
    isolations: Mapping[str, int],
) -> list[str]:
    """One sentence each. `isolations` are those of the sandbox, with the number of programs."""
    found = [*_synthetic(data, judging), *([repetition.said] if repetition else [])]
    if "follow" in (run.options or {}):
        found.append("each checkpoint is evaluated by the quick part of the plan: no judge, no benchmark")
    found += [f"{row.name} cannot be evaluated: {row.unreadable}" for row in models if row.unreadable]
    if reference := (run.options or {}).get("reference_remark"):
        found.append(reference)
    silent = (run.options or {}).get("judges_left_out") or {}
    found += [f"judge {name} was not asked: {reason}" for name, reason in silent.items()]
    found += [
        *_samples(models),
        *_notes(models),
        *_judges(judging.judges),
        *noise_remarks(models),
        *_unlike(models),
    ]
    found += [*_batching(models), *_busy(models), *_edited(run)]
    found += [f"sandbox for {count:,} programs: {held}" for held, count in isolations.items()]
    if cached := [f"{row.model} {row.from_cache:,} of {row.answers:,}" for row in answers if row.from_cache]:
        found.append(f"answers from the cache: {', '.join(cached)}")
    if cut := [f"{row.model} {row.cut:,} of {row.answers:,}" for row in answers if row.cut]:
        found.append(f"prompts truncated to fit the context: {', '.join(cut)}")
    read = by_key(((row.measure, row.reading), f"{row.scores:,} of {row.model}") for row in long)
    found += [f"{measure}: {', '.join(counts)} {reading}" for (measure, reading), counts in read.items()]
    found += _cut_benchmarks(benchmarks)
    if any(row.with_calls for row in answers):
        called = [f"{row.model} {row.with_calls:,} of {row.answers:,}" for row in answers]
        found.append(f"answers with tool calls: {', '.join(called)}")
    return found


def _synthetic(data: DataSection, judging: JudgingResults) -> Iterator[str]:
    """How many examples a model wrote, and each main measure and win rate with and without them."""
    if not data.synthetic:
        return
    total, left = data.selected or 0, (data.selected or 0) - data.synthetic
    yield f"{data.synthetic:,} of {total:,} examples are synthetic: a model wrote them"
    if not left:
        yield "no example is left without the synthetic ones: nothing here was asked by people"
    by_measure = by_key((score.measure, score) for score in data.without_synthetic)
    for measure, scores in by_measure.items():
        told = (f"{row.model} {number(row.without)} (with them {number(row.value)})" for row in scores)
        yield f"{measure} without the synthetic: {', '.join(told)}"
    for row in judging.win_rates if left else ():
        real = audit_of(judging, row.judge, WITHOUT_SYNTHETIC, subject(row))
        if row.turn == 0 and real is not None:
            won = share(real.value, real.low, real.high) if real.n else f"missing, {real.reason}"
            whole = share(row.win_rate, row.low, row.high)
            yield f"{row.judge}, {subject(row)}: wins {won} without the synthetic, {whole} with them"


ANSWERS = ("model", "answers", "cut off at the limit", "reasoning tokens", "answer tokens")


def answer_table(answers: Iterable[AnswerCount]) -> list[list[str]]:
    """A line for each model by ANSWERS; none where neither an end nor a trace is known."""
    rows = list(answers)
    if not any(row.ended or row.thoughts for row in rows):
        return []
    return [
        [
            row.model,
            f"{row.answers:,}",
            MISSING if row.cut_share is None else f"{row.ended_by_length:,} ({percent(row.cut_share)})",
            _thought(row),
            MISSING if row.answer_tokens is None else f"{row.answer_tokens:,}",
        ]
        for row in rows
    ]


def _thought(row: AnswerCount) -> str:
    if not row.thoughts:
        return MISSING if row.answer_tokens is None else "0"
    uncounted = row.thoughts - row.thoughts_counted
    known = f"{row.thinking_tokens:,}" if row.thinking_tokens is not None else ""
    return f"{known} ({uncounted:,} not counted)".strip() if uncounted else known


def cut_remarks(answers: Iterable[AnswerCount]) -> Iterator[str]:
    """How often each model had no room for more, where that happened."""
    for row in answers:
        if row.ended_by_length:
            share = f"{percent(row.cut_share)} of {row.ended:,}"
            yield f"answers of {row.model} cut off at the token limit: {share}"


def _edited(run: Run) -> Iterator[str]:
    """Runs on the test split before the training data were edited."""
    runs = (run.data_summary or {}).get("train_edited_after") or []
    if runs:
        which = f"run{'s' if len(runs) > 1 else ''} {', '.join(map(str, runs))}"
        yield (
            f"the training data were edited after {which} had used the test split: "
            "if what was seen there led to the edit, its numbers are too good"
        )


def _samples(models: Iterable[ModelRow]) -> Iterator[str]:
    asked = ((model.details or {}).get("generation") or {} for model in models)
    n = max((settings.get("samples") or 1 for settings in asked), default=1)
    if n > 1:
        yield (
            f"{n} samples of each answer: a value is avg@{n}, the mean over the examples of the mean of "
            "their samples, and its interval resamples examples; judges read the first sample"
        )


def noise_remarks(models: Iterable[ModelRow]) -> Iterator[str]:
    """The noise floor of the models where it was measured."""
    for model in models:
        if floor := noise(model):
            yield f"noise floor of {model.name} {floor}: batching alone changes that share of answers"


def _notes(models: Iterable[ModelRow]) -> Iterator[str]:
    """Notes of the models themselves, the same note of several models once."""
    said: dict[str, list[str]] = {}
    for model in models:
        for note in (model.details or {}).get("notes") or []:
            said.setdefault(note, []).append(model.name)
    for note, names in said.items():
        yield f"{', '.join(names)}: {note}"


def _cut_benchmarks(rows: Iterable[BenchmarkRow]) -> Iterator[str]:
    """Which tasks have texts that were too long, whichever metrics they have."""
    noted = (row for row in rows if row.value is not None and row.reason)
    for (task, reason), models in by_key(((row.task, row.reason), row.model) for row in noted).items():
        yield f"{', '.join(dict.fromkeys(models))}, {task}: {reason}"


def _judges(judges: Iterable[JudgeUse]) -> Iterator[str]:
    """Which parameters of the plan the judges' servers did not take."""
    for judge in judges:
        if lost := dropped((judge.details or {}).get("rejected") or []):
            yield f"judge {judge.name}: the server refuses {', '.join(lost)}: it uses its own values"


def _batching(models: Iterable[ModelRow]) -> Iterator[str]:
    """How the local models were batched, and why where that is the slower way."""
    paths: dict[str, list[str]] = {}
    for model in models:
        details = model.details or {}
        slots = (details.get("batching_figures") or {}).get("slots")
        if details.get("batching") == "continuous" and slots:
            paths.setdefault(f"continuous batches of up to {slots} rows", []).append(model.name)
        elif details.get("batching") == "static":
            paths.setdefault(f"static batches: {details['batching_reason']}", []).append(model.name)
    for path, names in paths.items():
        yield f"{', '.join(names)} answered in {path}"


def _busy(models: Sequence[ModelRow]) -> Iterator[str]:
    """Which models' times were taken while other work waited for the machine's cores."""
    for model in models:
        use = (model.details or {}).get("device_use") or {}
        if (use.get("load") or 0) > (use.get("cores") or math.inf):
            yield (
                f"{model.name} began to answer on a busy machine (load {use['load']:g} on {use['cores']} "
                "cores): its times are not comparable"
            )


def _unlike(models: Sequence[ModelRow]) -> Iterator[str]:
    """Differences between a local candidate and a local baseline with different bases."""
    candidates, baselines = ([m for m in models if m.role == role] for role in ("candidate", "baseline"))
    for candidate, baseline in product(candidates, baselines):
        if candidate.kind == baseline.kind == "local":
            own, other = candidate.details or {}, baseline.details or {}
            names = [
                _named(name, own[key], other[key])
                for key, name in _SHARED.items()
                if key in own and key in other and own[key] != other[key]
            ]
            names += ["engine"] if own.get("engine") != other.get("engine") else []
            if names:
                yield f"{candidate.name} and {baseline.name} differ in {', '.join(names)}"


def _named(name: str, own: Any, other: Any) -> str:
    if name == "quantisation":
        from engine.models.folder import quantised_as

        own, other = (quantised_as(found) if found else "none" for found in (own, other))
        return f"{name} ({own} and {other})"
    return f"{name} ({own:,} and {other:,})" if isinstance(own, int) and isinstance(other, int) else name


def noise(model: ModelRow) -> str | None:
    """The share of answers that a change of batch alone flips, with its interval; None if not measured."""
    floor = _floor(model)
    if floor.get("share") is None:
        return None
    if floor["low"] is None or floor["high"] is None:
        return _percent(floor["share"])
    between = f"{100 * floor['low']:.1f} to {_percent(floor['high'])}"
    return f"{_percent(floor['share'])} ({between}, {floor['n']} answers)"


def largest_noise(models: Iterable[ModelRow]) -> str | None:
    """The largest share of these models; None where none was measured."""
    shares = [share for model in models if (share := _floor(model).get("share")) is not None]
    return _percent(max(shares)) if shares else None


def _floor(model: ModelRow) -> dict[str, Any]:
    return (model.details or {}).get("noise_floor") or {}


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"
