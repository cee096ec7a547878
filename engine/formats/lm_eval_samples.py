"""Sample lines of lm-evaluation-harness: `samples_<task>_<date>.jsonl` for each task, beside the results."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.benchmarks.results import BenchmarkSample, arguments, hash_of_lines, hash_text, samples_of
from engine.errors import BadInput
from engine.formats.records import Row, rows

_HASHES = ("doc_hash", "prompt_hash", "target_hash")


@dataclass(frozen=True, slots=True)
class Lines:
    """A task's samples, and the hash that lm-eval gives all of them together."""

    samples: list[BenchmarkSample]
    task_hash: str


def read_samples(folder: Path, stamp: str | None, found: Mapping[str, Any]) -> dict[str, Lines]:
    """The samples of every task in a results file that has some; `stamp` is the date in its name.

    Raises BadInput naming file, line and key.
    """
    read = {}
    for task, values in found["results"].items():
        file = _file_of(folder, task, stamp)
        if file is not None:
            lines = [_completed(row, values) for row in rows(file)]
            try:
                read[task] = Lines(list(samples_of(task, lines)), hash_of_lines(lines))
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                raise BadInput(
                    f"{file}: are not lm-eval's samples: {error}", "Leave out --samples."
                ) from error
    return read


def _file_of(folder: Path, task: str, stamp: str | None) -> Path | None:
    if stamp is not None:
        file = folder / f"samples_{task}_{stamp}.jsonl"
        return file if file.is_file() else None
    dated = sorted(folder.glob(f"samples_{task}_[0-9][0-9][0-9][0-9]-*.jsonl"))
    plain = folder / f"samples_{task}.jsonl"
    return dated[-1] if dated else plain if plain.is_file() else None


def _completed(row: Row, scores: Mapping[str, Any]) -> dict[str, Any]:
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
