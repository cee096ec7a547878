"""Files of text and of records, read without guessing wrongly: encodings, line numbers, broken rows.

A record is one object of a JSONL file or JSON list, one row of a CSV or Parquet file, or one row of a
`datasets` folder, always with its place: the line it starts on, or its row number in a binary file.
"""

import csv
import io
import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.errors import BadInput

type_names = {list: "a list", str: "a text", int: "a number", float: "a number", bool: "true or false"}
Record = tuple[int, dict[str, Any]]

BROKEN = "Repair that line, or export the file again."
# In JSON, \ud800 to \udfff: half of a character that needs two such escapes.
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_BLANK = " \t\r\n"


def read_text(path: Path) -> str:
    """The whole text of a file: UTF-8 with or without a byte order mark, or UTF-16; line ends become "\\n".

    Raises BadInput when the file is missing, unreadable or not text.
    """
    return "".join(text for _, text in _lines(path)).replace("\r\n", "\n")


def read_records(path: Path) -> Iterator[Record]:
    """The records of a file or `datasets` folder, one at a time, each with its line (text) or row number.

    JSON lines or a JSON list (told apart by the first character), CSV (`.csv`, `.tsv`), Parquet (`.parquet`)
    and folders written by `datasets` (`*.arrow`, `*.parquet`). Only a JSON list is held in memory as text.
    NaN is read as a missing value. Raises BadInput naming file and line.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        yield from _folder_records(path)
    elif suffix in {".parquet", ".arrow"}:
        yield from _columnar_records(path, first_row=1)
    elif suffix in {".csv", ".tsv"}:
        yield from _csv_records(path)
    else:
        yield from _json_records(path)


def _open_error(path: Path, error: OSError) -> BadInput:
    if isinstance(error, FileNotFoundError):
        return BadInput(f"{path}: no such file")
    if isinstance(error, IsADirectoryError):
        return BadInput(f"{path}: is a folder, where a file was expected")
    return BadInput(f"{path}: cannot be read: {error.strerror}")


def _encoding(start: bytes) -> str:
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    # Text that starts with an ASCII character has a zero byte beside it in UTF-16 without a mark.
    if start[1:2] == b"\0" and start[:1] != b"\0":
        return "utf-16-le"
    if start[:1] == b"\0" and start[1:2] not in {b"", b"\0"}:
        return "utf-16-be"
    return "utf-8-sig"


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines as they stand, line ends included; only "\\n" ends a line, so U+2028 in a text does not."""
    try:
        with path.open("rb") as file:
            encoding = _encoding(file.read(4))
            file.seek(0)
            if encoding != "utf-8-sig":
                yield from _decoded_as_a_whole(path, file, encoding)
                return
            for number, line in enumerate(file, start=1):
                try:
                    yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise BadInput(
                        f"{path}:{number}: is not UTF-8 text (byte {error.start + 1} of the line)",
                        "Save the file as UTF-8, for example: iconv -f LATIN1 -t UTF-8 IN > OUT",
                    ) from error
    except OSError as error:
        raise _open_error(path, error) from error


def _decoded_as_a_whole(path: Path, file: io.BufferedReader, encoding: str) -> Iterator[tuple[int, str]]:
    try:
        yield from enumerate(io.TextIOWrapper(file, encoding=encoding, newline="\n"), start=1)
    except UnicodeError as error:
        raise BadInput(f"{path}: is not whole {encoding.upper()} text", "Save the file as UTF-8.") from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {twice!r} stands twice in one object")
    return record


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"the number {number} is too large")
    return value


def _constant(name: str) -> None:
    # pandas and NumPy write NaN for a missing value; an infinite number has no such meaning.
    if name != "NaN":
        raise ValueError(f"{name} is not a JSON value")


# strict=False: raw tabs and NULs inside texts are kept as they stand.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_keys, parse_float=_finite, parse_constant=_constant, strict=False
)


def _json_error(place: str, error: ValueError | RecursionError) -> BadInput:
    if isinstance(error, json.JSONDecodeError):
        return BadInput(f"{place}: is not JSON: {error.msg} (column {error.colno})", BROKEN)
    if isinstance(error, RecursionError):
        return BadInput(f"{place}: is nested too deeply", BROKEN)
    return BadInput(f"{place}: {error}", BROKEN)


def _half_character(value: Any, key: str = "") -> str | None:
    """The key of the first text that holds a lone surrogate, or None."""
    if isinstance(value, str):
        return key if any("\ud800" <= character <= "\udfff" for character in value) else None
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        found = _half_character(item, key or str(name))
        if found is not None or (isinstance(name, str) and _half_character(name, name)):
            return found or ascii(name)
    return None


def _checked(place: str, source: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadInput(
            f"{place}: found {type_names.get(type(value), 'null')}, where an object was expected",
            'Each example is an object such as {"query": "...", "reference": "..."}.',
        )
    if _SURROGATE_ESCAPE.search(source) and (key := _half_character(value)) is not None:
        raise BadInput(
            f"{place}: {key!r} holds half of a character (a lone surrogate escape such as \\ud83d)",
            "Such text cannot be stored or tokenized: export it again as UTF-8, or remove that escape.",
        )
    return value


def _json_records(path: Path) -> Iterator[Record]:
    lines = _lines(path)
    for number, line in lines:
        if not line.strip(_BLANK):
            continue
        if line.lstrip(_BLANK).startswith("["):
            yield from _list_records(path, number, line + "".join(text for _, text in lines))
            return
        try:
            value = _DECODER.decode(line)
        except (ValueError, RecursionError) as error:
            raise _json_error(f"{path}:{number}", error) from error
        yield number, _checked(f"{path}:{number}", line, value)


def _list_records(path: Path, first_line: int, text: str) -> Iterator[Record]:
    """The objects of a JSON list, decoded one after the other so that each has its line."""
    position, counted, line = text.index("[") + 1, 0, first_line
    expected = ""
    while True:
        position = _skip_blank(text, position)
        line += text.count("\n", counted, position)
        counted = position
        place = f"{path}:{line}"
        following = text[position : position + 1]
        if following == "]":
            break
        if expected and following != expected:
            raise BadInput(f"{place}: is not JSON: expected ',' or ']' after an object of the list", BROKEN)
        if expected:
            position = _skip_blank(text, position + 1)
            line += text.count("\n", counted, position)
            counted = position
            place = f"{path}:{line}"
        try:
            value, end = _DECODER.raw_decode(text, position)
        except json.JSONDecodeError as error:
            raise _json_error(f"{path}:{first_line + error.lineno - 1}", error) from error
        except (ValueError, RecursionError) as error:
            raise _json_error(place, error) from error
        yield line, _checked(place, text[position:end], value)
        position, expected = end, ","
    if _skip_blank(text, position + 1) != len(text):
        raise BadInput(f"{place}: is not JSON: more text after the list's end", BROKEN)


def _skip_blank(text: str, position: int) -> int:
    while text[position : position + 1] in {" ", "\t", "\r", "\n"}:
        position += 1
    return position


def _csv_records(path: Path) -> Iterator[Record]:
    # The default of 131,072 characters is shorter than a long document in one cell.
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    lines = _lines(path)
    _, first = next(lines, (1, ""))
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=first.count)
    texts = (text for text in _chained(first, lines))
    reader = csv.reader(texts, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    start = 1
    try:
        for row in reader:
            if header is None:
                header = _header(path, row)
            elif row:
                if len(row) != len(header):
                    raise BadInput(
                        f"{path}:{start}: has {len(row)} cells where the header has {len(header)}",
                        "A text with the delimiter or a line break in it must stand in double quotes.",
                    )
                yield start, dict(zip(header, row, strict=True))
            start = reader.line_num + 1
    except csv.Error as error:
        raise BadInput(f"{path}:{start}: is not CSV: {error}", BROKEN) from error


def _chained(first: str, rest: Iterator[tuple[int, str]]) -> Iterator[str]:
    yield first
    for _, text in rest:
        yield text


def _header(path: Path, row: list[str]) -> list[str]:
    header = [name.strip() for name in row]
    if twice := next((name for name in header if header.count(name) > 1), None):
        raise BadInput(f"{path}:1: column {twice!r} stands twice in the header", "Rename one of the two.")
    return header


def _folder_records(path: Path) -> Iterator[Record]:
    files = sorted(path.glob("*.arrow")) or sorted(path.glob("*.parquet"))
    if not files:
        parts = sorted(part.name for part in path.iterdir() if part.is_dir())
        hint = f"Name one of the folders in it: {', '.join(parts)}" if parts else ""
        raise BadInput(f"{path}: holds no *.arrow or *.parquet file", hint)
    row = 1
    for file in files:
        for number, record in _columnar_records(file, row):
            yield number, record
            row = number + 1


def _columnar_records(path: Path, first_row: int) -> Iterator[Record]:
    import pyarrow as arrow

    try:
        for row, record in enumerate(_columnar_rows(path), start=first_row):
            yield row, {key: _plain(value) for key, value in record.items()}
    except (arrow.ArrowException, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: is not whole {path.suffix[1:]} data: {error}", "Export the file again.") from error
    except OSError as error:
        raise _open_error(path, error) from error


def _columnar_rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix.lower() == ".parquet":
        from pyarrow.parquet import ParquetFile

        with ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from batch.to_pylist()
    else:
        from pyarrow.ipc import open_stream

        with path.open("rb") as source, open_stream(source) as stream:
            for batch in stream:
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
