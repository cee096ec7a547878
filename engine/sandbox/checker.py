"""The side of the tests: they run here, apart from the program, which they reach through names only.

A program can therefore not replace an assertion, a builtin or the checker, read what is expected of it, or
say that it passed: it is asked for values, and the tests compare plain data here.
"""

import ast
import builtins
import importlib
import sys
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any

from engine.sandbox.wire import Closed, NotPlain, pack, receive, send, unpack

_FORWARDED = (
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor", "lshift",
    "rshift", "neg", "pos", "abs", "invert", "index", "getitem", "setitem", "delitem", "contains",
)  # fmt: skip
_COMPARED = ("eq", "ne", "lt", "le", "gt", "ge")
REASON_LENGTH = 300


class ProgramError(Exception):
    """An exception that only the program knows the class of."""


class Remote:
    """An object of the program: used through its operations, compared only with others of the program."""

    __slots__ = ("_ask", "_identity", "_kind")

    def __init__(self, ask: Callable[..., Any], identity: int, kind: str) -> None:
        object.__setattr__(self, "_ask", ask)
        object.__setattr__(self, "_identity", identity)
        object.__setattr__(self, "_kind", kind)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("call", self, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return self._ask("getattr", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._ask("setattr", self, name, value)

    def __iter__(self) -> Any:
        return self._ask("iter", self)

    def __next__(self) -> Any:
        return self._ask("next", self)

    def __len__(self) -> int:
        return int(self._ask("len", self))

    def __bool__(self) -> bool:
        return bool(self._ask("bool", self))

    def __str__(self) -> str:
        return str(self._ask("str", self))

    def __repr__(self) -> str:
        return str(self._ask("repr", self))

    def __hash__(self) -> int:
        return int(self._ask("hash", self))

    def __instancecheck__(self, value: Any) -> bool:
        return isinstance(value, Remote) and self._ask("isinstance", self, value) is True


def _forwarded(name: str) -> Callable[..., Any]:
    return lambda self, *args: self._ask(name, self, *args)


def _compared(name: str) -> Callable[[Remote, Any], Any]:
    def compare(self: Remote, other: Any) -> Any:
        # Against plain data the answer would be the program's own word on whether it is right.
        if not isinstance(other, Remote):
            raise NotPlain(f"the program gave a {self._kind}, which cannot be compared with plain data")
        return self._ask(name, self, other)

    return compare


for _name in _FORWARDED:
    setattr(Remote, f"__{_name.strip('_')}__", _forwarded(_name))
for _name in _COMPARED:
    setattr(Remote, f"__{_name}__", _compared(_name))


def check(tests: str, stream: int) -> tuple[bool | None, str | None]:
    """Whether the program at the other end passes, and why not; None for tests that are no Python.

    Raises Closed when the program is gone.
    """
    sys.set_int_max_str_digits(0)
    try:
        code = compile(tests, "<tests>", "exec")
    except (SyntaxError, ValueError) as error:
        return None, f"the tests are no Python: {error}"[:REASON_LENGTH]
    program = _Program(stream)
    try:
        namespace = {"__name__": "tests"} | _visible(program.globals(), tests)
        exec(code, namespace)  # noqa: S102  the tests of the example, in the sandbox
    except Closed:
        raise
    except BaseException as error:  # a test may raise anything, and all of it means that it did not pass
        return False, _reason(error, tests)
    return True, None


def _visible(names: dict[str, Any], tests: str) -> dict[str, Any]:
    """The program's names for the tests. One that hides a builtin counts only where they use no other."""
    used = {node.id for node in ast.walk(ast.parse(tests)) if isinstance(node, ast.Name)}
    hiding = {name for name in names if hasattr(builtins, name)}
    own = used & names.keys() - hiding
    return {name: value for name, value in names.items() if not own or name not in hiding}


def _reason(error: BaseException, tests: str) -> str:
    lines = tests.splitlines()
    places = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<tests>"
    ]
    place = places[-1] if places else None
    test = lines[place - 1].strip() if place and place <= len(lines) else ""
    what = f"{type(error).__name__}: {error}".removesuffix(": ")
    return (f"{what}, at: {test}" if test else what)[:REASON_LENGTH]


class _Program:
    """Asks the program's process for operations, and performs the functions of the tests that it calls."""

    def __init__(self, stream: int) -> None:
        self._stream = stream
        self._functions: list[Callable[..., Any]] = []
        self._exceptions: dict[str, type[BaseException]] = {}

    def globals(self) -> dict[str, Any]:
        message = receive(self._stream)
        if message[0] == "raised":
            raise self._exception(*message[1:])
        return {name: unpack(form, self._find) for name, form in message[1].items()}

    def ask(self, operation: str, *args: Any, **kwargs: Any) -> Any:
        forms = [pack(value, self._name) for value in args]
        named = {key: pack(value, self._name) for key, value in kwargs.items()}
        send(self._stream, [operation, forms, named])
        while (message := receive(self._stream))[0] == "call":
            send(self._stream, self._perform(*message[1:]))
        if message[0] == "raised":
            raise self._exception(*message[1:])
        for value, form in zip(args[1:], message[2], strict=True):
            if form is not None:
                _refill(value, unpack(form, self._find))
        return unpack(message[1], self._find)

    def _perform(self, place: int, args: list[Any], kwargs: dict[str, Any]) -> list[Any]:
        try:
            values = [unpack(form, self._find) for form in args]
            named = {key: unpack(form, self._find) for key, form in kwargs.items()}
            return ["done", pack(self._functions[place](*values, **named), self._name)]
        except Exception as error:  # a function of the tests, called by the program with anything
            return ["raised", f"{type(error).__name__}: {error}"[:REASON_LENGTH]]

    def _name(self, value: Any) -> Any:
        if isinstance(value, Remote):
            return ["object", value._identity]
        if not callable(value) or isinstance(value, type):
            raise NotPlain(f"a {type(value).__name__} of the tests cannot be handed to the program")
        self._functions.append(value)
        return ["function", len(self._functions) - 1]

    def _find(self, tag: str, rest: Any) -> Any:
        if tag == "object":
            return Remote(self.ask, int(rest[0]), str(rest[1]))
        if tag == "exception":
            return self._class(rest)
        if tag == "module" and rest.partition(".")[0] in sys.stdlib_module_names:
            return importlib.import_module(rest)
        return None

    def _exception(self, kinds: list[str], message: str) -> BaseException:
        return self._class(kinds)(message)

    def _class(self, kinds: list[str]) -> type[BaseException]:
        """The class by its name and those of its bases: the builtin one, else one made after it."""
        for place, kind in enumerate(kinds):
            known = getattr(builtins, kind, None)
            if not (isinstance(known, type) and issubclass(known, BaseException)):
                continue
            # Made of a text alone: some classes, as UnicodeDecodeError, want more.
            base = known if issubclass(known, Exception) else ProgramError
            if place == 0 and not issubclass(base, UnicodeError):
                return base
            return self._exceptions.setdefault(kinds[0], type(kinds[0], (_text_error(base),), {}))
        return ProgramError


def _text_error(base: type[BaseException]) -> type[BaseException]:
    return ValueError if issubclass(base, UnicodeError) else base


def _refill(value: Any, now: Any) -> None:
    """What the program did to an argument happens to the tests' own object too."""
    if type(value) is not type(now) or isinstance(value, Remote):
        return
    if isinstance(value, list | bytearray):
        value[:] = now
    elif isinstance(value, dict | set):
        value.clear()
        value.update(now)
    elif isinstance(value, deque):
        value.clear()
        value.extend(now)
