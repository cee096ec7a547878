"""Runs moved between the stores of two machines, over the person's own ssh.

One end sends and the other receives; a person calls one, which starts the other by ssh. Both speak in lines,
each a word and a JSON object; after "from" come the bytes of one run. A run travels as a tar file of a store
that holds it alone, with its log. What has arrived stays beside the receiving store until the run is whole
and its hash is right; then the rule of `assay import store` takes it in.
"""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Annotated, ClassVar, Literal, TypeVar
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.errors import AssayError, BadInput, CannotRun, refused
from store import database
from store.errors import StoreError
from store.read import traffic
from store.read.history import Connection, find_run
from store.session import opened
from store.transfer.merge import Merged, Movable, extract, mentioned, merge, movable, needed

Side = Literal["send", "receive"]
_WIRE = 1  # what both ends must agree on
_LONGEST = 1 << 24  # bytes of one line: the keys of 250,000 runs
_BLOCK = 1 << 18
_SAID = 4096  # bytes of the other side's standard error that are kept, its last
_SPARE = 1 << 26  # bytes of a disk that are left alone
_OPEN = ("paused", "interrupted", "failed")  # can be resumed
_MEMBER = r"assay\.db|logs/run-\d{1,19}\.log"
_OPTIONS = ("-T", "-o", "Compression=yes", "-o", "ServerAliveInterval=15", "-o", "RemoteCommand=none",
            "-o", "ClearAllForwardings=yes")  # fmt: skip

_Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Size = Annotated[int, Field(ge=0, lt=1 << 62)]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)
    TAG: ClassVar[str]


class _Hello(_Message):
    TAG = "assay-wire"
    wire: int
    assay: str = Field(max_length=100)
    store_schema: str = Field(pattern=r"^\d{4}$")


class _Place(_Message):
    TAG = "place"
    folder: str | None


class _Want(_Message):
    TAG = "want"
    runs: list[str] | None
    known: list[_Hash]
    open: list[_Hash] = []  # of the known ones, those that could still go on


class _Outline(_Message):
    TAG = "outline"
    runs: _Size
    known: _Size
    unfinished: _Size
    deleted: _Size
    traffic: _Size
    ended: list[_Hash] = []  # of the open ones, those that have finished at the sender


class _Offer(_Message):
    TAG = "offer"
    key: _Hash
    id: _Size
    name: str
    size: _Size
    sha256: _Hash


class _Have(_Message):
    TAG = "have"
    size: _Size
    sha256: _Hash


class _From(_Message):
    TAG = "from"
    offset: _Size


class _Took(_Message):
    TAG = "took"
    joined: list[tuple[int, int]]


class _Failure(_Message):
    TAG = "failure"
    message: str
    hint: str
    code: int


_M = TypeVar("_M", bound=_Message)


@dataclass(frozen=True, slots=True)
class Moving:
    """How far one run is: bytes that are over there, `kept` of them from an earlier try."""

    run: int  # its number where it comes from
    name: str
    place: int  # among the runs that are moved, from 1
    runs: int
    done: int
    size: int
    kept: int


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of the runs: `merged` has the new ids by the old ones."""

    merged: Merged
    bytes: int  # sent by this try
    traffic: int  # events of production that stay where they are
    behind: tuple[int, ...]  # runs of this store that finished after they were moved


Told = Callable[[Moving], None]


class _Broken(Exception):
    """The other end has gone."""


class _Wire:
    """The lines to and from the other end, which messages call `name`."""

    def __init__(self, read: IO[bytes], write: IO[bytes], name: str) -> None:
        self.name = name
        self.heard = False
        self._read, self._write = read, write

    def put(self, message: _Message) -> None:
        self.write(f"{message.TAG} {message.model_dump_json()}\n".encode())

    def write(self, block: bytes) -> None:
        try:
            self._write.write(block)
            self._write.flush()
        except OSError as error:
            # What it said before it went is the reason.
            with suppress(_Broken):
                while True:
                    self._line()
            raise _Broken from error

    def get(self, kind: type[_M]) -> _M:
        """The next message, which must be of this kind. Raises what the other end failed of."""
        tag, body = self._line()
        try:
            if tag == kind.TAG:
                self.heard = True
                return kind.model_validate_json(body)
        except ValidationError:
            pass
        if self.heard:
            raise CannotRun(f"{self.name} sent something else than {kind.TAG!r}: {_shown(tag, body)}")
        raise CannotRun(
            f"{self.name} printed something before Assay's answer: {_shown(tag, body)}",
            "its shell must print nothing for a command: look into its ~/.bashrc, ~/.profile and the like",
        )

    def _line(self) -> tuple[str, bytes]:
        line = self._read.readline(_LONGEST if self.heard else _SAID)
        if not line:
            raise _Broken
        tag, _, body = line.partition(b" ")
        if tag == _Failure.TAG.encode():
            try:
                failure = _Failure.model_validate_json(body)
            except ValidationError as error:
                raise _Broken from error
            kind = BadInput if failure.code == BadInput.exit_code else CannotRun
            raise kind(f"{self.name}: {failure.message}", failure.hint)
        return tag.decode("utf-8", "replace"), body

    def read(self, most: int) -> bytes:
        block = self._read.read(most)
        if not block:
            raise _Broken
        return block


def _shown(tag: str, body: bytes) -> str:
    return repr(f"{tag} {body[:80].decode('utf-8', 'replace')}"[:80].strip())


def pull(
    place: str, store: Path, runs: Sequence[str], assay: str, told: Told, say: Callable[[str], None]
) -> Moved:
    """Takes the finished runs of the store at HOST[:FOLDER] into this one, or these of them.

    Raises BadInput and CannotRun in words; what had arrived is kept, and the next try goes on from there.
    """
    host, folder = destination(place)
    if database.exists(store):  # what is wrong with it is said before a password is asked for
        database.prepare(store)
    with _linked(host, "send", assay) as wire:
        _greet(wire, folder, "send", say)
        return _receive(wire, store, list(runs) or None, told)


def push(
    place: str, store: Path, runs: Sequence[str], assay: str, told: Told, say: Callable[[str], None]
) -> Moved:
    """Adds the finished runs of this store, or these of them, to the one at HOST[:FOLDER], as `pull` does."""
    host, folder = destination(place)
    with opened(store):  # the same
        pass
    with _linked(host, "receive", assay) as wire:
        _greet(wire, folder, "receive", say)
        return _send(wire, store, list(runs) or None, told)


def serve(side: Side) -> int:
    """The end that was started by ssh, on standard input and output; returns the exit code."""
    # Nothing else may be printed among the lines, whoever prints it.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    wire = _Wire(sys.stdin.buffer, answers, "the other side")
    wire.heard = True
    try:
        wire.put(_hello())
        folder = wire.get(_Place).folder
        store = database.locate(None, Path.cwd()) if folder is None else _store_in(folder)
        if side == "send":
            _send(wire, store, None, None)
        else:
            _receive(wire, store, None, None)
    except (AssayError, StoreError) as error:
        with suppress(_Broken):
            wire.put(_Failure(message=error.message, hint=error.hint, code=error.exit_code))
        return error.exit_code
    except _Broken:
        return CannotRun.exit_code
    return 0


def _store_in(text: str) -> Path:
    """A folder as people name it: the store itself, or what has it as `.assay`."""
    try:
        folder = Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise BadInput(f"{text}: {error}") from error
    inner = folder / ".assay"
    return inner if inner.is_dir() else folder


def _hello() -> _Hello:
    return _Hello(wire=_WIRE, assay=version("assay"), store_schema=database.SCHEMA)


def _greet(wire: _Wire, folder: str | None, theirs: Side, say: Callable[[str], None]) -> None:
    here, there = _hello(), wire.get(_Hello)
    if here != there:
        versions = f"{wire.name} has assay {there.assay} (schema {there.store_schema}), here is {here.assay}"
        versions += f" ({here.store_schema})"
        older = here if theirs == "send" else there  # the one that takes runs in knows no newer schema
        newer = there if theirs == "send" else here
        if here.wire != there.wire or older.store_schema < newer.store_schema:
            where = "here" if older is here else f"on {wire.name}"
            raise BadInput(versions, f"upgrade assay {where}")
        say(versions)
    wire.put(_Place(folder=folder))


def destination(text: str) -> tuple[str, str | None]:
    """HOST[:FOLDER] or ssh://[USER@]HOST[:PORT][/FOLDER] as ssh's destination and the folder."""
    if text.startswith("ssh://"):
        netloc, slash, path = text.removeprefix("ssh://").partition("/")
        if ":" in netloc.rpartition("@")[0]:
            raise BadInput("an address for ssh holds no password", "ssh asks for it, or use a key")
        host, folder = f"ssh://{netloc}" if netloc else "", unquote(slash + path)
    elif bracketed := re.fullmatch(r"(.*@)?\[([^\]]*)\](?::(.*))?", text, re.DOTALL):  # an IPv6 address
        host, folder = (bracketed[1] or "") + bracketed[2], bracketed[3] or ""
    else:
        host, _, folder = text.partition(":")
    # What begins with a dash would be an option.
    if not host or re.search(r"(^|@|/)-|[\s\x00-\x1f\x7f]", host) or "\0" in folder:
        raise BadInput(f"{text!r} names no machine", "give HOST or HOST:FOLDER, with HOST as ssh takes it")
    return host, folder or None


def _program(assay: str) -> str:
    """A program's path as one word of the other side's shell, which still finds the home folder."""
    if assay.startswith("-"):  # ssh here would take it for an option of its own
        raise BadInput(f"{assay!r} names no program", "give a path, as --assay '~/venv/bin/assay'")
    return f"~/{shlex.quote(assay[2:])}" if assay.startswith("~/") else shlex.quote(assay)


@contextmanager
def _linked(host: str, side: Side, assay: str) -> Iterator[_Wire]:
    """Assay on the other machine, started by ssh and ended with the block.

    $ASSAY_SSH is used in place of "ssh", with its own options. Only at a terminal may ssh ask for anything.
    """
    try:
        command = [*(shlex.split(os.environ.get("ASSAY_SSH", "")) or ["ssh"]), *_OPTIONS]
    except ValueError as error:
        raise BadInput(f"$ASSAY_SSH is no command: {error}", "quote it as in a shell") from error
    # Of these seconds a person may need some to type the password of a machine in between.
    command += (
        ["-o", "ConnectTimeout=90"]
        if sys.stdin.isatty()
        else ["-o", "BatchMode=yes", "-o", "ConnectTimeout=20"]
    )
    try:
        process = subprocess.Popen(
            [*command, host, f"{_program(assay)} remote {side}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
    except OSError as error:
        raise BadInput(
            f"{command[0]} can't be started: {error.strerror}", "install ssh, or name it in $ASSAY_SSH"
        ) from error
    assert process.stdin and process.stdout and process.stderr
    said = _Tail(process.stderr)
    wire = _Wire(process.stdout, process.stdin, host)
    try:
        yield wire
    except _Broken as error:
        with suppress(OSError):
            process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        raise _explained(wire, process.poll(), said.text(), assay) from error
    finally:
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                pipe.close()
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class _Tail:
    """The last that a stream said; all of it is read, so that nobody waits."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._kept = b""
        self._stream = stream
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        while block := os.read(self._stream.fileno(), _SAID):
            self._kept = (self._kept + block)[-_SAID:]

    def text(self) -> str:
        """Its last three lines as one."""
        self._thread.join(1)
        lines = self._kept.decode("utf-8", "replace").split("\n")
        return "; ".join([line.strip() for line in lines if line.strip()][-3:])


def _explained(wire: _Wire, code: int | None, said: str, assay: str) -> AssayError:
    """Why the link is gone, from ssh's exit code: the command's own, or 255."""
    host, words = wire.name, f": {said}" if said else ""
    if wire.heard and code is not None and 0 < code < 255:
        return CannotRun(f"assay on {host} failed{words}", "what has arrived is kept")
    if wire.heard:
        return CannotRun(
            f"the link to {host} broke{words}", "nothing is lost: the same command goes on from there"
        )
    if code == 255:
        return CannotRun(f"ssh doesn't reach {host}{words}", f"`ssh {host} true` must work first")
    if code in (126, 127):
        return BadInput(
            f"{host} has no program {assay!r} for a command over ssh{words}",
            "install assay there, or say where it is: --assay '~/venv/bin/assay'",
        )
    if code == 2 and "No such command" in said:
        return BadInput(f"the assay on {host} is older than pull and push", "upgrade it there")
    return CannotRun(f"{host} ended without an answer{words}", f"`ssh {host} {assay} --help` must work first")


def _send(wire: _Wire, store: Path, runs: Sequence[str] | None, told: Told | None) -> Moved:
    want = wire.get(_Want)
    known, still_open = frozenset(want.known), frozenset(want.open)
    with opened(store) as connection:
        all_runs = {run.id: run for run in movable(connection)}
        chosen = _chosen(connection, all_runs, want.runs if runs is None else runs)
        held, reused = needed(connection), mentioned(connection)
        events = traffic.count(connection)
    parcels = list(_parcels(chosen, all_runs, held, reused, known))
    left = [run for run in chosen if run.key not in known]
    outline = _Outline(
        runs=len(parcels),
        known=len(chosen) - len(left),
        unfinished=sum(run.unfinished and not run.deleted for run in left),
        deleted=sum(run.deleted for run in left),
        traffic=events,
        ended=[run.key for run in chosen if run.key in still_open and run.status == "finished"],
    )
    wire.put(outline)
    joined: dict[int, int] = {}
    sent = 0
    for place, parcel in enumerate(parcels, start=1):
        run = parcel.run
        with _packed(store, parcel) as file:
            size = os.fstat(file.fileno()).st_size
            wire.put(_Offer(key=run.key, id=run.id, name=run.name, size=size, sha256=_hash(file, size)))
            have = wire.get(_Have)
            same = have.size <= size and _hash(file, have.size) == have.sha256
            start = have.size if same else 0
            wire.put(_From(offset=start))
            file.seek(start)
            for done in _steps(start, size):
                wire.write(file.read(done.stop - done.start))
                _tell(told, Moving(run.id, run.name, place, len(parcels), done.stop, size, start))
            sent += size - start
            joined |= wire.get(_Took).joined
    behind = tuple(run.id for run in chosen if run.key in outline.ended)
    return Moved(Merged(joined, outline.known, outline.unfinished, outline.deleted), sent, events, behind)


def _chosen(
    connection: Connection, all_runs: Mapping[int, Movable], named: Sequence[str] | None
) -> list[Movable]:
    """All runs, or those that are named. Raises BadInput where one of these can't be moved."""
    if named is None:
        return list(all_runs.values())
    chosen = [all_runs[number] for number in sorted({find_run(connection, text) for text in named})]
    for run in chosen:
        if run.deleted:
            raise BadInput(f"run {run.id} is deleted", f"`assay restore {run.id}` brings it back")
        if run.unfinished:
            raise BadInput(f"run {run.id} is {run.status}", "it can be moved when it is over, or paused")
    return chosen


@dataclass(frozen=True, slots=True)
class _Parcel:
    """What travels together: a run, the runs that it was held against, and others by name alone."""

    run: Movable
    whole: frozenset[int]
    named: frozenset[int]


def _parcels(
    chosen: Sequence[Movable], all_runs: Mapping[int, Movable], held: Mapping[int, Sequence[int]],
    reused: Mapping[int, Sequence[int]], known: frozenset[str],
) -> Iterator[_Parcel]:  # fmt: skip
    """One for each run that is over and not known there; what it refers to is known there or goes along."""
    there = {run.id for run in all_runs.values() if run.key in known}
    for run in chosen:
        if run.id in there or run.unfinished or run.deleted:
            continue
        whole, named, queue = {run.id}, set[int](), [run.id]
        while queue:
            number = queue.pop()
            fresh = set(held.get(number, ())) - there - whole
            whole |= fresh
            queue += sorted(fresh)
            named |= {*held.get(number, ()), *reused.get(number, ())} & there
        yield _Parcel(run, frozenset(whole), frozenset(named))
        there |= whole


@contextmanager
def _packed(store: Path, parcel: _Parcel) -> Iterator[IO[bytes]]:
    """The parcel as a tar file: the same bytes every time, so that a second try finds the first one's."""
    with ExitStack() as kept:
        try:
            place = Path(kept.enter_context(tempfile.TemporaryDirectory(prefix="assay-send-")))
            folder, packed = place / "store", place / "run.tar"
            extract(store, parcel.whole, parcel.named, folder)
            with tarfile.open(packed, "w") as made:
                for path in (folder / database.FILE, *sorted(folder.glob("logs/*"))):
                    made.add(path, path.relative_to(folder), filter=_bare)
            file = kept.enter_context(packed.open("rb"))
        except (OSError, database.Unavailable, StoreError) as error:
            reason = error.message if isinstance(error, StoreError) else refused(error) or error
            raise CannotRun(
                f"run {parcel.run.id} can't be packed in {tempfile.gettempdir()}: {reason}",
                "free some space there, or name another folder in $TMPDIR",
            ) from error
        yield file


def _bare(member: tarfile.TarInfo) -> tarfile.TarInfo:
    return member.replace(mtime=0, mode=0o600, uid=0, gid=0, uname="", gname="", deep=False)


def _hash(file: IO[bytes], size: int) -> str:
    """Of the first `size` bytes."""
    file.seek(0)
    found = hashlib.sha256()
    for step in _steps(0, size):
        found.update(file.read(len(step)))
    return found.hexdigest()


def _steps(start: int, end: int) -> Iterator[range]:
    return (range(at, min(at + _BLOCK, end)) for at in range(start, end, _BLOCK))


def _receive(wire: _Wire, store: Path, runs: list[str] | None, told: Told | None) -> Moved:
    database.prepare(store)
    with opened(store) as connection:
        here = {run.key: run for run in movable(connection)}
        known = list(here)
        wire.put(_Want(runs=runs, known=known, open=[key for key in known if here[key].status in _OPEN]))
        outline = wire.get(_Outline)
        incoming = store / "incoming"
        joined: dict[int, int] = {}
        came = 0
        for place in range(1, outline.runs + 1):
            offer = wire.get(_Offer)
            part = incoming / f"{offer.key}.part"
            try:
                incoming.mkdir(mode=0o700, exist_ok=True)
                with os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+b") as file:
                    came += _fill(file, wire, offer, place, outline.runs, told)
                    if _hash(file, offer.size) != offer.sha256:
                        part.unlink(missing_ok=True)
                        raise CannotRun(f"run {offer.id} of {wire.name} arrived damaged", "try again")
                    new = _taken_in(connection, file, offer, wire.name, incoming)
            except OSError as error:
                raise CannotRun(
                    f"run {offer.id} of {wire.name} can't be kept in {incoming}: {error.strerror or error}",
                    "what arrived is kept: the same command goes on from there",
                ) from error
            part.unlink(missing_ok=True)
            joined |= new
            wire.put(_Took(joined=list(new.items())))
        with suppress(OSError):  # parts of runs that were not asked for this time stay
            for key in known:
                (incoming / f"{key}.part").unlink(missing_ok=True)
            incoming.rmdir()
    merged = Merged(joined, outline.known, outline.unfinished, outline.deleted)
    behind = tuple(here[key].id for key in outline.ended if key in here)
    return Moved(merged, came, outline.traffic, behind)


def _fill(file: IO[bytes], wire: _Wire, offer: _Offer, place: int, runs: int, told: Told | None) -> int:
    """Adds what is missing of a run; returns how many bytes that were."""
    size = min(os.fstat(file.fileno()).st_size, offer.size)
    free = shutil.disk_usage(file.fileno()).free - _SPARE
    if offer.size - size > free:
        raise CannotRun(
            f"run {offer.id} of {wire.name} has {offer.size:,} bytes, and {max(0, free):,} are free here",
            "free some space, or move single runs with --run",
        )
    wire.put(_Have(size=size, sha256=_hash(file, size)))
    start = wire.get(_From).offset
    if start not in (0, size):
        raise CannotRun(f"{wire.name} goes on at byte {start:,}, where {size:,} have arrived", "try again")
    file.truncate(start)
    file.seek(start)
    for step in _steps(start, offer.size):
        left = len(step)
        while left:
            block = wire.read(left)
            file.write(block)
            left -= len(block)
        _tell(told, Moving(offer.id, offer.name, place, runs, step.stop, offer.size, start))
    file.flush()
    os.fsync(file.fileno())
    return offer.size - start


def _tell(told: Told | None, moving: Moving) -> None:
    if told is not None:
        told(moving)


def _taken_in(
    connection: Connection, file: IO[bytes], offer: _Offer, name: str, incoming: Path
) -> dict[int, int]:
    """Unpacks a run aside and merges it; what is no part of one is refused."""
    with tempfile.TemporaryDirectory(prefix=".run-", dir=incoming) as place:
        file.seek(0)
        try:
            with tarfile.open(fileobj=file, mode="r:") as packed:
                for member in packed:
                    content = packed.extractfile(member) if member.isreg() and not member.issparse() else None
                    if content is None or not re.fullmatch(_MEMBER, member.name):
                        raise CannotRun(
                            f"run {offer.id} of {name} holds {member.name[:200]!r}, which is no part of a run"
                        )
                    target = Path(place) / member.name
                    target.parent.mkdir(exist_ok=True)
                    with target.open("wb") as unpacked:
                        shutil.copyfileobj(content, unpacked)
            return merge(connection, Path(place)).joined
        except (tarfile.TarError, StoreError) as error:
            reason = error.message if isinstance(error, StoreError) else str(error)
            raise CannotRun(f"run {offer.id} of {name} can't be taken in: {reason}") from error
