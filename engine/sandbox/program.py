"""The program's side: it is executed here, and its objects stay here.

It is asked for operations on them, and answers with plain data, or with a name for what is not plain. No
text of the tests is ever in this process, only the values that they call it with.
"""

import io
import operator
import os
import sys
import types
from collections import deque
from collections.abc import Callable
from typing import Any

from engine.sandbox.wire import NotPlain, pack, receive, send, unpack

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
