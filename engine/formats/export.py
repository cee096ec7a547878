"""Exports runs: as records of every kind, or in MT-Bench's or AlpacaEval's format for their tools."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from engine.data.textfile import Parts, writing
from engine.errors import BadInput
from engine.formats.records import write_lines, write_list
from engine.judges.judge import ORDERS
from store.read.history import Connection
from store.read.query import by_key
from store.records.judging import IDENTICAL
from store.transfer.export import QUERIES, RunContent, records

FORMATS = ("jsonl", "parquet")
_BATCH = 20_000  # records held at a time


def export_runs(
    connection: Connection, run_ids: Sequence[int], folder: Path, form: str = "jsonl"
) -> list[Path]:
    """Writes the runs' records into a folder and returns the files; a kind without records has none.

    Every record names its run, model and example. What is nested (evidence, settings, turns) stays nested in
    JSON lines and is JSON text in Parquet, where one column has one type. Raises BadInput for another format
    and for a folder that cannot be written.
    """
    if form not in FORMATS:
        raise BadInput(f"there is no format {form!r}", f"the formats are {' and '.join(FORMATS)}")
    write = _write_lines if form == "jsonl" else _write_parquet
    written = []
    with writing(folder) as parts:
        for kind in QUERIES:
            path = folder / f"{kind}.{form}"
            rows = (row for run_id in run_ids for row in records(connection, run_id, kind))
            if (first := next(rows, None)) is None:
                parts.remove(path)
            else:
                write(parts, path, chain([first], rows))
                written.append(path)
    return written


def _write_lines(parts: Parts, path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """In ASCII, so that no text in it can steer a terminal, and a lone surrogate stays what it is."""
    file = parts.open(path)
    for row in rows:
        file.write(json.dumps(row).replace("\x7f", "\\u007f") + "\n")


def _write_parquet(parts: Parts, path: Path, rows: Iterator[dict[str, Any]]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    writer = None
    try:
        while batch := list(islice(rows, _BATCH)):
            columns = {name: [_cell(row[name]) for row in batch] for name in batch[0]}
            table = pa.table({name: _array(name, values) for name, values in columns.items()})
            writer = writer or parquet.ParquetWriter(parts.path(path), table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


_WHOLE = {
    *("run", "n", "missing", "turn", "tokens_in", "tokens_out", "thinking_tokens", "sample", "shots", "seed"),
    *("number", "undoes"),
}
_REAL = {
    *("value", "low", "high", "p", "delta", "candidate_value", "baseline_value", "smallest_detectable"),
    *("candidate_score", "baseline_score", "confidence", "cost", "latency_s", "score", "seconds", "stderr"),
    *("created", "started", "finished", "acknowledged"),
}
_TRUTH = {"passed", "cached", "consistent", "blind", "control", "higher_is_better"}


def _array(name: str, values: list[Any]) -> Any:
    """A column whose type its name decides: the first records may all be without a value.

    An annotation's value is text, a score's is a number; both are called value.
    """
    import pyarrow as pa

    if name in _WHOLE:
        return pa.array(values, pa.int64())
    if name in _TRUTH:
        return pa.array(values, pa.bool_())
    if name in _REAL and not any(isinstance(value, str) for value in values):
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value)
    if isinstance(value, str):
        # Parquet's text is UTF-8, which has no lone surrogates.
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    return value


_UNSAFE = re.compile(r"[^\w.+-]+")
_SIDES = {"candidate": "model_1", "baseline": "model_2", "tie": "tie", None: "error"}
_PREFERENCES = {"win": 2.0, "loss": 1.0, "tie": 1.5, "failed": None}
_IMPORTED_POINTS = "imported:alpaca-eval"


def export_run(kind: str, content: RunContent, folder: Path) -> list[Path]:
    """Writes a run's answers and judgments into a folder; returns the files.

    Raises BadInput for an unknown kind, a folder that cannot be written, and a run without answers.
    """
    if kind not in EXPORTS:
        raise BadInput(f"there is no export of {kind!r}", f"known kinds: {', '.join(EXPORTS)}")
    if not any(row["text"] is not None for row in content.responses):
        raise BadInput(f"run {content.name} holds no answers to export")
    written = []
    with writing(folder) as parts:
        for name, records, write in EXPORTS[kind](content):
            write(parts.open(folder / name), records)
            written.append(folder / name)
    return written


Records = list[dict[str, Any]]
File = tuple[str, Records, Callable[[IO[str], Records], None]]


def _mt_bench(content: RunContent) -> Iterator[File]:
    """FastChat's `data/mt_bench`: numbers for questions, as its scripts sort by them."""
    numbers = _question_ids(content)
    yield "question.jsonl", [_question(row, numbers) for row in content.examples], write_lines
    answers: dict[str, Records] = defaultdict(list)
    for row in content.responses:
        if row["text"] is not None:
            turns = row["turns"] or [row["text"]]
            answers[row["model"]].append(
                {
                    "question_id": numbers[row["example"]],
                    "answer_id": f"{row['model']}-{row['example']}",
                    "model_id": row["model"],
                    "choices": [{"index": 0, "turns": turns}],
                    "tstamp": row["created"],
                }
            )
    for model, kept in answers.items():
        yield f"model_answer/{file_name(model)}.jsonl", kept, write_lines
    for judge in content.judges:
        if singles := _singles(content, judge["name"], numbers):
            yield f"model_judgment/{file_name(judge['name'])}_single.jsonl", singles, write_lines
        if pairs := _pairs(content, judge["name"], numbers):
            yield f"model_judgment/{file_name(judge['name'])}_pair.jsonl", pairs, write_lines


def _question_ids(content: RunContent) -> dict[str, int]:
    names = [row["example"] for row in content.examples]
    if all(name.isascii() and name.isdigit() for name in names) and len({int(n) for n in names}) == len(
        names
    ):
        return {name: int(name) for name in names}
    return {name: place for place, name in enumerate(names, start=1)}


def _question(row: dict[str, Any], numbers: dict[str, int]) -> dict[str, Any]:
    turns = (row["extra"] or {}).get("turns") or [row["query"]]
    question = {"question_id": numbers[row["example"]], "category": row["category"] or "general"}
    references = {"reference": row["references"]} if row["references"] else {}
    return question | {"turns": turns} | references


def _singles(content: RunContent, judge: str, numbers: dict[str, int]) -> Records:
    return [
        {
            "question_id": numbers[row["example"]],
            "model": row["model"],
            "judge": [judge, "assay"],
            "user_prompt": "",
            "judgment": row["raw"],
            "score": -1 if row["score"] is None else row["score"],
            "turn": max(1, row["turn"]),
            "tstamp": row["created"],
        }
        for row in _turn_by_turn(content.ratings)
        if row["judge"] == judge
    ]


def _turn_by_turn(rows: Records) -> Iterator[dict[str, Any]]:
    """Without whole conversations where their turns were judged too: FastChat knows turns alone."""
    several = {row["example"] for row in rows if row["turn"]}
    return (row for row in rows if row["turn"] or row["example"] not in several)


def _pairs(content: RunContent, judge: str, numbers: dict[str, int]) -> Records:
    games: dict[tuple[str, str, str, int], dict[str, dict[str, Any]]] = defaultdict(dict)
    same = [
        row | {"order": order, "winner": "tie", "raw": row["reason"], "created": 0.0}
        for row in content.verdicts
        if row["reason"] == IDENTICAL
        for order in ORDERS
    ]
    for row in _turn_by_turn([*content.judgments, *same]):
        if row["judge"] == judge:
            key = (row["candidate"], row["baseline"], row["example"], row["turn"])
            games[key][row["order"]] = row
    found = []
    for (candidate, baseline, example, turn), both in games.items():
        if len(both) == 2:
            first, second = both["candidate_first"], both["baseline_first"]
            found.append(
                {
                    "question_id": numbers[example],
                    "model_1": candidate,
                    "model_2": baseline,
                    "g1_winner": _SIDES[first["winner"]],
                    "g2_winner": _SIDES[second["winner"]],
                    "judge": [judge, "assay"],
                    "g1_user_prompt": "",
                    "g1_judgment": first["raw"],
                    "g2_user_prompt": "",
                    "g2_judgment": second["raw"],
                    "turn": max(1, turn),
                    "tstamp": second["created"],
                }
            )
    return found


def _alpaca_eval(content: RunContent) -> Iterator[File]:
    examples = {row["example"]: row for row in content.examples}
    texts: dict[tuple[str, str], str] = {}
    outputs: dict[str, Records] = defaultdict(list)
    for row in content.responses:
        if row["text"] is not None:
            texts[row["model"], row["example"]] = row["text"]
            outputs[row["model"]].append(
                _instruction(examples[row["example"]]) | {"output": row["text"], "generator": row["model"]}
            )
    for model, kept in outputs.items():
        yield f"{file_name(model)}/model_outputs.json", kept, write_list
    judges = {judge["name"]: judge for judge in content.judges}
    calls = by_key((_match(row), row) for row in content.judgments)
    matches: dict[tuple[str, str], Records] = defaultdict(list)
    for row in content.verdicts:
        sides = (row["candidate"], row["example"]), (row["baseline"], row["example"])
        if row["turn"] == 0 and all(side in texts for side in sides):
            matches[row["candidate"], row["judge"]].append(
                _instruction(examples[row["example"]])
                | {
                    "output_1": texts[sides[1]],
                    "generator_1": row["baseline"],
                    "output_2": texts[sides[0]],
                    "generator_2": row["candidate"],
                    "annotator": row["judge"],
                }
                | _annotation(judges[row["judge"]], row["outcome"], calls.get(_match(row), []))
            )
    for (candidate, judge), kept in matches.items():
        yield f"{file_name(candidate)}/{file_name(judge)}/annotations.json", kept, write_list


def _instruction(example: dict[str, Any]) -> dict[str, Any]:
    return {"instruction": example["query"], "dataset": example["category"] or "assay"}


def _match(row: dict[str, Any]) -> tuple[str, ...]:
    return (row["judge"], row["candidate"], row["baseline"], row["example"], str(row["turn"]))


def _annotation(judge: dict[str, Any], outcome: str, calls: Records) -> dict[str, Any]:
    """Preference, price, time and raw answers of one verdict."""
    preference = _PREFERENCES[outcome]
    if judge["prompt_hash"] == _IMPORTED_POINTS and calls and calls[0]["candidate_score"] is not None:
        preference = 1 + calls[0]["candidate_score"]
    return {
        "preference": preference,
        "price_per_example": _sum([row["cost"] for row in calls]),
        "time_per_example": _sum([row["latency_s"] for row in calls]),
        "raw_completion": [row["raw"] for row in calls],
    }


def _sum(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def file_name(name: str) -> str:
    """A model's or judge's name as a part of a path: nothing in it can lead out of the folder."""
    return _UNSAFE.sub("_", name).strip(".") or "model"


EXPORTS: dict[str, Callable[[RunContent], Iterator[File]]] = {
    "mt-bench": _mt_bench,
    "alpaca-eval": _alpaca_eval,
}
