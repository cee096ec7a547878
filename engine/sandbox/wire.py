"""The protocol between a program and its tests, and the program's side of it.

Plain data cross in frames, and names for everything else. The program is executed here, and its objects
stay here: it is asked for operations on them, and answers with plain data, or with a name for what is not
plain. No text of the tests is ever in its process, only the values that they call it with.

The receiver of a frame trusts nothing in it: JSON with tags, no pickle, no code. Values of subclasses of
plain types cross as the plain type, so that no `__eq__` of a program decides what a test compares.
"""

import builtins
import io
import json
import operator
import os
import struct
import sys
import types
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

MAX_FRAME = 32 << 20  # bytes


class Closed(Exception):
    """The other side is gone."""


class NotPlain(TypeError):
    """A value that cannot be sent."""


def frame(message: Any) -> bytes:
    """A message's length and its JSON. Raises NotPlain for one that is too large or too deep."""
    try:
        body = json.dumps(message).encode("ascii")
    except RecursionError as error:
        raise NotPlain("a value is nested too deeply") from error
    if len(body) > MAX_FRAME:
        raise NotPlain(f"a value takes more than {MAX_FRAME >> 20} MiB")
    return struct.pack(">I", len(body)) + body


def send(stream: int, message: Any) -> None:
    """Writes one frame. Raises Closed, and NotPlain as `frame` does."""
    view = memoryview(frame(message))
    try:
        while view:
            view = view[os.write(stream, view) :]
    except OSError as error:
        raise Closed from error


def receive(stream: int) -> Any:
    """The next frame of a descriptor. Raises Closed, also for what is no frame."""
    return read_frame(lambda size: os.read(stream, min(size, 1 << 20)))


def read_frame(read: Callable[[int], bytes]) -> Any:
    """The next frame of what `read(size)` gives, at most so many bytes at a time. Raises Closed."""
    (size,) = struct.unpack(">I", _read(read, 4))
    if size > MAX_FRAME:
        raise Closed
    try:
        return json.loads(_read(read, size))
    except (ValueError, RecursionError) as error:
        raise Closed from error


def _read(read: Callable[[int], bytes], size: int) -> bytes:
    body = bytearray()
    while len(body) < size:
        try:
            piece = read(size - len(body))
        except OSError as error:
            raise Closed from error
        if not piece:
            raise Closed
        body += piece
    return bytes(body)


_SEQUENCES: dict[str, Callable[[list[Any]], Any]] = {
    "list": list, "tuple": tuple, "set": set, "frozenset": frozenset, "deque": deque,
}  # fmt: skip
_TEXTS: dict[str, Callable[[str], Any]] = {
    "bytes": bytes.fromhex, "bytearray": bytearray.fromhex, "Decimal": Decimal, "Fraction": Fraction,
    "complex": complex,
}  # fmt: skip
_DATES: dict[type[Any], Callable[[str], Any]] = {
    date: date.fromisoformat, datetime: datetime.fromisoformat, time: time.fromisoformat,
}  # fmt: skip
_MAPPINGS: tuple[Any, ...] = (Counter, OrderedDict)
_BUILTIN_TYPES = {name: kind for name, kind in vars(builtins).items() if isinstance(kind, type)}
_STREAMS: tuple[Any, ...] = (io.StringIO, io.BytesIO)
_SCALARS: tuple[tuple[Any, Any], ...] = ((int, int.__int__), (float, float.__float__), (str, str.__str__))
_ITEMS: tuple[Any, ...] = (list, tuple, set, frozenset, deque)
_NUMBERS = (Decimal, Fraction, complex)
_VIEWS: Mapping[Any, Callable[[list[Any]], Any]] = {
    type({}.keys()): lambda items: dict.fromkeys(items).keys(),
    type({}.values()): lambda items: dict(enumerate(items)).values(),
    type({}.items()): lambda items: dict(items).items(),
}
_VIEW_NAMES = {kind.__name__: make for kind, make in _VIEWS.items()}


def pack(value: Any, name: Callable[[Any], Any]) -> Any:
    """The JSON form of a value; `name(value)` is asked for the form of what is not plain."""
    try:
        return _pack(value, name)
    except RecursionError as error:
        raise NotPlain("a value is nested too deeply, or contains itself") from error


def _pack(value: Any, name: Callable[[Any], Any]) -> Any:
    if value is None or isinstance(value, bool):
        return value
    # The plain type's own methods throughout: a subclass has no say in what crosses.
    for kind, plain in _SCALARS:
        if isinstance(value, kind):
            return plain(value)
    if isinstance(value, tuple) and isinstance(fields := getattr(type(value), "_fields", None), tuple):
        items = [_pack(item, name) for item in tuple.__iter__(value)]
        return ["namedtuple", [type(value).__name__, list(fields), items]]
    for kind in _ITEMS:
        if isinstance(value, kind):
            return [kind.__name__, [_pack(item, name) for item in kind.__iter__(value)]]
    if type(value) is defaultdict:
        return ["defaultdict", [_pack(value.default_factory, name), _pairs(dict, value, name)]]
    if isinstance(value, dict):
        mapping: Any = type(value) if type(value) in _MAPPINGS else dict
        return [mapping.__name__, _pairs(mapping, value, name)]
    if isinstance(value, bytes):
        return ["bytes", bytes.hex(value)]
    if isinstance(value, bytearray):
        return ["bytearray", bytearray.hex(value)]
    if type(value) in _NUMBERS:
        return [type(value).__name__, str(value)]
    if type(value) in _VIEWS:
        return [type(value).__name__, [_pack(item, name) for item in value]]
    return _pack_library(value) or name(value)


def _pairs(kind: Any, value: Any, name: Callable[[Any], Any]) -> list[Any]:
    return [[_pack(key, name), _pack(item, name)] for key, item in kind.items(value)]


def _pack_library(value: Any) -> Any:
    """The form of a value of the standard library that both sides know; None for any other."""
    if type(value) in _DATES:
        return [type(value).__name__, value.isoformat()]
    if type(value) is timedelta:
        return ["timedelta", [value.days, value.seconds, value.microseconds]]
    if type(value) is range:
        return ["range", [value.start, value.stop, value.step]]
    if type(value) in _STREAMS and not value.closed:
        held = value.getvalue()
        return [type(value).__name__, [held.hex() if isinstance(held, bytes) else held, value.tell()]]
    builtin = next((name for name, kind in _BUILTIN_TYPES.items() if kind is value), None)
    return ["type", builtin] if builtin else None


def _stream(tag: str, held: str, place: int) -> Any:
    stream: Any = io.StringIO(held) if tag == "StringIO" else io.BytesIO(bytes.fromhex(held))
    stream.seek(place)
    return stream


def _unpack_library(tag: str, rest: Any) -> Any:
    for kind, read in _DATES.items():
        if tag == kind.__name__:
            return read(rest)
    if tag == "timedelta":
        return timedelta(*rest)
    if tag == "range":
        return range(*rest)
    if tag == "type":
        return _BUILTIN_TYPES[rest]
    return _stream(tag, *rest)


_LIBRARY = {"date", "datetime", "time", "timedelta", "range", "type", "StringIO", "BytesIO"}


def unpack(form: Any, find: Callable[[str, Any], Any]) -> Any:
    """The value of a JSON form; `find(tag, rest)` gives what is not plain. Raises NotPlain."""
    if not isinstance(form, list):
        return form
    try:
        tag, rest = form
        if tag in _SEQUENCES:
            return _SEQUENCES[tag]([unpack(item, find) for item in rest])
        if tag == "dict":
            return {unpack(key, find): unpack(item, find) for key, item in rest}
        if tag in ("Counter", "OrderedDict"):
            kind = Counter if tag == "Counter" else OrderedDict
            return kind({unpack(key, find): unpack(item, find) for key, item in rest})
        if tag == "defaultdict":
            pairs = {unpack(key, find): unpack(item, find) for key, item in rest[1]}
            return defaultdict(unpack(rest[0], find), pairs)
        if tag in _VIEW_NAMES:
            return _VIEW_NAMES[tag]([unpack(item, find) for item in rest])
        if tag == "namedtuple":
            kind, fields, items = rest
            return namedtuple(kind, fields)(*[unpack(item, find) for item in items])
        if tag in _LIBRARY:
            return _unpack_library(tag, rest)
        if tag in _TEXTS:
            return _TEXTS[tag](rest)
        return find(tag, rest)
    except (TypeError, ValueError, LookupError, ArithmeticError, RecursionError) as error:
        raise NotPlain(f"a value was garbled: {error}") from error


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "call": lambda function, *args, **kwargs: function(*args, **kwargs),
    "getattr": getattr, "setattr": setattr, "iter": iter, "next": next, "len": len, "bool": bool, "str": str,
    "repr": repr, "hash": hash, "int": int, "float": float,
    "isinstance": lambda kind, value: isinstance(value, kind),
    "enter": lambda manager: type(manager).__enter__(manager),
    "exit": lambda manager: type(manager).__exit__(manager, None, None, None),
}  # fmt: skip
_MUTABLE = (list, dict, set, deque, bytearray, io.StringIO, io.BytesIO)


def serve(source: str, stream: int) -> None:
    """Executes a program, sends the names that it defined, then performs the requests. Raises Closed."""
    sys.set_int_max_str_digits(0)
    # A module that can be looked up: dataclasses and typing do so.
    module = types.ModuleType("program")
    sys.modules["program"] = module
    objects = _Objects(stream)
    own_process = os.getpid()
    try:
        exec(compile(source, "<program>", "exec"), module.__dict__)  # noqa: S102  the purpose of a sandbox
    except BaseException as error:  # whatever it raised is the outcome, SystemExit too
        send(stream, _raised(error))
        return
    if os.getpid() != own_process:
        return  # a copy of this process that the program made
    send(stream, ["ready", objects.names(module)])
    while True:
        send(stream, objects.perform(receive(stream)))


class _Objects:
    """The program's objects that the tests have names for."""

    def __init__(self, stream: int) -> None:
        self._stream = stream
        self._known: list[Any] = []
        self._places: dict[int, int] = {}

    def names(self, module: types.ModuleType) -> dict[str, Any]:
        found = {name: value for name, value in vars(module).items() if not name.startswith("__")}
        return {str(name): pack(value, self._name) for name, value in found.items()}

    def perform(self, request: Any) -> Any:
        try:
            operation, args, kwargs = request
            values = [unpack(form, self._find) for form in args]
            named = {key: unpack(form, self._find) for key, form in kwargs.items()}
            perform = _OPERATIONS.get(operation) or getattr(operator, operation)
            result = perform(*values, **named)
            changed = [
                pack(value, self._name) if isinstance(value, _MUTABLE) else None for value in values[1:]
            ]
            return ["done", pack(result, self._name), changed]
        except BaseException as error:  # as above
            return _raised(error)

    def _name(self, value: Any) -> Any:
        if isinstance(value, types.ModuleType):
            return ["module", value.__name__]
        if isinstance(value, type) and issubclass(value, BaseException):
            return ["exception", [kind.__name__ for kind in value.__mro__]]
        place = self._places.setdefault(id(value), len(self._known))
        if place == len(self._known):
            self._known.append(value)
        kind = "type" if isinstance(value, type) else type(value).__name__
        return ["object", [place, kind]]

    def _find(self, tag: str, rest: Any) -> Any:
        if tag == "object":
            return self._known[rest]
        if tag != "function":
            raise NotPlain(f"the tests passed a {tag}")

        def function(*args: Any, **kwargs: Any) -> Any:
            forms = [pack(value, self._name) for value in args]
            named = {key: pack(value, self._name) for key, value in kwargs.items()}
            send(self._stream, ["call", rest, forms, named])
            outcome, form = receive(self._stream)
            if outcome == "raised":
                raise RuntimeError(f"a function of the tests raised {form}")
            return unpack(form, self._find)

        return function


def _raised(error: BaseException) -> list[Any]:
    try:
        message = str(error)[:500]
    except BaseException:  # a program's own __str__ may do anything
        message = ""
    return ["raised", [kind.__name__ for kind in type(error).__mro__], message]
