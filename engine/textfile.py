"""Text files as people's tools write them: UTF-8 with or without a mark, UTF-16, Windows line ends."""

import io
from collections.abc import Iterator
from pathlib import Path

from engine.errors import BadInput


def read_text(path: Path) -> str:
    """The whole text of a file: UTF-8 with or without a byte order mark, or UTF-16; line ends become "\\n".

    Raises BadInput when the file is missing, unreadable or not text.
    """
    return "".join(text for _, text in text_lines(path)).replace("\r\n", "\n")


def open_error(path: Path, error: OSError) -> BadInput:
    """The error for people when a file cannot be opened or read."""
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


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
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
        raise open_error(path, error) from error


def _decoded_as_a_whole(path: Path, file: io.BufferedReader, encoding: str) -> Iterator[tuple[int, str]]:
    try:
        yield from enumerate(io.TextIOWrapper(file, encoding=encoding, newline="\n"), start=1)
    except UnicodeError as error:
        raise BadInput(f"{path}: is not whole {encoding.upper()} text", "Save the file as UTF-8.") from error
