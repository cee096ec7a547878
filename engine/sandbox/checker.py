"""The tests' side: they run here, apart from the program, which they reach only through names.

A program can therefore not replace an assertion, a builtin or the checker, read what is expected of it, or
say that it passed: it is asked for values, and the tests compare plain data here.
"""

import ast
import builtins
import importlib
import inspect
import io
import sys
import traceback
import unittest
from collections import deque
from collections.abc import Callable
from typing import Any

from engine.sandbox.wire import Closed, NotPlain, pack, receive, send, unpack

_FORWARDED = (
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor", "lshift",
    "rshift", "neg", "pos", "abs", "invert", "index", "getitem", "setitem", "delitem", "contains",
)  # fmt: skip
_COMPARED = ("eq", "ne", "lt", "le", "gt", "ge")
_RAN, _ENTERED = "_assay_ran", "_assay_entered"
NO_ASSERTION = "no assertion ran"
REASON_LENGTH = 300


class ProgramError(Exception):
    """An exception whose class only the program has."""


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
    """Whether the program at the other end passes, and why not.

    None for tests that are no Python, need a package that is not there, or run no assertion. What the tests
    define and do not run themselves is run: unittest's test cases, functions named test…, and
    `check(candidate)` where the program has one function. Raises Closed when the program is gone.
    """
    sys.set_int_max_str_digits(0)
    try:
        tree = ast.parse(tests)
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        code = compile(ast.fix_missing_locations(_Counting().visit(tree)), "<tests>", "exec")
    except (SyntaxError, ValueError) as error:
        return None, f"the tests are not valid Python: {error}"[:REASON_LENGTH]
    program = _Program(stream)
    run = _Run()
    try:
        visible = _visible(program.globals(), used)
        namespace = {"__name__": "tests", _RAN: run.assertion, _ENTERED: run.entered.add} | visible
        # The tests' own call would look for their classes in another module, and exit.
        unittest.main = lambda *_, **__: None  # type: ignore[assignment]
        exec(code, namespace)  # noqa: S102  the tests of the example, in the sandbox
        run.rest(namespace, visible)
    except Closed:
        raise
    except BaseException as error:  # a test may raise anything, and all of it means that it did not pass
        if isinstance(error, ModuleNotFoundError) and _last_file(error) == "<tests>":
            return None, f"the tests need a package that is not in the sandbox: {error}"[:REASON_LENGTH]
        return False, _reason(error, tests)
    return (True, None) if run.assertions else (None, NO_ASSERTION)


class _Run:
    """The tests' activity: the number of assertions, and the functions and test cases that ran."""

    def __init__(self) -> None:
        self.assertions = 0
        self.entered: set[str] = set()

    def assertion(self) -> None:
        self.assertions += 1

    def rest(self, namespace: dict[str, Any], visible: dict[str, Any]) -> None:
        """Runs what the tests define and did not run. Raises what a test raises."""
        own = {name: value for name, value in namespace.items() if visible.get(name, self) is not value}
        for name, value in own.items():
            if inspect.isclass(value) and issubclass(value, unittest.TestCase):
                if name not in self.entered and value.__module__ == "tests":
                    _run_case(value)
            elif inspect.isfunction(value) and name not in self.entered:
                functions = [other for other in visible.values() if _is_function(other)]
                if name.startswith("test") and _takes(value, 0):
                    value()
                elif name == "check" and _takes(value, 1) and len(functions) == 1:
                    value(functions[0])


def _run_case(case: type[unittest.TestCase]) -> None:
    """Runs a test case. Raises the first failure's exception."""

    class _Raising(unittest.TestResult):
        def addFailure(self, test: unittest.TestCase, err: Any) -> None:
            raise err[1]

        addError = addFailure

        def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
            if err is not None:
                raise err[1]

    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(_Raising())


def _is_function(value: Any) -> bool:
    return isinstance(value, Remote) and object.__getattribute__(value, "_kind") == "function"


def _takes(function: Callable[..., Any], count: int) -> bool:
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    return True


class _Counting(ast.NodeTransformer):
    """Makes the tests report each assertion, and the functions and test cases that they enter.

    An assertion is an `assert`, a call of something named assert…, or a statement that may raise by hand.
    """

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.Assert):
            return node
        node = self.generic_visit(node)
        if isinstance(node, ast.Call) and _called(node.func).startswith("assert"):
            return ast.copy_location(ast.BoolOp(ast.Or(), [_call(_RAN), node]), node)
        for block in ("body", "orelse", "finalbody"):
            statements = getattr(node, block, None)
            if isinstance(statements, list):
                setattr(node, block, _marked(statements))
        if isinstance(node, ast.Module):
            for inner in node.body:
                _mark_entry(inner)
        return node


def _marked(statements: list[Any]) -> list[Any]:
    """The statements with a call of _RAN before each row of assertions."""
    marked: list[Any] = []
    before = False
    for statement in statements:
        asserts = isinstance(statement, ast.Assert) or _may_raise(statement)
        if asserts and not before:
            marked.append(ast.copy_location(ast.Expr(_call(_RAN)), statement))
        marked.append(statement)
        before = asserts
    return marked


def _mark_entry(node: ast.stmt) -> None:
    """Has a function, or each method of a class, say that it is entered."""
    inside = node.body if isinstance(node, ast.ClassDef) else [node]
    for function in inside:
        if isinstance(function, ast.FunctionDef) and isinstance(node, ast.FunctionDef | ast.ClassDef):
            function.body.insert(0, ast.Expr(_call(_ENTERED, node.name)))


def _called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _may_raise(node: ast.stmt) -> bool:
    """Whether a statement decides on raising: an `if` around a `raise`, a `try` around either kind."""
    if not isinstance(node, ast.If | ast.Try | ast.With | ast.Match):
        return False
    raising = (ast.Raise, ast.Assert) if isinstance(node, ast.Try) else (ast.Raise,)
    return any(isinstance(inner, raising) for inner in ast.walk(node))


def _call(name: str, *args: str) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), [ast.Constant(value) for value in args], [])


def _last_file(error: BaseException) -> str:
    frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    return next((name for name in reversed(frames) if not name.startswith("<frozen")), "")


def _visible(names: dict[str, Any], used: set[str]) -> dict[str, Any]:
    """The program's names for the tests. One that hides a builtin counts only where they use no other."""
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
            raise NotPlain(f"a {type(value).__name__} of the tests cannot be passed to the program")
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
    """Applies the program's changes of an argument to the tests' own object."""
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
    elif isinstance(value, io.StringIO | io.BytesIO):
        value.seek(0)
        value.truncate()
        value.write(now.getvalue())
        value.seek(now.tell())
