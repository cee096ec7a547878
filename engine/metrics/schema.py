"""JSON Schemas fit to check responses with: valid, of a known draft, whole without a network."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from jsonschema.exceptions import SchemaError
from jsonschema.protocols import Validator
from jsonschema.validators import Draft202012Validator, validator_for
from referencing import Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import EMPTY_REGISTRY, specification_with

from engine.errors import BadInput

_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


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
    schema itself; nothing is ever fetched.
    """
    if not isinstance(schema, dict):
        raise BadInput(f"{source}: a schema is a JSON object, not {type(schema).__name__}.")
    try:
        return _compile(json.dumps(schema))
    except BadInput as error:
        raise BadInput(f"{source}: {error.message}", error.hint) from error
    except RecursionError as error:
        raise BadInput(f"{source}: the schema is nested too deeply.") from error


@lru_cache(maxsize=1024)
def _compile(text: str) -> Validator:
    schema = json.loads(text)
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
    validator: Validator = known(schema, registry=EMPTY_REGISTRY)
    return validator


def _resolve_all(schema: dict[str, Any], draft: str) -> None:
    """Follow every reference, so that none is found dangling, or remote, in the middle of a run."""
    specification = specification_with(draft)
    root = specification.create_resource(schema)
    base = root.id() or ""
    resolver = EMPTY_REGISTRY.with_resource(base, root).crawl().resolver(base)
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
            waiting.append((specification.create_resource(resolved.contents), resolved.resolver))


def _references(contents: Any) -> list[str]:
    if not isinstance(contents, dict):
        return []
    return [contents[key] for key in _REFERENCES if isinstance(contents.get(key), str)]
