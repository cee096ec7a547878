"""Functional correctness: an answer's program is executed against its example's tests, in a sandbox.

The shapes are those of HumanEval and MBPP. HumanEval: the query is the start of a module, beside it `test`
(it defines `check`) and `entry_point`. MBPP: the query is prose, with `test_list`, and what the tests need in
`test_setup_code` or `test_imports`. APPS, TACO, LiveCodeBench, CodeContests: inputs with the outputs that are
right, of a function or of a program that reads standard input. Anything else: `tests`, Python statements that
use the names which the answer defines.
"""

import ast
import json
import math
import re
import textwrap
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from engine.data.cells import listed
from engine.data.example import Example
from engine.errors import BadInput
from engine.metrics.metric import Score, fraction, missing, no_text
from engine.metrics.samples import pass_at_k
from engine.models.model import Response
from engine.sandbox.jail import ProgramLimits
from engine.sandbox.sandbox import Job, Outcome, Sandbox
from store.read.query import by_key

_SHOWN = 200
_LINES = 3  # of standard error
NO_TESTS = "the example has no tests"
_SOURCE = "Chen et al. 2021, unbiased estimator; openai/human-eval evaluation.py"

Pair = tuple[Example, Response]
_FENCE = re.compile(
    r"^([ \t]*)(`{3,}|~{3,})[ \t]*([^\s`]*)[^\n]*\n(.*?)(?:^[ \t]*\2|\Z)", re.MULTILINE | re.DOTALL
)
_PYTHON = {"", "python", "python3", "py", "py3", "ipython", "pycon"}
# Columns of inputs and outputs: APPS and TACO, LiveCodeBench, CodeContests, and others of their forms.
_INPUTS = (
    "input_output", "public_test_cases", "private_test_cases", "public_tests", "private_tests",
    "generated_tests", "official_tests", "test_cases", "tests",
)  # fmt: skip
# As in LiveCodeBench: predefined names, and lines compared by the values of their numbers.
_NAMES_GIVEN = """
import bisect, collections, functools, heapq, io, itertools, math, random, re, string, sys
from typing import *
from collections import *
from heapq import *
from bisect import *
from itertools import *
from functools import *
from math import *
from builtins import *
"""
_PRINTED = """
import atexit as _atexit, contextlib as _contextlib, os as _os, threading as _threading
_folder = _os.getcwd()
def _scratch():
    path = _os.path.join(_folder, "stream")
    file = _os.open(path, _os.O_RDWR | _os.O_CREAT | _os.O_EXCL)
    _os.unlink(path)
    return file
def _feed(pipe, data):
    with _contextlib.suppress(OSError), open(pipe, "wb") as stream:
        stream.write(data)
def _given(data):
    if len(data) > 4 << 20:
        reading, writing = _os.pipe()
        _threading.Thread(target=_feed, args=(writing, data), daemon=True).start()
        return reading
    file = _scratch()
    with open(file, "wb", closefd=False) as stream:
        stream.write(data)
    _os.lseek(file, 0, _os.SEEK_SET)
    return file
def printed(text):
    # The program may have closed its streams over the input before.
    while (file := _os.open("/dev/null", _os.O_RDWR)) < 3:
        pass
    _os.close(file)
    said, given = _scratch(), _given(text.encode("utf-8", "replace"))
    _os.dup2(given, 0)
    _os.close(given)
    _os.dup2(said, 1)
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)
    devices = {"/dev/stdin": 0, "/dev/stdout": 1}
    names = {"__name__": "__main__", "exit": sys.exit, "quit": sys.exit}
    names["open"] = lambda file, *args, **keys: open(devices.get(str(file), file), *args, **keys)
    try:
        exec(compile(_source, "<program>", "exec"), names)
    except SystemExit:
        pass
    for thread in _threading.enumerate():
        if thread is not _threading.current_thread() and not thread.daemon:
            thread.join()
    _atexit._run_exitfuncs()
    for stream in {sys.stdout, sys.__stdout__}:
        with _contextlib.suppress(Exception):
            stream.flush()
    with open(said, "rb") as stream:
        stream.seek(0)
        return stream.read().decode("utf-8", "replace")
"""
_SAME = """
import decimal as _assay_decimal, json as _assay_json
_assay_nan = object()
def _assay_values(line):
    parts = line.split()
    try:
        numbers = [_assay_decimal.Decimal(part) for part in parts]
    except _assay_decimal.InvalidOperation:
        return parts
    # NaN is no number to compare: it equals none, and the signalling one raises.
    return parts if "_" in line else [str(one).lower() if one.is_nan() else one for one in numbers]
def _assay_same_lines(said, due):
    ours, theirs = ([*map(_assay_values, text.strip().splitlines())] for text in (said, due))
    return ours == theirs
def _assay_plain(value):
    if isinstance(value, float) and value != value:
        return _assay_nan
    if isinstance(value, _assay_decimal.Decimal) and value.is_nan():
        return _assay_nan
    if isinstance(value, dict):
        return {_assay_plain(key): _assay_plain(item) for key, item in value.items()}
    for kind in (list, tuple, set, frozenset):
        if isinstance(value, kind):
            return kind(map(_assay_plain, value))
    return value
def _assay_same(given, due):
    wanted = [*map(_assay_plain, due)]
    if _assay_plain(given) in wanted:
        return True
    try:
        written = _assay_json.dumps(given)
    except (TypeError, ValueError):
        return False
    return _assay_plain(_assay_json.loads(written)) in wanted
"""
# A function's name, None for a program that reads standard input; what it is given, and what is right.
_Given = tuple[str | None, Any, tuple[Any, ...]]


class Code:
    """pass@k. Samples of one task are the answers to examples with the same query and tests.

    `k` is a number or a list of them; `timeout_s` (wall), `cpu_s`, `memory_mb` and `processes` limit each
    program; programs that run at the same time share the memory of one. `allow_weak` accepts a machine
    without namespaces: a program could then read the user's files.
    """

    def __init__(
        self,
        k: int | Sequence[int] = 1,
        timeout_s: float = 10.0,
        cpu_s: int = 5,
        memory_mb: int = 512,
        processes: int = 16,
        allow_weak: bool = False,
        language: str = "python",
    ) -> None:
        self._ks = _ks(k)
        for name, value in {
            "timeout_s": timeout_s, "cpu_s": cpu_s, "memory_mb": memory_mb, "processes": processes,
        }.items():  # fmt: skip
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise BadInput(f"metrics.code.{name}: found {value!r}; allowed: a number above 0")
        if not isinstance(allow_weak, bool):
            raise BadInput(f"metrics.code.allow_weak: found {allow_weak!r}; allowed: true or false")
        if language != "python":
            raise BadInput(f'metrics.code.language: found {language!r}; only "python" can be executed')
        limits = ProgramLimits(math.ceil(cpu_s), float(timeout_s), int(memory_mb) << 20, int(processes))
        self._sandbox = Sandbox(limits, allow_weak)
        self.measures = tuple(
            fraction(
                f"pass_at_{number}",
                "programs that pass all tests of their example"
                if number == 1
                else f"chance that one of {number} samples of a task passes all its tests",
                _SOURCE,
                needs={"tests"},
                version="5",
                verdict=number == 1,
            )
            for number in self._ks
        )
        self.measures += (
            fraction(
                "tests_passed",
                "tests that programs pass, of all; those of `test_cases`, `test_list` or a list of `tests` "
                "count one by one",
                "rule",
                needs={"tests"},
                version="5",
            ),
        )

    def score(self, example: Example, response: Response) -> list[Score]:
        return self.score_many([(example, response)])[0]

    def score_many(self, pairs: Sequence[Pair]) -> list[list[Score]]:
        """Scores of all pairs; the samples of one task must come in one call."""
        prepared = [_prepare(*pair) for pair in pairs]
        ran = self._sandbox.run_all(job for job in prepared if isinstance(job, Job))
        outcomes = [next(ran) if isinstance(job, Job) else job for job in prepared]
        tasks = by_key(
            (self.task(example), outcome.passed)
            for (example, _), outcome in zip(pairs, outcomes, strict=True)
            if outcome.passed is not None
        )
        rates = self._tests_passed(pairs, prepared, outcomes)
        return [
            [*self._scores(outcome, tasks.get(self.task(example), [])), rate]
            for (example, _), outcome, rate in zip(pairs, outcomes, rates, strict=True)
        ]

    def _tests_passed(
        self, pairs: Sequence[Pair], prepared: Sequence[Job | Outcome], outcomes: Sequence[Outcome]
    ) -> list[Score]:
        """The share of its tests that each program passes; of one that failed, each test is run alone."""
        cases = [cases_of(example) for example, _ in pairs]
        alone = {
            place: [Job(job.program, source) for _, source in cases[place]]
            for place, (job, outcome) in enumerate(zip(prepared, outcomes, strict=True))
            if isinstance(job, Job) and len(cases[place]) > 1 and outcome.passed is False
            if not _endless(outcome)
        }
        ran = self._sandbox.run_all(job for jobs in alone.values() for job in jobs)
        apart = {place: [next(ran) for _ in jobs] for place, jobs in alone.items()}
        return [
            _rate(outcome, [name for name, _ in cases[place]], apart.get(place))
            for place, outcome in enumerate(outcomes)
        ]

    def task(self, example: Example) -> Hashable | None:
        """The key of one task's samples: query and tests; None without tests."""
        tests = tests_of(example)
        return None if tests is None else (example.query, tests)

    def _scores(self, outcome: Outcome, samples: Sequence[bool]) -> list[Score]:
        reason = _told(outcome)
        if outcome.passed is None:
            return missing(self.measures[:-1], reason)
        return [
            _score(measure.name, k, outcome.passed, samples, reason)
            for k, measure in zip(self._ks, self.measures[:-1], strict=True)
        ]


def _score(name: str, k: int, passed: bool, samples: Sequence[bool], reason: str) -> Score:
    """One sample's share of its task: over n samples the parts sum to (the task's pass@k, 1)."""
    n = len(samples)
    if n < k:
        return Score(name, None, f"the task has {n} samples, and pass@{k} needs {k}")
    task = pass_at_k(n, sum(samples), k)
    value = float(passed) if k == 1 else task
    return Score(name, value, reason, parts=(value / n, 1 / n) if n > 1 else None)


def _rate(outcome: Outcome, names: Sequence[str], apart: Sequence[Outcome] | None) -> Score:
    if outcome.passed is None or (_endless(outcome) and len(names) > 1):
        return Score("tests_passed", None, _told(outcome))
    if apart is None:
        total = float(max(len(names), 1))
        return Score("tests_passed", float(outcome.passed), _told(outcome), (total * outcome.passed, total))
    decided = [one.passed for one in apart if one.passed is not None]
    if not decided:
        return Score("tests_passed", None, _told(apart[0]))
    failed = [name for name, one in zip(names, apart, strict=True) if one.passed is False]
    if not failed and len(decided) < len(apart):
        return Score("tests_passed", None, _told(next(one for one in apart if one.passed is None)))
    passed, total = float(sum(decided)) if failed else 0.0, float(len(decided))
    together = "each test passes alone, and not together: none counts"
    reason = f"failed: {', '.join(failed)}"[:_SHOWN] if failed else together
    return Score("tests_passed", passed / total, reason, (passed, total))


def _endless(outcome: Outcome) -> bool:
    """Whether a program was stopped by its time limit: each of its tests might take as long again."""
    return any(sign in (outcome.reason or "") for sign in ("not finished after", "of CPU time"))


def _prepare(example: Example, response: Response) -> Job | Outcome:
    tests = tests_of(example)
    if tests is None:
        unread = next((name for name, value in _columns(example) if isinstance(value, str)), None)
        said = f"its {unread} is no JSON, and pickled tests are never loaded" if unread else NO_TESTS
        return Outcome(None, said, None)
    if (language := language_of(example)) != "python":
        return Outcome(None, f"the example's tests are {language}; only Python is executed", None)
    if response.text is None:
        return Outcome(None, no_text(response), None)
    try:
        return Job(program_of(example, response.text), tests)
    except NotPython as error:
        return Outcome(False, str(error), None)


def _told(outcome: Outcome) -> str:
    """Why it failed, with the first lines of its standard error, and how it was isolated."""
    isolation = f"isolation: {outcome.isolation}" if outcome.isolation else ""
    reason = outcome.reason
    lines = [line.strip() for line in outcome.stderr.splitlines() if line.strip()]
    if reason and lines:
        reason += f" (stderr: {' ⏎ '.join(lines[:_LINES])[:_SHOWN]})"
    return "; ".join(part for part in (reason, isolation) if part)


def _ks(k: int | Iterable[int]) -> tuple[int, ...]:
    numbers = (k,) if isinstance(k, int) else tuple(k) if isinstance(k, list | tuple) else ()
    if not numbers or any(isinstance(one, bool) or not isinstance(one, int) or one < 1 for one in numbers):
        raise BadInput(f"metrics.code.k: found {k!r}; allowed: a whole number from 1, or a list of them")
    return tuple(sorted(set(numbers)))


class NotPython(ValueError):
    """Code in another language; the message names it."""


def tests_of(example: Example) -> str | None:
    """The source of an example's tests, None when it has none."""
    parts = _statements(example)
    if not parts:
        given = _given(example)
        return "\n".join([_SAME, *map(_assertion, given)]) if given else None
    source = "\n".join([*_setup(example), *parts])
    entry = entry_point(example)
    if entry and re.search(r"^def check\(", source, re.MULTILINE) and f"\ncheck({entry})" not in source:
        source += f"\ncheck({entry})"
    return source


def _statements(example: Example) -> tuple[str, ...]:
    extra = example.extra
    shapes = (extra.get("test_list"), _test_codes(extra.get("test_cases")), extra.get("test"))
    return example.tests or next((texts for shape in shapes if (texts := _texts(shape))), ())


def cases_of(example: Example) -> list[tuple[str, str]]:
    """Names and sources of tests that stand alone: `test_cases` by their id, others by their place."""
    setup = "\n".join(_setup(example))
    if statements := example.tests or _texts(example.extra.get("test_list")):
        return [(name, f"{setup}\n{source}") for name, source in _apart(statements)]
    cases = example.extra.get("test_cases")
    coded = [
        (str(case.get("id", place)), f"{setup}\n{case['test_code']}")
        for place, case in enumerate(cases if isinstance(cases, list) else [], start=1)
        if isinstance(case, dict) and _texts(case.get("test_code"))
    ]
    return coded or [
        (f"test {place}", _SAME + _assertion(one)) for place, one in enumerate(_given(example), start=1)
    ]


def _apart(statements: Sequence[str]) -> list[tuple[str, str]]:
    """The statements that assert, each behind those before it that only prepare.

    None where they cannot stand alone: one is no Python, may fail without an assertion, uses what an
    asserting one before it defines, or may change what stands above it.
    """
    prepared: list[str] = []
    cases: list[tuple[str, str]] = []
    stored: set[str] = set()  # by those that prepare
    defined: set[str] = set()  # by those that assert
    for text in statements:
        try:
            body = ast.parse(text).body
            asserts = any(_asserts(node) for node in body)
            uses, sets, touched = _names_of(body)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return []
        if "*" in defined or defined & uses or (asserts and stored & touched):
            return []
        if asserts:
            cases.append((f"test {len(cases) + 1}", "\n".join([*prepared, text])))
            defined |= sets
        elif all(isinstance(node, _PREPARES) or _is_constant(node) for node in body):
            prepared.append(text)
            stored |= {node.id for node in _walked(body) if _is_stored(node)}
        else:
            return []
    return cases if len(cases) > 1 else []


_DEFINES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_PREPARES = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, *_DEFINES)


def _walked(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    return (inner for node in nodes for inner in ast.walk(node))


def _is_constant(node: ast.stmt) -> bool:
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _is_stored(node: ast.AST) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def _asserts(node: ast.AST) -> bool:
    """Whether a statement may fail by an assertion as it is executed, or as the tests that it defines are."""
    if isinstance(node, ast.Assert | ast.Raise):
        return True
    called = node.func if isinstance(node, ast.Call) else None
    if getattr(called, "attr", getattr(called, "id", "")).startswith("assert"):
        return True
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    waits = isinstance(node, ast.Lambda) or (isinstance(node, functions) and not node.name.startswith("test"))
    return not waits and any(map(_asserts, ast.iter_child_nodes(node)))


def _names_of(body: Sequence[ast.stmt]) -> tuple[set[str], set[str], set[str]]:
    """The names that statements use before they set them, those they set, and those that they may change.

    An object may change where it is called, passed, or gone through, and where a part of it is set.
    """
    uses: set[str] = set()
    sets: set[str] = set()
    touched: list[ast.AST] = []
    for statement in body:
        nodes = list(ast.walk(statement))
        scopes = [node for node in nodes if isinstance(node, (*_DEFINES, ast.comprehension))]
        inner = (getattr(node, "target", node) for node in scopes)
        own = {node.id for node in _walked(inner) if _is_stored(node)}
        own |= {node.arg for node in nodes if isinstance(node, ast.arg)}
        loaded = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        uses |= loaded - own - sets
        sets |= {node.id for node in nodes if _is_stored(node)} - own
        sets |= {node.name for node in nodes if isinstance(node, _DEFINES)}
        aliases = [
            one for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for one in node.names
        ]
        sets |= {one.asname or one.name.partition(".")[0] for one in aliases}
        for node in nodes:
            if isinstance(node, ast.comprehension | ast.For | ast.AsyncFor):
                touched.append(node.iter)
            elif isinstance(node, ast.Compare):
                touched += [node] if {ast.In, ast.NotIn} & {*map(type, node.ops)} else []
            elif isinstance(node, ast.Call | ast.Starred | ast.Await | ast.AugAssign) or not isinstance(
                getattr(node, "ctx", ast.Load()), ast.Load
            ):
                touched.append(node)
    return uses, sets, {node.id for node in _walked(touched) if isinstance(node, ast.Name)}


def _assertion(given: _Given) -> str:
    name, taken, due = given
    if name is None:
        return f"assert _assay_same_lines(printed({taken!r}), {due[0]!r})"
    function = f"(Solution().{name} if 'Solution' in globals() else {name})"
    return f"assert _assay_same({function}(*{_literal(taken)}), {_literal(due)})"


def _literal(value: Any) -> str:
    """Source of a value from a file; Python has no literals for JSON's NaN and Infinity."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return f"_assay_json.loads({json.dumps(value)!r})"
    return repr(value)


def _columns(example: Example) -> list[tuple[str, Any]]:
    """The columns that hold inputs with outputs; a text there is none that can be read."""
    found = []
    for name in _INPUTS:
        value = example.extra.get(name)
        value = _decoded(value) if isinstance(value, str) else value
        first = value[0] if isinstance(value, list) and value else value
        if isinstance(first, dict) or (isinstance(value, str) and value.strip()):
            found.append((name, value))
    return found


def _decoded(cell: str) -> Any:
    """The list or object in a cell. JSON may hold NaN here, which is a missing value elsewhere."""
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        return listed(cell)
    return value if isinstance(value, list | dict) else cell


def _given(example: Example) -> list[_Given]:
    """Inputs with the outputs that are right; none where statements test, or a column cannot be read."""
    metadata = listed(str(example.extra.get("metadata")))
    named = metadata.get("func_name") if isinstance(metadata, dict) else None
    columns = [] if _statements(example) else _columns(example)
    if any(isinstance(value, str) for _, value in columns):
        return []
    try:
        return [_one_given(row, named) for _, value in columns for row in _rows(value)]
    except (ValueError, TypeError, KeyError):  # no JSON, no texts, or no output
        return []


def _rows(value: Any) -> Iterator[Mapping[str, Any]]:
    """One input with its output each."""
    if isinstance(value, list):
        yield from (row for row in value if isinstance(row, dict) and "input" in row)
        return
    inputs, outputs = (value.get(f"{name}s", value.get(name)) for name in ("input", "output"))
    for taken, due in zip(inputs or (), outputs or (), strict=True):
        yield {"input": taken, "output": due, "fn_name": value.get("fn_name")}


def _one_given(row: Mapping[str, Any], named: Any) -> _Given:
    taken, due = row["input"], row["output"] if "output" in row else row["expected_output"]
    name = named if row.get("testtype") == "functional" else row.get("fn_name")
    if row.get("testtype") == "functional":
        taken, due = [json.loads(line) for line in taken.splitlines() if line.strip()], json.loads(due)
    if name is None:
        texts = ["\n".join(map(str, text)) if isinstance(text, list) else str(text) for text in (taken, due)]
        return None, texts[0], (texts[1],)
    if not str(name).isidentifier():
        raise ValueError
    # APPS puts some results into a list.
    wrapped = "testtype" not in row and isinstance(due, list) and len(due) == 1
    return name, taken if isinstance(taken, list) else [taken], (due, due[0]) if wrapped else (due,)


def _setup(example: Example) -> list[str]:
    return [*_texts(example.extra.get("test_imports")), *_texts(example.extra.get("test_setup_code"))]


def program_of(example: Example, text: str) -> str:
    """The program of an answer: its code, after the query where that is the start of a module.

    An answer without the entry point goes on from where the query ends. Raises NotPython.
    """
    if given := _given(example):
        name, *_ = given[0]
        code = extract_code(text, {name, "Solution"} if name else set())
        compiled = f"exec(compile({code!r}, '<program>', 'exec'), globals())"
        return _NAMES_GIVEN + (compiled if name else f"_source = {code!r}\n{_PRINTED}")
    entry = entry_point(example)
    code = extract_code(text, {entry} if entry else _names(tests_of(example) or ""))
    start = example.extra.get("prompt", example.query)
    if not entry or not isinstance(start, str) or not defines(start, entry):
        return code
    return f"{start}\n{code}" if defines(code, entry) else start + code


def extract_code(text: str, wanted: set[str]) -> str:
    """The Python in an answer: of its fenced blocks the first that defines a wanted name, else the first.

    Without wanted names it is the first that reads input. Blocks that define what it uses go before it. An
    answer without fences is code as a whole; a fence that never closes ends with the answer. Raises NotPython
    when all its blocks are in other languages.
    """
    blocks = [
        (match[3].lower(), textwrap.dedent(match[4]) if match[1] else match[4])
        for match in _FENCE.finditer(text)
    ]
    if not blocks:
        return text
    python = [code for language, code in blocks if language in _PYTHON]
    if not python:
        raise NotPython(f"the answer's code is {blocks[0][0][:30]}; only Python is executed")
    fits = [code for code in python if any(defines(code, name) for name in wanted)]
    if not wanted:
        fits = [code for code in python if re.search(r"\binput\(|\bstdin\b|\bopen\(0", code)]
    chosen = (fits or python)[0]
    used = {name for name in _names(chosen) if not defines(chosen, name)}
    before = [
        code
        for code in python
        if code is not chosen and used & set(re.findall(r"^(?:def|class)\s+(\w+)", code, re.MULTILINE))
    ]
    return "\n".join([*before, chosen])


def defines(code: str, name: str) -> bool:
    """Whether source text defines a name at its top level; the source need not be valid."""
    name = re.escape(name)
    return bool(re.search(rf"^(?:(?:async\s+)?def|class)\s+{name}\b|^{name}\s*[:=]", code, re.MULTILINE))


def language_of(example: Example) -> str:
    """The language that an example names, else "python"."""
    language = example.extra.get("language", "python")
    return "python" if str(language).lower() in _PYTHON else str(language)


def entry_point(example: Example) -> str | None:
    entry = example.extra.get("entry_point")
    return entry if isinstance(entry, str) and entry.isidentifier() else None


def _names(source: str) -> set[str]:
    """The names that source text uses and does not set."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return set()
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return {node.id for node in names} - {node.id for node in names if not isinstance(node.ctx, ast.Load)}


def _test_codes(value: Any) -> list[Any]:
    """The sources in a list of {"id", "test_code"}, or of statements."""
    cases = value if isinstance(value, list) else []
    return [case.get("test_code") if isinstance(case, dict) else case for case in cases]


def _texts(value: Any) -> tuple[str, ...]:
    value = listed(value) if isinstance(value, str) else value
    if isinstance(value, str):
        return (value,) if value.strip() else ()
    return tuple(text for text in value if isinstance(text, str)) if isinstance(value, list) else ()
