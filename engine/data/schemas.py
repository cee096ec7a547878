"""JSON Schemas and regular expressions that come with data, and what they may cost.

A pattern such as (a+)+$ can run practically forever on a wrong answer; the `regex` package can stop it. A
schema is checked first: valid, of a known draft, complete without a network. Validation has a time limit.
"""

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from importlib import import_module
from typing import Any, Protocol

import regex
from jsonschema import validators
from jsonschema.exceptions import SchemaError, best_match
from jsonschema.protocols import Validator
from jsonschema.validators import (
    Draft3Validator,
    Draft4Validator,
    Draft6Validator,
    Draft7Validator,
    Draft201909Validator,
    Draft202012Validator,
    validator_for,
)
from jsonschema_specifications import REGISTRY
from referencing import Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import specification_with

from engine.errors import BadInput

_META_SCHEMAS = frozenset(uri.rstrip("#") for uri in REGISTRY)
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
TIMEOUT_S = 1.0
PATTERN_CHARACTERS = 20_000  # to compile one has no time limit


class Pattern(Protocol):
    """A compiled pattern of the `regex` package."""

    def search(self, text: str, *, timeout: float) -> object: ...


class TooSlow(Exception):
    """A pattern, or a schema, was stopped at its time limit: it is unknown whether it matches."""

    def __init__(self, what: str = "the pattern", seconds: float = TIMEOUT_S) -> None:
        super().__init__(f"{what} did not finish on this response within {seconds:g} s")


def compile_pattern(pattern: object, where: str) -> Pattern:
    """A pattern ready to search with; BadInput, naming its place, when it is invalid."""
    if not isinstance(pattern, str):
        raise BadInput(f"{where}: expected a regular expression, found {pattern!r}.")
    if len(pattern) > PATTERN_CHARACTERS:
        raise BadInput(
            f"{where}: has {len(pattern):,} characters; a regular expression may have {PATTERN_CHARACTERS:,}."
        )
    try:
        return _compile(pattern)
    except regex.error as error:
        raise BadInput(f"{where}: {pattern!r} is not a regular expression: {error}.") from error
    except RecursionError as error:
        raise BadInput(f"{where}: the regular expression is nested too deeply.") from error


def found(pattern: Pattern, text: str) -> bool:
    """Whether the pattern matches anywhere in the text; raises TooSlow."""
    try:
        return pattern.search(text, timeout=TIMEOUT_S) is not None
    except TimeoutError as error:
        raise TooSlow from error


@lru_cache(maxsize=1024)
def _compile(pattern: str) -> Pattern:
    compiled: Pattern = regex.compile(pattern, regex.VERSION0)
    return compiled


def compile_schema(schema: Any, source: str) -> Validator:
    """The validator for a schema, of the draft that its `$schema` names (2020-12 where it names none).

    `source` says in the message of a BadInput whose schema is at fault. References are resolved within the
    schema itself and the drafts' own meta-schemas; nothing is ever fetched. `true` allows everything, `false`
    nothing. Validating raises TooSlow for a pattern that is not done within its time limit, and anything else
    within SCHEMA_S.
    """
    if not isinstance(schema, dict | bool):
        raise BadInput(f"{source}: a schema is a JSON object, true or false, not {type(schema).__name__}.")
    try:
        text = json.dumps(schema)
        if len(text) > SCHEMA_CHARACTERS:
            raise BadInput(
                f"the schema has {len(text):,} characters; at most {SCHEMA_CHARACTERS:,} are used."
            )
        return _compiled(text)
    except BadInput as error:
        raise BadInput(f"{source}: {error.message}", error.hint) from error
    except RecursionError as error:
        raise BadInput(f"{source}: the schema is nested too deeply.") from error
    except TooSlow as error:
        raise BadInput(f"{source}: {error}.") from error


@lru_cache(maxsize=1024)
def _compiled(text: str) -> Validator:
    schema = json.loads(text)
    if isinstance(schema, bool):
        return validator_for(Draft202012Validator.META_SCHEMA)(schema)
    draft = schema.get("$schema", Draft202012Validator.META_SCHEMA["$schema"])
    known = _known(draft)
    if known is None:
        raise BadInput(
            f"unknown JSON Schema draft {draft!r}.",
            'Known: draft 3, 4, 6, 7, 2019-09 and 2020-12, such as "https://json-schema.org/draft/2020-12/schema".',
        )
    if fault := schema_fault(schema):
        raise BadInput(f"not a valid schema at {fault}.")
    _resolve_all(schema, draft)
    validator: Validator = known(schema, registry=REGISTRY)
    return validator


def _known(draft: Any) -> Any:
    """The validator of a draft by its address; None for any other value."""
    try:
        return validator_for({"$schema": draft}, default=None)
    except (TypeError, ValueError):  # not a text, or not an address
        return None


def fault_of(validator: Validator, value: Any) -> str | None:
    """The worst fault of a value under a schema, with its place; None where it is valid.

    Raises TooSlow, RecursionError, and BadInput for a number that jsonschema can't compare.
    """
    try:
        with within_time():
            worst = best_match(validator.iter_errors(value))
    except OverflowError as error:  # multipleOf, of an integer beyond floats
        raise BadInput("a number is too large to be checked against the schema.") from error
    return None if worst is None else f"at {worst.json_path}: {worst.message}"


def schema_fault(schema: Any) -> str:
    """What is wrong with a schema by the rules of its draft (2020-12 where it names none), and where."""
    if _depth(schema) > SCHEMA_DEPTH:
        return f"$: it is nested more than {SCHEMA_DEPTH} deep"
    try:
        with within_time():
            known = _known(schema["$schema"]) if "$schema" in schema else None
            (known or validator_for(Draft202012Validator.META_SCHEMA)).check_schema(schema)
    except SchemaError as error:
        return f"{error.json_path}: {error.message[:300]}"
    except TooSlow as error:
        return f"$: {error}"
    return ""


def _depth(value: Any) -> int:
    deepest, waiting = 0, [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        deepest = max(deepest, depth)
        inner = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        waiting += [(part, depth + 1) for part in inner]
    return deepest


SCHEMA_CHARACTERS = 1_000_000
SCHEMA_DEPTH = 100
SCHEMA_S = 5.0
_ends: ContextVar[float] = ContextVar("the moment at which validation stops", default=math.inf)


@contextmanager
def within_time() -> Iterator[None]:
    """Stops validation inside after SCHEMA_S, by TooSlow: a short schema can run forever."""
    before = _ends.set(time.monotonic() + SCHEMA_S)
    try:
        yield
    finally:
        _ends.reset(before)


def _in_time() -> None:
    if time.monotonic() > _ends.get():
        raise TooSlow("the schema's check", SCHEMA_S)


def _bounded(draft: Any) -> Any:
    """A draft's validator that checks the time limit at every keyword."""

    def timed(keyword: Any) -> Any:
        def checked(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
            _in_time()
            return keyword(validator, value, instance, schema)

        return checked

    def is_boolean(_: Any, value: Any) -> bool:
        # Asked too in what "unevaluated…" looks through by itself.
        _in_time()
        return isinstance(value, bool)

    keywords = {name: timed(keyword) for name, keyword in draft.VALIDATORS.items()}
    return validators.extend(draft, keywords, type_checker=draft.TYPE_CHECKER.redefine("boolean", is_boolean))


class _Searching:
    """Stands where jsonschema has `re`, which looks for a schema's pattern for as long as it takes."""

    @staticmethod
    def search(pattern: str, text: str) -> bool:
        _in_time()
        return found(compile_pattern(pattern, "a pattern of the schema"), text)


def _distinct(items: list[Any]) -> bool:
    """Whether no two items are equal, in linear time; jsonschema's own compares each with each."""
    return len({json.dumps(_canonical(item), sort_keys=True) for item in items}) == len(items)


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


# For all drafts: a part of a schema may name its own, and references lead into the drafts' own schemas.
for _draft in (
    Draft3Validator,
    Draft4Validator,
    Draft6Validator,
    Draft7Validator,
    Draft201909Validator,
    Draft202012Validator,
):
    validators.validates(_draft.__name__)(_bounded(_draft))
for _module in ("_keywords", "_legacy_keywords", "_utils"):
    vars(import_module(f"jsonschema.{_module}")).update(re=_Searching, uniq=_distinct)


def _resolve_all(schema: dict[str, Any], draft: str) -> None:
    """Follow every reference, so that none is found dangling, or remote, in the middle of a run."""
    specification = specification_with(draft)
    root = specification.create_resource(schema)
    base = root.id() or ""
    resolver = REGISTRY.with_resource(base, root).crawl().resolver(base)
    seen: set[int] = set()
    waiting: list[tuple[Resource[Any], Any]] = [(root, resolver)]
    while waiting:
        resource, resolver = waiting.pop()
        if id(resource.contents) in seen:
            continue
        seen.add(id(resource.contents))
        waiting += [(child, resolver.in_subresource(child)) for child in resource.subresources()]
        if isinstance(contents := resource.contents, dict) and _known(contents.get("$schema", draft)) is None:
            raise BadInput(f"a part of the schema names an unknown draft: {contents['$schema']!r}.")
        for reference in _references(resource.contents):
            try:
                resolved = resolver.lookup(reference)
            except Unresolvable as error:
                raise BadInput(
                    f"the reference {reference!r} does not resolve in this schema.",
                    "Schemas are never fetched: copy what it refers to into the schema's own $defs.",
                ) from error
            if reference.partition("#")[0].rstrip("#") not in _META_SCHEMAS:
                waiting.append((specification.create_resource(resolved.contents), resolved.resolver))


def _references(contents: Any) -> list[str]:
    if not isinstance(contents, dict):
        return []
    return [contents[key] for key in _REFERENCES if isinstance(contents.get(key), str)]
