"""Text files: read in the encodings of common tools, and written whole or not at all.

Read: UTF-8 or UTF-16, Windows line ends, gzip or Zstandard. Everything that writes a file for a person goes
through `writing`.
"""

import errno
import gzip
import io
import os
import secrets
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

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
    return BadInput(f"{path}: cannot be read: {error.strerror or error}")


def _encoding(start: bytes) -> str:
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    # Text that starts with an ASCII character has a zero byte beside it in UTF-16 without a mark.
    if start[1:2] == b"\0" and start[:1] != b"\0":
        return "utf-16-le"
    if start[:1] == b"\0" and start[1:2] not in {b"", b"\0"}:
        return "utf-16-be"
    return "utf-8-sig"


_GZIP, _ZSTANDARD, _ZIP = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"

OnBad = Callable[[BadInput], None]


def text_lines(path: Path, on_bad: OnBad | None = None) -> Iterator[tuple[int, str]]:
    """Lines as they stand, line ends included; only "\\n" ends a line, so U+2028 in a text does not.

    In a file whose lines end with "\\r" alone, as old Macintosh programs and some of Excel's exports write
    them, each line ends with "\\n" instead. Files packed by gzip or Zstandard, told by their first bytes, are
    unpacked on the way, up to the limit of `Unpacking`. `on_bad`, where there is one, is told of a line that
    is not UTF-8, which is then left out.
    """
    with _opened(path) as (file, encoding, mac):
        if encoding != "utf-8-sig":
            yield from _decoded_as_a_whole(path, file, encoding, mac)
            return
        for number, line in enumerate(_mac_lines(file) if mac else file, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                bad = BadInput(
                    f"{path}:{number}: is not UTF-8 text (byte {error.start + 1} of the line)",
                    "Save the file as UTF-8. Windows programs in Western languages write cp1252: "
                    "iconv -f CP1252 -t UTF-8 IN > OUT",
                )
                if on_bad is None:
                    raise bad from error
                on_bad(bad)
            else:
                yield number, text


def text_start(path: Path) -> str:
    """How a text begins, without what is no text there."""
    with _opened(path) as (file, encoding, _):
        return file.read(_START).decode(encoding, "ignore")


def text_blocks(path: Path) -> Iterator[str]:
    """The same text in blocks, however long its lines are."""
    try:
        with _opened(path) as (file, encoding, mac):
            text = io.TextIOWrapper(file, encoding=encoding, newline=None if mac else "")
            while block := text.read(_START):
                yield block
    except UnicodeError:
        for _ in text_lines(path):  # which names the line
            pass
        raise


@contextmanager
def _opened(path: Path) -> Iterator[tuple[io.BufferedReader, str, bool]]:
    """A file's bytes, unpacked, their encoding, and whether its lines end as on old Macintoshes."""
    try:
        with _unpacked(path) as file:
            start = file.read(_START)
        encoding = _encoding(start[:4])
        with _unpacked(path) as file:
            yield file, encoding, _ends_with_cr(start, encoding)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadInput(
            f"{path}: is incomplete or damaged gzip data: {error}", "Copy or pack the file again."
        ) from error
    except OSError as error:
        raise open_error(path, error) from error


_START = 1 << 16  # bytes that tell the encoding and the line ends


def _ends_with_cr(start: bytes, encoding: str) -> bool:
    text = start.decode(encoding, "ignore")
    # The last character may be the first half of "\r\n".
    return "\r" in text[:-1] and "\n" not in text


def _mac_lines(file: io.BufferedReader) -> Iterator[bytes]:
    rest = b""
    while block := file.read(_START):
        *lines, rest = (rest + block).split(b"\r")
        yield from (line + b"\n" for line in lines)
    if rest:
        yield rest


def _unpacked(path: Path) -> io.BufferedReader:
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise BadInput(f"{path}: is a pipe or a device, but must be read more than once", "Name a file.")
    with path.open("rb") as file:
        start = file.read(4)
    if start == _ZIP:
        raise BadInput(
            f"{path}: is a zip archive, as spreadsheets are too",
            "Unpack it, or save the sheet as CSV in UTF-8.",
        )
    if start.startswith(_GZIP):
        return io.BufferedReader(_Counted(gzip.open(path, "rb"), path), _START)
    if start == _ZSTANDARD:
        # Python 3.11 has no zstd of its own; pyarrow, which reads Parquet here, brings one.
        import pyarrow as arrow

        packed = arrow.CompressedInputStream(arrow.OSFile(str(path)), "zstd")
        return io.BufferedReader(_Counted(packed, path), _START)
    return path.open("rb")


# What a packed file may unfold to: texts are packed 3 to 30 times, a trap 1,000 times and more.
UNPACKED_BYTES, UNPACKED_TIMES = 256 << 20, 100
_SETTING = "ASSAY_UNPACKED_MB"


class Unpacking:
    """Counts what a packed file (gzip, Zstandard, Parquet, Arrow) unfolds to, up to its limit.

    The limit is UNPACKED_BYTES, or UNPACKED_TIMES the file's size where that is more, or $ASSAY_UNPACKED_MB.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._limit = max(UNPACKED_BYTES, UNPACKED_TIMES * path.stat().st_size)
        if told := os.environ.get(_SETTING):
            if not (told.isascii() and told.isdigit() and int(told)):
                raise BadInput(f"${_SETTING}: found {told!r}; allowed: a whole number of MiB above 0")
            self._limit = int(told) << 20
        self._count = 0

    def add(self, size: int) -> None:
        """Counts so many bytes more. Raises BadInput beyond the limit."""
        self._count += size
        if self._count > self._limit:
            raise BadInput(
                f"{self._path}: unpacks to more than {self._limit >> 20:,} MiB",
                f"If you trust it, set ${_SETTING} to the MiB that it may take.",
            )


class _Counted(io.RawIOBase):
    """A packed file's content."""

    def __init__(self, packed: Any, path: Path) -> None:
        self._packed = packed
        self._unpacking = Unpacking(path)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size: int = self._packed.readinto(buffer)
        self._unpacking.add(size)
        return size

    def close(self) -> None:
        self._packed.close()
        super().close()


def _decoded_as_a_whole(
    path: Path, file: io.BufferedReader, encoding: str, mac: bool
) -> Iterator[tuple[int, str]]:
    try:
        lines = io.TextIOWrapper(file, encoding=encoding, newline="\r" if mac else "\n")
        for number, line in enumerate(lines, start=1):
            yield number, f"{line[:-1]}\n" if mac and line.endswith("\r") else line
    except UnicodeError as error:
        raise BadInput(f"{path}: is incomplete {encoding.upper()} text", "Save the file as UTF-8.") from error


class Parts:
    """The files of one export. Each lies beside its place under another name until all are written."""

    def __init__(self, named: Path, *, new: bool) -> None:
        self._named = named
        self._new = new
        self._parts: dict[Path, Path] = {}
        self._files: dict[Path, IO[str]] = {}
        self._gone: list[Path] = []
        self._put: list[Path] = []

    def open(self, target: Path) -> IO[str]:
        """A text file to write, in UTF-8; a lone surrogate, which has no UTF-8, is written as its escape.

        Raises BadInput for one that is open already: names may be the same as parts of a path.
        """
        path = self.path(target)
        if path in self._files:
            raise BadInput(f"{target} would be written twice", "name things by more than other punctuation")
        self._files[path] = path.open("w", encoding="utf-8", errors="backslashreplace")
        return self._files[path]

    def path(self, target: Path) -> Path:
        """Where the file is until it is put in its place, with all that was written to it so far."""
        if target.exists() and not (target.is_file() or target.is_dir()):
            return target  # a terminal or a pipe is written directly
        # A link that the person named is followed; one that lies in the folder is replaced.
        place = target.resolve() if target == self._named else target
        if place not in self._parts:
            if place.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(place))
            if self._new and os.path.lexists(place):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
            place.parent.mkdir(parents=True, exist_ok=True)
            self._parts[place] = place.with_name(f".{place.name[:200]}.{secrets.token_hex(4)}.part")
        part = self._parts[place]
        if part in self._files:
            self._files[part].flush()
        return part

    def remove(self, target: Path) -> None:
        """Removes the file of an earlier export, once the others are in place."""
        self._gone.append(target)

    def put(self) -> None:
        """Puts everything in its place, after all of it is on the disk."""
        for file in self._files.values():
            file.close()
        for place, part in self._parts.items():
            if place.exists():
                shutil.copymode(place, part)
            with part.open("rb") as written:
                os.fsync(written.fileno())
        for place, part in self._parts.items():
            if self._new:
                place.touch(exist_ok=False)  # another process may have made one in the meantime
                self._put.append(place)
            part.replace(place)
        for target in self._gone:
            target.unlink(missing_ok=True)

    def drop(self, *, failed: bool) -> None:
        """Removes what has other names, and of a failed export of new files what is in its place already."""
        for file in self._files.values():
            with suppress(OSError):  # on a full disk closing fails, too, for it writes what is left
                file.close()
        for leftover in (*self._parts.values(), *(self._put if failed else ())):
            leftover.unlink(missing_ok=True)


@contextmanager
def writing(named: Path, way_out: str = "choose another folder", *, new: bool = False) -> Iterator[Parts]:
    """Files that appear together at the end, in place of older ones, or not at all; `new`: none may be there.

    Raises BadInput with the way out where they cannot be written, or one is there that must not be.
    """
    parts = Parts(named, new=new)
    failed = True
    try:
        yield parts
        parts.put()
        failed = False
    except OSError as error:
        if new and isinstance(error, FileExistsError):
            raise BadInput(f"{error.filename} exists already", way_out) from error
        raise BadInput(f"{named} cannot be written: {error.strerror or error}", way_out) from error
    finally:
        parts.drop(failed=failed)


def write_text(file: Path, text: str, way_out: str = "", *, new: bool = False) -> None:
    """Writes one file as `writing` does."""
    with writing(file, way_out, new=new) as parts:
        parts.open(file).write(text)
