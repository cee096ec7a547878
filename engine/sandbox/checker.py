"""The tests' side: they run here, apart from the program, which they reach only through names.

A program can therefore not replace an assertion, a builtin or the checker, read what is expected of it, or
say that it passed: it is asked for values, and the tests compare plain data here.
"""

import ast
import builtins
import importlib
import importlib.util
import inspect
import io
import sys
import traceback
import types
import unittest
from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from engine.sandbox.wire import Closed, NotPlain, pack, receive, send, unpack

_OPERATORS = (
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor", "lshift",
    "rshift",
)  # fmt: skip
_OTHERS = ("neg", "pos", "abs", "invert", "index", "getitem", "setitem", "delitem", "contains")
_MIRRORED = {"eq": "eq", "ne": "ne", "lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}
# Methods whose arguments would tell the program what is expected: `f().startswith("Ann")`.
_PLAIN_METHODS = {
    name
    for kind in (str, bytes, int, float, list, tuple, dict, set)
    for name in dir(kind)
    if not name.startswith("__")
}
_UNCARRIED_KINDS = ("coroutine", "async_generator")
_RAN, _ENTERED = "_assay_ran", "_assay_entered"
NO_ASSERTION = "no assertion ran"
_STREAMS = "the tests feed or read standard input or output, which the program does not share with them"
# Names by which tests import the program.
_OWN = {"__main__", "solution", "main", "program", "answer", "candidate", "submission", "your_module"}
REASON_LENGTH = 300


class ProgramError(Exception):
    """An exception whose class only the program has."""


class Remote:
    """A reference to an object of the program.

    Its attributes, calls and iteration answer with plain data, as if the program had returned them. Operators
    and comparisons are the program's own word on what the tests ask, so they are left to an object that the
    tests made themselves (`_made`): an instance of a class that they name, or a constant of such a class.
    """

    __slots__ = ("_identity", "_kind", "_made", "_program")

    def __init__(self, program: "_Program", identity: int, kind: str, made: bool) -> None:
        object.__setattr__(self, "_program", program)
        object.__setattr__(self, "_identity", identity)
        object.__setattr__(self, "_kind", kind)
        object.__setattr__(self, "_made", made)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._program.call(self, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return self._program.attribute(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._program.ask("setattr", self, name, value)

    def __enter__(self) -> Any:
        entered = self._program.ask("enter", self)
        same = isinstance(entered, Remote) and entered._identity == self._identity
        return self if same else entered

    def __exit__(self, *_: object) -> None:
        # Never true: a program may not swallow what a test raises.
        self._program.ask("exit", self)

    def __iter__(self) -> Any:
        return self._program.ask("iter", self)

    def __next__(self) -> Any:
        return self._program.ask("next", self)

    def __len__(self) -> int:
        return int(self._program.ask("len", self))

    def __bool__(self) -> bool:
        return bool(self._program.ask("bool", self))

    def __int__(self) -> int:
        return int(self._program.ask("int", self))

    def __float__(self) -> float:
        return float(self._program.ask("float", self))

    def __str__(self) -> str:
        return str(self._program.ask("str", self))

    def __repr__(self) -> str:
        return str(self._program.ask("repr", self))

    def __hash__(self) -> int:
        return int(self._program.ask("hash", self))

    def __instancecheck__(self, value: Any) -> bool:
        return isinstance(value, Remote) and self._program.ask("isinstance", self, value) is True


def _forwarded(name: str) -> Callable[..., Any]:
    return lambda self, *args: self._program.operate(name, self, *args)


def _reflected(name: str) -> Callable[[Remote, Any], Any]:
    return lambda self, other: self._program.operate(name, other, self)


def _compared(name: str) -> Callable[[Remote, Any], Any]:
    return lambda self, other: self._program.compare(name, self, other)


for _name in (*_OPERATORS, *_OTHERS):
    setattr(Remote, f"__{_name.strip('_')}__", _forwarded(_name))
for _name in _OPERATORS:
    setattr(Remote, f"__r{_name.strip('_')}__", _reflected(_name))
for _name in _MIRRORED:
    setattr(Remote, f"__{_name}__", _compared(_name))


def check(tests: str, stream: int) -> tuple[bool | None, str | None]:
    """Whether the program at the other end passes, and why not.

    None for tests that are no Python, need a package that is not there or what the two sides cannot hand
    over, or run no assertion. What the tests alone can tell of that holds for every program: if failing ones
    were judged nevertheless, the share that passes would be too low. What the tests import from the program's
    own file (`from solution import f`) is the program's. What they define and do not run themselves is run:
    unittest's test cases, functions named test…, and `check(candidate)` where the program has one function.
    Raises Closed when the program is gone.
    """
    sys.set_int_max_str_digits(0)
    try:
        tree = ast.parse(tests)
        asked = _Asked.of(tree)
        absent = _without_absent(tree)
        inside = _inside(tree)
        code = compile(ast.fix_missing_locations(_Counting().visit(tree)), "<tests>", "exec")
    except (SyntaxError, ValueError) as error:
        return None, f"the tests are not valid Python: {error}"[:REASON_LENGTH]
    if lacking := _lacking(tree, asked, inside):
        return None, lacking[:REASON_LENGTH]
    program = _Program(stream, asked.names)
    run = _Run()
    names: dict[str, Any] | None = None
    try:
        names = program.globals()
        own = _from_program(absent, names, asked)
        visible = _visible(names, asked) | own
        sys.modules |= {root: _module(root, names) for root in inside}
        namespace = visible | {"__name__": "tests", _RAN: run.assertion, _ENTERED: run.entered.add}
        # The tests' own call would look for their classes in another module, and exit.
        unittest.main = lambda *_, **__: None  # type: ignore[assignment]
        exec(code, namespace)  # noqa: S102  the tests of the example, in the sandbox
        run.rest(namespace, names)
    except Closed:
        raise
    except BaseException as error:  # a test may raise anything; any exception means that it failed
        lacks = isinstance(error, ModuleNotFoundError)
        package = str(error).partition("'")[2].partition(".")[0].strip("'") if lacks else ""
        outside = [root for root in map(_root, absent) if root not in _OWN]
        if lacks and (_last_file(error) == "<tests>" or package in asked.imported - sys.stdlib_module_names):
            return None, f"the tests need a package that is not in the sandbox: {package}"[:REASON_LENGTH]
        if names is None and outside:
            return None, f"the tests need a package that is not in the sandbox: {outside[0]}"[:REASON_LENGTH]
        if program.uncarried:
            return None, program.uncarried[:REASON_LENGTH]
        said = "the program imports a package that is not in the sandbox: " if lacks else ""
        return False, (said + _reason(error, tests))[:REASON_LENGTH]
    return (True, None) if run.assertions else (None, NO_ASSERTION)


class _Run:
    """The tests' activity: the number of assertions, and the functions and test cases that ran."""

    def __init__(self) -> None:
        self.assertions = 0
        self.entered: set[str] = set()

    def assertion(self) -> None:
        self.assertions += 1

    def rest(self, namespace: dict[str, Any], program: dict[str, Any]) -> None:
        """Runs the tests that are defined but were not run. Raises what a test raises."""
        own = {name: value for name, value in namespace.items() if program.get(name, self) is not value}
        for name, value in own.items():
            if inspect.isclass(value) and issubclass(value, unittest.TestCase):
                if name not in self.entered and value.__module__ == "tests":
                    _run_case(value)
            elif inspect.isfunction(value) and name not in self.entered:
                functions = [other for other in program.values() if _is_function(other)]
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
    """Whether a statement may raise by hand: an `if` around a `raise`, a `try` around either kind."""
    if not isinstance(node, ast.If | ast.Try | ast.With | ast.Match):
        return False
    raising = (ast.Raise, ast.Assert) if isinstance(node, ast.Try) else (ast.Raise,)
    return any(isinstance(inner, raising) for inner in ast.walk(node))


def _call(name: str, *args: str) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), [ast.Constant(value) for value in args], [])


def _last_file(error: BaseException) -> str:
    frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    return next((name for name in reversed(frames) if not name.startswith("<frozen")), "")


Import = ast.Import | ast.ImportFrom


def _root(node: Import) -> str:
    name = (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
    return name.partition(".")[0]


def _is_absent(node: Import) -> bool:
    """Whether what is imported is not in the sandbox: a package, or the program's own file."""
    return _root(node) == "__main__" or not importlib.util.find_spec(_root(node) or "tests.none")


def _inside(tree: ast.Module) -> set[str]:
    """Roots of absent modules that functions of the tests import, where no `try` expects that they may be."""
    tried = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.Try)
        for statement in block.body
        for node in ast.walk(statement)
    }
    imports = [node for node in ast.walk(tree) if isinstance(node, Import) and id(node) not in tried]
    return {_root(node) for node in imports if node not in tree.body and _is_absent(node)}


def _lacking(tree: ast.Module, asked: "_Asked", inside: set[str]) -> str | None:
    """Why no program can be judged by the tests; None where that depends on the program."""
    if asked.streams:
        return _STREAMS
    if packages := sorted(inside - _OWN):
        return f"the tests need a package that is not in the sandbox: {packages[0]}"
    own = asked.imported | {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    for node in ast.walk(tree):
        awaited = [node.value] if isinstance(node, ast.Await) else []
        if isinstance(node, ast.Call) and _holder(node.func) == "asyncio":
            awaited = node.args
        if any(isinstance(call, ast.Call) and _holder(call) not in own for call in awaited):
            return "a coroutine of the program cannot be awaited by the tests"
    return None


def _holder(node: ast.expr) -> str:
    """The name with which an expression begins: Solution in `Solution().run()`."""
    while isinstance(node, ast.Call | ast.Attribute):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _module(root: str, names: dict[str, Any]) -> types.ModuleType:
    module = types.ModuleType(root)
    vars(module).update(names)
    return module


def _without_absent(tree: ast.Module) -> list[Import]:
    """Takes the statements out of the tests that import what is not in the sandbox, and returns them."""
    absent: list[Import] = []
    for node in tree.body[:]:
        if isinstance(node, Import) and _is_absent(node):
            absent.append(node)
            tree.body.remove(node)
    return absent


def _from_program(absent: Sequence[Import], names: dict[str, Any], asked: "_Asked") -> dict[str, Any]:
    """What the tests import from the program's own file. Raises ModuleNotFoundError for any other module."""
    found: dict[str, Any] = {}
    for node in absent:
        for alias in node.names:
            if isinstance(node, ast.Import):
                bound = alias.asname or _root(node)
                wanted = asked.attributes.get(bound, set())
                found[bound] = types.SimpleNamespace(**names)
            else:
                wanted = {alias.name} - {"*"}
                found |= {alias.asname or name: names[name] for name in wanted & names.keys()}
            if not wanted <= names.keys() or not (wanted or _root(node) in _OWN):
                raise ModuleNotFoundError(f"No module named '{_root(node)}'")
    return found


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the tests' source names: names, their attributes, modules, and whether it defines `check`.

    `streams` says that it replaces standard input or output, or starts programs.
    """

    names: Set[str]
    attributes: Mapping[str, Set[str]]
    imported: Set[str]
    has_check: bool
    streams: bool

    @classmethod
    def of(cls, tree: ast.AST) -> "_Asked":
        names: set[str] = set()
        attributes: dict[str, set[str]] = {}
        imported: set[str] = set()
        has_check = streams = False
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                names.add(node.id)
            elif isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(_root(node))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                streams |= node.value in ("builtins.input", "builtins.print", "sys.stdin", "sys.stdout")
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                attributes.setdefault(node.value.id, set()).add(node.attr)
                streams |= isinstance(node.ctx, ast.Store) and node.attr in ("stdin", "stdout", "input")
            elif isinstance(node, ast.FunctionDef):
                has_check |= node.name == "check"
                streams |= any(arg.arg in ("capsys", "capfd", "monkeypatch") for arg in node.args.args)
        used = names | imported | set().union(*attributes.values())
        streams |= not used.isdisjoint({"redirect_stdout", "redirect_stdin", "subprocess"})
        return cls(names, attributes, imported, has_check, streams)


def _visible(names: dict[str, Any], asked: _Asked) -> dict[str, Any]:
    """The program's names for the tests.

    One that hides a builtin counts only where it alone can be what is tested. One that hides a module which
    the tests use as such is that module.
    """
    hiding = {name for name in names if hasattr(builtins, name)}
    tested = not asked.has_check and not asked.names & names.keys() - hiding
    visible = {name: value for name, value in names.items() if tested or name not in hiding}
    for name in visible.keys() & asked.attributes.keys() & sys.stdlib_module_names:
        module = importlib.import_module(name)
        if all(hasattr(module, attribute) for attribute in asked.attributes[name]):
            visible[name] = module
    return visible


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
    """Asks the program's process for operations, and performs the functions of the tests that it calls.

    `named` are the names in the tests. `uncarried` says what the two sides could not hand over, if anything:
    what then fails says nothing about the program.
    """

    def __init__(self, stream: int, named: Set[str]) -> None:
        self._stream = stream
        self._named = named
        self._functions: list[Callable[..., Any]] = []
        self._exceptions: dict[str, type[BaseException]] = {}
        self._remotes: dict[tuple[int, bool], Remote] = {}
        self._constants: set[int] = set()
        self.uncarried: str | None = None

    def globals(self) -> dict[str, Any]:
        message = receive(self._stream)
        if message[0] == "raised":
            raise self._exception(*message[1:])
        own = {name: form for name, form in message[1].items() if name.isidentifier() and name[:2] != "__"}
        values = {name: unpack(form, self._find) for name, form in own.items()}
        return {name: self._as_made(value) if _is_class(name) else value for name, value in values.items()}

    def call(self, function: Remote, *args: Any, **kwargs: Any) -> Any:
        result = self.ask("call", function, *args, **kwargs)
        # Only a class makes an object of the tests: a function's answer may be anything.
        return self._as_made(result) if self._makes(function, result) else result

    def attribute(self, holder: Remote, name: str) -> Any:
        if name in _PLAIN_METHODS and not (holder._made and holder._kind != "type"):
            self._refuse(holder, f"whose {name} cannot be trusted")
        result = self.ask("getattr", holder, name)
        if self._makes(holder, result):
            self._constants.add(result._identity)
            return self._as_made(result)
        return result

    def operate(self, name: str, *args: Any) -> Any:
        remotes = [value for value in args if isinstance(value, Remote)]
        made = {value._kind for value in remotes if value._made} - {"type"}
        if not made:
            self._refuse(remotes[0], "whose operators cannot be trusted")
        result = self.ask(name, *args)
        return self._as_made(result) if isinstance(result, Remote) and result._kind in made else result

    def compare(self, name: str, one: Remote, other: Any) -> Any:
        if not isinstance(other, Remote):
            # The answer would be the program's own word on whether it is right.
            raise NotPlain(f"the program gave a {one._kind}, which cannot be compared with plain data")
        if one._made:
            return self.ask(name, one, other)
        if other._made:
            return self.ask(_MIRRORED[name], other, one)
        return self._refuse(one, "which only the program could compare")

    def _makes(self, holder: Remote, result: Any) -> bool:
        if not (isinstance(result, Remote) and holder._made and holder._kind == "type"):
            return False
        return _is_class(result._kind) and result._kind in self._named

    def _as_made(self, value: Any) -> Any:
        if not isinstance(value, Remote) or value._made:
            return value
        return self._remote(value._identity, value._kind, True)

    def _remote(self, identity: int, kind: str, made: bool) -> Remote:
        # One reference for one object, so that `is` holds.
        made = made or identity in self._constants
        return self._remotes.setdefault((identity, made), Remote(self, identity, kind, made))

    def _refuse(self, remote: Remote, why: str) -> Any:
        """Raises NotPlain: a failure of the program, unless the tests know its class."""
        reason = f"the program gave a {remote._kind}, {why}"
        if remote._kind == "type" or remote._kind in self._named:
            self.uncarried = reason
        raise NotPlain(reason)

    def ask(self, operation: str, *args: Any, **kwargs: Any) -> Any:
        forms = [pack(value, self._name) for value in args]
        named = {key: pack(value, self._name) for key, value in kwargs.items()}
        send(self._stream, [operation, forms, named])
        while (message := receive(self._stream))[0] == "call":
            send(self._stream, self._perform(*message[1:]))
        if message[0] == "raised":
            error = self._exception(*message[1:])
            if isinstance(error, StopIteration) and operation != "next":
                # It would end a loop of the tests early, as if nothing were left to test.
                raise ProgramError("the program raised StopIteration")
            raise error
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
            self.uncarried = f"a {type(value).__name__} of the tests cannot be passed to the program"
            raise NotPlain(self.uncarried)
        self._functions.append(value)
        return ["function", len(self._functions) - 1]

    def _find(self, tag: str, rest: Any) -> Any:
        if tag == "object":
            identity, kind = int(rest[0]), str(rest[1])
            if kind in _UNCARRIED_KINDS and "asyncio" in self._named:
                self.uncarried = f"a {kind} of the program cannot be awaited by the tests"
            return self._remote(identity, kind, False)
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


def _is_class(name: str) -> bool:
    """Whether a name is written as a class's: what is asked of a function is judged by plain data alone."""
    return name[:1].isupper()


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
