"""Exports runs as JSON lines or Parquet, one file per kind of record, for notebooks and other tools."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from engine.errors import BadInput
from store.read.history import Connection
from store.transfer.export import QUERIES, records

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
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for kind in QUERIES:
            path = folder / f"{kind}.{form}"
            if write(path, (row for run_id in run_ids for row in records(connection, run_id, kind))):
                written.append(path)
            else:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise BadInput(f"{folder} cannot be written: {error.strerror}", "choose another folder") from error
    return written


def _write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """In ASCII, so that no text in it can steer a terminal, and a lone surrogate stays what it is."""
    count = 0
    with path.open("w", encoding="ascii") as file:
        for row in rows:
            file.write(json.dumps(row).replace("\x7f", "\\u007f") + "\n")
            count += 1
    return count


def _write_parquet(path: Path, rows: Iterator[dict[str, Any]]) -> int:
    import pyarrow as pa
    from pyarrow import parquet

    count, writer = 0, None
    try:
        while batch := list(islice(rows, _BATCH)):
            columns = {name: [_cell(row[name]) for row in batch] for name in batch[0]}
            table = pa.table({name: _array(name, values) for name, values in columns.items()})
            writer = writer or parquet.ParquetWriter(path, table.schema)
            writer.write_table(table)
            count += len(batch)
    finally:
        if writer is not None:
            writer.close()
    return count


_WHOLE = {"run", "n", "missing", "turn", "tokens_in", "tokens_out", "shots", "seed", "number", "undoes"}
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
