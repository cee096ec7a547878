"""Whether a response is the JSON that was asked for: whole, alone, and valid under a schema.

Schemas are checked beforehand: valid, of a known draft, whole without a network.
"""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from jsonschema import validators
from jsonschema.exceptions import SchemaError, ValidationError, best_match
from jsonschema.protocols import Validator
from jsonschema.validators import Draft202012Validator, validator_for
from jsonschema_specifications import REGISTRY
from referencing import Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import specification_with

from engine.data.example import Example
from engine.errors import BadInput
from engine.metrics.json_values import JsonNotFound, TooDeep, unfenced, whole_json
from engine.metrics.metric import Score, fraction, missing, no_text
from engine.metrics.patterns import TooSlow, compile_pattern, found
from engine.models.model import Response

NO_SCHEMA = "neither the example nor the plan gives a schema"
_META_SCHEMAS = frozenset(uri.rstrip("#") for uri in REGISTRY)
_REASON_LIMIT = 300
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


class FormatCompliance:
    """1 where the whole response is JSON that its schema allows, else 0 with what is wrong as the reason.

    Settings: `schema`, a file (or the schema itself) for the examples that bring none of their own, and
    `fence`. A Markdown fence around the JSON is a fault unless `fence` is true, since a program that reads
    the response would stumble over it; prose beside the JSON always is one.
    """

    measures = (
        fraction(
            "format_compliance",
            "responses that are JSON, whole and alone, and valid under the schema",
            "JSON Schema, by jsonschema",
            needs=["schema"],
        ),
        fraction("json_parse", "responses that are JSON, whole and alone, whatever it says", "RFC 8259"),
    )

    def __init__(self, schema: str | Path | Mapping[str, Any] | None = None, fence: bool = False) -> None:
        if not isinstance(fence, bool):
            raise BadInput(f"metrics.format.fence: expected true or false, found {fence!r}.")
        self._fence = fence
        self._default = _default_validator(schema)

    def score(self, example: Example, response: Response) -> list[Score]:
        if response.text is None:
            return missing(self.measures, no_text(response))
        try:
            value = self._parsed(response.text)
        except TooDeep as error:
            return missing(self.measures, str(error))
        except JsonNotFound as error:
            fault = str(error)
            return [self._compliance(example, None, fault), Score("json_parse", 0.0, fault)]
        return [self._compliance(example, value), Score("json_parse", 1.0)]

    def _parsed(self, text: str) -> Any:
        inner = unfenced(text)
        if inner is not None and not self._fence:
            raise JsonNotFound(
                "a Markdown fence stands around the JSON (fence = true under [metrics] format allows it)"
            )
        return whole_json(text if inner is None else inner)

    def _compliance(self, example: Example, value: Any, fault: str | None = None) -> Score:
        try:
            validator = (
                self._default
                if example.schema is None
                else compile_schema(example.schema, f"the schema of example {example.id}")
            )
            if validator is None:
                return Score("format_compliance", None, NO_SCHEMA)
            if fault is None:
                worst = best_match(validator.iter_errors(value))
                fault = None if worst is None else f"at {worst.json_path}: {worst.message}"[:_REASON_LIMIT]
        except BadInput as error:
            return Score("format_compliance", None, error.message)
        except TooSlow as error:
            return Score("format_compliance", None, str(error))
        except RecursionError:
            return Score("format_compliance", None, str(TooDeep()))
        return Score("format_compliance", float(fault is None), fault)


def _default_validator(schema: str | Path | Mapping[str, Any] | None) -> Validator | None:
    if schema is None:
        return None
    if isinstance(schema, Mapping):
        return compile_schema(dict(schema), "metrics.format.schema")
    if isinstance(schema, str | Path):
        return read_schema(Path(schema))
    raise BadInput(f"metrics.format.schema: expected a file's path or a table, found {schema!r}.")


def read_schema(path: Path) -> Validator:
    """The validator for a schema file; BadInput when it can't be read or used."""
    try:
        schema = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BadInput(f"{path}: the schema can't be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: the schema is not JSON: {error}.") from error
    return compile_schema(schema, str(path))


def compile_schema(schema: Any, source: str) -> Validator:
    """The validator for a schema, of the draft that its `$schema` names (2020-12 where it names none).

    `source` says in the message of a BadInput whose schema is at fault. References are resolved within the
    schema itself and the drafts' own meta-schemas; nothing is ever fetched. `true` allows everything, `false`
    nothing. Validating raises TooSlow for a pattern that is not done within its time limit.
    """
    if not isinstance(schema, dict | bool):
        raise BadInput(f"{source}: a schema is a JSON object, true or false, not {type(schema).__name__}.")
    try:
        return _compile(json.dumps(schema))
    except BadInput as error:
        raise BadInput(f"{source}: {error.message}", error.hint) from error
    except RecursionError as error:
        raise BadInput(f"{source}: the schema is nested too deeply.") from error


@lru_cache(maxsize=1024)
def _compile(text: str) -> Validator:
    schema = json.loads(text)
    if isinstance(schema, bool):
        return _timed(Draft202012Validator)(schema)
    draft = schema.get("$schema", Draft202012Validator.META_SCHEMA["$schema"])
    known = isinstance(draft, str) and validator_for({"$schema": draft}, default=None)
    if not known:
        raise BadInput(
            f"unknown JSON Schema draft {draft!r}.",
            'Known: draft 3, 4, 6, 7, 2019-09 and 2020-12, such as "https://json-schema.org/draft/2020-12/schema".',
        )
    try:
        known.check_schema(schema)
    except SchemaError as error:
        raise BadInput(f"not a valid schema at {error.json_path}: {error.message[:300]}.") from error
    _resolve_all(schema, draft)
    validator: Validator = _timed(known)(schema, registry=REGISTRY)
    return validator


@lru_cache
def _timed(draft: Any) -> Any:
    """A draft's validator whose patterns stop at their time limit; jsonschema's own may run for years."""
    keywords = {"pattern": _pattern, "patternProperties": _pattern_properties}
    inherited = draft.VALIDATORS["additionalProperties"]
    return validators.extend(
        draft, keywords | {"additionalProperties": partial(_additional_properties, inherited)}
    )


def _pattern(validator: Any, pattern: str, instance: Any, _: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and not _matches(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], instance: Any, _: Any
) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    for pattern, subschema in patterns.items():
        for key, value in instance.items():
            if _matches(pattern, key):
                yield from validator.descend(value, subschema, path=key, schema_path=pattern)


def _additional_properties(
    inherited: Any, validator: Any, allowed: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    patterns = schema.get("patternProperties", {})
    if validator.is_type(instance, "object") and patterns:
        instance = {
            key: value
            for key, value in instance.items()
            if not any(_matches(pattern, key) for pattern in patterns)
        }
    without = {key: value for key, value in schema.items() if key != "patternProperties"}
    yield from inherited(validator, allowed, instance, without) or ()


def _matches(pattern: str, text: str) -> bool:
    return found(compile_pattern(pattern, "a pattern of the schema"), text)


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
        for reference in _references(resource.contents):
            try:
                resolved = resolver.lookup(reference)
            except Unresolvable as error:
                raise BadInput(
                    f"the reference {reference!r} leads nowhere in this schema.",
                    "Schemas are never fetched: copy what it refers to into the schema's own $defs.",
                ) from error
            if reference.partition("#")[0].rstrip("#") not in _META_SCHEMAS:
                waiting.append((specification.create_resource(resolved.contents), resolved.resolver))


def _references(contents: Any) -> list[str]:
    if not isinstance(contents, dict):
        return []
    return [contents[key] for key in _REFERENCES if isinstance(contents.get(key), str)]
