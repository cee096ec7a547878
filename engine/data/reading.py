"""Files of records, read one at a time, each with its place.

A record is one object of a JSONL file or JSON list, one row of a CSV or Parquet file, or one row of a
`datasets` folder; its place is the line it starts on, or its row number in a binary file.
"""

import csv
import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.data.files import COLUMNAR, data_suffix, dataset_files, is_dataset
from engine.data.textfile import OnBad, Unpacking, open_error, text_blocks, text_lines, text_start
from engine.errors import BadInput

_POSSIBLE_ANSWERS = "possible_answer"  # BFCL's folder beside its questions, with a file of the same name
_TYPE_NAMES = {list: "a list", str: "a text", int: "a number", float: "a number", bool: "true or false"}
Record = tuple[int, dict[str, Any]]

BROKEN = "Repair that line, or export the file again."
# In JSON, \ud800 to \udfff: half of a character that needs two such escapes.
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_BLANK = " \t\r\n"
# Excel's own first line, with which a file names its delimiter.
_EXCEL_SEPARATOR = re.compile(r'"?sep=(\\t|[^\r\n"\\])"?[,;\t]*\s*', re.IGNORECASE)


def read_records(path: Path, on_bad: OnBad | None = None) -> Iterator[Record]:
    """The records of a file or folder, one at a time, each with its line (text) or row number.

    JSON lines or a JSON list (told apart by the first character), CSV (`.csv`, `.tsv`), Parquet (`.parquet`),
    and data sets of several files (`engine.data.files`), whose rows are counted on from file to file. Text
    may be packed (`.gz`, `.zst`); what is packed has a limit (`engine.data.textfile.Unpacking`). What BFCL
    keeps apart in `possible_answer/` is read with its record. NaN is read as a missing value. Raises BadInput
    naming file and line; of a line that is no JSON object, or a row of CSV that has not the header's cells,
    `on_bad` is told instead, where there is one, and reading goes on.
    """
    suffix = data_suffix(path)
    if is_dataset(path):
        yield from _dataset_records(path, on_bad)
    elif suffix in {".parquet", ".arrow"}:
        yield from _columnar_records(path, first_row=1)
    elif suffix in {".csv", ".tsv"}:
        yield from _csv_records(path, on_bad)
    else:
        answers = path.parent / _POSSIBLE_ANSWERS / path.name
        known = _answers_by_id(answers) if answers.is_file() else {}
        for line, record in _json_records(path, on_bad):
            yield line, {**known.get(str(record.get("id")), {}), **record}


def _answers_by_id(path: Path) -> dict[str, dict[str, Any]]:
    """BFCL's expected calls, which it keeps in a file of their own."""
    return {str(record.get("id")): record for _, record in _json_records(path, None)}


def shards(path: Path) -> list[Path]:
    """The text files that a data set is made of; none where it is one file, or columnar."""
    files = dataset_files(path) if is_dataset(path) else []
    return [file for file in files if file.suffix.lower() not in COLUMNAR]


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {twice!r} appears twice in one object")
    return record


def finite(number: str | float) -> float:
    """A number that JSON can hold. Raises ValueError for one that is too large."""
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"the number {number} is too large")
    return value


def _constant(name: str) -> None:
    # pandas and NumPy write NaN for a missing value; infinity does not mean that.
    if name != "NaN":
        raise ValueError(f"{name} is not a JSON value")


# strict=False: raw tabs and NULs inside texts are kept as they stand.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_keys, parse_float=finite, parse_constant=_constant, strict=False
)


def decode_json(text: str) -> Any:
    """One JSON value; NaN is None. Raises ValueError for what JSON, or a store of text, cannot hold."""
    try:
        value = _DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    _refuse_half_characters(text, value)
    return value


def type_name(value: Any) -> str:
    """A value's kind in words for people: "a list", "a text" …"""
    return "nothing" if value is None else _TYPE_NAMES.get(type(value), "an object")


def _refuse_half_characters(source: str, value: Any) -> None:
    """Raise ValueError for a lone surrogate: it cannot be encoded, so neither stored nor tokenized."""
    if not _SURROGATE_ESCAPE.search(source):
        return
    for key, item in value.items() if isinstance(value, dict) else [("", value)]:
        try:
            json.dumps([key, item], ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            where = f"key {key!a} " if key else ""
            raise ValueError(
                f"{where}holds half of a character (a lone surrogate escape such as \\ud83d); "
                "remove the escape, or write the text as UTF-8"
            ) from error


def _json_error(path: Path, line: int, error: ValueError) -> BadInput:
    if isinstance(error, json.JSONDecodeError):
        place = f"{path}:{line + error.lineno - 1}"
        return BadInput(f"{place}: is not JSON: {error.msg} (column {error.colno})", BROKEN)
    return BadInput(f"{path}:{line}: {error}", BROKEN)


def _object(place: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadInput(
            f"{place}: found {type_name(value)}, where an object was expected",
            'Each example is an object such as {"query": "...", "reference": "..."}.',
        )
    return value


def _json_records(path: Path, on_bad: OnBad | None) -> Iterator[Record]:
    if text_start(path).lstrip(_BLANK).startswith("["):
        yield from _list_records(path)
        return
    for number, line in text_lines(path, on_bad):
        if not line.strip(_BLANK):
            continue
        try:
            record = _line_object(path, number, line)
        except BadInput as error:
            if on_bad is None:
                raise
            on_bad(error)
        else:
            yield number, record


def _line_object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        # Without its end: a line that breaks off is broken on this line, not on the next.
        value = decode_json(line.rstrip(_BLANK))
    except ValueError as error:
        raise _json_error(path, number, error) from error
    return _object(f"{path}:{number}", value)


def _list_records(path: Path) -> Iterator[Record]:
    """The objects of a JSON list, decoded one after the other so that each has its line.

    About one of them is held as text at a time.
    """
    text = _Ahead(path)
    text.skip_blank()
    text.take("[")
    more = text.skip_blank() != "]"
    while more:
        line, value = text.value()
        yield line, _object(f"{path}:{line}", value)
        more = text.skip_blank() == ","
        if more:
            text.take(",")
            text.skip_blank()
    closed = text.skip_blank() == "]"
    if closed:
        text.take("]")
    if not closed or text.skip_blank():
        raise BadInput(f"{path}:{text.line}: is not JSON: expected ',' or the list's end", BROKEN)


def json_objects(path: Path) -> Iterator[Record]:
    """The objects of a file that has one after another, each over many lines. Raises BadInput as above."""
    text = _Ahead(path)
    while text.skip_blank():
        line, value = text.value()
        yield line, _object(f"{path}:{line}", value)


class _Ahead:
    """A text that is read on as far as it is needed. `line` is that of the next character."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._blocks = text_blocks(path)
        self._text = ""
        self._at = 0
        self._column = 0  # characters of the line before the text that is held
        self.line = 1

    def _read_on(self) -> bool:
        """Doubles what is held ahead; False at the end of the file."""
        wanted = max(1, len(self._text) - self._at)
        blocks = []
        while wanted > 0 and (block := next(self._blocks, "")):
            blocks.append(block)
            wanted -= len(block)
        if blocks:
            gone = self._text[: self._at]
            self._column = len(gone) - gone.rfind("\n") - 1 + (0 if "\n" in gone else self._column)
            self._text, self._at = self._text[self._at :] + "".join(blocks), 0
        return bool(blocks)

    def skip_blank(self) -> str:
        """The next character that is not blank; "" at the end."""
        while True:
            while self._text[self._at : self._at + 1] in {" ", "\t", "\r", "\n"}:
                self.take(self._text[self._at])
            if self._at < len(self._text) or not self._read_on():
                return self._text[self._at : self._at + 1]

    def take(self, character: str) -> None:
        self._at += 1
        self.line += character == "\n"

    def value(self) -> tuple[int, Any]:
        """The next JSON value, and its line. Raises BadInput where there is none."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
                source = self._text[self._at : end]
                _refuse_half_characters(source, value)
            except json.JSONDecodeError as error:
                if self._read_on():
                    continue
                error.colno += self._column if error.lineno == 1 else 0
                # Its line is counted from the text's start, not from this object's.
                start = self.line - self._text.count("\n", 0, self._at)
                raise _json_error(self._path, start, error) from error
            except (ValueError, RecursionError) as error:
                raise BadInput(f"{self._path}:{self.line}: {error}", BROKEN) from error
            line = self.line
            self.line += source.count("\n")
            self._at = end
            return line, value


def _csv_records(path: Path, on_bad: OnBad | None) -> Iterator[Record]:
    # The default, 131,072 characters, is too short for a long document in one cell.
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    lines = text_lines(path)
    _, first = next(lines, (1, ""))
    above = 0  # lines before the header
    if named := _EXCEL_SEPARATOR.fullmatch(first):
        delimiter, above = named[1].replace("\\t", "\t"), 1
        _, first = next(lines, (1, ""))
    else:
        delimiter = "\t" if data_suffix(path) == ".tsv" else max(",;\t", key=first.count)
    texts = (text for text in _chained(first, lines))
    reader = csv.reader(texts, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    start = above + 1
    try:
        for row in reader:
            if header is None:
                header = _header(path, above + 1, row)
            elif row:
                if len(row) == len(header):
                    yield start, dict(zip(header, row, strict=True))
                else:
                    bad = BadInput(
                        f"{path}:{start}: has {len(row)} cells where the header has {len(header)}",
                        "A text with the delimiter or a line break in it must be in double quotes.",
                    )
                    if on_bad is None:
                        raise bad
                    on_bad(bad)
            start = above + reader.line_num + 1
    except csv.Error as error:
        raise BadInput(f"{path}:{start}: is not CSV: {error}", BROKEN) from error


def _chained(first: str, rest: Iterator[tuple[int, str]]) -> Iterator[str]:
    yield first
    for _, text in rest:
        yield text


def _header(path: Path, line: int, row: list[str]) -> list[str]:
    header = [name.strip() for name in row]
    if twice := next((name for name in header if header.count(name) > 1), None):
        raise BadInput(
            f"{path}:{line}: column {twice!r} appears twice in the header", "Rename one of the two."
        )
    return header


def _dataset_records(path: Path, on_bad: OnBad | None) -> Iterator[Record]:
    row = 0
    for file in dataset_files(path):
        columnar = file.suffix.lower() in COLUMNAR
        for _, record in _columnar_records(file, row + 1) if columnar else read_records(file, on_bad):
            row += 1
            yield row, record


def _columnar_records(path: Path, first_row: int) -> Iterator[Record]:
    import pyarrow as arrow

    try:
        for row, record in enumerate(_columnar_rows(path), start=first_row):
            yield row, {key: _plain(value) for key, value in record.items()}
    except (arrow.ArrowException, UnicodeDecodeError) as error:
        raise BadInput(
            f"{path}: is incomplete or damaged {path.suffix[1:]} data: {error}", "Export the file again."
        ) from error
    except OSError as error:
        raise open_error(path, error) from error


# One text may stand in a dictionary and in every row: a batch is held in memory before it can be counted.
_BATCH_ROWS = 64


def _columnar_rows(path: Path) -> Iterator[dict[str, Any]]:
    unpacking = Unpacking(path)
    if path.suffix.lower() == ".parquet":
        from pyarrow.parquet import ParquetFile

        with ParquetFile(path) as file:
            groups = range(file.metadata.num_row_groups)
            Unpacking(path).add(sum(file.metadata.row_group(group).total_byte_size for group in groups))
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                unpacking.add(batch.nbytes)
                yield from batch.to_pylist()
    else:
        from pyarrow.ipc import open_stream

        with path.open("rb") as source, open_stream(source) as stream:
            for batch in stream:
                unpacking.add(batch.nbytes)
                yield from batch.to_pylist()


def _plain(value: Any) -> Any:
    """The value as JSON has it: NaN is missing, dates and decimals are their text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)
