"""A question made from a record's columns by a Jinja2 template, in a sandbox with bounds."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, UndefinedError, meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from engine.data.cells import Malformed

LONGEST = 10_000_000  # characters of a question
_MOST_ROUNDS = 1000  # of range()
_DEEPEST = 2  # nested loops
# None of these can make a long text from a short one.
_FILTERS = {
    "abs", "capitalize", "d", "default", "dictsort", "first", "float", "int", "items", "join", "last",
    "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "replace", "reverse", "round",
    "select", "selectattr", "sort", "string", "sum", "title", "tojson", "trim", "truncate", "unique", "upper",
    "wordcount",
}  # fmt: skip
_METHODS = {
    "capitalize", "casefold", "count", "endswith", "find", "get", "index", "items", "join", "keys", "lower",
    "lstrip", "partition", "removeprefix", "removesuffix", "replace", "rpartition", "rsplit", "rstrip",
    "split", "splitlines", "startswith", "strip", "title", "upper", "values",
}  # fmt: skip
_REFUSED = (nodes.Macro, nodes.CallBlock, nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)


class _Bounded(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(["*", "**", "%"])

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if not (isinstance(left, int | float) and isinstance(right, int | float)) or operator == "**":
            raise SecurityError(f"{operator} is for numbers only")
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return not callable(value) or (attr in _METHODS and super().is_safe_attribute(obj, attr, value))


def _environment() -> _Bounded:
    environment = _Bounded(undefined=StrictUndefined, keep_trailing_newline=False)
    environment.filters = {name: made for name, made in environment.filters.items() if name in _FILTERS}
    environment.globals = {"range": _range}
    return environment


def _range(*bounds: int) -> range:
    rounds = range(*bounds)
    if len(rounds) > _MOST_ROUNDS:
        raise SecurityError(f"range() takes at most {_MOST_ROUNDS} rounds here")
    return rounds


def problem_of(template: str) -> str | None:
    """Why a template cannot be used, with its line; None for one that can."""
    try:
        _compiled(template)
    except TemplateSyntaxError as error:
        return f"line {error.lineno}: {error.message}"
    except Malformed as error:
        return error.message
    return None


def columns_of(template: str) -> frozenset[str]:
    """The columns that a template names."""
    environment = _environment()
    return frozenset(meta.find_undeclared_variables(environment.parse(template)) - {"range", "record"})


def rendered(template: str, record: Mapping[str, Any]) -> str:
    """The text; each column is a variable, and all of them are in `record`.

    Raises Malformed for a column that the record lacks, and for what the sandbox refuses.
    """
    parts, size = [], 0
    try:
        for part in _compiled(template).generate(**{**record, "record": dict(record)}):
            size += len(part)
            if size > LONGEST:
                raise Malformed(f"template: makes more than {LONGEST:,} characters")
            parts.append(part)
    except UndefinedError as error:
        raise Malformed(f"template: {error.message}; the columns: {', '.join(record)}") from error
    except (TemplateError, TypeError, ValueError, LookupError, ArithmeticError, RecursionError) as error:
        if isinstance(error, Malformed):
            raise
        raise Malformed(f"template: {error}") from error
    return "".join(parts).strip()


@lru_cache(maxsize=8)
def _compiled(template: str) -> Any:
    environment = _environment()
    tree = environment.parse(template)
    for refused in _REFUSED:
        for node in tree.find_all(refused):
            raise Malformed(f"line {node.lineno}: {_words(type(node).__name__)} cannot be used here")
    for node in tree.find_all(nodes.For):
        if node.recursive or _depth(node) > _DEEPEST:
            raise Malformed(f"line {node.lineno}: at most {_DEEPEST} loops in one another, none recursive")
    return environment.from_string(template)


def _depth(loop: nodes.Node) -> int:
    inner = [
        _depth(node)
        for child in loop.iter_child_nodes()
        for node in [child, *child.find_all(nodes.For)]
        if isinstance(node, nodes.For)
    ]
    return 1 + max(inner, default=0)


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
