"""What a reader of a run's numbers should know of its models: how they answered, noise, unlike tokenizers."""

from collections.abc import Iterable, Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

from store.read.rows import ModelRow
from tui.sections.noise import noise

if TYPE_CHECKING:
    from tui.sections.summary import Summary

# The facts in which a candidate and a baseline of one base agree, and what they are called.
_SHARED = {
    "architecture": "architecture",
    "vocabulary": "size of vocabulary",
    "tokenizer": "tokenizer",
    "template": "chat template",
    "dtype": "dtype",
    "attention": "attention",
    "quantisation": "quantisation",
}


def remarks(summary: "Summary") -> list[str]:
    """One sentence each."""
    answers = summary.answers
    found = [summary.repetition.said] if summary.repetition else []
    if reference := (summary.run.options or {}).get("reference_remark"):
        found.append(reference)
    found += [*_notes(summary.models), *noise_remarks(summary.models), *_unlike(summary)]
    found += [*_batching(summary.models), *_edited(summary)]
    if cached := [f"{row.model} {row.from_cache:,} of {row.answers:,}" for row in answers if row.from_cache]:
        found.append(f"answers from the cache: {', '.join(cached)}")
    if cut := [f"{row.model} {row.cut:,} of {row.answers:,}" for row in answers if row.cut]:
        found.append(f"prompts cut to fit the context: {', '.join(cut)}")
    return found


def _edited(summary: "Summary") -> Iterator[str]:
    """Runs on the test split before the training data were edited."""
    runs = (summary.run.data_summary or {}).get("train_edited_after") or []
    if runs:
        which = f"run{'s' if len(runs) > 1 else ''} {', '.join(map(str, runs))}"
        yield (
            f"the training data were edited after {which} had used the test split: "
            "an edit made because of what was seen there makes its numbers too good"
        )


def noise_remarks(models: Iterable[ModelRow]) -> Iterator[str]:
    """What a change of the batch alone does to the answers, for the models where it was measured."""
    for model in models:
        if floor := noise(model):
            yield f"noise floor of {model.name} {floor}: a change of batch alone flips that share of answers"


def _notes(models: Iterable[ModelRow]) -> Iterator[str]:
    """What the models themselves had to say, those of one mind together."""
    said: dict[str, list[str]] = {}
    for model in models:
        for note in (model.details or {}).get("notes") or []:
            said.setdefault(note, []).append(model.name)
    for note, names in said.items():
        yield f"{', '.join(names)}: {note}"


def _batching(models: Iterable[ModelRow]) -> Iterator[str]:
    """By which path the models answered that did so here, and where it is the slower one, why."""
    paths: dict[str, list[str]] = {}
    for model in models:
        details = model.details or {}
        slots = (details.get("batching_figures") or {}).get("slots")
        if details.get("batching") == "continuous" and slots:
            paths.setdefault(f"continuous batches of up to {slots} rows", []).append(model.name)
        elif details.get("batching") == "static":
            paths.setdefault(f"static batches, since {details['batching_reason']}", []).append(model.name)
    for path, names in paths.items():
        yield f"{', '.join(names)} answered in {path}"


def _unlike(summary: "Summary") -> Iterator[str]:
    """Where a candidate and a baseline are no models of one base, though both run here."""
    baselines = [model for model in summary.models if model.role == "baseline"]
    for candidate, baseline in product(summary.candidates, baselines):
        if candidate.kind == baseline.kind == "local":
            own, other = candidate.details or {}, baseline.details or {}
            names = [
                _named(name, own[key], other[key])
                for key, name in _SHARED.items()
                if key in own and key in other and own[key] != other[key]
            ]
            if names:
                yield f"{candidate.name} and {baseline.name} differ in {', '.join(names)}"


def _named(name: str, own: Any, other: Any) -> str:
    return f"{name} ({own:,} and {other:,})" if isinstance(own, int) and isinstance(other, int) else name
